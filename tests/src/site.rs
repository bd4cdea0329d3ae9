//! A site: scripts in a folder of their own, a `kennel` that serves them, and its end.

use crate::client::{self, Client, Response};
use crate::command::{self, Finished};
use crate::fake::FakeMongrel2;
use crate::folder::Folder;
use crate::language::{Language, Scripts};
use crate::log::Log;
use crate::port::Port;
use crate::process::{self, Signal};
use crate::server::{self, Front, Mongrel2, Warm};
use crate::slow_network::{self, SlowNetwork};
use crate::wait;
use crate::websocket::{self, WebSocket};
use std::ffi::OsString;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Where a site in a [network](SlowNetwork) listens, which has all ports for itself.
const NETWORK_PORT: u16 = 6767;

/// A Lua script around what a test cares about: `kennel` and `app` are there, and the app is returned.
/// The first line of `body` is line 2.
pub fn script(body: &str) -> String {
    Language::Lua.script(body)
}

/// What a site shall be, before it starts.
#[derive(Debug)]
pub struct Plan {
    language: Language,
    folder: Folder,
    command: &'static str,
    workers: u32,
    arguments: Vec<String>,
    environment: Vec<(String, OsString)>,
    apps: Vec<String>,
    servers: Vec<(String, String)>,
    /// Its arguments or kennel.toml say where its server is.
    finds_its_server: bool,
    port: Option<u16>,
    warm: Option<Warm>,
    namespace: Option<String>,
    /// Its own server.
    front: Front,
    /// Where its standard error goes; none: to the [log](Site::log).
    log: Option<Stdio>,
}

/// A running `kennel`. It is killed when dropped, and all of its own with it.
#[derive(Debug)]
pub struct Site {
    language: Language,
    folder: Folder,
    hub: Child,
    log: Log,
    port: u16,
    front: Front,
    _own_port: Option<Port>,
    _warm: Option<Warm>,
}

impl Language {
    /// Plans a site with such a script.
    pub fn plan(self, scripts: Scripts<'_>) -> Plan {
        Plan::new(self, scripts.body(self))
    }

    /// Starts a site with two workers behind a Mongrel2 that runs already, with such a script.
    pub fn site(self, scripts: Scripts<'_>) -> Site {
        self.plan(scripts).behind_warm().start()
    }
}

impl Plan {
    /// A site whose script has this [body](Language::script), in this language.
    pub fn new(language: Language, body: &str) -> Self {
        let plan = Self {
            language,
            folder: Folder::new(),
            command: "run",
            workers: 2,
            arguments: Vec::new(),
            environment: Vec::new(),
            apps: vec![language.app().to_owned()],
            servers: Vec::new(),
            finds_its_server: false,
            port: None,
            warm: None,
            namespace: None,
            front: server::front(),
            log: None,
        };
        plan.file(language.app(), &language.script(body))
    }

    /// With a file beside the app, or another app.
    pub fn file(self, name: &str, content: &str) -> Self {
        self.folder.write(name, content);
        self
    }

    /// With a program beside the app.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn program(self, name: &str, content: &str) -> Self {
        self.folder.write_program(name, content);
        self
    }

    /// Where it will be.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// With this `kennel.toml`.
    pub fn config(self, toml: &str) -> Self {
        self.file("kennel.toml", toml)
    }

    /// With so many workers instead of 2.
    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = workers;
        self
    }

    /// Serving these instead of a script in its folder.
    pub fn serving(mut self, apps: &[&str]) -> Self {
        self.apps = apps.iter().map(|app| (*app).to_owned()).collect();
        self
    }

    /// With an argument.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// With a variable in its environment.
    pub fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// With this app rather than the folder's own.
    pub fn app(mut self, app: &str) -> Self {
        self.apps = vec![app.to_owned()];
        self
    }

    /// With the apps of `kennel.toml` and their numbers of workers, rather than the folder's own.
    pub fn configured_apps(mut self) -> Self {
        self.apps.clear();
        self.workers = 0;
        self
    }

    /// Under `kennel dev`.
    pub fn dev(mut self) -> Self {
        self.command = "dev";
        self
    }

    /// Behind this server, and others given before. The site's port is the first one's.
    pub fn behind(mut self, server: &Mongrel2) -> Self {
        self.servers.extend_from_slice(server.specs());
        self.port.get_or_insert(server.port());
        self
    }

    /// Behind a server that its arguments or its `kennel.toml` name, which listens on this port.
    pub fn behind_named(mut self, port: u16) -> Self {
        self.finds_its_server = true;
        self.port = Some(port);
        self
    }

    /// Behind a server that runs already, which saves time. It is configured like Kennel's own.
    pub fn behind_warm(mut self) -> Self {
        let warm = server::warm();
        self = self.behind(&warm);
        self.warm = Some(warm);
        self
    }

    /// Behind a server that is none.
    pub fn behind_fake(mut self, fake: &FakeMongrel2) -> Self {
        self.servers.push(fake.specs());
        self
    }

    /// With this program as its own server, whichever is selected for the other tests.
    pub fn by(mut self, front: Front) -> Self {
        self.front = front;
        self.variable(server::FRONT, front.name())
    }

    /// On the servers' side of a network, where only clients of the other side reach it.
    pub fn in_network(mut self, network: &SlowNetwork) -> Self {
        self.namespace = Some(network.server_side().to_owned());
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it ends before, or takes too long.
    pub fn start(self) -> Site {
        let site = self.spawn();
        site.log.expect("ready:");
        site
    }

    /// Starts it with its standard error going there, where nothing can be read of it, and waits until it answers.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn start_with_log_to(mut self, target: impl Into<Stdio>) -> Site {
        self.log = Some(target.into());
        let site = self.spawn();
        // What is asked before it has connected to Mongrel2 may be lost with the handler that was there before.
        wait::until("kennel answers", || {
            let mut client = site.client();
            client.set_patience(Duration::from_secs(1));
            client.send(client::get("/"));
            client.try_read().is_ok_and(|response| response.status == 200)
        });
        site
    }

    /// Starts it.
    ///
    /// # Panics
    ///
    /// When the program cannot be started.
    pub fn spawn(mut self) -> Site {
        let mut arguments = vec![self.command.to_owned()];
        if self.workers > 0 {
            arguments.push(format!("--workers={}", self.workers));
        }
        let mut own_port = None;
        let port = match self.servers.is_empty() && !self.finds_its_server {
            true if self.namespace.is_some() => {
                arguments.push(format!("--listen={}:{NETWORK_PORT}", SlowNetwork::SERVER));
                NETWORK_PORT
            }
            true => {
                let port = own_port.insert(Port::free());
                arguments.push(format!("--listen={}", port.address()));
                port.number()
            }
            false => {
                for (send, recv) in &self.servers {
                    arguments.push(format!("--send-spec={send}"));
                    arguments.push(format!("--recv-spec={recv}"));
                }
                self.port.unwrap_or(0)
            }
        };
        arguments.append(&mut self.arguments);
        arguments.append(&mut self.apps);
        let mut command = command::command(self.folder.path(), &arguments);
        command.envs(self.environment);
        if let Some(namespace) = &self.namespace {
            command = slow_network::inside(namespace, &command);
        }
        let target = self.log.unwrap_or_else(Stdio::piped);
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(target).spawn();
        let mut hub = spawned.expect("kennel can be started");
        let log = hub.stderr.take().map_or_else(Log::default, Log::collect);
        let (language, folder, front) = (self.language, self.folder, self.front);
        Site { language, folder, hub, log, port, front, _own_port: own_port, _warm: self.warm }
    }
}

impl Site {
    /// Plans a site whose script, in Lua, has this [body](script). For scripts in each language there is
    /// [`Language::plan`].
    pub fn plan(body: &str) -> Plan {
        Plan::new(Language::Lua, body)
    }

    /// Starts a site with two workers behind a Mongrel2 that runs already; its script, in Lua, has this
    /// [body](script).
    pub fn lua(body: &str) -> Self {
        Plan::new(Language::Lua, body).behind_warm().start()
    }

    /// Plans a site whose script, in Python, has this [body](Language::script).
    pub fn python(body: &str) -> Plan {
        Plan::new(Language::Python, body)
    }

    /// Plans a site that serves a Python module of this source: a Kennel app, an ASGI or a WSGI application.
    pub fn plan_module(source: &str) -> Plan {
        Plan::new(Language::Python, "").file(Language::Python.app(), source)
    }

    /// Starts a site with two workers behind a Mongrel2 that runs already, which serves a Python module of this source.
    pub fn module(source: &str) -> Self {
        Self::plan_module(source).behind_warm().start()
    }

    /// A new connection.
    pub fn client(&self) -> Client {
        Client::connect(self.port)
    }

    /// A GET on a connection of its own.
    pub fn get(&self, path: &str) -> Response {
        self.client().get(path)
    }

    /// Sends bytes on a connection of their own and reads one response.
    pub fn send(&self, request: impl AsRef<[u8]>) -> Response {
        let mut client = self.client();
        client.send(request);
        client.read()
    }

    /// A new WebSocket.
    pub fn websocket(&self, path: &str) -> WebSocket {
        WebSocket::open(self.port, path)
    }

    /// A new WebSocket, with these headers in its handshake.
    pub fn websocket_with(&self, path: &str, headers: &[(&str, &str)]) -> WebSocket {
        WebSocket::open_with(self.port, path, headers)
    }

    /// The response to a handshake that is refused; the connection is closed behind it.
    ///
    /// # Panics
    ///
    /// When it is not refused, or the connection stays open.
    pub fn refusal(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut client = self.client();
        client.send(websocket::handshake(path, headers));
        let response = client.read();
        assert_ne!(response.status, 101, "{path} with {headers:?} is not refused");
        let rest = client.read_to_end();
        assert!(rest.is_empty(), "something after the refusal: {}", rest.escape_ascii());
        response
    }

    /// The port on which its Mongrel2 listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it logs.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The hub's process.
    pub fn hub(&self) -> u32 {
        self.hub.id()
    }

    /// The processes of its workers.
    pub fn workers(&self) -> Vec<u32> {
        let mut children = process::children(self.hub());
        let is_worker = |line: &str| {
            ["worker-lua", "worker-exec", "kennel._worker"].iter().any(|sign| line.contains(sign))
        };
        children.retain(|pid| is_worker(&process::command_line(*pid)));
        children
    }

    /// The process of its own server, Mongrel2 or [another](server::front), once it is one.
    pub fn own_mongrel2(&self) -> Option<u32> {
        process::children(self.hub()).into_iter().find(|pid| self.front.is_server(*pid))
    }

    /// Sends a signal to the hub.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.hub(), signal);
    }

    /// Waits for the hub's end and returns its exit code; `None`: a signal ended it.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub fn exit_code(&mut self) -> Option<i32> {
        let hub = &mut self.hub;
        let status = wait::until_some("kennel ends", || hub.try_wait().expect("a child can be waited for"));
        status.code()
    }

    /// Runs another `kennel` command in the site's folder.
    pub fn kennel(&self, arguments: &[&str]) -> Finished {
        command::run(self.folder.path(), arguments)
    }

    /// Replaces its script by one with this [body](Language::script), in its language.
    pub fn write_script(&self, body: &str) {
        self.folder.write(self.language.app(), self.language.script(body));
    }

    /// The same by its name in each language.
    pub fn write_scripts(&self, scripts: Scripts<'_>) {
        self.write_script(scripts.body(self.language));
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Workers and Mongrel2 end with it, which is one of the promises.
        let _ = self.hub.kill();
        let _ = self.hub.wait();
        if std::thread::panicking() {
            eprintln!("--- what kennel logged ---\n{}\n---", self.log.text());
        }
    }
}
