//! How a session's time passes: polls that were held long enough, signs of life, and the end of those for whom nobody
//! comes.

use crate::channel::{event_stream, poll};
use crate::hub::context::Context;
use crate::hub::ids::LiveId;
use crate::hub::live::Live;
use crate::hub::live::carrier::Carrier;
use crate::hub::live::session::FAR;
use crate::hub::live::table::Stage;
use std::time::{Duration, Instant};

impl Live {
    /// Does what is due for sessions.
    pub(in crate::hub) fn pass_time_of_sessions(&mut self, cx: &mut Context, now: Instant) {
        let inactivity = cx.limits.inactivity;
        for id in std::mem::take(&mut self.sessions.alone) {
            let Some(session) = self.by_http_mut(id) else { continue };
            if session.poll.is_none() && session.stream.is_none() && session.told.is_none() {
                session.due = now + inactivity;
                self.look_at(id, now + inactivity);
            }
        }
        for (id, number) in std::mem::take(&mut self.sessions.gone) {
            self.bosh_request_gone(cx, id, number, now);
        }
        while let Some((planned, id, number)) = self.sessions.agenda.pop(now) {
            let Some(channel) = self.lives.get_mut(id) else { continue };
            if channel.number != number || channel.stage == Stage::Over {
                continue;
            }
            let (its_plan, due) = match &mut channel.carrier {
                Carrier::Http(session) => (&mut session.planned, session.due),
                Carrier::Bosh(session) => {
                    let due = session.next_timeout();
                    (&mut session.planned, due.unwrap_or(now))
                }
                Carrier::WebSocket(_) | Carrier::Json | Carrier::Xml => continue,
            };
            if *its_plan == Some(planned) {
                *its_plan = None;
            }
            if matches!(channel.carrier, Carrier::Bosh(_)) {
                self.bosh_is_due(cx, id, now);
            } else if due > now {
                // Nothing is due for a session that a WebSocket carries, until something comes or the WebSocket ends.
                if due < now + FAR / 2 {
                    self.look_at(id, due);
                }
            } else {
                self.session_is_due(cx, id, now);
            }
        }
    }

    fn session_is_due(&mut self, cx: &mut Context, id: LiveId, now: Instant) {
        let ping = self.ping_of(cx, id);
        let inactivity = cx.limits.inactivity;
        let Some(session) = self.by_http_mut(id) else { return };
        if let Some(held) = session.poll.take() {
            session.due = now + inactivity;
            let (due, nothing) = (session.due, poll::nothing(&session.mailbox));
            self.look_at(id, due);
            self.answer_call_by(cx, held.request, (200, &held.cors), nothing);
        } else if let Some(key) = session.stream.filter(|_| session.line.is_some()) {
            self.line_is_due(cx, id, key, now);
        } else if let Some(key) = session.stream {
            session.due = now + ping.unwrap_or(Duration::from_secs(86_400));
            let due = session.due;
            self.look_at(id, due);
            if let Some(conn) = cx.outbox.conns.map.get_mut(&key).filter(|conn| conn.out.is_empty()) {
                conn.out.extend(event_stream::ALIVE);
                cx.outbox.mark_dirty(key);
            }
        } else {
            // Nobody has come for it; or for the end of it, of which its script hears what it said itself.
            self.finish_live(cx, id, 1006, "", now);
        }
    }
}
