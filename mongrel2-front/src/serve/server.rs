//! One turn after the other: waits for events, reads what clients and handlers send, lets the front decide, and writes
//! what has come of it.

use super::bounds::{
    CERTIFICATE_CHECK, EVENTS, HANDLER_QUEUE, HANDLER_QUEUE_LOW, LOG_DELAY, STOP_LINGER, STOP_TIME,
};
use super::clients::{Clients, SocketKey};
use super::descriptors::Descriptors;
use super::listener::Listener;
use super::signals::{self, Signals};
use super::supervisor::Supervisor;
use super::uploads::{Done, Uploads};
use super::{Options, ServeError};
use crate::control::Order;
use crate::effect::Effect;
use crate::files;
use crate::front::Front;
use crate::ids::{ClientKey, HandlerId};
use crate::process::access_log::AccessLog;
use crate::process::error_log::ErrorLog;
use crate::process::pid_file::PidFile;
use crate::sockets::{ControlSocket, HandlerSockets, TOKENS};
use crate::tls::Certificates;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use sd_notify::NotifyState;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tracing::{debug, info, warn};

pub(super) const STOP: u64 = 0;
pub(super) const RELOAD: u64 = 1;
pub(super) const UPLOADS: u64 = 2;
/// Behind it are those of the listening sockets, then those of handlers and the control port. Tokens of clients are
/// above 32 bits.
pub(super) const LISTENERS: u64 = 8;
pub(super) const HANDLERS: u64 = TOKENS;
pub(super) const CONTROL: u64 = 2 * TOKENS;

/// How long handlers may take for the last messages.
const HANDLER_PATIENCE: Duration = Duration::from_secs(1);

/// A server that runs.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) options: Options,
    pub(super) poller: OwnedFd,
    pub(super) signals: Signals,
    pub(super) listeners: Vec<Listener>,
    pub(super) descriptors: Descriptors,
    pub(super) clients: Clients,
    pub(super) front: Front,
    /// `None` only while the server ends.
    pub(super) handlers: Option<HandlerSockets>,
    /// Handlers for which too much waits.
    pub(super) congested: Vec<bool>,
    pub(super) control: Option<ControlSocket>,
    pub(super) uploads: Uploads,
    /// Clients whose files became whole in this turn.
    pub(super) finished: Vec<ClientKey>,
    /// With TLS.
    pub(super) certificates: Option<Arc<Certificates>>,
    /// When certificates are looked at.
    pub(super) certificates_due: Option<Instant>,
    pub(super) access_log: AccessLog,
    pub(super) error_log: Option<ErrorLog>,
    /// When lines that wait are written.
    pub(super) log_due: Option<Instant>,
    pub(super) pid_file: Option<PidFile>,
    pub(super) supervisor: Supervisor,
    /// What the start has to say. The log begins behind it.
    pub(super) notices: Vec<String>,
    /// Where relative paths of folders begin.
    pub(super) root: PathBuf,
    pub(super) buffer: Vec<u8>,
    /// Sockets that are to be read from, and written to.
    pub(super) ready: Vec<SocketKey>,
    pub(super) dirty: Vec<SocketKey>,
    pub(super) stop: Option<Stop>,
}

/// The server ends.
#[derive(Debug)]
pub(super) struct Stop {
    /// What is not finished by then is cut off.
    pub(super) deadline: Instant,
    /// Every connection has what it was owed.
    pub(super) is_done: bool,
}

impl Server {
    /// Serves until it is told to stop.
    pub(super) fn run(mut self) -> Result<(), ServeError> {
        for notice in std::mem::take(&mut self.notices) {
            warn!("{notice}");
        }
        for listener in &self.listeners {
            info!("listens at {}", listener.describe());
        }
        self.supervisor.tell(&[NotifyState::Ready]);
        let mut events = Vec::with_capacity(EVENTS);
        let mut now = Instant::now();
        loop {
            self.settle(now);
            if self.is_over(now) {
                break;
            }
            self.wait(&mut events, now)?;
            now = Instant::now();
            for event in &events {
                self.handle_event(event.data.u64(), event.flags, now);
            }
            self.read_ready(now);
            self.handle_timeouts(now);
        }
        self.end();
        Ok(())
    }

    fn wait(&self, events: &mut Vec<epoll::Event>, now: Instant) -> Result<(), ServeError> {
        let left = match self.ready.is_empty() && self.dirty.is_empty() {
            true => self.next_timeout().map(|due| due.saturating_duration_since(now)),
            false => Some(Duration::ZERO),
        };
        let timeout =
            left.map(|left| Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 60, tv_nsec: 0 }));
        events.clear();
        match epoll::wait(&self.poller, spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(problem) => Err(io::Error::from(problem).into()),
        }
    }

    fn handle_event(&mut self, token: u64, flags: epoll::EventFlags, now: Instant) {
        if let Some(key) = SocketKey::of(token) {
            return self.handle_client(key, flags);
        }
        match token {
            STOP => {
                signals::drain(&self.signals.stop);
                self.begin_to_stop(now);
            }
            RELOAD => {
                signals::drain(&self.signals.reload);
                self.reload();
            }
            UPLOADS => self.take_uploads(now),
            _ if self.handlers.as_ref().is_some_and(|handlers| handlers.owns(token)) => {
                let (front, poller) = (&mut self.front, &self.poller);
                let handlers = self.handlers.as_mut().expect("it was just looked at");
                handlers.service(poller, token, now, |handler, reply| {
                    front.handle_reply(HandlerId(handler), reply, now);
                });
            }
            _ if self.control.as_ref().is_some_and(|control| control.owns(token)) => {
                for order in self.service_control(token, now) {
                    self.obey(order, now);
                }
            }
            _ => self.accept((token - LISTENERS) as usize, now),
        }
    }

    fn obey(&mut self, order: Order, now: Instant) {
        match order {
            Order::Reload => self.reload(),
            Order::Stop | Order::Terminate => self.begin_to_stop(now),
            Order::CloseControlPort => {
                if let Some(control) = self.control.take() {
                    control.close(HANDLER_PATIENCE);
                }
            }
        }
    }

    /// Does what the front wants, writes, and goes on until nothing comes of it.
    fn settle(&mut self, now: Instant) {
        let mut later = Vec::new();
        loop {
            while let Some(effect) = self.front.poll_effect() {
                self.perform(effect, now);
            }
            if self.dirty.is_empty() {
                break;
            }
            self.write_dirty(&mut later, now);
        }
        self.dirty = later;
        // What a file that is whole leads to has been done by now: a removal stands before this.
        for client in self.finished.drain(..) {
            self.uploads.release(client);
        }
        self.flush_handlers(now);
        if self.log_due.is_none() && self.access_log.has_unwritten() {
            self.log_due = Some(now + LOG_DELAY);
        }
    }

    fn perform(&mut self, effect: Effect, now: Instant) {
        match effect {
            Effect::Message(handler, message) => {
                if let Some(handlers) = &mut self.handlers {
                    handlers.send(handler.0, &message);
                }
            }
            Effect::Write(client) => {
                if let Some(key) = self.clients.socket_of(client) {
                    self.mark_dirty(key);
                }
            }
            Effect::ReadAgain(client) => {
                if let Some(key) = self.clients.socket_of(client) {
                    self.queue(key);
                }
            }
            Effect::Close(client) => self.close(client, now),
            Effect::CreateUpload(client) => self.uploads.create(client),
            Effect::AppendUpload(client, bytes) => self.uploads.append(client, bytes),
            Effect::FinishUpload(client) => self.uploads.finish(client),
            Effect::RemoveUpload(client) => self.uploads.remove(client),
            Effect::File(client, request) => {
                let site = self.front.site().clone();
                let answer = match site.dirs().get(request.dir) {
                    Some(folder) => folder.answer(&request, SystemTime::now()),
                    None => files::error(404),
                };
                self.front.file_answer(client, answer, now);
            }
            Effect::Access(line) => self.access_log.push(&line),
        }
    }

    fn take_uploads(&mut self, now: Instant) {
        for (client, done) in self.uploads.take_done() {
            match done {
                Done::Created(result) => {
                    if let Err(problem) = &result {
                        warn!("cannot make a file for an upload: {problem}");
                    }
                    self.front.upload_created(client, result, now);
                }
                Done::Appended(_) => {
                    if let Some(key) = self.clients.socket_of(client) {
                        self.queue(key);
                    }
                }
                Done::Failed(problem) => {
                    warn!("cannot write the file of an upload: {problem}");
                    self.front.upload_failed(client, problem, now);
                }
                Done::Finished(result) => {
                    self.finished.push(client);
                    self.front.upload_finished(client, result, now);
                }
            }
        }
    }

    /// Sends messages, and holds clients up while too many wait.
    fn flush_handlers(&mut self, now: Instant) {
        let Some(handlers) = &mut self.handlers else { return };
        handlers.flush(&self.poller, now);
        for (handler, congested) in self.congested.iter_mut().enumerate() {
            let unsent = handlers.unsent(handler);
            let is = if *congested { unsent > HANDLER_QUEUE_LOW } else { unsent > HANDLER_QUEUE };
            if is != *congested {
                *congested = is;
                self.front.set_congested(HandlerId(handler), is, now);
                if is {
                    warn!(
                        "handler {handler} does not take its messages; clients wait, {unsent} bytes are queued"
                    );
                }
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let handlers = self.handlers.as_ref().and_then(HandlerSockets::next_timeout);
        let control = self.control.as_ref().and_then(ControlSocket::next_timeout);
        let stop = self.stop.as_ref().map(|stop| stop.deadline);
        let own = [
            self.front.next_timeout(),
            self.clients.next_timeout(),
            self.descriptors.pause(),
            self.log_due,
            self.certificates_due,
        ];
        own.into_iter().chain([handlers, control, stop]).flatten().min()
    }

    fn handle_timeouts(&mut self, now: Instant) {
        self.front.handle_timeout(now);
        self.clients.close_late(now);
        if self.descriptors.resume(now) {
            self.set_accepting(true);
        }
        if let Some(control) = &mut self.control {
            control.handle_timeout(&self.poller, now);
        }
        if self.certificates_due.is_some_and(|due| due <= now) {
            self.certificates_due = Some(now + CERTIFICATE_CHECK);
            if self.certificates.as_ref().is_some_and(|certificates| certificates.changed()) {
                self.reload_certificates();
            }
        }
        if self.log_due.take_if(|due| *due <= now).is_some() {
            self.access_log.flush();
        }
    }

    /// Takes no more clients, and lets those that are there have what they are owed.
    pub(super) fn begin_to_stop(&mut self, now: Instant) {
        if self.stop.is_some() {
            // Told twice: now.
            self.front.stop_now();
            self.stop = Some(Stop { deadline: now, is_done: true });
            return;
        }
        info!("stops");
        self.supervisor.tell(&[NotifyState::Stopping]);
        self.listeners.clear();
        self.front.stop();
        self.stop = Some(Stop { deadline: now + STOP_TIME, is_done: false });
    }

    fn is_over(&mut self, now: Instant) -> bool {
        let Some(stop) = &mut self.stop else { return false };
        if self.front.len() == 0 && !stop.is_done {
            stop.is_done = true;
            // What was written last has to be read by the clients.
            stop.deadline = stop.deadline.min(now + STOP_LINGER);
        }
        self.clients.is_empty() || stop.deadline <= now
    }

    /// Ends all connections, and tells handlers of them.
    fn end(&mut self) {
        let left = self.front.len();
        if left > 0 {
            warn!("{left} connections were cut off");
        }
        self.front.stop_now();
        self.settle(Instant::now());
        self.access_log.flush();
        if let Some(handlers) = self.handlers.take() {
            handlers.close(&self.poller, HANDLER_PATIENCE);
        }
        if let Some(control) = self.control.take() {
            control.close(HANDLER_PATIENCE);
        }
        if let Some(pid_file) = self.pid_file.take()
            && let Err(problem) = pid_file.remove()
        {
            debug!("cannot remove the pid file: {problem}");
        }
    }
}
