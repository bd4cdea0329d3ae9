//! Live connections that are this worker's, by number and by name.

use rustc_hash::FxHashMap;

/// One of them.
#[derive(Debug)]
pub(crate) struct Conn {
    /// `conn.id`.
    pub name: Box<str>,
    /// Which copy of the program has it.
    pub copy: usize,
    /// The order that opened it.
    pub opening: Box<[u8]>,
    /// What is kept for it as JSON, or nothing.
    pub data: Box<[u8]>,
    /// The copy's process knows it.
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

    /// The numbers of a copy's connections that its process knows.
    pub(crate) fn of_copy(&self, copy: usize) -> Vec<u64> {
        let its = self.by_number.iter().filter(|(_, conn)| conn.copy == copy && conn.is_told);
        let mut numbers: Vec<_> = its.map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(name: &str, copy: usize, is_told: bool) -> Conn {
        Conn { name: name.into(), copy, opening: Box::default(), data: Box::default(), is_told }
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
            conns.of_copy(0),
            [3, 7],
            "a new process hears of those that the old one knew, oldest first"
        );
        assert!(conns.remove(7).is_some() && conns.remove(7).is_none());
        assert_eq!((conns.number("a"), conns.of_copy(0)), (None, vec![3]));
    }
}
