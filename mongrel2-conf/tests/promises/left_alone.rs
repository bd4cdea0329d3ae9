use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use mongrel2_conf::model::{Config, Host, Server};
use mongrel2_conf::store::{self, Entry, StoreError};
use rusqlite::Connection;

use crate::server::Folder;

fn config() -> Config {
    let hosts = vec![Host::new("localhost", Vec::new())];
    let server = Server { uuid: "main".into(), name: "new".into(), port: 6767, hosts, ..Server::default() };
    Config { servers: vec![server], ..Config::default() }
}

fn entry() -> Entry {
    let text = || "text".to_owned();
    Entry { who: text(), what: text(), location: text(), how: text(), why: None }
}

/// Tries all that there is to do with `path`; gives the error, which must be the same for all.
fn refused(path: &Path) -> StoreError {
    let errors = [
        store::write(&config(), path).unwrap_err(),
        store::commit(path, &entry()).unwrap_err(),
        store::read(path).unwrap_err(),
        store::log(path).unwrap_err(),
    ];
    for error in &errors {
        assert_eq!(error.to_string(), errors[0].to_string());
    }
    let [error, ..] = errors;
    error
}

/// As [`refused`], and nothing in the folder may be another than before, byte for byte.
fn left_alone(folder: &Folder, path: &Path) -> StoreError {
    let snapshot = || {
        let entries = fs::read_dir(folder.path()).unwrap().map(Result::unwrap);
        let mut files: Vec<_> =
            entries.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap_or_default())).collect();
        files.sort();
        files
    };
    let before = snapshot();
    let error = refused(path);
    assert!(snapshot() == before, "something changed");
    error
}

#[test]
fn a_text_file_is_left_alone() {
    let folder = Folder::new();
    folder.write("site.conf", "servers = []");
    let error = left_alone(&folder, &folder.path().join("site.conf"));
    assert!(matches!(error, StoreError::NotADatabase { .. }), "{error}");
}

#[test]
fn a_folder_is_left_alone() {
    let folder = Folder::new();
    let path = folder.path().join("config.sqlite");
    fs::create_dir(&path).unwrap();
    assert!(matches!(left_alone(&folder, &path), StoreError::Folder { .. }));
}

#[test]
fn a_pipe_is_left_alone_and_waited_for_by_nobody() {
    let folder = Folder::new();
    let path = folder.path().join("config.sqlite");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    assert!(matches!(refused(&path), StoreError::NotADatabase { .. }));
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let folder = Folder::new();
    let path = folder.path().join("config.sqlite");
    let db = Connection::open(&path).unwrap();
    db.execute_batch("CREATE TABLE moz_places (id INTEGER PRIMARY KEY, url TEXT)").unwrap();
    drop(db);
    let error = left_alone(&folder, &path);
    assert!(error.to_string().ends_with("it has a table `moz_places`"), "{error}");
}

#[test]
fn a_database_with_more_in_it_than_mongrel2s_is_read_and_not_replaced() {
    let folder = Folder::new();
    for (number, (more, what)) in [
        ("ALTER TABLE host ADD COLUMN owner TEXT", "it has a column `owner` in the table `host`"),
        ("CREATE TABLE owners (host INTEGER, owner TEXT)", "it has a table `owners`"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = folder.path().join(format!("{number}.sqlite"));
        store::write(&config(), &path).unwrap();
        Connection::open(&path).unwrap().execute_batch(more).unwrap();
        let before = fs::read(&path).unwrap();
        let error = store::write(&config(), &path).unwrap_err().to_string();
        assert!(error.ends_with(what), "{error}");
        assert_eq!(store::commit(&path, &entry()).unwrap_err().to_string(), error);
        assert_eq!(store::read(&path).unwrap().config, config());
        assert!(fs::read(&path).unwrap() == before, "something changed");
    }
}

#[test]
fn a_damaged_database_is_not_replaced() {
    let folder = Folder::new();
    let path = folder.path().join("config.sqlite");
    store::write(&config(), &path).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    // The page of some table, but not the first, which has the schema.
    bytes[4096..8192].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    let error = store::write(&config(), &path).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn what_only_begins_like_a_database_is_left_alone() {
    let folder = Folder::new();
    let path = folder.write("config.sqlite", "SQLite format 3\0and then something else");
    let error = left_alone(&folder, &path);
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[test]
fn a_locked_database_is_an_error_within_two_seconds() {
    let folder = Folder::new();
    let path = folder.path().join("config.sqlite");
    store::write(&config(), &path).unwrap();
    let before = fs::read(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    for attempt in [
        store::write(&config(), &path),
        store::commit(&path, &entry()),
        store::read(&path).map(|_| ()),
        store::log(&path).map(|_| ()),
    ] {
        assert!(matches!(attempt, Err(StoreError::Locked { .. })), "{attempt:?}");
    }
    let begin = Instant::now();
    assert!(store::write(&config(), &path).is_err());
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert_eq!(fs::read(&path).unwrap(), before);
    other.execute_batch("ROLLBACK").unwrap();
    store::write(&config(), &path).unwrap();
}

#[test]
fn a_write_protected_database_is_read_but_not_replaced() {
    let folder = Folder::new();
    let path = folder.path().join("config.sqlite");
    store::write(&config(), &path).unwrap();
    let before = fs::read(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
    for attempt in [store::write(&config(), &path), store::commit(&path, &entry())] {
        assert!(matches!(attempt, Err(StoreError::Protected { .. })), "{attempt:?}");
    }
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(store::read(&path).unwrap().config, config());
}

#[test]
fn a_missing_folder_is_named() {
    let folder = Folder::new();
    let path = folder.path().join("missing/config.sqlite");
    let error = store::write(&config(), &path).unwrap_err();
    assert!(error.to_string().contains("there is no folder `"), "{error}");
    assert!(!folder.path().join("missing").exists());
    let below_a_file = folder.write("file", "").join("config.sqlite");
    assert!(matches!(store::write(&config(), &below_a_file), Err(StoreError::NoFolder { .. })));
}

#[test]
fn what_is_not_there_is_not_made_by_reading() {
    let folder = Folder::new();
    let path = folder.path().join("config.sqlite");
    assert!(matches!(store::read(&path), Err(StoreError::NotThere { .. })));
    assert!(matches!(store::log(&path), Err(StoreError::NotThere { .. })));
    assert!(matches!(store::commit(&path, &entry()), Err(StoreError::NotThere { .. })));
    assert!(!path.exists());
}

#[test]
fn a_link_is_followed_and_stays_one() {
    let folder = Folder::new();
    let (path, link) = (folder.path().join("real.sqlite"), folder.path().join("config.sqlite"));
    store::write(&Config::default(), &path).unwrap();
    symlink("real.sqlite", &link).unwrap();
    store::write(&config(), &link).unwrap();
    assert!(link.is_symlink());
    assert!(!path.is_symlink());
    assert_eq!(store::read(&path).unwrap().config, config());
}

#[test]
fn a_link_to_nothing_is_left_alone() {
    let folder = Folder::new();
    let link = folder.path().join("config.sqlite");
    symlink("nowhere.sqlite", &link).unwrap();
    let error = left_alone(&folder, &link);
    assert!(error.to_string().ends_with("is a link to `nowhere.sqlite`, which is not there"), "{error}");
}

#[test]
fn the_journal_of_a_lost_database_is_not_played_into_a_new_one() {
    let folder = Folder::new();
    folder.write("config.sqlite-journal", "something");
    let path = folder.path().join("config.sqlite");
    let error = store::write(&config(), &path).unwrap_err();
    assert!(matches!(error, StoreError::Leftover { .. }), "{error}");
    assert!(!path.exists());
}

#[test]
fn what_is_in_a_write_ahead_log_is_kept() {
    let folder = Folder::new();
    let path = folder.path().join("config.sqlite");
    store::write(&Config::default(), &path).unwrap();
    let other = Connection::open(&path).unwrap();
    let mode: String = other.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    drop(other);
    store::commit(&path, &entry()).unwrap();
    store::write(&config(), &path).unwrap();
    let log = store::log(&path).unwrap();
    assert_eq!(log.iter().map(|row| row.what.as_str()).collect::<Vec<_>>(), ["load", "text", "load"]);
    assert_eq!(store::read(&path).unwrap().config, config());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn rights_of_the_old_database_pass_to_the_new_one() {
    let folder = Folder::new();
    let path = folder.path().join("config.sqlite");
    store::write(&Config::default(), &path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    store::write(&config(), &path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn an_empty_file_counts_as_an_empty_database() {
    let folder = Folder::new();
    let path = folder.write("config.sqlite", "");
    assert_eq!(store::read(&path).unwrap().config, Config::default());
    store::write(&config(), &path).unwrap();
    assert_eq!(store::read(&path).unwrap().config, config());
}
