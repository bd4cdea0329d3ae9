//! A site that a test drives: what clients do, what time does, and what came of it.

use super::answer::Answer;
use super::ask::{Ask, AskError};
use super::jar::Jar;
use super::socket::{ClientId, Ended, Message};
use super::stage::{APP, Chore, LogLine, Seat, Shared, Stage, lock};
use crate::hub::inspect::{ConnectionFilter, ConnectionView};
use crate::hub::{AppSpec, Limits, WorkerId};
use crate::sessions::{Keys, Secret};
use crate::worker::clock::Clock;
use crate::worker::link::{self, Actions, Orders};
use crate::worker::page::Page;
use crate::worker::protocol::{LoadFailure, Start};
use kennel_http::websocket::{CloseCode, close};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use thiserror::Error;

/// What is to be rehearsed.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What its workers are told to load. The number is filled in.
    pub start: Start,
    /// The bounds in force.
    pub limits: Limits,
    /// Where its time begins.
    pub begin: Instant,
}

/// What a worker did in its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// It goes on; otherwise it has ended.
    pub alive: bool,
    /// When it has something to do though nobody orders anything.
    pub next: Option<Instant>,
}

/// The workers, which are the language's affair.
pub trait Workers {
    /// What can go wrong with them.
    type Error: From<SiteError>;

    /// Begins a worker, which loads in its first turn.
    ///
    /// # Errors
    ///
    /// When it cannot be begun.
    fn start(
        &mut self,
        worker: WorkerId,
        start: Start,
        link: (Orders, Actions),
        clock: Clock,
    ) -> Result<(), Self::Error>;

    /// Lets a worker do what it was ordered, and what is due.
    ///
    /// # Errors
    ///
    /// When that cannot go on.
    fn turn(&mut self, worker: WorkerId) -> Result<Turn, Self::Error>;

    /// Ends a worker, if it is there.
    fn end(&mut self, worker: WorkerId);
}

/// Why a rehearsal cannot go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SiteError {
    /// The app did not load.
    #[error("the app did not load: {0}")]
    Load(LoadFailure),
    /// A request that no client can make.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The app goes on and on at one moment.
    #[error(
        "the app does not come to rest: something in it goes on without end, such as a loop of sleeps of 0 seconds"
    )]
    Restless,
    /// The connection was closed without an answer.
    #[error("the connection was closed without an answer")]
    NoAnswer,
    /// A connection that takes nothing any more.
    #[error("the connection is closed ({code} {reason})")]
    Closed {
        /// As in a close frame.
        code: u16,
        /// Perhaps empty.
        reason: String,
    },
    /// A close code that may not be sent.
    #[error("{0} is no close code that a client may send: 1000, 1001, 1003, 1007 to 1011 or 3000 to 4999")]
    CloseCode(u16),
    /// The operator's code could not be run.
    #[error("{0}")]
    Evaluate(String),
    /// There is no memory for a worker's page.
    #[error("cannot begin a worker: {0}")]
    Page(#[from] io::Error),
}

/// How a request is made.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Redirects are followed.
    pub follow: bool,
    /// The jar's cookies go along, and the answer's are kept.
    pub cookies: bool,
    /// How long an answer is read that does not end.
    pub patience: Duration,
}

impl Default for Manner {
    fn default() -> Self {
        Self { follow: false, cookies: true, patience: Duration::from_secs(60) }
    }
}

/// A worker that takes part.
#[derive(Debug)]
struct Player {
    worker: WorkerId,
    page: Page,
    next: Option<Instant>,
}

/// The site.
#[derive(Debug)]
pub struct Site {
    stage: Shared,
    clock: Clock,
    start: Start,
    players: Vec<Player>,
    jar: Jar,
    evaluations: u64,
}

/// What a program gives to its workers of its own accord: bounds, settings, and something to sign with.
fn completed(start: Start, limits: &Limits) -> Start {
    let config = match start.config {
        serde_json::Value::Null => serde_json::json!({}),
        config => config,
    };
    let secret = Secret::new(b"what tests of apps sign with").expect("it is long enough");
    let keys = if start.keys.is_empty() { Keys::of(&[secret]) } else { start.keys };
    Start {
        config,
        keys,
        form: limits.form.clone(),
        conversations: limits.conversations,
        conversations_per_address: limits.conversations_per_address,
        ..start
    }
}

/// Rounds of turns at one moment. An app takes a few.
const ROUNDS: usize = 20_000;
/// Redirects that are followed.
const REDIRECTS: usize = 10;

impl Site {
    /// Loads the app and brings it to rest.
    ///
    /// # Errors
    ///
    /// When it does not load.
    pub fn open<W: Workers>(plan: Plan, workers: &mut W) -> Result<Self, W::Error> {
        let clock = Clock::made(plan.begin);
        let app = AppSpec { name: plan.start.source.clone(), mount: plan.start.mount.clone(), workers: 1 };
        let start = completed(plan.start, &plan.limits);
        let stage = Stage::new(plan.limits, app, clock.clone());
        let mut site = Self {
            stage: Arc::new(Mutex::new(stage)),
            clock,
            start,
            players: Vec::new(),
            jar: Jar::default(),
            evaluations: 0,
        };
        site.await_load(workers)?;
        Ok(site)
    }

    /// Loads the newest code beside what runs, and lets it take over.
    ///
    /// # Errors
    ///
    /// When it does not load; what ran goes on.
    pub fn reload<W: Workers>(&mut self, workers: &mut W) -> Result<(), W::Error> {
        let now = self.clock.now();
        {
            let stage = &mut *lock(&self.stage);
            stage.ready = false;
            stage.hub.load_app(APP, now);
        }
        self.await_load(workers)
    }

    fn await_load<W: Workers>(&mut self, workers: &mut W) -> Result<(), W::Error> {
        let patience = lock(&self.stage).hub.limits().load_time;
        let end = self.clock.now() + patience;
        let loaded = |stage: &mut Stage| stage.ready || stage.failure.is_some();
        let done = self.run_until(end, workers, loaded)?;
        let failure = lock(&self.stage).failure.take();
        match failure {
            Some(failure) => Err(SiteError::Load(failure).into()),
            None if done => Ok(()),
            None => {
                let message = format!("the script did not load within {patience:?}");
                Err(SiteError::Load(LoadFailure { message, ..LoadFailure::default() }).into())
            }
        }
    }

    /// The time that has passed since the site began.
    pub fn time(&self) -> Duration {
        self.clock.passed()
    }

    /// Lets time pass, with all that is due in it, in order.
    ///
    /// # Errors
    ///
    /// When the app does not come to rest.
    pub fn advance<W: Workers>(&mut self, time: Duration, workers: &mut W) -> Result<(), W::Error> {
        let end = self.clock.now() + time;
        self.run_until(end, workers, |_| false).map(drop)
    }

    /// Makes a request and waits for its answer, by which time may pass.
    ///
    /// # Errors
    ///
    /// When there is none, or no client could make it.
    pub fn request<W: Workers>(
        &mut self,
        ask: &Ask,
        manner: &Manner,
        workers: &mut W,
    ) -> Result<Answer, W::Error> {
        let mut ask = ask.clone();
        for _ in 0..REDIRECTS {
            let answer = self.request_once(&ask, manner, workers)?;
            let location = answer.header("Location").map(|value| String::from_utf8_lossy(value).into_owned());
            let Some(location) =
                location.filter(|_| manner.follow && matches!(answer.status, 301..=303 | 307 | 308))
            else {
                return Ok(answer);
            };
            let keeps = matches!(answer.status, 307 | 308) || ask.method == "HEAD";
            let mut next =
                Ask::new(if keeps { &ask.method } else { "GET" }, &resolve(&ask.target, &location));
            if keeps {
                next.body = std::mem::take(&mut ask.body);
            }
            next.cookies = std::mem::take(&mut ask.cookies);
            let is_of_body = |name: &[u8]| name.to_ascii_lowercase().starts_with(b"content-");
            next.headers = ask.headers.into_iter().filter(|(name, _)| keeps || !is_of_body(name)).collect();
            ask = next;
        }
        self.request_once(&ask, manner, workers)
    }

    fn request_once<W: Workers>(
        &mut self,
        ask: &Ask,
        manner: &Manner,
        workers: &mut W,
    ) -> Result<Answer, W::Error> {
        ask.check_method().map_err(SiteError::from)?;
        let (path, query) = ask.path_and_query().map_err(SiteError::from)?;
        let now = self.clock.now();
        let kept = if manner.cookies { self.jar.fitting(&path, now) } else { Vec::new() };
        let (headers, body) = ask.headers_and_body(kept).map_err(SiteError::from)?;
        let mut fields = ask.server_fields(&ask.method, &path, query.as_deref(), "/");
        fields.extend(headers);
        let client = lock(&self.stage).server.request(&path, &fields, &body, ask.method == "HEAD");

        let timeout = lock(&self.stage).hub.limits().request_timeout;
        let has_begun = |stage: &mut Stage| {
            let (answer, closed) = stage.server.answer(client);
            closed || answer.is_some()
        };
        // The hub gives up first; the rest is for its own looks at the clock.
        let begun = self.run_until(now + timeout + Duration::from_secs(60), workers, has_begun)?;
        if begun {
            let is_over = |stage: &mut Stage| {
                let (answer, closed) = stage.server.answer(client);
                closed || answer.is_some_and(|answer| answer.complete)
            };
            self.run_until(self.clock.now() + manner.patience, workers, is_over)?;
        }
        let (answer, _) = lock(&self.stage).server.answer(client);
        lock(&self.stage).server.forget(client);
        self.settle(workers)?;
        let answer = answer.ok_or(SiteError::NoAnswer)?;
        if manner.cookies {
            let lines = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"set-cookie"));
            lines.for_each(|(_, line)| self.jar.take(line, &path, now));
        }
        Ok(answer)
    }

    /// Connects a WebSocket, or a socket by `@name` or `<tag`. A WebSocket may be refused: then there is its answer too.
    ///
    /// # Errors
    ///
    /// When no client could connect like this, or there was no answer.
    pub fn connect<W: Workers>(
        &mut self,
        ask: &Ask,
        workers: &mut W,
    ) -> Result<(ClientId, Option<Answer>), W::Error> {
        if ask.is_socket().map_err(SiteError::from)? {
            return Ok((lock(&self.stage).server.connect(&ask.target), None));
        }
        let (path, query) = ask.path_and_query().map_err(SiteError::from)?;
        let now = self.clock.now();
        let kept = self.jar.fitting(&path, now);
        let (headers, _) = ask.headers_and_body(kept).map_err(SiteError::from)?;
        let mut fields = ask.server_fields("WEBSOCKET_HANDSHAKE", &path, query.as_deref(), "/");
        fields.extend(headers);
        let client = lock(&self.stage).server.handshake(&path, fields);
        let timeout = lock(&self.stage).hub.limits().request_timeout;
        let is_decided = |stage: &mut Stage| {
            let (answer, closed) = stage.server.answer(client);
            closed || answer.is_some_and(|answer| answer.complete)
        };
        self.run_until(now + timeout + Duration::from_secs(60), workers, is_decided)?;
        self.settle(workers)?;
        let answer = lock(&self.stage).server.answer(client).0.ok_or(SiteError::NoAnswer)?;
        let lines = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"set-cookie"));
        lines.for_each(|(_, line)| self.jar.take(line, &path, now));
        Ok((client, Some(answer)))
    }

    /// Whether messages can go both ways.
    pub fn is_open(&self, client: ClientId) -> bool {
        lock(&self.stage).server.socket(client).is_some_and(|socket| socket.is_open())
    }

    /// A connected client sends a message.
    ///
    /// # Errors
    ///
    /// [`SiteError::Closed`], or when the app does not come to rest.
    pub fn send<W: Workers>(
        &mut self,
        client: ClientId,
        binary: bool,
        payload: &[u8],
        workers: &mut W,
    ) -> Result<(), W::Error> {
        let sent = self.is_open(client)
            && lock(&self.stage).server.say(client, if binary { 0x82 } else { 0x81 }, payload);
        if !sent {
            let Ended { code, reason } =
                self.ended(client).unwrap_or(Ended { code: 1006, reason: String::new() });
            return Err(SiteError::Closed { code, reason }.into());
        }
        self.settle(workers)
    }

    /// The next message that the app sent to a client, if there is one.
    pub fn receive(&mut self, client: ClientId) -> Option<Message> {
        lock(&self.stage).server.socket(client)?.inbox.pop_front()
    }

    /// How a client's conversation ended, if it has.
    pub fn ended(&self, client: ClientId) -> Option<Ended> {
        lock(&self.stage).server.socket(client)?.ended.clone()
    }

    /// A client closes: a WebSocket with a close frame, another socket by hanging up.
    ///
    /// # Errors
    ///
    /// [`SiteError::CloseCode`], or when the app does not come to rest.
    pub fn close<W: Workers>(
        &mut self,
        client: ClientId,
        code: u16,
        reason: &str,
        workers: &mut W,
    ) -> Result<(), W::Error> {
        if !CloseCode(code).may_be_received() {
            return Err(SiteError::CloseCode(code).into());
        }
        if self.is_open(client) {
            let stage = &mut *lock(&self.stage);
            let websocket = stage.server.socket(client).is_some_and(|socket| socket.is_websocket());
            if websocket {
                stage.server.say(client, 0x88, &close::encode_payload(CloseCode(code), reason));
            }
            if let Some(socket) = stage.server.socket(client) {
                socket.end(code, reason);
            }
            if !websocket {
                stage.server.leave(client);
            }
        }
        self.settle(workers)
    }

    /// A client goes away without a word.
    ///
    /// # Errors
    ///
    /// When the app does not come to rest.
    pub fn vanish<W: Workers>(&mut self, client: ClientId, workers: &mut W) -> Result<(), W::Error> {
        lock(&self.stage).server.leave(client);
        self.settle(workers)
    }

    /// Whether clients leave pings unanswered, as one that has fallen asleep.
    pub fn set_silent(&mut self, yes: bool) {
        lock(&self.stage).server.silent = yes;
    }

    /// The app's log, from this line on.
    pub fn log(&self, from: usize) -> Vec<LogLine> {
        lock(&self.stage).log.get(from..).unwrap_or_default().to_vec()
    }

    /// How many lines the app's log has.
    pub fn log_size(&self) -> usize {
        lock(&self.stage).log.len()
    }

    /// The live connections that the hub knows; those of a room, if one is named.
    pub fn connections(&self, room: Option<&str>) -> Vec<ConnectionView> {
        let filter = ConnectionFilter {
            room: room.map(str::to_owned),
            limit: Some(1000),
            ..ConnectionFilter::default()
        };
        lock(&self.stage).hub.list_connections(&filter, self.clock.now()).connections
    }

    /// The `conn.data` of a client's connection, as JSON text.
    pub fn data(&self, client: ClientId) -> Option<String> {
        let view = self.connections(None).into_iter().find(|view| view.conn == client.0)?;
        let story = lock(&self.stage).hub.connection_story(&view.id, self.clock.now())?;
        Some(story.data.to_string())
    }

    /// The jar's cookies.
    pub fn cookies(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.jar.all(self.clock.now())
    }

    /// Empties the jar.
    pub fn forget_cookies(&mut self) {
        self.jar.clear();
    }

    /// Runs code in the app, as the console's `eval` does, and gives its value as text.
    ///
    /// # Errors
    ///
    /// [`SiteError::Evaluate`] when it fails.
    pub fn evaluate<W: Workers>(&mut self, code: &str, workers: &mut W) -> Result<String, W::Error> {
        self.evaluations += 1;
        let query = self.evaluations;
        let refused = |problem: String| SiteError::Evaluate(problem);
        lock(&self.stage)
            .hub
            .evaluate(None, 1, query, code)
            .map_err(|problem| refused(problem.to_string()))?;
        let end = self.clock.now() + Duration::from_secs(60);
        let has_result =
            |stage: &mut Stage| stage.evaluated.as_ref().is_some_and(|(found, _)| *found == query);
        self.run_until(end, workers, has_result)?;
        let result = lock(&self.stage).evaluated.take();
        match result {
            Some((_, result)) => Ok(result.map_err(refused)?),
            None => Err(refused("it gave nothing within 60 seconds".to_owned()).into()),
        }
    }

    /// Lets everybody do what there is to do at this moment.
    ///
    /// # Errors
    ///
    /// [`SiteError::Restless`], and what workers say.
    pub fn settle<W: Workers>(&mut self, workers: &mut W) -> Result<(), W::Error> {
        let mut rounds = 0;
        loop {
            lock(&self.stage).exchange();
            self.do_chores(workers)?;
            let before = lock(&self.stage).activity;
            let now = self.clock.now();
            let mut at = 0;
            while let Some(player) = self.players.get_mut(at) {
                // Each gets one turn; then those that have something to do.
                let is_due = player.next.is_some_and(|next| next <= now);
                if rounds > 0 && !is_due && !lock(&self.stage).has_orders(player.worker) {
                    at += 1;
                    continue;
                }
                let turn = workers.turn(player.worker)?;
                player.next = turn.next;
                match turn.alive {
                    true => at += 1,
                    false => {
                        let gone = self.players.remove(at);
                        self.bury(&gone, workers);
                    }
                }
            }
            let is_due = |player: &Player| player.next.is_some_and(|next| next <= now);
            let stage = lock(&self.stage);
            if stage.activity == before && stage.chores.is_empty() && !self.players.iter().any(is_due) {
                return Ok(());
            }
            drop(stage);
            rounds += 1;
            if rounds > ROUNDS {
                return Err(SiteError::Restless.into());
            }
        }
    }

    /// Lets time pass until something is so (`true`), at most until `end`.
    fn run_until<W: Workers>(
        &mut self,
        end: Instant,
        workers: &mut W,
        is_so: impl Fn(&mut Stage) -> bool,
    ) -> Result<bool, W::Error> {
        loop {
            self.settle(workers)?;
            if is_so(&mut lock(&self.stage)) {
                return Ok(true);
            }
            let timers = self.players.iter().filter_map(|player| player.next);
            let due = timers.chain(lock(&self.stage).hub.next_timeout()).min();
            match due.filter(|due| *due <= end) {
                Some(due) => self.clock.advance_to(due),
                None => {
                    self.clock.advance_to(end);
                    self.settle(workers)?;
                    return Ok(is_so(&mut lock(&self.stage)));
                }
            }
        }
    }

    fn do_chores<W: Workers>(&mut self, workers: &mut W) -> Result<(), W::Error> {
        let chores = std::mem::take(&mut lock(&self.stage).chores);
        for chore in chores {
            match chore {
                Chore::Start { worker, number } => {
                    let (page, descriptor) = Page::create().map_err(SiteError::from)?;
                    let theirs = Page::map(&descriptor).map_err(SiteError::from)?;
                    let seat = Seat { stage: Arc::clone(&self.stage), worker };
                    let link = link::near(Arc::new(Mutex::new(seat)), theirs);
                    let start = Start { number, ..self.start.clone() };
                    workers.start(worker, start, link, self.clock.clone())?;
                    self.players.push(Player { worker, page, next: Some(self.clock.now()) });
                }
                Chore::Kill(worker) => {
                    if let Some(at) = self.players.iter().position(|player| player.worker == worker) {
                        let gone = self.players.remove(at);
                        self.bury(&gone, workers);
                    }
                }
                Chore::Revoke { worker, serial } => {
                    if let Some(player) = self.players.iter().find(|player| player.worker == worker) {
                        let started = player.page.revoke(serial);
                        lock(&self.stage).hub.handle_revoked(worker, started, self.clock.now());
                    }
                }
            }
        }
        Ok(())
    }

    fn bury<W: Workers>(&self, player: &Player, workers: &mut W) {
        workers.end(player.worker);
        let started = player.page.pulse().started;
        lock(&self.stage).hub.handle_worker_gone(player.worker, started, self.clock.now());
    }
}

/// Where a redirect leads: a path of this site.
fn resolve(from: &str, location: &str) -> String {
    if location.starts_with('/') && !location.starts_with("//") {
        return location.to_owned();
    }
    if let Some((_, rest)) = location.split_once("//") {
        // Another site's address leads to the same path here: there is no other site.
        return rest.find('/').map_or_else(|| "/".to_owned(), |at| rest[at..].to_owned());
    }
    let path = from.split('?').next().unwrap_or_default();
    let folder = path.rfind('/').map_or("/", |end| &path[..=end]);
    format!("{folder}{location}")
}

#[cfg(test)]
mod paths {
    use super::resolve;

    #[test]
    fn a_redirect_leads_to_a_path_of_this_site() {
        assert_eq!(resolve("/a/b?c", "/x?y"), "/x?y");
        assert_eq!(resolve("/a/b?c/d", "x"), "/a/x");
        assert_eq!(resolve("/a", "http://localhost:6767/x"), "/x");
        assert_eq!(resolve("/a", "http://localhost:6767"), "/");
        assert_eq!(resolve("/a", "//other/x"), "/x");
    }
}
