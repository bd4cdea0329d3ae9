//! From measurements to a verdict: medians over all turns of all rounds, ratios to the yardstick, targets, the table.

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde_json::{Value, json};

use crate::ledger::Counts;
use crate::load::{Load, Outcome, Turn};
use crate::options::Options;
use crate::subject::{CONTRASTS, RATIOS, SPEEDUPS, Subject};

/// One subject under one load in one round.
#[derive(Debug)]
pub(crate) struct Measurement {
    pub(crate) subject: &'static Subject,
    pub(crate) load: Load,
    pub(crate) outcome: Outcome,
}

/// All measurements, in the order in which they were made.
#[derive(Default)]
pub(crate) struct Report {
    measurements: Vec<Measurement>,
}

/// A line of the table: medians of all turns (latencies: of all rounds), sums of what went astray. Times are
/// microseconds.
struct Line {
    subject: &'static Subject,
    load: Load,
    per_second: f64,
    hub: f64,
    workers: f64,
    total: f64,
    feeder: f64,
    /// Median of each turn's ratio to the yardstick's turn before it; `None` for the yardstick.
    ratio: Option<f64>,
    p50: f64,
    p99: f64,
    reply_bytes: usize,
    counts: Counts,
}

impl Turn {
    fn per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// Microseconds of CPU time per request.
    fn per_request(&self, cpu: Duration) -> f64 {
        microseconds(cpu) / self.requests.max(1) as f64
    }

    fn hub(&self) -> f64 {
        self.per_request(self.cpu.hub)
    }

    fn workers(&self) -> f64 {
        self.per_request(self.cpu.workers)
    }

    fn total(&self) -> f64 {
        self.hub() + self.workers()
    }

    fn feeder(&self) -> f64 {
        self.per_request(self.cpu.feeder)
    }
}

impl Measurement {
    /// The median of its turns.
    fn median_of(&self, figure: impl Fn(&Turn) -> f64) -> f64 {
        median(self.outcome.turns.iter().map(figure).collect())
    }
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}: {:.0} requests/s, {:.2} µs CPU each",
            self.subject.name,
            self.load.name(),
            self.median_of(Turn::per_second),
            self.median_of(Turn::total)
        )
    }
}

impl Report {
    /// Takes in the next measurement.
    pub(crate) fn add(&mut self, measurement: Measurement) {
        self.measurements.push(measurement);
    }

    /// A sentence for each subject of which a reply went astray. Not for the yardstick: libzmq's default high-water
    /// mark drops a reply in some millions when the machine is busy, and that is no fault of ours.
    pub(crate) fn astray(&self) -> impl Iterator<Item = String> {
        self.lines()
            .into_iter()
            .filter(|line| line.subject.is_kennel() && !line.counts.all_is_well())
            .map(|line| format!("{} {}: {}", line.subject.name, line.load.name(), line.counts))
    }

    /// A sentence for each target that was missed; none if `check` is not wanted.
    pub(crate) fn missed_targets(&self, check: bool) -> impl Iterator<Item = String> {
        let missed = if check { self.verdicts() } else { Vec::new() };
        missed.into_iter().filter(|verdict| !verdict.met).map(|verdict| verdict.sentence)
    }

    /// The table and, below it, how the targets were met.
    pub(crate) fn to_table(&self, options: &Options) -> String {
        let mut table = format!(
            "{:<10} {:<5} {:>8}  {:>7} {:>7} {:>7} {:>6}  {:>8} {:>8}  {:>5} {:>5} {:>5} {:>5}  {:>7} {:>5}\n",
            "subject",
            "mode",
            "req/s",
            "hub",
            "workers",
            "total",
            "ratio",
            "p50",
            "p99",
            "lost",
            "dup",
            "order",
            "wrong",
            "feeder",
            "bytes"
        );
        for line in self.lines() {
            let _ = writeln!(
                table,
                "{:<10} {:<5} {:>8.0}  {:>7.2} {:>7.2} {:>7.2} {:>6}  {:>8.1} {:>8.1}  {:>5} {:>5} {:>5} {:>5}  {:>7.2} {:>5}",
                line.subject.name,
                line.load.name(),
                line.per_second,
                line.hub,
                line.workers,
                line.total,
                line.ratio.map_or("1".to_owned(), |ratio| format!("{ratio:.2}")),
                line.p50,
                line.p99,
                line.counts.lost,
                line.counts.duplicated,
                line.counts.out_of_order,
                line.counts.wrong(),
                line.feeder,
                line.reply_bytes
            );
        }
        let _ = writeln!(
            table,
            "\nhub, workers, total, feeder: µs of CPU per request; p50, p99: µs; ratio: median of total to that of bare, turn by turn.\n\
             busy: {} in flight, {} on a connection; quiet: {} requests/s. {} rounds of {:?} over {:?}; medians.\n\
             wrong: late, misdirected, failed (not 200) or malformed replies.",
            options.in_flight,
            options.pipeline,
            options.rate,
            options.rounds,
            options.measured,
            options.transport
        );
        for verdict in self.verdicts() {
            let _ = writeln!(table, "{}: {}", if verdict.met { "met" } else { "missed" }, verdict.sentence);
        }
        table
    }

    /// The same for programs, with every round's figures.
    pub(crate) fn to_json(&self, options: &Options) -> Value {
        let results: Vec<Value> = self.lines().iter().map(|line| self.line_to_json(line)).collect();
        let targets: Vec<Value> = self
            .verdicts()
            .into_iter()
            .map(|verdict| json!({ "target": verdict.sentence, "met": verdict.met }))
            .collect();
        json!({
            "in_flight": options.in_flight,
            "pipeline": options.pipeline,
            "rate": options.rate,
            "rounds": options.rounds,
            "seconds": options.measured.as_secs_f64(),
            "transport": format!("{:?}", options.transport).to_lowercase(),
            "results": results,
            "targets": targets,
        })
    }

    fn line_to_json(&self, line: &Line) -> Value {
        let Counts { lost, duplicated, out_of_order, late, misdirected, failed, malformed } = line.counts;
        let rounds: Vec<Value> = self
            .of(line.load)
            .filter(|round| round.subject.name == line.subject.name)
            .map(|round| {
                json!({
                    "requests_per_second": round.median_of(Turn::per_second),
                    "cpu_us": {
                        "hub": round.median_of(Turn::hub),
                        "workers": round.median_of(Turn::workers),
                        "total": round.median_of(Turn::total),
                    },
                    "p50_us": microseconds(round.outcome.p50),
                    "p99_us": microseconds(round.outcome.p99),
                })
            })
            .collect();
        json!({
            "subject": line.subject.name,
            "mode": line.load.name(),
            "requests_per_second": line.per_second,
            "cpu_us": { "hub": line.hub, "workers": line.workers, "total": line.total, "feeder": line.feeder },
            "ratio": line.ratio.unwrap_or(1.0),
            "p50_us": line.p50,
            "p99_us": line.p99,
            "reply_bytes": line.reply_bytes,
            "lost": lost,
            "duplicated": duplicated,
            "out_of_order": out_of_order,
            "late": late,
            "misdirected": misdirected,
            "failed": failed,
            "malformed": malformed,
            "rounds": rounds,
        })
    }

    /// One line for each subject and load, in the order of the first round.
    fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        for Measurement { subject, load, .. } in &self.measurements {
            if lines.iter().any(|line| line.subject.name == subject.name && line.load == *load) {
                continue;
            }
            lines.push(self.line(subject, *load));
        }
        lines
    }

    fn line(&self, subject: &'static Subject, load: Load) -> Line {
        let rounds: Vec<&Measurement> =
            self.of(load).filter(|round| round.subject.name == subject.name).collect();
        let turns = || rounds.iter().flat_map(|round| &round.outcome.turns);
        let yardstick = self.of(load).filter(|round| round.subject.is_yardstick());
        let bare_turns = yardstick.flat_map(|round| &round.outcome.turns);
        let ratios = turns().zip(bare_turns).map(|(turn, bare)| turn.total() / bare.total()).collect();
        let median_of = |figure: fn(&Turn) -> f64| median(turns().map(figure).collect());
        let latency = |figure: fn(&Outcome) -> Duration| {
            median(rounds.iter().map(|round| microseconds(figure(&round.outcome))).collect())
        };
        let mut counts = Counts::default();
        rounds.iter().for_each(|round| counts.add(&round.outcome.counts));
        Line {
            subject,
            load,
            per_second: median_of(Turn::per_second),
            hub: median_of(Turn::hub),
            workers: median_of(Turn::workers),
            total: median_of(Turn::total),
            feeder: median_of(Turn::feeder),
            ratio: (!subject.is_yardstick()).then(|| median(ratios)),
            p50: latency(|outcome| outcome.p50),
            p99: latency(|outcome| outcome.p99),
            reply_bytes: rounds.last().map_or(0, |round| round.outcome.reply_bytes),
            counts,
        }
    }

    fn of(&self, load: Load) -> impl Iterator<Item = &Measurement> {
        self.measurements.iter().filter(move |measurement| measurement.load == load)
    }

    /// How each target that this run can judge was met.
    fn verdicts(&self) -> Vec<Verdict> {
        let lines = self.lines();
        let mut verdicts = Vec::new();
        for line in &lines {
            if let (Some(most), Some(ratio)) = (&line.subject.most, line.ratio) {
                let most = match line.load {
                    Load::Busy { .. } => most.busy,
                    Load::Quiet { .. } => most.quiet,
                };
                let (name, load) = (line.subject.name, line.load.name());
                let sentence =
                    format!("{name} {load} takes {ratio:.2} times the CPU of bare, at most {most:.2}");
                verdicts.push(Verdict { met: ratio <= most, sentence });
            }
        }
        for contrast in &CONTRASTS {
            let busy = |name| {
                lines.iter().find(|line| line.subject.name == name && matches!(line.load, Load::Busy { .. }))
            };
            if let (Some(cheap), Some(dear)) = (busy(contrast.cheap), busy(contrast.dear)) {
                let factor = dear.workers / cheap.workers;
                let sentence = format!(
                    "{} takes {factor:.2} times the worker CPU of {} when busy, at least {:.2}",
                    contrast.dear, contrast.cheap, contrast.least
                );
                verdicts.push(Verdict { met: factor >= contrast.least, sentence });
            }
        }
        for speedup in &SPEEDUPS {
            for (many, one) in pairs(&lines, speedup.many, speedup.one) {
                if matches!(many.load, Load::Busy { .. }) {
                    let factor = many.per_second / one.per_second;
                    let sentence = format!(
                        "{} answers {factor:.2} times as much as {} when busy, at least {:.2}",
                        speedup.many, speedup.one, speedup.least
                    );
                    verdicts.push(Verdict { met: factor >= speedup.least, sentence });
                }
            }
        }
        for ratio in &RATIOS {
            for (of, to) in pairs(&lines, ratio.of, ratio.to) {
                let factor = of.total / to.total;
                let load = of.load.name();
                let (met, bound) = match (ratio.least, ratio.most) {
                    (Some(least), _) if matches!(of.load, Load::Busy { .. }) => {
                        (factor >= least, format!("at least {least:.2}"))
                    }
                    (_, Some(most)) => (factor <= most, format!("at most {most:.2}")),
                    _ => continue,
                };
                let sentence = format!(
                    "{} takes {factor:.2} times the CPU of {} when {load}, {bound}",
                    ratio.of, ratio.to
                );
                verdicts.push(Verdict { met, sentence });
            }
        }
        verdicts
    }
}

/// The lines of two subjects under the same load.
fn pairs<'a>(lines: &'a [Line], of: &'a str, to: &'a str) -> impl Iterator<Item = (&'a Line, &'a Line)> {
    let named = move |name: &'a str| lines.iter().filter(move |line| line.subject.name == name);
    named(of).flat_map(move |of| {
        let same = move |line: &&Line| line.load.name() == of.load.name();
        named(to).filter(same).map(move |to| (of, to))
    })
}

struct Verdict {
    met: bool,
    sentence: String,
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    let (left, right) = (figures.len().saturating_sub(1) / 2, figures.len() / 2);
    match (figures.get(left), figures.get(right)) {
        (Some(left), Some(right)) => (left + right) / 2.0,
        _ => f64::NAN,
    }
}
