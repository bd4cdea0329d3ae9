//! What a request to a channel's path asks for: which of the conversations that plain HTTP carries, and what of it.
//!
//! * `GET` with `Accept: text/event-stream`: a new stream of events, or, with `Last-Event-ID` or `?session=` and `after=`,
//!   the rest of one
//! * `POST` without a session: a new session for polls, or, with a `<body>` in it, BOSH
//! * `GET ?session=`: a poll; `POST ?session=`: a message; `DELETE ?session=`, or `POST` with `close=`: the end; `POST` with
//!   `alive`: a sign of life
//!
//! A session is named by its [ticket](super::ticket), whatever carries it.

use super::event_stream;
use kennel_http::query;
use mongrel2_wire::Envelope;
use thiserror::Error;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    /// A new session whose messages come as events.
    Stream,
    /// Its events from here on.
    GoOn {
        /// The session.
        session: Vec<u8>,
        /// The last number that the client has.
        after: Option<u64>,
    },
    /// A new session for polls. Whether it is one for BOSH instead, its body says.
    Open,
    /// What has come meanwhile, or what comes next.
    Poll {
        /// The session.
        session: Vec<u8>,
        /// The last number that the client has.
        after: Option<u64>,
        /// How long it wants to wait at most, seconds.
        wait: Option<u64>,
    },
    /// A message to the script.
    Send {
        /// The session.
        session: Vec<u8>,
        /// Its number, counted by the client from 1, so that it may be said again.
        number: Option<u64>,
        /// Not a text.
        binary: bool,
    },
    /// The client has had enough.
    Close {
        /// The session.
        session: Vec<u8>,
        /// Its close code.
        code: Option<u16>,
        /// Its reason.
        reason: String,
    },
    /// The client wants a sign of life by whatever carries the session.
    Alive {
        /// The session.
        session: Vec<u8>,
    },
    /// A page of another host asks whether it may (CORS).
    Preflight,
}

/// Why a request to a channel says nothing that can be done.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub(crate) enum CallError {
    /// A value in the query that should be a number.
    #[error("`{name}={value}` is no number")]
    NoNumber {
        /// Its name.
        name: &'static str,
        /// What is there, with what cannot be shown escaped.
        value: String,
    },
    /// A code that nobody may close with.
    #[error("close={code}: 1000, 1001, or 3000 to 4999")]
    BadCode {
        /// The code.
        code: u64,
    },
}

/// The values of a query that mean something here.
#[derive(Debug, Default)]
struct Query {
    session: Option<Vec<u8>>,
    after: Option<u64>,
    wait: Option<u64>,
    number: Option<u64>,
    close: Option<u64>,
    reason: String,
    alive: bool,
}

impl Query {
    fn read(query: &[u8]) -> Result<Self, CallError> {
        let mut read = Self::default();
        for (name, value) in query::pairs(query) {
            let number = |name: &'static str| {
                let number = std::str::from_utf8(&value).ok().and_then(|value| value.parse().ok());
                number.ok_or_else(|| CallError::NoNumber { name, value: value.escape_ascii().to_string() })
            };
            match &*name {
                b"session" => read.session = Some(value.to_vec()),
                b"after" => read.after = Some(number("after")?),
                b"wait" => read.wait = Some(number("wait")?),
                b"number" => read.number = Some(number("number")?),
                b"close" if value.is_empty() => read.close = Some(0),
                b"close" => read.close = Some(number("close")?),
                b"alive" => read.alive = true,
                b"reason" => read.reason = String::from_utf8_lossy(&value).into_owned(),
                _ => {}
            }
        }
        Ok(read)
    }
}

/// Whether a request is for a channel even where a route takes its method and path: it names a session or wants events.
pub(crate) fn is_meant(envelope: &Envelope<'_>) -> bool {
    let names_session = single(envelope, b"QUERY")
        .is_some_and(|query| query.split(|b| *b == b'&').any(|pair| pair.starts_with(b"session=")));
    names_session || wants_events(envelope)
}

/// What a request to a channel asks for. `None`: nothing that channels know.
///
/// # Errors
///
/// [`CallError`], for the client to read.
pub(crate) fn read(method: &[u8], envelope: &Envelope<'_>) -> Result<Option<Call>, CallError> {
    let query = Query::read(&single(envelope, b"QUERY").unwrap_or_default())?;
    let Query { session, after, wait, number, close, reason, alive } = query;
    let ended = |session, code| Ok(Some(Call::Close { session, code, reason }));
    match (method, session) {
        (b"GET", session) if wants_events(envelope) => {
            let last = single(envelope, b"last-event-id").unwrap_or_default();
            Ok(Some(match (event_stream::last_event(&last), session) {
                (Some((session, after)), _) => Call::GoOn { session: session.to_vec(), after: Some(after) },
                (None, Some(session)) => Call::GoOn { session, after },
                (None, None) => Call::Stream,
            }))
        }
        (b"GET", Some(session)) => Ok(Some(Call::Poll { session, after, wait })),
        (b"DELETE", Some(session)) => ended(session, code(close)?),
        (b"POST", Some(session)) if close.is_some() => ended(session, code(close)?),
        (b"POST", Some(session)) if alive => Ok(Some(Call::Alive { session })),
        (b"POST", Some(session)) => {
            let kind = single(envelope, b"content-type").unwrap_or_default();
            let binary = kind.trim_ascii().to_ascii_lowercase().starts_with(b"application/octet-stream");
            Ok(Some(Call::Send { session, number, binary }))
        }
        (b"POST", None) => Ok(Some(Call::Open)),
        (b"OPTIONS", _) if single(envelope, b"access-control-request-method").is_some() => {
            Ok(Some(Call::Preflight))
        }
        _ => Ok(None),
    }
}

/// A session's ticket, and the last number that its client has.
pub(crate) type Resumed = (Vec<u8>, Option<u64>);

/// The session that a handshake of `kennel.js` names, and the last number that its client has.
///
/// # Errors
///
/// [`CallError`] for a query that says nothing that can be done.
pub(crate) fn resumed(envelope: &Envelope<'_>) -> Result<Option<Resumed>, CallError> {
    let query = Query::read(&single(envelope, b"QUERY").unwrap_or_default())?;
    Ok(query.session.map(|session| (session, query.after)))
}

/// The codes that a client may close with (RFC 6455, 7.4): none is 0.
fn code(code: Option<u64>) -> Result<Option<u16>, CallError> {
    match code {
        None | Some(0) => Ok(None),
        Some(code @ (1000 | 1001 | 3000..=4999)) => Ok(u16::try_from(code).ok()),
        Some(code) => Err(CallError::BadCode { code }),
    }
}

fn wants_events(envelope: &Envelope<'_>) -> bool {
    envelope.headers.get(b"accept").is_some_and(|values| {
        values.iter().any(|value| {
            let value = value.bytes();
            let mut kinds = value.split(|b| *b == b',').map(|kind| kind.split(|b| *b == b';').next());
            kinds.any(|kind| {
                kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream"))
            })
        })
    })
}

fn single(envelope: &Envelope<'_>, name: &[u8]) -> Option<Vec<u8>> {
    Some(envelope.headers.get(name)?.first()?.bytes().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &str, query: &str, headers: &[(&str, &str)]) -> Result<Option<Call>, CallError> {
        let mut lines =
            vec![format!("\"METHOD\":\"{method}\",\"VERSION\":\"HTTP/1.1\",\"QUERY\":\"{query}\"")];
        lines.extend(headers.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")));
        let headers = format!("{{{}}}", lines.join(","));
        let message = format!("m2 1 /chat {}:{headers},0:,", headers.len());
        read(method.as_bytes(), &Envelope::parse(message.as_bytes()).unwrap())
    }

    #[test]
    fn method_query_and_accept_say_what_is_wanted() {
        let session = b"S".to_vec();
        let events = ("accept", "text/html, Text/Event-Stream;q=0.9");
        assert_eq!(call("GET", "", &[events]), Ok(Some(Call::Stream)));
        assert_eq!(call("GET", "a=b", &[]), Ok(None));
        assert_eq!(
            call("GET", "", &[events, ("last-event-id", "S.17")]),
            Ok(Some(Call::GoOn { session: session.clone(), after: Some(17) }))
        );
        assert_eq!(
            call("GET", "session=S", &[events]),
            Ok(Some(Call::GoOn { session: session.clone(), after: None }))
        );
        assert_eq!(
            call("GET", "session=S&after=3&wait=0", &[]),
            Ok(Some(Call::Poll { session: session.clone(), after: Some(3), wait: Some(0) }))
        );
        assert_eq!(call("POST", "", &[]), Ok(Some(Call::Open)));
        let send = |number, binary| Ok(Some(Call::Send { session: session.clone(), number, binary }));
        assert_eq!(call("POST", "session=S", &[("content-type", "text/plain")]), send(None, false));
        assert_eq!(
            call("POST", "session=S&number=9", &[("content-type", "application/octet-stream")]),
            send(Some(9), true)
        );
        let close = |code, reason: &str| {
            Ok(Some(Call::Close { session: session.clone(), code, reason: reason.to_owned() }))
        };
        assert_eq!(call("DELETE", "session=S", &[]), close(None, ""));
        assert_eq!(call("POST", "session=S&close=1000&reason=a+b", &[]), close(Some(1000), "a b"));
        assert_eq!(call("POST", "session=S&close=1001", &[]), close(Some(1001), ""), "a page that is left");
        assert_eq!(call("POST", "session=S&close", &[]), close(None, ""));
        assert_eq!(call("POST", "session=S&alive", &[]), Ok(Some(Call::Alive { session: session.clone() })));
        assert_eq!(call("PUT", "session=S", &[]), Ok(None));
        let asks = ("access-control-request-method", "POST");
        assert_eq!(call("OPTIONS", "", &[asks]), Ok(Some(Call::Preflight)));
    }

    #[test]
    fn nonsense_is_named() {
        let problem = |query| call("GET", query, &[]).unwrap_err().to_string();
        assert_eq!(problem("session=S&after=x"), "`after=x` is no number");
        assert_eq!(problem("session=S&wait=-1"), "`wait=-1` is no number");
        let problem = call("DELETE", "session=S&close=1006", &[]).unwrap_err().to_string();
        assert_eq!(problem, "close=1006: 1000, 1001, or 3000 to 4999");
    }
}
