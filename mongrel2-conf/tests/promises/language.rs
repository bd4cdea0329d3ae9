use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mongrel2_conf::diagnostic::Severity;
use mongrel2_conf::language::{self, LoadError};
use mongrel2_conf::model::{Config, Target};
use mongrel2_conf::print::print;

/// Where the package `mongrel2-core` has its examples.
const SHIPPED: &str = "/usr/share/doc/mongrel2-core/examples";

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// All files of a folder that end in `.conf`, but for those that others include.
fn confs(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|end| end == "conf"));
    found.retain(|path| !path.file_name().unwrap().to_string_lossy().starts_with("part-"));
    found.sort();
    found
}

/// What a person reads about a file, its folder left out.
fn read_out(path: &Path) -> String {
    let found = match language::load(path) {
        Ok(loaded) => loaded.diagnostics,
        Err(LoadError::Wrong(found)) => found,
        Err(other) => panic!("{}: {other}", path.display()),
    };
    let folder = format!("{}/", path.parent().unwrap().display());
    found.render(false).replace(&folder, "")
}

#[test]
fn every_file_that_comes_with_mongrel2_loads() {
    if !Path::new(SHIPPED).exists() {
        eprintln!("mongrel2-core is not installed, so its examples are not here");
        return;
    }
    let folders = ["bbs", "configs", "ws"].map(|name| Path::new(SHIPPED).join(name));
    let files: Vec<_> = folders.iter().flat_map(|folder| confs(folder)).collect();
    assert!(files.len() >= 9, "{files:?}");
    for file in files {
        let loaded = language::load(&file).unwrap_or_else(|_| panic!("{}", read_out(&file)));
        assert!(!loaded.config.servers.is_empty());
    }
}

#[test]
fn valid_files_load_without_an_error() {
    let files = confs(&folder("valid"));
    assert!(files.len() >= 20, "{}", files.len());
    for file in files {
        let loaded = language::load(&file).unwrap_or_else(|_| panic!("{}", read_out(&file)));
        assert_eq!(loaded.config.check(), Ok(()));
    }
}

/// With `BLESS=1` the files beside are written anew; read what changed before you commit it.
#[test]
fn every_broken_file_has_its_diagnostics() {
    let files = confs(&folder("broken"));
    assert!(files.len() >= 40, "{}", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let expected = file.with_extension("expected");
        let found = read_out(&file);
        let begins = |line: &str| line.starts_with(|c: char| c == ' ' || c.is_ascii_digit());
        for first in found.lines().filter(|line| !line.is_empty() && !begins(line)) {
            let mut parts = first.splitn(4, ':');
            let (path, line, column) = (parts.next(), parts.next(), parts.next());
            assert!(path.is_some_and(|path| path.ends_with(".conf")), "{first}");
            assert!(line.is_some_and(|line| line.parse::<usize>().is_ok()), "{first}");
            assert!(column.is_some_and(|column| column.parse::<usize>().is_ok()), "{first}");
        }
        if env::var_os("BLESS").is_some() {
            fs::write(&expected, &found).unwrap();
        } else if fs::read_to_string(&expected).ok().as_ref() != Some(&found) {
            wrong.push(format!("{}:\n{found}", expected.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_diagnostic_is_in_the_manual() {
    let manual = fs::read_to_string(folder("../../docs/conf.md")).unwrap();
    for file in confs(&folder("broken")) {
        let expected = fs::read_to_string(file.with_extension("expected")).unwrap();
        let is_first =
            |line: &&str| [": error: ", ": warning: ", ": note: "].iter().any(|w| line.contains(w));
        for line in expected.lines().filter(is_first).filter(|line| line.ends_with(']')) {
            let name = line.trim_end_matches(']').rsplit('[').next().unwrap();
            assert!(manual.contains(&format!("`{name}`")), "{name}");
        }
    }
}

#[test]
fn every_broken_file_has_an_error_or_a_warning() {
    for file in confs(&folder("broken")) {
        let found = match language::load(&file) {
            Ok(loaded) => loaded.diagnostics,
            Err(LoadError::Wrong(found)) => found,
            Err(other) => panic!("{other}"),
        };
        let bad = found.count(Severity::Error) + found.count(Severity::Warning);
        assert!(bad > 0 || found.count(Severity::Note) > 0, "{}", file.display());
    }
}

/// Which routes share their target, as numbers in the order of first use.
fn sharing(config: &Config) -> Vec<usize> {
    let mut known: Vec<*const Target> = Vec::new();
    let routes = config.servers.iter().flat_map(|server| &server.hosts).flat_map(|host| &host.routes);
    let number = |target: *const Target| match known.iter().position(|one| *one == target) {
        Some(number) => number,
        None => {
            known.push(target);
            known.len() - 1
        }
    };
    routes.map(|route| Arc::as_ptr(&route.target)).map(number).collect()
}

#[test]
fn what_is_printed_loads_to_the_same() {
    for file in confs(&folder("valid")) {
        let config = language::load(&file).unwrap().config;
        let printed = print(&config).unwrap();
        assert_eq!(printed.deviations, Vec::<String>::new(), "{}", file.display());
        let again = language::load_text(&file, printed.text.as_bytes()).unwrap_or_else(|err| panic!("{err}"));
        assert_eq!(again.config, config, "{}\n{}", file.display(), printed.text);
        assert_eq!(sharing(&again.config), sharing(&config), "{}", file.display());
    }
}
