//! The arrival of a request: whether it is heard at all, and its entry in the table.

use super::Exchange;
use crate::hub::answers::own_answer;
use crate::hub::context::Context;
use crate::hub::exchange::respond::complain_of_overload;
use crate::hub::ids::RequestId;
use crate::hub::ledger::about::About;
use crate::hub::ledger::counters::Complaint;
use crate::hub::ledger::taps::Arrived;
use crate::hub::ledger::traffic::MeterId;
use crate::hub::request::{Asked, Body, Plan, Planned, Request, Share};
use kennel_http::Persistence;
use mongrel2_wire::Version;
use std::path::PathBuf;
use std::time::Instant;

/// A request that is in the table and has no place on its connection yet.
#[derive(Debug)]
pub(in crate::hub) struct Admitted {
    pub request: RequestId,
    /// Whoever answers it takes its body: where that is, and its file.
    pub body: Option<(Body, Option<PathBuf>)>,
}

impl Exchange {
    /// Notes that a request came: whether one behind those of its connection has a place. `None`: nobody hears it.
    pub(in crate::hub) fn hear(&self, cx: &mut Context, asked: &Asked<'_>, now: Instant) -> Option<bool> {
        let (key, head) = (asked.key, asked.head);
        cx.ledger.counters.requests += 1;
        if head.spoofed_upload {
            cx.ledger.counters.spoofed_uploads += 1;
        }
        if head.first_credits.is_some() {
            cx.servers[key.link].flow_control = true;
        }
        self.make_room_for_next(cx, key);
        let behind = match cx.outbox.conns.map.get_mut(&key) {
            Some(conn) if conn.is_finished() => return None,
            Some(conn) => {
                if !conn.is_idle() {
                    conn.pipelines = true;
                } else if !conn.pipelines {
                    conn.pacer.heard(now);
                }
                conn.waiting.len()
            }
            None => 0,
        };
        Some(behind < cx.limits.pipeline)
    }

    /// 503 for a request behind too many others of its connection.
    pub(in crate::hub) fn refuse_behind(&self, cx: &mut Context, asked: &Asked<'_>, now: Instant) -> Planned {
        cx.ledger.counters.overloaded += 1;
        if cx.ledger.complaints.pass(Complaint::Overload, now) {
            let about = About::message(asked.key, asked.envelope);
            complain_of_overload(&about, "limits.pipeline requests wait on this connection");
        }
        Planned::own(own_answer(503, None), MeterId::NOBODY)
    }

    /// Puts a request into the table.
    pub(in crate::hub) fn admit(
        &mut self,
        cx: &mut Context,
        asked: &Asked<'_>,
        planned: Planned,
        method: &[u8],
        mut persistence: Persistence,
        now: Instant,
    ) -> Admitted {
        let (key, number) = (asked.key, cx.ledger.traffic.begin());
        let app = cx.ledger.traffic.app_of(planned.meter);
        let mut body = planned.body;
        let mut deadline = Some(now + cx.limits.request_timeout);
        let begins = matches!(planned.plan, Plan::Run { .. } | Plan::Call(_));
        let taken = begins.then(|| (planned.body, planned.spool.clone()));
        if begins {
            if let Body::Collected | Body::Growing = body {
                // The client's time is not the script's.
                deadline = None;
            }
        } else {
            body = Body::Whole;
        }
        if body.is_arriving() || matches!(asked.body, Body::Parts | Body::Growing) {
            // Whoever is answered before all of it is there has not read the rest.
            persistence = Persistence::Close;
        }
        // Whatever became of the plan, a file that is whole goes with the request.
        let spool = planned.spool.or_else(|| asked.spool.clone().filter(|_| asked.body != Body::Growing));
        // That of chunks is not known yet, and one of which more is to come is counted as it comes.
        let is_whole = spool.is_some() && asked.spool.is_some() && asked.body == Body::Whole;
        let stored = Share {
            bytes: asked.head.spool_size.filter(|_| is_whole).map_or(0, u64::from),
            client: spool.as_ref().and_then(|_| cx.clients.address(&asked.envelope.headers)),
        };
        let request = Request {
            number,
            meter: planned.meter,
            spool,
            stored,
            body,
            raw: planned.raw,
            head_only: method == b"HEAD",
            persistence,
            takes_chunks: asked.head.version == Some(Version::Http11),
            deadline,
            ..Request::new(key, planned.plan, now, cx.limits.request_timeout)
        };
        let request = self.requests.insert(request);
        let path = asked.envelope.path;
        let arrived = Arrived { request, number, app, key, method, path };
        cx.ledger.taps.note_request(&arrived, now);
        Admitted { request, body: taken }
    }
}
