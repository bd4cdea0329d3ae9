//! `kennel start`: a Mongrel2 of a database, in its working directory, until it takes connections or has
//! said why it does not.

use super::in_words;
use crate::args::Start as Args;
use crate::commands::new::quoted;
use crate::exit::{note, plain, say, unreachable, wrong_input};
use crate::guard;
use anyhow::Context;
use mongrel2_conf::control::Control;
use mongrel2_conf::deployed::{Deployment, Process, Selection};
use mongrel2_conf::model::Server;
use mongrel2_guard::Presence;
use rustix::fs::{MemfdFlags, memfd_create};
use std::collections::BTreeSet;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = "mongrel2";
/// A server listens within a second.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
const STEP: Duration = Duration::from_millis(10);

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let deployment = args.servers.open()?;
    let servers = args.servers.select(&deployment, Selection::Only)?;
    if let Some((stays, why)) =
        servers.iter().find_map(|server| Some((server, stays(args, &deployment, server)?)))
    {
        let [server] = &servers[..] else {
            return Err(wrong_input(format!(
                "`{}` keeps the terminal, since {why}, so they can only be started one by one",
                stays.label()
            )));
        };
        clear_the_way(&deployment, server)?;
        note!("{}: stays in the foreground, since {why}", server.label());
        return Err(not_started(&command(args, &deployment, server)?.exec(), args.sudo));
    }
    let mut code = ExitCode::SUCCESS;
    for server in servers {
        match start(args, &deployment, server) {
            Ok(text) => say!("{}: {text}", server.label()),
            Err(problem) if !args.servers.every => return Err(problem.context(server.label().to_owned())),
            Err(problem) => {
                note!("error: {}: {problem:#}", server.label());
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// Why a server would stay in the foreground, if it would.
fn stays(args: &Args, deployment: &Deployment, server: &Server) -> Option<&'static str> {
    if !deployment.daemonizes() {
        return Some("server.daemonize is 0");
    }
    // Then it takes its start for a test.
    let cannot_chroot = !server.chroot.is_empty() && !args.sudo && !rustix::process::geteuid().is_root();
    cannot_chroot.then_some("only root can chroot (--sudo)")
}

fn start(args: &Args, deployment: &Deployment, server: &Server) -> anyhow::Result<String> {
    if args.servers.every
        && let Process::Running { pid, .. } = deployment.process(server)
    {
        return Ok(format!("runs already (process {pid})"));
    }
    clear_the_way(deployment, server)?;
    let log = ErrorLog::note(deployment.place(server).path(&server.error_log));
    // Not a pipe: the daemon would keep it open, and its end would never come.
    let said = File::from(memfd_create("mongrel2", MemfdFlags::CLOEXEC).map_err(std::io::Error::from)?);
    let mut child = command(args, deployment, server)?
        .stdin(Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said.try_clone()?)
        .spawn()
        .map_err(|problem| not_started(&problem, args.sudo))?;
    let deadline = Instant::now() + PATIENCE;
    let failed =
        |problem: &str| unreachable(format!("{problem}; it says:\n{}{}", last_lines(&said), log.new_lines()));
    let status = exit_status(&mut child, deadline)?;
    if !status.is_some_and(|status| status.success()) {
        let _ = child.kill();
        let _ = child.wait();
        return Err(failed("mongrel2 does not start"));
    }
    loop {
        let pid = deployment.process(server).pid();
        if let Some(pid) = pid
            && listens(server)
        {
            await_control_port(deployment, server);
            if guard::library(None).is_ok() && mongrel2_guard::presence(pid as u32) == Presence::Absent {
                note!("warning: {}: runs without the guard: {}", server.label(), guard::DANGER);
            }
            return Ok(format!("started (process {pid}), on {}:{}", server.bind_addr, server.port));
        }
        if pid.is_none() && last_lines(&said).contains("Exiting due to error") {
            return Err(failed("mongrel2 does not start"));
        }
        if Instant::now() > deadline {
            return Err(match pid {
                Some(pid) => {
                    failed(&format!("process {pid} runs, but port {} takes no connection", server.port))
                }
                None => failed("mongrel2 left no pid file"),
            });
        }
        std::thread::sleep(STEP);
    }
}

/// Refuses to start what runs, and removes a pid file whose process is no Mongrel2: with that it would not start.
fn clear_the_way(deployment: &Deployment, server: &Server) -> anyhow::Result<()> {
    let found = deployment.process(server);
    match &found {
        Process::Running { pid, .. } => Err(anyhow::anyhow!("runs already (process {pid})")),
        Process::Stale { pid_file, .. } => {
            note!("{}: {}; it is removed", server.label(), in_words(&found));
            std::fs::remove_file(pid_file).with_context(|| format!("cannot remove {}", pid_file.display()))
        }
        Process::Absent { .. } => Ok(()),
        Process::Unreadable { .. } => Err(unreachable(in_words(&found))),
    }?;
    // Mongrel2 makes no folders, and ends without its pid file or logs.
    let place = deployment.place(server);
    let files = [&server.pid_file, &server.access_log, &server.error_log];
    let folders = files.iter().filter_map(|file| Some(place.path(file).parent()?.to_owned()));
    let missing: BTreeSet<_> = folders
        .filter(|folder| !folder.as_os_str().is_empty() && matches!(folder.try_exists(), Ok(false)))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing: Vec<_> = missing.iter().map(|folder| quoted(&folder.display().to_string())).collect();
    Err(unreachable(format!(
        "mongrel2 needs folders for its pid file and logs that are not there; make them: mkdir -p {}",
        missing.join(" ")
    )))
}

fn command(args: &Args, deployment: &Deployment, server: &Server) -> anyhow::Result<Command> {
    let library = guard::library(None);
    if let Err(why) = &library {
        note!("warning: {}: starts without the guard ({why}): {}", server.label(), guard::DANGER);
    }
    let mut command = match args.sudo {
        true => Command::new("sudo"),
        false => Command::new(PROGRAM),
    };
    match &library {
        // sudo removes the variable, so it is set behind it.
        Ok(library) if args.sudo => {
            command.arg("env").arg(guard::assignment(library));
        }
        Ok(library) => guard::preload(&mut command, library),
        Err(_) => {}
    }
    if args.sudo {
        command.arg(PROGRAM);
    }
    // A name within the working directory stays short and true inside a chroot.
    let database = std::path::absolute(&deployment.database)?;
    let database = database.strip_prefix(&deployment.folder).unwrap_or(&database);
    command.arg(database).arg(&server.uuid).current_dir(&deployment.folder);
    Ok(command)
}

fn not_started(problem: &std::io::Error, sudo: bool) -> anyhow::Error {
    match problem.kind() {
        std::io::ErrorKind::NotFound if sudo => unreachable("sudo is not installed"),
        std::io::ErrorKind::NotFound => {
            unreachable("mongrel2 is not installed; on Debian and Ubuntu: apt install mongrel2-core")
        }
        _ => unreachable(format!("cannot start mongrel2: {}", plain(problem))),
    }
}

fn exit_status(child: &mut Child, deadline: Instant) -> anyhow::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > deadline {
            return Ok(None);
        }
        std::thread::sleep(STEP);
    }
}

/// Whether it takes connections. Where that cannot be tried, its pid file has to do.
fn listens(server: &Server) -> bool {
    let Ok(address) = server.bind_addr.parse::<IpAddr>() else { return true };
    let address = if address.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address };
    TcpStream::connect_timeout(&SocketAddr::new(address, server.port), Duration::from_millis(500)).is_ok()
}

/// It takes connections before its handlers' sockets and its control port are there, which come last. One
/// whose control port cannot be reached from here has started all the same.
fn await_control_port(deployment: &Deployment, server: &Server) {
    let Ok(address) = deployment.control_port(server) else { return };
    let control = Control::new(address).with_patience(Duration::from_millis(500));
    let deadline = Instant::now() + Duration::from_secs(3);
    while Instant::now() < deadline {
        match control.uuid() {
            Ok(uuid) if uuid == server.uuid => return,
            _ => std::thread::sleep(STEP),
        }
    }
}

/// The end of what it printed; only errors if there are any.
fn last_lines(said: &File) -> String {
    read_from(said, 0)
}

/// The server's log, of which what it says from now on is of interest.
struct ErrorLog {
    path: PathBuf,
    size: u64,
}

impl ErrorLog {
    fn note(path: PathBuf) -> Self {
        let size = path.metadata().map_or(0, |file| file.len());
        Self { path, size }
    }

    fn new_lines(&self) -> String {
        // Opening a pipe would wait for a writer.
        let file = self.path.is_file().then(|| File::open(&self.path).ok()).flatten();
        let text = file.map_or(String::new(), |file| read_from(&file, self.size));
        if text.is_empty() { text } else { format!("  in {}:\n{text}", self.path.display()) }
    }
}

/// Some lines from the end of a file, at most 64 KiB, none from before `start`.
fn read_from(file: &File, start: u64) -> String {
    let size = file.metadata().map_or(0, |file| file.len());
    let start = start.max(size.saturating_sub(64 << 10));
    let mut bytes = vec![0; size.saturating_sub(start) as usize];
    let read = file.read_at(&mut bytes, start).unwrap_or(0);
    tail(&String::from_utf8_lossy(&bytes[..read]))
}

fn tail(text: &str) -> String {
    let errors: Vec<_> = text.lines().filter(|line| line.contains("[ERROR]")).collect();
    let lines = if errors.is_empty() { text.lines().collect() } else { errors };
    lines[lines.len().saturating_sub(5)..].iter().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_its_errors() {
        let text = "1 [INFO] a\n2 [ERROR] b\n3 [INFO] c\n";
        assert_eq!(tail(text), "  2 [ERROR] b\n");
        assert_eq!(tail("x\ny\n"), "  x\n  y\n");
        assert_eq!(tail(&"[ERROR]\n".repeat(9)).lines().count(), 5);
    }
}
