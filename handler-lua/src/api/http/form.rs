//! The body as a form, and what scripts do with its files.

use crate::api::State;
use handler_core::worker::form::{self, FormFailure};
use handler_core::worker::protocol::Order;
use handler_core::worker::sent_file;
use mlua::{Lua, LuaString, MultiValue, Table, Value};
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

/// Sizes below 2^53, which a Lua number holds exactly.
fn place(from: f64, to: f64) -> Range<u64> {
    from as u64..to as u64
}

impl State {
    /// A script is at work for the same job as before and does not hang.
    fn beat(&self) {
        self.switch(self.running.get());
    }
}

pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    // (job): names and values by turns, names and files by turns; or nil, the problem, and its status if the client is to
    // blame. A file is a table whose second and third entry are its place.
    let shared = Rc::clone(state);
    let read = move |lua: &Lua, job: LuaString| {
        let form = match form::read(&job.as_bytes(), &shared.start.form, || shared.beat()) {
            Ok(form) => form,
            Err(problem) => {
                let status = match &problem {
                    FormFailure::Refused(refused) => Value::Integer(refused.status().into()),
                    _ => Value::Nil,
                };
                let text = lua.create_string(problem.to_string())?;
                return Ok(MultiValue::from_iter([Value::Nil, Value::String(text), status]));
            }
        };
        let fields = lua.create_table_with_capacity(2 * form.fields.len(), 0)?;
        for (name, value) in form.fields {
            fields.raw_push(lua.create_string(name)?)?;
            fields.raw_push(lua.create_string(value)?)?;
        }
        let files = lua.create_table_with_capacity(2 * form.files.len(), 0)?;
        for sent in form.files {
            let name = lua.create_string(sent.name)?;
            let file = lua.create_table_with_capacity(3, 5)?;
            file.raw_set(1, false)?;
            file.raw_set(2, sent.place.start as f64)?;
            file.raw_set(3, sent.place.end as f64)?;
            file.raw_set("name", &name)?;
            file.raw_set("filename", lua.create_string(sent.filename)?)?;
            file.raw_set("content_type", lua.create_string(sent.content_type)?)?;
            file.raw_set("size", (sent.place.end - sent.place.start) as f64)?;
            files.raw_push(name)?;
            files.raw_push(file)?;
        }
        Ok(MultiValue::from_iter([Value::Table(fields), Value::Table(files)]))
    };
    native.set("form", lua.create_function(read)?)?;

    // (job, from, to): the bytes, or nil and the problem
    let memory = state.start.memory;
    let read = move |lua: &Lua, (job, from, to): (LuaString, f64, f64)| match sent_file::read(
        &job.as_bytes(),
        &place(from, to),
        memory,
    ) {
        Ok(bytes) => Ok((Some(lua.create_string(bytes)?), None)),
        Err(problem) => Ok((None, Some(problem.to_string()))),
    };
    native.set("form_read", lua.create_function(read)?)?;

    // (job, from, to, path): nil, or the problem
    let shared = Rc::clone(state);
    let save = move |_: &Lua, (job, from, to, path): (LuaString, f64, f64, LuaString)| {
        let path = path.as_bytes();
        let path = Path::new(OsStr::from_bytes(&path));
        let saved = sent_file::save(&job.as_bytes(), &place(from, to), path, || shared.beat());
        Ok(saved.err().map(|problem| problem.to_string()))
    };
    native.set("form_save", lua.create_function(save)?)?;

    // (job, from, to): the path of a file that has it until the job ends, or nil and the problem
    let shared = Rc::clone(state);
    let path = move |lua: &Lua, (job, from, to): (LuaString, f64, f64)| {
        let job = job.as_bytes();
        let running = match Order::read_job(&job) {
            Ok(Order::Job { serial, .. }) => Some(serial),
            _ => None,
        };
        let Some(serial) = running.filter(|serial| shared.jobs.borrow().contains_key(serial)) else {
            return Ok((
                None,
                Some("a file has a path as long as its request lasts, which has ended".to_owned()),
            ));
        };
        match shared.scratch.borrow_mut().make(serial, &job, &place(from, to), || shared.beat()) {
            Ok(path) => Ok((Some(lua.create_string(path.as_os_str().as_bytes())?), None)),
            Err(problem) => Ok((None, Some(format!("cannot make a file of what was sent: {problem}")))),
        }
    };
    native.set("form_path", lua.create_function(path)?)
}
