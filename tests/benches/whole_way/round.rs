//! One round: all subjects run at the same time and are fed by turns of a quarter second each.
//!
//! A virtual machine may be half as fast for some seconds as it was before. Turns this short spread such seconds over
//! all subjects alike, so that ratios stay what they are; the handlers that are not fed are asleep.

use std::time::Duration;

use crate::cpu::Meter;
use crate::feeder::{Feeder, Transport};
use crate::handler::Handler;
use crate::load::{Load, Outcome, Session};
use crate::scratch::Scratch;
use crate::subject::Subject;

/// How long each part of a round takes, for each subject.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// Once, before the first turn.
    pub(crate) warm_up: Duration,
    /// All turns together.
    pub(crate) measured: Duration,
    /// A reply that takes longer is lost.
    pub(crate) lost_after: Duration,
}

const TURN: Duration = Duration::from_millis(250);
/// At the beginning of each turn, so that the handler's caches are warm again.
const LEAD_IN: Duration = Duration::from_millis(30);

/// A running handler and its feeder. The handler is stopped first: it should not see its server die.
struct Contestant {
    subject: &'static Subject,
    handler: Handler,
    meter: Meter,
    session: Session,
    _scratch: Scratch,
}

/// Starts `subjects`, feeds them by turns, stops them; what was found, in the order of `subjects`.
///
/// # Errors
///
/// A sentence about a handler that does not start or stops reading, and its last words.
pub(crate) fn run(
    subjects: &[&'static Subject],
    load: Load,
    transport: Transport,
    timing: &Timing,
    reply_bytes: usize,
) -> Result<Vec<Outcome>, String> {
    let mut contestants = Vec::new();
    for subject in subjects {
        let mut contestant = Contestant::start(subject, load, transport, timing, reply_bytes)?;
        contestant.feed(timing.warm_up, Duration::ZERO)?;
        contestants.push(contestant);
    }
    let turns = timing.measured.div_duration_f64(TURN).ceil().max(1.0) as u32;
    for _ in 0..turns {
        for contestant in &mut contestants {
            contestant.feed(LEAD_IN, timing.measured / turns)?;
        }
    }
    contestants.into_iter().map(Contestant::finish).collect()
}

impl Contestant {
    fn start(
        subject: &'static Subject,
        load: Load,
        transport: Transport,
        timing: &Timing,
        reply_bytes: usize,
    ) -> Result<Contestant, String> {
        let scratch = Scratch::new()?;
        let feeder = Feeder::bind(&scratch, transport)?;
        let handler = Handler::start(subject, &feeder, &scratch, reply_bytes)?;
        let meter = Meter::of(handler.hub());
        let session = Session::open(feeder, load, timing.lost_after, (subject.echoes, subject.feed));
        Ok(Contestant { subject, handler, meter, session, _scratch: scratch })
    }

    fn feed(&mut self, lead_in: Duration, measured: Duration) -> Result<(), String> {
        self.session
            .feed(lead_in, measured, || self.meter.read())
            .map_err(|problem| format!("{}: {problem}\n{}", self.subject.name, self.handler.last_words()))
    }

    fn finish(self) -> Result<Outcome, String> {
        let (name, last_words) = (self.subject.name, self.handler.last_words());
        if self.meter.workers_changed() {
            eprintln!("note: a worker of {name} came or went\n{last_words}");
        }
        let outcome = self.session.finish()?;
        if !outcome.counts.all_is_well() {
            eprintln!("note: {name} had {}\n{last_words}", outcome.counts);
        }
        Ok(outcome)
    }
}
