//! Frames of a WebSocket, each a message to the handler of its handshake.

use super::Step;
use super::state::{Connection, State};
use crate::context::Context;
use std::time::Instant;

impl Connection {
    /// Takes the next frame.
    pub(super) fn take_frame(&mut self, cx: &mut Context, input: &[u8], _now: Instant) -> Step {
        let State::Frames(socket) = &mut self.state else { return Step::Waits };
        if cx.is_congested(socket.route.handler) {
            self.is_held = true;
            return Step::Waits;
        }
        let Ok((used, frame)) = socket.frames.next(input, cx.site.limits().frames) else {
            cx.counters.refused += 1;
            self.lose(cx);
            return Step::Waits;
        };
        if let Some(frame) = frame {
            let handler = socket.route.handler;
            let id = self.known_id(cx, handler);
            let State::Frames(socket) = &self.state else { return Step::Waits };
            let (head, route, peer) = (&socket.head, &socket.route, &self.peer);
            let flags = format!("0x{:X}", frame.flags);
            let more: [(&[u8], &[u8]); 1] = [(b"FLAGS", flags.as_bytes())];
            cx.send(handler, id, |to, site| {
                to.request(&route.about(peer, site, b"WEBSOCKET", &more), head, &frame.payload)
            });
        }
        if used == 0 { Step::Waits } else { Step::Used(used) }
    }
}
