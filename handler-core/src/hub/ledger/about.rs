//! What the log says about a request: the app and its worker, the connection, the request's number, method and path.
//!
//! Nothing is kept for that: the job of a request is kept until its response, and has Mongrel2's message in it.

use crate::hub::Hub;
use crate::hub::exchange::request::{Place, Plan, Request};
use crate::hub::ids::Job;
use crate::hub::ids::LiveId;
use crate::hub::ids::{AppId, ConnKey, RequestId, WorkerId};
use crate::worker::protocol::{Order, split_frame};
use mongrel2_wire::{Envelope, Text};

/// The longest method or path in a log line, bytes.
const SHOWN: usize = 256;

/// A request, or a live connection, as a log line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::hub) struct About {
    pub app: Option<String>,
    pub worker: Option<u32>,
    pub link: u16,
    pub conn: u32,
    pub request: Option<u64>,
    pub method: Option<String>,
    pub path: Option<String>,
}

/// Logs a line about an [`About`], with fields of its own before the text.
macro_rules! log_about {
    ($level:ident, $about:expr, $($rest:tt)+) => {{
        let about = &$about;
        tracing::$level!(
            app = about.app.as_deref(),
            worker = about.worker,
            link = about.link,
            conn = about.conn,
            request = about.request,
            method = about.method.as_deref(),
            path = about.path.as_deref(),
            $($rest)+
        )
    }};
}
pub(in crate::hub) use log_about;

impl About {
    /// A connection of which nothing else is known.
    pub fn connection(key: ConnKey) -> Self {
        Self {
            app: None,
            worker: None,
            link: key.link.0,
            conn: key.id.get(),
            request: None,
            method: None,
            path: None,
        }
    }

    /// The same, with method and path of a message of it.
    pub fn message(key: ConnKey, envelope: &Envelope<'_>) -> Self {
        let method = envelope.headers.get(b"METHOD").and_then(|values| values.first()).map(Text::bytes);
        let method = method.map(|method| shown(&method));
        Self { method, path: Some(shown(envelope.path)), ..Self::connection(key) }
    }
}

/// What a log line shows of a method or a path.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned();
    if bytes.len() > SHOWN {
        text.push('…');
    }
    text
}

/// Mongrel2's message in the frame of a job.
fn message_of(job: &[u8]) -> Option<&[u8]> {
    let (_, payload, _) = split_frame(job)?;
    match Order::read_job(payload) {
        Ok(Order::Job { message, .. }) => Some(message),
        _ => None,
    }
}

impl Hub {
    /// What the log says about a request.
    pub(in crate::hub) fn about(&self, request: RequestId) -> About {
        self.about_request(&self.exchange.requests[request])
    }

    fn about_request(&self, request: &Request) -> About {
        let message = match &request.plan {
            Plan::Run { job, .. } => message_of(job),
            Plan::Call(asking) => Some(asking.message()),
            Plan::Held(_) | Plan::Answer { .. } | Plan::File { .. } => None,
        };
        let about = match message.map(Envelope::parse) {
            Some(Ok(envelope)) => About::message(request.conn, &envelope),
            _ => About::connection(request.conn),
        };
        let worker = match request.place {
            Place::Worker(worker, _) => self.cx.workers.get(worker).map(|worker| worker.number),
            Place::Pipeline | Place::Queue => None,
        };
        let app = match &request.plan {
            Plan::Run { app, .. } => Some(*app),
            _ => self.cx.ledger.traffic.app_of(request.meter),
        };
        About { app: app.map(|app| self.name_of(app)), worker, request: request.shown(), ..about }
    }

    /// What the log says about a live connection: method and path are those by which it was opened.
    pub(in crate::hub) fn about_live(&self, id: LiveId) -> Option<About> {
        let glimpse = self.live.glimpse(id)?;
        let opening = self.live.opening_message(id);
        let about = match opening.as_deref().map(Envelope::parse) {
            Some(Ok(envelope)) => About::message(glimpse.key, &envelope),
            _ => About::connection(glimpse.key),
        };
        let worker = glimpse.worker.and_then(|worker| Some(self.cx.workers.get(worker)?.number));
        Some(About { app: Some(self.name_of(glimpse.app)), worker, ..about })
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
        if let Some(request) = self.cx.outbox.conns.map.get(&key).and_then(|conn| conn.current) {
            return self.about(request);
        }
        let carried = self.cx.outbox.conns.map.get(&key).and_then(|conn| conn.carries);
        match self.live.lives.at(key).or(carried) {
            Some(live) => self.about_live_by(live, key),
            None => About::connection(key),
        }
    }

    /// What the log says about a live connection that uses a Mongrel2 connection: its own, or the one that carries its
    /// session now.
    pub(in crate::hub) fn about_live_by(&self, id: LiveId, key: ConnKey) -> About {
        let about = self.about_live(id).unwrap_or_else(|| About::connection(key));
        About { link: key.link.0, conn: key.id.get(), ..about }
    }

    /// What the log says about a message that opens a live connection of an app, or would.
    pub(in crate::hub) fn about_opening(&self, key: ConnKey, envelope: &Envelope<'_>, app: AppId) -> About {
        About { app: Some(self.name_of(app)), ..About::message(key, envelope) }
    }

    /// What the log says about a body that is arriving by a connection: about its request, or else the message that
    /// announced it.
    pub(in crate::hub) fn about_body(&self, key: ConnKey) -> About {
        match self.bodies.spooled.request(key).or_else(|| self.bodies.streamed.request(key)) {
            Some(request) => self.about(request),
            None => self.bodies.spooled.about(key).cloned().unwrap_or_else(|| self.about_connection(key)),
        }
    }

    fn name_of(&self, app: AppId) -> String {
        self.cx.apps[app].spec.name.clone()
    }

    /// A worker as the log names it: its app, and its number there.
    pub fn worker_name(&self, worker: WorkerId) -> Option<(&str, u32)> {
        let worker = self.cx.workers.get(worker)?;
        Some((&self.cx.apps[worker.app].spec.name, worker.number))
    }
}
