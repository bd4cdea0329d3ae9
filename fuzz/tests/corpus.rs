//! Every input that once led somewhere new still comes back as a value or an error.

#![allow(clippy::unwrap_used, reason = "tests")]

use fuzz::{TARGETS, corpus};

#[test]
fn inputs_that_were_kept_are_read_or_refused() {
    for target in TARGETS {
        let inputs = corpus::read(target).unwrap();
        assert!(inputs.len() > (target.seeds)().len(), "nothing is kept for {}", target.name);
        for (number, input) in inputs.iter().enumerate() {
            let told = Told { name: target.name, number };
            (target.check)(input);
            drop(told);
        }
    }
}

/// Names the input at which it went wrong.
struct Told {
    name: &'static str,
    number: usize,
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("that was input {} of {}", self.number, self.name);
        }
    }
}
