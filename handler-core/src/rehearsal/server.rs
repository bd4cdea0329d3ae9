//! A Mongrel2 that exists in memory: numbers clients, writes their messages, and hands out what it is told.

use super::answer::Answer;
use super::message::{self, Pairs, own};
use super::socket::{ClientId, Socket};
use kennel_http::websocket::handshake::accept_key;
use mongrel2_wire::netstring;
use std::collections::{BTreeMap, VecDeque};

/// A handshake's key. Nobody guesses at it here, so it may be always the same.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The server.
#[derive(Debug, Default)]
pub(super) struct Server {
    last: u32,
    clients: BTreeMap<u32, Client>,
    /// Messages for the hub, in order.
    outbox: VecDeque<Vec<u8>>,
    /// Clients leave pings unanswered.
    pub(super) silent: bool,
}

#[derive(Debug)]
struct Client {
    closed: bool,
    side: Side,
}

#[derive(Debug)]
enum Side {
    /// The bytes received, and whether it was HEAD.
    Http { received: Vec<u8>, bodiless: bool },
    /// What all its messages have in their head.
    Socket { socket: Box<Socket>, path: String, fields: Pairs },
}

impl Server {
    fn add(&mut self, side: Side) -> u32 {
        self.last += 1;
        self.clients.insert(self.last, Client { closed: false, side });
        self.last
    }

    /// The next message for the hub.
    pub(super) fn next_message(&mut self) -> Option<Vec<u8>> {
        self.outbox.pop_front()
    }

    /// A client asks for something.
    pub(super) fn request(&mut self, path: &str, fields: &Pairs, body: &[u8], bodiless: bool) -> ClientId {
        let id = self.add(Side::Http { received: Vec::new(), bodiless });
        self.outbox.push_back(message::message(id, path.as_bytes(), fields, body));
        ClientId(id)
    }

    /// A client begins a WebSocket. `fields` are those of its request.
    pub(super) fn handshake(&mut self, path: &str, mut fields: Pairs) -> ClientId {
        for (name, value) in [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
        ] {
            if !fields.iter().any(|(known, _)| known == name.as_bytes()) {
                fields.push(own(name, value));
            }
        }
        // Mongrel2 puts the answer to the key into the body.
        let key =
            fields.iter().find(|(name, _)| name == b"sec-websocket-key").map_or(&b""[..], |(_, value)| value);
        let accept = accept_key(key);
        let side = Side::Socket {
            socket: Box::new(Socket::asking()),
            path: path.to_owned(),
            fields: fields.clone(),
        };
        let id = self.add(side);
        self.outbox.push_back(message::message(id, path.as_bytes(), &fields, accept.as_bytes()));
        ClientId(id)
    }

    /// A client connects by `@name` or `<tag`, and says nothing yet.
    pub(super) fn connect(&mut self, path: &str) -> ClientId {
        let method = if path.starts_with('<') { "XML" } else { "JSON" };
        let fields = vec![
            own("PATH", path),
            own("x-forwarded-for", "127.0.0.1"),
            own("METHOD", method),
            own("PATTERN", path),
            own("URL_SCHEME", "http"),
            own("REMOTE_ADDR", "127.0.0.1"),
            own("DOWNLOAD_CREDITS", "102400"),
        ];
        ClientId(self.add(Side::Socket { socket: Box::new(Socket::plain()), path: path.to_owned(), fields }))
    }

    /// A client that stays says something: on a WebSocket a frame with these flags. `false`: it cannot any more.
    pub(super) fn say(&mut self, client: ClientId, flags: u8, payload: &[u8]) -> bool {
        let Some(Client { closed: false, side: Side::Socket { socket, path, fields } }) =
            self.clients.get(&client.0)
        else {
            return false;
        };
        let mut fields = fields.clone();
        if socket.is_websocket() {
            fields.retain(|(name, _)| name != b"METHOD" && name != b"DOWNLOAD_CREDITS");
            fields.push(own("METHOD", "WEBSOCKET"));
            fields.push(own("FLAGS", &format!("0x{flags:X}")));
        }
        self.outbox.push_back(message::message(client.0, path.as_bytes(), &fields, payload));
        true
    }

    /// A client goes away without a word.
    pub(super) fn leave(&mut self, client: ClientId) {
        if let Some(found) = self.clients.get_mut(&client.0)
            && !std::mem::replace(&mut found.closed, true)
        {
            if let Side::Socket { socket, .. } = &mut found.side {
                socket.hung_up();
            }
            self.outbox.push_back(message::disconnect(client.0));
        }
    }

    /// Forgets a client that has left.
    pub(super) fn forget(&mut self, client: ClientId) {
        self.leave(client);
        self.clients.remove(&client.0);
    }

    /// The conversation of a client that stays.
    pub(super) fn socket(&mut self, client: ClientId) -> Option<&mut Socket> {
        match &mut self.clients.get_mut(&client.0)?.side {
            Side::Socket { socket, .. } => Some(socket),
            Side::Http { .. } => None,
        }
    }

    /// What has come of a request, or of a handshake. The flag: the server has closed the connection.
    pub(super) fn answer(&self, client: ClientId) -> (Option<Answer>, bool) {
        let Some(client) = self.clients.get(&client.0) else { return (None, true) };
        let answer = match &client.side {
            Side::Http { received, bodiless } => Answer::read(received, *bodiless, client.closed),
            Side::Socket { socket, .. } => socket.answer(client.closed),
        };
        (answer, client.closed)
    }

    /// Takes a reply of the hub: `SENDER SIZE:IDS, PAYLOAD`.
    pub(super) fn take_reply(&mut self, reply: &[u8]) {
        let Some(blank) = memchr::memchr(b' ', reply) else { return };
        let Ok((ids, rest)) = netstring::parse(&reply[blank + 1..]) else { return };
        let Some(payload) = rest.strip_prefix(b" ") else { return };
        // `X` is for the server itself: which connections are held.
        let Some(ids) = std::str::from_utf8(ids).ok().filter(|ids| !ids.starts_with('X')) else { return };
        let ids: Vec<u32> = ids.split(' ').filter_map(|id| id.parse().ok()).collect();
        for id in ids {
            self.deliver(id, payload);
        }
    }

    fn deliver(&mut self, id: u32, payload: &[u8]) {
        let Some(client) = self.clients.get_mut(&id).filter(|client| !client.closed) else { return };
        if payload.is_empty() {
            client.closed = true;
            if let Side::Socket { socket, .. } = &mut client.side {
                socket.hung_up();
            }
            return;
        }
        let said = match &mut client.side {
            Side::Http { received, .. } => {
                received.extend_from_slice(payload);
                Vec::new()
            }
            Side::Socket { socket, .. } => socket.receive(payload),
        };
        self.outbox.push_back(message::credits(id, payload.len()));
        for (flags, payload) in said {
            if !(self.silent && flags == 0x8a) {
                self.say(ClientId(id), flags, &payload);
            }
        }
    }
}
