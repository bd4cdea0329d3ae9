//! Jobs: which of them a script runs for, and how they end without an answer. They are taken in
//! [`super::fast_path`].

use super::{Api, State};
use handler_core::worker::protocol::Action;
use mlua::{Lua, Table};
use std::io;
use std::rc::Rc;

/// What the runtime tells of its jobs.
pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    // A script goes on for another job.
    let shared = Rc::clone(state);
    let switch = move |_: &Lua, serial: f64| {
        shared.switch(serial as u64);
        Ok(())
    };
    native.set("switch", lua.create_function(switch)?)?;

    // A job does not run here.
    let shared = Rc::clone(state);
    let skip = move |_: &Lua, serial: f64| {
        let serial = serial as u64;
        if shared.end_job(serial).is_some() {
            shared.push(&Action::Skipped { serial });
        }
        Ok(())
    };
    native.set("skip", lua.create_function(skip)?)?;

    // The connection that an unanswered job is about, or nil.
    let shared = Rc::clone(state);
    let conn_of = move |_: &Lua, serial: f64| {
        let conn = shared.jobs.borrow().get(&(serial as u64)).copied();
        Ok(conn.filter(|conn| *conn != super::NO_CONN).map(|conn| conn as f64))
    };
    native.set("conn_of", lua.create_function(conn_of)?)?;

    // (key of a coroutine that sleeps, serial): it belongs to that job from now on
    let shared = Rc::clone(state);
    let charge = move |_: &Lua, (key, serial): (f64, f64)| {
        if key > 0.0 {
            shared.timers.borrow_mut().charge(key as u64, serial as u64);
        } else if let Some(waiting) = shared.queries.borrow_mut().get_mut(&(-key as u64)) {
            *waiting = serial as u64;
        }
        Ok(())
    };
    native.set("charge", lua.create_function(charge)?)
}

impl Api {
    /// Says in the page that a job about a connection starts. `false`: the hub has taken it back, and is told
    /// that it did not.
    pub(crate) fn begin(&self, serial: u64, conn: u64) -> io::Result<bool> {
        let mut actions = self.state.actions.borrow_mut();
        if !actions.page().start(serial) {
            actions.push(&Action::Skipped { serial })?;
            return Ok(false);
        }
        self.state.jobs.borrow_mut().insert(serial, conn);
        Ok(true)
    }
}
