//! Bodies that go to their handler in parts, as it grants bytes.

use super::Step;
use super::state::{Connection, State};
use crate::context::Context;
use std::time::Instant;

impl Connection {
    /// Hands on as much as the handler has granted.
    pub(super) fn take_parts(&mut self, cx: &mut Context, input: &[u8], _now: Instant) -> Step {
        let State::Stream(stream) = &mut self.state else { return Step::Waits };
        let most = usize::try_from(stream.credits).unwrap_or(usize::MAX).min(cx.site.limits().content_length);
        let step = match stream.decoder.step(input, most) {
            Ok(step) => step,
            // The handler knows the request: all it can be told is that the client is gone.
            Err(_) => {
                self.lose(cx);
                return Step::Waits;
            }
        };
        let (offset, size) = (stream.offset, step.data.len() as u64);
        stream.offset += size;
        stream.credits -= size;
        if size > 0 || step.is_last {
            let (handler, path) = (stream.route.handler, stream.path.clone());
            let id = self.known_id(cx, handler);
            cx.send(handler, id, |to, _| to.part(&path, offset, step.is_last, step.data));
        }
        if step.is_last {
            self.state = State::Between;
        } else if step.used == 0 {
            return Step::Waits;
        }
        Step::Used(step.used)
    }
}
