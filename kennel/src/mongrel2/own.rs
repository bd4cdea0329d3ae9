//! A Mongrel2 of Kennel's own: its configuration, its process, its end.
//!
//! The configuration lies in [`RunFiles`], the process is a child that dies with this one, even when
//! this one is killed.

use super::capacity::Places;
use crate::exit::unreachable;
use crate::guard;
use crate::listen;
use crate::role::{GUARDED, SERVER};
use crate::run_files::{RunFiles, private_file};
use anyhow::Context;
use handler_core::transport::Endpoint;
use mongrel2_conf::model::{Config, Dir, Handler, Host, Protocol, Route, Server, Target};
use mongrel2_conf::{mimetypes, public_files, store};
use mongrel2_wire::address::Address;
use rustix::process::{Pid, PidfdFlags, Resource, Signal, getrlimit, kill_process, pidfd_open, setrlimit};
use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

const PROGRAM: &str = "mongrel2";
/// The folder of bodies that come as files.
const UPLOADS: &str = "uploads";
const UUID: &str = "kennel";
/// A server that ends sooner than this after its start has failed: the next start waits. If no server has served yet,
/// there is no next start.
const MIN_LIFE: Duration = Duration::from_secs(1);
/// The pause behind the first failure; doubled with each further one.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The settings of the server, with the reason for each.
const SETTINGS: [(&str, &str); 6] = [
    // It is a child process that is watched.
    ("server.daemonize", "0"),
    // Browsers send more than 4 KiB of headers when sites set many cookies.
    ("limits.buffer_size", "16384"),
    // Headers may come in this many pieces, less two; slow lines make many.
    ("limits.client_read_retries", "64"),
    // Bodies come whole, up to here; larger ones and those in chunks come as files. This is also the size of the
    // buffer for a chunk, and has to be: Mongrel2 makes its buffer as large as the one or the other, and when it makes
    // it smaller with more than that in it, it crashes (a body of 5 MiB with its length, then one of 300 KiB in
    // chunks).
    ("limits.content_length", "103424"),
    ("upload.temp_store_mode", "0600"),
    ("disable.access_logging", "1"),
];

/// What fits the paths of CGI scripts, in all the ways in which they can be encoded (an encoded dot never reaches a
/// folder anyway): their text is nobody's business, whether they are run or not.
const SCRIPTS: [&str; 6] =
    [r"/(cgi\-bin)", r"/(cgi%2[dD]bin)", r"/(.*\.cgi)", r"/(.*\.%)", r"/(.*\.c%)", r"/(.*\.cg%)"];

/// What may be chosen about the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ways {
    /// It counts what its clients have not read.
    pub(crate) flow_control: bool,
    /// It sends large bodies in parts, rather than to put them into files.
    pub(crate) stream_uploads: bool,
    /// It leaves the X-Forwarded-For of its peers as it is.
    pub(crate) keep_forwarded: bool,
}

/// Descriptors that this process and its workers may have, if the hard limit allows it.
const DESCRIPTORS: u64 = 20_480;

/// The server and what belongs to it.
#[derive(Debug)]
pub(crate) struct OwnServer {
    files: RunFiles,
    address: SocketAddr,
    process: Option<(Child, OwnedFd)>,
    started: Instant,
    /// It has served: from now on its end is not the end of kennel.
    has_served: bool,
    /// Failures in a row.
    failures: u32,
    /// When it is to be started again.
    due: Option<Instant>,
    /// The library that keeps bytes of one client from another client, or why there is none.
    guard: Result<PathBuf, String>,
}

impl OwnServer {
    /// Writes the configuration and starts the server. `public` is a folder that it serves itself.
    pub(crate) fn start(
        files: RunFiles,
        listen: &str,
        ways: Ways,
        public: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let address = listen::parse_for_mongrel2(listen)?;
        listen::bind(address, "--listen")?;
        let folder = files.folder().to_string_lossy().into_owned();
        files.make_folder(UPLOADS).context("cannot make the folder of uploads")?;
        write_config(&folder, address, ways, public).context("cannot write the configuration of mongrel2")?;
        let guard = guard::library(Some(files.folder()));
        let mut server = Self {
            files,
            address,
            process: None,
            started: Instant::now(),
            has_served: false,
            failures: 0,
            due: None,
            guard,
        };
        server.spawn()?;
        Ok(server)
    }

    /// How the hub reaches it.
    ///
    /// # Errors
    ///
    /// When the working directory is gone.
    pub(crate) fn endpoint(&self) -> io::Result<Endpoint> {
        let folder = self.files.folder().display();
        Ok(Endpoint {
            send_spec: Address::Ipc(format!("{folder}/requests")),
            recv_spec: Address::Ipc(format!("{folder}/replies")),
            recv_ident: None,
            control_port: Some(Address::Ipc(format!("{folder}/control"))),
            upload_store: Some(std::path::absolute(self.files.folder().join(UPLOADS))?),
            is_sole: true,
            places: Some(Places::own().capacity().places()),
        })
    }

    /// Where a browser on this machine reaches it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", reachable(self.address))
    }

    /// Where [`await_answer`] finds it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Looks whether the running process is guarded, and warns if it is not: when it is called, which may take a moment.
    pub(crate) fn look_for_guard(&self) -> impl FnOnce() + Send + use<> {
        let process = self.process.as_ref().map(|(child, _)| child.id());
        let why = self.guard.as_ref().err().cloned();
        move || {
            if let Some(process) = process {
                guard::warn_about_own(process, why.as_deref());
            }
        }
    }

    /// It serves: from now on it is started again whenever it ends.
    pub(crate) fn note_served(&mut self) {
        self.has_served = true;
    }

    /// Readable when the process has ended.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.process.as_ref().map(|(_, descriptor)| descriptor.as_fd())
    }

    /// After its end: says when to start it again, unless it has never served and had hardly begun.
    pub(crate) fn bury(&mut self, now: Instant) -> anyhow::Result<()> {
        let Some((mut child, _)) = self.process.take() else { return Ok(()) };
        let status = child.wait()?;
        let lived = now.saturating_duration_since(self.started);
        if lived >= MIN_LIFE {
            self.failures = 0;
            warn!("mongrel2 ended ({status}); starting it again");
        } else if self.has_served {
            self.failures += 1;
            let says = last_lines(&self.log_file());
            let pause = pause(self.failures);
            warn!(
                "mongrel2 ended ({status}) {lived:.1?} after its start; starting it again in {pause:?}; it says:\n{says}"
            );
        } else {
            return Err(unreachable(format!(
                "mongrel2 does not run ({status}); it says:\n{}",
                last_lines(&self.log_file())
            )));
        }
        self.due = Some(now + pause(self.failures));
        Ok(())
    }

    /// When it is to be started again.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Starts it again. When that fails, the next attempt comes later.
    pub(crate) fn start_again(&mut self, now: Instant) {
        self.due = None;
        if let Err(problem) = self.spawn() {
            self.failures += 1;
            let pause = pause(self.failures);
            error!("mongrel2 cannot be started again; the next attempt is in {pause:?}: {problem:#}");
            self.due = Some(now + pause);
        }
    }

    fn log_file(&self) -> PathBuf {
        self.files.folder().join("mongrel2.log")
    }

    fn spawn(&mut self) -> anyhow::Result<()> {
        let folder = self.files.folder();
        // What a killed server left would keep the next one from starting.
        let _ = fs::remove_file(folder.join("mongrel2.pid"));
        if find_program(PROGRAM).is_none() {
            return Err(unreachable(
                "mongrel2 is not installed; on Debian and Ubuntu: apt install mongrel2-core\n  \
                 or serve an existing one: --send-spec and --recv-spec",
            ));
        }
        let log = private_file(&self.log_file())?;
        let mut command = Command::new(std::env::current_exe()?);
        match &self.guard {
            Ok(library) => command.arg(GUARDED).arg(library),
            Err(_) => command.arg(SERVER),
        };
        let mut child = command
            .args([&std::process::id().to_string(), PROGRAM])
            .arg(folder.join("config.sqlite"))
            .arg(UUID)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("cannot start mongrel2")?;
        let pid = Pid::from_child(&child);
        let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => descriptor,
            Err(problem) => {
                // One that is not watched would keep the address.
                let _ = child.kill();
                let _ = child.wait();
                return Err(problem).context("cannot watch mongrel2");
            }
        };
        info!(process = child.id(), "mongrel2 starts on {}", self.address);
        self.started = Instant::now();
        self.process = Some((child, descriptor));
        Ok(())
    }
}

/// Waits until a server of our own answers. It listens long before: for the first half second of its life it takes
/// connections and looks at none. What is sent is not HTTP, so that it answers by itself.
pub(crate) fn await_answer(address: SocketAddr) {
    let address = reachable(address);
    let deadline = Instant::now() + Duration::from_secs(3);
    while Instant::now() < deadline {
        let answered =
            TcpStream::connect_timeout(&address, Duration::from_millis(200)).and_then(|mut stream| {
                stream.set_read_timeout(Some(Duration::from_secs(1)))?;
                stream.write_all(b"\r\n\r\n")?;
                stream.read(&mut [0; 16])
            });
        if answered.is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The address by which this machine reaches a server that listens there.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let Some((mut child, _)) = self.process.take() else { return };
        let _ = kill_process(Pid::from_child(&child), Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(2);
        while matches!(child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// How long to wait before the next start.
fn pause(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        n => (PAUSE * (1 << (n - 1).min(10))).min(LONGEST_PAUSE),
    }
}

fn write_config(folder: &str, address: SocketAddr, ways: Ways, public: Option<&Path>) -> anyhow::Result<()> {
    let handler = Handler {
        send_spec: format!("ipc://{folder}/requests"),
        send_ident: "kennel".into(),
        recv_spec: format!("ipc://{folder}/replies"),
        recv_ident: "kennel".into(),
        raw_payload: true,
        protocol: Protocol::Tnetstring,
    };
    // JSON sockets name their route `@...`, XML sockets are their tag `<...`.
    let sockets = ["@", "<"].map(|key| Route::new(key, Target::Handler(handler.clone())));
    let mut routes = match public {
        Some(public) => {
            for danger in public_files::dangers(public)? {
                warn!("asking for {} would stop mongrel2: it cannot be read as a file", danger.display());
            }
            let base = format!("{}/", public.canonicalize()?.display());
            let mut routes = public_files::routes(public, &Dir::new(&base), &handler)?;
            public_files::keep_for_handler(&mut routes, &handler, &SCRIPTS);
            routes
        }
        None => vec![Route::new("/", Target::Handler(handler))],
    };
    routes.extend(sockets);
    let server = Server {
        uuid: UUID.into(),
        name: "kennel".into(),
        access_log: format!("{folder}/access.log"),
        // It gets a line for every connection that asks for a file, and is never cut. What keeps the
        // server from starting is on its standard error.
        error_log: "/dev/null".into(),
        pid_file: format!("{folder}/mongrel2.pid"),
        control_port: format!("ipc://{folder}/control"),
        default_host: "localhost".into(),
        bind_addr: address.ip().to_string(),
        port: address.port(),
        hosts: vec![Host::new("localhost", routes)],
        ..Server::default()
    };
    let mut settings: Vec<_> =
        SETTINGS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    settings.push(("download.flow_control".to_owned(), u8::from(ways.flow_control).to_string()));
    settings.push(("upload.stream".to_owned(), u8::from(ways.stream_uploads).to_string()));
    settings.push(("no_clobber_xff".to_owned(), u8::from(ways.keep_forwarded).to_string()));
    settings.push(("upload.temp_store".to_owned(), format!("{folder}/{UPLOADS}/XXXXXX")));
    // With more connections than `max_fd / hot_dividend` every reply stalls for half a second (docs/deploying.md). Mongrel2
    // does not start with a divisor of 1.
    let places = Places::own();
    settings.push(("superpoll.max_fd".to_owned(), places.max_fd.to_string()));
    settings.push(("superpoll.hot_dividend".to_owned(), places.dividend.to_string()));
    allow_descriptors();
    let config = Config { servers: vec![server], settings, mimetypes: mimetypes::defaults() };
    let database = Path::new(folder).join("config.sqlite");
    store::write(&config, &database)?;
    // It keeps the mode of the file that it replaces; there was none.
    fs::set_permissions(&database, Permissions::from_mode(0o600))?;
    Ok(())
}

/// Raises this process's soft limit of descriptors, which workers inherit. Mongrel2 raises its own.
fn allow_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(DESCRIPTORS).min(DESCRIPTORS);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The end of a log, for an error message.
fn last_lines(file: &Path) -> String {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].iter().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_keeps_ending_is_started_ever_more_rarely() {
        let pauses: Vec<_> = (0..9).map(|failures| pause(failures).as_millis()).collect();
        assert_eq!(pauses, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
