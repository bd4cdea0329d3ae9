//! The whole way of a request, as Mongrel2 sees it: what it costs, how long it takes, and that nothing goes astray.
//!
//! ```text
//! cargo build --release -p kennel
//! cargo bench -p tests --bench whole_way -- [--quick] [--json] [--check] [--only lua,lua-none]
//! ```
//!
//! A feeder in this process plays the two sockets of one Mongrel2 Handler; the handler under test is a process of its
//! own. Costs are CPU time of all the handler's processes per request, and a ratio to the smallest possible libzmq
//! handler (`bare`) measured in the same round, because microseconds differ from machine to machine and ratios less
//! so. Every reply is matched with its request, so "lost 0" is a count and not a hope.
//!
//! In reading order:
//!
//! * `options`: the command line; `subject`: the table of handlers to measure and the targets that they must reach
//! * `scratch`, `handler`: a folder for sockets and scripts, a handler's processes; `cpu`: what they cost
//! * `request`, `reply`: Mongrel2's side of the protocol; `ledger`: which request got which answer
//! * `feeder`, `load`: the sockets, and the two ways to use them: busy and quiet; `round`: all subjects by turns
//! * `report`: medians, ratios, targets, the table
//! * `self_check`: the ledger and the feeder against a handler that misbehaves on purpose; this is what `cargo test` runs

#![allow(
    clippy::unwrap_used,
    reason = "a poisoned lock or an impossible number ends the benchmark, as it should"
)]

mod cpu;
mod feeder;
mod handler;
mod ledger;
mod load;
mod options;
mod reply;
mod report;
mod request;
mod round;
mod scratch;
mod self_check;
mod subject;

use std::process::ExitCode;
use std::time::Duration;

use crate::load::Load;
use crate::options::{Invocation, Options};
use crate::report::{Measurement, Report};
use crate::round::Timing;
use crate::subject::Subject;

/// One of the benchmark's three ways to fail, each with an exit code of its own.
enum Failure {
    /// Something was measured, and it is not good enough.
    NotGoodEnough,
    /// The command line makes no sense.
    Usage(String),
    /// A program is missing, does not start or stops reading.
    Unreachable(String),
}

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)) {
        Ok(Invocation::Help) => {
            print!("{}", options::HELP);
            ExitCode::SUCCESS
        }
        Ok(Invocation::SelfCheck) => {
            self_check::run();
            ExitCode::SUCCESS
        }
        Ok(Invocation::Measure(options)) => finish(measure_all(&options)),
        Err(problem) => finish(Err(Failure::Usage(problem))),
    }
}

fn finish(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::NotGoodEnough) => ExitCode::from(1),
        Err(Failure::Usage(problem)) => {
            eprintln!("error: {problem}\n\n{}", options::HELP);
            ExitCode::from(2)
        }
        Err(Failure::Unreachable(problem)) => {
            eprintln!("error: {problem}");
            ExitCode::from(3)
        }
    }
}

/// Measures every subject in every mode in every round and prints the report.
fn measure_all(options: &Options) -> Result<(), Failure> {
    let subjects = subject::select(&options.only).map_err(Failure::Usage)?;
    for subject in &subjects {
        subject.program().map_err(Failure::Unreachable)?;
    }
    let reply_bytes = match subjects.iter().find(|subject| !subject.is_yardstick()) {
        Some(subject) => measure_reply(subject, options).map_err(Failure::Unreachable)?,
        None => 0,
    };
    let mut report = Report::default();
    for round in 1..=options.rounds {
        for load in options.loads() {
            let outcomes = round::run(&subjects, load, options.transport, &options.timing(), reply_bytes)
                .map_err(Failure::Unreachable)?;
            for (subject, outcome) in subjects.iter().zip(outcomes) {
                let measurement = Measurement { subject, load, outcome };
                eprintln!("round {round}: {measurement}");
                report.add(measurement);
            }
        }
    }
    if options.json {
        println!("{:#}", report.to_json(options));
    } else {
        println!("{}", report.to_table(options));
    }

    let mut fine = true;
    for problem in report.astray().chain(report.missed_targets(options.check)) {
        eprintln!("not good enough: {problem}");
        fine = false;
    }
    fine.then_some(()).ok_or(Failure::NotGoodEnough)
}

/// How long a response of `subject` is in bytes: `bare` is made to answer with as many.
fn measure_reply(subject: &'static Subject, options: &Options) -> Result<usize, String> {
    let timing = Timing { warm_up: Duration::ZERO, measured: Duration::from_millis(20), ..options.timing() };
    let load = Load::Busy { in_flight: 1, pipeline: 1 };
    let outcomes = round::run(&[subject], load, options.transport, &timing, 0)?;
    match outcomes.first() {
        Some(outcome) if outcome.reply_bytes > 0 => Ok(outcome.reply_bytes),
        _ => Err(format!("{} did not answer a single request", subject.name)),
    }
}
