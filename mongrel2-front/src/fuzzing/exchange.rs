//! A server without sockets.

use crate::effect::Effect;
use crate::front::Front;
use crate::ids::{ClientKey, HandlerId};
use crate::peer::Peer;
use crate::site::Site;
use mongrel2_conf::model::{Config, Dir, Handler, Host, Protocol, Route, Server, Target};
use std::io::IoSlice;
use std::path::Path;
use std::time::Instant;

/// A server, one of its clients, and both handlers.
#[derive(Debug)]
pub struct Exchange {
    pub(super) front: Front,
    pub(super) now: Instant,
    client: ClientKey,
    reply: Vec<u8>,
}

impl Exchange {
    /// A server with these settings, whose handlers get messages in tnetstrings or JSON.
    pub fn new(is_json: bool, settings: &[(&str, &str)]) -> Self {
        let protocol = if is_json { Protocol::Json } else { Protocol::Tnetstring };
        let handler = |name: &str, raw_payload| {
            let (send_spec, recv_spec) = (format!("ipc://{name}-send"), format!("ipc://{name}-recv"));
            let (send_ident, recv_ident) = (name.to_owned(), String::new());
            Target::Handler(Handler { send_spec, send_ident, recv_spec, recv_ident, raw_payload, protocol })
        };
        let mut routes: Vec<_> =
            ["/", "@chat", "<msg"].map(|key| Route::new(key, handler("m2", false))).into();
        routes.push(Route::new("/raw", handler("m2raw", true)));
        routes.push(Route::new("/files/", Target::Dir(Dir::new("public/"))));
        let hosts = vec![Host::new("localhost", routes)];
        let server = Server { default_host: "localhost".into(), hosts, ..Server::default() };
        let own = settings.iter().chain(&[("disable.access_logging", "1")]);
        let settings = own.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let config = Config { settings, ..Config::default() };
        let site = Site::new(&config, &server, Path::new("/")).expect("all of it is supported");
        let mut front = Front::new(site);
        let now = Instant::now();
        let client = front.accept(peer(), now);
        Self { front, now, client, reply: Vec::new() }
    }

    /// What a handler says to the first client that asked something.
    pub fn set_reply(&mut self, payload: &[u8]) {
        self.reply = [b"m2 1:1, ", payload].concat();
    }

    /// A request of the first client, whose handler replies. Returns how many bytes the handler and the client got.
    pub fn turn(&mut self, request: &[u8]) -> (usize, usize) {
        self.front.receive(self.client, request, self.now);
        let mut asked = 0;
        while let Some(effect) = self.front.poll_effect() {
            if let Effect::Message(_, message) = effect {
                asked += message.len();
            }
        }
        self.front.handle_reply(HandlerId(0), &self.reply, self.now);
        while self.front.poll_effect().is_some() {}
        (asked, self.write(self.client, usize::MAX))
    }

    /// A client reads: how many bytes.
    pub(super) fn write(&mut self, client: ClientKey, most: usize) -> usize {
        let Some(output) = self.front.output(client) else { return 0 };
        let mut slices = [IoSlice::new(b""); 16];
        let count = output.slices(&mut slices);
        let size = slices[..count].iter().map(|slice| slice.len()).sum::<usize>().min(most);
        output.advance(size as u64);
        self.front.written(client, size as u64, self.now);
        size
    }
}

pub(super) fn peer() -> Peer {
    Peer { address: "127.0.0.1".into(), port: 4000, is_tls: false, certificate: None }
}
