//! What handlers and clients get, without a socket.

mod anything;
mod bodies;
mod captures;
mod endings;
mod replies;
mod smuggling;
mod timing;

use super::*;
use mongrel2_conf::model::{Config, Dir, Handler, Host, Protocol, Route, Server, Target};
use std::io::IoSlice;
use std::path::Path;

/// A front and what came out of it.
struct Run {
    front: Front,
    now: Instant,
    /// Messages to handlers that no test has looked at.
    messages: Vec<(HandlerId, Vec<u8>)>,
    /// Everything else that was to be done, but output.
    effects: Vec<Effect>,
    closed: Vec<ClientKey>,
}

fn handler(ident: &str, protocol: Protocol, raw_payload: bool) -> Target {
    Target::Handler(Handler {
        send_spec: format!("ipc://{ident}-{raw_payload}-send"),
        send_ident: ident.into(),
        recv_spec: format!("ipc://{ident}-{raw_payload}-recv"),
        recv_ident: String::new(),
        raw_payload,
        protocol,
    })
}

impl Run {
    /// A server with one handler for `/`, `@chat` and `<msg`, one with raw payloads for `/raw` and `@raw`, and a folder.
    fn new(protocol: Protocol, settings: &[(&str, &str)]) -> Self {
        let (config, server) = Self::configuration(protocol, settings);
        let site = Site::new(&config, &server, Path::new("/")).unwrap();
        let (messages, effects, closed) = (Vec::new(), Vec::new(), Vec::new());
        Self { front: Front::new(site), now: Instant::now(), messages, effects, closed }
    }

    fn configuration(protocol: Protocol, settings: &[(&str, &str)]) -> (Config, Server) {
        let end = if protocol == Protocol::Json { "j" } else { "t" };
        let plain = Arc::new(handler(&format!("m2cap-{end}"), protocol, false));
        let raw = Arc::new(handler(&format!("m2raw-{end}"), protocol, true));
        let mut routes: Vec<_> =
            ["/", "@chat", "<msg", "/pat/([0-9]+)"].map(|key| Route::new(key, Arc::clone(&plain))).into();
        routes.extend(["/raw", "@raw"].map(|key| Route::new(key, Arc::clone(&raw))));
        routes.push(Route::new("/files/", Target::Dir(Dir::new("public/"))));
        let server = Server {
            default_host: "localhost".into(),
            hosts: vec![Host::new("localhost", routes)],
            ..Server::default()
        };
        let mut settings: Vec<_> =
            settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        settings.push(("disable.access_logging".to_owned(), "1".to_owned()));
        (Config { settings, ..Config::default() }, server)
    }

    fn plain(settings: &[(&str, &str)]) -> Self {
        Self::new(Protocol::Tnetstring, settings)
    }

    fn accept(&mut self) -> ClientKey {
        let peer = Peer { address: "127.0.0.1".into(), port: 4000, is_tls: false, certificate: None };
        self.front.accept(peer, self.now)
    }

    /// Does what is to be done, as far as no test does it.
    fn settle(&mut self) {
        while let Some(effect) = self.front.poll_effect() {
            match effect {
                Effect::Message(handler, message) => self.messages.push((handler, message)),
                Effect::Close(client) => self.closed.push(client),
                Effect::Write(_) => {}
                effect => self.effects.push(effect),
            }
        }
    }

    fn receive(&mut self, client: ClientKey, bytes: &[u8]) {
        self.front.receive(client, bytes, self.now);
        self.settle();
    }

    fn reply(&mut self, message: &[u8]) {
        self.front.handle_reply(HandlerId(0), message, self.now);
        self.settle();
    }

    /// Writes all output of a client.
    fn written(&mut self, client: ClientKey) -> Vec<u8> {
        let Some(output) = self.front.output(client) else { return Vec::new() };
        let mut slices = [IoSlice::new(b""); 64];
        let count = output.slices(&mut slices);
        let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
        output.advance(bytes.len() as u64);
        self.front.written(client, bytes.len() as u64, self.now);
        self.settle();
        bytes
    }

    /// The messages that came, as text.
    fn messages(&mut self) -> Vec<String> {
        let messages = std::mem::take(&mut self.messages);
        messages.iter().map(|(_, message)| message.escape_ascii().to_string()).collect()
    }

    /// Everything else that was to be done, in short.
    fn effects(&mut self) -> Vec<String> {
        let short = |effect: Effect| match effect {
            Effect::CreateUpload(_) => "create".to_owned(),
            Effect::AppendUpload(_, bytes) => format!("append {}", bytes.escape_ascii()),
            Effect::FinishUpload(_) => "finish".to_owned(),
            Effect::RemoveUpload(_) => "remove".to_owned(),
            Effect::ReadAgain(_) => "read again".to_owned(),
            Effect::File(_, request) => format!("file {}", request.path.escape_ascii()),
            effect => format!("{effect:?}"),
        };
        std::mem::take(&mut self.effects).into_iter().map(short).collect()
    }
}
