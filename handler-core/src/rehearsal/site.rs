//! A site that a test drives: what clients do, what time does, and what came of it.

use super::answer::Answer;
use super::ask::Ask;
use super::jar::Jar;
use super::redirect;
use super::scheduler::Scheduler;
use super::socket::{ClientId, Ended, Message};
use super::stage::{APP, LogLine, Stage};
use super::workers::{SiteError, Workers};
use crate::hub::inspect::{ConnectionFilter, ConnectionView};
use crate::hub::{AppSpec, Limits};
use crate::sessions::{Keys, Secret};
use crate::worker::clock::Clock;
use crate::worker::protocol::{LoadFailure, Start};
use kennel_http::websocket::{CloseCode, close};
use std::time::{Duration, Instant};

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

/// The site.
#[derive(Debug)]
pub struct Site {
    scheduler: Scheduler,
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
        let scheduler = Scheduler::new(stage, clock, start);
        let mut site = Self { scheduler, jar: Jar::default(), evaluations: 0 };
        site.await_load(workers)?;
        Ok(site)
    }

    /// Loads the newest code beside what runs, and lets it take over.
    ///
    /// # Errors
    ///
    /// When it does not load; what ran goes on.
    pub fn reload<W: Workers>(&mut self, workers: &mut W) -> Result<(), W::Error> {
        let now = self.scheduler.clock.now();
        {
            let stage = &mut *self.scheduler.stage();
            stage.ready = false;
            stage.hub.load_app(APP, now);
        }
        self.await_load(workers)
    }

    fn await_load<W: Workers>(&mut self, workers: &mut W) -> Result<(), W::Error> {
        let patience = self.scheduler.stage().hub.limits().load_time;
        let end = self.scheduler.clock.now() + patience;
        let loaded = |stage: &mut Stage| stage.ready || stage.failure.is_some();
        let done = self.scheduler.run_until(end, workers, loaded)?;
        let failure = self.scheduler.stage().failure.take();
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
        self.scheduler.clock.passed()
    }

    /// Lets time pass, with all that is due in it, in order.
    ///
    /// # Errors
    ///
    /// When the app does not come to rest.
    pub fn advance<W: Workers>(&mut self, time: Duration, workers: &mut W) -> Result<(), W::Error> {
        let end = self.scheduler.clock.now() + time;
        self.scheduler.run_until(end, workers, |_| false).map(drop)
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
            let Some(next) = manner.follow.then(|| redirect::follow(&mut ask, &answer)).flatten() else {
                return Ok(answer);
            };
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
        let now = self.scheduler.clock.now();
        let kept = if manner.cookies { self.jar.fitting(&path, now) } else { Vec::new() };
        let (headers, body) = ask.headers_and_body(kept).map_err(SiteError::from)?;
        let mut fields = ask.server_fields(&ask.method, &path, query.as_deref(), "/");
        fields.extend(headers);
        let client = self.scheduler.stage().server.request(&path, &fields, &body, ask.method == "HEAD");

        let timeout = self.scheduler.stage().hub.limits().request_timeout;
        let has_begun = |stage: &mut Stage| {
            let (answer, closed) = stage.server.answer(client);
            closed || answer.is_some()
        };
        // The hub gives up first; the rest is for its own looks at the clock.
        let begun = self.scheduler.run_until(now + timeout + Duration::from_secs(60), workers, has_begun)?;
        if begun {
            let is_over = |stage: &mut Stage| {
                let (answer, closed) = stage.server.answer(client);
                closed || answer.is_some_and(|answer| answer.complete)
            };
            self.scheduler.run_until(self.scheduler.clock.now() + manner.patience, workers, is_over)?;
        }
        let (answer, _) = self.scheduler.stage().server.answer(client);
        self.scheduler.stage().server.forget(client);
        self.scheduler.settle(workers)?;
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
            return Ok((self.scheduler.stage().server.connect(&ask.target), None));
        }
        let (path, query) = ask.path_and_query().map_err(SiteError::from)?;
        let now = self.scheduler.clock.now();
        let kept = self.jar.fitting(&path, now);
        let (headers, _) = ask.headers_and_body(kept).map_err(SiteError::from)?;
        let mut fields = ask.server_fields("WEBSOCKET_HANDSHAKE", &path, query.as_deref(), "/");
        fields.extend(headers);
        let client = self.scheduler.stage().server.handshake(&path, fields);
        let timeout = self.scheduler.stage().hub.limits().request_timeout;
        let is_decided = |stage: &mut Stage| {
            let (answer, closed) = stage.server.answer(client);
            closed || answer.is_some_and(|answer| answer.complete)
        };
        self.scheduler.run_until(now + timeout + Duration::from_secs(60), workers, is_decided)?;
        self.scheduler.settle(workers)?;
        let answer = self.scheduler.stage().server.answer(client).0.ok_or(SiteError::NoAnswer)?;
        let lines = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"set-cookie"));
        lines.for_each(|(_, line)| self.jar.take(line, &path, now));
        Ok((client, Some(answer)))
    }

    /// Whether messages can go both ways.
    pub fn is_open(&self, client: ClientId) -> bool {
        self.scheduler.stage().server.socket(client).is_some_and(|socket| socket.is_open())
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
            && self.scheduler.stage().server.say(client, if binary { 0x82 } else { 0x81 }, payload);
        if !sent {
            let Ended { code, reason } =
                self.ended(client).unwrap_or(Ended { code: 1006, reason: String::new() });
            return Err(SiteError::Closed { code, reason }.into());
        }
        self.scheduler.settle(workers)
    }

    /// The next message that the app sent to a client, if there is one.
    pub fn receive(&mut self, client: ClientId) -> Option<Message> {
        self.scheduler.stage().server.socket(client)?.inbox.pop_front()
    }

    /// How a client's conversation ended, if it has.
    pub fn ended(&self, client: ClientId) -> Option<Ended> {
        self.scheduler.stage().server.socket(client)?.ended.clone()
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
            let stage = &mut *self.scheduler.stage();
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
        self.scheduler.settle(workers)
    }

    /// A client goes away without a word.
    ///
    /// # Errors
    ///
    /// When the app does not come to rest.
    pub fn vanish<W: Workers>(&mut self, client: ClientId, workers: &mut W) -> Result<(), W::Error> {
        self.scheduler.stage().server.leave(client);
        self.scheduler.settle(workers)
    }

    /// Whether clients leave pings unanswered, as one that has fallen asleep.
    pub fn set_silent(&mut self, yes: bool) {
        self.scheduler.stage().server.silent = yes;
    }

    /// The app's log, from this line on.
    pub fn log(&self, from: usize) -> Vec<LogLine> {
        self.scheduler.stage().log.get(from..).unwrap_or_default().to_vec()
    }

    /// How many lines the app's log has.
    pub fn log_size(&self) -> usize {
        self.scheduler.stage().log.len()
    }

    /// The live connections that the hub knows; those of a room, if one is named.
    pub fn connections(&self, room: Option<&str>) -> Vec<ConnectionView> {
        let filter = ConnectionFilter {
            room: room.map(str::to_owned),
            limit: Some(1000),
            ..ConnectionFilter::default()
        };
        self.scheduler.stage().hub.list_connections(&filter, self.scheduler.clock.now()).connections
    }

    /// The `conn.data` of a client's connection, as JSON text.
    pub fn data(&self, client: ClientId) -> Option<String> {
        let view = self.connections(None).into_iter().find(|view| view.conn == client.0)?;
        let story = self.scheduler.stage().hub.connection_story(&view.id, self.scheduler.clock.now())?;
        Some(story.data.to_string())
    }

    /// The jar's cookies.
    pub fn cookies(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.jar.all(self.scheduler.clock.now())
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
        self.scheduler
            .stage()
            .hub
            .evaluate(None, 1, query, code)
            .map_err(|problem| refused(problem.to_string()))?;
        let end = self.scheduler.clock.now() + Duration::from_secs(60);
        let has_result =
            |stage: &mut Stage| stage.evaluated.as_ref().is_some_and(|(found, _)| *found == query);
        self.scheduler.run_until(end, workers, has_result)?;
        let result = self.scheduler.stage().evaluated.take();
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
        self.scheduler.settle(workers)
    }
}
