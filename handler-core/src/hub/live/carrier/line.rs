//! A WebSocket that carries a session.

use super::http::ByHttp;
use crate::channel::line;
use crate::hub::ids::ConnKey;
use crate::hub::outbox::connection::Conn;
use kennel_http::websocket::{CloseCode, Codec, Session};

/// Signs of life that a client may leave unanswered. More than those of a plain WebSocket: a client that sends a large message
/// over a slow line answers behind it, and to be cut off would make it begin again.
const UNANSWERED: u8 = 4;

/// A WebSocket that carries a session.
#[derive(Debug)]
pub(in crate::hub::live) struct Line {
    pub socket: Session,
    /// The number of the last message of the client that this line has brought.
    pub said: u64,
    /// How far the client knows that its messages have come.
    pub told: u64,
    /// The script does not keep up, and the client knows it: nothing is taken until the message comes that was refused.
    pub busy: bool,
    /// The number of the last message that the client expects to have.
    pub handed: u64,
}

/// What a session's sign of life came to.
pub(in crate::hub::live) enum Beat {
    /// No WebSocket carries it now, or one that is being closed.
    None,
    /// The client has left several unanswered.
    Dead(ConnKey),
    /// It is to be sent there.
    Due(ConnKey),
}

impl ByHttp {
    /// Appends a ping and a sign of life, where a WebSocket carries the session.
    pub fn beat(&mut self, out: &mut Vec<u8>, codec: &mut Codec) -> Beat {
        let (Some(key), Some(line)) = (self.stream, &mut self.line) else {
            self.beats = false;
            return Beat::None;
        };
        if line.socket.unanswered() >= UNANSWERED {
            self.beats = false;
            return Beat::Dead(key);
        }
        if !line.socket.ping(out) {
            self.beats = false;
            return Beat::None;
        }
        line::steer(line::ALIVE, codec, out);
        Beat::Due(key)
    }

    /// The WebSocket that carries the session.
    pub fn line_key(&self) -> Option<ConnKey> {
        self.stream.filter(|_| self.line.is_some())
    }

    /// Whether a sign of life has to be planned: none is yet.
    pub fn plan_beats(&mut self) -> bool {
        !std::mem::replace(&mut self.beats, true)
    }

    /// Counts a ping that asks whether messages have arrived. `false`: no WebSocket carries the session.
    pub fn asks(&mut self) -> bool {
        let Some(line) = &mut self.line else { return false };
        line.socket.asks();
        true
    }
}

impl Line {
    /// Tells the client how far its messages have come, if it does not know.
    pub fn acknowledge(&mut self, received: u64, conn: &mut Conn, codec: &mut Codec) {
        if self.told < received && self.socket.is_open() {
            self.told = received;
            conn.out.append(|out| line::steer(line::received(received, false).as_bytes(), codec, out));
        }
    }

    /// The last frames: what waits, and the close.
    pub fn dismiss(
        &mut self,
        session: (&mut crate::channel::mailbox::Mailbox, u64),
        close: (u16, &str),
        conn: &mut Conn,
        codec: &mut Codec,
    ) {
        let (mailbox, received) = session;
        self.acknowledge(received, conn, codec);
        let deflate = self.socket.deflate();
        while self.socket.is_open()
            && let Some((_, letter)) = mailbox.hand_out()
        {
            conn.out.append(|out| line::message(letter, deflate, codec, out));
        }
        conn.out.append(|out| self.socket.close(CloseCode(close.0), close.1, out));
    }
}
