use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mongrel2_conf::diagnostic::Severity;
use mongrel2_conf::diff::diff;
use mongrel2_conf::language::{self, Loaded};
use mongrel2_conf::model::Config;
use mongrel2_conf::print::{self, Printed};
use mongrel2_conf::store::{self, Entry, Schema};
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::server::{Folder, needs_mongrel2};

/// Where Debian puts the configurations that come with Mongrel2.
const EXAMPLES: &str = "/usr/share/doc/mongrel2-core/examples";

const TABLES: [&str; 11] = [
    "server",
    "host",
    "handler",
    "proxy",
    "directory",
    "route",
    "setting",
    "mimetype",
    "filter",
    "xrequest",
    "statistic",
];

/// Ours and those that come with Mongrel2.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/valid"), &mut found);
    assert!(found.len() >= 20, "the valid files are missing");
    if Path::new(EXAMPLES).is_dir() {
        let ours = found.len();
        collect(Path::new(EXAMPLES), &mut found);
        assert!(found.len() > ours, "no examples in {EXAMPLES}");
    } else {
        eprintln!("the examples of mongrel2-core are not tried: there is no {EXAMPLES}");
    }
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "conf") {
            found.push(path);
        }
    }
}

fn load(file: &Path) -> Loaded {
    language::load(file).unwrap_or_else(|error| match error {
        language::LoadError::Wrong(found) => panic!("{}", found.render(false)),
        other => panic!("{}: {other}", file.display()),
    })
}

/// As `kennel conf load` does it, with the schema that m2sh 1.12 has.
fn save(config: &Config, path: &Path) {
    let text = || "test".to_owned();
    let entry = Entry { who: text(), what: text(), location: text(), how: text(), why: None };
    store::save(config, path, Some(Schema::V1_12), &entry).unwrap();
}

fn rows(path: &Path, table: &str) -> Vec<Vec<Value>> {
    let db = Connection::open(path).unwrap();
    let mut query = db.prepare(&format!("SELECT * FROM {table} ORDER BY rowid")).unwrap();
    let columns = query.column_count();
    let rows = query.query_map([], |row| (0..columns).map(|at| row.get(at)).collect()).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Loads a file by `m2sh`; `false`: it crashed.
fn load_by_m2sh(file: &Path, db: &Path) -> bool {
    let loaded = Command::new("m2sh")
        .args(["load", "-config"])
        .arg(file)
        .arg("-db")
        .arg(db)
        .current_dir(file.parent().unwrap())
        .env("LOGNAME", "tester")
        .output();
    let loaded = loaded
        .unwrap_or_else(|err| panic!("this test needs `m2sh` in the PATH (Debian: mongrel2-core): {err}"));
    loaded.status.code().is_some_and(|code| code < 128)
}

/// Row for row, with their ids. Deviations, each for its reason:
///
/// * `server`: 1.12 has no `error_log_level`, so the database is written without.
/// * `mimetype`: m2sh 1.12 loses the file's own types, and removes what they should replace.
/// * `settings` of `filter` and `xrequest`: m2sh orders the keys by their hashes, we leave them as they
///   are written; so they are compared as what they say.
/// * Files that use what m2sh has not (`include` and the like), or on which it crashes (two Handlers with
///   raw_payload=1), have no database of m2sh to compare with.
#[test]
fn every_valid_file_loads_to_the_database_that_m2sh_makes() {
    if !needs_mongrel2() {
        return;
    }
    let folder = Folder::new();
    let mut compared = 0;
    for (number, file) in files().into_iter().enumerate() {
        let name = file.display();
        let loaded = load(&file);
        let diagnostics = &loaded.diagnostics;
        if diagnostics.iter().any(|one| one.severity == Severity::Note && one.name == "extension") {
            eprintln!("{name}: m2sh cannot load it");
            continue;
        }
        let ours = folder.path().join(format!("{number}-ours.sqlite"));
        let theirs = folder.path().join(format!("{number}-theirs.sqlite"));
        let own_types: HashSet<_> =
            loaded.config.mimetypes.iter().map(|(extension, _)| extension.clone()).collect();
        save(&loaded.with_default_mimetypes(), &ours);
        if !load_by_m2sh(&file, &theirs) {
            let text = fs::read_to_string(&file).unwrap();
            assert!(text.matches("raw_payload").count() > 1, "m2sh crashes on {name}");
            eprintln!("{name}: m2sh crashes");
            continue;
        }
        for table in TABLES {
            let (mut ours, mut theirs) = (rows(&ours, table), rows(&theirs, table));
            if table == "mimetype" {
                let is_own = |row: &Vec<Value>| matches!(&row[2], Value::Text(extension) if own_types.contains(extension));
                ours.retain(|row| !is_own(row));
                assert!(!theirs.iter().any(is_own), "this m2sh keeps mimetypes: compare them");
            }
            if matches!(table, "filter" | "xrequest") {
                for row in ours.iter_mut().chain(&mut theirs) {
                    row.truncate(3);
                }
            }
            assert_eq!(ours, theirs, "{name}: table {table}");
        }
        let (ours, theirs) = (store::read(&ours).unwrap(), store::read(&theirs).unwrap());
        assert_eq!((&ours.flaws, &theirs.flaws), (&vec![], &vec![]), "{name}");
        let without_types = |config: Config| Config { mimetypes: Vec::new(), ..config };
        let (ours, theirs) = (without_types(ours.config), without_types(theirs.config));
        assert_eq!(diff(&ours, &theirs), [], "{name}");
        compared += 1;
    }
    assert!(compared >= 20, "{compared} compared");
}

#[test]
fn what_is_printed_loads_to_the_same_database() {
    let folder = Folder::new();
    for (number, file) in files().into_iter().enumerate() {
        let name = file.display();
        let first = folder.path().join(format!("{number}-first.sqlite"));
        save(&load(&file).with_default_mimetypes(), &first);
        prints_and_loads(&folder, &first, &name.to_string());
    }
}

/// Prints a database, loads the text and compares the databases.
fn prints_and_loads(folder: &Folder, first: &Path, name: &str) {
    let Printed { text, .. } = print::print_database(&store::read(first).unwrap().config).unwrap();
    let printed = folder.write("printed.conf", &text);
    let second = folder.path().join("second.sqlite");
    let _ = fs::remove_file(&second);
    save(&load(&printed).with_default_mimetypes(), &second);
    for table in TABLES {
        assert_eq!(rows(&second, table), rows(first, table), "{name}: table {table} of\n{text}");
    }
}
