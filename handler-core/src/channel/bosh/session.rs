//! One conversation: requests come in, answers and messages come out, both in the order of the requests' numbers.
//!
//! The caller gives each HTTP request a number of its own, tells what it says ([`receive`](Session::receive)) and when
//! its connection is gone ([`request_gone`](Session::request_gone)), hands over what the script sends, and asks after
//! each of these for all outputs and for the time at which it must come again.

use super::body::{Body, MAX_RID};
use super::condition::{CONTENT_TYPE, Condition, Refusal, finish, recoverable, terminate};
use super::keys::Keys;
use super::output::{End, Output};
use super::queue::Queue;
use super::terms::{Settings, Terms, content_type};
use super::window::{Answer, Early, Held, Place, Window};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the answer to the request that begins a session waits for what the script sends at once.
const OPENING: Duration = Duration::from_secs(2);
/// How long a request waits for one that was sent before it, unless the session's `wait` is shorter.
const GAP: Duration = Duration::from_secs(10);
/// An answer that a client does not have after this time is reported to it.
const REPORT_AFTER: Duration = Duration::from_secs(5);
/// How often a client may repeat requests between two new ones.
const MAX_REPEATS: u8 = 25;
/// How long a session that we ended waits for the request that takes the news, where nothing else limits it.
const FAREWELL: Duration = Duration::from_secs(60);

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// We ended it, and no request was there to say so.
    Closing(Option<Condition>),
    Over,
}

/// The request that began a session, while it has no answer.
#[derive(Debug)]
struct Opening {
    request: u64,
    /// The beginning of the answer.
    tag: String,
    until: Instant,
}

/// A session. See the [module](super).
#[derive(Debug)]
pub struct Session {
    terms: Terms,
    stage: Stage,
    /// What the client wants to see as Content-Type, when that is unusual.
    content_type: Option<Box<str>>,
    keys: Option<Box<Keys>>,
    opening: Option<Box<Opening>>,
    window: Window,
    /// Messages for the next answer.
    queue: Queue,
    outputs: VecDeque<Output>,
    /// Since when no request is there.
    quiet_since: Option<Instant>,
    /// How many seconds the client said to be away for.
    pause: Option<u16>,
    /// When the last new request came.
    last_came: Instant,
    /// It asked for news, and there were none.
    last_idle: bool,
    repeats: u8,
    /// The answer that the next one is to report.
    report: Option<u64>,
}

/// A session is a few hundred bytes and what it holds.
const _: () = assert!(size_of::<Session>() <= 400);

impl Session {
    /// Begins a session. The answer to `request`, which asked for it, waits for the script's first messages, so that it
    /// can carry them: until [`opened`](Self::opened), or 2 s. `sid` is the session's name: unique and not to be
    /// guessed.
    ///
    /// # Errors
    ///
    /// The condition for [`Condition::refusal`] when the request is not as it should be.
    pub fn begin(
        settings: &Settings,
        opening: &Body<'_>,
        request: u64,
        sid: &str,
        now: Instant,
    ) -> Result<Self, Condition> {
        if !opening.is_opening() {
            return Err(Condition::BadRequest);
        }
        let rid = opening.rid()?;
        let terms = Terms::agree(settings, opening)?;
        let keys = match opening.attribute("newkey") {
            None => None,
            Some(newkey) => Some(Box::new(Keys::begin(newkey).ok_or(Condition::BadRequest)?)),
        };
        let mut session = Self {
            terms,
            stage: Stage::Open,
            content_type: content_type(opening)?.map(Box::from),
            keys,
            opening: None,
            window: Window::new(rid),
            queue: Queue::default(),
            outputs: VecDeque::new(),
            quiet_since: None,
            pause: None,
            last_came: now,
            last_idle: false,
            repeats: 0,
            report: None,
        };
        let tag = session.terms.announce(opening, rid, sid)?;
        session.opening = Some(Box::new(Opening { request, tag, until: now + OPENING }));
        session.forward(opening);
        Ok(session)
    }

    /// The script knows of the session, and has sent what it sends at once.
    pub fn opened(&mut self, now: Instant) {
        self.announce();
        self.settle(now);
    }

    /// Answers the request that began the session, with the messages that are there.
    fn announce(&mut self) {
        let Some(opening) = self.opening.take() else { return };
        let (messages, _) = self.queue.take_for_an_answer();
        self.answer(opening.request, finish(opening.tag, &messages));
    }

    /// A later request of the client: one that was read and names this session.
    pub fn receive(&mut self, body: &Body<'_>, request: u64, now: Instant) {
        if self.stage == Stage::Over {
            return self.refuse_as(request, Condition::ItemNotFound);
        }
        self.announce();
        self.quiet_since = None;
        match body.rid() {
            Err(condition) => self.fail(None, request, condition),
            Ok(rid) => match self.window.place(rid, self.terms.requests) {
                Place::Outside => self.fail(Some(rid), request, Condition::ItemNotFound),
                Place::Repeated => self.repeated(body, rid, request),
                Place::Next | Place::Early => self.new_request(body, rid, request, now),
            },
        }
        self.settle(now);
    }

    /// A request that names this session and could not be read. It ends the session.
    pub fn refuse(&mut self, request: u64) {
        match self.stage {
            Stage::Over => self.refuse_as(request, Condition::ItemNotFound),
            _ => {
                self.announce();
                self.fail(None, request, Condition::BadRequest);
            }
        }
    }

    /// The connection of a request is gone before its answer was taken from the outputs. The client will repeat it.
    pub fn request_gone(&mut self, request: u64, now: Instant) {
        let held = self.window.held.iter_mut().map(|held| &mut held.request);
        let early = self.window.early.iter_mut().map(|early| &mut early.request);
        held.chain(early).filter(|known| **known == Some(request)).for_each(|known| *known = None);
        // Who never heard of the session does not come again.
        self.opening.take_if(|opening| opening.request == request);
        self.settle(now);
    }

    /// A message of the script, finished by [`element::of_message`](super::element::of_message). It goes at once when a
    /// request waits for it. After [`close`](Self::close) or the end it is dropped, and the answer is false.
    pub fn send(&mut self, element: Arc<[u8]>, now: Instant) -> bool {
        self.send_all([element], now)
    }

    /// The same for several, which go together as far as one answer takes them.
    pub fn send_all(&mut self, elements: impl IntoIterator<Item = Arc<[u8]>>, now: Instant) -> bool {
        let open = self.stage == Stage::Open;
        if open {
            elements.into_iter().for_each(|element| self.queue.push(element));
            self.settle(now);
        }
        open
    }

    /// How many messages wait for an answer to carry them, and their bytes, those in answers that may have been lost
    /// included. The caller keeps them within `max_messages` and `max_bytes` of the [`Settings`].
    pub fn waiting(&self) -> (usize, usize) {
        let (messages, bytes) = self.window.unread();
        let (queued, queued_bytes) = self.queue.waiting();
        (messages + queued, bytes + queued_bytes)
    }

    /// Ends the session. A request that waits takes the news, with all messages that wait; without one the next request
    /// does, and the session is over then, or when none comes.
    pub fn close(&mut self, condition: Option<Condition>, now: Instant) {
        if self.stage == Stage::Open {
            self.stage = Stage::Closing(condition);
            self.settle(now);
        }
    }

    /// Ends the session with an element that says more than the condition does, such as `<stream:error/>`.
    pub fn close_with(&mut self, element: Arc<[u8]>, condition: Condition, now: Instant) {
        if self.stage == Stage::Open {
            self.queue.push(element);
            self.close(Some(condition), now);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due = |until: Instant| until <= now;
        if self.opening.as_ref().is_some_and(|opening| due(opening.until)) {
            self.announce();
        }
        while let Some(at) = self.window.early.iter().position(|early| due(early.until)) {
            // Whatever was lost before it, the client has both.
            let request = self.window.early.swap_remove(at).request;
            request.into_iter().for_each(|request| self.answer(request, recoverable()));
        }
        while self.window.held.iter().any(|held| held.request.is_some() && due(held.until)) {
            self.answer_first(true, now);
        }
        self.settle(now);
        if self.stage != Stage::Over && self.gone_at().is_some_and(due) {
            let how = if self.stage == Stage::Open { End::Inactive } else { End::Closed };
            self.answer_rest(|session, request| session.refuse_as(request, Condition::ItemNotFound));
            self.end(how);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        let held = self.window.held.iter().filter(|held| held.request.is_some()).map(|held| held.until);
        let early = self.window.early.iter().map(|early| early.until);
        let opening = self.opening.iter().map(|opening| opening.until);
        held.chain(early).chain(opening).chain(self.gone_at()).min()
    }

    /// What is to be done next; to be asked until there is nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if self.outputs.is_empty() {
            // An idle session holds no memory for them.
            self.outputs = VecDeque::new();
        }
        output
    }

    /// Whether it is over: nothing but outputs that were not asked for yet.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// When the client is taken for gone, unless it comes.
    fn gone_at(&self) -> Option<Instant> {
        let limit = match (self.stage, self.pause, self.terms.inactivity) {
            (Stage::Over, ..) | (Stage::Open, None, 0) => return None,
            (_, Some(pause), _) => Duration::from_secs(pause.max(1).into()),
            (Stage::Closing(_), None, 0) => FAREWELL,
            (_, None, inactivity) => Duration::from_secs(inactivity.into()),
        };
        Some(self.quiet_since? + limit)
    }

    /// A number that was not there before.
    fn new_request(&mut self, body: &Body<'_>, rid: u64, request: u64, now: Instant) {
        let (pause, ack) = match (body.number("pause"), body.number("ack")) {
            (Ok(pause), Ok(ack)) => (pause, ack),
            (Err(condition), _) | (_, Err(condition)) => return self.fail(Some(rid), request, condition),
        };
        let leaving = pause.is_some() || is_terminate(body);
        if self.stage == Stage::Open && self.is_overactive(rid, body.is_empty(), leaving, now) {
            return self.fail(Some(rid), request, Condition::PolicyViolation);
        }
        (self.last_came, self.last_idle) = (now, body.is_empty() && !leaving);
        self.repeats = 0;
        if self.window.next < rid {
            let until = now + self.terms.wait().clamp(Duration::from_secs(1), GAP);
            let body = body.bytes().into();
            return self.window.early.push(Early { rid, request: Some(request), came: now, until, body });
        }
        let held = Held { rid, request: Some(request), until: now + self.terms.wait() };
        self.take(body, held, pause, ack, now);
        while let Some(early) = self.window.take_early() {
            let Ok(body) = Body::parse(&early.body, usize::MAX) else { return };
            let number = |name| body.number(name).unwrap_or_default();
            let until = early.came + self.terms.wait();
            let held = Held { rid: early.rid, request: early.request, until };
            self.take(&body, held, number("pause"), number("ack"), now);
        }
    }

    /// Whether a new request is one too many, or too soon.
    fn is_overactive(&self, rid: u64, empty: bool, leaving: bool, now: Instant) -> bool {
        let early = self.window.early.iter().filter(|early| early.request.is_some()).count();
        let under_way = self.window.live() + early + 1;
        let most = usize::from(self.terms.requests);
        let soon = now < self.last_came + Duration::from_secs(self.terms.polling.into());
        if under_way > most + usize::from(leaving) {
            return true;
        }
        let only_asks = empty && !leaving && soon;
        // One that was overtaken is not the last, and was no poll too many when it was sent.
        let is_last = self.window.early.iter().all(|early| early.rid < rid);
        only_asks && if self.terms.is_polling() { self.last_idle } else { under_way == most && is_last }
    }

    /// The request whose turn it is.
    fn take(&mut self, body: &Body<'_>, held: Held, pause: Option<u64>, ack: Option<u64>, now: Instant) {
        let rid = held.rid;
        let (key, newkey) = (body.attribute("key"), body.attribute("newkey"));
        let fits = match (&mut self.keys, newkey) {
            (Some(keys), _) => {
                keys.accept(rid, key, newkey, self.terms.kept() + usize::from(self.terms.requests))
            }
            (None, None) => true,
            (None, Some(newkey)) => {
                self.keys = Keys::begin(newkey).map(Box::new);
                self.keys.is_some()
            }
        };
        if !fits {
            return self.fail_held(held, Condition::ItemNotFound);
        }
        if self.terms.acks {
            self.acknowledged(rid, ack, now);
        }
        self.window.next = rid + 1;
        self.pause = None;
        self.forward(body);
        self.window.held.reserve_exact(1);
        self.window.held.push(held);
        if is_terminate(body) {
            return self.terminated();
        }
        // A longer one than was offered is no pause.
        let most = u64::from(self.terms.max_pause);
        if let Some(pause) = pause.filter(|pause| *pause <= most && most > 0) {
            self.pause = u16::try_from(pause).ok();
            while !self.window.held.is_empty() {
                self.answer_first(false, now);
            }
        }
    }

    /// The client said which answers it has: all, unless it names the last before the first that it lacks.
    fn acknowledged(&mut self, rid: u64, ack: Option<u64>, now: Instant) {
        let upto = ack.unwrap_or(rid - 1).min(rid - 1);
        self.window.forget(upto);
        let lacks = self.window.last_answered().is_some_and(|last| upto < last);
        let long_ago = |answer: &&Answer| now >= answer.given + REPORT_AFTER;
        self.report = (lacks && self.window.answer(upto + 1).filter(long_ago).is_some()).then_some(upto + 1);
    }

    /// A number that was there before.
    fn repeated(&mut self, body: &Body<'_>, rid: u64, request: u64) {
        self.repeats = self.repeats.saturating_add(1);
        if self.repeats > MAX_REPEATS {
            return self.fail(Some(rid), request, Condition::PolicyViolation);
        }
        let early = self.window.early.iter().find(|early| early.rid == rid);
        // Who has no key gets no answer; of a request that came early none was tried yet.
        let fits = match (&self.keys, early) {
            (None, _) => true,
            (Some(_), Some(early)) => *early.body == *body.bytes(),
            (Some(keys), None) => keys.is_repeated(rid, body.attribute("key")),
        };
        if !fits {
            return self.fail(Some(rid), request, Condition::ItemNotFound);
        }
        if let Some(waiting) = self.window.waiting(rid) {
            let replaced = waiting.replace(request).filter(|known| *known != request);
            replaced.into_iter().for_each(|replaced| self.answer(replaced, recoverable()));
        } else if let Some(body) = self.window.answer(rid).map(Answer::body) {
            self.answer(request, body);
        } else {
            self.fail(Some(rid), request, Condition::ItemNotFound);
        }
    }

    /// Gives every answer that is to be given now, and notes since when none is asked for.
    fn settle(&mut self, now: Instant) {
        if self.opening.is_some() {
            if self.queue.is_empty() && self.stage == Stage::Open {
                return;
            }
            self.announce();
        }
        while self.stage != Stage::Over && !self.window.held.is_empty() {
            let live = self.window.live() > 0;
            match self.stage {
                Stage::Closing(condition) if live => self.say_goodbye(condition),
                _ if live && (!self.queue.is_empty() || self.report.is_some()) => {
                    self.answer_first(true, now)
                }
                _ if self.window.held.len() > self.terms.held() => self.answer_first(true, now),
                _ => break,
            }
        }
        match self.window.live() {
            0 => _ = self.quiet_since.get_or_insert(now),
            _ => self.quiet_since = None,
        }
    }

    /// Answers the first request that waits, with messages if there are any and it can take them.
    fn answer_first(&mut self, with_messages: bool, now: Instant) {
        if self.window.held.is_empty() {
            return;
        }
        let Held { rid, request, .. } = self.window.held.remove(0);
        let last = self.window.next - 1;
        let mut answer = Answer {
            rid,
            given: now,
            ack: if self.terms.acks && last > rid { last } else { 0 },
            report: None,
            pause: !with_messages && last == rid,
            messages: Box::default(),
            bytes: 0,
        };
        if let Some(request) = request {
            if let Some(report) = self.report.take() {
                let since = self.window.answer(report).map_or(now, |lacking| lacking.given);
                // The schema has 16 bits for it.
                let time = (now - since).as_millis().min(u16::MAX.into()) as u64;
                answer.report = Some(Box::new((report, time)));
            }
            if with_messages {
                (answer.messages, answer.bytes) = self.queue.take_for_an_answer();
            }
            if rid == last && !answer.messages.is_empty() {
                self.last_idle = false;
            }
            self.answer(request, answer.body());
        }
        self.window.keep(answer, self.terms.kept());
    }

    /// Hands the messages of a request on.
    fn forward(&mut self, body: &Body<'_>) {
        if self.stage == Stage::Open {
            let messages = body.messages().map(|(binary, payload)| Output::Message { binary, payload });
            self.outputs.extend(messages);
        }
    }

    /// The client ends the session: the oldest request confirms it.
    fn terminated(&mut self) {
        let mut body = Some(terminate(None, &[]));
        self.answer_rest(|session, request| {
            let body = body.take().unwrap_or_else(empty);
            session.answer(request, body);
        });
        self.end(End::Client);
    }

    /// We end the session, and a request is there to take the news.
    fn say_goodbye(&mut self, condition: Option<Condition>) {
        let messages = Vec::from(self.queue.take_all());
        let mut body = Some(terminate(condition, &messages));
        self.answer_rest(|session, request| match (body.take(), condition) {
            (Some(_), Some(condition)) if messages.is_empty() => session.refuse_as(request, condition),
            (Some(body), _) => session.answer(request, body),
            (None, _) => session.answer(request, empty()),
        });
        self.end(End::Closed);
    }

    /// The client broke a rule with this request: it is told so, the others that another did.
    fn fail(&mut self, rid: Option<u64>, request: u64, condition: Condition) {
        let held = Held { rid: rid.unwrap_or(MAX_RID), request: Some(request), until: self.last_came };
        self.fail_held(held, condition);
    }

    fn fail_held(&mut self, culprit: Held, condition: Condition) {
        let request = culprit.request;
        self.window.held.push(culprit);
        self.window.held.sort_by_key(|held| held.rid);
        self.answer_rest(|session, known| {
            let own = Some(known) == request;
            session.refuse_as(known, if own { condition } else { Condition::OtherRequest });
        });
        self.end(End::Error(condition));
    }

    /// Answers all requests that are there, in the order of their numbers.
    fn answer_rest(&mut self, mut answer: impl FnMut(&mut Self, u64)) {
        let held = std::mem::take(&mut self.window.held).into_iter().map(|held| (held.rid, held.request));
        let early =
            std::mem::take(&mut self.window.early).into_iter().map(|early| (early.rid, early.request));
        let mut all: Vec<_> = held.chain(early).collect();
        all.sort_by_key(|(rid, _)| *rid);
        all.into_iter().filter_map(|(_, request)| request).for_each(|request| answer(self, request));
    }

    fn end(&mut self, how: End) {
        self.stage = Stage::Over;
        self.queue = Queue::default();
        self.outputs.push_back(Output::Ended { how });
    }

    fn refuse_as(&mut self, request: u64, condition: Condition) {
        let Refusal { status, body } = condition.refusal(self.terms.versioned);
        self.answer_with(request, status, body);
    }

    fn answer(&mut self, request: u64, body: Vec<u8>) {
        self.answer_with(request, 200, body);
    }

    fn answer_with(&mut self, request: u64, status: u16, body: Vec<u8>) {
        let content_type = match &self.content_type {
            None => Cow::Borrowed(CONTENT_TYPE),
            Some(asked) => Cow::Owned(asked.to_string()),
        };
        self.outputs.push_back(Output::Answer { request, status, content_type, body });
    }

    /// Bytes that it takes, but for messages, which rooms share.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        size_of::<Self>()
            + self.window.size()
            + self.queue.size()
            + self.outputs.capacity() * size_of::<Output>()
            + self.content_type.as_deref().map_or(0, str::len)
            + self.keys.as_deref().map_or(0, Keys::size)
            + self.opening.as_deref().map_or(0, |opening| size_of::<Opening>() + opening.tag.capacity())
    }
}

fn is_terminate(body: &Body<'_>) -> bool {
    body.attribute("type") == Some("terminate")
}

/// The answer that says nothing.
fn empty() -> Vec<u8> {
    finish(String::from("<body"), &[])
}
