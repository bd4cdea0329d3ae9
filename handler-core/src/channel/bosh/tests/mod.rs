//! XEP-0124 1.11.2, sentence by sentence: a test for each that says what a connection manager must, should or may
//! do, named by its section. What does not apply and why:
//!
//! | section | | |
//! | --- | --- | --- |
//! | 1 to 4 | introduction | no rules of its own |
//! | 5 | HTTP | of the hub, which holds the requests: POST, no chunks, `Content-Encoding`, ignored `Content-Type`s |
//! | 6 | the wrapper | `wrapper.rs` |
//! | 7.1 | opening, what the client sends | `opening.rs`; `route` MAY be ignored and is; nothing says what `xml:lang` and `from` do here |
//! | 7.2 | opening, what we answer | `opening.rs`; a unique `sid` is the caller's; `accept` and `charsets` are MAY and not offered |
//! | 8 | payloads | `payloads.rs` |
//! | 9.1, 9.2 | acknowledgements | `acknowledging.rs`; what a client does with `ack` and `report` is its own |
//! | 10 | inactivity and pauses | `inactivity.rs`; when a client comes again is its own |
//! | 11 | overactivity | `overactivity.rs`; `requests` is always in the answer, so what holds without does not apply |
//! | 12 | polling sessions | `overactivity.rs`; that we MAY force polling by `requests='1'` is not done |
//! | 13 | the end | `ending.rs`; what the client concludes is its own |
//! | 14.1 | first `rid` | `numbers.rs`: a client MUST NOT count beyond 2^53 - 1 |
//! | 14.2, 14.3 | order, repeats | `numbers.rs`, all together in `exchange.rs`; in what order a client reads answers is its own |
//! | 15 | keys | `keys.rs`; how a client makes them is its own |
//! | 16 | several streams | not offered; the two sentences on who does not offer them are in `opening.rs` |
//! | 17.1 to 17.3 | errors | `errors.rs`; what a client does after one is its own |
//! | 17.4 | errors of payloads | they are messages |
//! | 18 to 22 | pipelining, TLS, the link to the application, registrars, schema | no part of the session; an unguessable `sid` is the caller's |
//!
//! XEP-0206 (XMPP over BOSH) is no part: `xmpp:restart`, `xmpp:version` and such are attributes that are ignored.

mod acknowledging;
mod ending;
mod errors;
mod exchange;
mod inactivity;
mod keys;
mod numbers;
mod opening;
mod overactivity;
mod payloads;
mod wrapper;

use super::{Body, Condition, End, NAMESPACE, Output, Session, Settings};
use std::time::{Duration, Instant};

/// The opening request has this number, which is its HTTP request's too; so has every later one unless told.
const FIRST: u64 = 100;

/// A session and its client.
struct Talk {
    session: Session,
    now: Instant,
    /// Answers that were not looked at: to which HTTP request, and what.
    answers: Vec<(u64, String)>,
    /// Messages that came.
    heard: Vec<String>,
    ended: Option<End>,
}

impl Talk {
    /// A session that holds one request for a minute.
    fn new() -> Self {
        Self::open("hold='1' wait='60' ver='1.11'")
    }

    /// A session opened with these attributes, whose answer was looked at.
    fn open(attributes: &str) -> Self {
        let (talk, _) = Self::answered(&Settings::default(), attributes).unwrap();
        talk
    }

    /// A session opened with these attributes, and its answer.
    fn answered(settings: &Settings, attributes: &str) -> Result<(Self, String), Condition> {
        let text = format!("<body rid='{FIRST}' {attributes} xmlns='{NAMESPACE}'/>");
        let body = Body::parse(text.as_bytes(), 10_000).unwrap();
        let now = Instant::now();
        let mut session = Session::begin(settings, &body, FIRST, "the-sid", now)?;
        session.opened(now);
        let mut talk = Self { session, now, answers: Vec::new(), heard: Vec::new(), ended: None };
        talk.look();
        let (request, answer) = talk.answers.remove(0);
        assert_eq!(request, FIRST);
        Ok((talk, answer))
    }

    /// The client says something by a request of this number.
    fn say(&mut self, rid: u64, attributes: &str, content: &str) {
        self.say_by(rid, rid, attributes, content);
    }

    /// The same by another HTTP request.
    fn say_by(&mut self, request: u64, rid: u64, attributes: &str, content: &str) {
        let text =
            format!("<body rid='{rid}' sid='the-sid' {attributes} xmlns='{NAMESPACE}'>{content}</body>");
        let body = Body::parse(text.as_bytes(), 10_000).unwrap();
        self.session.receive(&body, request, self.now);
        self.look();
    }

    /// The client asks for news.
    fn ask(&mut self, rid: u64) {
        self.say(rid, "", "");
    }

    /// The script says something.
    fn send(&mut self, element: &str) {
        self.session.send(element.as_bytes().into(), self.now);
        self.look();
    }

    fn close(&mut self, condition: Option<Condition>) {
        self.session.close(condition, self.now);
        self.look();
    }

    fn gone(&mut self, request: u64) {
        self.session.request_gone(request, self.now);
        self.look();
    }

    /// Time passes, and what is due in it is done.
    fn pass(&mut self, seconds: f64) {
        let until = self.now + Duration::from_secs_f64(seconds);
        while let Some(due) = self.session.next_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
            self.look();
        }
        self.now = until;
    }

    fn look(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Answer { request, status, content_type, body } => {
                    let mut body = String::from_utf8(body).unwrap();
                    if status != 200 {
                        body = format!("{status} {body}");
                    }
                    if content_type != super::CONTENT_TYPE {
                        body = format!("{content_type}: {body}");
                    }
                    self.answers.push((request, body));
                }
                Output::Message { binary, payload } => {
                    let payload = payload.escape_ascii().to_string();
                    self.heard.push(if binary { format!("bytes {payload}") } else { payload });
                }
                Output::Ended { how } => assert_eq!(self.ended.replace(how), None, "it ends once"),
            }
        }
    }

    /// Which requests were answered since the last look, and with what: the attributes and content that a body has
    /// besides its namespace.
    fn answers(&mut self) -> Vec<(u64, String)> {
        let short = |body: String| body.replace(&format!(" xmlns=\"{NAMESPACE}\""), "");
        std::mem::take(&mut self.answers).into_iter().map(|(request, body)| (request, short(body))).collect()
    }

    /// The same, where the requests are all that matters.
    fn answered_now(&mut self) -> Vec<u64> {
        self.answers().into_iter().map(|(request, _)| request).collect()
    }
}

/// Answers of these requests with these bodies.
fn of<const N: usize>(answers: [(u64, &str); N]) -> Vec<(u64, String)> {
    answers.map(|(request, body)| (request, body.into())).to_vec()
}

const EMPTY: &str = "<body/>";
const TERMINATE: &str = "<body type=\"terminate\"/>";
const NOT_FOUND: &str = "<body type=\"terminate\" condition=\"item-not-found\"/>";
const VIOLATION: &str = "<body type=\"terminate\" condition=\"policy-violation\"/>";
const BAD_REQUEST: &str = "<body type=\"terminate\" condition=\"bad-request\"/>";
const OTHER: &str = "<body type=\"terminate\" condition=\"other-request\"/>";
const ERROR: &str = "<body type=\"error\"/>";
