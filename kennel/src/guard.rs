//! The guard of a Mongrel2: the library that keeps it from writing one client's bytes to another client.
//!
//! `mongrel2_guard` has the library. This module decides which file of it a Mongrel2 that Kennel starts is given, and says
//! what it means when there is none.

use mongrel2_conf::deployed::is_front;
use mongrel2_guard::{FILE_NAME, Presence, VARIABLE, can_preload, find, presence, write};
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tracing::{info, warn};

/// With the value `off`, the Mongrel2 that Kennel starts is not guarded: for measurements.
pub(crate) const SWITCH: &str = "KENNEL_GUARD";

/// What a Mongrel2 without the guard does.
pub(crate) const DANGER: &str = "when a client leaves while mongrel2 writes to it, mongrel2 may write the rest to the \
                                 client that connects next";

/// The guard's file, for a Mongrel2 that Kennel starts; or why there is none.
///
/// The file beside the program is taken. If there is none that can be preloaded, a new one is written to `folder`.
pub(crate) fn library(folder: Option<&Path>) -> Result<PathBuf, String> {
    if std::env::var_os(SWITCH).is_some_and(|value| value == "off") {
        return Err(format!("{SWITCH} is `off`"));
    }
    if let Some(file) = find().filter(|file| can_preload(file)) {
        return Ok(file);
    }
    let Some(folder) = folder else {
        return Err(format!(
            "there is no {FILE_NAME} beside the program or in ../lib/kennel (without blanks and colons in its path)"
        ));
    };
    let file = folder.join(FILE_NAME);
    if !can_preload(&file) {
        return Err(format!("the path {} has a blank or a colon", file.display()));
    }
    let private = |()| fs::set_permissions(&file, Permissions::from_mode(0o600));
    write(&file)
        .and_then(private)
        .map_err(|problem| format!("cannot write {}: {problem}", file.display()))?;
    Ok(file)
}

/// Preloads the library into a command's program, beside what the user preloads.
pub(crate) fn preload(command: &mut Command, library: &Path) {
    command.env(VARIABLE, value(library));
}

/// The same as a word of a shell's: `LD_PRELOAD=...`.
pub(crate) fn assignment(library: &Path) -> OsString {
    let mut word = OsString::from(format!("{VARIABLE}="));
    word.push(value(library));
    word
}

fn value(library: &Path) -> OsString {
    mongrel2_guard::preload(library, std::env::var_os(VARIABLE).as_deref())
}

/// Warns when the Mongrel2 that Kennel has started is not guarded. `why` says what is known of the reason.
pub(crate) fn warn_about_own(pid: u32, why: Option<&str>) {
    let reason = why.unwrap_or(
        "the dynamic linker ignored LD_PRELOAD; does mongrel2 have file capabilities, or is it static?",
    );
    match presence(pid) {
        // A process that has ended meanwhile is started again.
        Presence::Loaded | Presence::Unknown(ErrorKind::NotFound) => {}
        Presence::Absent => {
            warn!("mongrel2 runs without its guard ({reason}): {DANGER}; see docs/deploying.md")
        }
        Presence::Unknown(problem) => {
            warn!(
                "cannot see whether mongrel2 has its guard ({problem}). Without it, {DANGER}; see docs/deploying.md"
            );
        }
    }
}

/// Says at the start what is known about the guard of a Mongrel2 that somebody else has started; nothing about a front, which
/// needs none. `what` names the server.
pub(crate) fn tell_about_other(what: &str, pid: Option<u32>) {
    if pid.is_some_and(|pid| is_front(pid.cast_signed())) {
        return;
    }
    match pid.map(presence) {
        Some(Presence::Loaded) => {}
        Some(Presence::Absent) => warn!(
            process = pid,
            "the mongrel2 of {what} runs without the guard: {DANGER}; `kennel guard` says how to preload it"
        ),
        Some(Presence::Unknown(problem)) => info!(
            process = pid,
            "cannot see whether the mongrel2 of {what} has the guard ({}); `kennel guard` says how to preload it",
            in_words(problem)
        ),
        None => info!(
            "cannot see whether the mongrel2 of {what} has the guard, since its process is not known; \
             `kennel guard` says how to preload it"
        ),
    }
}

/// Why the system does not tell, in a few words.
pub(crate) fn in_words(problem: ErrorKind) -> String {
    match problem {
        ErrorKind::PermissionDenied => "this user may not look into the process".to_owned(),
        ErrorKind::NotFound => "there is no such process here".to_owned(),
        other => other.to_string(),
    }
}
