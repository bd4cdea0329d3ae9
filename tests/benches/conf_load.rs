//! Loading a configuration file of 10,000 routes: `kennel conf load` beside `m2sh load`, in turns.
//!
//! ```text
//! cargo build --release -p kennel
//! cargo bench -p tests --bench conf_load
//! ```
//!
//! With `-- --check` it fails when ours takes half a second or longer, or longer than theirs.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tests::binary::kennel;
use tests::folder::Folder;

const ROUTES: usize = 10_000;
const ROUNDS: usize = 7;
const LIMIT: Duration = Duration::from_millis(500);

fn main() {
    // `cargo test --benches` only wants to know whether it builds.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let folder = Folder::new();
    let file = folder.write("site.conf", configuration());
    println!("{ROUTES} routes, {} KiB", fs::metadata(file).unwrap().len() / 1024);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(time(
            folder.path(),
            Command::new(kennel()).args(["conf", "load", "--db", "ours.sqlite", "site.conf"]),
        ));
        theirs.push(time(
            folder.path(),
            Command::new("m2sh").args(["load", "-db", "theirs.sqlite", "-config", "site.conf"]),
        ));
    }
    let (ours, theirs) = (told("kennel conf load", ours), told("m2sh load", theirs));
    println!("{:.2} of m2sh's time", ours.as_secs_f64() / theirs.as_secs_f64());
    if std::env::args().any(|argument| argument == "--check") {
        assert!(ours < LIMIT, "{ours:?} is not below {LIMIT:?}");
        assert!(ours < theirs, "slower than m2sh");
    }
}

/// The time from start to end, the database being made anew.
fn time(folder: &Path, command: &mut Command) -> Duration {
    for name in ["ours.sqlite", "theirs.sqlite"] {
        let _ = fs::remove_file(folder.join(name));
    }
    let command =
        command.current_dir(folder).env("LOGNAME", "bench").stdout(Stdio::null()).stderr(Stdio::null());
    let begin = Instant::now();
    let status = command.status().expect("it is installed");
    let time = begin.elapsed();
    assert!(status.success(), "{command:?}");
    let made = |name: &str| fs::metadata(folder.join(name)).is_ok_and(|file| file.len() > 100_000);
    assert!(made("ours.sqlite") || made("theirs.sqlite"), "{command:?} made nothing");
    time
}

/// Prints the times of a program, and gives the median.
fn told(name: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let (best, median, worst) = (times[0], times[times.len() / 2], times[times.len() - 1]);
    println!("{name:>16}: median {median:>8.1?}, {best:.1?} to {worst:.1?}");
    median
}

/// Ten hosts; targets that are shared, and some that are not; prefixes and patterns.
fn configuration() -> String {
    let mut text = String::from(
        "app = Handler(send_spec='tcp://127.0.0.1:9997', send_ident='app-1',\n    \
         recv_spec='tcp://127.0.0.1:9996', recv_ident='app-')\n\
         files = Dir(base='public/', index_file='index.html', default_ctype='text/plain')\n",
    );
    let mut hosts = Vec::new();
    for host in 0..10 {
        let mut routes = String::new();
        for n in 0..ROUTES / 10 {
            let section = ["users", "orders", "static", "reports", "api"][n % 5];
            let target = match n % 4 {
                0 => "files".to_owned(),
                1 => format!("Proxy(addr='127.0.0.1', port={})", 8000 + n),
                _ => "app".to_owned(),
            };
            writeln!(routes, "    '/{section}/{n}/{}/': {target},", (n * 7919) % 1000).unwrap();
        }
        let routes = routes.trim_end().trim_end_matches(',');
        writeln!(text, "routes{host} = {{\n{routes}\n}}").unwrap();
        hosts.push(format!("Host(name='h{host}.example.com', routes=routes{host})"));
    }
    write!(
        text,
        "main = Server(uuid='main', name='main', port=6767, default_host='h0.example.com', chroot='./',\n    \
         access_log='/logs/access.log', error_log='/logs/error.log', pid_file='/run/mongrel2.pid',\n    \
         hosts=[{}])\nservers = [main]\n",
        hosts.join(",\n        ")
    )
    .unwrap();
    text
}
