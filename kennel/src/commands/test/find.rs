//! The files of tests: those named, and those in the folders named.

use crate::apps::missing;
use crate::config::DEFAULT_FILE;
use crate::exit::{plain, wrong_input};
use crate::language::Language;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// The folder that holds tests beside an app.
const TESTS: &str = "tests";

/// What is looked for, in words.
const NAMES: &str = "test_*.lua, *_test.lua, test_*.py and *_test.py";

/// How deep folders are looked into.
const DEPTH: usize = 8;

/// The tests of one app.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// The app's folder, as typed.
    pub(super) folder: PathBuf,
    pub(super) files: Vec<Found>,
}

/// A file of tests.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// As seen from the app's folder.
    pub(super) file: PathBuf,
    pub(super) language: Language,
}

impl Group {
    /// A file of the app, as seen from where kennel was started.
    pub(super) fn shown(&self, file: &Path) -> String {
        let folder = if self.folder == Path::new(".") { Path::new("") } else { &self.folder };
        folder.join(file).display().to_string()
    }
}

/// All that is meant by what was typed; nothing typed is this folder.
///
/// # Errors
///
/// When there is no such file, or no test in all of them.
pub(super) fn groups(typed: &[PathBuf]) -> anyhow::Result<Vec<Group>> {
    let here = [PathBuf::from(".")];
    let typed = if typed.is_empty() { &here[..] } else { typed };
    let mut groups: Vec<Group> = Vec::new();
    let mut looked = Vec::new();
    for path in typed {
        let wrong = |problem| wrong_input(format!("cannot read `{}`: {}", path.display(), plain(&problem)));
        let is_folder = match path.metadata() {
            Ok(found) => found.is_dir(),
            Err(problem) if problem.kind() == ErrorKind::NotFound => {
                return Err(wrong_input(format!("cannot read `{}`: {}", path.display(), missing(path))));
            }
            Err(problem) => return Err(wrong(problem)),
        };
        let mut files = Vec::new();
        if is_folder {
            let within = path.join(TESTS);
            let folder = if within.is_dir() { within } else { path.clone() };
            collect(&folder, DEPTH, &mut files).map_err(wrong)?;
            looked.push(folder.display().to_string());
        } else if language(path).is_some() {
            files.push(path.clone());
        } else {
            let path = path.display();
            return Err(wrong_input(format!("`{path}` is no file of tests: they end in `.lua` or `.py`")));
        }
        for file in files {
            let Some(language) = language(&file) else { continue };
            let folder = app_folder(&file);
            let file = file.strip_prefix(&folder).map_or_else(|_| file.clone(), Path::to_owned);
            let found = Found { file, language };
            match groups.iter_mut().find(|group| group.folder == folder) {
                Some(group) if group.files.contains(&found) => {}
                Some(group) => group.files.push(found),
                None => groups.push(Group { folder, files: vec![found] }),
            }
        }
    }
    if groups.is_empty() {
        let folders = looked.join("`, `");
        return Err(wrong_input(format!(
            "no tests in `{folders}`; they are files named {NAMES}, in a folder `{TESTS}` beside the app or where you say"
        )));
    }
    Ok(groups)
}

/// Files of tests in a folder and below, by name.
fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        let kind = entry.file_type()?;
        if kind.is_dir() && depth > 0 && !name.starts_with(['.', '_']) && name != "node_modules" {
            collect(&path, depth - 1, found)?;
        } else if !kind.is_dir() && is_named_as_test(&path) {
            found.push(path.strip_prefix(".").map(Path::to_owned).unwrap_or(path));
        }
    }
    Ok(())
}

fn language(path: &Path) -> Option<Language> {
    match path.extension()?.to_str()? {
        "lua" => Some(Language::Lua),
        "py" => Some(Language::Python),
        _ => None,
    }
}

fn is_named_as_test(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    language(path).is_some() && (stem.starts_with("test_") || stem.ends_with("_test"))
}

/// The folder of the app that a file tests: the nearest with a kennel.toml, or the one with the folder `tests`, or the
/// file's own.
fn app_folder(file: &Path) -> PathBuf {
    let folders = || file.ancestors().skip(1);
    let named = |folder: &&Path| folder.join(DEFAULT_FILE).is_file();
    let beside = || folders().find(|folder| folder.file_name().is_some_and(|name| name == TESTS))?.parent();
    let found = folders().find(named).or_else(beside).or_else(|| file.parent());
    match found {
        Some(folder) if folder.components().any(|part| part != Component::CurDir) => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_told_by_its_name() {
        for (name, yes) in [
            ("test_a.lua", true),
            ("a_test.py", true),
            ("tests.lua", false),
            ("contest.py", false),
            ("test_a.txt", false),
            ("dir/a_test.lua", true),
        ] {
            assert_eq!(is_named_as_test(Path::new(name)), yes, "{name}");
        }
    }

    #[test]
    fn the_apps_folder_is_beside_the_tests() {
        assert_eq!(app_folder(Path::new("no/such/app/tests/deep/a_test.lua")), Path::new("no/such/app"));
        assert_eq!(app_folder(Path::new("tests/a_test.lua")), Path::new("."));
        assert_eq!(app_folder(Path::new("no/such/a_test.lua")), Path::new("no/such"));
        assert_eq!(app_folder(Path::new("a_test.lua")), Path::new("."));
    }
}
