//! A WebSocket that carries a session.

use crate::channel::line;
use crate::hub::outbox::connection::Conn;
use kennel_http::websocket::{CloseCode, Codec, Session};

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
