//! One conversation on the server's side: what arrives is judged, pings and closes are answered.
//!
//! A message is what Mongrel2 delivers: the first byte of its first frame with FIN set, and the whole
//! unmasked payload. What is to be sent is appended to a buffer as ready frames.

use super::close::{self, CloseCode, Violation};
use super::codec::{Codec, InflateError};
use super::deflate::Deflate;
use super::frame::{self, CONTROL_MAX, FIN, Opcode, RSV1, RSV23};
use std::borrow::Cow;

/// What a message means for the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// Text, which is UTF-8.
    Text(Cow<'a, str>),
    /// Any bytes.
    Binary(Cow<'a, [u8]>),
    /// A ping, answered.
    Ping,
    /// A pong.
    Pong,
    /// The client's close: echoed, or the answer to ours. The connection is to be closed.
    Closed {
        /// The client's code, [`CloseCode::NO_STATUS`] when it gave none.
        code: CloseCode,
        /// The client's reason.
        reason: String,
    },
    /// The client broke a rule and was told so. The connection is to be closed.
    Violation {
        /// Which kind of rule.
        code: CloseCode,
        /// Which rule.
        reason: &'static str,
    },
    /// Nothing: the conversation is over, or ours is the last word and this was not the client's.
    Ignored,
}

/// How far a conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// We sent a close and wait for theirs.
    Closing,
    /// Both closes went, or a rule was broken.
    Over,
}

/// A conversation's state: twelve bytes.
#[derive(Debug, Clone, Copy)]
pub struct Session {
    /// The second in which the client's own control frames were last counted.
    second: u32,
    /// The client's own control frames, less those that time has made up for.
    controls: u16,
    /// Pings that we sent and that no pong has answered. Each entitles the client to one pong.
    asked: u16,
    unanswered: u8,
    state: State,
    deflate: Option<Deflate>,
}

impl Session {
    /// Pings, and pongs that answer no ping of ours, that a client may send in a second, on average.
    pub const CONTROL_RATE: u16 = 250;
    /// How many of them a client may send at once. A line that was dead for a while delivers in one bundle
    /// what the client sent meanwhile: here, ten in a second for a minute and a half.
    pub const CONTROL_BURST: u16 = 1000;

    /// A conversation just accepted.
    pub fn new(deflate: Option<Deflate>) -> Self {
        Self { second: 0, controls: 0, asked: 0, unanswered: 0, state: State::Open, deflate }
    }

    /// How messages to this client may be compressed.
    pub fn deflate(&self) -> Option<Deflate> {
        self.deflate
    }

    /// Whether messages may still be sent.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Pings since the client was last heard of.
    pub fn unanswered(&self) -> u8 {
        self.unanswered
    }

    /// Judges a message. `flags` is its first byte, `max_message` bounds its size before and after
    /// inflating, `second` is any clock that counts seconds; answers are appended to `out`.
    pub fn receive<'a>(
        &mut self,
        flags: u8,
        payload: &'a [u8],
        max_message: usize,
        codec: &mut Codec,
        second: u32,
        out: &mut Vec<u8>,
    ) -> Event<'a> {
        if self.state == State::Over {
            return Event::Ignored;
        }
        self.unanswered = 0;
        let opcode = Opcode::of(flags);
        let judged = self.check(flags, opcode, payload).and_then(|()| match opcode {
            Opcode::Close => self.their_close(payload, out),
            Opcode::Ping | Opcode::Pong => self.control(opcode, payload, second, out),
            _ if self.state == State::Closing => Ok(Event::Ignored),
            _ => data(flags, payload, max_message, codec),
        });
        judged.unwrap_or_else(|Violation { code, reason }| {
            self.close(code, reason, out);
            self.state = State::Over;
            Event::Violation { code, reason }
        })
    }

    /// Appends our close frame; `false` when there was one already. A code that may not be sent makes
    /// a close without code.
    pub fn close(&mut self, code: CloseCode, reason: &str, out: &mut Vec<u8>) -> bool {
        if self.state != State::Open {
            return false;
        }
        self.state = State::Closing;
        let payload = if code.may_be_sent() { close::encode_payload(code, reason) } else { Vec::new() };
        frame::encode(out, Opcode::Close, &payload, false);
        true
    }

    /// Appends a ping and counts it; `false` when the conversation is at its end.
    pub fn ping(&mut self, out: &mut Vec<u8>) -> bool {
        if self.state != State::Open {
            return false;
        }
        self.unanswered = self.unanswered.saturating_add(1);
        self.asks();
        frame::encode(out, Opcode::Ping, b"", false);
        true
    }

    /// Counts a ping that the caller sends: the client may answer it by a pong.
    pub fn asks(&mut self) {
        self.asked = self.asked.saturating_add(1);
    }

    /// What a first byte and a size can break.
    fn check(&self, flags: u8, opcode: Opcode, payload: &[u8]) -> Result<(), Violation> {
        let fail = |reason| Err(Violation { code: CloseCode::PROTOCOL, reason });
        if flags & FIN == 0 || opcode == Opcode::Continuation {
            return fail("a fragment without its message");
        }
        if let Opcode::Reserved(_) = opcode {
            return fail("unknown opcode");
        }
        if flags & RSV23 != 0 || (flags & RSV1 != 0 && (opcode.is_control() || self.deflate.is_none())) {
            return fail("a reserved bit is set");
        }
        if opcode.is_control() && payload.len() > CONTROL_MAX {
            return fail("a control frame holds at most 125 bytes");
        }
        Ok(())
    }

    fn control<'a>(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        second: u32,
        out: &mut Vec<u8>,
    ) -> Result<Event<'a>, Violation> {
        if opcode == Opcode::Pong && self.asked > 0 {
            // RFC 6455, 5.5.3: a client may leave older pings unanswered, so this may be the pong of any of them.
            self.asked -= 1;
            return Ok(Event::Pong);
        }
        let passed = u16::try_from(second.saturating_sub(self.second)).unwrap_or(u16::MAX);
        self.controls = self.controls.saturating_sub(passed.saturating_mul(Self::CONTROL_RATE));
        self.second = second;
        if self.controls >= Self::CONTROL_BURST {
            return Err(Violation { code: CloseCode::POLICY, reason: "too many control frames" });
        }
        self.controls += 1;
        if opcode == Opcode::Pong {
            return Ok(Event::Pong);
        }
        // RFC 6455, 5.5.2: every ping before their close has its pong, also after ours.
        frame::encode(out, Opcode::Pong, payload, false);
        Ok(Event::Ping)
    }

    fn their_close<'a>(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<Event<'a>, Violation> {
        let (code, reason) = close::parse(payload)?;
        if self.state == State::Open {
            frame::encode(out, Opcode::Close, &close::encode_payload(code, ""), false);
        }
        self.state = State::Over;
        Ok(Event::Closed { code, reason: reason.to_owned() })
    }
}

fn data<'a>(flags: u8, payload: &'a [u8], limit: usize, codec: &mut Codec) -> Result<Event<'a>, Violation> {
    let too_big = Violation { code: CloseCode::TOO_BIG, reason: "message too big" };
    let bad_data = |reason| Violation { code: CloseCode::BAD_DATA, reason };
    if payload.len() > limit {
        return Err(too_big);
    }
    let payload = if flags & RSV1 == 0 {
        Cow::Borrowed(payload)
    } else {
        Cow::Owned(codec.inflate(payload, limit).map_err(|error| match error {
            InflateError::TooBig => too_big,
            InflateError::Corrupt => bad_data("a compressed message does not inflate"),
        })?)
    };
    if Opcode::of(flags) == Opcode::Binary {
        return Ok(Event::Binary(payload));
    }
    let text = match payload {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).ok(),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).ok(),
    };
    text.map(Event::Text).ok_or_else(|| bad_data("a text is not UTF-8"))
}

/// Appends a message to be sent: text, or `binary` data. It is compressed where that is agreed on and
/// makes it smaller. The bytes fit every conversation with the same `deflate`.
pub fn encode_message(
    out: &mut Vec<u8>,
    binary: bool,
    payload: &[u8],
    deflate: Option<Deflate>,
    codec: &mut Codec,
) {
    let opcode = if binary { Opcode::Binary } else { Opcode::Text };
    match deflate.and_then(|deflate| codec.compress_if_smaller(payload, deflate)) {
        Some(compressed) => frame::encode(out, opcode, compressed, true),
        None => frame::encode(out, opcode, payload, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1000;

    /// What becomes of one message, and what is written.
    fn one(session: &mut Session, flags: u8, payload: &[u8]) -> (Event<'static>, Vec<u8>) {
        let mut out = Vec::new();
        let event = match session.receive(flags, payload, MAX, &mut Codec::new(), 1, &mut out) {
            Event::Text(text) => Event::Text(Cow::Owned(text.into_owned())),
            Event::Binary(bytes) => Event::Binary(Cow::Owned(bytes.into_owned())),
            Event::Closed { code, reason } => Event::Closed { code, reason },
            Event::Violation { code, reason } => Event::Violation { code, reason },
            Event::Ping => Event::Ping,
            Event::Pong => Event::Pong,
            Event::Ignored => Event::Ignored,
        };
        (event, out)
    }

    fn plain() -> Session {
        Session::new(None)
    }

    /// The code of the violation, after checking that our close frame says the same.
    fn violation(session: &mut Session, flags: u8, payload: &[u8]) -> u16 {
        match one(session, flags, payload) {
            (Event::Violation { code, reason }, out) => {
                assert_eq!(out[0], 0x88);
                assert_eq!(close::parse(&out[2..]), Ok((code, reason)));
                assert_eq!(one(session, 0x81, b"later"), (Event::Ignored, vec![]));
                code.0
            }
            other => panic!("{flags:#x} {payload:?}: {other:?}"),
        }
    }

    #[test]
    fn a_conversation_is_twelve_bytes() {
        assert_eq!(size_of::<Session>(), 12);
    }

    #[test]
    fn data_comes_through() {
        let mut session = plain();
        assert_eq!(one(&mut session, 0x81, "héllo".as_bytes()).0, Event::Text("héllo".into()));
        assert_eq!(one(&mut session, 0x82, b"\xff").0, Event::Binary(Cow::Borrowed(b"\xff")));
        assert_eq!(one(&mut session, 0x81, b"").0, Event::Text("".into()));
        assert_eq!(one(&mut session, 0x82, &[0; MAX]).0, Event::Binary(Cow::Owned(vec![0; MAX])));
        assert_eq!(violation(&mut session, 0x82, &[0; MAX + 1]), 1009);
    }

    #[test]
    fn every_first_byte_is_judged() {
        for flags in 0..=u8::MAX {
            let legal = matches!(flags, 0x81 | 0x82 | 0x88 | 0x89 | 0x8a);
            if !legal {
                assert_eq!(violation(&mut plain(), flags, b""), 1002, "{flags:#x}");
            }
            let with_deflate = one(&mut Session::new(Some(Deflate::default())), flags, b"").0;
            let legal = legal || matches!(flags, 0xc1 | 0xc2);
            assert_eq!(matches!(with_deflate, Event::Violation { .. }), !legal, "{flags:#x}");
        }
    }

    #[test]
    fn text_is_utf_8_or_ends_the_conversation() {
        for good in ["\u{0}", "\u{7f}", "\u{80}", "\u{7ff}", "\u{d7ff}", "\u{e000}", "\u{ffff}", "\u{10ffff}"]
        {
            assert_eq!(one(&mut plain(), 0x81, good.as_bytes()).0, Event::Text(good.into()));
        }
        for bad in [
            &b"\x80"[..],        // a continuation byte alone
            b"\xc0\xaf",         // overlong
            b"\xc1\xbf",         // overlong
            b"\xe0\x80\xaf",     // overlong
            b"\xf0\x8f\xbf\xbf", // overlong
            b"\xed\xa0\x80",     // a surrogate
            b"\xed\xbf\xbf",     // a surrogate
            b"\xf4\x90\x80\x80", // above U+10FFFF
            b"\xf8\x88\x80\x80\x80",
            b"\xff",
            b"ok \xe2\x82", // breaks off
        ] {
            assert_eq!(violation(&mut plain(), 0x81, bad), 1007, "{bad:x?}");
        }
    }

    #[test]
    fn pings_are_answered_and_any_frame_counts_as_an_answer() {
        let mut session = plain();
        assert_eq!(one(&mut session, 0x89, b"Hello"), (Event::Ping, b"\x8a\x05Hello".to_vec()));
        assert_eq!(one(&mut session, 0x89, &[7; 125]).1.len(), 127);
        let mut out = Vec::new();
        assert!(session.ping(&mut out) && session.ping(&mut out));
        assert_eq!((out, session.unanswered()), (b"\x89\x00\x89\x00".to_vec(), 2));
        assert_eq!(one(&mut session, 0x8a, b""), (Event::Pong, vec![]));
        assert_eq!(session.unanswered(), 0);
        session.ping(&mut Vec::new());
        one(&mut session, 0x81, b"x");
        assert_eq!(session.unanswered(), 0);
        assert_eq!(violation(&mut session, 0x89, &[7; 126]), 1002);
    }

    /// How many control frames with this first byte a client may send in this second, before it is closed.
    fn allowed(session: &mut Session, flags: u8, second: u32) -> u32 {
        let (mut codec, mut out) = (Codec::new(), Vec::new());
        for sent in 0.. {
            match session.receive(flags, b"", MAX, &mut codec, second, &mut out) {
                Event::Ping | Event::Pong => {}
                Event::Violation { code: CloseCode::POLICY, .. } => return sent,
                other => panic!("{other:?}"),
            }
        }
        unreachable!("the number of control frames is bounded")
    }

    #[test]
    fn a_clients_own_control_frames_are_bounded_at_once_and_on_average() {
        let (rate, burst) = (u32::from(Session::CONTROL_RATE), u32::from(Session::CONTROL_BURST));
        for flags in [0x89, 0x8a] {
            assert_eq!(allowed(&mut plain(), flags, 0), burst);
            assert_eq!(allowed(&mut plain(), flags, u32::MAX), burst);
        }
        let (mut session, mut codec) = (plain(), Codec::new());
        let mut send = |session: &mut Session, count: u32, second: u32| {
            for n in 0..count {
                let flags = if n % 2 == 0 { 0x89 } else { 0x8a };
                let event = session.receive(flags, b"", MAX, &mut codec, second, &mut Vec::new());
                assert!(matches!(event, Event::Ping | Event::Pong), "{n} in second {second}: {event:?}");
            }
        };
        (0..100).for_each(|second| send(&mut session, rate, second));
        // The line is dead for 30 s, and then everything comes at once.
        send(&mut session, 300, 130);
        assert_eq!(allowed(&mut session.clone(), 0x89, 130), burst - 300);
        assert_eq!(allowed(&mut session.clone(), 0x8a, 131), burst - 50);
        assert_eq!(allowed(&mut session, 0x89, 132), burst);
    }

    #[test]
    fn pongs_that_answer_our_pings_are_free_and_no_others() {
        let burst = u32::from(Session::CONTROL_BURST);
        let mut session = plain();
        for n in 0..100_000 {
            if n % 100 == 0 {
                assert!(session.ping(&mut Vec::new()));
            } else {
                session.asks();
            }
            assert_eq!(one(&mut session, 0x8a, b"any").0, Event::Pong);
        }
        assert_eq!(allowed(&mut session.clone(), 0x89, 1), burst, "none of them counts");
        assert_eq!(allowed(&mut session.clone(), 0x8a, 1), burst, "none that comes without a ping is free");
        // A client that answers only the latest of five pings has four pongs left, and pings are never free.
        (0..5).for_each(|_| session.asks());
        assert_eq!(one(&mut session, 0x8a, b"").0, Event::Pong);
        assert_eq!(allowed(&mut session.clone(), 0x89, 1), burst);
        assert_eq!(allowed(&mut session, 0x8a, 1), burst + 4);
    }

    #[test]
    fn every_close_is_echoed_once_or_judged() {
        for code in 0..=u16::MAX {
            let (payload, mut session) = ([&code.to_be_bytes()[..], b"bye"].concat(), plain());
            if CloseCode(code).may_be_received() {
                let (event, out) = one(&mut session, 0x88, &payload);
                assert_eq!(event, Event::Closed { code: CloseCode(code), reason: "bye".to_owned() });
                assert_eq!(out, [&[0x88, 2][..], &code.to_be_bytes()].concat());
                assert_eq!(one(&mut session, 0x88, &payload), (Event::Ignored, vec![]));
                assert!(!session.close(CloseCode::NORMAL, "", &mut Vec::new()));
            } else {
                assert_eq!(violation(&mut session, 0x88, &payload), 1002, "{code}");
            }
        }
        let (event, out) = one(&mut plain(), 0x88, b"");
        assert_eq!(event, Event::Closed { code: CloseCode::NO_STATUS, reason: String::new() });
        assert_eq!(out, b"\x88\x00");
        assert_eq!(violation(&mut plain(), 0x88, b"\x03"), 1002);
        assert_eq!(violation(&mut plain(), 0x88, b"\x03\xe8\xff"), 1007);
    }

    #[test]
    fn after_our_close_only_theirs_matters() {
        let (mut session, mut out) = (plain(), Vec::new());
        assert!(session.close(CloseCode::GOING_AWAY, "bye", &mut out));
        assert_eq!(out, b"\x88\x05\x03\xe9bye");
        assert!(!session.close(CloseCode::NORMAL, "", &mut out) && !session.ping(&mut out));
        assert!(!session.is_open());
        assert_eq!(one(&mut session, 0x81, b"\xff"), (Event::Ignored, vec![]));
        assert_eq!(one(&mut session, 0x89, b"x"), (Event::Ping, b"\x8a\x01x".to_vec()));
        let (event, out) = one(&mut session, 0x88, b"\x03\xe9");
        assert_eq!(event, Event::Closed { code: CloseCode::GOING_AWAY, reason: String::new() });
        assert_eq!(out, b"");
        assert_eq!(one(&mut session, 0x88, b""), (Event::Ignored, vec![]));
        let mut session = plain();
        session.close(CloseCode::NORMAL, "", &mut Vec::new());
        let (event, out) = one(&mut session, 0x83, b"");
        assert!(matches!(event, Event::Violation { code: CloseCode::PROTOCOL, .. }) && out.is_empty());
    }

    #[test]
    fn a_code_that_may_not_be_sent_closes_without_one() {
        for code in [CloseCode::NO_STATUS, CloseCode::ABNORMAL, CloseCode(1010), CloseCode(0)] {
            let mut out = Vec::new();
            assert!(plain().close(code, "why", &mut out));
            assert_eq!(out, b"\x88\x00");
        }
    }

    #[test]
    fn compressed_messages_are_inflated_within_the_limit() {
        let mut session = Session::new(Some(Deflate::default()));
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(one(&mut session, 0xc1, &hello).0, Event::Text("Hello".into()));
        assert_eq!(one(&mut session, 0xc2, &hello).0, Event::Binary(Cow::Borrowed(b"Hello")));
        assert_eq!(violation(&mut session, 0xc1, b"\xff\xff"), 1007);
        let mut bomb = Vec::new();
        Codec::new().compress(&[0; MAX + 1], Deflate::default(), &mut bomb);
        assert_eq!(violation(&mut Session::new(Some(Deflate::default())), 0xc1, &bomb), 1009);
        let mut surrogate = Vec::new();
        Codec::new().compress(b"\xed\xa0\x80", Deflate::default(), &mut surrogate);
        assert_eq!(violation(&mut Session::new(Some(Deflate::default())), 0xc1, &surrogate), 1007);
    }

    #[test]
    fn what_is_sent_is_compressed_where_it_pays() {
        let (mut codec, mut out) = (Codec::new(), Vec::new());
        encode_message(&mut out, true, b"short", Some(Deflate::default()), &mut codec);
        assert_eq!(out, b"\x82\x05short");
        out.clear();
        encode_message(&mut out, false, &[b'x'; 5000], Some(Deflate::default()), &mut codec);
        assert!(out[0] == 0xc1 && out.len() < 100);
        assert_eq!(codec.inflate(&out[2..], 5000).unwrap(), [b'x'; 5000]);
        out.clear();
        encode_message(&mut out, false, &[b'x'; 5000], None, &mut codec);
        assert!(out[0] == 0x81 && out.len() == 5004);
    }
}
