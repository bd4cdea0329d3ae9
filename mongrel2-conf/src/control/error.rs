//! Why a control port was asked in vain.

use std::io;
use std::time::Duration;

use mongrel2_wire::address::Address;
use mongrel2_wire::tnetstring::TnetstringError;
use mongrel2_wire::zmtp::ZmtpError;

use super::MAX_ANSWER;

/// Why there is no answer, or which one Mongrel2 gave instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Nobody listens there, or this user may not connect.
    #[error("no control port at `{address}`: {}", in_words(cause))]
    Unreachable {
        /// Where.
        address: Address,
        /// What the system says.
        cause: io::Error,
    },
    /// Something listens and says nothing, or not enough.
    #[error("the control port at `{address}` has not answered within {}", in_seconds(*patience))]
    Silent {
        /// Where.
        address: Address,
        /// How long it was waited for.
        patience: Duration,
    },
    /// The connection ended before there was an answer.
    #[error("the control port at `{address}` closed the connection without an answer")]
    Closed {
        /// Where.
        address: Address,
        /// Whether it had the request by then.
        asked: bool,
    },
    /// Whoever listens there speaks something else than ZeroMQ, or is another kind of socket.
    #[error("what listens at `{address}` is no control port: {}", zmtp_in_words(cause))]
    NoControlPort {
        /// Where.
        address: Address,
        /// What was wrong.
        cause: ZmtpError,
    },
    /// An answer beyond what any Mongrel2 has to say.
    #[error("what listens at `{address}` is no control port: it sends more than {MAX_ANSWER} bytes")]
    TooLarge {
        /// Where.
        address: Address,
    },
    /// An answer that Mongrel2 would not give.
    #[error("the control port at `{address}` answers nonsense: {cause}")]
    Nonsense {
        /// Where.
        address: Address,
        /// What was wrong.
        cause: AnswerError,
    },
    /// Mongrel2 refuses.
    #[error("mongrel2 refuses: {message}{}", refusal.as_ref().map(|code| format!(" ({})", code.as_str())).unwrap_or_default())]
    Refused {
        /// Where.
        address: Address,
        /// Its code, if it gave one.
        refusal: Option<Refusal>,
        /// Its words.
        message: String,
    },
}

/// Why bytes are no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// Not the parts that a REP sends.
    #[error("a message without the empty part before it")]
    NoDelimiter,
    /// No tnetstring.
    #[error("{0}")]
    Tnetstring(#[from] TnetstringError),
    /// Something behind the answer.
    #[error("{size} bytes follow the tnetstring")]
    Rest {
        /// How many.
        size: usize,
    },
    /// A tnetstring of another shape.
    #[error("expected {expected}")]
    Shape {
        /// What should have been there.
        expected: &'static str,
    },
    /// A row of another length than the headers.
    #[error("row {row} has {cells} cells for {columns} columns")]
    RowLength {
        /// Its number, from 1.
        row: usize,
        /// What it has.
        cells: usize,
        /// What it should have.
        columns: usize,
    },
    /// A column that this request is always answered with.
    #[error("there is no column `{column}`")]
    NoColumn {
        /// Its name.
        column: &'static str,
    },
    /// A cell of another type than its column has.
    #[error("`{column}` of row {row} is no {expected}")]
    CellType {
        /// Its column.
        column: &'static str,
        /// Its row's number, from 1.
        row: usize,
        /// What it should be.
        expected: &'static str,
    },
}

impl ControlError {
    pub(super) fn refused(address: &Address, refusal: Option<Refusal>, message: String) -> Self {
        Self::Refused { address: address.clone(), refusal, message }
    }
}

/// Mongrel2's code for a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// An argument is missing or of a wrong type; also when there is no such connection to kill.
    InvalidArgument,
    /// This Mongrel2 does not know the request.
    CallbackNotFound,
    /// No list of two.
    InvalidRequest,
    /// No list of a name and a dict.
    InvalidData,
    /// A code of a version to come.
    Other(String),
}

impl Refusal {
    pub(super) fn from_code(code: &str) -> Self {
        match code {
            "INVALID_ARGUMENT" => Self::InvalidArgument,
            "CALLBACK_NOT_FOUND" => Self::CallbackNotFound,
            "INVALID_REQUEST" => Self::InvalidRequest,
            "INVALID_DATA" => Self::InvalidData,
            other => Self::Other(other.to_owned()),
        }
    }

    /// As Mongrel2 writes it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::CallbackNotFound => "CALLBACK_NOT_FOUND",
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::InvalidData => "INVALID_DATA",
            Self::Other(code) => code,
        }
    }
}

fn in_words(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::NotFound => "there is no such socket".into(),
        io::ErrorKind::ConnectionRefused => "nobody listens there".into(),
        io::ErrorKind::PermissionDenied => "this user may not connect to it".into(),
        io::ErrorKind::NotADirectory => "its folder is none".into(),
        // `Name (os error 5)`: the number helps nobody.
        _ => {
            let text = cause.to_string();
            text.split(" (os error").next().unwrap_or_default().to_lowercase()
        }
    }
}

fn zmtp_in_words(cause: &ZmtpError) -> String {
    match cause {
        ZmtpError::NotZmtp => "it does not speak ZeroMQ".into(),
        ZmtpError::SocketType { found, .. } => {
            format!("it is a ZeroMQ socket of type {}, not REP", found.escape_default())
        }
        other => other.to_string().escape_default().to_string(),
    }
}

fn in_seconds(patience: Duration) -> String {
    match patience.as_secs_f64() {
        1.0 => "a second".into(),
        seconds => format!("{seconds} seconds"),
    }
}
