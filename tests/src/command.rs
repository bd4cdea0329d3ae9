//! `kennel` run to its end.

use crate::binary::kennel;
use crate::server;
use crate::wait::PATIENCE;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What is left of a command that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// The program with arguments, in a folder, free of settings from outside.
///
/// A server that it starts by itself is the one that the tests' own environment [selects](server::front).
pub fn command<S: AsRef<OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(kennel());
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("KENNEL_") || text.starts_with("PYTHON") {
            command.env_remove(name);
        }
    }
    if starts_a_server(folder, &command) {
        command.env(server::FRONT, server::front().name());
    }
    command.env_remove("NOTIFY_SOCKET").env_remove("VIRTUAL_ENV");
    if std::env::var_os("KENNEL_TEST_COLLECT").is_some() {
        command.env("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/collector"));
    }
    command
}

/// Whether the command starts a server of its own: neither its arguments nor `kennel.toml` name an existing one.
fn starts_a_server(folder: &Path, command: &Command) -> bool {
    let mut arguments = command.get_args().filter_map(OsStr::to_str);
    let serves = arguments.next().is_some_and(|first| matches!(first, "run" | "dev"));
    let named = arguments.any(|argument| {
        ["--front", "--send-spec", "--recv-spec", "--mongrel2"].iter().any(|flag| argument.starts_with(flag))
    });
    let config = std::fs::read_to_string(folder.join("kennel.toml")).unwrap_or_default();
    serves && !named && !config.contains("[[mongrel2]]") && !config.contains("front =")
}

/// Runs `kennel` in a folder and waits for its end.
///
/// # Panics
///
/// When it does not end within [`PATIENCE`].
pub fn run<S: AsRef<OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = S>) -> Finished {
    finish(command(folder, arguments), b"")
}

/// Runs a command with something on its standard input.
///
/// # Panics
///
/// As [`run`].
pub fn finish(mut command: Command, input: &[u8]) -> Finished {
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.expect("kennel can be started");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    let input = input.to_vec();
    let writer = thread::spawn(move || {
        // A command that does not want its input may end before it has it.
        let _ = stdin.write_all(&input);
    });
    let stdout = drain(child.stdout.take().expect("stdout is a pipe"));
    let stderr = drain(child.stderr.take().expect("stderr is a pipe"));
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{command:?} does not end");
        }
        thread::sleep(Duration::from_millis(2));
    };
    let text = |reader: thread::JoinHandle<String>| reader.join().expect("a reader does not panic");
    writer.join().expect("a writer does not panic");
    Finished { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

fn drain(mut stream: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
