//! Files as answers.

use super::response::push_headers;
use crate::api::{Api, State, message_of};
use handler_core::worker::files::{self, Asked, FileAnswer, FileError};
use kennel_http::{HeadLines, file};
use mlua::{AnyUserData, Lua, LuaString, Table, UserData, Value};
use mongrel2_wire::Envelope;
use std::cell::RefCell;
use std::rc::Rc;

/// What the runtime holds of a file between opening and sending it.
struct Found(RefCell<Option<FileAnswer>>);

impl UserData for Found {}

pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    // (job, path, root or nil, content type or nil, whether conditions count): the file, its status, and a list of
    // names and values for the head; or nil, and the problem unless there is no such file
    let find = |lua: &Lua,
                (job, path, root, content_type, conditional): (
        LuaString,
        LuaString,
        Option<LuaString>,
        Option<LuaString>,
        bool,
    )| {
        let (job, path) = (job.as_bytes(), path.as_bytes());
        let (root, content_type) = (root.map(|root| root.as_bytes().to_vec()), content_type.map(bytes));
        let asked =
            Asked { path: &path, root: root.as_deref(), content_type: content_type.as_deref(), conditional };
        let Ok(envelope) = Envelope::parse(message_of(&job)) else { return Ok((None, Value::Nil, None)) };
        match files::find(&asked, &envelope) {
            Ok(found) => {
                let head = lua.create_table()?;
                for (name, value) in found.head() {
                    head.raw_push(*name)?;
                    head.raw_push(lua.create_string(value)?)?;
                }
                let status = Value::Integer(found.status().into());
                Ok((Some(lua.create_userdata(Found(RefCell::new(Some(found))))?), status, Some(head)))
            }
            Err(FileError::NotThere) => Ok((None, Value::Nil, None)),
            Err(problem) => Ok((None, Value::String(lua.create_string(problem.to_string())?), None)),
        }
    };
    native.set("find_file", lua.create_function(find)?)?;

    // (serial, file, status, headers, whether it may be compressed): nil, or the problem
    let shared = Rc::clone(state);
    let send =
        move |lua: &Lua, (serial, found, status, headers, compress): (f64, AnyUserData, u16, Table, bool)| {
            let mut lines = HeadLines::default();
            if let Some(problem) = push_headers(lua, &mut lines, Some(headers))? {
                return Ok(Some(problem));
            }
            let Some(found) = found.borrow::<Found>()?.0.take() else {
                return Ok(Some("a file that kennel.file gave is sent once".to_owned()));
            };
            let serial = serial as u64;
            if !shared.jobs.borrow().contains_key(&serial) {
                return Ok(None);
            }
            match found.send(serial, status, lines.as_bytes(), compress, &mut |action| shared.push(action)) {
                Ok(Some(download)) => drop(shared.downloads.borrow_mut().insert(serial, download)),
                Ok(None) => drop(shared.end_job(serial)),
                Err(problem) => return Ok(Some(format!("the file cannot be read: {problem}"))),
            }
            Ok(None)
        };
    native.set("send_file", lua.create_function(send)?)?;

    let attachment = |_: &Lua, name: LuaString| Ok(file::attachment(&name.to_string_lossy()));
    native.set("attachment", lua.create_function(attachment)?)
}

fn bytes(text: LuaString) -> Vec<u8> {
    text.as_bytes().to_vec()
}

impl Api {
    /// The hub has passed on so many bytes of a job's answer: sends more, if that is a file. `false`: it is none.
    pub(crate) fn file_taken(&self, serial: u64, bytes: u32) -> bool {
        let state = &self.state;
        let mut downloads = state.downloads.borrow_mut();
        let Some(download) = downloads.get_mut(&serial) else { return false };
        if download.taken(bytes, &mut |action| state.push(action)) {
            downloads.remove(&serial);
            state.end_job(serial);
        }
        true
    }

    /// The client of a job has left: ends its answer, if that is a file. `false`: it is none.
    pub(crate) fn file_gone(&self, serial: u64) -> bool {
        let state = &self.state;
        let Some(download) = state.downloads.borrow_mut().remove(&serial) else { return false };
        download.give_up(&mut |action| state.push(action));
        state.end_job(serial);
        true
    }

    /// Whether the answer of a job comes in pieces and has begun.
    pub(crate) fn is_begun(&self, serial: u64) -> bool {
        self.state.begun.borrow().contains(&serial)
    }
}
