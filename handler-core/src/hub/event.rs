//! What one part of the hub tells another.
//!
//! A part does what is its own at once. What it causes elsewhere becomes an event, which [`Hub::settle`](super::Hub) hands
//! to the part that it concerns when the call has returned: in order, and what an event causes comes before the next one.

use super::ids::{AppId, ConnKey, Job, LiveId, RequestId, WorkerId};
use super::request::{Asking, BodyEnd, Called, Plan, Share};
use crate::worker::protocol::Registration;
use kennel_http::Persistence;

/// Something that happened in one part and concerns others.
#[derive(Debug)]
pub(super) enum Event {
    /// A connection is being closed: its requests get no response.
    Closing(ConnKey),
    /// A connection's client is gone, or is taken for gone.
    Gone(ConnKey),
    /// A connection may go on with its next request.
    Ready(ConnKey),
    /// A request is to be answered with one of the hub's own pages.
    Fail(RequestId, u16),
    /// A request is to be answered with this.
    Answer(RequestId, Plan),
    /// It is the turn of a request to a channel's path.
    Call(Called, Box<Asking>),
    /// The response to a request is a stream of events that a session writes: it has begun.
    Carried(Called),
    /// A request is held for the session with this number.
    Hold(RequestId, u64),
    /// The same as `Answer`, and the connection is closed.
    AnswerAndClose(RequestId, Plan),
    /// A connection is closed behind a page of the hub's own: it does not speak our language, or cannot be served.
    Refuse(ConnKey, u16),
    /// The same with this answer.
    RefuseWith(ConnKey, Plan),
    /// A request that was held for the session with this number is gone.
    HeldGone(u64, RequestId),
    /// A request has no owner any more who would take the rest of its body.
    BodyUnwanted(RequestId, ConnKey),
    /// A worker has not started this request, and will not.
    Requeue(RequestId),
    /// A worker died while it ran this job of a live connection: the worker, its number, the job, whether it hung.
    LiveLost { worker: WorkerId, number: u32, live: LiveId, serial: u64, hung: bool },
    /// A worker has room for what waits.
    WorkerHasRoom(WorkerId),
    /// Requests and live connections of this app may find a worker now.
    AppHasRoom(AppId),
    /// The script has run its `open` for the live connection with this number, or died with it.
    Opened(u64),
    /// The live connection with this number is to be closed from our side, with a code and why.
    CloseLive(u64, u16, &'static str),
    /// The live connection with this number is to end, with a code and why.
    EndLive(u64, u16, &'static str),
    /// A request whose turn has not come is to be answered with one of the hub's own pages when it comes.
    FailInTurn(RequestId, u16),
    /// It is the turn of a request, and the body is there that it has waited for.
    BodyIsThere(RequestId),
    /// The body of a request has come to its end, and this is what is in a file of it, if it is in one.
    BodyWhole(RequestId, Persistence, Option<Share>),
    /// A body that comes by this connection ends before it is whole, and the request that it is for, if there is one.
    BodyEnds(ConnKey, Option<RequestId>, BodyEnd),
    /// A request is to be answered though its body is not taken to its end.
    RefuseBody(RequestId, u16),
    /// The workers of an app's newer code are all ready.
    TakeOver(AppId),
    /// A worker in charge has said late what its program answers to.
    RegisterLate(AppId, Box<Registration>),
    /// A worker that serves the code in charge of this app is ready.
    Seated(AppId, WorkerId),
    /// A worker has the seat of another one: live connections leave those that end.
    TakenOver(AppId),
    /// A worker died while it ran this request: its number, whether it hung, and whether the time for its work was over.
    RequestLost { number: u32, request: RequestId, hung: bool, is_cut_off: bool },
    /// A worker that had live connections is gone.
    WorkerGone(WorkerId),
    /// The workers of this app die one after the other.
    AppIsDown(AppId),
    /// A worker is killed since it has been in the same run of a script for too long: this job's.
    Hung { worker: WorkerId, running: u64 },
    /// A worker has not started these jobs, and will not.
    TakenBack(WorkerId, Vec<(u64, Job)>),
    /// The hub begins to stop: live connections are closed, and no bodies are taken.
    Stopping,
    /// Under a stop, workers of apps that have nothing to do may end.
    StopIdle,
}
