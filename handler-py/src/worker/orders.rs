//! What the hub orders, as calls of Python.
//!
//! What every request and every message pass is here: taking the order, making the request, calling the handler,
//! answering with what it returned. Everything rarer is a call into the package.

use crate::http::raw::message;
use crate::http::request::Request;
use crate::http::response::{self, Sent};
use crate::http::stream::PyJob;
use crate::link::is_work;
use crate::link::job::Job;
use crate::text::text;
use crate::worker::app::Kind;
use crate::worker::state::WorkerState;
use handler_core::worker::protocol::{Action, FRAME_HEAD, Handler, Open, Order, ProtocolError, encode_job};
use handler_core::worker::reader::BodyReader;
use kennel_http::percent;
use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use std::sync::Arc;

/// The hub is of another version.
pub(crate) fn not_understood(problem: &ProtocolError) -> PyErr {
    PyRuntimeError::new_err(format!("the hub is not understood: {problem}"))
}

impl WorkerState {
    /// Does all that was ordered and sends what came of it.
    pub(crate) fn obey(&self, py: Python<'_>) -> PyResult<()> {
        self.link.set_in_turn(true);
        let result = self.obey_orders(py);
        self.link.set_in_turn(false);
        result?;
        self.flush()
    }

    /// Does all that was ordered.
    pub(crate) fn obey_orders(&self, py: Python<'_>) -> PyResult<()> {
        loop {
            match self.link.peek_kind() {
                None => return Ok(()),
                Some(kind) if is_work(kind) => self.work(py)?,
                Some(_) => self.obey_rare(py)?,
            }
        }
    }

    /// Takes the next order, a job or a message.
    fn work(&self, py: Python<'_>) -> PyResult<()> {
        enum Work {
            Job(Arc<Job>, Handler),
            Message { serial: u64, conn: u64, payload: Py<PyAny> },
        }
        let taken = self.link.next_order(|kind, payload| match Order::read(kind, payload) {
            Ok(Order::Job { serial, handler, .. }) => {
                Ok(Some(Work::Job(Arc::new(Job::new(Arc::clone(&self.link), serial, payload)), handler)))
            }
            Ok(Order::Message { serial, conn, binary, payload }) => {
                let payload = match binary {
                    true => PyBytes::new(py, payload).into_any().unbind(),
                    false => text(py, payload).into_any().unbind(),
                };
                Ok(Some(Work::Message { serial, conn, payload }))
            }
            Ok(_) => Ok(None),
            Err(problem) => Err(not_understood(&problem)),
        });
        match taken.transpose()?.flatten() {
            None => Ok(()),
            Some(Work::Job(job, handler)) => {
                if self.app()?.entry(handler).is_some_and(|entry| entry.kind.is_threaded()) {
                    self.pool.push(job, &self.link);
                    return Ok(());
                }
                if !self.link.begin(job.serial) {
                    return Ok(());
                }
                let serial = job.serial;
                self.link.script_begins(serial);
                let result = self.run_job_as(py, job, handler);
                self.link.script_ends();
                self.check_fork();
                result
            }
            Some(Work::Message { serial, conn, payload }) => {
                if !self.link.begin(serial) {
                    return Ok(());
                }
                self.link.script_begins(serial);
                let result = self.run_message(py, serial, conn, payload);
                self.link.script_ends();
                self.check_fork();
                result
            }
        }
    }

    pub(crate) fn run_job(&self, py: Python<'_>, job: Arc<Job>) -> PyResult<()> {
        let handler = job.handler();
        self.run_job_as(py, job, handler)
    }

    fn run_job_as(&self, py: Python<'_>, job: Arc<Job>, handler: Handler) -> PyResult<()> {
        let app = self.app()?;
        let serial = job.serial;
        let Some(entry) = app.entry(handler) else {
            if handler == Handler::Raw {
                app.raw.call1(py, (message(py, &job)?,))?;
            }
            // Nothing registered has this number: the hub made it up.
            self.link.end(py, serial, &Action::Done { serial });
            return Ok(());
        };
        let number = match handler {
            Handler::Route(number) => i64::from(number),
            _ => -1,
        };
        if matches!(entry.kind, Kind::Job | Kind::ThreadedJob) {
            let job = Bound::new(py, PyJob::watched(job))?;
            return match entry.function.call1(py, (&job,)) {
                Ok(_) => Ok(()),
                Err(problem) => self.failed(py, job.into_any(), number, problem),
            };
        }
        let mut params = job.params().peekable();
        let (request, called) = if params.peek().is_none() {
            drop(params);
            let request = Bound::new(py, Request::new(job, None))?;
            let called = entry.function.bind(py).call1((&request,));
            (request, called)
        } else if !matches!(handler, Handler::Route(_)) {
            // The methods that the path knows.
            let allow = params.next().map(|value| text(py, value));
            drop(params);
            let request = Bound::new(py, Request::new(job, None))?;
            let called = entry.function.bind(py).call1((&request, allow));
            (request, called)
        } else {
            let values = PyDict::new(py);
            for (name, value) in entry.names.iter().zip(params) {
                values.set_item(name, text(py, &percent::decode(value, false)))?;
            }
            let keywords = values.copy()?;
            let request = Bound::new(py, Request::new(job, Some(values.unbind())))?;
            let called = entry.function.bind(py).call((&request,), Some(&keywords));
            (request, called)
        };
        let value = match called {
            Ok(coroutine) if entry.kind == Kind::Coroutine => {
                let context = app.copy_context.bind(py).call0()?;
                let send = coroutine.getattr(intern!(py, "send"))?;
                match context.call_method1(intern!(py, "run"), (send, py.None())) {
                    Ok(yielded) => {
                        app.carry.call1(py, (&request, number, coroutine, context, yielded))?;
                        return Ok(());
                    }
                    Err(stop) if stop.is_instance_of::<PyStopIteration>(py) => {
                        stop.value(py).getattr(intern!(py, "value"))?
                    }
                    Err(problem) => return self.failed(py, request.into_any(), number, problem),
                }
            }
            Ok(value) => value,
            Err(problem) => return self.failed(py, request.into_any(), number, problem),
        };
        if request.get().has_session() {
            app.finish.call1(py, (request, number, value))?;
            return Ok(());
        }
        match response::send(py, &request.get().job, &value, &app.to_json, app.compress) {
            Ok(Sent::Yes) => Ok(()),
            Ok(Sent::NotPlain) => {
                app.finish.call1(py, (request, number, value))?;
                Ok(())
            }
            Err(problem) => self.failed(py, request.into_any(), number, problem),
        }
    }

    fn failed(&self, py: Python<'_>, request: Bound<'_, PyAny>, number: i64, problem: PyErr) -> PyResult<()> {
        self.app()?.failed.call1(py, (request, number, problem.into_value(py)))?;
        Ok(())
    }

    fn run_message(&self, py: Python<'_>, serial: u64, number: u64, payload: Py<PyAny>) -> PyResult<()> {
        let slot = self.slot(number);
        let app = self.app()?;
        let Some(slot) = slot.filter(|slot| !slot.conn.get().is_busy()) else {
            app.message.call1(py, (number, serial, payload))?;
            return Ok(());
        };
        if slot.conn.get().is_open()
            && let Err(problem) = slot.callback.call1(py, (&slot.conn, payload))
        {
            app.message_failed.call1(py, (&slot.conn, problem.into_value(py)))?;
        }
        self.link.end(py, serial, &Action::Done { serial });
        Ok(())
    }

    /// Takes the next order, which is neither job nor message.
    fn obey_rare(&self, py: Python<'_>) -> PyResult<()> {
        let Some((kind, payload)) = self.link.next_order(|kind, payload| (kind, payload.to_vec())) else {
            return Ok(());
        };
        let order = Order::read(kind, &payload).map_err(|problem| not_understood(&problem))?;
        let app = self.app()?;
        match order {
            Order::Lead => drop(app.lead.call0(py)?),
            Order::Stop { work, hooks } => {
                self.set_stopping(work, hooks);
                app.stop.call0(py)?;
            }
            Order::Open(open) => {
                if self.link.begin(open.serial) {
                    self.link.script_begins(open.serial);
                    let result = self.open(py, &open);
                    self.link.script_ends();
                    self.check_fork();
                    result?;
                }
            }
            Order::Close { serial, conn, code, reason } => {
                if self.link.begin(serial) {
                    self.link.script_begins(serial);
                    let result = app.close.call1(py, (conn, serial, code, text(py, reason)));
                    self.link.script_ends();
                    self.check_fork();
                    result?;
                }
            }
            Order::Detach { conn } => drop(app.detach.call1(py, (conn,))?),
            Order::Taken { serial, bytes } => {
                if self.link.file_taken(py, serial, bytes) {
                    return Ok(());
                }
                if let Some(flow) = self.link.known_flow(serial)
                    && let Some(watcher) = flow.taken(py, bytes as usize)
                {
                    watcher.call0(py)?;
                }
            }
            Order::Gone { serial } => {
                if self.link.file_gone(py, serial) {
                    return Ok(());
                }
                if let Some(flow) = self.link.known_flow(serial) {
                    for watcher in flow.gone(py).into_iter().flatten() {
                        watcher.call0(py)?;
                    }
                }
            }
            Order::Evaluate { query, code } => drop(app.evaluate.call1(py, (query, text(py, code)))?),
            Order::Answer { query, json } => self.link.give_answer(query, json),
            Order::Part { serial, last, bytes } => {
                self.tell_reader(py, serial, |reader| reader.handle_part(bytes, last))?;
            }
            Order::Grown { serial, whole, size } => {
                self.tell_reader(py, serial, |reader| reader.handle_grown(size, whole))?;
            }
            Order::Start(_) | Order::Job { .. } | Order::Message { .. } => {}
        }
        Ok(())
    }

    /// The hub says something about a body that is being read.
    fn tell_reader(&self, py: Python<'_>, serial: u64, tell: impl FnOnce(&mut BodyReader)) -> PyResult<()> {
        let watcher = self.link.known_flow(serial).and_then(|flow| flow.tell_reader(py, tell));
        watcher.map_or(Ok(()), |watcher| watcher.call0(py).map(drop))
    }

    fn open(&self, py: Python<'_>, open: &Open<'_>) -> PyResult<()> {
        // The opening message as a job, which is what requests hold.
        let mut frame = Vec::with_capacity(open.message.len() + open.name.len() + 64);
        let name = String::from_utf8_lossy(open.name);
        encode_job(
            &mut frame,
            open.serial,
            Handler::Route(open.handler),
            &name,
            open.params,
            b"",
            open.message,
        );
        let job = Job::new(Arc::clone(&self.link), open.serial, &frame[FRAME_HEAD..]);
        let request = Bound::new(py, Request::new(Arc::new(job), None))?;
        let rooms = PyList::new(py, open.rooms.map(|room| text(py, room)).collect::<Vec<_>>())?;
        let values: Vec<_> = open.params.map(|value| text(py, &percent::decode(value, false))).collect();
        let arguments = PyTuple::new(
            py,
            [
                open.handler.into_pyobject(py)?.into_any(),
                open.serial.into_pyobject(py)?.into_any(),
                open.conn.into_pyobject(py)?.into_any(),
                open.fresh.into_pyobject(py)?.to_owned().into_any(),
                open.resumed.into_pyobject(py)?.to_owned().into_any(),
                open.asked.into_pyobject(py)?.to_owned().into_any(),
                text(py, open.name).into_any(),
                PyString::new(py, open.transport).into_any(),
                text(py, open.data).into_any(),
                rooms.into_any(),
                PyList::new(py, values)?.into_any(),
                request.into_any(),
            ],
        )?;
        self.app()?.open.call1(py, arguments)?;
        Ok(())
    }
}
