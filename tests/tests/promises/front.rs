use mongrel2_conf::model::{Config, Handler, Host, Module, Protocol, Proxy, Route, Server, Target};
use mongrel2_conf::{mimetypes, store};
use serde_json::Value;
use tests::command::{self, Finished};
use tests::folder::Folder;
use tests::site::{Site, script};

const APP: &str = r#"app:get("/", function() return "here" end)"#;

/// A folder with `config.sqlite`, whose servers have these names, and an app.
fn database(names: &[&str], change: impl Fn(&mut Server)) -> Folder {
    let folder = Folder::new();
    folder.write("app.lua", script(APP));
    let handler = |name: &str| Handler {
        send_spec: format!("ipc://{name}-requests"),
        send_ident: name.to_owned(),
        recv_spec: format!("ipc://{name}-replies"),
        recv_ident: String::new(),
        raw_payload: true,
        protocol: Protocol::Tnetstring,
    };
    let servers = names.iter().zip(1..).map(|(name, number)| {
        let mut server = Server {
            uuid: format!("uuid-{name}"),
            name: (*name).to_owned(),
            port: number,
            hosts: vec![Host::new("localhost", vec![Route::new("/", Target::Handler(handler(name)))])],
            ..Server::default()
        };
        change(&mut server);
        server
    });
    let config = Config { servers: servers.collect(), mimetypes: mimetypes::defaults(), ..Config::default() };
    store::write(&config, &folder.path().join("config.sqlite")).expect("a configuration that can be written");
    folder
}

fn with_everything(server: &mut Server) {
    server
        .filters
        .push(Module { name: "/usr/lib/mongrel2/filters/null.so".to_owned(), settings: Vec::new() });
    let proxy = Proxy { addr: "127.0.0.1".to_owned(), port: 8080 };
    server.hosts[0].routes.push(Route::new("/old", Target::Proxy(proxy)));
}

fn fails(folder: &Folder, arguments: &[&str], code: i32, words: &[&str]) {
    let Finished { code: found, stdout, stderr } = command::run(folder.path(), arguments);
    assert_eq!(found, Some(code), "{arguments:?}: {stdout}{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{arguments:?}: {stderr}");
    }
}

const PROXY: &str = "route `/old` of host `localhost` of server `main` leads to the proxy 127.0.0.1:8080";
const FILTER: &str = "server `main` has the filter `/usr/lib/mongrel2/filters/null.so`";

#[test]
fn what_the_front_does_not_support_keeps_it_from_starting_and_is_named() {
    let folder = database(&["main"], with_everything);
    fails(&folder, &["front", "config.sqlite"], 2, &[PROXY, FILTER]);
}

#[test]
fn check_says_what_the_front_would_not_support_as_an_error_only_for_the_front() {
    let folder = database(&["main"], with_everything);
    let findings = |more: &[&str]| {
        let arguments = [&["check", "--json", "--mongrel2=config.sqlite", "app.lua"], more].concat();
        let report = command::run(folder.path(), arguments).stdout;
        let report: Value = serde_json::from_str(&report).unwrap_or_else(|e| panic!("{e}: {report}"));
        let all = report["mongrel2"].as_array().expect("a list").clone();
        let ours = all.into_iter().filter(|finding| finding["name"] == "front-unsupported");
        ours.map(|finding| finding["severity"].as_str().expect("a text").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(findings(&["--front=kennel"]), ["error", "error"]);
    assert_eq!(findings(&[]), ["note", "note"]);
    assert_eq!(findings(&["--front=mongrel2"]), [""; 0]);
    let check = ["check", "--front=kennel", "--mongrel2=config.sqlite", "app.lua"];
    fails(&folder, &check, 2, &[PROXY, FILTER]);
}

#[test]
fn a_server_of_the_database_is_chosen_by_name_or_uuid_and_mistakes_list_what_there_is() {
    let folder = database(&["main", "other"], |_| {});
    fails(
        &folder,
        &["front", "config.sqlite"],
        2,
        &["several servers", "main", "other", "by its name or uuid"],
    );
    fails(&folder, &["front", "config.sqlite", "mian"], 2, &["no server with name `mian`", "main"]);
    fails(&folder, &["front", "x.sqlite"], 2, &["no database `x.sqlite`"]);
    fails(&folder, &["front", "app.lua"], 2, &["`app.lua` is not a database"]);
    // Both names lead to the server that is not supported, so the choice was the right one.
    let folder = database(&["main", "other"], |server| {
        if server.name == "main" {
            with_everything(server);
        }
    });
    fails(&folder, &["front", "config.sqlite", "main"], 2, &[PROXY]);
    fails(&folder, &["front", "config.sqlite", "uuid-main"], 2, &[PROXY]);
}

#[test]
fn with_the_front_no_mongrel2_has_to_be_installed() {
    let nothing = Folder::new();
    let site = Site::plan(APP).argument("--front=kennel").variable("PATH", nothing.path()).spawn();
    let line = site.log().expect("kennel front starts on");
    assert!(line.contains(&site.port().to_string()), "{line}");
    assert!(!site.log().text().contains("mongrel2 is not installed"), "{}", site.log().text());
}

#[test]
fn behind_an_existing_server_the_choice_of_another_one_has_no_effect_and_is_told() {
    let site = Site::plan(APP).behind_warm().argument("--front=kennel").start();
    site.log().expect("--front has no effect: an existing server is named");
    assert_eq!(site.get("/").text(), "here");
}

#[test]
fn settings_of_the_file_choose_the_server_and_what_has_no_effect_is_told() {
    let check = |toml: &str, arguments: &[&str]| {
        let folder = Folder::new();
        folder.write("app.lua", script(APP));
        folder.write("kennel.toml", toml);
        let Finished { stdout, stderr, .. } =
            command::run(folder.path(), [&["check", "app.lua"], arguments].concat());
        stdout + &stderr
    };
    let said = check("front = \"kennel\"\nflow_control = false\n", &[]);
    assert!(said.contains("`flow_control = false` in kennel.toml has no effect"), "{said}");
    assert!(said.contains("Kennel's front:") && !said.contains("hot_dividend"), "{said}");
    let said = check("front = \"kennel\"\n", &["--front=mongrel2"]);
    assert!(said.contains("Kennel's own mongrel2:"), "{said}");
    let said = check("front = \"nginx\"\n", &[]);
    assert!(said.contains("`nginx` is not a value of this key; write \"kennel\" or \"mongrel2\""), "{said}");
    let existing = "[[mongrel2]]\nsend_spec = \"ipc://a\"\nrecv_spec = \"ipc://b\"\n";
    let said = check(&format!("front = \"kennel\"\n{existing}"), &[]);
    assert!(said.contains("`front` in kennel.toml has no effect"), "{said}");
}

#[test]
fn https_takes_the_front_and_two_files_that_are_there() {
    let folder = database(&["main"], |_| {});
    let start = |front: &'static str, tls: &'static str| {
        ["run", "--front", front, "--listen", "127.0.0.1:1", "--tls", tls, "app.lua"]
    };
    fails(
        &folder,
        &start("mongrel2", "cert.pem,key.pem"),
        2,
        &["--tls needs Kennel's own front", "leave out --front mongrel2"],
    );
    fails(&folder, &start("kennel", "cert.pem"), 2, &["write two PEM files: CERT,KEY"]);
    fails(
        &folder,
        &["front", "--tls", "cert.pem,key.pem", "config.sqlite"],
        2,
        &["no certificate at `cert.pem`"],
    );
}
