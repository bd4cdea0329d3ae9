//! Waiting for events, never for time: each wait ends with its event, or fails loudly.

use std::time::{Duration, Instant};

/// How long anything may take before a test fails. Far beyond what is needed, since the machine
/// may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks.
pub(crate) const STEP: Duration = Duration::from_millis(5);

/// Waits until `look` finds something.
///
/// # Panics
///
/// When it has not after [`PATIENCE`]; `what` says what was waited for.
pub fn until_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(STEP);
    }
}

/// Waits until `is_so` says yes.
///
/// # Panics
///
/// As [`until_some`].
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    until_some(what, || is_so().then_some(()));
}
