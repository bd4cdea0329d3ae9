//! What the log says about requests, connections and bodies.

use crate::hub::Hub;
use crate::hub::ids::{ConnKey, Job, LiveId, RequestId, WorkerId};
use crate::hub::ledger::about::About;

impl Hub {
    /// What the log says about a request.
    pub(in crate::hub) fn about(&self, request: RequestId) -> About {
        self.cx.about_request(&self.exchange.requests[request])
    }

    /// What the log says about a live connection: method and path are those by which it was opened.
    pub(in crate::hub) fn about_live(&self, id: LiveId) -> Option<About> {
        self.live.about(&self.cx, id)
    }

    /// What the log says about a worker's job, if the worker has it.
    pub(in crate::hub) fn about_job(&self, worker: WorkerId, serial: u64) -> Option<About> {
        match self.cx.workers.get(worker)?.jobs.get(&serial)? {
            Job::Request(request) => Some(self.about(*request)),
            Job::Live(live) => self.about_live(*live),
        }
    }

    /// What the log says about a connection: about its request, if it has one, or else its conversation.
    pub(in crate::hub) fn about_connection(&self, key: ConnKey) -> About {
        let conn = self.cx.outbox.conns.map.get(&key);
        if let Some(request) = conn.and_then(|conn| conn.current) {
            return self.about(request);
        }
        match self.live.lives.at(key).or(conn.and_then(|conn| conn.carries)) {
            Some(live) => self.about_live_by(live, key),
            None => About::connection(key),
        }
    }

    /// What the log says about a live connection that uses a Mongrel2 connection: its own, or the one that carries its
    /// session now.
    pub(in crate::hub) fn about_live_by(&self, id: LiveId, key: ConnKey) -> About {
        self.live.about_by(&self.cx, id, key)
    }

    /// What the log says about a body that is arriving by a connection: about its request, or else the message that
    /// announced it.
    pub(in crate::hub) fn about_body(&self, key: ConnKey) -> About {
        match self.bodies.spooled.request(key).or_else(|| self.bodies.streamed.request(key)) {
            Some(request) => self.about(request),
            None => self.bodies.spooled.about(key).cloned().unwrap_or_else(|| self.about_connection(key)),
        }
    }

    /// A worker as the log names it: its app, and its number there.
    pub fn worker_name(&self, worker: WorkerId) -> Option<(&str, u32)> {
        let worker = self.cx.workers.get(worker)?;
        Some((&self.cx.apps[worker.app].spec.name, worker.number))
    }
}
