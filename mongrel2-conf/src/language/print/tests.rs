use super::*;
use crate::language::load_text;
use crate::model::Route;

fn handler(ident: &str) -> Target {
    Target::Handler(Handler {
        send_spec: format!("ipc://run/{ident}-requests"),
        send_ident: ident.into(),
        recv_spec: format!("ipc://run/{ident}-replies"),
        recv_ident: String::new(),
        raw_payload: true,
        protocol: Protocol::Tnetstring,
    })
}

fn with_routes(routes: Vec<Route>) -> Config {
    let hosts = vec![Host::new("localhost", routes)];
    let server = Server { uuid: "main".into(), port: 6767, hosts, ..Server::default() };
    Config { servers: vec![server], ..Config::default() }
}

#[test]
fn a_configuration_is_written_as_a_person_would() {
    let files = Arc::new(Target::Dir(Dir::new("public/img/")));
    let config = with_routes(vec![
        Route::new("/", handler("app-1")),
        Route::new("/a/", Arc::clone(&files)),
        Route::new("/b/", files),
        Route::new("/c/", Target::Proxy(Proxy { addr: "::1".into(), port: 80 })),
    ]);
    let config = Config { settings: vec![("limits.min_ping".into(), "0".into())], ..config };
    let printed = print(&config).unwrap();
    assert_eq!(
        printed.text,
        r#"app_1 = Handler(
    send_spec="ipc://run/app-1-requests",
    send_ident="app-1",
    recv_spec="ipc://run/app-1-replies",
    recv_ident="",
    raw_payload=1,
    protocol="tnetstring"
)

img = Dir(base="public/img/", index_file="index.html", default_ctype="application/octet-stream")

main = Server(
    uuid="main",
    name="",
    port=6767,
    bind_addr="127.0.0.1",
    default_host="localhost",
    access_log="logs/access.log",
    error_log="logs/error.log",
    pid_file="run/mongrel2.pid",
    hosts=[
        Host(name="localhost", routes={
            "/": app_1,
            "/a/": img,
            "/b/": img,
            "/c/": Proxy(addr="::1", port=80)
        })
    ]
)

servers = [main]

settings = {
    "limits.min_ping": 0
}
"#
    );
}

#[test]
fn quotes_are_chosen_so_that_the_text_stays() {
    assert_eq!(quoted("a").unwrap(), "\"a\"");
    assert_eq!(quoted("a\"b").unwrap(), "'a\"b'");
    assert_eq!(quoted(r#"it's a \"b"#).unwrap(), r#""it's a \"b""#);
    assert!(quoted("it's a \"b").is_err());
    assert!(quoted(r"a\").is_err());
    assert_eq!(quoted(r"a\\").unwrap(), r#""a\\""#);
}

#[test]
fn what_the_language_cannot_say_is_an_error() {
    let mut config = with_routes(vec![Route::new("/", handler("app"))]);
    config.servers[0].filters =
        vec![Module { name: "a.so".into(), settings: vec![("x".into(), Value::Number(-1))] }];
    assert_eq!(print(&config), Err(PrintError::Number { number: -1 }));
}

#[test]
fn an_order_that_cannot_be_had_is_said() {
    let config = with_routes(vec![Route::new("/long", handler("a")), Route::new("/", handler("b"))]);
    let printed = print(&config).unwrap();
    assert_eq!(
        printed.deviations,
        ["the routes of host `localhost` of server `main` will be in another order"]
    );
}

#[test]
fn names_of_variables_are_free_and_no_classes() {
    let servers = ["Main", "Main", "servers", "9", "", "a b"].map(|name| Server {
        uuid: format!("uuid-{name}"),
        name: name.into(),
        port: 6767,
        hosts: vec![Host::new("localhost", vec![Route::new("/", handler("Main"))])],
        ..Server::default()
    });
    let text = print(&Config { servers: servers.into(), ..Config::default() }).unwrap().text;
    assert!(text.ends_with("servers = [main_7, main_8, servers_2, server, uuid, a_b]\n"), "{text}");
    let Err(crate::language::LoadError::Wrong(found)) = load_text("x.conf".as_ref(), text.as_bytes()) else {
        panic!("the uuids are not the same")
    };
    assert!(found.iter().all(|one| one.name == "duplicate-uuid" || one.name.starts_with("same-")));
}

fn survives(config: &Config) -> String {
    let Printed { text, deviations } = print_database(config).unwrap();
    assert_eq!(deviations, [""; 0]);
    let loaded = load_text("printed.conf".as_ref(), text.as_bytes()).unwrap();
    assert_eq!(&loaded.with_default_mimetypes(), config, "{text}");
    text
}

#[test]
fn a_database_with_an_order_that_no_file_has_survives() {
    let routes = ["/longer/route/", "/b", "/"].map(|path| Route::new(path, handler("app")));
    let mut config = with_routes(routes.into());
    config.mimetypes = mimetypes::of_m2sh();
    let text = survives(&config);
    assert!(text.starts_with("# Rows in the order of this file, not in that of m2sh.\nkeep_order = 1\n"));
    config.servers[0].hosts[0].routes.reverse();
    let text = survives(&config);
    assert!(!text.contains("keep_order"), "{text}");
}

#[test]
fn any_list_of_content_types_survives() {
    let mut config = with_routes(Vec::new());
    let mut own = vec![(".mine".to_owned(), "x/mine".to_owned()), (".png".to_owned(), "x/png".to_owned())];
    config.mimetypes = mimetypes::of_m2sh_with(&own);
    let text = survives(&config);
    assert!(text.contains(".mine") && !text.contains(".html"), "{text}");
    own.reverse();
    config.mimetypes = own;
    assert!(survives(&config).contains("default_mimetypes = 0\n"));
    config.mimetypes.clear();
    survives(&config);
}
