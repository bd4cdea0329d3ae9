//! Several Mongrel2 Handlers at once: connect, receive, send, notice their end, connect again.

use super::link::{Fate, Watched};
use super::spill::Spill;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use thiserror::Error;
use zmq::{Context, Message};

/// Where one Mongrel2 Handler is: its two addresses as in Mongrel2's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Mongrel2's PUSH: requests come from here.
    pub send_spec: String,
    /// Mongrel2's SUB: replies go there.
    pub recv_spec: String,
    /// The subscription to insist on, when known.
    pub recv_ident: Option<String>,
}

/// What happened at a link.
#[derive(Debug)]
pub enum Event<'a> {
    /// Mongrel2 listens for replies; its subscription.
    Up(&'a [u8]),
    /// Mongrel2 is gone, and everything on its way to it.
    Down,
    /// A message.
    Message(&'a [u8]),
}

/// Which of a link's descriptors is readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descriptor {
    /// Subscriptions.
    Publisher,
    /// The end of the publisher's connection.
    PublisherMonitor,
    /// Messages.
    Puller,
    /// The end of the puller's connection.
    PullerMonitor,
}

impl Descriptor {
    const ALL: [Self; 4] = [Self::Publisher, Self::PublisherMonitor, Self::Puller, Self::PullerMonitor];
    /// How many tokens a link takes.
    pub const COUNT: u64 = 4;
}

/// A message that could not be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// Bytes that wait for the server already.
    pub waiting: usize,
}

/// Why a link cannot be used at all.
#[derive(Debug, Error)]
#[error("cannot connect to `{spec}`: {cause}")]
pub struct TransportError {
    /// The address as given.
    pub spec: String,
    /// What libzmq says.
    pub cause: zmq::Error,
}

struct Link {
    endpoint: Endpoint,
    publisher: Option<Watched>,
    puller: Option<Watched>,
    up: bool,
    spill: Spill,
    retry_spill: Option<Instant>,
    reconnect: Option<Instant>,
    /// Makes the names of monitors unique.
    attempt: u64,
    /// It stays down: this hub takes nothing more.
    closing: bool,
}

/// The sockets to all servers, on one ZeroMQ context.
pub struct Mongrel2s {
    context: Context,
    links: Vec<Link>,
    message: Message,
    /// Tokens of new sockets: libzmq's descriptors tell of changes only, and one may have come
    /// before anybody watched.
    fresh: Vec<u64>,
}

impl Mongrel2s {
    /// Messages received from one link before others get their turn.
    const BATCH: usize = 64;
    /// Between two attempts to reach a server that is not there.
    const RECONNECT: Duration = Duration::from_millis(30);
    /// Between two attempts to send what libzmq refused, should it not report that it may again.
    const RETRY_SPILL: Duration = Duration::from_millis(5);

    /// Prepares a link for each endpoint; [`connect`](Self::connect) makes the connections.
    /// `spill` bounds the bytes that wait for one server beyond libzmq's own queue.
    pub fn new(endpoints: Vec<Endpoint>, spill: usize, now: Instant) -> Self {
        let link = |endpoint| Link {
            endpoint,
            publisher: None,
            puller: None,
            up: false,
            spill: Spill::new(spill),
            retry_spill: None,
            reconnect: Some(now),
            attempt: 0,
            closing: false,
        };
        let links = endpoints.into_iter().map(link).collect();
        Self { context: Context::new(), links, message: Message::new(), fresh: Vec::new() }
    }

    /// The endpoints, in order.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.links.iter().map(|link| &link.endpoint)
    }

    /// Whether every server listens.
    pub fn all_up(&self) -> bool {
        self.links.iter().all(|link| link.up)
    }

    /// Whether this server listens.
    pub fn is_up(&self, link: usize) -> bool {
        self.links[link].up
    }

    /// Makes the connections that are due and sends again what libzmq refused. Descriptors are put
    /// under watch of `poller`; the token of each is its link's number times [`Descriptor::COUNT`]
    /// plus its place in [`Descriptor`], from `base` on.
    ///
    /// # Errors
    ///
    /// [`TransportError`] when libzmq refuses an address.
    pub fn connect(&mut self, poller: &OwnedFd, base: u64, now: Instant) -> Result<(), TransportError> {
        for (number, link) in self.links.iter_mut().enumerate() {
            if link.retry_spill.is_some_and(|due| due <= now) {
                link.retry_spill = None;
                link.send_spill(now);
            }
            if link.reconnect.is_none_or(|due| due > now) || link.closing {
                continue;
            }
            link.reconnect = None;
            link.attempt += 1;
            let spec = link.endpoint.recv_spec.clone();
            let name = format!("p{number}-{}", link.attempt);
            let publisher = Watched::publisher(&self.context, &spec, &name);
            let publisher = publisher.map_err(|cause| TransportError { spec: spec.clone(), cause })?;
            let token = base + number as u64 * Descriptor::COUNT;
            publisher
                .watch(poller, token, token + 1)
                .map_err(|_| TransportError { spec, cause: zmq::Error::EMFILE })?;
            link.publisher = Some(publisher);
            self.fresh.extend([token, token + 1]);
        }
        Ok(())
    }

    /// Tokens that have to be serviced once though nothing was heard of them.
    pub fn take_fresh(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.fresh)
    }

    /// When [`connect`](Self::connect) has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.links.iter().flat_map(|link| [link.reconnect, link.retry_spill]).flatten().min()
    }

    /// Finds out what happened behind a token. `sink` gets the events in order. `true`: there may be
    /// more, call again soon.
    pub fn service(
        &mut self,
        poller: &OwnedFd,
        base: u64,
        token: u64,
        now: Instant,
        mut sink: impl FnMut(usize, Event<'_>),
    ) -> bool {
        let (number, descriptor) = (token / Descriptor::COUNT, token % Descriptor::COUNT);
        let number = number as usize;
        let Some(link) = self.links.get_mut(number) else { return false };
        match Descriptor::ALL[descriptor as usize] {
            Descriptor::PublisherMonitor | Descriptor::PullerMonitor => {
                let lost =
                    [&link.publisher, &link.puller].into_iter().flatten().any(|s| s.fate() == Fate::Lost);
                if lost && link.take_down(now) {
                    sink(number, Event::Down);
                }
                false
            }
            Descriptor::Publisher => {
                link.send_spill(now);
                while link.publisher.as_ref().is_some_and(|p| p.receive(&mut self.message)) {
                    match self.message.split_first() {
                        Some((1, topic)) if !link.up => {
                            let name = format!("q{number}-{}", link.attempt);
                            let puller = Watched::puller(&self.context, &link.endpoint.send_spec, &name);
                            let token = base + number as u64 * Descriptor::COUNT;
                            match puller {
                                Ok(puller) if puller.watch(poller, token + 2, token + 3).is_ok() => {
                                    link.puller = Some(puller);
                                    self.fresh.extend([token + 2, token + 3]);
                                }
                                _ => {
                                    link.take_down(now);
                                    break;
                                }
                            }
                            link.up = true;
                            sink(number, Event::Up(topic));
                        }
                        Some((0, _)) => {
                            if link.take_down(now) {
                                sink(number, Event::Down);
                            }
                        }
                        _ => {}
                    }
                }
                false
            }
            Descriptor::Puller => {
                for _ in 0..Self::BATCH {
                    if !link.puller.as_ref().is_some_and(|p| p.receive(&mut self.message)) {
                        return false;
                    }
                    sink(number, Event::Message(&self.message));
                }
                true
            }
        }
    }

    /// Sends one message, or keeps it until libzmq takes it.
    ///
    /// # Errors
    ///
    /// [`Dropped`] when the server is gone, or too much waits for it.
    #[inline]
    pub fn send(&mut self, link: usize, message: &[u8], now: Instant) -> Result<(), Dropped> {
        let link = &mut self.links[link];
        let Some(publisher) = link.publisher.as_ref().filter(|_| link.up) else {
            return Err(Dropped { waiting: 0 });
        };
        if link.spill.is_empty() && publisher.socket.send(message, zmq::DONTWAIT).is_ok() {
            return Ok(());
        }
        if !link.spill.push(message) {
            return Err(Dropped { waiting: link.spill.bytes() });
        }
        link.retry_spill.get_or_insert(now + Self::RETRY_SPILL);
        Ok(())
    }

    /// Takes no further messages than those that have arrived, which `sink` gets now.
    pub fn stop_receiving(&mut self, mut sink: impl FnMut(usize, &[u8])) {
        for (number, link) in self.links.iter_mut().enumerate() {
            link.closing = true;
            let Some(puller) = link.puller.take() else { continue };
            let _ = puller.socket.disconnect(&link.endpoint.send_spec);
            while puller.receive(&mut self.message) {
                sink(number, &self.message);
            }
        }
    }

    /// Waits until libzmq has handed everything to the system, at most for `patience`.
    pub fn close(mut self, patience: Duration) {
        let patience = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
        for link in &mut self.links {
            if let Some(publisher) = link.publisher.take() {
                let _ = publisher.socket.set_linger(patience);
            }
        }
        // Dropping the context waits for the sockets that linger.
    }

    /// Bytes that wait beyond libzmq's own queues.
    pub fn spilled(&self) -> usize {
        self.links.iter().map(|link| link.spill.bytes()).sum()
    }
}

impl Link {
    /// Throws the sockets away. `true` if the server was up until now.
    fn take_down(&mut self, now: Instant) -> bool {
        let was_up = std::mem::take(&mut self.up);
        self.publisher = None;
        self.puller = None;
        self.spill.clear();
        self.retry_spill = None;
        self.reconnect = Some(now + Mongrel2s::RECONNECT);
        was_up
    }

    fn send_spill(&mut self, now: Instant) {
        let Some(publisher) = self.publisher.as_ref().filter(|_| !self.spill.is_empty()) else { return };
        if self.spill.drain(|message| publisher.socket.send(message, zmq::DONTWAIT)).is_err() {
            self.retry_spill = Some(now + Mongrel2s::RETRY_SPILL);
        }
    }
}
