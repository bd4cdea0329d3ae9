//! The sockets of clients. Each has a key that is never used again, and so has each connection of the front: an event or
//! an effect for a client that is gone finds nothing, never the client that got its descriptor.

use super::bounds::{DRAIN_TIME, HANDSHAKE_TIME, LINGER_TIME};
use super::transport::Transport;
use crate::ids::ClientKey;
use slotmap::{Key, KeyData, SecondaryMap, SlotMap};
use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

slotmap::new_key_type! {
    /// A client's socket.
    pub(super) struct SocketKey;
}

/// Tokens of clients begin here: the upper half of a key's number counts how often its place was used, from 1 on.
const FIRST_TOKEN: u64 = 1 << 32;

impl SocketKey {
    pub(super) fn token(self) -> u64 {
        self.data().as_ffi()
    }

    /// The key that a token stands for, if it is one of a client.
    pub(super) fn of(token: u64) -> Option<Self> {
        (token >= FIRST_TOKEN).then(|| KeyData::from_ffi(token).into())
    }
}

/// A client's socket, and what is known of it. The poller tells of changes only, so this is what it told.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) transport: Transport,
    pub(super) stage: Stage,
    /// There may be input.
    pub(super) is_readable: bool,
    /// The system may take output.
    pub(super) is_writable: bool,
    /// The client will send nothing more: behind the input that is there, the end is.
    pub(super) is_ending: bool,
    /// The connection is gone in both directions.
    pub(super) has_hung_up: bool,
    /// It stands in the list of those to be read from, and in that of those to be written to.
    pub(super) is_queued: bool,
    pub(super) is_dirty: bool,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The front does not know it before its TLS handshake is done.
    Handshaking,
    /// The front knows it.
    Serving(ClientKey),
    /// The same, and the client has shut its side down.
    HalfClosed(ClientKey),
    /// The front is done with it, and the system has not taken all that was written.
    Draining,
    /// The server has shut its side down. What still comes is thrown away; so much was.
    Lingering(usize),
}

impl Client {
    fn new(transport: Transport, stage: Stage) -> Self {
        Self {
            transport,
            stage,
            is_readable: false,
            is_writable: true,
            is_ending: false,
            has_hung_up: false,
            is_queued: false,
            is_dirty: false,
        }
    }
}

/// All sockets.
#[derive(Debug, Default)]
pub(super) struct Clients {
    sockets: SlotMap<SocketKey, Client>,
    by_client: SecondaryMap<ClientKey, SocketKey>,
    /// When those that linger are closed, in this order. Some are closed already. The same for the other stages that
    /// must not last.
    lingering: VecDeque<(Instant, SocketKey)>,
    handshaking: VecDeque<(Instant, SocketKey)>,
    draining: VecDeque<(Instant, SocketKey)>,
}

impl Clients {
    pub(super) fn insert(&mut self, transport: Transport, client: ClientKey) -> SocketKey {
        let key = self.sockets.insert(Client::new(transport, Stage::Serving(client)));
        self.by_client.insert(client, key);
        key
    }

    /// A client that is to have a TLS handshake.
    pub(super) fn insert_handshaking(&mut self, transport: Transport, now: Instant) -> SocketKey {
        let key = self.sockets.insert(Client::new(transport, Stage::Handshaking));
        self.handshaking.push_back((now + HANDSHAKE_TIME, key));
        key
    }

    /// The handshake is done, and the front knows the client.
    pub(super) fn serve(&mut self, key: SocketKey, id: ClientKey) {
        if let Some(client) = self.sockets.get_mut(key) {
            client.stage = Stage::Serving(id);
            self.by_client.insert(id, key);
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: SocketKey) -> Option<&mut Client> {
        self.sockets.get_mut(key)
    }

    /// The socket of a connection of the front.
    #[inline]
    pub(super) fn socket_of(&self, client: ClientKey) -> Option<SocketKey> {
        self.by_client.get(client).copied()
    }

    /// The number of a connection's descriptor, for operators; -1: its socket is closed.
    pub(super) fn descriptor(&self, client: ClientKey) -> i64 {
        let client = self.socket_of(client).and_then(|key| self.sockets.get(key));
        client.map_or(-1, |client| client.transport.as_fd().as_raw_fd().into())
    }

    /// The descriptor closes with it.
    pub(super) fn remove(&mut self, key: SocketKey) -> Option<Client> {
        let client = self.sockets.remove(key)?;
        if let Stage::Serving(id) | Stage::HalfClosed(id) = client.stage {
            self.by_client.remove(id);
        }
        Some(client)
    }

    /// The server has shut its side down: waits for the client to do so.
    pub(super) fn linger(&mut self, key: SocketKey, now: Instant) {
        let Some(client) = self.sockets.get_mut(key) else { return };
        if let Stage::Serving(id) | Stage::HalfClosed(id) = client.stage {
            self.by_client.remove(id);
        }
        client.stage = Stage::Lingering(0);
        self.lingering.push_back((now + LINGER_TIME, key));
    }

    /// The front is done with a client. What was written has to go out first.
    pub(super) fn drain(&mut self, key: SocketKey, now: Instant) {
        let Some(client) = self.sockets.get_mut(key) else { return };
        if let Stage::Serving(id) | Stage::HalfClosed(id) = client.stage {
            self.by_client.remove(id);
        }
        client.stage = Stage::Draining;
        self.draining.push_back((now + DRAIN_TIME, key));
    }

    /// When [`close_late`](Self::close_lingering) has something to do.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let queues = [&self.lingering, &self.handshaking, &self.draining];
        queues.into_iter().filter_map(|queue| queue.front().map(|(due, _)| *due)).min()
    }

    /// Closes what has waited long enough.
    pub(super) fn close_late(&mut self, now: Instant) {
        let sockets = &mut self.sockets;
        for queue in [&mut self.lingering, &mut self.handshaking, &mut self.draining] {
            while let Some((_, key)) = queue.front().filter(|(due, _)| *due <= now).copied() {
                queue.pop_front();
                // One that has finished its handshake in time is served, one that was drained lingers.
                let stage = sockets.get(key).map(|client| client.stage);
                if !matches!(stage, Some(Stage::Serving(_) | Stage::HalfClosed(_))) {
                    sockets.remove(key);
                }
            }
        }
    }

    /// Closes the connection that has lingered longest, if one does: its descriptor is needed.
    pub(super) fn close_one_lingering(&mut self) -> bool {
        while let Some((_, key)) = self.lingering.pop_front() {
            if self.sockets.remove(key).is_some() {
                return true;
            }
        }
        false
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    fn transport() -> Transport {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Transport::plain(client.into())
    }

    #[test]
    fn a_token_never_means_the_next_client() {
        let (mut clients, mut ids) = (Clients::default(), SlotMap::<ClientKey, ()>::with_key());
        let first = ids.insert(());
        let socket = clients.insert(transport(), first);
        let token = socket.token();
        assert_eq!(SocketKey::of(token), Some(socket));
        assert_eq!(SocketKey::of(7), None);
        clients.remove(socket);
        ids.remove(first);
        let second = ids.insert(());
        let next = clients.insert(transport(), second);
        assert_ne!(next.token(), token);
        let old = SocketKey::of(token).unwrap();
        assert!(clients.get_mut(old).is_none());
        assert_eq!((clients.socket_of(first), clients.socket_of(second)), (None, Some(next)));
    }

    #[test]
    fn those_that_linger_are_closed_in_time_or_when_their_descriptors_are_needed() {
        let (mut clients, mut ids) = (Clients::default(), SlotMap::<ClientKey, ()>::with_key());
        let now = Instant::now();
        let keys: Vec<_> = (0..3).map(|_| clients.insert(transport(), ids.insert(()))).collect();
        clients.linger(keys[0], now);
        clients.linger(keys[1], now + Duration::from_secs(1));
        clients.close_late(now + LINGER_TIME);
        assert!(clients.get_mut(keys[0]).is_none() && clients.get_mut(keys[1]).is_some());
        assert_eq!(clients.next_timeout(), Some(now + Duration::from_secs(1) + LINGER_TIME));
        assert!(clients.close_one_lingering());
        assert!(!clients.close_one_lingering());
        assert!(clients.get_mut(keys[1]).is_none() && clients.get_mut(keys[2]).is_some());
    }
}
