//! A server of Kennel's own: its process, from start to end. It is Kennel's front or a guarded Mongrel2.
//!
//! Configuration and sockets lie in [`RunFiles`], the process is a child that dies with this one, even when
//! this one is killed. `config` writes the configuration.

mod config;

pub(crate) use config::{Ways, front_limits};

use super::capacity::Places;
use crate::args::{Front, LogFormat, LogLevel, TlsFiles};
use crate::exit::unreachable;
use crate::guard;
use crate::listen;
use crate::role::{GUARDED, SERVER};
use crate::run_files::{RunFiles, private_file};
use anyhow::Context;
use clap::ValueEnum;
use config::{DATABASE, UPLOADS, UUID};
use handler_core::transport::Endpoint;
use mongrel2_wire::address::Address;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

const PROGRAM: &str = "mongrel2";
/// A server that ends sooner than this after its start has failed: the next start waits. If no server has served yet,
/// there is no next start.
const MIN_LIFE: Duration = Duration::from_secs(1);
/// The pause behind the first failure; doubled with each further one.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The server and what belongs to it.
#[derive(Debug)]
pub(crate) struct OwnServer {
    files: RunFiles,
    front: Front,
    address: SocketAddr,
    /// How Kennel's front logs, which it does to this process's standard error.
    log: (LogFormat, LogLevel),
    /// With what Kennel's front speaks https.
    tls: Option<TlsFiles>,
    process: Option<(Child, OwnedFd)>,
    started: Instant,
    /// It has served: from now on its end is not the end of kennel.
    has_served: bool,
    /// Failures in a row.
    failures: u32,
    /// When it is to be started again.
    due: Option<Instant>,
    /// For a Mongrel2: the library that keeps bytes of one client from another client, or why there is none.
    guard: Option<Result<PathBuf, String>>,
}

impl OwnServer {
    /// Writes the configuration and starts the server. `public` is a folder that it serves itself.
    pub(crate) fn start(
        files: RunFiles,
        listen: &str,
        ways: Ways,
        public: Option<&Path>,
        log: (LogFormat, LogLevel),
        tls: Option<TlsFiles>,
    ) -> anyhow::Result<Self> {
        let address = listen::parse_for_mongrel2(listen)?;
        listen::bind(address, "--listen")?;
        let folder = files.folder().to_string_lossy().into_owned();
        files.make_folder(UPLOADS).context("cannot make the folder of uploads")?;
        let written = config::write(&folder, address, ways, public);
        written.with_context(|| format!("cannot write the configuration of {}", name(ways.front)))?;
        let guard = (ways.front == Front::Mongrel2).then(|| guard::library(Some(files.folder())));
        let mut server = Self {
            files,
            front: ways.front,
            address,
            log,
            tls,
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
            places: Some(Places::own(self.front).capacity().places()),
        })
    }

    /// Where a browser on this machine reaches it.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", reachable(self.address))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the log calls it.
    pub(crate) fn name(&self) -> &'static str {
        name(self.front)
    }

    /// Waits until it answers: when it is called, which may take a moment.
    pub(crate) fn await_answer(&self) -> impl FnOnce() + Send + use<> {
        let (front, address) = (self.front, self.address);
        move || await_answer(front, address)
    }

    /// For a Mongrel2: looks whether the running process is guarded, and warns if it is not, when it is called, which may
    /// take a moment.
    pub(crate) fn look_for_guard(&self) -> Option<impl FnOnce() + Send + use<>> {
        let why = self.guard.as_ref()?.as_ref().err().cloned();
        let process = self.process.as_ref()?.0.id();
        Some(move || guard::warn_about_own(process, why.as_deref()))
    }

    /// Lets a server that speaks https read its certificate again, at once rather than when it looks the next time.
    pub(crate) fn reload(&self) {
        let Some((child, _)) = self.process.as_ref().filter(|_| self.tls.is_some()) else { return };
        // One that has just started has just read it, and may not know the signal yet, which would end it.
        if self.has_served && self.started.elapsed() >= MIN_LIFE {
            let _ = kill_process(Pid::from_child(child), Signal::HUP);
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
        let name = self.name();
        if lived >= MIN_LIFE {
            self.failures = 0;
            warn!("{name} ended ({status}); starting it again");
        } else if self.has_served {
            self.failures += 1;
            let pause = pause(self.failures);
            let says = self.last_words().map(|says| format!("; it says:\n{says}")).unwrap_or_default();
            warn!(
                "{name} ended ({status}) {lived:.1?} after its start; starting it again in {pause:?}{says}"
            );
        } else {
            let says = self.last_words().map(|says| format!("it says:\n{says}"));
            let says = says.unwrap_or_else(|| "the lines above say why".to_owned());
            return Err(unreachable(format!("{name} does not run ({status}); {says}")));
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
            let name = self.name();
            error!("{name} cannot be started again; the next attempt is in {pause:?}: {problem:#}");
            self.due = Some(now + pause);
        }
    }

    /// Where a Mongrel2 writes what it has to say.
    fn log_file(&self) -> PathBuf {
        self.files.folder().join("mongrel2.log")
    }

    /// What a Mongrel2 said last. Kennel's front says it in the log.
    fn last_words(&self) -> Option<String> {
        (self.front == Front::Mongrel2).then(|| last_lines(&self.log_file()))
    }

    fn spawn(&mut self) -> anyhow::Result<()> {
        // What a killed server left would keep the next one from starting.
        let _ = fs::remove_file(self.files.folder().join("mongrel2.pid"));
        let name = self.name();
        let mut child = self
            .command()?
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let pid = Pid::from_child(&child);
        let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => descriptor,
            Err(problem) => {
                // One that is not watched would keep the address.
                let _ = child.kill();
                let _ = child.wait();
                return Err(problem).with_context(|| format!("cannot watch {name}"));
            }
        };
        info!(process = child.id(), "{name} starts on {}", self.address);
        self.started = Instant::now();
        self.process = Some((child, descriptor));
        Ok(())
    }

    /// The command of a companion that becomes the server.
    fn command(&self) -> anyhow::Result<Command> {
        let (kennel, parent) = (std::env::current_exe()?, std::process::id().to_string());
        let database = self.files.folder().join(DATABASE);
        let mut command = Command::new(&kennel);
        match &self.guard {
            None => {
                let (format, level) = &self.log;
                command.args([SERVER, &parent]).arg(kennel).arg("front").arg(database).arg(UUID);
                command.args(["--log-format", &word(format), "--log-level", &word(level)]);
                if let Some(tls) = &self.tls {
                    command.args(["--tls", &tls.to_string()]);
                }
                // A program that waits for kennel to be ready must not take the front for it.
                command.stdout(Stdio::null()).env_remove("NOTIFY_SOCKET");
            }
            Some(guard) => {
                if find_program(PROGRAM).is_none() {
                    return Err(unreachable(
                        "mongrel2 is not installed; on Debian and Ubuntu: apt install mongrel2-core\n  \
                         or serve without it: --front kennel, the default\n  \
                         or serve an existing one: --send-spec and --recv-spec",
                    ));
                }
                match guard {
                    Ok(library) => command.arg(GUARDED).arg(library),
                    Err(_) => command.arg(SERVER),
                };
                command.args([&parent, PROGRAM]).arg(database).arg(UUID);
                let log = private_file(&self.log_file())?;
                command.stdout(log.try_clone()?).stderr(log);
            }
        }
        Ok(command)
    }
}

/// What the log calls a server.
fn name(front: Front) -> &'static str {
    match front {
        Front::Kennel => "kennel front",
        Front::Mongrel2 => PROGRAM,
    }
}

/// A value as it is typed on the command line.
fn word(value: &impl ValueEnum) -> String {
    let value = value.to_possible_value().expect("every value can be typed");
    value.get_name().to_owned()
}

/// Waits until a server of our own answers. Kennel's front serves as soon as it takes connections. Mongrel2 listens long
/// before: for the first half second of its life it takes connections and looks at none. What is sent to it is not HTTP, so
/// that it answers by itself.
fn await_answer(front: Front, address: SocketAddr) {
    let address = reachable(address);
    let deadline = Instant::now() + Duration::from_secs(3);
    while Instant::now() < deadline {
        let answered =
            TcpStream::connect_timeout(&address, Duration::from_millis(200)).and_then(|mut stream| {
                if front == Front::Kennel {
                    return Ok(0);
                }
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
