//! Bodies that go to a file.

use super::Step;
use super::state::{Connection, State};
use super::tasks::Phase;
use crate::context::Context;
use crate::effect::Effect;
use std::io;
use std::time::Instant;

const START: &[u8] = b"x-mongrel2-upload-start";
const DONE: &[u8] = b"x-mongrel2-upload-done";
/// What a client waits for that asked whether its body is wanted.
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Connection {
    /// The file is there, or cannot be.
    pub(super) fn begin_upload(&mut self, cx: &mut Context, name: io::Result<String>, now: Instant) {
        let (State::Upload(upload), Ok(name)) = (&mut self.state, name) else {
            if matches!(self.state, State::Upload(_)) {
                self.refuse(cx, 503, now);
            }
            return;
        };
        let expects = std::mem::take(&mut upload.expects);
        upload.phase = Phase::Storing { name: name.clone() };
        self.tell(cx, &[(START, name.as_bytes())]);
        if let State::Upload(upload) = &self.state {
            self.progress.asked(upload.head.method());
        }
        if expects {
            self.push(cx, CONTINUE, now);
        }
    }

    /// Appends to the file what has come.
    pub(super) fn store(&mut self, cx: &mut Context, input: &[u8], _now: Instant) -> Step {
        let State::Upload(upload) = &mut self.state else { return Step::Waits };
        let Phase::Storing { name } = &mut upload.phase else { return Step::Waits };
        let step = match upload.decoder.step(input, usize::MAX) {
            Ok(step) => step,
            Err(_) => {
                self.lose(cx);
                return Step::Waits;
            }
        };
        if !step.data.is_empty() {
            cx.effects.push_back(Effect::AppendUpload(self.key, step.data.to_vec()));
        }
        if step.is_last {
            upload.phase = Phase::Finishing { name: std::mem::take(name) };
            cx.effects.push_back(Effect::FinishUpload(self.key));
        } else if step.used == 0 {
            return Step::Waits;
        }
        Step::Used(step.used)
    }

    /// The file is complete, or could not be written.
    pub(super) fn end_upload(&mut self, cx: &mut Context, result: io::Result<()>, now: Instant) {
        let State::Upload(upload) = &self.state else { return };
        if result.is_err() {
            if !self.progress.withdraw() {
                // Its response has begun: only the end of the connection can say more.
                return self.close(cx, None);
            }
            cx.effects.push_back(Effect::RemoveUpload(self.key));
            return self.refuse(cx, 503, now);
        }
        if let Phase::Finishing { name } = &upload.phase {
            let name = name.clone();
            self.tell(cx, &[(START, name.as_bytes()), (DONE, name.as_bytes())]);
            self.state = State::Between;
        }
    }

    /// Sends the request of an upload with these headers.
    fn tell(&mut self, cx: &mut Context, more: &[(&[u8], &[u8])]) {
        let State::Upload(upload) = &self.state else { return };
        let handler = upload.route.handler;
        let id = self.known_id(cx, handler);
        let State::Upload(upload) = &self.state else { return };
        let (head, route, peer) = (&upload.head, &upload.route, &self.peer);
        cx.send(handler, id, |to, site| to.request(&route.about(peer, site, head.method(), more), head, b""));
    }
}
