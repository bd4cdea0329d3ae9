//! A Mongrel2 that is not Kennel's own, or `kennel front` in its place: configured by the test, killed and started again
//! by it. [`front`] says which of the two.
//!
//! Mongrel2 accepts nobody in its first half second, so tests that do not care which server they
//! have borrow one that runs [already](warm).

use crate::binary::kennel;
use crate::client::Client;
use crate::folder::Folder;
use crate::port::Port;
use crate::process;
use crate::wait;
use mongrel2_conf::model::{Config, Handler, Host, Protocol, Route, Server, Target};
use mongrel2_conf::{mimetypes, store};
use std::fs::File;
use std::io::Write;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

pub use mongrel2_conf::model::Protocol as HeaderProtocol;

/// The environment variable that selects the server of all tests: `kennel` or `mongrel2`.
pub const FRONT: &str = "KENNEL_FRONT";

/// A program that speaks Mongrel2's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// `kennel front`.
    Kennel,
    /// A real Mongrel2.
    Mongrel2,
}

impl Front {
    /// Its name, as `--front` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kennel => "kennel",
            Self::Mongrel2 => "mongrel2",
        }
    }

    /// What the log of a kennel that starts it calls it.
    pub fn name_in_log(self) -> &'static str {
        match self {
            Self::Kennel => "kennel front",
            Self::Mongrel2 => "mongrel2",
        }
    }

    /// Whether a process is such a server, by its command line.
    pub fn is_server(self, pid: u32) -> bool {
        let line = process::command_line(pid);
        match self {
            Self::Kennel => line.split(' ').nth(1) == Some("front"),
            Self::Mongrel2 => line.starts_with("mongrel2 "),
        }
    }

    /// Whether it can be started on this machine. With [`NO_MONGREL2`], no Mongrel2 can.
    pub fn is_installed(self) -> bool {
        match self {
            Self::Kennel => true,
            Self::Mongrel2 if std::env::var_os(NO_MONGREL2).is_some_and(|value| !value.is_empty()) => false,
            Self::Mongrel2 => std::env::var_os("PATH").is_some_and(|path| {
                std::env::split_paths(&path).any(|folder| folder.join("mongrel2").is_file())
            }),
        }
    }
}

/// A variable that lets tests behave as on a machine for which there is no Mongrel2.
pub const NO_MONGREL2: &str = "KENNEL_NO_MONGREL2";
/// A variable that names the file which [`needs_mongrel2`] appends to.
pub const SKIPPED: &str = "KENNEL_TEST_SKIPPED";

/// Whether a test that needs a real Mongrel2, whatever [`front`] says, can run. If not, the test returns at once;
/// `scripts/run-tests` prints its name.
///
/// # Panics
///
/// When the file for its name cannot be written.
pub fn needs_mongrel2() -> bool {
    let is_installed = Front::Mongrel2.is_installed();
    if !is_installed {
        // libtest gives a test's name to its thread.
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("a test");
        println!("skipped, since there is no mongrel2: {name}");
        if let Some(file) = std::env::var_os(SKIPPED) {
            let mut file = File::options().append(true).create(true).open(file).expect("a file for names");
            file.write_all(format!("{name}\n").as_bytes()).expect("a file for names");
        }
    }
    is_installed
}

/// The server that runs in this run of the tests, by [`FRONT`]; `kennel front` without it. Tests about a defect of
/// Mongrel2 ask for it.
///
/// # Panics
///
/// When the variable has another value.
pub fn front() -> Front {
    match std::env::var(FRONT).as_deref() {
        Ok("kennel") | Err(_) => Front::Kennel,
        Ok("mongrel2") => Front::Mongrel2,
        Ok(other) => panic!("{FRONT} is `{other}`; write kennel or mongrel2"),
    }
}

/// How a server is to be.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How headers are written.
    pub protocol: Protocol,
    /// Route keys; each has a Handler of its own.
    pub routes: Vec<String>,
    /// What a reply must begin with, for each Handler the same.
    pub recv_ident: String,
    /// Whether replies to JSON and XML sockets go out as they are, rather than as base64.
    pub raw_payload: bool,
    /// Settings beyond the few that tests need.
    pub settings: Vec<(String, String)>,
    /// Which program it is.
    pub front: Front,
}

impl Default for Setup {
    /// One Handler at `/`, JSON headers, Mongrel2's default settings, the [server](front) of this run.
    fn default() -> Self {
        Self {
            protocol: Protocol::Json,
            routes: vec!["/".to_owned()],
            recv_ident: String::new(),
            raw_payload: true,
            settings: Vec::new(),
            front: front(),
        }
    }
}

impl Setup {
    /// Of this program, whichever is selected for the other tests.
    pub fn by(mut self, front: Front) -> Self {
        self.front = front;
        self
    }

    /// With a setting.
    pub fn setting(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// With headers as tnetstrings.
    pub fn tnetstring(mut self) -> Self {
        self.protocol = Protocol::Tnetstring;
        self
    }

    /// With replies to JSON and XML sockets as base64.
    pub fn base64(mut self) -> Self {
        self.raw_payload = false;
        self
    }

    /// With `download.flow_control`, as Kennel's own.
    pub fn flow_control(self) -> Self {
        self.setting("download.flow_control", "1")
    }

    /// With these route keys.
    pub fn routes(mut self, routes: &[&str]) -> Self {
        self.routes = routes.iter().map(|route| (*route).to_owned()).collect();
        self
    }
}

/// The server and its files. It is killed when dropped.
#[derive(Debug)]
pub struct Mongrel2 {
    folder: Folder,
    port: Port,
    uuid: String,
    front: Front,
    running: Option<Running>,
    specs: Vec<(String, String)>,
    preload: Option<PathBuf>,
}

/// The process, and a shell that ends it when this process ends, in whatever way.
#[derive(Debug)]
struct Running {
    guard: Child,
    server: u32,
}

/// The shell's standard input is a pipe from here: its end is ours. Then nobody needs the files.
/// `$0` is the server's uuid, what follows the command without its arguments.
const GUARD: &str = "\"$@\" config.sqlite \"$0\" > output.log 2>&1 & read line; kill -9 $!; rm -rf \"$PWD\"";

const UUID: &str = "site";

impl Mongrel2 {
    /// Writes its configuration, starts it and waits until it accepts connections.
    ///
    /// # Panics
    ///
    /// When it is not installed or does not start.
    pub fn start(setup: Setup) -> Self {
        let mut server = Self::prepare(setup);
        server.start_again();
        server
    }

    /// Writes its configuration without starting it.
    ///
    /// # Panics
    ///
    /// When the configuration is refused.
    pub fn prepare(setup: Setup) -> Self {
        let (folder, port) = (Folder::new(), Port::free());
        let at = folder.path().display();
        let spec = |number| (format!("ipc://{at}/requests{number}"), format!("ipc://{at}/replies{number}"));
        let specs: Vec<_> = (0..setup.routes.len()).map(spec).collect();
        let handler = |number: usize, (send, recv): &(String, String)| Handler {
            send_spec: send.clone(),
            send_ident: format!("{}site-{number}", setup.recv_ident),
            recv_spec: recv.clone(),
            recv_ident: setup.recv_ident.clone(),
            raw_payload: setup.raw_payload,
            protocol: setup.protocol,
        };
        let targets = specs.iter().enumerate().map(|(number, spec)| Target::Handler(handler(number, spec)));
        let routes = setup.routes.iter().zip(targets).map(|(path, target)| Route::new(path.clone(), target));
        let server = Server {
            uuid: UUID.into(),
            name: UUID.into(),
            access_log: format!("{at}/access.log"),
            error_log: format!("{at}/error.log"),
            pid_file: format!("{at}/mongrel2.pid"),
            control_port: format!("ipc://{at}/control"),
            port: port.number(),
            hosts: vec![Host::new("localhost", routes.collect())],
            ..Server::default()
        };
        let mut settings = setup.settings;
        settings.push(("server.daemonize".into(), "0".into()));
        let config = Config { servers: vec![server], settings, mimetypes: mimetypes::defaults() };
        store::write(&config, &folder.path().join("config.sqlite"))
            .expect("a configuration that can be written");
        Self { folder, port, uuid: UUID.into(), front: setup.front, running: None, specs, preload: None }
    }

    /// The same, but this program.
    pub fn by(mut self, front: Front) -> Self {
        self.front = front;
        self
    }

    /// One on a database `config.sqlite` that is in `folder`, whose server of this uuid listens on `port`;
    /// `specs` are the addresses of its Handlers.
    pub fn on_database(folder: Folder, port: Port, uuid: &str, specs: Vec<(String, String)>) -> Self {
        Self { folder, port, uuid: uuid.into(), front: front(), running: None, specs, preload: None }
    }

    /// With this library preloaded at its next start.
    pub fn preload(&mut self, library: &Path) {
        self.preload = Some(library.to_owned());
    }

    /// Starts it, the first time or after [`kill`](Self::kill).
    ///
    /// # Panics
    ///
    /// When it does not accept connections in time.
    pub fn start_again(&mut self) {
        let folder = self.folder.path();
        let _ = std::fs::remove_file(folder.join("mongrel2.pid"));
        File::create(folder.join("output.log")).expect("a log file");
        let mut guard = Command::new("sh");
        if let Some(library) = &self.preload {
            guard.env("LD_PRELOAD", library);
        }
        guard.args(["-c", GUARD, &self.uuid]);
        match self.front {
            Front::Kennel => guard.arg(kennel()).arg("front"),
            Front::Mongrel2 => guard.arg("mongrel2"),
        };
        let guard = guard
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let guard = guard.expect("there is a shell");
        let server = wait::until_some("mongrel2 starts (is mongrel2-core installed?)", || {
            process::children(guard.id()).into_iter().find(|pid| self.front.is_server(*pid))
        });
        self.running = Some(Running { guard, server });
        let port = self.port.number();
        wait::until("mongrel2 listens", || {
            let log = || std::fs::read_to_string(folder.join("output.log")).unwrap_or_default();
            assert!(process::is_alive(server), "mongrel2 ended: {}", log());
            Client::try_connect(port).is_ok()
        });
    }

    /// `kill -9`, and waits for its end.
    pub fn kill(&mut self) {
        let Some(Running { mut guard, server }) = self.running.take() else { return };
        process::kill(server);
        wait::until("mongrel2 is gone", || !process::is_alive(server));
        // Its threads may hold the socket for a moment longer, and who connects then is soon disconnected.
        wait::until("nobody listens any more", || Client::try_connect(self.port.number()).is_err());
        let _ = guard.kill();
        let _ = guard.wait();
    }

    /// Ends a client's connection by its number, of which Mongrel2 tells no handler.
    ///
    /// # Panics
    ///
    /// When the control port does not answer that it has.
    pub fn kill_connection(&self, id: u32) {
        let socket = zmq::Context::new().socket(zmq::REQ).expect("a socket");
        socket.set_linger(0).expect("an option that sockets have");
        socket.set_rcvtimeo(wait::PATIENCE.as_millis() as i32).expect("an option that sockets have");
        let control = format!("ipc://{}/control", self.folder.path().display());
        socket.connect(&control).expect("a control port");
        let tagged = |content: &str, tag: char| format!("{}:{content}{tag}", content.len());
        let arguments = tagged(&format!("{}{}", tagged("id", ','), tagged(&id.to_string(), '#')), '}');
        let request = tagged(&format!("{}{arguments}", tagged("kill", ',')), ']');
        socket.send(&request, 0).expect("the control port takes a request");
        let answer = socket.recv_bytes(0).expect("the control port answers");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.contains("OK"), "kill {id}: {answer}");
    }

    /// Its process.
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub fn process(&self) -> u32 {
        self.running.as_ref().expect("it was started").server
    }

    /// The port of 127.0.0.1 on which it listens.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// `(send_spec, recv_spec)` of each Handler.
    pub fn specs(&self) -> &[(String, String)] {
        &self.specs
    }

    /// Its folder: error log, temporary files.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }
}

impl Drop for Mongrel2 {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A server that runs already, as Kennel configures its own.
///
/// # Panics
///
/// As [`Mongrel2::start`].
pub fn warm() -> Warm {
    let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let server = idle.unwrap_or_else(|| {
        let setup = Setup { recv_ident: "warm".into(), ..Setup::default() }
            .tnetstring()
            .setting("limits.buffer_size", "16384")
            .setting("limits.client_read_retries", "64")
            .setting("limits.content_length", "4194304");
        Mongrel2::start(setup)
    });
    Warm { server: Some(server) }
}

static IDLE: Mutex<Vec<Mongrel2>> = Mutex::new(Vec::new());

/// A borrowed server, which others get afterwards.
#[derive(Debug)]
pub struct Warm {
    server: Option<Mongrel2>,
}

impl Deref for Warm {
    type Target = Mongrel2;

    fn deref(&self) -> &Mongrel2 {
        self.server.as_ref().expect("there until dropped")
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        // After a failure its state is not known.
        if !std::thread::panicking() {
            IDLE.lock().unwrap_or_else(PoisonError::into_inner).extend(self.server.take());
        }
    }
}
