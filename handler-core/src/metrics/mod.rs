//! Numbers for operators, as series with labels, and the two forms in which they are read.
//!
//! Whoever counts has plain integers of its own, since one thread owns them all: no atomics, no locks, no registry. When
//! somebody asks they are gathered here as families, and [`text()`] writes those for Prometheus, [`rows()`] for the
//! console.
//!
//! A client library would turn this round: `prometheus-client` and `metrics` keep the numbers themselves, behind atomics
//! and locks for any number of threads, and each count would cost more than all that is done here. What is left, the text
//! format, is a page.

mod histogram;
mod rows;
mod text;

pub use histogram::Histogram;
pub use rows::rows;
pub use text::{CONTENT_TYPE, text};

use std::borrow::Cow;

/// What a family's numbers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They grow, and begin at 0 with the process.
    Counter,
    /// They go up and down.
    Gauge,
    /// They are [`Histogram`]s.
    Histogram,
}

/// A number of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// So many, or so many bytes.
    Count(u64),
    /// Seconds, say.
    Real(f64),
    /// Times.
    Times(&'a Histogram),
}

/// A series: what tells it from the others of its family, and its number now.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<'a> {
    /// Names and values, in the order in which they are shown.
    pub labels: Vec<(&'static str, Cow<'a, str>)>,
    /// The number.
    pub value: Value<'a>,
}

/// Series that count the same thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Family<'a> {
    /// `kennel_requests_total`, with its unit, as Prometheus wants it.
    pub name: &'static str,
    /// What is counted, in a line.
    pub help: &'static str,
    /// What its numbers do.
    pub kind: Kind,
    /// The series. Without any it is left out.
    pub samples: Vec<Sample<'a>>,
}

impl<'a> Family<'a> {
    /// A family without series.
    pub fn new(kind: Kind, name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind, samples: Vec::new() }
    }

    /// One whose numbers grow.
    pub fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Counter, name, help)
    }

    /// One whose numbers go up and down.
    pub fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Gauge, name, help)
    }

    /// Takes a series in.
    pub fn add<const N: usize>(&mut self, labels: [(&'static str, &'a str); N], value: Value<'a>) {
        let labels = labels.into_iter().map(|(name, value)| (name, Cow::Borrowed(value))).collect();
        self.samples.push(Sample { labels, value });
    }

    /// With one series that needs no labels.
    pub fn only(mut self, value: Value<'a>) -> Self {
        self.add([], value);
        self
    }

    /// With a series for each value of one label.
    pub fn by(
        mut self,
        label: &'static str,
        counts: impl IntoIterator<Item = (impl Into<Cow<'a, str>>, u64)>,
    ) -> Self {
        let sample = |(value, count): (_, u64)| Sample {
            labels: vec![(label, Into::into(value))],
            value: Value::Count(count),
        };
        self.samples.extend(counts.into_iter().map(sample));
        self
    }
}
