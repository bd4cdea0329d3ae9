//! BOSH: bodies of requests, and sessions of them.

use crate::{Chooser, Target};
use handler_core::channel::bosh::{Body, End, Output, Session, Settings, element};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// A body, whose elements stand alone as messages, and a message of a script.
pub(crate) const BOSH: Target = Target {
    name: "bosh",
    check: |bytes| {
        if let Ok(body) = Body::parse(bytes, 4000) {
            assert!(bytes.len() <= 4000 && body.messages().count() == body.len());
            for (binary, payload) in body.messages() {
                check_message(binary, &payload);
            }
        }
        check_message(false, bytes);
        check_message(true, bytes);
    },
    seeds: || {
        let texts = [
            "<body content='text/xml; charset=utf-8' hold='1' rid='1573741820' to='a.example' route='xmpp:a.example:9999' secure='true' \
             ver='1.6' wait='60' ack='1' xml:lang='en' newkey='ca393b51b682f61f98e7877d61146407f3d0a770' \
             xmlns='http://jabber.org/protocol/httpbind'/>",
            "<?xml version='1.0'?>\n<b:body rid='2' sid='s' key='k' ack='1' xmlns:b='http://jabber.org/protocol/httpbind' xmlns='urn:a' \
             xmlns:p='urn:p'><message to=\"&#65;&amp;\"><body>hi<![CDATA[<]]></body></message> <p:x p:y='1'/></b:body>",
            "<body rid='3' sid='s' type='terminate' pause='60' xmlns='http://jabber.org/protocol/httpbind'>\
             <text xmlns='urn:kennel:channel'>a&lt;b</text><binary xmlns='urn:kennel:channel'>/w==</binary></body>",
            "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;<!-- c --><?d e?></a>",
        ];
        texts.map(|text| text.as_bytes().to_vec()).to_vec()
    },
};

/// Whatever a message is, what is sent for it is one element that brings it back.
pub fn check_message(binary: bool, payload: &[u8]) {
    let sent = element::of_message(binary, payload);
    let text = std::str::from_utf8(&sent).expect("UTF-8");
    element::check(text).expect("one element");
    match element::unwrap(text) {
        Some((false, back)) if !binary => {
            assert!(sent.trim_ascii() == payload.trim_ascii() || back == payload)
        }
        Some((true, back)) => assert!(sent.trim_ascii() == payload.trim_ascii() || back == payload),
        other => assert!(other.is_none() && sent == payload.trim_ascii()),
    }
    let wrapped = element::wrap(binary, payload);
    let (is_binary, back) =
        element::unwrap(std::str::from_utf8(&wrapped).expect("UTF-8")).expect("what was wrapped");
    assert!(back == payload && (is_binary || !binary));
}

/// A session to which anything may happen in any order: no request is answered twice or remains without answer, and all
/// answers are bodies.
pub(crate) const BOSH_SESSION: Target = Target {
    name: "bosh_session",
    check: |bytes| {
        let mut choose = Chooser(bytes);
        let (opening, settings) = (choose.bytes(), settings(&mut choose));
        let now = Instant::now();
        let Ok(opening) = Body::parse(opening, 4000) else { return };
        let Ok(session) = Session::begin(&settings, &opening, 0, "sid", now) else { return };
        let mut play = Play::new(session, now);
        play.look();
        for request in 1.. {
            if choose.is_empty() {
                break;
            }
            play.step(request, &mut choose);
            play.look();
        }
        for _ in 0..100 {
            let Some(due) = play.session.next_timeout() else { break };
            play.now = play.now.max(due);
            play.session.handle_timeout(play.now);
            play.look();
        }
        assert!(play.ended.is_some() || settings.inactivity == 0);
        assert!(play.ended.is_none() || play.open.is_empty(), "{:?} are not answered", play.open);
    },
    seeds: || {
        let mut seed = Vec::new();
        let mut add = |kind: u8, text: &str| {
            let text = text.replace("XMLNS", "xmlns='http://jabber.org/protocol/httpbind'");
            seed.extend_from_slice(&[kind, u8::try_from(text.len()).expect("a short text")]);
            seed.extend_from_slice(text.as_bytes());
        };
        add(
            0,
            "<body rid='9' hold='1' wait='60' ack='1' ver='1.11' newkey='ca393b51b682f61f98e7877d61146407f3d0a770' XMLNS/>",
        );
        add(5, "");
        add(0, "<body rid='10' key='bfb06a6f113cd6fd3838ab9d300fdb4fe3da2f7d' XMLNS><a/></body>");
        add(1, "<m/>");
        add(0, "<body rid='11' ack='9' key='6f825e81f4532b2c5fa2d12457d8a1f22e8f838e' pause='9' XMLNS/>");
        add(2, "\x07");
        add(0, "<body rid='12' type='terminate' XMLNS/>");
        // The opening has no kind.
        vec![seed.split_off(1)]
    },
};

fn settings(choose: &mut Chooser<'_>) -> Settings {
    let polling = u16::from(choose.byte() % 8);
    let inactivity = u16::from(choose.byte() % 40);
    Settings { hold: 1 + choose.byte() % 3, polling, inactivity, ..Settings::default() }
}

/// A session, and the caller's side of it.
#[derive(Debug)]
pub struct Play {
    /// The session.
    pub session: Session,
    /// The time.
    pub now: Instant,
    /// HTTP requests that wait for their answers.
    pub open: HashSet<u64>,
    /// Messages of the client that were handed on.
    pub messages: usize,
    /// How it ended.
    pub ended: Option<End>,
}

impl Play {
    /// A session that request 0 has just begun.
    pub fn new(session: Session, now: Instant) -> Self {
        Self { session, now, open: HashSet::from([0]), messages: 0, ended: None }
    }

    fn step(&mut self, request: u64, choose: &mut Chooser<'_>) {
        let (kind, bytes) = (choose.byte(), choose.bytes());
        match kind % 8 {
            1 => self.send(bytes),
            2 => self.wait(Duration::from_millis(100 * bytes.first().map_or(1, |byte| u64::from(*byte)))),
            3 => self.gone(bytes.first().map_or(0, |byte| u64::from(*byte))),
            4 => self.session.close(None, self.now),
            5 => self.session.opened(self.now),
            _ => self.request(request, bytes),
        }
    }

    /// The script sends a text.
    pub fn send(&mut self, text: &[u8]) {
        self.session.send(element::of_message(false, text).into(), self.now);
    }

    /// Time passes.
    pub fn wait(&mut self, time: Duration) {
        self.now += time;
        self.session.handle_timeout(self.now);
    }

    /// The connection of a request is gone.
    pub fn gone(&mut self, request: u64) {
        self.open.remove(&request);
        self.session.request_gone(request, self.now);
    }

    /// The client asks something.
    pub fn request(&mut self, request: u64, body: &[u8]) {
        self.open.insert(request);
        match Body::parse(body, 4000) {
            Ok(body) => self.session.receive(&body, request, self.now),
            Err(_) => self.session.refuse(request),
        }
    }

    /// Takes what the session says, and looks whether it may say that.
    pub fn look(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Answer { request, status, body, .. } => {
                    assert!(self.open.remove(&request), "request {request} was answered or gone");
                    // An answer is a body as a request is, but for elements that need the namespaces of others.
                    assert!(status != 200 || Body::parse(&body, usize::MAX).is_ok());
                }
                Output::Message { .. } => self.messages += 1,
                Output::Ended { how } => assert_eq!(self.ended.replace(how), None),
            }
        }
    }
}
