//! What processes say: lines of their standard output are obeyed, those of their standard error are logged.

use crate::instance::Running;
use crate::lines::Lines;
use crate::output::{self, Answer, Output, OutputError};
use crate::program::Piped;
use crate::worker::{Stage, Worker, WorkerError};
use handler_core::worker::protocol::{Action, Level};
use std::time::Instant;

/// Reads of one pipe before it is others' turn.
const READS: usize = 4;

impl Worker {
    /// Reads what a copy's process has written. `false`: nothing can be heard of it any more.
    pub(crate) fn hear(&mut self, number: usize, now: Instant) -> Result<bool, WorkerError> {
        for _ in 0..READS {
            match self.hear_once(number, now)? {
                Piped::Bytes(count) if count == self.buffer.len() => {}
                Piped::Bytes(_) | Piped::Later => return Ok(true),
                Piped::End => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Reads once.
    pub(crate) fn hear_once(&mut self, number: usize, now: Instant) -> Result<Piped, WorkerError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self.hear_into(&mut buffer, number, now);
        self.buffer = buffer;
        result
    }

    fn hear_into(&mut self, buffer: &mut [u8], number: usize, now: Instant) -> Result<Piped, WorkerError> {
        let Some(running) = &mut self.copies[number].running else { return Ok(Piped::Later) };
        let piped = running.process.read(buffer);
        let Piped::Bytes(count) = piped else { return Ok(piped) };
        // To obey a line needs all of the worker.
        let mut lines = std::mem::replace(&mut running.lines, Lines::new(0));
        let mut result = Ok(());
        let taken = lines.take(&buffer[..count], |line| {
            if result.is_ok() {
                result = self.obey_line(number, line, now);
            }
        });
        if let Some(running) = &mut self.copies[number].running {
            running.lines = lines;
        }
        result?;
        if taken.is_err() {
            let most = self.settings.line;
            let text = format!("a line of more than {most} bytes (limits.exec_line): its process is killed");
            self.hub.complain(0, &text, now)?;
            if let Some(running) = &mut self.copies[number].running {
                running.lines = Lines::new(most);
                running.process.stdout = None;
            }
            return Ok(Piped::End);
        }
        Ok(piped)
    }

    /// Reads what a copy's process has written to its standard error.
    pub(crate) fn hear_errors(&mut self, number: usize, now: Instant) -> Result<(), WorkerError> {
        for _ in 0..READS {
            let Some(running) = &mut self.copies[number].running else { return Ok(()) };
            let Piped::Bytes(count) = running.process.read_errors(&mut self.buffer) else { return Ok(()) };
            let Running { errors, last_error, .. } = running;
            let (hub, mut result) = (&mut self.hub, Ok(()));
            errors.take_cut(&self.buffer[..count], |line| {
                if !line.trim_ascii().is_empty() {
                    *last_error = String::from_utf8_lossy(line).into_owned();
                }
                if result.is_ok() {
                    result = hub.pass_on(Level::Info, line, now);
                }
            });
            result?;
            if count < self.buffer.len() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn obey_line(&mut self, number: usize, line: &[u8], now: Instant) -> Result<(), WorkerError> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let Some(running) = &mut self.copies[number].running else { return Ok(()) };
        let is_first = running.heard.replace(now).is_none();
        let since = running.since;
        let said = output::read(line);
        if let (Stage::Loading { .. }, 0) = (self.stage, number) {
            let declared = match &said {
                Ok(Output::Routes(declared)) => Some(declared),
                _ => None,
            };
            // Whatever else it says first, it may still say what it answers to.
            self.finish_loading(declared, matches!(said, Ok(Output::Answer(_))), now)?;
            if declared.is_some() {
                return Ok(());
            }
        }
        match said {
            Ok(Output::Answer(answer)) => {
                self.undeclared = None;
                self.answer(number, answer, now)
            }
            Ok(Output::Routes(declared)) if self.undeclared.is_some_and(|until| now < until) => {
                self.declare_late(&declared, now)
            }
            Ok(Output::Routes(declared)) if is_first => {
                let late = now.saturating_duration_since(since);
                self.compare(&declared, late.as_millis(), now)
            }
            Ok(Output::Routes(_)) => {
                let text = "a routes line is left out: it counts once, before the program's first answer";
                Ok(self.hub.complain(0, text, now)?)
            }
            Ok(order) => self.act(order, now),
            Err(OutputError { id, problem }) => {
                let known = id.filter(|id| self.copies[number].given.remove(id).is_some());
                self.hub.complain(known.unwrap_or(0), &problem.to_string(), now)?;
                if let Some(id) = known {
                    self.hub.answer_bad(id)?;
                }
                Ok(())
            }
        }
    }

    fn answer(&mut self, number: usize, answer: Answer<'_>, now: Instant) -> Result<(), WorkerError> {
        let Answer { id, status, head, body } = answer;
        if self.copies[number].given.remove(&id).is_none() {
            let text = match id {
                id if id > self.last_given || id == 0 => format!("an answer to {id}, which was not asked"),
                _ => format!(
                    "an answer to {id}, for which nobody waits: it was answered before, or came too late"
                ),
            };
            return Ok(self.hub.complain(0, &text, now)?);
        }
        if let Some(running) = &mut self.copies[number].running {
            running.has_answered = true;
        }
        self.hub.act(&Action::Respond { serial: id, status, head: head.as_bytes(), body: &body })?;
        Ok(())
    }

    /// Does what a line says.
    fn act(&mut self, order: Output<'_>, now: Instant) -> Result<(), WorkerError> {
        match order {
            Output::Send { conn, message } => {
                if let Some(conn) = self.number_of(&conn, now)? {
                    self.hub.act(&Action::Send { conn, binary: message.binary, payload: &message.bytes })?;
                }
            }
            Output::Join { conn, room } => {
                if let Some(conn) = self.number_of(&conn, now)? {
                    self.hub.act(&Action::Join { conn, room: room.as_bytes() })?;
                }
            }
            Output::Leave { conn, room } => {
                if let Some(conn) = self.number_of(&conn, now)? {
                    self.hub.act(&Action::Leave { conn, room: room.as_bytes() })?;
                }
            }
            Output::Publish { room, message, except } => {
                // Whoever is not here gets nothing anyway.
                let except = except.and_then(|except| self.conns.number(&except)).unwrap_or(0);
                let (binary, room) = (message.binary, room.as_bytes());
                self.hub.act(&Action::Publish { except, binary, room, payload: &message.bytes })?;
            }
            Output::Close { conn, code, reason } => {
                if let Some(conn) = self.number_of(&conn, now)? {
                    self.hub.act(&Action::CloseConn { conn, code, reason: reason.as_bytes() })?;
                }
            }
            Output::CloseRoom { room, code, reason } => {
                let (room, reason) = (room.as_bytes(), reason.as_bytes());
                self.hub.act(&Action::CloseRoom { code, room, reason })?;
            }
            Output::Data { conn, json } => {
                if let Some(conn) = self.number_of(&conn, now)? {
                    self.hub.act(&Action::SetData { conn, json: json.as_bytes() })?;
                    if let Some(conn) = self.conns.get_mut(conn) {
                        conn.data = json.as_bytes().into();
                    }
                }
            }
            Output::Log { level, text } => self.hub.pass_on(level, text.as_bytes(), now)?,
            Output::Answer(_) | Output::Routes(_) => {}
        }
        Ok(())
    }

    /// The number of a connection of this name; one that is closed by now is nothing to wonder about.
    fn number_of(&mut self, name: &str, now: Instant) -> Result<Option<u64>, WorkerError> {
        let number = self.conns.number(name);
        if number.is_none() {
            let name = output::shown(name.as_bytes());
            let text = format!("connection {name} is closed, or another worker's: nothing is done with it");
            self.hub.pass_on(Level::Debug, text.as_bytes(), now)?;
        }
        Ok(number)
    }
}
