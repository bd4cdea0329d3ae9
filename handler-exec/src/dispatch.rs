//! What waits for a process, and who gets it: requests go to the least busy instance, what concerns a connection to the
//! one that has it.

use crate::conns::{Conn, Conns};
use crate::hub::{Hub, WorkerError};
use crate::input;
use crate::instance::{Instance, Task};
use crate::output::{Answer, Output};
use crate::routes::{Routes, is_for_a_route};
use handler_core::worker::protocol::{Action, Open, Order};
use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

/// A request that waits for a process.
#[derive(Debug)]
struct Waiting {
    serial: u64,
    /// Its job's payload.
    job: Box<[u8]>,
    since: Instant,
}

/// Requests that wait, and the connections.
#[derive(Debug)]
pub(crate) struct Dispatch {
    queue: VecDeque<Waiting>,
    conns: Conns,
    /// The highest number of a request that any process was given.
    last_given: u64,
    /// Unanswered requests that one instance is given.
    at_once: usize,
}

impl Dispatch {
    pub(crate) fn new(at_once: u32) -> Self {
        let at_once = at_once.max(1) as usize;
        Self { queue: VecDeque::new(), conns: Conns::default(), last_given: 0, at_once }
    }

    /// Whether no request waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Since when the oldest request waits.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.queue.front().map(|waiting| waiting.since)
    }

    /// A request waits from now on.
    pub(crate) fn enqueue(&mut self, serial: u64, job: Box<[u8]>, now: Instant) {
        self.queue.push_back(Waiting { serial, job, since: now });
    }

    /// Requests of which a process that ended has read nothing wait again, before all others.
    pub(crate) fn enqueue_again(&mut self, unseen: Vec<(u64, Box<[u8]>)>, now: Instant) {
        for (serial, job) in unseen.into_iter().rev() {
            self.queue.push_front(Waiting { serial, job, since: now });
        }
    }

    /// Nobody waits for a request any more. What a process has begun is left to end.
    pub(crate) fn gone(&mut self, serial: u64, hub: &mut Hub) -> io::Result<()> {
        if let Some(at) = self.queue.iter().position(|waiting| waiting.serial == serial) {
            self.queue.remove(at);
            hub.skip(serial)?;
        }
        Ok(())
    }

    /// Forgets requests that have waited longer than `patience`, which the hub has answered itself by now: nobody waits
    /// for them any more, so they are not even begun.
    pub(crate) fn give_up_late(&mut self, patience: Duration, now: Instant) {
        while self.queue.front().is_some_and(|waiting| now >= waiting.since + patience) {
            self.queue.pop_front();
        }
    }

    /// Answers all requests that wait: no process will be there soon.
    pub(crate) fn send_away(&mut self, hub: &mut Hub) -> io::Result<()> {
        while let Some(waiting) = self.queue.pop_front() {
            if hub.begin(waiting.serial)? {
                hub.answer(waiting.serial, 503)?;
            }
        }
        Ok(())
    }

    /// Gives what waits to the instances that take it.
    pub(crate) fn give(
        &mut self,
        instances: &mut [Instance],
        routes: &Routes,
        hub: &mut Hub,
        now: Instant,
    ) -> Result<(), WorkerError> {
        if self.waits_for_routes(instances, routes, now) {
            return Ok(());
        }
        for number in 0..instances.len() {
            self.give_tasks(number, instances, routes, hub)?;
        }
        while let Some(number) = self.least_busy(instances) {
            let Some(Waiting { serial, job, .. }) = self.queue.pop_front() else { break };
            if !hub.begin(serial)? {
                continue;
            }
            let names = routes.names_of_job(&job);
            self.last_given = self.last_given.max(serial);
            instances[number].give(serial, job, now, |out, job| {
                input::request(out, job, names);
            });
        }
        Ok(())
    }

    /// Whether there is something to give that the program has to say first what it is for: the hub knows its routes
    /// and channels from the process before this one.
    fn waits_for_routes(&self, instances: &[Instance], routes: &Routes, now: Instant) -> bool {
        routes.are_awaited(now)
            && (self.queue.front().is_some_and(|waiting| is_for_a_route(&waiting.job))
                || instances.iter().any(|instance| !instance.tasks.is_empty()))
    }

    /// The instance with the fewest requests among those that take more.
    fn least_busy(&self, instances: &[Instance]) -> Option<usize> {
        if self.queue.is_empty() {
            return None;
        }
        let with_room = instances.iter().enumerate().filter(|(_, instance)| instance.has_room(self.at_once));
        with_room.min_by_key(|(_, instance)| instance.given.len()).map(|(number, _)| number)
    }

    /// A process answers a request.
    pub(crate) fn answer(
        &mut self,
        answer: Answer<'_>,
        instance: &mut Instance,
        hub: &mut Hub,
        now: Instant,
    ) -> io::Result<()> {
        let Answer { id, status, head, body } = answer;
        if instance.given.remove(&id).is_none() {
            let text = match id {
                id if id > self.last_given || id == 0 => format!("an answer to {id}, which was not asked"),
                _ => format!(
                    "an answer to {id}, for which nobody waits: it was answered before, or came too late"
                ),
            };
            return hub.complain(0, &text, now);
        }
        if let Some(running) = &mut instance.running {
            running.has_answered = true;
        }
        hub.act(&Action::Respond { serial: id, status, head: head.as_bytes(), body: &body })
    }

    /// Does what a process says of connections, rooms and the log.
    pub(crate) fn act(&mut self, order: Output<'_>, hub: &mut Hub, now: Instant) -> io::Result<()> {
        self.conns.act(order, hub, now)
    }

    /// A connection is this worker's from now on.
    pub(crate) fn open(&mut self, open: &Open<'_>, opening: Box<[u8]>, instances: &mut [Instance]) {
        self.forget(open.conn, instances);
        let busy = |instance: &Instance| (instance.running.is_none(), instance.conns, instance.given.len());
        let least = instances.iter().enumerate().min_by_key(|(_, instance)| busy(instance));
        let instance = least.map_or(0, |(number, _)| number);
        instances[instance].conns += 1;
        let name = String::from_utf8_lossy(open.name).into();
        let conn = Conn { name, instance, opening, data: open.data.into(), is_told: false };
        self.conns.insert(open.conn, conn);
    }

    /// Something for a connection, behind what its instance was given before.
    pub(crate) fn hand(&mut self, task: Task, instances: &mut [Instance], hub: &mut Hub) -> io::Result<()> {
        let Some(known) = self.conns.get(task.conn) else {
            // It was let go, and comes back as somebody's own.
            return hub.skip(task.serial);
        };
        instances[known.instance].tasks.push_back(task);
        Ok(())
    }

    /// Writes an instance's tasks as far as its process takes them.
    fn give_tasks(
        &mut self,
        number: usize,
        instances: &mut [Instance],
        routes: &Routes,
        hub: &mut Hub,
    ) -> Result<(), WorkerError> {
        loop {
            let instance = &mut instances[number];
            let Some(running) = instance.running.as_mut().filter(|running| running.has_room()) else {
                return Ok(());
            };
            let Some(task) = instance.tasks.pop_front() else { return Ok(()) };
            if !hub.begin(task.serial)? {
                if task.kind == Order::OPEN {
                    self.forget(task.conn, instances);
                }
                continue;
            }
            let Some(conn) = self.conns.get_mut(task.conn) else {
                hub.act(&Action::Done { serial: task.serial })?;
                continue;
            };
            match Order::read(task.kind, &task.payload)? {
                Order::Open(open) => {
                    let names = routes.names_of_channel(open.handler);
                    let resumed = open.resumed || !open.fresh;
                    running.put(|out| input::open(out, &open, names, &conn.data, resumed));
                    conn.is_told = true;
                }
                Order::Message { binary, payload, .. } => {
                    running.put(|out| input::message(out, &conn.name, binary, payload));
                }
                Order::Close { code, reason, .. } => {
                    running.put(|out| input::close(out, &conn.name, code, reason));
                    self.forget(task.conn, instances);
                }
                _ => {}
            }
            hub.act(&Action::Done { serial: task.serial })?;
        }
    }

    /// Tells an instance's new process of the connections that the one before it had.
    pub(crate) fn reopen(
        &self,
        number: usize,
        instance: &mut Instance,
        routes: &Routes,
    ) -> Result<(), WorkerError> {
        for conn in self.conns.of_instance(number) {
            let Some(conn) = self.conns.get(conn) else { continue };
            let Some(running) = &mut instance.running else { return Ok(()) };
            if let Order::Open(open) = Order::read(Order::OPEN, &conn.opening)? {
                let names = routes.names_of_channel(open.handler);
                running.put(|out| input::open(out, &open, names, &conn.data, true));
            }
        }
        Ok(())
    }

    /// A connection is another worker's from now on.
    pub(crate) fn let_go(&mut self, conn: u64, instances: &mut [Instance], hub: &mut Hub) -> io::Result<()> {
        let Some(known) = self.forget(conn, instances) else { return Ok(()) };
        let tasks = &mut instances[known.instance].tasks;
        let (its, others): (Vec<_>, Vec<_>) = tasks.drain(..).partition(|task| task.conn == conn);
        tasks.extend(others);
        for task in its {
            hub.skip(task.serial)?;
        }
        Ok(())
    }

    fn forget(&mut self, conn: u64, instances: &mut [Instance]) -> Option<Conn> {
        let known = self.conns.remove(conn)?;
        instances[known.instance].conns -= 1;
        Some(known)
    }
}
