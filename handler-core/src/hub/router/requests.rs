//! HTTP requests: let in, and given to the parts that have to do with them.

use crate::hub::Hub;
use crate::hub::answers::{own_answer, own_page};
use crate::hub::bodies::{Beginning, NotIn};
use crate::hub::exchange::complain_of_overload;
use crate::hub::ids::RequestId;
use crate::hub::ledger::about::{About, log_about};
use crate::hub::ledger::counters::Complaint;
use crate::hub::ledger::traffic::MeterId;
use crate::hub::request::{Asked, Body, Planned};
use kennel_http::Persistence;
use std::path::{Path, PathBuf};
use std::time::Instant;

impl Hub {
    /// An HTTP request.
    pub(in crate::hub) fn handle_http(&mut self, asked: Asked<'_>, now: Instant) {
        let Some(has_place) = self.exchange.hear(&mut self.cx, &asked, now) else { return };
        let method = asked.head.method.bytes();
        let mut persistence = Persistence::of(asked.head);
        if asked.spool.is_some() && asked.head.spool_size.is_some() {
            // Mongrel2 writes what a client pipelines behind such a body to the file as well: that is never answered,
            // so the client is told that there is no more.
            persistence = Persistence::Close;
        }
        let planned = if !has_place {
            persistence = Persistence::Close;
            self.exchange.refuse_behind(&mut self.cx, &asked, now)
        } else if asked.body == Body::Parts
            && let Some(refused) = self.refuse_at_start(&asked, now)
        {
            refused
        } else {
            self.exchange.plan(&mut self.cx, &asked, &method, now)
        };
        self.admit(&asked, planned, &method, persistence, now);
    }

    /// Puts a request behind the others of its connection.
    pub(in crate::hub) fn admit(
        &mut self,
        asked: &Asked<'_>,
        planned: Planned,
        method: &[u8],
        persistence: Persistence,
        now: Instant,
    ) {
        let admitted = self.exchange.admit(&mut self.cx, asked, planned, method, persistence, now);
        if let Some(body) = admitted.body {
            self.begin_body(asked, body, admitted.request, persistence, now);
        }
        self.exchange.enqueue_known(&mut self.cx, asked.key, admitted.request, now);
        self.settle(now);
    }

    /// What [`Effect::ReadFile`](crate::hub::Effect::ReadFile) came to: what is in the file, or why that cannot be had.
    pub fn handle_read(
        &mut self,
        request: RequestId,
        path: &Path,
        result: Result<Vec<u8>, String>,
        now: Instant,
    ) {
        self.exchange.take_file(&mut self.cx, request, path, result, now);
        self.settle(now);
    }

    /// A request whose body is not there, or not measured, is about to take its place.
    pub(in crate::hub) fn begin_body(
        &mut self,
        asked: &Asked<'_>,
        (body, file): (Body, Option<PathBuf>),
        request: RequestId,
        persistence: Persistence,
        now: Instant,
    ) {
        let begun = Beginning {
            key: asked.key,
            envelope: asked.envelope,
            head: asked.head,
            arrives: asked.body,
            spool: asked.spool.as_deref(),
            body,
            file,
            persistence,
        };
        self.bodies.begin(&mut self.cx, begun, request, now);
    }

    /// Refuses a body that is too large, one that would be too much beside the others, or one too many for its client's
    /// address.
    pub(in crate::hub) fn refuse_at_start(&mut self, asked: &Asked<'_>, now: Instant) -> Option<Planned> {
        let (envelope, head) = (asked.envelope, asked.head);
        match self.bodies.refusal(&self.cx, asked.key, (envelope, head))? {
            NotIn::BeyondUpload => {
                self.cx.refuse(asked.key.link, envelope, "a body beyond limits.upload", now);
                return Some(Planned::own(own_answer(413, None), MeterId::NOBODY));
            }
            NotIn::NoPlace(bound) => {
                self.cx.ledger.counters.overloaded += 1;
                if self.cx.ledger.complaints.pass(Complaint::Overload, now) {
                    complain_of_overload(&About::message(asked.key, envelope), bound);
                }
            }
            NotIn::OfAddress(client) => {
                self.cx.ledger.counters.overloaded += 1;
                if self.cx.ledger.complaints.pass(Complaint::Overflow, now) {
                    let (about, most) =
                        (About::message(asked.key, envelope), self.cx.limits.bodies_per_address);
                    log_about!(
                        warn,
                        about,
                        %client,
                        status = 503,
                        "{most} bodies of this address are arriving, one more gets 503: limits.bodies_per_address"
                    );
                }
            }
        }
        Some(Planned::own(own_page(&self.cx, 503), MeterId::NOBODY))
    }
}
