//! Finds the shared library of an interpreter, and has it linked.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Prints where it is.
const PLACES: &str = include_str!("places.py");

fn main() {
    println!("cargo::rerun-if-changed=places.py");
    println!("cargo::rerun-if-env-changed=PYO3_PYTHON");
    let named = std::env::var_os("PYO3_PYTHON").map(PathBuf::from);
    let interpreters = named.into_iter().chain(["python3".into(), "/usr/bin/python3".into()]);
    let Some(library) = interpreters.into_iter().find_map(|interpreter| library(&interpreter)) else {
        println!(
            "cargo::warning=tests of handler-py cannot be linked: no Python here has a shared library; install one, as in \
             `apt-get install libpython3-dev`, or name another interpreter by PYO3_PYTHON"
        );
        return;
    };
    // Cargo lets test programs look for libraries in this folder, but in none outside of `target`.
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo says where to build"));
    let file = library.file_name().expect("it is a file").to_string_lossy().into_owned();
    let name =
        file.strip_prefix("lib").and_then(|file| file.split_once(".so")).map_or(&*file, |(name, _)| name);
    for link in [file.clone(), format!("lib{name}.so")] {
        let link = folder.join(link);
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&library, &link).expect("cargo's folder can be written to");
    }
    println!("cargo::rustc-link-search=native={}", folder.display());
    println!("cargo::rustc-link-lib=dylib={name}");
}

/// The shared library of an interpreter, if both are there.
fn library(interpreter: &Path) -> Option<PathBuf> {
    let output = Command::new(interpreter).args(["-c", PLACES]).output().ok()?;
    let place = String::from_utf8(output.stdout).ok()?;
    Some(place.trim()).filter(|place| !place.is_empty()).map(PathBuf::from)
}
