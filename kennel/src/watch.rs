//! Watches the folders of apps and says when code has changed, for `kennel dev`.

use notify::event::{CreateKind, ModifyKind, RemoveKind};
use notify::{EventKind, RecursiveMode, Watcher};
use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// Editors write a file in several steps; this long after the last one it is whole.
const SETTLE: Duration = Duration::from_millis(50);

/// The same after a folder has appeared or was moved: until it is watched, its files change unseen.
const SETTLE_FOLDER: Duration = Duration::from_millis(300);

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
    let folders = folders.iter().map(|folder| match folder.as_os_str().is_empty() {
        true => Path::new(".").canonicalize(),
        false => folder.canonicalize(),
    });
    let folders = folders.collect::<Result<BTreeSet<_>, _>>().map_err(notify::Error::io)?;
    let (sender, changes) = mpsc::channel();
    let mut known = Folders::default();
    folders.iter().for_each(|folder| known.add(folder));
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if let Some(settle) = event.ok().and_then(|event| settle_after(&event, &programs, &mut known)) {
            let _ = sender.send(settle);
        }
    })?;
    for folder in folders {
        watcher.watch(&folder, RecursiveMode::Recursive)?;
    }
    std::thread::Builder::new().name("watch".into()).spawn(move || {
        while let Ok(mut settle) = changes.recv() {
            while let Ok(next) = changes.recv_timeout(settle) {
                settle = settle.max(next);
            }
            if reload.write_all(b"r").is_err() {
                return;
            }
        }
    })?;
    Ok(Watch { _watcher: watcher })
}

/// The folders that are there: what has gone cannot be asked whether it was one, and a name does not tell.
#[derive(Debug, Default)]
struct Folders(HashSet<PathBuf>);

impl Folders {
    /// More are not remembered. Those beyond are told by their names: without a dot.
    const MOST: usize = 100_000;

    /// Takes note of a folder and all below it.
    fn add(&mut self, folder: &Path) {
        let mut left = vec![folder.to_owned()];
        while let Some(folder) = left.pop() {
            if self.0.len() >= Self::MOST {
                return;
            }
            let entries = folder.read_dir().into_iter().flatten().flatten();
            left.extend(entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()));
            self.0.insert(folder);
        }
    }

    /// Whether a folder was there, which it and all below it are no longer.
    fn remove(&mut self, folder: &Path) -> bool {
        let was_there = self.0.remove(folder);
        if was_there {
            self.0.retain(|other| !other.starts_with(folder));
        }
        was_there
    }
}

/// How long to wait for more behind a change of code; `None`: it is not one.
fn settle_after(event: &notify::Event, programs: &[OsString], known: &mut Folders) -> Option<Duration> {
    if event.need_rescan() {
        // More happened than the system has told.
        return Some(SETTLE_FOLDER);
    }
    if !matches!(event.kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_)) {
        return None;
    }
    // What kennel itself keeps while it runs is nobody's code, nor is what was installed for the app.
    let is_ours = |path: &PathBuf| {
        let mut parts = path.components().map(|part| part.as_os_str());
        parts.any(|part| part == crate::run_files::FOLDER || part == ".venv" || part == "__pycache__")
    };
    let paths = event.paths.iter().filter(|path| !is_ours(path));
    let is_code = |path: &PathBuf| {
        let is_program = path.file_name().is_some_and(|name| programs.iter().any(|program| program == name));
        let is_code = || path.extension().and_then(|e| e.to_str()).is_some_and(|e| CODE.contains(&e));
        is_program || is_code()
    };
    // With a folder that comes, goes or gets another name, all of its files do.
    let mut is_folder = |path: &PathBuf| {
        let was_there = !path.is_dir() && known.remove(path);
        match event.kind {
            EventKind::Create(CreateKind::Folder) | EventKind::Modify(ModifyKind::Name(_))
                if path.is_dir() =>
            {
                known.add(path);
                true
            }
            EventKind::Create(CreateKind::Folder) | EventKind::Remove(RemoveKind::Folder) => true,
            EventKind::Modify(ModifyKind::Name(_)) => was_there || path.extension().is_none(),
            _ => false,
        }
    };
    let has_code = paths.clone().any(is_code);
    let folders = paths.filter(|path| is_folder(path)).count();
    match (has_code, folders) {
        (true, 0) => Some(SETTLE),
        (_, 1..) => Some(SETTLE_FOLDER),
        (false, 0) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{DataChange, RenameMode};

    fn seen(kind: EventKind, path: &str) -> bool {
        let mut known = Folders(["app/lib.v2".into(), "app/lib.v2/inner".into()].into());
        settle_after(&notify::Event::new(kind).add_path(path.into()), &["serve".into()], &mut known).is_some()
    }

    #[test]
    fn folders_are_known_with_all_below_them_until_they_go() {
        let root = std::env::temp_dir().join(format!("kennel-watch-{}", std::process::id()));
        std::fs::create_dir_all(root.join("a.b/c")).unwrap();
        let mut known = Folders::default();
        known.add(&root);
        assert_eq!(known.0.len(), 3);
        assert!(known.remove(&root.join("a.b")) && !known.remove(&root.join("a.b/c")));
        assert_eq!(known.0.len(), 1);
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn folders_that_come_go_or_are_renamed_are_changes_of_code() {
        let renamed = |mode| EventKind::Modify(ModifyKind::Name(mode));
        for (kind, path) in [
            (EventKind::Create(CreateKind::Folder), "app/lib"),
            (EventKind::Remove(RemoveKind::Folder), "app/lib"),
            (renamed(RenameMode::From), "app/lib"),
            (renamed(RenameMode::To), "app/lib"),
            (renamed(RenameMode::From), "app/lib.v2"),
            (renamed(RenameMode::To), "app/a.lua"),
            (EventKind::Modify(ModifyKind::Data(DataChange::Any)), "app/serve"),
        ] {
            assert!(seen(kind, path), "{kind:?} {path}");
        }
        for (kind, path) in [
            (EventKind::Create(CreateKind::Folder), "app/.kennel/17"),
            (EventKind::Create(CreateKind::Folder), "app/__pycache__"),
            (EventKind::Modify(ModifyKind::Data(DataChange::Any)), "app/notes"),
            (renamed(RenameMode::From), "app/picture.jpg"),
        ] {
            assert!(!seen(kind, path), "{kind:?} {path}");
        }
    }
}
