//! What reads bytes from outside, each as a target for chance: whatever the bytes are, a value or an error comes
//! back, within bounds, and never a panic.
//!
//! [`TARGETS`] lists them. `tests/corpus.rs` tries the inputs that were kept, in every `make test`;
//! `scripts/fuzz` looks for new ones, led by which code they reach, and keeps those that got further; `tests/anything`
//! changes sound inputs by chance, and plays with hub and sessions, by what else is public here.

pub mod bosh;
mod configuration;
pub mod corpus;
mod front;
pub mod talk;
pub mod web;
pub mod wire;
pub mod work;

/// One parser, or a few that read the same bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, that of its corpus too.
    pub name: &'static str,
    /// Reads the bytes. Panics when what must hold does not.
    pub check: fn(&[u8]),
    /// Sound inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    wire::MESSAGE,
    wire::HEADERS,
    wire::TNETSTRING,
    wire::PEER,
    talk::FRAMES,
    talk::SESSION,
    talk::INFLATE,
    talk::HANDSHAKE,
    talk::FIELDS,
    bosh::BOSH,
    bosh::BOSH_SESSION,
    web::MULTIPART,
    web::FILES,
    work::ORDERS,
    work::CONSOLE,
    work::HUB,
    configuration::CONFIGURATION,
    configuration::PATTERN,
    configuration::CONTROL,
    front::FRONT_HEADS,
    front::FRONT_BODIES,
    front::FRONT_FRAMES,
    front::FRONT_SOCKETS,
    front::FRONT_REPLIES,
    front::FRONT,
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Takes numbers off the front of an input that decides how the rest is read.
#[derive(Debug)]
struct Chooser<'a>(&'a [u8]);

impl<'a> Chooser<'a> {
    /// The next byte, 0 at the end.
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// So many of the next bytes as the next byte says.
    fn bytes(&mut self) -> &'a [u8] {
        let size = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(size);
        self.0 = rest;
        bytes
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
