//! The end of a connection: handlers that know it hear of it, and its file is removed.

use super::state::{Connection, Life, State};
use crate::context::Context;
use crate::effect::Effect;
use crate::ids::HandlerId;

impl Connection {
    /// The connection is over: nothing more is read or written.
    pub(crate) fn lose(&mut self, cx: &mut Context) {
        if self.life == Life::Gone {
            return;
        }
        self.forget_input(cx);
        self.output.clear();
        self.life = Life::Gone;
        self.is_paused = false;
        if let Some(id) = self.id {
            cx.ids.remove(&id);
            for handler in std::mem::take(&mut self.known_by) {
                cx.send(handler, id, |to, _| to.disconnect());
            }
        }
        cx.effects.push_back(Effect::Close(self.key));
    }

    /// Whether a request or a frame waits for room at its handler, or for the output before it.
    pub(crate) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Closes once what is queued is written. `by`: the handler that wants it so, and needs no notice.
    pub(super) fn close(&mut self, cx: &mut Context, by: Option<HandlerId>) {
        self.known_by.retain(|handler| Some(*handler) != by);
        if self.life == Life::Open {
            self.forget_input(cx);
            self.life = Life::Closing;
            self.resume(cx);
        }
        self.check_closed(cx);
    }

    /// Drops the connection with what is queued.
    pub(crate) fn cancel(&mut self, cx: &mut Context, by: HandlerId) {
        self.known_by.retain(|handler| *handler != by);
        self.lose(cx);
    }

    /// Ends a connection that is to be closed and has nothing left to write.
    pub(super) fn check_closed(&mut self, cx: &mut Context) {
        if self.life == Life::Closing && self.output.is_empty() {
            self.lose(cx);
        }
    }

    /// Ends a connection whose client has shut its side down, once it has got what it is owed.
    pub(super) fn check_half_closed(&mut self, cx: &mut Context) {
        // What came whole reaches its handler, even if its client has left.
        if !self.half_closed || self.life != Life::Open || self.is_waiting() {
            return;
        }
        // While there is something to write, writing it tells whether the client has left.
        if self.has_left && self.output.is_empty() {
            return self.lose(cx);
        }
        let is_over = match self.state {
            State::Between => self.output.is_empty() && (self.progress.is_done() || !self.is_http()),
            State::Refused(_) | State::File(_) => false,
            // No handler knows of this request, and those before it may be owed responses.
            State::Inline(_) => self.output.is_empty() && self.progress.is_done(),
            // They wait for input that will not come.
            State::Upload(_) | State::Stream(_) | State::Frames(_) => true,
        };
        if is_over {
            self.lose(cx);
        } else if matches!(self.state, State::Between | State::Inline(_)) {
            self.forget_input(cx);
        }
    }

    /// Ends a connection as soon as it has got what it is owed: no further requests are taken.
    pub(crate) fn wind_up(&mut self, cx: &mut Context) {
        self.half_closed = true;
        if !self.is_http() {
            self.close(cx, None);
        }
        self.check_half_closed(cx);
    }

    /// Throws away what input has come to so far.
    fn forget_input(&mut self, cx: &mut Context) {
        self.input = Vec::new();
        (self.late_since, self.searched, self.is_held) = (None, 0, false);
        // A file that is still to be created is removed once it is.
        if let State::Upload(_) = &self.state {
            cx.effects.push_back(Effect::RemoveUpload(self.key));
        }
        if !matches!(self.state, State::Frames(_)) {
            self.state = State::Between;
        }
    }
}
