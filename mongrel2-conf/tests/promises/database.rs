use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use kennel_http::media_types::TYPES;
use mongrel2_conf::model::{Config, Dir, Handler, Host, Protocol, Proxy, Route, Server, Target};
use mongrel2_conf::store::{self, StoreError};
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::server::{Folder, needs_mongrel2};

fn handler(ident: &str) -> Handler {
    Handler {
        send_spec: format!("ipc://run/{ident}-requests"),
        send_ident: ident.into(),
        recv_spec: format!("ipc://run/{ident}-replies"),
        recv_ident: String::new(),
        raw_payload: false,
        protocol: Protocol::Json,
    }
}

fn config() -> Config {
    let chat = Handler { raw_payload: true, protocol: Protocol::Tnetstring, ..handler("chat") };
    let chat = Arc::new(Target::Handler(chat));
    let files = Dir { cache_ttl: 60, ..Dir::new("public/") };
    let routes = vec![
        Route::new("/", Arc::clone(&chat)),
        Route::new("@chat", Arc::clone(&chat)),
        Route::new("/files/", Target::Dir(files)),
        Route::new("/old/(.*)", Target::Proxy(Proxy { addr: "127.0.0.1".into(), port: 8080 })),
    ];
    let other = vec![Route::new("/", Target::Handler(handler("api"))), Route::new("/chat", chat)];
    let server = Server {
        uuid: "main".into(),
        name: "site".into(),
        port: 6767,
        hosts: vec![Host::new("localhost", routes), Host::new("api.localhost", other)],
        ..Server::default()
    };
    let settings = [("server.daemonize", "0"), ("limits.min_ping", "30")];
    Config {
        servers: vec![server],
        settings: settings.map(|(key, value)| (key.into(), value.into())).into(),
        mimetypes: mongrel2_conf::mimetypes::defaults(),
    }
}

/// All rows of a query, each column as text, joined by `|`.
fn rows(path: &Path, query: &str) -> Vec<String> {
    let db = Connection::open(path).unwrap();
    let mut query = db.prepare(query).unwrap();
    let columns = query.column_count();
    let text = |value| match value {
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => format!("'{text}'"),
        other => format!("{other:?}"),
    };
    let row = |row: &rusqlite::Row<'_>| -> rusqlite::Result<String> {
        let cells: Result<Vec<String>, _> = (0..columns).map(|at| row.get(at).map(text)).collect();
        Ok(cells?.join("|"))
    };
    query.query_map([], row).unwrap().map(Result::unwrap).collect()
}

#[test]
fn every_table_has_its_rows() {
    let folder = Folder::new();
    let path = folder.path().join("config.sqlite");
    store::write(&config(), &path).unwrap();
    let table = |name: &str| rows(&path, &format!("SELECT * FROM {name} ORDER BY id"));

    assert_eq!(
        table("server"),
        ["1|'main'|'logs/access.log'|'logs/error.log'|''|'run/mongrel2.pid'|''|'localhost'|'site'\
          |'127.0.0.1'|6767|0"]
    );
    assert_eq!(table("host"), ["1|1|0|'localhost'|'localhost'", "2|1|0|'api.localhost'|'api.localhost'"]);
    assert_eq!(
        table("handler"),
        [
            "1|'ipc://run/chat-requests'|'chat'|'ipc://run/chat-replies'|''|1|'tnetstring'",
            "2|'ipc://run/api-requests'|'api'|'ipc://run/api-replies'|''|0|'json'",
        ]
    );
    assert_eq!(table("directory"), ["1|'public/'|'index.html'|'application/octet-stream'|60"]);
    assert_eq!(table("proxy"), ["1|'127.0.0.1'|8080"]);
    assert_eq!(
        table("route"),
        [
            "1|'/'|0|1|1|'handler'",
            "2|'@chat'|0|1|1|'handler'",
            "3|'/files/'|0|1|1|'dir'",
            "4|'/old/(.*)'|0|1|1|'proxy'",
            "5|'/'|0|2|2|'handler'",
            "6|'/chat'|0|2|1|'handler'",
        ]
    );
    assert_eq!(table("setting"), ["1|'server.daemonize'|'0'", "2|'limits.min_ping'|'30'"]);
    assert_eq!(table("mimetype").len(), TYPES.len());
    assert!(table("mimetype").iter().any(|row| row.ends_with("|'image/png'|'.png'")));
    for empty in ["filter", "xrequest", "statistic"] {
        assert!(table(empty).is_empty());
    }
    assert_eq!(rows(&path, "SELECT who, what FROM log"), ["'kennel'|'load'"]);
}

#[test]
fn the_tables_are_those_that_m2sh_makes() {
    if !needs_mongrel2() {
        return;
    }
    let folder = Folder::new();
    let source = "main = Server(uuid='u', name='n', access_log='a', error_log='e', chroot='', \
        pid_file='p', default_host='h', port=1, hosts=[Host(name='h', routes={'/': \
        Dir(base='b/', index_file='i', default_ctype='c')})])\nservers = [main]\n";
    folder.write("mongrel2.conf", source);
    let loaded = Command::new("m2sh")
        .args(["load", "-config", "mongrel2.conf", "-db", "theirs.sqlite"])
        .current_dir(folder.path())
        .output()
        .unwrap_or_else(|err| panic!("this test needs `m2sh` in the PATH (Debian: mongrel2-core): {err}"));
    assert!(loaded.status.success(), "{loaded:?}");
    store::write(&config(), &folder.path().join("ours.sqlite")).unwrap();

    let columns = |name: &str| {
        let query = "SELECT m.name, c.name, upper(c.type), replace(c.dflt_value, '\"', ''''), c.pk
            FROM sqlite_master m, pragma_table_info(m.name) c
            WHERE m.type = 'table' ORDER BY m.name, c.cid";
        rows(&folder.path().join(name), query)
    };
    assert!(columns("theirs.sqlite").len() > 50);
    assert_eq!(columns("ours.sqlite"), columns("theirs.sqlite"));
}

#[test]
fn handlers_are_read_back_once_for_each_route() {
    let folder = Folder::new();
    let path = folder.path().join("config.sqlite");
    let config = config();
    store::write(&config, &path).unwrap();

    let found = store::handlers(&path).unwrap();
    let places: Vec<_> = found.iter().map(|row| (row.host_name.as_str(), row.route.as_str())).collect();
    assert_eq!(
        places,
        [("localhost", "/"), ("localhost", "@chat"), ("api.localhost", "/"), ("api.localhost", "/chat"),]
    );
    assert!(found.iter().all(|row| row.server_uuid == "main" && row.server_name == "site"));
    let Target::Handler(chat) = &*config.servers[0].hosts[0].routes[0].target else { panic!() };
    assert_eq!(&found[0].handler, chat);
    assert_eq!(found[0].handler, found[3].handler);
    assert_eq!(found[2].handler, handler("api"));
    assert_eq!(store::settings(&path).unwrap(), config.settings);
}

#[test]
fn a_wrong_configuration_leaves_everything_as_it_was() {
    let folder = Folder::new();
    let path = folder.path().join("config.sqlite");
    store::write(&config(), &path).unwrap();
    let before = fs::read(&path).unwrap();

    let mut wrong = config();
    wrong.servers[0].port = 0;
    assert!(matches!(store::write(&wrong, &path), Err(StoreError::Invalid(_))));
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn writing_again_replaces_all_but_the_log() {
    let folder = Folder::new();
    let path = folder.path().join("config.sqlite");
    store::write(&config(), &path).unwrap();
    let db = Connection::open(&path).unwrap();
    db.execute("UPDATE log SET who = 'somebody', why = 'a reason'", []).unwrap();
    drop(db);

    let smaller = Config { settings: Vec::new(), ..config() };
    store::write(&smaller, &path).unwrap();
    assert!(rows(&path, "SELECT * FROM setting").is_empty());
    assert_eq!(
        rows(&path, "SELECT id, who, why FROM log ORDER BY id"),
        ["1|'somebody'|'a reason'", "2|'kennel'|''"]
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_file_that_is_no_database_is_not_overwritten() {
    let folder = Folder::new();
    folder.write("mongrel2.conf", "servers = []");
    let path = folder.path().join("mongrel2.conf");
    let err = store::write(&config(), &path).unwrap_err();
    assert!(matches!(err, StoreError::NotADatabase { .. }));
    assert_eq!(fs::read_to_string(&path).unwrap(), "servers = []");
}

#[test]
fn an_unwritable_place_is_an_error_that_names_it() {
    let folder = Folder::new();
    let path = folder.path().join("missing/config.sqlite");
    let err = store::write(&config(), &path).unwrap_err();
    assert!(
        matches!(&err, StoreError::NoFolder { folder: named, .. } if named.ends_with("missing")),
        "{err}"
    );
}

#[test]
fn reading_what_is_not_there_creates_nothing() {
    let folder = Folder::new();
    let path = folder.path().join("config.sqlite");
    assert!(matches!(store::handlers(&path), Err(StoreError::NotThere { .. })));
    assert!(!path.exists());
}
