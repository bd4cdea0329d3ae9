//! What processes are given: requests to the least busy one, and to each what concerns its connections.

use crate::conns::Conn;
use crate::input;
use crate::instance::{Instance, Task};
use crate::worker::{Waiting, Worker, WorkerError};
use handler_core::worker::protocol::{Action, Handler, Open, Order};
use std::time::Instant;

impl Worker {
    /// Gives what waits to whoever takes it.
    pub(crate) fn give_what_waits(&mut self, now: Instant) -> Result<(), WorkerError> {
        let waits = self.waits_for_routes(now);
        for number in (0..self.copies.len()).filter(|_| !waits) {
            self.give_tasks(number)?;
        }
        while !waits && let Some(copy) = self.least_busy() {
            let Some(Waiting { serial, job, .. }) = self.queue.pop_front() else { break };
            if !self.hub.begin(serial)? {
                continue;
            }
            let names = match Order::read_job(&job) {
                Ok(Order::Job { handler, .. }) => self.registered.names_of(handler),
                _ => &[],
            };
            self.last_given = self.last_given.max(serial);
            self.copies[copy].give(serial, job, now, |out, job| {
                input::request(out, job, names);
            });
        }
        Ok(())
    }

    /// Whether there is something to give that the program has to say first what it is for: the hub knows its routes
    /// and channels from the process before this one.
    fn waits_for_routes(&self, now: Instant) -> bool {
        let is_route = |waiting: &Waiting| {
            matches!(Order::read_job(&waiting.job), Ok(Order::Job { handler: Handler::Route(_), .. }))
        };
        self.undeclared.is_some_and(|until| now < until)
            && (self.queue.front().is_some_and(is_route)
                || self.copies.iter().any(|copy| !copy.tasks.is_empty()))
    }

    /// The process with the fewest requests among those that take more.
    fn least_busy(&self) -> Option<usize> {
        if self.queue.is_empty() {
            return None;
        }
        let at_once = self.settings.at_once.max(1) as usize;
        let with_room = self.copies.iter().enumerate().filter(|(_, copy)| copy.has_room(at_once));
        with_room.min_by_key(|(_, copy)| copy.given.len()).map(|(number, _)| number)
    }

    /// A connection is this worker's from now on.
    pub(crate) fn take_in(&mut self, open: &Open<'_>, opening: Box<[u8]>) {
        self.forget(open.conn);
        let busy = |copy: &Instance| (copy.running.is_none(), copy.conns, copy.given.len());
        let copy = self.copies.iter().enumerate().min_by_key(|(_, copy)| busy(copy));
        let copy = copy.map_or(0, |(number, _)| number);
        self.copies[copy].conns += 1;
        let name = String::from_utf8_lossy(open.name).into();
        self.conns.insert(open.conn, Conn { name, copy, opening, data: open.data.into(), is_told: false });
    }

    /// Something for a connection, behind what its copy was given before.
    pub(crate) fn hand_task(
        &mut self,
        serial: u64,
        conn: u64,
        kind: u8,
        payload: Box<[u8]>,
    ) -> Result<(), WorkerError> {
        let Some(known) = self.conns.get(conn) else {
            // It was let go, and comes back as somebody's own.
            self.hub.skip(serial)?;
            return Ok(());
        };
        self.copies[known.copy].tasks.push_back(Task { serial, conn, kind, payload });
        Ok(())
    }

    /// Writes a copy's tasks as far as its process takes them.
    fn give_tasks(&mut self, number: usize) -> Result<(), WorkerError> {
        loop {
            let copy = &mut self.copies[number];
            let Some(running) = copy.running.as_mut().filter(|running| running.has_room()) else {
                return Ok(());
            };
            let Some(task) = copy.tasks.pop_front() else { return Ok(()) };
            if !self.hub.begin(task.serial)? {
                if task.kind == Order::OPEN {
                    self.forget(task.conn);
                }
                continue;
            }
            let registered = &self.registered;
            let Some(conn) = self.conns.get_mut(task.conn) else {
                self.hub.act(&Action::Done { serial: task.serial })?;
                continue;
            };
            match Order::read(task.kind, &task.payload)? {
                Order::Open(open) => {
                    let names = registered.names_of_channel(open.handler);
                    let resumed = open.resumed || !open.fresh;
                    running.put(|out| input::open(out, &open, names, &conn.data, resumed));
                    conn.is_told = true;
                }
                Order::Message { binary, payload, .. } => {
                    running.put(|out| input::message(out, &conn.name, binary, payload));
                }
                Order::Close { code, reason, .. } => {
                    running.put(|out| input::close(out, &conn.name, code, reason));
                    self.forget(task.conn);
                }
                _ => {}
            }
            self.hub.act(&Action::Done { serial: task.serial })?;
        }
    }

    /// Tells a copy's new process of the connections that the one before it had.
    pub(crate) fn reopen(&mut self, number: usize) -> Result<(), WorkerError> {
        for conn in self.conns.of_copy(number) {
            let Some(conn) = self.conns.get(conn) else { continue };
            let Some(running) = &mut self.copies[number].running else { return Ok(()) };
            if let Order::Open(open) = Order::read(Order::OPEN, &conn.opening)? {
                let names = self.registered.names_of_channel(open.handler);
                running.put(|out| input::open(out, &open, names, &conn.data, true));
            }
        }
        Ok(())
    }

    /// A connection is another worker's from now on.
    pub(crate) fn let_go(&mut self, conn: u64) -> Result<(), WorkerError> {
        let Some(known) = self.forget(conn) else { return Ok(()) };
        let tasks = &mut self.copies[known.copy].tasks;
        let (its, others): (Vec<_>, Vec<_>) = tasks.drain(..).partition(|task| task.conn == conn);
        tasks.extend(others);
        for task in its {
            self.hub.skip(task.serial)?;
        }
        Ok(())
    }

    fn forget(&mut self, conn: u64) -> Option<Conn> {
        let known = self.conns.remove(conn)?;
        self.copies[known.copy].conns -= 1;
        Some(known)
    }
}
