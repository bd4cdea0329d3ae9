//! What waits for a session, to the WebSocket that carries it.

use crate::channel::line::{self};
use crate::hub::ids::LiveId;
use crate::hub::limits::Limits;
use crate::hub::live::Live;
use crate::hub::live::carrier::Carrier;
use crate::hub::live::session::LEAST_WINDOW;
use crate::hub::live::table::{Channel, Lives, PATIENCE, Stage};
use crate::hub::outbox::connection::Conn;
use kennel_http::websocket::CloseCode;
use std::time::Instant;

/// Bytes of frames that are written to a connection before it has sent those that were.
const TOGETHER: usize = 64 << 10;

impl Live {
    /// Writes what waits for a session to its WebSocket.
    pub(in crate::hub::live) fn fill_line(
        &mut self,
        id: LiveId,
        conn: &mut Conn,
        limits: &Limits,
        now: Instant,
    ) {
        let Some(channel) = self.lives.get_mut(id) else { return };
        let Channel { number, stage, carrier: Carrier::Http(session), .. } = channel else { return };
        let Some(line) = &mut session.line else { return };
        let window = limits.resume.max(LEAST_WINDOW);
        let is_closing = *stage == Stage::Closing;
        let has_room = |session: &crate::channel::mailbox::Mailbox| {
            let (letters, bytes) = session.unacknowledged();
            // The close goes behind all that waits, whether the client acknowledges or not.
            is_closing || (bytes < window && letters < (limits.mailbox as u64 / 2).max(1))
        };
        if has_room(&session.mailbox) && session.mailbox.peek().is_some() {
            line.acknowledge(session.received, conn, &mut self.codec);
        }
        let deflate = line.socket.deflate();
        while conn.out.len() < TOGETHER
            && line.socket.is_open()
            && has_room(&session.mailbox)
            && let Some((number, letter)) = session.mailbox.hand_out()
        {
            let codec = &mut self.codec;
            if number != line.handed + 1 {
                conn.out.append(|out| line::steer(line::number(number).as_bytes(), codec, out));
            }
            line.handed = number;
            conn.out.append(|out| line::message(letter, deflate, codec, out));
        }
        if is_closing && session.mailbox.is_all_sent() {
            let (code, reason) = self.our_closes.get(&id).map_or((1000, ""), |(code, why)| (*code, why));
            if conn.out.append(|out| line.socket.close(CloseCode(code), reason, out)) {
                session.due = *session.told.get_or_insert(now + PATIENCE);
                self.sessions.agenda.plan(session.due, id, *number, &mut session.planned);
            }
        }
    }
}

impl Lives {
    /// Whether a WebSocket carries this session.
    pub(in crate::hub) fn is_on_line(&self, id: LiveId) -> bool {
        let carrier = self.get(id).map(|channel| &channel.carrier);
        matches!(carrier, Some(Carrier::Http(session)) if session.line.is_some())
    }
}
