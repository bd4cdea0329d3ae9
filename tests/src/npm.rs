//! Packages from npm's registry, fetched once and kept under `target/`.

use crate::venv::{run, target};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

/// One at a time: several tests may want the same.
static FETCHING: Mutex<()> = Mutex::new(());

/// The folder of a package of exactly this version. None of its own scripts is run.
///
/// # Panics
///
/// When it cannot be fetched: there is no `npm`, or the registry is out of reach.
pub fn package(name: &str, version: &str) -> PathBuf {
    let _fetching = FETCHING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let place = target().join("test-npm").join(format!("{name}-{version}"));
    let done = place.join("complete");
    if !done.exists() {
        let package = format!("{name}@{version}");
        eprintln!("fetching {package} with npm, into {}", place.display());
        let mut install = Command::new("npm");
        install.args(["install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]);
        run(install.arg(&place).arg(&package));
        fs::write(&done, package).expect("the folder can be written");
    }
    place.join("node_modules").join(name)
}
