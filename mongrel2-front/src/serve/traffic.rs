//! What the loop does with clients' sockets: accept, read, write, close.

use super::bounds::{ACCEPTS, LINGER_SIZE, READS};
use super::clients::{SocketKey, Stage};
use super::listener::Accepted;
use super::passage::Input;
use super::server::{LISTENERS, Server};
use super::transport::Transport;
use crate::ids::ClientKey;
use crate::peer::Peer;
use crate::tls::Session;
use rustix::event::epoll::{self, EventData, EventFlags};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Instant;
use tracing::{debug, warn};

/// The poller tells of changes only, so it is asked once for everything.
const INTEREST: EventFlags =
    EventFlags::IN.union(EventFlags::OUT).union(EventFlags::RDHUP).union(EventFlags::ET);

impl Server {
    /// Accepts those who wait at a listening socket.
    pub(super) fn accept(&mut self, place: usize, now: Instant) {
        let is_tls = self.certificates.is_some();
        for _ in 0..ACCEPTS {
            let Some(listener) = self.listeners.get(place) else { return };
            match listener.accept() {
                Accepted::Client(socket, address, port) => self.welcome(socket, address, port, now),
                Accepted::Nothing => return,
                Accepted::Exhausted(problem) => {
                    // Those that are closed already can do without theirs.
                    if self.clients.close_one_lingering() {
                        continue;
                    }
                    self.descriptors.refuse(listener, is_tls, &problem, now);
                    if self.descriptors.pause().is_some() {
                        self.set_accepting(false);
                    }
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, socket: OwnedFd, address: IpAddr, port: u16, now: Instant) {
        let peer = Peer { address: address.to_string().into(), port, is_tls: false, certificate: None };
        let key = match self.certificates.as_deref().map(Session::new) {
            None => {
                let client = self.front.accept(peer, now);
                self.clients.insert(Transport::plain(socket), client)
            }
            Some(Ok(session)) => {
                self.clients.insert_handshaking(Transport::secure(socket, session, peer), now)
            }
            Some(Err(problem)) => {
                warn!("cannot begin a TLS session: {problem}");
                return;
            }
        };
        let entry = self.clients.get_mut(key).expect("it was just inserted");
        if let Err(problem) =
            epoll::add(&self.poller, &entry.transport, EventData::new_u64(key.token()), INTEREST)
        {
            warn!("cannot serve a client: {problem}");
            self.lose(key);
        }
    }

    /// Whether the poller tells of clients that wait.
    pub(super) fn set_accepting(&mut self, yes: bool) {
        let flags = if yes { EventFlags::IN } else { EventFlags::empty() };
        for (token, listener) in (LISTENERS..).zip(&self.listeners) {
            if let Err(problem) = epoll::modify(&self.poller, listener, EventData::new_u64(token), flags) {
                warn!("cannot watch the listening socket: {problem}");
            }
        }
    }

    /// Notes what the poller tells of a client.
    pub(super) fn handle_client(&mut self, key: SocketKey, flags: EventFlags) {
        let Some(client) = self.clients.get_mut(key) else { return };
        if flags.contains(EventFlags::OUT) && !client.is_writable {
            client.is_writable = true;
            self.mark_dirty(key);
        }
        let Some(client) = self.clients.get_mut(key) else { return };
        if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
            client.has_hung_up = true;
        }
        if flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
            client.is_ending = true;
        }
        if client.is_ending || flags.contains(EventFlags::IN) {
            client.is_readable = true;
            self.queue(key);
        }
    }

    /// The client is read from when its turn comes.
    pub(super) fn queue(&mut self, key: SocketKey) {
        if let Some(client) = self.clients.get_mut(key)
            && client.is_readable
            && !std::mem::replace(&mut client.is_queued, true)
        {
            self.ready.push(key);
        }
    }

    /// The client is written to when the front has decided everything.
    pub(super) fn mark_dirty(&mut self, key: SocketKey) {
        if let Some(client) = self.clients.get_mut(key)
            && !std::mem::replace(&mut client.is_dirty, true)
        {
            self.dirty.push(key);
        }
    }

    /// Reads from all clients that have something, each for a while.
    pub(super) fn read_ready(&mut self, now: Instant) {
        for key in std::mem::take(&mut self.ready) {
            if let Some(client) = self.clients.get_mut(key) {
                client.is_queued = false;
                self.read(key, now);
            }
        }
    }

    fn read(&mut self, key: SocketKey, now: Instant) {
        for _ in 0..READS {
            let Some(client) = self.clients.get_mut(key) else { return };
            let id = match client.stage {
                Stage::Serving(id) => id,
                // Nothing more comes, unless it is the news that nobody is there to read, either.
                Stage::HalfClosed(_) if client.has_hung_up => return self.lose(key),
                Stage::HalfClosed(_) => return,
                Stage::Handshaking => match self.shake_hands(key, now) {
                    true => continue,
                    false => return,
                },
                Stage::Draining if client.has_hung_up => return self.lose(key),
                Stage::Draining => return,
                Stage::Lingering(discarded) => match client.transport.discard(&mut self.buffer) {
                    Ok(Input::Bytes { size, .. }) if discarded + size <= LINGER_SIZE => {
                        client.stage = Stage::Lingering(discarded + size);
                        continue;
                    }
                    Ok(Input::Nothing) => {
                        client.is_readable = false;
                        return;
                    }
                    Ok(Input::Bytes { .. } | Input::End) | Err(_) => {
                        self.clients.remove(key);
                        return;
                    }
                },
            };
            if !self.front.wants_input(id) || self.uploads.is_full(id) {
                // `is_readable` stays, for when it is to be read again.
                if client.has_hung_up {
                    self.lose(key);
                }
                return;
            }
            match client.transport.read(&mut self.buffer) {
                Ok(Input::Bytes { size, is_last }) => {
                    if client.transport.has_unsent() {
                        client.is_writable = false;
                    }
                    if size > 0 {
                        self.front.receive(id, &self.buffer[..size], now);
                    }
                    if is_last && !client.is_ending {
                        client.is_readable = false;
                        return;
                    }
                }
                Ok(Input::Nothing) | Ok(Input::End) if client.has_hung_up => return self.lose(key),
                Ok(Input::Nothing) => {
                    client.is_readable = false;
                    return;
                }
                Ok(Input::End) => {
                    client.is_readable = false;
                    client.stage = Stage::HalfClosed(id);
                    self.front.end_of_input(id, now);
                    return;
                }
                Err(_) => return self.lose(key),
            }
        }
        self.queue(key);
    }

    /// Reads once from a client whose TLS handshake is not done. `false`: not again now.
    fn shake_hands(&mut self, key: SocketKey, now: Instant) -> bool {
        let Some(client) = self.clients.get_mut(key) else { return false };
        let (size, is_last) = match client.transport.read(&mut self.buffer) {
            Ok(Input::Bytes { size, is_last }) => (size, is_last && !client.is_ending),
            Ok(Input::Nothing) => {
                client.is_readable = false;
                return false;
            }
            // What the session says about an error is on its way already.
            Err(problem) if problem.kind() == ErrorKind::InvalidData => {
                self.end_client(key, now);
                return false;
            }
            Ok(Input::End) | Err(_) => {
                self.lose(key);
                return false;
            }
        };
        client.is_readable = !is_last;
        if client.transport.has_unsent() {
            client.is_writable = false;
        }
        if let Some(peer) = client.transport.take_peer() {
            let id = self.front.accept(peer, now);
            self.clients.serve(key, id);
            if size > 0 {
                self.front.receive(id, &self.buffer[..size], now);
            }
        }
        !is_last
    }

    /// Writes to all clients that have output and take it. Those for which a turn was too short come `later`.
    pub(super) fn write_dirty(&mut self, later: &mut Vec<SocketKey>, now: Instant) {
        for key in std::mem::take(&mut self.dirty) {
            let Some(client) = self.clients.get_mut(key) else { continue };
            client.is_dirty = false;
            if !client.is_writable {
                continue;
            }
            if client.transport.has_unsent() {
                match client.transport.flush() {
                    Ok(true) => {}
                    Ok(false) => {
                        client.is_writable = false;
                        continue;
                    }
                    Err(_) => {
                        self.lose(key);
                        continue;
                    }
                }
            }
            let id = match client.stage {
                Stage::Serving(id) | Stage::HalfClosed(id) => id,
                Stage::Draining => {
                    self.linger(key, now);
                    continue;
                }
                Stage::Handshaking | Stage::Lingering(_) => continue,
            };
            let Some(output) = self.front.output(id) else { continue };
            match client.transport.write(output) {
                Ok(written) => {
                    client.is_writable = !written.is_blocked;
                    if client.is_writable && !output.is_empty() {
                        client.is_dirty = true;
                        later.push(key);
                    }
                    self.front.written(id, written.bytes, now);
                }
                Err(problem) => {
                    if problem.kind() == ErrorKind::UnexpectedEof {
                        warn!("a file became shorter while it was sent; the client's connection was reset");
                        client.transport.reset();
                    }
                    self.lose(key);
                }
            }
        }
    }

    /// The front is done with a client. What was written arrives: a socket that is closed while the client still sends
    /// would be reset, and the client might lose what it has not read yet.
    pub(super) fn close(&mut self, client: ClientKey, now: Instant) {
        if let Some(key) = self.clients.socket_of(client) {
            self.end_client(key, now);
        }
    }

    fn end_client(&mut self, key: SocketKey, now: Instant) {
        let Some(client) = self.clients.get_mut(key) else { return };
        client.transport.finish();
        match client.transport.flush() {
            Err(_) => _ = self.clients.remove(key),
            Ok(true) => self.linger(key, now),
            Ok(false) => {
                client.is_writable = false;
                self.clients.drain(key, now);
            }
        }
    }

    /// Shuts the server's side down, and waits for the client's end.
    fn linger(&mut self, key: SocketKey, now: Instant) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let has_ended = matches!(client.stage, Stage::HalfClosed(_)) || client.has_hung_up;
        if client.transport.shut_down().is_err() || has_ended {
            self.clients.remove(key);
            return;
        }
        client.is_readable = true;
        self.clients.linger(key, now);
        self.queue(key);
    }

    /// A client is gone, or its socket fails.
    fn lose(&mut self, key: SocketKey) {
        let Some(client) = self.clients.remove(key) else { return };
        if let Stage::Serving(id) | Stage::HalfClosed(id) = client.stage {
            debug!("a client is gone");
            self.front.lost(id);
        }
    }
}
