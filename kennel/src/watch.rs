//! Watches the folders of apps and says when code has changed, for `kennel dev`.

use notify::{EventKind, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// Editors write a file in several steps; this long after the last one it is whole.
const SETTLE: Duration = Duration::from_millis(50);

/// Files whose change means new code.
const CODE: [&str; 5] = ["lua", "py", "html", "json", "toml"];

/// Keeps watching while it lives.
pub(crate) struct Watch {
    _watcher: notify::RecommendedWatcher,
}

/// Writes a byte to `reload` whenever something below the apps' folders has changed. `programs` are files that are
/// code whatever they are called.
pub(crate) fn start(
    folders: &[PathBuf],
    programs: &[PathBuf],
    mut reload: UnixStream,
) -> notify::Result<Watch> {
    let programs: Vec<_> = programs.iter().filter_map(|path| Some(path.file_name()?.to_owned())).collect();
    let (sender, changes) = mpsc::channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if let Ok(event) = event
            && matters(&event, &programs)
        {
            let _ = sender.send(());
        }
    })?;
    let folders: BTreeSet<&Path> = folders.iter().map(PathBuf::as_path).collect();
    for folder in folders {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        watcher.watch(folder, RecursiveMode::Recursive)?;
    }
    std::thread::Builder::new().name("watch".into()).spawn(move || {
        while changes.recv().is_ok() {
            while changes.recv_timeout(SETTLE).is_ok() {}
            if reload.write_all(b"r").is_err() {
                return;
            }
        }
    })?;
    Ok(Watch { _watcher: watcher })
}

fn matters(event: &notify::Event, programs: &[OsString]) -> bool {
    let changed = matches!(event.kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_));
    let is_code = |path: &PathBuf| {
        // What kennel itself keeps while it runs is nobody's code, nor is what was installed for the app.
        let ours = path
            .components()
            .any(|part| part.as_os_str() == crate::run_files::FOLDER || part.as_os_str() == ".venv");
        let is_program = path.file_name().is_some_and(|name| programs.iter().any(|program| program == name));
        let is_code = || path.extension().and_then(|e| e.to_str()).is_some_and(|e| CODE.contains(&e));
        !ours && (is_program || is_code())
    };
    changed && event.paths.iter().any(is_code)
}
