//! Rounds of chance, the same in every run.

use fastrand::Rng;

/// Runs `test` so many times with ever other chances, and says with which it failed.
pub(crate) fn try_all(usual: u64, mut test: impl FnMut(&mut Rng)) {
    struct Round(u64);
    impl Drop for Round {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("that was round {}", self.0);
            }
        }
    }
    let factor = std::env::var("KENNEL_FUZZ_ROUNDS").map_or(1, |text| text.parse().unwrap());
    for round in 0..usual * factor {
        let _round = Round(round);
        test(&mut Rng::with_seed(round));
    }
}

/// Bytes that mean something to one of the parsers.
const LETTERS: &[u8] = b"0123456789:,;=\"'\\{}[]()<>#~^!$@%&/?.-+ \t\r\n\0\x01\x7e\x7f\x80\x81\x88\xc3\xff";

fn letter(rng: &mut Rng) -> u8 {
    LETTERS[rng.usize(..LETTERS.len())]
}

/// Changes a few bytes: others, none, more, or a piece of somewhere else.
pub(crate) fn change(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.usize(1..5) {
        let at = rng.usize(..bytes.len() + 1);
        match rng.u8(..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
            1 if at < bytes.len() => bytes[at] = letter(rng),
            2 if at < bytes.len() => {
                let end = bytes.len().min(at + rng.usize(1..20));
                bytes.drain(at..end);
            }
            3 => bytes.truncate(at),
            4 => bytes.insert(at, letter(rng)),
            5 => {
                let from = rng.usize(..bytes.len() + 1);
                let piece = bytes[from..bytes.len().min(from + rng.usize(..60))].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let more: Vec<u8> = (0..rng.usize(..10)).map(|_| rng.u8(..)).collect();
                bytes.splice(at..at, more);
            }
        }
    }
}

pub(crate) fn anything(rng: &mut Rng, most: usize) -> Vec<u8> {
    let letters = rng.bool();
    (0..rng.usize(..most)).map(|_| if letters { letter(rng) } else { rng.u8(..) }).collect()
}
