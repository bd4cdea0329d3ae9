//! Live connections that are this worker's, by number and by name, and what the program wants of them.

use crate::hub::Hub;
use crate::output::{self, Output};
use handler_core::worker::protocol::{Action, Level};
use rustc_hash::FxHashMap;
use std::io;
use std::time::Instant;

/// One of them.
#[derive(Debug)]
pub(crate) struct Conn {
    /// `conn.id`.
    pub name: Box<str>,
    /// Which instance of the program has it.
    pub instance: usize,
    /// The order that opened it.
    pub opening: Box<[u8]>,
    /// What is kept for it as JSON, or nothing.
    pub data: Box<[u8]>,
    /// The instance's process knows it.
    pub is_told: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Conns {
    by_number: FxHashMap<u64, Conn>,
    numbers: FxHashMap<Box<str>, u64>,
}

impl Conns {
    pub(crate) fn insert(&mut self, number: u64, conn: Conn) {
        self.numbers.insert(conn.name.clone(), number);
        self.by_number.insert(number, conn);
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Conn> {
        self.by_number.get(&number)
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut Conn> {
        self.by_number.get_mut(&number)
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<Conn> {
        let conn = self.by_number.remove(&number)?;
        self.numbers.remove(&conn.name);
        Some(conn)
    }

    /// The number of a connection of this name.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.numbers.get(name).copied()
    }

    /// The numbers of an instance's connections that its process knows.
    pub(crate) fn of_instance(&self, instance: usize) -> Vec<u64> {
        let its = self.by_number.iter().filter(|(_, conn)| conn.instance == instance && conn.is_told);
        let mut numbers: Vec<_> = its.map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Does what a line says that is no answer and says nothing of routes.
    pub(crate) fn act(&mut self, order: Output<'_>, hub: &mut Hub, now: Instant) -> io::Result<()> {
        match order {
            Output::Send { conn, message } => {
                if let Some(conn) = self.number_or_log(&conn, hub, now)? {
                    hub.act(&Action::Send { conn, binary: message.binary, payload: &message.bytes })?;
                }
            }
            Output::Join { conn, room } => {
                if let Some(conn) = self.number_or_log(&conn, hub, now)? {
                    hub.act(&Action::Join { conn, room: room.as_bytes() })?;
                }
            }
            Output::Leave { conn, room } => {
                if let Some(conn) = self.number_or_log(&conn, hub, now)? {
                    hub.act(&Action::Leave { conn, room: room.as_bytes() })?;
                }
            }
            Output::Publish { room, message, except } => {
                // Whoever is not here gets nothing anyway.
                let except = except.and_then(|except| self.number(&except)).unwrap_or(0);
                let (binary, room) = (message.binary, room.as_bytes());
                hub.act(&Action::Publish { except, binary, room, payload: &message.bytes })?;
            }
            Output::Close { conn, code, reason } => {
                if let Some(conn) = self.number_or_log(&conn, hub, now)? {
                    hub.act(&Action::CloseConn { conn, code, reason: reason.as_bytes() })?;
                }
            }
            Output::CloseRoom { room, code, reason } => {
                let (room, reason) = (room.as_bytes(), reason.as_bytes());
                hub.act(&Action::CloseRoom { code, room, reason })?;
            }
            Output::Data { conn, json } => {
                if let Some(conn) = self.number_or_log(&conn, hub, now)? {
                    hub.act(&Action::SetData { conn, json: json.as_bytes() })?;
                    if let Some(conn) = self.get_mut(conn) {
                        conn.data = json.as_bytes().into();
                    }
                }
            }
            Output::Log { level, text } => hub.pass_on(level, text.as_bytes(), now)?,
            Output::Answer(_) | Output::Routes(_) => {}
        }
        Ok(())
    }

    /// The number of a connection of this name; one that is closed by now is nothing to wonder about.
    fn number_or_log(&self, name: &str, hub: &mut Hub, now: Instant) -> io::Result<Option<u64>> {
        let number = self.number(name);
        if number.is_none() {
            let name = output::shown(name.as_bytes());
            let text = format!("connection {name} is closed, or another worker's: nothing is done with it");
            hub.pass_on(Level::Debug, text.as_bytes(), now)?;
        }
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(name: &str, instance: usize, is_told: bool) -> Conn {
        Conn { name: name.into(), instance, opening: Box::default(), data: Box::default(), is_told }
    }

    #[test]
    fn connections_are_found_by_name_until_they_go() {
        let mut conns = Conns::default();
        conns.insert(7, conn("a", 0, true));
        conns.insert(3, conn("b", 0, true));
        conns.insert(5, conn("c", 1, true));
        conns.insert(6, conn("d", 0, false));
        assert_eq!((conns.number("a"), conns.number("x")), (Some(7), None));
        assert_eq!(
            conns.of_instance(0),
            [3, 7],
            "a new process hears of those that the old one knew, oldest first"
        );
        assert!(conns.remove(7).is_some() && conns.remove(7).is_none());
        assert_eq!((conns.number("a"), conns.of_instance(0)), (None, vec![3]));
    }
}
