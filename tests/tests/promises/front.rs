use mongrel2_conf::model::{Config, Handler, Host, Module, Protocol, Proxy, Route, Server, Target};
use mongrel2_conf::{mimetypes, store};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tests::binary;
use tests::client::{self, Client};
use tests::command::{self, Finished};
use tests::folder::Folder;
use tests::log::Log;
use tests::port::Port;
use tests::process::{self, Signal};
use tests::server;
use tests::site::{Site, script};
use tests::wait;

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

/// A `kennel` that is killed when dropped. No variable says which server it starts, and no Mongrel2 is installed.
struct Kennel {
    child: Child,
    log: Log,
    _nothing: Folder,
}

impl Kennel {
    fn start(folder: &Folder, arguments: &[&str]) -> Self {
        let nothing = Folder::new();
        let mut command = command::command(folder.path(), arguments);
        command.env_remove(server::FRONT).env("PATH", nothing.path());
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kennel can be started");
        let log = Log::collect(child.stderr.take().expect("a pipe"));
        Self { child, log, _nothing: nothing }
    }
}

impl Drop for Kennel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn without_any_setting_kennels_own_front_serves_and_the_ready_line_says_so() {
    let folder = Folder::new();
    assert_eq!(command::run(folder.path(), ["new", "hello"]).code, Some(0));
    fs::write(folder.path().join("hello/app.lua"), script(APP)).expect("the app of the starter");
    for serve in ["run", "dev"] {
        let port = Port::free();
        let listen = format!("--listen={}", port.address());
        let kennel = Kennel::start(&folder, &[serve, "--workers=1", &listen, "hello/app.lua"]);
        let ready = kennel.log.expect("ready:");
        assert!(ready.contains(&format!("ready: http://{} by kennel front, ", port.address())), "{ready}");
        assert_eq!(Client::connect(port.number()).get("/").text(), "here");
        assert_eq!(Client::connect(port.number()).get("/style.css").status, 200, "the front serves public/");
    }
}

#[test]
fn with_mongrel2_chosen_a_mongrel2_has_to_be_installed_and_the_error_names_the_default() {
    let folder = Folder::new();
    folder.write("app.lua", script(APP));
    folder.write("kennel.toml", "front = \"mongrel2\"\n");
    let port = Port::free();
    let listen = format!("--listen={}", port.address());
    let mut kennel = Kennel::start(&folder, &["run", &listen, "app.lua"]);
    kennel.log.expect("mongrel2 is not installed");
    kennel.log.expect("or serve without it: --front kennel, the default");
    let status = kennel.child.wait().expect("its end");
    assert_eq!(status.code(), Some(3));
}

#[test]
fn systemd_hears_of_kennel_and_not_of_the_front() {
    let plan = Site::plan(APP).argument("--front=kennel");
    let at = plan.folder().path().join("notify");
    let socket = UnixDatagram::bind(&at).expect("a socket");
    let mut site = plan.variable("NOTIFY_SOCKET", at).spawn();
    socket.set_read_timeout(Some(wait::PATIENCE)).expect("a socket");
    let hear = || {
        let mut buffer = [0; 1024];
        socket.recv(&mut buffer).ok().map(|size| String::from_utf8_lossy(&buffer[..size]).trim().to_owned())
    };
    assert_eq!(hear().as_deref(), Some("READY=1"));
    site.log().expect("ready:");
    site.signal(Signal::TERM);
    assert_eq!(site.exit_code(), Some(0));
    socket.set_nonblocking(true).expect("a socket");
    assert_eq!(hear(), None, "the front says nothing beside it");
}

#[test]
fn a_front_that_crashes_is_started_again_each_time_later() {
    let site = Site::plan(APP).argument("--front=kennel").start();
    let (hub, workers) = (site.hub(), site.workers());
    let front = |but: Option<u32>| {
        let is_front = |pid: &u32| server::Front::Kennel.is_server(*pid) && Some(*pid) != but;
        wait::until_some("a front runs", || process::children(hub).into_iter().find(is_front))
    };
    let mut last = front(None);
    for _ in 0..4 {
        process::kill(last);
        last = front(Some(last));
    }
    site.log().expect("kennel front ended");
    site.log().expect("starting it again in 400ms");
    wait::until("it listens", || Client::try_connect(site.port()).is_ok());
    assert_eq!(site.get("/").text(), "here");
    assert_eq!(site.workers(), workers, "nothing else has ended");
}

#[test]
fn flow_control_between_hub_and_front_cannot_be_switched_off() {
    const LONG: &str = r#"app:get("/", function()
  return kennel.stream(function(write) for _ = 1, 400 do write(("x"):rep(65536)) end end)
end)"#;
    let site = Site::plan(LONG).config("flow_control = false\n").argument("--front=kennel").start();
    site.log().expect("`flow_control = false` in kennel.toml has no effect");
    let folder = site.folder().path().join(".kennel").join(site.hub().to_string());
    let settings = store::settings(&folder.join("config.sqlite")).expect("its database");
    assert!(settings.contains(&("download.flow_control".to_owned(), "1".to_owned())), "{settings:?}");
    // Without it, a client that reads nothing for a moment loses the rest of a long stream.
    let mut slow = site.client();
    slow.send(client::get("/"));
    let mut others = site.client();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(300) {
        others.send("GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(others.read().status, 404);
    }
    assert_eq!(slow.read().body.len(), 400 * 65_536);
}

/// Makes `cert.pem` and `key.pem`, which sign themselves.
fn certify(folder: &Path) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .output()
        .expect("this test needs openssl");
    assert!(made.status.success(), "{made:?}");
}

/// Asks by https, and trusts this certificate alone. `None`: the server has another one.
fn ask(port: u16, certificate: &Path) -> Option<String> {
    const SCRIPT: &str = "import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
tls = context.wrap_socket(socket.create_connection(('127.0.0.1', int(sys.argv[1])), 20), server_hostname='localhost')
tls.sendall(b'GET / HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n')
while data := tls.recv(65536): sys.stdout.write(data.decode())";
    let output = Command::new("python3").args(["-c", SCRIPT, &port.to_string()]).arg(certificate).output();
    let output = output.expect("this test needs python3");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_refused = String::from_utf8_lossy(&output.stderr).contains("CERTIFICATE_VERIFY_FAILED");
    assert_ne!(output.status.success(), is_refused, "{output:?}");
    output.status.success().then(|| text.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned())
}

#[test]
fn kennel_run_speaks_https_and_reads_a_new_certificate_when_it_reloads() {
    let app = r#"app:get("/", function(req) return "here by " .. req.scheme end)"#;
    let plan = Site::plan(app).config("tls = { cert = \"cert.pem\", key = \"key.pem\" }\n");
    certify(plan.folder().path());
    let site = plan.argument("--front=kennel").start();
    let begun = Instant::now();
    let path = |name: &str| site.folder().path().join(name);
    let ready = site.log().expect("ready:");
    assert!(ready.contains(&format!("https://127.0.0.1:{} by kennel front", site.port())), "{ready}");
    assert_eq!(ask(site.port(), &path("cert.pem")).as_deref(), Some("here by https"));

    fs::rename(path("cert.pem"), path("old.pem")).expect("a new name");
    certify(site.folder().path());
    // A front that has just begun gets no signal.
    wait::until("the front is no longer new", || begun.elapsed() > Duration::from_millis(1200));
    site.signal(Signal::HUP);
    // The front looks by itself, too, but says this only after a signal.
    site.log().expect("configuration was read again");
    site.log().expect("certificates were loaded again");
    assert_eq!(ask(site.port(), &path("cert.pem")).as_deref(), Some("here by https"));
    assert_eq!(ask(site.port(), &path("old.pem")), None);

    fs::rename(path("cert.pem"), path("new.pem")).expect("a new name");
    fs::copy(path("old.pem"), path("cert.pem")).expect("a copy");
    assert_eq!(site.kennel(&["reload"]).code, Some(0));
    site.log().expect("certificates were not replaced");
    site.log().expect("does not belong to the certificate");
    assert_eq!(ask(site.port(), &path("new.pem")).as_deref(), Some("here by https"), "the one before stays");
}

#[test]
fn a_certificate_that_cannot_be_used_keeps_kennel_from_starting_and_check_reads_it() {
    let folder = Folder::new();
    folder.write("site/app.lua", script(APP));
    folder.write("site/kennel.toml", "tls = \"cert.pem,key.pem\"\n");
    let config = ["--config=site/kennel.toml", "site/app.lua"];
    let run = [&["run", "--front=kennel", "--listen=127.0.0.1:1"], &config[..]].concat();
    let check = [&["check"], &config[..]].concat();
    for arguments in [&run, &check] {
        fails(
            &folder,
            arguments,
            2,
            &["`tls` in kennel.toml: no certificate at `site/cert.pem`; put it there as a PEM file"],
        );
    }
    let site = folder.path().join("site");
    certify(&site);
    let Finished { code, stdout, .. } = command::run(folder.path(), &check);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("https with the certificate in site/cert.pem, valid until 20"), "{stdout}");
    let report = command::run(folder.path(), [&check[..], &["--json"]].concat()).stdout;
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["front"]["name"], "kennel");
    assert_eq!(report["front"]["limits"]["front.output_bytes"], 1 << 20);
    assert_eq!(report["front"]["tls"]["key"], "site/key.pem");

    // What was typed counts from the working directory, and wins.
    let typed = [&check[..], &["--tls=site/key.pem,site/cert.pem"]].concat();
    fails(&folder, &typed, 2, &["--tls: `site/key.pem` holds no certificate", "comes first, then the key"]);
    fails(&folder, &[&check[..], &["--tls=site,site"]].concat(), 2, &["`site` is a folder"]);
    let mongrel2 = "front = \"mongrel2\"\ntls = { cert = \"cert.pem\", key = \"key.pem\" }\n";
    folder.write("site/kennel.toml", mongrel2);
    let run = [&["run", "--listen=127.0.0.1:1"], &config[..]].concat();
    for arguments in [&run, &check] {
        let mut command = command::command(folder.path(), arguments);
        command.env_remove(server::FRONT);
        let Finished { code, stderr, .. } = command::finish(command, b"");
        assert_eq!(code, Some(2), "{stderr}");
        let words = [
            "`tls` in kennel.toml needs Kennel's own front",
            "leave out `front = \"mongrel2\"` in kennel.toml",
        ];
        assert!(words.iter().all(|words| stderr.contains(words)), "{stderr}");
    }
    let existing = "tls = \"a,b\"\n[[mongrel2]]\nsend_spec = \"ipc://a\"\nrecv_spec = \"ipc://b\"\n";
    folder.write("site/kennel.toml", existing);
    let said = command::run(folder.path(), &check).stderr;
    assert!(said.contains("`tls` in kennel.toml has no effect"), "{said}");
}

/// What works in a folder ends with this.
struct InFolder<'a>(&'a Folder);

impl Drop for InFolder<'_> {
    fn drop(&mut self) {
        process::in_folder(self.0.path()).into_iter().for_each(process::kill);
    }
}

#[test]
fn the_documented_commands_replace_a_mongrel2_by_the_front_and_go_back() {
    if !server::needs_mongrel2() {
        return;
    }
    let port = Port::free();
    let folder = database(&["main"], |server| {
        server.port = port.number();
        server.access_log = "logs/access.log".to_owned();
        server.error_log = "logs/error.log".to_owned();
        server.pid_file = "run/mongrel2.pid".to_owned();
        server.control_port = "ipc://run/control".to_owned();
    });
    for below in ["run", "logs", "tmp"] {
        fs::create_dir(folder.path().join(below)).expect("a folder");
    }
    let _all = InFolder(&folder);
    let shell = |standard_input: Stdio| {
        let path = std::env::var("PATH").expect("a path");
        let programs = binary::kennel().parent().expect("a folder").display().to_string();
        let mut command = Command::new("sh");
        command.current_dir(folder.path()).env("PATH", format!("{programs}:{path}")).stdin(standard_input);
        command.stdout(Stdio::piped()).stderr(Stdio::null()).env_remove(server::FRONT);
        command
    };
    let started =
        shell(Stdio::null()).args(["-c", "mongrel2 config.sqlite uuid-main >mongrel2.log 2>&1 &"]).status();
    assert!(started.expect("a shell").success());
    // The handler stays the same one through all of it.
    let kennel = Kennel::start(&folder, &["run", "--mongrel2=config.sqlite", "app.lua"]);
    let serves = || {
        let answers = || {
            let mut client = Client::try_connect(port.number()).ok()?;
            client.set_patience(Duration::from_secs(2));
            client.send(client::get("/"));
            client.try_read().ok().filter(|response| response.status == 200)
        };
        assert_eq!(wait::until_some("a server answers", answers).text(), "here");
    };
    let program = || {
        let pid = fs::read_to_string(folder.path().join("run/mongrel2.pid")).unwrap_or_default();
        process::command_line(pid.trim().parse().unwrap_or(0))
    };
    kennel.log.expect("ready:");
    serves();

    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/front.md");
    let docs = fs::read_to_string(docs).expect("the page").replace(":6767", &format!(":{}", port.number()));
    let commands = docs.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("commands");
    let mut running = shell(Stdio::piped()).spawn().expect("a shell");
    let mut input = running.stdin.take().expect("a pipe");
    let said = Log::collect(running.stdout.take().expect("a pipe"));
    let is_command = |line: &&str| !line.is_empty() && !line.starts_with('#');
    for (number, command) in commands.lines().filter(is_command).enumerate() {
        writeln!(input, "{command}\necho command {number} ended with $?").expect("a shell that reads");
        let end = said.expect(&format!("command {number} ended with"));
        assert!(end.ends_with(" 0"), "{command}: {}", said.text());
        if command.starts_with("kennel front") {
            serves();
            assert!(program().contains("front config.sqlite"), "{}", program());
        }
    }
    assert!(said.text().contains("\nhere"), "curl shows the response: {}", said.text());
    serves();
    assert!(program().starts_with("mongrel2 "), "{}", program());
    drop(input);
    let _ = running.wait();
}
