//! Timers, on which tasks sleep.

use super::State;
use handler_core::worker::clock::Clock;
use mlua::{Lua, Table};
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The longest sleep; more is for ever.
const LONGEST: f64 = 365.0 * 86_400.0;

/// Who is to be woken when.
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// Time, number of the timer, serial of the job that sleeps (0: none).
    heap: BinaryHeap<Reverse<(Instant, u64, u64)>>,
    last: u64,
    /// Timers that came to belong to a job after they were set.
    charged: FxHashMap<u64, u64>,
    has_work: bool,
}

impl Timers {
    fn add(&mut self, due: Instant, serial: u64) -> u64 {
        self.last += 1;
        self.heap.push(Reverse((due, self.last, serial)));
        self.last
    }

    /// The number of the newest timer.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The next timer whose time has come by `now`, with its job; none that is newer than `last`, so that
    /// a task that sleeps for no time does not keep the loop from everything else.
    pub(super) fn take_due(&mut self, now: Instant, last: u64) -> Option<(u64, u64)> {
        let Reverse((due, timer, serial)) = *self.heap.peek()?;
        if due > now || timer > last {
            return None;
        }
        self.heap.pop();
        Some((timer, self.charged.remove(&timer).unwrap_or(serial)))
    }

    /// How long the loop may sleep; `None`: until the hub has something.
    pub(super) fn until_next(&self, clock: &Clock) -> Option<Duration> {
        if self.has_work {
            return Some(Duration::ZERO);
        }
        self.heap.peek().map(|Reverse((due, ..))| due.saturating_duration_since(clock.now()))
    }

    pub(super) fn take_work(&mut self) -> bool {
        std::mem::take(&mut self.has_work)
    }

    /// A timer belongs to a job from now on.
    pub(super) fn charge(&mut self, timer: u64, serial: u64) {
        self.charged.insert(timer, serial);
    }

    pub(super) fn forget_all(&mut self) {
        self.heap.clear();
        self.charged.clear();
        self.has_work = false;
    }
}

pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    let shared = Rc::clone(state);
    let timer = move |_: &Lua, (seconds, serial): (f64, f64)| {
        let due = shared.clock.now() + Duration::from_secs_f64(seconds.clamp(0.0, LONGEST));
        Ok(shared.timers.borrow_mut().add(due, serial as u64) as f64)
    };
    native.set("timer", lua.create_function(timer)?)?;

    // (seconds): a timer that keeps no worker from its end, 0 when that is near
    let shared = Rc::clone(state);
    let alarm = move |_: &Lua, seconds: f64| {
        if shared.stopping.get() {
            return Ok(0.0);
        }
        let due = shared.clock.now() + Duration::from_secs_f64(seconds.clamp(0.0, LONGEST));
        Ok(shared.timers.borrow_mut().add(due, 0) as f64)
    };
    native.set("alarm", lua.create_function(alarm)?)?;

    let (begin, clock) = (state.clock.now(), state.clock.clone());
    let now = move |_: &Lua, ()| Ok(clock.now().saturating_duration_since(begin).as_secs_f64());
    native.set("now", lua.create_function(now)?)?;

    let shared = Rc::clone(state);
    let has_work = move |_: &Lua, ()| {
        shared.timers.borrow_mut().has_work = true;
        Ok(())
    };
    native.set("has_work", lua.create_function(has_work)?)
}
