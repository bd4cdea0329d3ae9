//! The `kennel` program under test and its module for Python, never outdated ones.
//!
//! `KENNEL_BIN` names the program, and the module is beside it. Without that they are those that belong to the test's
//! own build; cargo does not know that these tests need them, so they are built here when a source is newer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// The program's path.
///
/// # Panics
///
/// When there is none and it cannot be built.
pub fn kennel() -> &'static Path {
    // A failure is remembered too, so that each test says it and none tries again.
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = BINARY.get_or_init(|| match std::env::var_os("KENNEL_BIN") {
        Some(path) => fs::canonicalize(&path).map_err(|e| format!("KENNEL_BIN ({path:?}): {e}")),
        None => built(),
    });
    found.as_ref().unwrap_or_else(|problem| panic!("{problem}"))
}

fn built() -> Result<PathBuf, String> {
    let test = std::env::current_exe().expect("the test's own path");
    let profile = test
        .ancestors()
        .find(|folder| folder.ends_with("deps"))
        .and_then(Path::parent)
        .expect("a test lies in target/PROFILE/deps");
    let binary = profile.join("kennel");
    let module = profile.join("libkennel_python.so");
    if is_outdated(&binary) || is_outdated(&module) {
        build(profile)?;
    }
    Ok(binary)
}

/// Whether a source is newer, by the list that cargo leaves beside what it builds.
fn is_outdated(binary: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified());
    let (Ok(built), Ok(list)) = (changed(binary), fs::read_to_string(binary.with_extension("d"))) else {
        return true;
    };
    let Some((_, sources)) = list.split_once(": ") else { return true };
    let is_newer = |source: &str| {
        let source = source.replace("\\ ", " ");
        changed(Path::new(&source)).map_or(true, |changed: SystemTime| changed > built)
    };
    // A blank within a name is written `\ `.
    let mut rest = sources.trim();
    while !rest.is_empty() {
        let end = rest.match_indices(' ').find(|(at, _)| !rest[..*at].ends_with('\\'));
        let (source, after) = end.map_or((rest, ""), |(at, _)| (&rest[..at], &rest[at + 1..]));
        if is_newer(source) {
            return true;
        }
        rest = after;
    }
    false
}

fn build(profile: &Path) -> Result<(), String> {
    let name = profile.file_name().and_then(|name| name.to_str()).expect("a profile has a name");
    let name = if name == "debug" { "dev" } else { name };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let status = Command::new(cargo)
        .args(["build", "--quiet", "-p", "kennel", "-p", "handler-py", "--profile", name, "--manifest-path"])
        .arg(manifest)
        // `scripts/run-tests` sets it for test programs; cargo would build everything again.
        .env_remove("RUSTC_BOOTSTRAP")
        .status()
        .expect("cargo can be run");
    if status.success() { Ok(()) } else { Err("cargo could not build kennel".to_owned()) }
}
