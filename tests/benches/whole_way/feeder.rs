//! The feeder's sockets: what Mongrel2 binds for one Handler.

use std::time::Instant;

use crate::ledger::{Begun, ConnId, Ledger};
use crate::reply::{Reply, Response};
use crate::request::{Feed, IDENT, Requests};
use crate::scratch::Scratch;

/// What the addresses look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// A Unix socket in the measurement's folder.
    Ipc,
    /// 127.0.0.1, any free port.
    Tcp,
}

/// A handler that takes no request for so long has stopped reading.
const SEND_PATIENCE_MS: i32 = 2_000;
/// How often the receiving side looks up to see what time it is.
const RECV_PATIENCE_MS: i32 = 10;

/// PUSH at `send_spec` and SUB at `recv_spec`, with the options that Mongrel2 gives them: libzmq's defaults.
pub(crate) struct Feeder {
    pub(crate) send_spec: String,
    pub(crate) recv_spec: String,
    push: zmq::Socket,
    sub: zmq::Socket,
}

/// The sending half, with the books: both are touched together, by whoever sends or settles a request.
pub(crate) struct Desk {
    pub(crate) ledger: Ledger,
    requests: Requests,
    push: zmq::Socket,
    echoes: bool,
    feed: Feed,
}

/// The receiving half.
pub(crate) struct Inbox {
    sub: zmq::Socket,
    message: zmq::Message,
}

impl Feeder {
    /// Binds both sockets; the addresses are in `send_spec` and `recv_spec` then.
    pub(crate) fn bind(scratch: &Scratch, transport: Transport) -> Result<Feeder, String> {
        let spec = |name: &str| match transport {
            Transport::Ipc => format!("ipc://{}/{name}", scratch.path().display()),
            Transport::Tcp => "tcp://127.0.0.1:*".to_owned(),
        };
        let bind = || -> zmq::Result<Feeder> {
            let context = zmq::Context::new();
            let push = context.socket(zmq::PUSH)?;
            push.set_identity(IDENT.as_bytes())?;
            push.set_linger(0)?;
            push.set_sndtimeo(SEND_PATIENCE_MS)?;
            push.bind(&spec("send"))?;
            let sub = context.socket(zmq::SUB)?;
            sub.set_subscribe(IDENT.as_bytes())?;
            sub.set_linger(0)?;
            sub.set_rcvtimeo(RECV_PATIENCE_MS)?;
            sub.bind(&spec("recv"))?;
            let address = |socket: &zmq::Socket| Ok(socket.get_last_endpoint()?.unwrap_or_default());
            Ok(Feeder { send_spec: address(&push)?, recv_spec: address(&sub)?, push, sub })
        };
        bind().map_err(|error| format!("the feeder cannot bind its sockets: {error}"))
    }

    /// Lets libzmq do what it does only inside a call: subscribe at handlers that have connected since.
    pub(crate) fn attend(&self) -> Result<(), String> {
        self.sub.get_events().map(drop).map_err(|error| format!("the feeder cannot listen: {error}"))
    }

    /// Opens the books on a pool of connections. `echoes`: whether bodies are tokens; `feed`: what it is fed.
    pub(crate) fn open(self, connections: usize, pipeline: usize, echoes: bool, feed: Feed) -> (Desk, Inbox) {
        let ledger = Ledger::new(connections, pipeline);
        let requests = Requests::new(connections, feed);
        let desk = Desk { ledger, requests, push: self.push, echoes, feed };
        (desk, Inbox { sub: self.sub, message: zmq::Message::new() })
    }
}

impl Desk {
    /// Sends a request on an idle connection; false when there is none.
    pub(crate) fn send(&mut self, scheduled: Instant, now: Instant) -> Result<bool, String> {
        let Some(Begun { slot, conn_id, token, ended }) = self.ledger.begin(scheduled, now) else {
            return Ok(false);
        };
        if let Some(ended) = ended {
            self.say_goodbye(ended)?;
        }
        let message = self.requests.encode(slot, conn_id, token);
        self.push.send(message, 0).map_err(refused)?;
        Ok(true)
    }

    /// Writes down what a message from the handler says; returns the payload's length.
    pub(crate) fn receive(&mut self, message: &[u8], now: Instant) -> usize {
        let Some(reply) = Reply::parse(message) else {
            self.ledger.malformed();
            return 0;
        };
        if reply.extended {
            return 0;
        }
        if reply.payload.is_empty() {
            self.ledger.malformed();
        }
        let mut rest = reply.payload;
        while !rest.is_empty() {
            if let Some(ping) = (self.feed == Feed::Frames).then(|| Response::parse_ping(rest)).flatten() {
                let (payload, after) = ping;
                let pong = self.requests.pong(reply.conn_id, payload);
                if self.push.send(pong, zmq::DONTWAIT).is_err() {
                    self.ledger.malformed();
                }
                rest = after;
                continue;
            }
            let parsed =
                if self.feed == Feed::Frames { Response::parse_frame(rest) } else { Response::parse(rest) };
            let Some((response, after)) = parsed else {
                self.ledger.malformed();
                break;
            };
            match response.token() {
                _ if response.status != 200 => self.ledger.fail(reply.conn_id, now),
                _ if !self.echoes => self.ledger.answer(reply.conn_id, None, now),
                Some(token) => self.ledger.answer(reply.conn_id, Some(token), now),
                None => self.ledger.malformed(),
            }
            rest = after;
        }
        reply.payload.len()
    }

    /// Counts what was sent at `sent_before` or earlier as lost, and tells the handler that those clients left.
    pub(crate) fn give_up(&mut self, sent_before: Instant) -> Result<(), String> {
        for ended in self.ledger.give_up(sent_before) {
            self.say_goodbye(ended)?;
        }
        Ok(())
    }

    fn say_goodbye(&self, conn_id: ConnId) -> Result<(), String> {
        self.push.send(self.requests.disconnect(conn_id), 0).map_err(refused)
    }
}

impl Inbox {
    /// The next message; `None` when there was none for a while.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, String> {
        match self.sub.recv(&mut self.message, 0) {
            Ok(()) => Ok(Some(&self.message)),
            Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => Ok(None),
            Err(error) => Err(format!("the feeder cannot receive: {error}")),
        }
    }
}

fn refused(error: zmq::Error) -> String {
    match error {
        zmq::Error::EAGAIN => format!("took no request for {SEND_PATIENCE_MS} ms: it has stopped reading"),
        other => format!("the feeder cannot send: {other}"),
    }
}
