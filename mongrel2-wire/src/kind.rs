//! The kinds of messages, and why some are refused.

/// The HTTP version of a request; Mongrel2 lets these two pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `HTTP/1.0`
    Http10,
    /// `HTTP/1.1`
    Http11,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An ordinary HTTP request, whole.
    Http,
    /// A WebSocket's opening request; the body is the ready-made accept value.
    Handshake,
    /// A WebSocket frame with its first byte.
    Frame {
        /// FIN, reserved bits and opcode.
        flags: u8,
    },
    /// A message of a JSON socket.
    Json,
    /// A message of an XML socket.
    Xml,
    /// A connection is gone, or never was.
    Disconnect,
    /// A reply was written, under `download.flow_control`.
    Credits {
        /// The bytes written.
        bytes: u64,
    },
    /// A large body begins to arrive, in a file or as a stream.
    UploadStart,
    /// A large body is complete in its file.
    UploadDone,
    /// A piece of a streamed body.
    UploadPart,
    /// Nothing that the hub acts on.
    Refused(Refusal),
}

impl Kind {
    /// The name that `kennel decode` prints.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Handshake => "handshake",
            Self::Frame { .. } => "frame",
            Self::Json => "json",
            Self::Xml => "xml",
            Self::Disconnect => "disconnect",
            Self::Credits { .. } => "credits",
            Self::UploadStart => "upload_start",
            Self::UploadDone => "upload_done",
            Self::UploadPart => "upload_part",
            Self::Refused(_) => "refused",
        }
    }
}

/// Why a message is not acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// A client named its HTTP method after one of Mongrel2's message kinds.
    ForgedMethod,
    /// No METHOD header, and no part of an upload.
    NoMethod,
    /// Path `@*`, but not what Mongrel2 writes there.
    ForgedNotice,
    /// FLAGS that are no number of one byte.
    BadFlags,
    /// A VERSION that Mongrel2 would not have let through.
    BadVersion,
    /// A socket message whose path does not fit its method.
    BadSocketPath,
}

impl Refusal {
    /// One line for logs and `kennel decode`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::ForgedMethod => "an HTTP request cannot have the method JSON, XML or WEBSOCKET",
            Self::NoMethod => "no METHOD header",
            Self::ForgedNotice => "path @* without being a notice of Mongrel2",
            Self::BadFlags => "FLAGS is not 0x and a byte in hex",
            Self::BadVersion => "VERSION is neither HTTP/1.0 nor HTTP/1.1",
            Self::BadSocketPath => "a JSON socket's path begins with @, an XML socket's with <",
        }
    }
}
