//! A request that has no answer yet, and what is needed to give it to a worker, or to another one.

use crate::channel::call::Call;
use crate::hub::apps::affinity::Near;
use crate::hub::ids::{AppId, ConnKey, RequestId, WorkerId};
use crate::hub::ledger::traffic::MeterId;
use kennel_http::Persistence;
use kennel_http::client_address::ClientAddress;
use mongrel2_wire::{Envelope, Head};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A request of a session's client, until it is its turn on its connection.
#[derive(Debug)]
pub(in crate::hub) struct Asking {
    pub call: Call,
    /// Header lines for pages of other hosts.
    pub cors: String,
    /// Mongrel2's message.
    pub message: Vec<u8>,
    /// The body that was in a file.
    pub body: Option<Vec<u8>>,
}

/// A request whose turn it is, and where its response goes.
#[derive(Debug, Clone, Copy)]
pub(in crate::hub) struct Called {
    pub request: RequestId,
    pub conn: ConnKey,
    /// Its number, for people who read the log.
    pub number: u64,
}

/// The bytes of one body.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::hub) struct Share {
    pub bytes: u64,
    /// The address that limits per client address count.
    pub client: Option<ClientAddress>,
}

/// What will answer it.
#[derive(Debug)]
pub(in crate::hub) enum Plan {
    /// A worker of this app runs this job. The frame is complete but for its serial, and is kept
    /// until the answer: a worker that dies before it starts the job leaves it to another.
    Run { app: AppId, job: Vec<u8>, near: Near },
    /// The hub itself, for a session of this client: it is its turn, or its body has yet to come.
    Call(Box<Asking>),
    /// It is held for the session with this number.
    Held(u64),
    /// The hub itself.
    Answer { status: u16, head: String, body: String },
    /// The hub itself, with a file that it has: 200.
    File { head: String, body: &'static [u8] },
}

impl Plan {
    /// In place of a plan that was taken away.
    pub const NONE: Self = Self::Answer { status: 500, head: String::new(), body: String::new() };
}

/// An HTTP request as it arrived.
#[derive(Debug)]
pub(in crate::hub) struct Asked<'a> {
    pub key: ConnKey,
    pub envelope: &'a Envelope<'a>,
    pub head: &'a Head<'a>,
    pub message: &'a [u8],
    /// The file with its body.
    pub spool: Option<PathBuf>,
    /// Whether the body is there, and if not, how it comes: `Parts` or `Growing`. `Collected`: it is in its file, whose
    /// size is not known yet.
    pub body: Body,
}

/// Who answers a request.
#[derive(Debug)]
pub(in crate::hub) struct Planned {
    pub plan: Plan,
    /// The raw handler does.
    pub raw: bool,
    /// Where the request is counted.
    pub meter: MeterId,
    /// Where the body is, for whoever answers.
    pub body: Body,
    /// The file that it is in, or will be, if that is the hub's to delete.
    pub spool: Option<PathBuf>,
}

impl Planned {
    /// The hub itself answers.
    pub fn own(plan: Plan, meter: MeterId) -> Self {
        Self { plan, raw: false, meter, body: Body::Whole, spool: None }
    }
}

/// Where its body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Body {
    /// In the message, or whole in a file.
    Whole,
    /// On its way into a file; no worker gets the request before that is whole.
    Collected,
    /// On its way in parts, to the worker that has the request.
    Parts,
    /// On its way into a file, which the worker reads meanwhile.
    Growing,
    /// In that file, whole; a worker that got the request before has to be told.
    Grown,
}

impl Body {
    /// Whether some of it is not there yet.
    pub fn is_arriving(self) -> bool {
        matches!(self, Self::Collected | Self::Parts | Self::Growing)
    }
}

/// Why a body comes to its end before it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum BodyEnd {
    /// It has become too large.
    TooLarge,
    /// It comes too slowly.
    TooSlow,
    /// Nothing of it comes any more.
    Lost,
    /// It has no place beside the others: what the log says.
    NoPlace(&'static str),
}

/// Where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Place {
    /// Behind another request of its connection.
    Pipeline,
    /// In its app's queue.
    Queue,
    /// At a worker, under this serial.
    Worker(WorkerId, u64),
}

/// A request without an answer.
#[derive(Debug)]
pub(in crate::hub) struct Request {
    /// Tells it from all others since the hub's start, for people who read the log.
    pub number: u64,
    pub conn: ConnKey,
    /// When it arrived.
    pub since: Instant,
    /// Where it is counted.
    pub meter: MeterId,
    pub plan: Plan,
    /// The file with its body, which goes when it does.
    pub spool: Option<PathBuf>,
    /// The bytes of that file, once it is whole.
    pub stored: Share,
    pub body: Body,
    pub place: Place,
    /// It wants an HTTP answer; raw messages of other kinds do not.
    pub http: bool,
    /// It is run by the raw handler, which answers by itself.
    pub raw: bool,
    pub head_only: bool,
    pub persistence: Persistence,
    /// Its client understands chunks.
    pub takes_chunks: bool,
    /// The head of its answer is written; the body comes in pieces.
    pub begun: bool,
    /// When it gets 504. An answer that has begun may take as long as it likes.
    pub deadline: Option<Instant>,
    /// A worker has asked for parts of its body, which no other worker can have.
    pub parts_taken: bool,
    /// The client left; an answer is dropped.
    pub gone: bool,
}

impl Request {
    /// One that wants an HTTP answer within `timeout` and nothing behind it.
    pub fn new(conn: ConnKey, plan: Plan, now: Instant, timeout: Duration) -> Self {
        Self {
            number: 0,
            conn,
            since: now,
            meter: MeterId::NOBODY,
            plan,
            spool: None,
            stored: Share::default(),
            body: Body::Whole,
            place: Place::Pipeline,
            http: true,
            raw: false,
            head_only: false,
            persistence: Persistence::Close,
            takes_chunks: false,
            begun: false,
            deadline: Some(now + timeout),
            parts_taken: false,
            gone: false,
        }
    }

    /// Whether nothing that comes behind it on its connection is answered.
    pub fn is_last(&self) -> bool {
        self.http && !self.raw && self.persistence == Persistence::Close && !self.body.is_arriving()
    }

    /// Where it belongs.
    pub fn near(&self) -> Near {
        match self.plan {
            Plan::Run { near, .. } => near,
            _ => Near::Any,
        }
    }

    /// Whether parts of its body were given to a worker.
    pub fn has_lost_parts(&self) -> bool {
        self.body == Body::Parts && (self.parts_taken || self.gone)
    }

    /// Its number, if it is one that has an answer.
    pub fn shown(&self) -> Option<u64> {
        (self.number > 0).then_some(self.number)
    }

    /// Whether its time is over.
    pub fn is_due(&mut self, timeout: Duration, now: Instant) -> bool {
        if self.gone && self.deadline.is_none() {
            // A worker that does not end what nobody waits for must not keep its place for ever.
            self.deadline = Some(now + timeout);
        }
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}
