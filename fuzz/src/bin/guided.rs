//! Looks for inputs that reach new code of the target named by `KENNEL_FUZZ_TARGET`; `scripts/fuzz` starts it.

#![no_main]

use fuzz::Target;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("KENNEL_FUZZ_TARGET").unwrap_or_default();
    fuzz::target(&name).unwrap_or_else(|| panic!("KENNEL_FUZZ_TARGET `{name}` is no target"))
});

fuzz_target!(|bytes: &[u8]| (TARGET.check)(bytes));
