use std::path::{Path, PathBuf};
use std::sync::Arc;

use mongrel2_conf::model::{
    Config, Dir, Handler, Host, Module, Protocol, Proxy, Route, Server, Target, Value,
};
use mongrel2_conf::store::{self, Entry, Schema};
use rusqlite::Connection;

use crate::server::Folder;

fn config() -> Config {
    let handler = Handler {
        send_spec: "ipc://run/requests".into(),
        send_ident: "app-1".into(),
        recv_spec: "ipc://run/replies".into(),
        recv_ident: "app-".into(),
        raw_payload: true,
        protocol: Protocol::Tnetstring,
    };
    let handler = Arc::new(Target::Handler(handler));
    let routes = vec![
        Route::new("/", Arc::clone(&handler)),
        Route::new("@chat", Arc::clone(&handler)),
        Route::new("/files/", Target::Dir(Dir { cache_ttl: 60, ..Dir::new("public/") })),
        Route::new("/more/", Target::Dir(Dir { cache_ttl: 60, ..Dir::new("public/") })),
        Route::new("/old/(.*)", Target::Proxy(Proxy { addr: "127.0.0.1".into(), port: 8080 })),
    ];
    let settings = vec![
        ("max".to_owned(), Value::Number(-3)),
        ("names".to_owned(), Value::List(vec![Value::Text("caf\u{e9}".into()), Value::Hash(vec![])])),
    ];
    let filter = Module { name: "/usr/lib/mongrel2/filters/null.so".into(), settings };
    let main = Server {
        uuid: "main".into(),
        name: "site".into(),
        port: 6767,
        hosts: vec![Host::new("localhost", routes), Host { matching: "x".into(), ..Host::new("h", vec![]) }],
        filters: vec![filter.clone(), Module { name: "second.so".into(), settings: vec![] }],
        xrequests: vec![filter],
        ..Server::default()
    };
    let hosts = vec![Host::new("localhost", vec![Route::new("/", handler)])];
    let other = Server { uuid: "other".into(), port: 6768, use_ssl: true, hosts, ..Server::default() };
    Config {
        servers: vec![main, other],
        settings: vec![("certdir".into(), "certs/".into())],
        mimetypes: vec![(".a".into(), "x/a".into())],
    }
}

fn saved(folder: &Folder, config: &Config, schema: Option<Schema>) -> PathBuf {
    let path = folder.path().join("config.sqlite");
    let text = || "text".to_owned();
    let entry = Entry { who: text(), what: text(), location: text(), how: text(), why: None };
    store::save(config, &path, schema, &entry).unwrap();
    path
}

fn change(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

/// What is wrong in a database made from [`config`] and then changed.
fn flaws(sql: &str) -> Vec<String> {
    let folder = Folder::new();
    let path = saved(&folder, &config(), None);
    change(&path, sql);
    store::read(&path).unwrap().flaws.iter().map(ToString::to_string).collect()
}

#[test]
fn everything_that_is_written_is_read() {
    let folder = Folder::new();
    let path = saved(&folder, &config(), None);
    let found = store::read(&path).unwrap();
    assert_eq!(found.config, config());
    assert_eq!(found.flaws, []);
    assert_eq!(found.schema, Schema::V1_12);
    assert_eq!(found.host_ids, [vec![1, 2], vec![3]]);
}

#[test]
fn routes_that_share_a_row_share_a_target() {
    let folder = Folder::new();
    let config = store::read(&saved(&folder, &config(), None)).unwrap().config;
    let routes = &config.servers[0].hosts[0].routes;
    assert!(Arc::ptr_eq(&routes[0].target, &routes[1].target));
    assert!(Arc::ptr_eq(&routes[0].target, &config.servers[1].hosts[0].routes[0].target));
    assert_eq!(routes[2].target, routes[3].target);
    assert!(!Arc::ptr_eq(&routes[2].target, &routes[3].target));
}

#[test]
fn the_schema_of_1_13_has_a_log_level_for_every_server() {
    let folder = Folder::new();
    let mut config = config();
    config.servers[0].error_log_level = Some(4);
    let found = store::read(&saved(&folder, &config, None)).unwrap();
    assert_eq!(found.schema, Schema::V1_13);
    let levels: Vec<_> = found.config.servers.iter().map(|server| server.error_log_level).collect();
    assert_eq!(levels, [Some(4), Some(2)], "2 is what Mongrel2 takes without");
}

#[test]
fn a_database_keeps_its_schema_unless_told_otherwise() {
    let folder = Folder::new();
    let path = saved(&folder, &config(), Some(Schema::V1_13));
    let schema = || store::read(&path).unwrap().schema;
    saved(&folder, &config(), None);
    assert_eq!(schema(), Schema::V1_13);
    saved(&folder, &config(), Some(Schema::V1_12));
    assert_eq!(schema(), Schema::V1_12);
}

#[test]
fn null_is_told_with_what_it_does() {
    assert_eq!(
        flaws("UPDATE server SET uuid = NULL WHERE id = 2; UPDATE handler SET recv_ident = NULL"),
        [
            "row 2 of table `server` has NULL as `uuid`, and Mongrel2 does not start with that",
            "row 1 of table `handler` has NULL as `recv_ident`, and Mongrel2 does not start with that",
        ]
    );
    assert_eq!(
        flaws("UPDATE server SET name = NULL WHERE id = 1"),
        ["row 1 of table `server` has NULL as `name`"]
    );
}

#[test]
fn rows_that_lead_nowhere_are_told_and_left_out() {
    assert_eq!(
        flaws("DELETE FROM directory WHERE id = 1"),
        ["row 3 of table `route` leads to row 1 of `directory`, which is not there"]
    );
    assert_eq!(
        flaws("UPDATE route SET target_type = 'test' WHERE id = 1"),
        ["row 1 of table `route` leads to `test`, which is neither `handler`, `dir` nor `proxy`"]
    );
    assert_eq!(
        flaws("UPDATE route SET host_id = 9 WHERE id = 5"),
        ["row 5 of table `route` belongs to no host"]
    );
    assert_eq!(
        flaws("INSERT INTO proxy (addr) VALUES (NULL)"),
        ["row 2 of table `proxy` is used by no route"]
    );
    assert_eq!(
        flaws("INSERT INTO host (server_id, name, matching) VALUES (7, 'a', 'a')"),
        ["row 4 of table `host` belongs to no server"]
    );
}

#[test]
fn what_has_no_word_in_a_configuration_is_told() {
    assert_eq!(
        flaws("UPDATE host SET maintenance = 1 WHERE id = 1; UPDATE server SET port = 70000 WHERE id = 1"),
        [
            "row 1 of table `server` has 70000 as `port`, which is no number that it may be",
            "row 1 of table `host` has something as `maintenance`, which Mongrel2 never looks at",
        ]
    );
    assert_eq!(
        flaws("UPDATE filter SET settings = '1:a,' WHERE id = 1"),
        [
            "row 1 of table `filter` has settings that cannot be read: the text is a tnetstring, but no dictionary"
        ]
    );
    assert_eq!(
        flaws("UPDATE handler SET protocol = 'xml'"),
        ["row 1 of table `handler` has `xml` as `protocol`, which Mongrel2 takes for `json`"]
    );
    assert_eq!(
        flaws("UPDATE setting SET value = x'ff'"),
        ["row 1 of table `setting` has bytes instead of text as `value`"]
    );
}

#[test]
fn numbers_may_be_text_and_text_numbers() {
    let folder = Folder::new();
    let path = saved(&folder, &config(), None);
    change(
        &path,
        "CREATE TABLE relaxed (id INTEGER PRIMARY KEY, key, value);
        INSERT INTO relaxed VALUES (1, 'certdir', 5);
        DROP TABLE setting; ALTER TABLE relaxed RENAME TO setting;
        CREATE TABLE relaxed (id INTEGER PRIMARY KEY, addr, port);
        INSERT INTO relaxed VALUES (1, '127.0.0.1', '8080');
        DROP TABLE proxy; ALTER TABLE relaxed RENAME TO proxy",
    );
    let found = store::read(&path).unwrap();
    assert_eq!(found.flaws, []);
    assert_eq!(found.config.settings, [("certdir".to_owned(), "5".to_owned())]);
    assert_eq!(found.config.servers, config().servers);
}

#[test]
fn tables_and_columns_that_came_later_may_be_missing() {
    let folder = Folder::new();
    let path = saved(&folder, &config(), None);
    change(
        &path,
        "DROP TABLE filter; DROP TABLE xrequest; DROP TABLE log; DROP TABLE proxy;
        DELETE FROM route WHERE target_type = 'proxy';
        ALTER TABLE server DROP COLUMN use_ssl; ALTER TABLE handler DROP COLUMN protocol",
    );
    let found = store::read(&path).unwrap();
    assert_eq!(found.flaws, []);
    assert!(!found.config.servers[1].use_ssl);
    let Target::Handler(handler) = &*found.config.servers[1].hosts[0].routes[0].target else { panic!() };
    assert_eq!(handler.protocol, Protocol::Json);
    assert_eq!(store::log(&path).unwrap(), []);
}

#[test]
fn a_commit_adds_a_row_to_the_log_and_nothing_else() {
    let folder = Folder::new();
    let path = saved(&folder, &config(), None);
    let entry = Entry {
        who: "ada".into(),
        what: "port 80".into(),
        location: "here".into(),
        how: "by hand".into(),
        why: None,
    };
    store::commit(&path, &entry).unwrap();
    let log = store::log(&path).unwrap();
    assert_eq!((log[1].who.as_str(), log[1].what.as_str(), log[1].why.as_str()), ("ada", "port 80", ""));
    assert_eq!((log[1].location.as_str(), log[1].how.as_str(), log[1].id), ("here", "by hand", 2));
    assert_eq!(log[1].happened_at.len(), "2026-01-01 00:00:00".len());
    assert_eq!(store::read(&path).unwrap().config, config());
}
