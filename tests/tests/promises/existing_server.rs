use mongrel2_conf::model::{Config, Handler, Host, Protocol, Route, Server, Target};
use mongrel2_conf::{mimetypes, store};
use serde_json::Value;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tests::client::Client;
use tests::command::{self, Finished};
use tests::folder::Folder;
use tests::port::Port;
use tests::process::{self, Signal};
use tests::server::needs_mongrel2;
use tests::site::{Site, script};
use tests::wait;

const APP: &str = r#"app:get("/hello/{name}", function(req, name) return "hello " .. name end)"#;

/// A folder with a database as people write them: relative names, and for root a chroot of `./`. Its servers end
/// with it.
struct Installation {
    folder: Folder,
    names: Vec<&'static str>,
    ports: Vec<Port>,
}

impl Installation {
    fn new(names: &[&'static str]) -> Self {
        Self::with_settings(names, &[])
    }

    /// `None`: there is no Mongrel2 to start.
    fn with_mongrel2(names: &[&'static str]) -> Option<Self> {
        needs_mongrel2().then(|| Self::new(names))
    }

    fn with_settings(names: &[&'static str], settings: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        for below in ["run", "logs", "tmp"] {
            std::fs::create_dir(folder.path().join(below)).expect("a folder");
        }
        // A Mongrel2 that cannot chroot takes its start for a test, and stays in the foreground.
        let (chroot, root) = if rustix::process::geteuid().is_root() { ("./", "/") } else { ("", "") };
        let ports: Vec<_> = names.iter().map(|_| Port::free()).collect();
        let servers = names.iter().zip(&ports).map(|(name, port)| Server {
            uuid: format!("uuid-{name}"),
            name: (*name).into(),
            chroot: chroot.into(),
            access_log: format!("{root}logs/{name}-access.log"),
            error_log: format!("{root}logs/{name}-error.log"),
            pid_file: format!("{root}run/{name}.pid"),
            control_port: format!("ipc://run/{name}-control"),
            port: port.number(),
            hosts: vec![Host::new(
                "localhost",
                vec![
                    Route::new("/", Target::Handler(handler(&format!("{name}-app")))),
                    Route::new("/other", Target::Handler(handler(&format!("{name}-other")))),
                ],
            )],
            ..Server::default()
        });
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let config = Config {
            servers: servers.collect(),
            settings: settings.collect(),
            mimetypes: mimetypes::defaults(),
        };
        let installation = Self { folder, names: names.to_vec(), ports };
        store::write(&config, &installation.database()).expect("a configuration that can be written");
        installation
    }

    fn database(&self) -> std::path::PathBuf {
        self.folder.path().join("config.sqlite")
    }

    /// Makes a mistake that no tool of ours would write.
    fn edit(&self, sql: &str) {
        let database = rusqlite::Connection::open(self.database()).expect("a database");
        database.execute_batch(sql).expect("an edit");
    }

    fn kennel(&self, arguments: &[&str]) -> Finished {
        command::run(self.folder.path(), arguments)
    }

    /// Runs a command that must succeed.
    fn fine(&self, arguments: &[&str]) -> String {
        let finished = self.kennel(arguments);
        assert_eq!(finished.code, Some(0), "{arguments:?}: {}{}", finished.stdout, finished.stderr);
        finished.stdout
    }

    /// Runs a command that must fail, and returns why.
    fn fails(&self, arguments: &[&str], code: i32) -> String {
        let finished = self.kennel(arguments);
        assert_eq!(finished.code, Some(code), "{arguments:?}: {}{}", finished.stdout, finished.stderr);
        finished.stderr
    }

    fn pid_file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(format!("run/{name}.pid"))
    }

    fn pid(&self, name: &str) -> Option<u32> {
        std::fs::read_to_string(self.pid_file(name)).ok()?.trim().parse().ok()
    }

    fn running(&self) -> Value {
        let finished = self.kennel(&["running", "--json"]);
        serde_json::from_str(&finished.stdout).expect("JSON")
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        for name in &self.names {
            let Some(pid) = self.pid(name) else { continue };
            if process::command_line(pid).starts_with("mongrel2 ") {
                process::kill(pid);
                wait::until("mongrel2 is gone", || !process::is_alive(pid));
            }
        }
    }
}

fn handler(ident: &str) -> Handler {
    Handler {
        send_spec: format!("ipc://run/{ident}-in"),
        send_ident: ident.into(),
        recv_spec: format!("ipc://run/{ident}-out"),
        recv_ident: ident.into(),
        raw_payload: true,
        protocol: Protocol::Tnetstring,
    }
}

#[test]
fn a_server_is_started_found_and_stopped() {
    let Some(at) = Installation::with_mongrel2(&["main"]) else { return };
    assert_eq!(at.kennel(&["running"]).code, Some(1));
    let text = at.fine(&["start"]);
    let pid = at.pid("main").expect("a pid file");
    assert_eq!(text, format!("main: started (process {pid}), on {}\n", at.ports[0].address()));
    Client::connect(at.ports[0].number());
    let text = at.fine(&["running"]);
    assert!(text.contains(&pid.to_string()) && text.contains("running"), "{text}");
    assert_eq!(at.fine(&["ctl", "uuid"]), "uuid-main\n");
    assert!(at.fails(&["start"], 1).contains("runs already"));
    assert!(at.fine(&["reload", "--name=main"]).contains("opens its logs anew"));
    assert_eq!(at.fine(&["stop", "--name=main"]), format!("main: stopped (process {pid})\n"));
    assert!(!process::is_alive(pid));
    assert!(at.fails(&["stop", "--name=main"], 3).contains("there is no pid file"));
}

#[test]
fn a_server_is_murdered_from_anywhere() {
    let Some(at) = Installation::with_mongrel2(&["main"]) else { return };
    let elsewhere = Folder::new();
    let database = at.database().display().to_string();
    let started = command::run(elsewhere.path(), ["start", "--db", &database]);
    assert_eq!(started.code, Some(0), "{}", started.stderr);
    let pid = at.pid("main").expect("a pid file");
    let stopped = command::run(elsewhere.path(), ["stop", "--murder", "--db", &database]);
    assert_eq!(stopped.code, Some(0), "{}", stopped.stderr);
    assert!(!process::is_alive(pid));
}

#[test]
fn one_server_or_all_of_several() {
    let Some(at) = Installation::with_mongrel2(&["main", "admin"]) else { return };
    let problem = at.fails(&["start"], 2);
    for part in ["several servers", "name `main`", "name `admin`", "--every"] {
        assert!(problem.contains(part), "{problem}");
    }
    at.fine(&["start", "--uuid=uuid-admin"]);
    let states = |list: Value| [list[0]["state"].clone(), list[1]["state"].clone()];
    assert_eq!(states(at.running()), ["absent", "running"]);
    let text = at.fine(&["start", "--every"]);
    assert!(text.contains("main: started") && text.contains("admin: runs already"), "{text}");
    let uuids: Value = serde_json::from_str(&at.fine(&["ctl", "uuid", "--every", "--json"])).expect("JSON");
    assert_eq!(uuids[0]["answer"]["uuid"], "uuid-main");
    assert_eq!(uuids[1]["answer"]["uuid"], "uuid-admin");
    at.fine(&["stop", "--every"]);
    assert_eq!(states(at.running()), ["absent", "absent"]);
}

#[test]
fn a_control_port_that_two_servers_share_is_told_by_the_one_that_lost_it() {
    let Some(at) = Installation::with_mongrel2(&["main", "admin"]) else { return };
    at.edit("UPDATE server SET control_port = ''");
    at.fine(&["start", "--name=main"]);
    at.fine(&["start", "--name=admin"]);
    assert_eq!(at.fine(&["ctl", "uuid", "--name=admin"]), "uuid-admin\n");
    let problem = at.fails(&["ctl", "terminate", "--name=main"], 3);
    assert!(problem.contains("answered by the server with uuid `uuid-admin`"), "{problem}");
    assert_eq!(at.running()[1]["state"], "running");
}

#[test]
fn a_stale_pid_file_is_told_and_does_not_keep_a_server_from_starting() {
    let Some(at) = Installation::with_mongrel2(&["main"]) else { return };
    let says = || at.running()[0]["says"].as_str().expect("text").to_owned();
    at.fine(&["start"]);
    let pid = at.pid("main").expect("a pid file");
    process::kill(pid);
    wait::until("it is gone", || !process::is_alive(pid));
    assert!(says().ends_with(&format!("is stale, process {pid} is gone")), "{}", says());
    assert!(at.fails(&["stop", "--name=main"], 3).contains("is gone"));

    let own = std::process::id();
    std::fs::write(at.pid_file("main"), own.to_string()).expect("a pid file");
    assert!(says().contains(&format!("process {own} is another program, `")), "{}", says());
    assert!(at.fails(&["stop", "--name=main"], 3).contains("another program"));

    let started = at.kennel(&["start"]);
    assert_eq!(started.code, Some(0), "{}", started.stderr);
    assert!(started.stderr.contains("it is removed"), "{}", started.stderr);
    assert_ne!(at.pid("main"), Some(own));
    std::fs::write(at.folder.path().join("run/copy"), "nonsense").expect("a file");
    at.edit("UPDATE server SET pid_file = replace(pid_file, 'main.pid', 'copy')");
    assert!(says().ends_with("there is no process id in it"), "{}", says());
    at.edit("UPDATE server SET pid_file = replace(pid_file, 'copy', 'main.pid')");
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let Some(at) = Installation::with_mongrel2(&["main"]) else { return };
    let _taken = TcpListener::bind(at.ports[0].address()).expect("a port of its own");
    let problem = at.fails(&["start"], 3);
    assert!(problem.contains("mongrel2 does not start"), "{problem}");
    assert!(problem.contains(&at.ports[0].number().to_string()), "{problem}");
    // Mongrel2 makes no folders: that is told at once.
    let at = Installation::new(&["main"]);
    let begun = Instant::now();
    std::fs::remove_dir_all(at.folder.path().join("logs")).expect("a folder can be removed");
    let problem = at.fails(&["start"], 3);
    assert!(problem.contains("mkdir -p ") && problem.contains("logs"), "{problem}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_server_without_a_daemon_stays_in_the_foreground() {
    if !needs_mongrel2() {
        return;
    }
    let at = Installation::with_settings(&["main", "admin"], &[("server.daemonize", "0")]);
    let problem = at.fails(&["start", "--every"], 2);
    assert!(problem.contains("server.daemonize is 0") && problem.contains("one by one"), "{problem}");
    let mut command = command::command(at.folder.path(), ["start", "--name=main"]);
    let mut server =
        command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("kennel can be started");
    wait::until("it has become mongrel2", || at.pid("main") == Some(server.id()));
    let mut stopped = None;
    wait::until("it takes its signal", || {
        stopped = Some(at.kennel(&["stop", "--name=main"]));
        // Its parent is this test, which waits for it here only.
        server.try_wait().expect("a child can be waited for").is_some()
    });
    assert!(stopped.is_some_and(|stopped| stopped.code == Some(0)));
}

#[test]
fn stop_and_reload_are_about_the_kennel_of_this_folder_unless_a_server_is_named() {
    let at = Installation::new(&["main"]);
    assert!(at.fails(&["stop"], 3).contains("no kennel runs in this directory"));
    assert!(at.fails(&["reload"], 3).contains("no kennel runs in this directory"));
    assert!(at.fails(&["stop", "--every", "--pid=7"], 2).contains("--pid 7 names a running kennel"));
    assert!(at.fails(&["stop", "--db=other.sqlite"], 2).contains("no database `other.sqlite`"));
}

#[test]
fn a_handler_is_found_in_the_database_and_served() {
    let Some(at) = Installation::with_mongrel2(&["main", "admin"]) else { return };
    at.fine(&["start", "--every"]);
    let database = at.database().display().to_string();
    let plan = Site::plan(APP)
        .behind_named(at.ports[1].number())
        .argument(&format!("--mongrel2={database}"))
        .argument("--server=admin")
        .argument("--route=/");
    let site = plan.start();
    assert_eq!(site.get("/hello/you").text(), "hello you");
    drop(site);

    let toml =
        format!("[[mongrel2]]\nconfig = \"{database}\"\nserver = \"uuid-main\"\nhandler = \"main-app\"\n");
    let site = Site::plan(APP).config(&toml).behind_named(at.ports[0].number()).start();
    assert_eq!(site.get("/hello/me").text(), "hello me");
}

#[test]
fn a_database_whose_server_was_started_elsewhere_is_found_by_its_pid_file() {
    let Some(at) = Installation::with_mongrel2(&["main"]) else { return };
    let other = Folder::new();
    at.edit(&format!(
        "UPDATE server SET chroot = '', pid_file = '{}'; UPDATE server SET access_log = '/dev/null', error_log = \
         '/dev/null'",
        at.pid_file("main").display()
    ));
    std::fs::create_dir(other.path().join("run")).expect("a folder");
    let workdir = other.path().display().to_string();
    at.fine(&["start", "--workdir", &workdir]);
    let database = at.database().display().to_string();
    // The kernel says where that process is; nobody has to.
    assert_eq!(at.fine(&["ctl", "uuid"]), "uuid-main\n");
    let plan = Site::plan(APP)
        .behind_named(at.ports[0].number())
        .argument(&format!("--mongrel2={database}"))
        .argument("--handler=main-app");
    assert_eq!(plan.start().get("/hello/x").text(), "hello x");
}

#[test]
fn what_is_ambiguous_or_missing_lists_what_there_is() {
    let at = Installation::new(&["main", "admin"]);
    at.folder.write("app.lua", script(APP));
    for (arguments, parts) in [
        (&[][..], &["several handlers", "server `main`, handler `main-app`", "handler `admin-other`"][..]),
        (&["--server=main"], &["several handlers", "handler `main-app`", "handler `main-other`"]),
        (&["--route=/"], &["several handlers", "main-app", "admin-app"]),
        (&["--server=web"], &["no server `web`", "name `main`", "name `admin`"]),
        (&["--handler=chat"], &["no handler with send_ident `chat`", "admin-app"]),
        (&["--server=main", "--route=/x"], &["no handler behind a route `/x`", "`/other`"]),
    ] {
        for command in ["run", "check"] {
            let problem =
                at.fails(&[&[command, "--mongrel2=config.sqlite", "app.lua"], arguments].concat(), 2);
            for part in parts {
                assert!(problem.contains(part), "no `{part}` in {problem}");
            }
        }
    }
    assert!(at.fails(&["run", "--mongrel2=x.sqlite", "app.lua"], 2).contains("no database `x.sqlite`"));
    assert!(at.fails(&["run", "--server=main", "app.lua"], 2).contains("--mongrel2"));
    at.edit("UPDATE handler SET recv_ident = 'nobody'");
    let problem = at.fails(&["run", "--mongrel2=config.sqlite", "--handler=main-app", "app.lua"], 2);
    assert!(problem.contains("no response would ever arrive"), "{problem}");
}

/// The names of what `kennel check` finds, with their severity, and its exit code.
fn findings(at: &Installation, more: &[&str]) -> (Option<i32>, Vec<(String, String)>) {
    let arguments = ["check", "--json", "--mongrel2=config.sqlite", "--server=main", "--route=/"];
    let finished = at.kennel(&[&arguments, more].concat());
    let report: Value = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|problem| panic!("{problem}: {}{}", finished.stdout, finished.stderr));
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let list = report["mongrel2"].as_array().expect("a listing");
    let found = list.iter().map(|finding| (text(&finding["severity"]), text(&finding["name"]))).collect();
    (finished.code, found)
}

fn has(found: &(Option<i32>, Vec<(String, String)>), severity: &str, name: &str) -> bool {
    found.1.iter().any(|finding| (finding.0.as_str(), finding.1.as_str()) == (severity, name))
}

#[test]
fn a_sound_server_has_no_faults() {
    if !needs_mongrel2() {
        return;
    }
    let at = Installation::with_settings(
        &["main"],
        &[
            ("upload.temp_store", "tmp/XXXXXX"),
            ("limits.content_length", "103424"),
            ("download.flow_control", "1"),
        ],
    );
    at.folder.write("app.lua", script(APP));
    let found = findings(&at, &["app.lua"]);
    assert_eq!(found.0, Some(0), "{found:?}");
    assert!(found.1.iter().all(|(_, name)| name == "not-running"), "{found:?}");
    at.fine(&["start"]);
    let found = findings(&at, &["app.lua"]);
    assert_eq!((found.0, found.1.len()), (Some(0), 0), "{found:?}");
}

#[test]
fn each_fault_of_a_database_is_found() {
    let long = format!("UPDATE handler SET send_spec = 'ipc://{}'", "x".repeat(108));
    for (sql, severity, name) in [
        ("UPDATE handler SET recv_ident = 'other'", "error", "ident-mismatch"),
        ("UPDATE handler SET send_ident = 'a b', recv_ident = ''", "error", "bad-ident"),
        ("UPDATE handler SET send_spec = 'ipc://nowhere/x'", "error", "no-folder"),
        (&long, "error", "bad-address"),
        ("UPDATE handler SET send_spec = 'udp://x'", "error", "bad-address"),
        ("UPDATE handler SET send_spec = recv_spec", "error", "shared-address"),
        ("UPDATE handler SET recv_spec = 'ipc://run/one'", "error", "shared-address"),
        (
            "INSERT INTO setting (key, value) VALUES ('upload.temp_store', '/gone/XXXXXX')",
            "error",
            "upload-store",
        ),
        (
            "INSERT INTO setting (key, value) VALUES ('upload.temp_store', 'tmp/X')",
            "error",
            "upload-template",
        ),
        (
            "INSERT INTO setting (key, value) VALUES ('upload.temp_store', 'tmp/XXXXXX')",
            "warning",
            "content-length",
        ),
        (
            "INSERT INTO setting (key, value) VALUES ('limits.handler_targets', '16')",
            "warning",
            "handler-targets",
        ),
        ("INSERT INTO setting (key, value) VALUES ('limits.min_ping', '60')", "warning", "min-ping"),
        ("UPDATE server SET chroot = NULL", "warning", "flawed-row"),
        ("UPDATE handler SET protocol = 'json'", "note", "json"),
        ("SELECT 1", "note", "no-upload-store"),
        ("SELECT 1", "warning", "no-flow-control"),
        (
            "INSERT INTO setting (key, value) VALUES ('download.flow_control', '0')",
            "warning",
            "no-flow-control",
        ),
    ] {
        let at = Installation::new(&["main"]);
        // A tidy look at one fault at a time.
        at.edit(
            "DELETE FROM route WHERE path = '/other'; DELETE FROM handler WHERE send_ident = 'main-other'",
        );
        if sql.contains("run/one") {
            at.edit(
                "INSERT INTO handler (send_spec, send_ident, recv_spec, recv_ident, protocol) VALUES \
                 ('ipc://run/two', 'b', 'ipc://run/one', '', 'tnetstring'); INSERT INTO route (path, host_id, \
                 target_id, target_type) SELECT '/b', 1, id, 'handler' FROM handler WHERE send_ident = 'b'",
            );
        }
        at.edit(sql);
        let found = findings(&at, &[]);
        assert!(has(&found, severity, name), "{sql}: {found:?}");
        assert_eq!(found.0, Some(if severity == "error" { 2 } else { 0 }), "{sql}: {found:?}");
    }
}

#[test]
fn an_upload_store_that_is_not_mongrel2s_is_found() {
    let at = Installation::with_settings(&["main"], &[("upload.temp_store", "tmp/XXXXXX")]);
    at.folder.write(
        "kennel.toml",
        "[[mongrel2]]\nconfig = \"config.sqlite\"\nhandler = \"main-app\"\nupload_store = \"logs\"\n",
    );
    let problem = at.fails(&["check"], 2);
    assert!(problem.contains("[upload-store-mismatch]"), "{problem}");
}

#[test]
fn a_mongrel2_that_overwrites_what_trusted_proxies_say_is_found() {
    for (setting, is_found) in [("0", true), ("1", false)] {
        let at = Installation::with_settings(&["main"], &[("no_clobber_xff", setting)]);
        let server = "[[mongrel2]]\nconfig = \"config.sqlite\"\nhandler = \"main-app\"\n";
        at.folder.write("kennel.toml", format!("trusted_proxies = [\"10.0.0.0/8\"]\n{server}"));
        let found = findings(&at, &[]);
        assert_eq!(has(&found, "warning", "no-forwarded"), is_found, "{found:?}");
    }
}

#[test]
fn a_socket_that_is_not_there_is_found() {
    let Some(at) = Installation::with_mongrel2(&["main"]) else { return };
    at.fine(&["start"]);
    at.edit("UPDATE handler SET send_spec = 'ipc://run/later' WHERE send_ident = 'main-app'");
    let found = findings(&at, &[]);
    assert!(has(&found, "error", "no-socket"), "{found:?}");
}

#[test]
fn a_socket_that_this_user_may_not_use_is_found() {
    if !needs_mongrel2() {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let at = Installation::new(&["main"]);
    at.fine(&["start"]);
    let socket = at.folder.path().join("run/main-app-in");
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o500)).expect("a mode");
    // Root may do anything, and anybody else cannot become another.
    let mut check = command::command(at.folder.path(), ["check", "--mongrel2=config.sqlite", "--route=/"]);
    if rustix::process::geteuid().is_root() {
        use std::os::unix::process::CommandExt;
        check.uid(65534);
    }
    let finished = command::finish(check, b"");
    assert!(finished.stderr.contains("[no-permission]"), "{}", finished.stderr);
}

#[test]
fn a_control_port_that_does_not_answer_is_a_note() {
    let Some(at) = Installation::with_mongrel2(&["main"]) else { return };
    at.fine(&["start"]);
    at.fine(&["ctl", "control-stop"]);
    let found = findings(&at, &[]);
    assert_eq!(found.0, Some(0), "{found:?}");
    assert!(has(&found, "note", "no-control-port"), "{found:?}");
}

#[test]
fn an_address_that_another_program_has_is_found() {
    let at = Installation::new(&["main"]);
    let port = Port::free();
    at.edit(&format!(
        "UPDATE handler SET send_spec = 'tcp://{}' WHERE send_ident = 'main-app'",
        port.address()
    ));
    assert!(!has(&findings(&at, &[]), "error", "address-taken"));
    let _taken = TcpListener::bind(port.address()).expect("a port of its own");
    let found = findings(&at, &[]);
    assert!(has(&found, "error", "address-taken"), "{found:?}");
}

#[test]
fn other_consumers_are_found_over_both_kinds_of_address() {
    if !needs_mongrel2() {
        return;
    }
    for spec in ["ipc", "tcp"] {
        let at = Installation::new(&["main"]);
        let port = Port::free();
        if spec == "tcp" {
            at.edit(&format!(
                "UPDATE handler SET send_spec = 'tcp://{}' WHERE send_ident = 'main-app'",
                port.address()
            ));
        }
        at.fine(&["start"]);
        let names = ["second-consumer", "several-consumers", "connected"];
        let any = |found: &(_, Vec<(String, String)>)| found.1.iter().any(|f| names.contains(&f.1.as_str()));
        assert!(!any(&findings(&at, &[])), "{spec}: nobody is connected");
        let _first = consumer(&at);
        let found = findings(&at, &[]);
        assert!(has(&found, "warning", "second-consumer"), "{spec}: {found:?}");
        // A second kennel would be refused; a handler of another kind is not.
        let address = match spec {
            "tcp" => format!("tcp://{}", port.address()),
            _ => format!("ipc://{}", at.folder.path().join("run/main-app-in").display()),
        };
        let stranger = zmq::Context::new().socket(zmq::PULL).expect("a socket");
        stranger.connect(&address).expect("an address");
        wait::until("the second consumer is found", || {
            has(&findings(&at, &[]), "error", "several-consumers")
        });
    }
}

/// A kennel behind the installation, in a folder of its own.
fn consumer(at: &Installation) -> Site {
    let database = at.database().display().to_string();
    Site::plan(APP)
        .behind_named(at.ports[0].number())
        .argument(&format!("--mongrel2={database}"))
        .argument("--route=/")
        .start()
}

#[test]
fn a_kennel_of_this_folder_is_no_stranger() {
    let Some(at) = Installation::with_mongrel2(&["main"]) else { return };
    at.fine(&["start"]);
    at.folder.write("app.lua", script(APP));
    let mut command =
        command::command(at.folder.path(), ["run", "--mongrel2=config.sqlite", "--route=/", "app.lua"]);
    let mut kennel = command.stderr(Stdio::piped()).spawn().expect("kennel can be started");
    tests::log::Log::collect(kennel.stderr.take().expect("stderr is a pipe")).expect("ready:");
    let found = findings(&at, &[]);
    process::signal(kennel.id(), Signal::TERM);
    kennel.wait().expect("a child can be waited for");
    assert!(has(&found, "note", "connected"), "{found:?}");
    assert_eq!(found.0, Some(0), "{found:?}");
}

#[test]
fn routes_that_mongrel2_sends_elsewhere_are_found() {
    let at = Installation::new(&["main"]);
    let body = r#"
        app:get("/other/page", function() return "x" end)
        app:get("/page", function() return "x" end)
        app:channel("@chat", { message = function() end })
    "#;
    at.folder.write("app.lua", script(body));
    let arguments = ["check", "--mongrel2=config.sqlite", "--route=/", "app.lua"];
    let finished = at.kennel(&arguments);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let lines: Vec<_> = finished.stderr.lines().filter(|line| line.contains("[no-route]")).collect();
    assert_eq!(lines.len(), 2, "{}", finished.stderr);
    assert!(lines[0].contains("`/other/page` (app.lua:3): the route `/other` of host"), "{}", lines[0]);
    assert!(lines[1].contains("`@chat`") && lines[1].contains("no route leads there"), "{}", lines[1]);
}
