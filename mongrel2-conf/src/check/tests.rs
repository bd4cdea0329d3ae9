use super::*;
use crate::model::Protocol;

fn handler() -> Handler {
    Handler {
        send_spec: "ipc://run/requests".into(),
        send_ident: "app-1".into(),
        recv_spec: "ipc://run/replies".into(),
        recv_ident: "app-".into(),
        raw_payload: true,
        protocol: Protocol::Tnetstring,
    }
}

fn with_routes(routes: Vec<Route>) -> Config {
    let hosts = vec![Host::new("localhost", routes)];
    let server = Server { uuid: "main".into(), port: 6767, hosts, ..Server::default() };
    Config { servers: vec![server], ..Config::default() }
}

fn with_handler(change: impl FnOnce(&mut Handler)) -> Config {
    let mut handler = handler();
    change(&mut handler);
    with_routes(vec![Route::new("/", Target::Handler(handler))])
}

fn with_dir(change: impl FnOnce(&mut Dir)) -> Config {
    let mut dir = Dir::new("public/");
    change(&mut dir);
    with_routes(vec![Route::new("/", Target::Dir(dir))])
}

fn complaint(config: &Config) -> String {
    config.check().unwrap_err().to_string()
}

#[test]
fn a_sound_configuration_passes() {
    assert_eq!(with_handler(|_| {}).check(), Ok(()));
    assert_eq!(with_dir(|_| {}).check(), Ok(()));
    assert_eq!(Config::default().check(), Ok(()));
}

#[test]
fn idents_must_be_what_the_reply_grammar_accepts() {
    for bad in ["", "a b", "a_b", "caf\u{e9}", "a."] {
        let config = with_handler(|handler| {
            handler.send_ident = bad.into();
            handler.recv_ident = String::new();
        });
        assert_eq!(config.check(), Err(Invalid::SendIdent { ident: bad.into() }));
    }
    assert_eq!(
        complaint(&with_handler(|handler| handler.recv_ident = "app-2".into())),
        "recv_ident `app-2` is no prefix of send_ident `app-1`"
    );
    assert_eq!(with_handler(|handler| handler.recv_ident = String::new()).check(), Ok(()));
}

#[test]
fn an_address_is_bound_by_one_handler_only() {
    let other = Handler { send_ident: "app-2".into(), ..handler() };
    let routes = |second: Handler| {
        with_routes(vec![
            Route::new("/a", Target::Handler(handler())),
            Route::new("/b", Target::Handler(second)),
        ])
    };
    assert_eq!(routes(handler()).check(), Ok(()));
    assert_eq!(
        complaint(&routes(other)),
        "two different handlers of server `main` use the address `ipc://run/requests`"
    );
    let twice = with_handler(|handler| handler.recv_spec = handler.send_spec.clone());
    assert!(matches!(twice.check(), Err(Invalid::OneSpec { .. })));
}

#[test]
fn a_socket_path_must_fit_the_operating_system() {
    let fits = with_handler(|handler| handler.send_spec = format!("ipc://{}", "x".repeat(107)));
    assert_eq!(fits.check(), Ok(()));
    let long = with_handler(|handler| handler.send_spec = format!("ipc://{}", "x".repeat(108)));
    assert!(matches!(long.check(), Err(Invalid::LongIpcPath { bytes: 108, limit: 107, .. })));
}

#[test]
fn dir_bases_are_folders_that_mongrel2_can_use() {
    let base = |text: &str| with_dir(|dir| dir.base = text.into()).check();
    assert_eq!(base("public"), Err(Invalid::DirBaseEnd { base: "public".into() }));
    assert_eq!(base("a%20b/"), Err(Invalid::DirBasePercent { base: "a%20b/".into() }));
    assert_eq!(base("100%/"), Ok(()));
    let long = format!("{}/", "x".repeat(255));
    assert!(matches!(base(&long), Err(Invalid::DirBaseLength { bytes: 256, .. })));
    let mut config = with_dir(|dir| dir.base = long);
    config.settings.push(("limits.dir_max_path".into(), "1000".into()));
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn a_cache_ttl_must_stay_positive_in_the_database() {
    let ttl = |seconds| with_dir(|dir| dir.cache_ttl = seconds).check();
    assert_eq!(ttl(2_147_483_647), Ok(()));
    assert_eq!(ttl(2_147_483_648), Err(Invalid::CacheTtl { seconds: 2_147_483_648 }));
}

#[test]
fn a_dir_without_an_index_file_is_served_and_told() {
    for change in [(|dir| dir.index_file.clear()) as fn(&mut Dir), |dir| dir.default_ctype.clear()] {
        let config = with_dir(change);
        assert_eq!(config.check(), Ok(()));
        let names: Vec<_> = config.problems().iter().map(|one| one.invalid.name()).collect();
        assert_eq!(names, ["empty-in-dir"]);
    }
}

#[test]
fn header_values_cannot_be_split() {
    let config = with_dir(|dir| dir.default_ctype = "text/plain\r\nX: y".into());
    assert!(matches!(config.check(), Err(Invalid::ControlCharacter { .. })));
}

#[test]
fn routes_must_be_reachable() {
    let dir = || Target::Dir(Dir::new("public/"));
    let routes =
        |paths: &[&str]| with_routes(paths.iter().map(|path| Route::new(*path, dir())).collect()).check();
    assert!(matches!(routes(&["static/"]), Err(Invalid::RouteStart { .. })));
    assert!(matches!(routes(&["(.*)"]), Err(Invalid::RouteStart { .. })));
    assert!(matches!(routes(&["@chat"]), Err(Invalid::SocketRoute { .. })));
    assert!(matches!(routes(&["/a", "/a"]), Err(Invalid::SameRoute { .. })));
    assert!(matches!(routes(&["/(x)", "/"]), Err(Invalid::PlainAmongPatterns { .. })));
    let other = Target::Dir(Dir::new("private/"));
    let untried = vec![Route::new("/", dir()), Route::new("/(x)", other)];
    assert!(matches!(with_routes(untried).check(), Err(Invalid::PlainAmongPatterns { .. })));
    // What Mongrel2 serves as it was meant is not refused.
    for mixed in [["/", "/(x)"], ["/(.*)", "/"], ["/", "/(.*)"]] {
        assert_eq!(routes(&mixed), Ok(()));
        let routes = mixed.map(|path| Route::new(path, dir())).to_vec();
        let names: Vec<_> = with_routes(routes).problems().iter().map(|one| one.invalid.name()).collect();
        assert!(names.contains(&"plain-among-patterns"), "{names:?}");
    }
    assert_eq!(routes(&["/()", "/(x)", "/a", "/a/b"]), Ok(()));
}

#[test]
fn a_server_needs_its_default_host_and_a_port() {
    let mut config = with_handler(|_| {});
    config.servers[0].default_host = "example.org".into();
    assert_eq!(complaint(&config), "server `main` has no host named `example.org`, its default_host");
    let mut config = with_handler(|_| {});
    config.servers[0].port = 0;
    assert_eq!(complaint(&config), "server `main` has port 0");
    let mut config = with_handler(|_| {});
    config.servers[0].pid_file = String::new();
    assert_eq!(complaint(&config), "pid_file of server `main` is empty");
    let mut config = with_handler(|_| {});
    config.servers[0].use_ssl = true;
    assert!(matches!(config.check(), Err(Invalid::NoCertdir { .. })));
    config.settings.push(("certdir".into(), "certs/".into()));
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn nothing_that_must_be_unique_is_there_twice() {
    let mut config = with_handler(|_| {});
    config.servers.push(config.servers[0].clone());
    assert_eq!(config.check(), Err(Invalid::SameUuid { uuid: "main".into() }));

    let mut config = with_handler(|_| {});
    let host = config.servers[0].hosts[0].clone();
    config.servers[0].hosts.push(host);
    assert!(matches!(config.check(), Err(Invalid::SameHost { .. })));

    let pair = |key: &str| (key.to_owned(), "1".to_owned());
    let settings = vec![pair("zeromq.threads"), pair("zeromq.threads")];
    let config = Config { settings, ..Config::default() };
    assert_eq!(complaint(&config), "setting `zeromq.threads` is there twice");

    let config = Config { mimetypes: vec![pair(".a"), pair(".a")], ..Config::default() };
    assert_eq!(complaint(&config), "mimetype extension `.a` is there twice");
}

#[test]
fn extensions_are_dotted_and_lower_case() {
    for bad in ["html", ".HTML", "", &format!(".{}", "x".repeat(127))] {
        let mimetypes = vec![(bad.to_owned(), "text/html".to_owned())];
        let config = Config { mimetypes, ..Config::default() };
        assert!(matches!(config.check(), Err(Invalid::Extension { .. })), "{bad}");
    }
}
