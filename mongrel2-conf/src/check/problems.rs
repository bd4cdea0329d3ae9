//! The problems of one configuration, as they are collected.

use crate::check::invalid::{Invalid, Problem};
use crate::diagnostic::places::Place;

/// Problems in the order in which they were found.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<Problem>,
}

impl Problems {
    /// Adds a problem of a place as a whole.
    pub(crate) fn add(&mut self, place: Place, invalid: Invalid) {
        self.found.push(Problem { invalid, place, at: None, other: None });
    }

    /// Adds a problem of one character: `at` is its offset in the text of the place.
    pub(crate) fn add_at(&mut self, place: Place, at: usize, invalid: Invalid) {
        self.found.push(Problem { invalid, place, at: Some(at), other: None });
    }

    /// Adds a problem that two places have with each other; `what` says what the other one is.
    pub(crate) fn add_with(&mut self, place: Place, invalid: Invalid, other: Place, what: &'static str) {
        self.found.push(Problem { invalid, place, at: None, other: Some((other, what)) });
    }

    /// All that were added.
    pub(crate) fn into_found(self) -> Vec<Problem> {
        self.found
    }
}
