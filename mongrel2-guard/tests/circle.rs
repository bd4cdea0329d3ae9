//! The built library, preloaded into a program that accepts connections.

use std::path::PathBuf;
use std::process::Command;

/// Accepts connections on a Unix socket, as the argument says, and prints the numbers that they got.
const SCRIPT: &str = r#"
import fcntl, os, resource, socket, sys

limit, keep, count = (int(word) for word in sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
listener = socket.socket(socket.AF_UNIX)
listener.bind("\0kennel-guard-%d" % os.getpid())
listener.listen()
kept = []
for _ in range(count):
    client = socket.socket(socket.AF_UNIX)
    client.connect(listener.getsockname())
    accepted, _ = listener.accept()
    client.sendall(b"x")
    assert accepted.recv(1) == b"x"
    assert fcntl.fcntl(accepted, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    print(accepted.fileno())
    if len(kept) < keep:
        kept.append((client, accepted))
    else:
        accepted.close()
    client.close()
"#;

/// The numbers of `count` connections, of which the first `keep` stay open, in a process that may have `limit`.
fn numbers(limit: usize, keep: usize, count: usize) -> Vec<usize> {
    let library = PathBuf::from(env!("OUT_DIR")).join(mongrel2_guard::FILE_NAME);
    let output = Command::new("python3")
        .args(["-c", SCRIPT, &limit.to_string(), &keep.to_string(), &count.to_string()])
        .env(mongrel2_guard::VARIABLE, library)
        .output()
        .expect("there is a python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("numbers");
    text.lines().map(|line| line.parse().expect("a number")).collect()
}

#[test]
fn a_number_is_not_used_again_before_the_circle_is_complete() {
    let numbers = numbers(256, 0, 1000);
    assert!(numbers.iter().all(|number| (64..256).contains(number)), "{numbers:?}");
    for window in numbers.windows(190) {
        let mut sorted = window.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), window.len(), "{window:?}");
    }
}

#[test]
fn numbers_that_are_in_use_are_left_out() {
    let numbers = numbers(256, 150, 500);
    let (kept, later) = numbers.split_at(150);
    assert!(later.iter().all(|number| !kept.contains(number)), "{numbers:?}");
    assert!(later.windows(2).all(|pair| pair[0] != pair[1]), "{later:?}");
}

#[test]
fn connections_are_accepted_when_the_circle_is_full() {
    let numbers = numbers(256, 200, 230);
    // The listener takes one number below 64, and each client takes one below while it is connected.
    let above = numbers[..200].iter().filter(|number| **number >= 64).count();
    assert!(above >= 190, "{numbers:?}");
}

#[test]
fn mongrel2s_own_bound_holds_where_the_system_allows_more() {
    // The system's limit of this machine may be lower; then there is nothing to see.
    let Ok(limits) = std::fs::read_to_string("/proc/self/limits") else { return };
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let hard: usize = line.split_ascii_whitespace().nth(4).unwrap().parse().unwrap_or(usize::MAX);
    let limit = hard.min(100_000);
    let numbers = numbers(limit, 0, 70_000);
    let bound = limit.min(65_536);
    assert!(numbers.iter().all(|number| (1024..bound).contains(number)));
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1 || pair[1] < pair[0]));
}
