//! Thousands of messages both ways while connections break, answers are lost and requests overtake each other; and
//! what a session costs that does nothing.

use super::*;
use fastrand::Rng;
use std::collections::BTreeMap;

/// A client as the protocol wants it: so many requests under way, each repeated until it is answered, answers read in
/// the order of their numbers.
struct Client {
    requests: u64,
    next: u64,
    /// Requests without answer: attributes, content, and the HTTP request that is under way with it.
    open: BTreeMap<u64, (String, Option<u64>)>,
    /// Answers that were read too early.
    early: BTreeMap<u64, String>,
    http: BTreeMap<u64, u64>,
    http_next: u64,
    said: u32,
    heard: Vec<u32>,
    acks: bool,
}

impl Client {
    /// The lowest number without an answer that was read.
    fn first(&self) -> u64 {
        self.open.keys().next().copied().unwrap_or(self.next)
    }

    fn may_ask(&self) -> bool {
        self.next < self.first() + self.requests
    }

    /// A new request, with so many messages.
    fn make(&mut self, messages: u32) -> u64 {
        let rid = self.next;
        self.next += 1;
        let content: String = (0..messages).map(|n| format!("<m>{}</m>", self.said + n)).collect();
        self.said += messages;
        let ack = if self.acks && self.first() < rid {
            format!("ack='{}'", self.first() - 1)
        } else {
            String::new()
        };
        let text = format!("<body rid='{rid}' sid='the-sid' {ack} xmlns='{NAMESPACE}'>{content}</body>");
        self.open.insert(rid, (text, None));
        rid
    }

    fn read(&mut self, rid: u64, body: String) {
        self.early.insert(rid, body);
        while let Some(body) = self.early.remove(&self.first()) {
            let body = Body::parse(body.as_bytes(), 1 << 20).unwrap();
            assert_eq!(body.attribute("type"), None, "{:?}", body.attribute("condition"));
            self.open.remove(&self.first());
            for (_, message) in body.messages() {
                let text = String::from_utf8(message).unwrap();
                self.heard.push(text["<m>".len()..text.len() - "</m>".len()].parse().unwrap());
            }
        }
    }
}

/// Plays a conversation in which whatever can be lost is lost by chance, and returns what both sides heard.
fn play(seed: u64, hold: u64, acks: bool, count: u32) -> (Vec<u32>, Vec<u32>) {
    let mut rng = Rng::with_seed(seed);
    let settings = Settings { polling: 0, ..Settings::default() };
    let ack = if acks { "ack='1'" } else { "" };
    let (mut talk, _) =
        Talk::answered(&settings, &format!("hold='{hold}' wait='20' ver='1.11' {ack}")).unwrap();
    let mut client = Client {
        requests: hold + 1,
        next: FIRST + 1,
        open: BTreeMap::new(),
        early: BTreeMap::new(),
        http: BTreeMap::new(),
        http_next: 1000,
        said: 0,
        heard: Vec::new(),
        acks,
    };
    let mut sent = 0;
    // What the client sent and has not arrived: the network may swap it.
    let mut under_way: Vec<(u64, String)> = Vec::new();
    for step in 0.. {
        assert!(step < 200 * count, "it does not come to an end");
        assert_eq!(talk.ended, None, "step {step} of seed {seed}");
        if sent < count && rng.u8(..3) == 0 {
            talk.send(&format!("<m>{sent}</m>"));
            sent += 1;
        }
        let done = client.said >= count;
        if client.may_ask() && (client.open.is_empty() || !done) && rng.bool() {
            client.make(if done { 0 } else { rng.u32(0..4) });
        }
        // Each without a connection gets one.
        let waiting: Vec<_> =
            client.open.iter().filter(|(_, (_, http))| http.is_none()).map(|(rid, _)| *rid).collect();
        for rid in waiting.into_iter().filter(|rid| !client.early.contains_key(rid)) {
            client.http_next += 1;
            client.http.insert(client.http_next, rid);
            let open = client.open.get_mut(&rid).unwrap();
            open.1 = Some(client.http_next);
            under_way.push((client.http_next, open.0.clone()));
        }
        if !under_way.is_empty() && rng.u8(..4) > 0 {
            let (http, text) = under_way.swap_remove(rng.usize(..under_way.len()));
            if rng.u8(..10) > 0 {
                let body = Body::parse(text.as_bytes(), 1 << 20).unwrap();
                talk.session.receive(&body, http, talk.now);
                talk.look();
            } else {
                // Lost on the way up; the client notices.
                let rid = client.http.remove(&http).unwrap();
                client.open.get_mut(&rid).unwrap().1 = None;
            }
        }
        for (http, body) in std::mem::take(&mut talk.answers) {
            let Some(rid) = client.http.remove(&http) else { continue };
            if let Some(open) = client.open.get_mut(&rid) {
                open.1 = None;
            }
            // Lost on the way down, or told to recover: it is repeated.
            if rng.u8(..10) > 0 && !body.contains("type=\"error\"") {
                client.read(rid, body);
            }
        }
        if rng.u8(..20) == 0 && !client.http.is_empty() {
            // A connection breaks while its request waits, or while it is still on its way up.
            let http = *client.http.keys().nth(rng.usize(..client.http.len())).unwrap();
            let rid = client.http.remove(&http).unwrap();
            client.open.get_mut(&rid).unwrap().1 = None;
            under_way.retain(|(other, _)| *other != http);
            talk.gone(http);
        }
        talk.pass(rng.f64() * 2.0);
        if sent == count
            && client.said >= count
            && client.heard.len() as u32 == count
            && talk.heard.len() as u32 == client.said
        {
            break;
        }
    }
    let number = |text: &String| text["<m>".len()..text.len() - "</m>".len()].parse().unwrap();
    (client.heard, talk.heard.iter().map(number).collect())
}

#[test]
fn each_message_arrives_once_and_in_order_while_connections_break() {
    for seed in 0..40 {
        let (hold, acks) = (1 + seed % 3, seed % 2 == 0);
        let (client, script) = play(seed, hold.min(2), acks, 250);
        assert!(client.iter().copied().eq(0..250), "seed {seed}");
        assert!(script.iter().copied().eq(0..script.len() as u32) && script.len() >= 250, "seed {seed}");
    }
}

#[test]
fn ten_thousand_messages_arrive_once_and_in_order() {
    let (client, _) = play(1000, 1, false, 10_000);
    assert!(client.iter().copied().eq(0..10_000));
}

#[test]
fn an_idle_session_that_is_held_takes_less_than_a_kibibyte_and_a_half() {
    for attributes in
        ["hold='1' wait='60' ver='1.11'", "hold='2' wait='60' ver='1.11' ack='1' content='text/html'"]
    {
        let mut talk = Talk::open(attributes);
        for rid in 101..150 {
            talk.say(rid, "", "<m>hello</m>");
            (0..100).for_each(|_| talk.send("<m>hello</m>"));
        }
        for rid in 150..160 {
            talk.pass(6.0);
            talk.ask(rid);
        }
        talk.pass(10.0);
        assert_eq!((talk.ended, talk.session.waiting()), (None, (0, 0)));
        let size = talk.session.size();
        assert!(size <= 1536, "{size} bytes");
    }
}
