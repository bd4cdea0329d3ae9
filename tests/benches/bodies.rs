//! What a megabyte of a whole response costs hub, workers and Mongrel2, by the size of the response.
//!
//! ```text
//! cargo build --release -p kennel
//! cargo bench -p tests --bench bodies -- --check
//! ```
//!
//! With `--check` it fails when a megabyte of a large response costs the hub more than one of a small response, by more than
//! 20 %, or more than twice what it costs Mongrel2.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use std::fs;
use std::process::ExitCode;
use std::time::Duration;
use tests::client::get;
use tests::site::Site;

const SIZES: [u64; 4] = [1, 4, 16, 64];
/// Megabytes in all, for each size and round.
const TOTAL: u64 = 512;
const ROUNDS: usize = 3;

const SCRIPT: &str = r#"
local bodies = {}
app:get("/{size}", function(req, size)
  bodies[size] = bodies[size] or ("x"):rep(tonumber(size) * 1000000)
  return bodies[size]
end)
"#;

/// Milliseconds of CPU for a megabyte.
#[derive(Debug, Clone, Copy)]
struct Cost {
    hub: f64,
    workers: f64,
    mongrel2: f64,
}

fn main() -> ExitCode {
    let has = |argument: &str| std::env::args().any(|given| given == argument);
    // `cargo test --benches` only wants to know whether it builds.
    if has("--test") {
        return ExitCode::SUCCESS;
    }
    let site = Site::plan(SCRIPT).workers(1).start();
    let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); SIZES.len()];
    for _ in 0..ROUNDS {
        for (size, costs) in SIZES.iter().zip(&mut costs) {
            costs.push(measure(&site, *size));
        }
    }
    println!(
        "{:>6} {:>10} {:>10} {:>10}   ms of CPU for each megabyte, medians of {ROUNDS}",
        "MB", "hub", "worker", "mongrel2"
    );
    let medians: Vec<Cost> = costs.iter().map(|costs| median(costs)).collect();
    for (size, Cost { hub, workers, mongrel2 }) in SIZES.iter().zip(&medians) {
        println!("{size:>6} {hub:>10.2} {workers:>10.2} {mongrel2:>10.2}");
    }
    let (least, most) =
        medians.iter().fold((f64::MAX, 0_f64), |(a, b), cost| (a.min(cost.hub), b.max(cost.hub)));
    let ratio = medians.iter().map(|cost| cost.hub / cost.mongrel2).fold(0.0, f64::max);
    println!(
        "hub: largest by smallest {:.2} (at most 1.20), of Mongrel2's {ratio:.2} (at most 2)",
        most / least
    );
    match has("--check") && (most / least > 1.2 || ratio > 2.0) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

fn measure(site: &Site, size: u64) -> Cost {
    let mut client = site.client();
    client.set_patience(Duration::from_secs(60));
    let server = site.own_mongrel2().unwrap();
    let read = |client: &mut tests::client::Client| {
        client.send(get(&format!("/{size}")));
        assert_eq!(client.read().body.len() as u64, size * 1_000_000);
    };
    read(&mut client);
    let now = || {
        let workers = site.workers().iter().map(|pid| on_cpu(*pid)).sum::<Duration>();
        [on_cpu(site.hub()), workers, on_cpu(server)]
    };
    let before = now();
    (0..TOTAL / size).for_each(|_| read(&mut client));
    let after = now();
    let [hub, workers, mongrel2] =
        std::array::from_fn(|n| (after[n] - before[n]).as_secs_f64() * 1000.0 / TOTAL as f64);
    Cost { hub, workers, mongrel2 }
}

fn median(costs: &[Cost]) -> Cost {
    let middle = |value: fn(&Cost) -> f64| {
        let mut values: Vec<_> = costs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Cost { hub: middle(|c| c.hub), workers: middle(|c| c.workers), mongrel2: middle(|c| c.mongrel2) }
}

/// The time that all threads of a process have been on a CPU: the first field of `schedstat` is nanoseconds.
fn on_cpu(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of_thread = |folder: fs::DirEntry| {
        let text = fs::read_to_string(folder.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(threads.flatten().filter_map(of_thread).sum())
}
