//! A virtual environment with packages from PyPI, made once and kept under `target/`.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// One at a time: several tests may want the same.
static MAKING: Mutex<()> = Mutex::new(());

/// The interpreter of an environment with the packages of a `requirements.txt`. Another list, or another Python, is
/// another environment.
///
/// # Panics
///
/// When it cannot be made: there is no `python3-venv`, or PyPI is out of reach.
pub fn python(requirements: &Path) -> PathBuf {
    let _making = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let list = fs::read_to_string(requirements).expect("a list of packages");
    let mut hasher = DefaultHasher::new();
    (&list, run(Command::new("python3").arg("-VV"))).hash(&mut hasher);
    let place = target().join("test-python").join(format!("{:016x}", hasher.finish()));
    let python = place.join("bin/python");
    let done = place.join("complete");
    if !done.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&place));
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
        run(install.arg(requirements));
        fs::write(&done, list).expect("the environment can be written");
    }
    python
}

/// Cargo's folder for what can be made again.
pub(crate) fn target() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let deps =
        test.ancestors().find(|folder| folder.ends_with("deps")).expect("a test lies in target/PROFILE/deps");
    deps.ancestors().nth(2).expect("a test lies in target/PROFILE/deps").to_owned()
}

/// Runs a command to its good end, and returns what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
