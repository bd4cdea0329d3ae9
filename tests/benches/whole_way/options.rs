//! The benchmark's command line.

use std::time::Duration;

use crate::feeder::Transport;
use crate::load::Load;
use crate::round::Timing;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
cargo bench -p tests --bench whole_way -- [OPTIONS]

Measures handlers from Mongrel2's side: requests per second, CPU, latency, replies that went astray.

  --quick               1.5 s instead of 5 s for each subject, mode and round
  --seconds N           so many seconds instead
  --rounds N            measure everything N times, report medians (default 3)
  --only NAME,NAME      these subjects only: lua, lua-none, lua-all; `bare` is always measured
  --mode busy|quiet     one of the two only
  --in-flight N         busy: requests without an answer at any time (default 64)
  --pipeline N          busy: as many of them on one connection (default 1)
  --rate N              quiet: requests a second (default 5000)
  --transport ipc|tcp   how to reach the handler (default ipc)
  --check               exit with 1 when a target is missed, not only when a reply went astray
  --json                JSON instead of a table
  --help                this text

The program measured is KENNEL_BIN, or `kennel` in the target directory (cargo build --release -p kennel).
Exit codes: 0 fine, 1 not good enough, 2 wrong command line, 3 a program is missing or does not start.
";

/// How long to wait for a reply before it counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(2);
/// Long enough for LuaJIT to have compiled what is hot.
const WARM_UP: Duration = Duration::from_millis(500);

/// What to do, as the command line says.
pub(crate) enum Invocation {
    /// Print [`HELP`].
    Help,
    /// `cargo test`: check the instruments, measure nothing.
    SelfCheck,
    /// `cargo bench`.
    Measure(Options),
}

/// What and how to measure.
pub(crate) struct Options {
    /// Names of subjects; empty means all.
    pub(crate) only: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) measured: Duration,
    pub(crate) busy: bool,
    pub(crate) quiet: bool,
    pub(crate) in_flight: usize,
    pub(crate) pipeline: usize,
    /// Requests per second.
    pub(crate) rate: u32,
    pub(crate) transport: Transport,
    pub(crate) check: bool,
    pub(crate) json: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            only: Vec::new(),
            rounds: 3,
            measured: Duration::from_secs(5),
            busy: true,
            quiet: true,
            in_flight: 64,
            pipeline: 1,
            rate: 5_000,
            transport: Transport::Ipc,
            check: false,
            json: false,
        }
    }
}

impl Options {
    /// Reads the arguments, without the program's name.
    ///
    /// # Errors
    ///
    /// A sentence about the argument that makes no sense.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Invocation, String> {
        let arguments: Vec<String> = arguments.collect();
        if arguments.iter().any(|argument| argument == "--help") {
            return Ok(Invocation::Help);
        }
        // Cargo says `--bench` to benchmarks under `cargo bench` and not under `cargo test`.
        if !arguments.iter().any(|argument| argument == "--bench") {
            return Ok(Invocation::SelfCheck);
        }
        let mut options = Options::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("`{argument}` needs a value"));
            match argument.as_str() {
                "--bench" => {}
                "--quick" => options.measured = Duration::from_millis(1_500),
                "--seconds" => {
                    let seconds: f64 = number(&argument, &value()?, 0.1, 3_600.0)?;
                    options.measured = Duration::from_secs_f64(seconds);
                }
                "--rounds" => options.rounds = number(&argument, &value()?, 1, 1_000)?,
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--mode" => match value()?.as_str() {
                    "busy" => options.quiet = false,
                    "quiet" => options.busy = false,
                    other => return Err(format!("`--mode` is busy or quiet, not `{other}`")),
                },
                "--in-flight" => options.in_flight = number(&argument, &value()?, 1, 10_000)?,
                "--pipeline" => options.pipeline = number(&argument, &value()?, 1, 16)?,
                "--rate" => options.rate = number(&argument, &value()?, 1, 1_000_000)?,
                "--transport" => match value()?.as_str() {
                    "ipc" => options.transport = Transport::Ipc,
                    "tcp" => options.transport = Transport::Tcp,
                    other => return Err(format!("`--transport` is ipc or tcp, not `{other}`")),
                },
                "--check" => options.check = true,
                "--json" => options.json = true,
                _ => return Err(format!("unknown argument `{argument}`")),
            }
        }
        Ok(Invocation::Measure(options))
    }

    /// The modes to measure.
    pub(crate) fn loads(&self) -> impl Iterator<Item = Load> {
        let busy = Load::Busy { in_flight: self.in_flight, pipeline: self.pipeline };
        let quiet = Load::Quiet { rate: self.rate };
        [self.busy.then_some(busy), self.quiet.then_some(quiet)].into_iter().flatten()
    }

    /// How long each part of a round takes.
    pub(crate) fn timing(&self) -> Timing {
        Timing { warm_up: WARM_UP, measured: self.measured, lost_after: LOST_AFTER }
    }
}

fn number<N: std::str::FromStr + PartialOrd + std::fmt::Display>(
    argument: &str,
    text: &str,
    least: N,
    most: N,
) -> Result<N, String> {
    match text.parse() {
        Ok(number) if number >= least && number <= most => Ok(number),
        _ => Err(format!("`{argument}` is a number from {least} to {most}, not `{text}`")),
    }
}
