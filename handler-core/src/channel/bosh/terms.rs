//! What a session is agreed on when it begins: what the client asks for, within what the operator allows.

use super::body::Body;
use super::condition::Condition;
use super::element::escape;
use std::fmt::Write;
use std::time::Duration;

/// The version of the protocol that is spoken here.
const VERSION: (u64, u64) = (1, 11);

/// What an operator allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The longest time in seconds that a request may wait for something to say. 60; a proxy in between must bear it.
    pub wait: u16,
    /// The most requests that wait at once. 2.
    pub hold: u8,
    /// The most requests that a client may have under way; always more than `hold`. 5.
    pub requests: u8,
    /// After how many seconds without any request a client is gone. 30; 0 for never.
    pub inactivity: u16,
    /// How many seconds must be between two requests that ask for nothing but news. 5; 0 for none.
    pub polling: u16,
    /// The longest time in seconds that a client may announce to be away for. 120; 0 when it may not.
    pub max_pause: u16,
    /// Bytes of the largest request. 1 MiB.
    pub max_body: usize,
    /// The most messages that may wait for a client, those in answers that it may not have read included. 10,000.
    pub max_messages: usize,
    /// The most bytes that may wait for a client. 16 MiB.
    pub max_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            wait: 60,
            hold: 2,
            requests: 5,
            inactivity: 30,
            polling: 5,
            max_pause: 120,
            max_body: 1 << 20,
            max_messages: 10_000,
            max_bytes: 16 << 20,
        }
    }
}

/// What holds in one session. Times are in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub wait: u16,
    hold: u8,
    pub requests: u8,
    /// 0 for no limit.
    pub inactivity: u16,
    /// 0 for no limit.
    pub polling: u16,
    pub max_pause: u16,
    /// The client named its version, so errors are told in bodies.
    pub versioned: bool,
    /// The client says which answers it has, and is told which requests we have.
    pub acks: bool,
}

impl Terms {
    /// What an opening request gets.
    ///
    /// # Errors
    ///
    /// `bad-request` when one of its attributes is not what it should be.
    pub(super) fn agree(settings: &Settings, opening: &Body<'_>) -> Result<Self, Condition> {
        let least = |asked: Option<u64>, most: u16| {
            u16::try_from(asked.unwrap_or(most.into())).unwrap_or(most).min(most)
        };
        let asked_hold = opening.number("hold")?.unwrap_or(1);
        let wait = least(opening.number("wait")?, settings.wait);
        let hold = settings.hold.min(u8::try_from(asked_hold).unwrap_or(u8::MAX));
        let requests = u8::try_from(asked_hold.saturating_add(1)).unwrap_or(u8::MAX).min(settings.requests);
        // The protocol needs one place more than what waits.
        let hold = hold.min(u8::MAX - 1);
        let mut terms = Self {
            wait,
            hold,
            requests: requests.max(hold + 1),
            inactivity: settings.inactivity,
            polling: settings.polling,
            max_pause: settings.max_pause,
            versioned: version(opening)?.is_some(),
            acks: opening.number("ack")? == Some(1),
        };
        if terms.is_polling() && terms.inactivity > 0 {
            // Who may come only every so often is not missed before its second chance.
            terms.inactivity = terms.inactivity.saturating_add(terms.polling.max(1).saturating_mul(2));
        }
        Ok(terms)
    }

    /// Whether every request is answered at once.
    pub(super) fn is_polling(&self) -> bool {
        self.wait == 0 || self.hold == 0
    }

    /// How many requests may wait.
    pub(super) fn held(&self) -> usize {
        if self.is_polling() { 0 } else { self.hold.into() }
    }

    /// How many answers are kept for the case that they are lost.
    pub(super) fn kept(&self) -> usize {
        // With acknowledgements the client says which it has; who never does is bounded all the same.
        usize::from(self.requests) * if self.acks { 4 } else { 1 }
    }

    /// How long a request may wait.
    pub(super) fn wait(&self) -> Duration {
        Duration::from_secs(self.wait.into())
    }

    /// The beginning of the answer to the opening request: its tag, which is not ended, since messages may follow.
    pub(super) fn announce(&self, opening: &Body<'_>, rid: u64, sid: &str) -> Result<String, Condition> {
        let mut tag = String::from("<body sid=\"");
        escape(sid, &mut tag);
        let _ =
            write!(tag, "\" wait=\"{}\" requests=\"{}\" hold=\"{}\"", self.wait, self.requests, self.hold);
        for (name, value) in
            [("inactivity", self.inactivity), ("polling", self.polling), ("maxpause", self.max_pause)]
        {
            if value > 0 {
                let _ = write!(tag, " {name}=\"{value}\"");
            }
        }
        if let Some(theirs) = version(opening)? {
            let (major, minor) = theirs.min(VERSION);
            let _ = write!(tag, " ver=\"{major}.{minor}\"");
        }
        if self.acks {
            let _ = write!(tag, " ack=\"{rid}\"");
        }
        if let Some(to) = opening.to() {
            tag.push_str(" from=\"");
            escape(to, &mut tag);
            tag.push('"');
        }
        Ok(tag)
    }
}

/// The version that a client names: two numbers, compared one by one.
fn version(opening: &Body<'_>) -> Result<Option<(u64, u64)>, Condition> {
    let Some(text) = opening.attribute("ver") else { return Ok(None) };
    let number = |digits: &str| {
        let sound = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        digits.parse().ok().filter(|_| sound)
    };
    let numbers =
        text.trim().split_once('.').and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
    numbers.map(Some).ok_or(Condition::BadRequest)
}

/// The content type that a client wants its answers to have, `None` for the usual one.
///
/// # Errors
///
/// `bad-request` for what cannot stand in a header, or is too long for a media type.
pub(super) fn content_type<'a>(opening: &'a Body<'_>) -> Result<Option<&'a str>, Condition> {
    const MAX: usize = 100;
    let Some(text) = opening.attribute("content").filter(|text| *text != super::CONTENT_TYPE) else {
        return Ok(None);
    };
    let sound = (1..=MAX).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if sound && text.contains('/') { Ok(Some(text)) } else { Err(Condition::BadRequest) }
}
