//! Bodies in pieces: what a script reads, and what the hub says meanwhile.

use crate::api::State;
use handler_core::worker::protocol::{Action, Order};
use handler_core::worker::reader::{BodyReader, Piece};
use mlua::{Lua, LuaString, Table};
use std::rc::Rc;

/// What `read_body` gives first.
const BYTES: u8 = 0;
const NOT_YET: u8 = 1;
const END: u8 = 2;
const ABORTED: u8 = 3;
const PROBLEM: u8 = 4;

impl State {
    /// The hub says something about the body of a job: the key by which whoever reads it is woken.
    pub(in crate::api) fn tell_reader(
        &self,
        serial: u64,
        tell: impl FnOnce(&mut BodyReader),
    ) -> Option<String> {
        self.readers.borrow_mut().get_mut(&serial).map(tell)?;
        Some(format!("body {serial}"))
    }

    /// Does something with the reader of a job's body, which is made for that.
    ///
    /// # Errors
    ///
    /// What is wrong, in words for the script.
    fn with_reader<T>(&self, job: &[u8], f: impl FnOnce(u64, &mut BodyReader) -> T) -> Result<T, String> {
        let serial = match Order::read_job(job) {
            Ok(Order::Job { serial, .. }) if self.jobs.borrow().contains_key(&serial) => serial,
            _ => return Err("the request has been answered: its body is gone".to_owned()),
        };
        let mut readers = self.readers.borrow_mut();
        let reader = match readers.entry(serial) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let made = BodyReader::new(job);
                entry.insert(made.map_err(|problem| format!("the body cannot be read: {problem}"))?)
            }
        };
        Ok(f(serial, reader))
    }
}

pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    // (job, most): what was found, the bytes or the problem, and the job's number
    let shared = Rc::clone(state);
    let read = move |lua: &Lua, (job, most): (LuaString, f64)| {
        let job = job.as_bytes();
        let read = shared.with_reader(&job, |serial, reader| {
            let found = reader.read(&job, most as usize);
            (serial, found, reader.take_want())
        });
        let (serial, found) = match read {
            Ok((serial, found, want)) => {
                if let Some(bytes) = want {
                    shared.push(&Action::Want { serial, bytes });
                }
                (serial, found.map_err(|problem| format!("the body cannot be read: {problem}")))
            }
            Err(problem) => (0, Err(problem)),
        };
        let (kind, text) = match found {
            Ok(Piece::Bytes(bytes)) => (BYTES, Some(lua.create_string(bytes)?)),
            Ok(Piece::NotYet) => (NOT_YET, None),
            Ok(Piece::End) => (END, None),
            Ok(Piece::Aborted) => (ABORTED, None),
            Err(problem) => (PROBLEM, Some(lua.create_string(problem)?)),
        };
        Ok((kind, text, serial as f64))
    };
    native.set("read_body", lua.create_function(read)?)?;

    // (job): bytes that have arrived, bytes that there will be if that is known; or nil and the problem
    let shared = Rc::clone(state);
    let progress = move |_: &Lua, job: LuaString| {
        let progress = |_, reader: &mut BodyReader| (reader.received() as f64, reader.size());
        Ok(match shared.with_reader(&job.as_bytes(), progress) {
            Ok((received, size)) => (Some(received), size.map(|size| size as f64), None),
            Err(problem) => (None, None, Some(problem)),
        })
    };
    native.set("body_progress", lua.create_function(progress)?)
}
