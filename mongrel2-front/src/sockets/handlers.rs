//! The sockets of all handlers of a server.

use super::bound::{BindError, Bound};
use super::peer::READ;
use super::push::Push;
use super::tokens::Tokens;
use mongrel2_conf::model::Handler;
use mongrel2_wire::zmtp::Role;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use tracing::{debug, warn};

/// The largest message that a consumer of requests may send: it has nothing to say.
const MAX_OF_CONSUMER: usize = 4 << 10;

/// What a token stands for: a handler, and which of its sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Push(usize),
    Sub(usize),
}

/// What is remembered of a connection that brings replies.
#[derive(Debug, Default)]
struct Incoming {
    /// A message has begun.
    is_inside: bool,
    /// It is not for this server.
    is_other: bool,
}

/// A SUB, with what it subscribes to.
#[derive(Debug)]
struct Sub {
    bound: Bound<Incoming>,
    topic: Vec<u8>,
}

/// A PUSH and a SUB for each handler.
///
/// Tokens from `base` on, [`TOKENS`](super::TOKENS) of them, belong to their sockets.
#[derive(Debug)]
pub(crate) struct HandlerSockets {
    pushes: Vec<Push>,
    subs: Vec<Sub>,
    tokens: Tokens<Owner>,
    scratch: Vec<u8>,
}

impl HandlerSockets {
    /// Listens at the addresses of all handlers.
    ///
    /// # Errors
    ///
    /// [`BindError`] names the handler and the address.
    pub(crate) fn bind(handlers: &[Handler], poller: &OwnedFd, base: u64) -> Result<Self, BindError> {
        let (pushes, subs, tokens) = (Vec::new(), Vec::new(), Tokens::new(base));
        let mut sockets = Self { pushes, subs, tokens, scratch: Vec::with_capacity(READ) };
        sockets.rebind(handlers, poller)?;
        Ok(sockets)
    }

    /// Makes these the handlers. A socket whose address stays keeps its connections and what waits in it, at the place of
    /// its handler among the new ones; others are bound or closed.
    ///
    /// # Errors
    ///
    /// [`BindError`] when an address cannot be bound; the handlers are those from before then.
    pub(crate) fn rebind(&mut self, handlers: &[Handler], poller: &OwnedFd) -> Result<(), BindError> {
        let (mut new_pushes, mut new_subs) = (Vec::new(), Vec::new());
        let bound = self.bind_new(handlers, poller, &mut new_pushes, &mut new_subs);
        if let Err(problem) = bound {
            new_pushes.iter().for_each(|push| push.bound.give_back(&mut self.tokens));
            new_subs.iter().for_each(|sub: &Sub| sub.bound.give_back(&mut self.tokens));
            return Err(problem);
        }
        let mut old_pushes = std::mem::replace(&mut self.pushes, Vec::with_capacity(handlers.len()));
        let mut old_subs = std::mem::replace(&mut self.subs, Vec::with_capacity(handlers.len()));
        old_pushes.append(&mut new_pushes);
        old_subs.append(&mut new_subs);
        for (number, handler) in handlers.iter().enumerate() {
            let place = old_pushes.iter().position(|push| push.bound.address == handler.send_spec);
            let mut push = old_pushes.swap_remove(place.expect("it was there or is bound now"));
            push.bound.place = place_of("send_spec", handler);
            push.bound.rename(&handler.send_ident);
            push.bound.set_meaning(&mut self.tokens, Owner::Push(number));
            self.pushes.push(push);

            let place = old_subs.iter().position(|sub| sub.bound.address == handler.recv_spec);
            let mut sub = old_subs.swap_remove(place.expect("it was there or is bound now"));
            sub.bound.place = place_of("recv_spec", handler);
            sub.bound.set_meaning(&mut self.tokens, Owner::Sub(number));
            sub.subscribe(handler.recv_ident.as_bytes(), poller);
            self.subs.push(sub);
        }
        for push in old_pushes {
            push.tell_of_loss();
            push.bound.give_back(&mut self.tokens);
        }
        old_subs.iter().for_each(|sub| sub.bound.give_back(&mut self.tokens));
        Ok(())
    }

    /// Binds the addresses that no socket of ours has.
    fn bind_new(
        &mut self,
        handlers: &[Handler],
        poller: &OwnedFd,
        pushes: &mut Vec<Push>,
        subs: &mut Vec<Sub>,
    ) -> Result<(), BindError> {
        for (number, handler) in handlers.iter().enumerate() {
            let before = &handlers[..number];
            let is_twice =
                |spec: &str, of: fn(&Handler) -> &str| before.iter().any(|other| of(other) == spec);
            let has_push = self.pushes.iter().any(|push| push.bound.address == handler.send_spec);
            if !has_push || is_twice(&handler.send_spec, |other| &other.send_spec) {
                let token = self.tokens.take(Owner::Push(number));
                let place = place_of("send_spec", handler);
                let is_what = (Role::Push, handler.send_ident.as_str(), MAX_OF_CONSUMER);
                match Bound::bind((&place, &handler.send_spec), is_what, poller, token) {
                    Ok(bound) => pushes.push(Push::new(bound)),
                    Err(problem) => {
                        self.tokens.give_back(token);
                        return Err(problem);
                    }
                }
            }
            let has_sub = self.subs.iter().any(|sub| sub.bound.address == handler.recv_spec);
            if !has_sub || is_twice(&handler.recv_spec, |other| &other.recv_spec) {
                let token = self.tokens.take(Owner::Sub(number));
                let place = place_of("recv_spec", handler);
                match Bound::bind((&place, &handler.recv_spec), (Role::Sub, "", usize::MAX), poller, token) {
                    Ok(bound) => subs.push(Sub { bound, topic: handler.recv_ident.as_bytes().to_vec() }),
                    Err(problem) => {
                        self.tokens.give_back(token);
                        return Err(problem);
                    }
                }
            }
        }
        Ok(())
    }

    /// Keeps a message for a handler; [`flush`](Self::flush) sends it. How many bytes may wait is the caller's care, see
    /// [`unsent`](Self::unsent).
    #[inline]
    pub(crate) fn send(&mut self, handler: usize, message: &[u8]) {
        self.pushes[handler].send(message);
    }

    /// Bytes that wait for a handler, since it takes them too slowly or is not there.
    pub(crate) fn unsent(&self, handler: usize) -> usize {
        self.pushes[handler].unsent()
    }

    /// Writes what was kept, and does what is due. To be called in every turn of the loop.
    pub(crate) fn flush(&mut self, poller: &OwnedFd, now: Instant) {
        for push in &mut self.pushes {
            if push.unsent() > 0 {
                push.flush(poller, &mut self.tokens);
            }
            push.bound.handle_timeout(poller, &mut self.tokens, now);
        }
        for sub in &mut self.subs {
            sub.bound.handle_timeout(poller, &mut self.tokens, now);
        }
    }

    /// When [`flush`](Self::flush) has something to do even if nothing happens before.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let pushes = self.pushes.iter().filter_map(|push| push.bound.next_timeout());
        pushes.chain(self.subs.iter().filter_map(|sub| sub.bound.next_timeout())).min()
    }

    /// Whether an event with this token is for [`service`](Self::service).
    pub(crate) fn owns(&self, token: u64) -> bool {
        self.tokens.owns(token)
    }

    /// Does what can be done at a token's socket. `sink` gets replies with the number of their handler, part by part.
    pub(crate) fn service(
        &mut self,
        poller: &OwnedFd,
        token: u64,
        now: Instant,
        mut sink: impl FnMut(usize, &[u8]),
    ) {
        let (tokens, scratch) = (&mut self.tokens, &mut self.scratch);
        match tokens.get(token) {
            Some(owner @ Owner::Push(number)) => {
                let push = &mut self.pushes[number];
                if push.bound.token == token {
                    push.bound.accept(poller, tokens, owner, now);
                } else {
                    push.service(poller, token, tokens, scratch);
                }
            }
            Some(owner @ Owner::Sub(number)) => {
                let sub = &mut self.subs[number];
                if sub.bound.token == token {
                    sub.bound.accept(poller, tokens, owner, now);
                } else {
                    sub.service(poller, token, tokens, scratch, |reply| sink(number, reply));
                }
            }
            None => {}
        }
    }

    /// Writes what is left, at most for `patience`, and ends all connections.
    pub(crate) fn close(mut self, poller: &OwnedFd, patience: Duration) {
        let deadline = Instant::now() + patience;
        for push in &mut self.pushes {
            push.write_rest(poller, &mut self.tokens, deadline);
        }
    }
}

#[cfg(test)]
impl HandlerSockets {
    /// How many consumers of a handler are ready.
    pub(super) fn ready(&self, handler: usize) -> usize {
        self.pushes[handler].bound.peers.iter().filter(|peer| peer.is_open()).count()
    }

    /// The token of one.
    pub(super) fn consumer(&self, handler: usize, consumer: usize) -> u64 {
        self.pushes[handler].bound.peers[consumer].token
    }
}

fn place_of(spec: &str, handler: &Handler) -> String {
    format!("{spec} of handler `{}`", handler.send_ident)
}

impl Sub {
    /// Does what can be done at a publisher's socket.
    fn service(
        &mut self,
        poller: &OwnedFd,
        token: u64,
        tokens: &mut Tokens<Owner>,
        scratch: &mut Vec<u8>,
        mut sink: impl FnMut(&[u8]),
    ) {
        let Some(place) = self.bound.find(token) else { return };
        let (peer, topic) = (&mut self.bound.peers[place], &self.topic);
        let result = peer.read(scratch, |incoming, _, part, is_last| {
            // As with libzmq, the first part decides, and a publisher that does not filter is no danger.
            if !incoming.is_inside {
                incoming.is_other = !part.starts_with(topic);
            }
            incoming.is_inside = !is_last;
            match incoming.is_other {
                true => debug!("a reply that does not begin with recv_ident came"),
                false => sink(part),
            }
        });
        let result = result.and_then(|is_new| {
            if is_new {
                peer.outbox.push(&[&[1], &topic[..]].concat());
            }
            peer.write()?;
            let waits = peer.unsent() > 0;
            peer.watch(poller, true, waits)
        });
        if let Err(problem) = result {
            self.bound.lose(place, &problem, tokens);
        }
    }

    /// Changes the subscription.
    fn subscribe(&mut self, topic: &[u8], poller: &OwnedFd) {
        if self.topic == topic {
            return;
        }
        let place = &self.bound.place;
        for peer in self.bound.peers.iter_mut().filter(|peer| peer.is_open()) {
            peer.outbox.push(&[&[1], topic].concat());
            peer.outbox.push(&[&[0], &self.topic[..]].concat());
            if let Err(problem) = peer.watch(poller, true, true) {
                warn!("{place}: a publisher cannot be told of another recv_ident: {problem}");
            }
        }
        self.topic = topic.to_vec();
    }
}
