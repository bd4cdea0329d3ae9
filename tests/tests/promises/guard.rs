use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tests::binary::kennel;
use tests::command::{self, Finished};
use tests::folder::Folder;
use tests::log::Log;
use tests::port::Port;
use tests::process;
use tests::server::{Front, Mongrel2, Setup, needs_mongrel2};
use tests::site::{Site, script};

const APP: &str = r#"app:get("/", function() return "fine" end)"#;
const LIBRARY: &str = "libmongrel2-guard.so";
/// How the log says that a Mongrel2 is not guarded.
const UNGUARDED: &str = "runs without";

fn is_guarded(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("a process").contains(LIBRARY)
}

/// The value of LD_PRELOAD with which a process was started.
fn preloaded(pid: u32) -> Option<String> {
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).expect("a process");
    environment.split('\0').find_map(|word| word.strip_prefix("LD_PRELOAD=")).map(str::to_owned)
}

/// The library's path, as `kennel guard` says it.
fn library() -> PathBuf {
    let said = command::run(Path::new("."), ["guard", "--path"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    said.stdout.trim_end().into()
}

#[test]
fn kennels_own_mongrel2_is_guarded_and_nothing_else_is_preloaded() {
    if !needs_mongrel2() {
        return;
    }
    let site = Site::plan(APP).by(Front::Mongrel2).start();
    let server = site.own_mongrel2().expect("a mongrel2");
    assert!(is_guarded(server));
    assert_eq!(preloaded(server).as_deref(), library().to_str());
    for pid in site.workers().into_iter().chain([site.hub()]) {
        assert!(!is_guarded(pid));
        assert_eq!(preloaded(pid), None);
    }
    assert!(!site.log().text().contains(UNGUARDED), "{}", site.log().text());
    assert_eq!(site.get("/").text(), "fine");
}

#[test]
fn what_the_user_preloads_stays_preloaded() {
    if !needs_mongrel2() {
        return;
    }
    let site = Site::plan(APP).by(Front::Mongrel2).variable("LD_PRELOAD", "libm.so.6").start();
    let server = site.own_mongrel2().expect("a mongrel2");
    assert!(is_guarded(server));
    assert_eq!(preloaded(server), Some(format!("{}:libm.so.6", library().display())));
}

#[test]
fn a_start_without_the_guard_says_what_that_means() {
    if !needs_mongrel2() {
        return;
    }
    let site = Site::plan(APP).by(Front::Mongrel2).variable("KENNEL_GUARD", "off").start();
    assert!(!is_guarded(site.own_mongrel2().expect("a mongrel2")));
    let line = site.log().expect("mongrel2 runs without its guard (KENNEL_GUARD is `off`)");
    assert!(line.contains("WARN") && line.contains("to the client that connects next"), "{line}");
}

/// The program in a folder of its own, as packages and people install it.
fn installed(folder: &Folder, at: &str) -> PathBuf {
    let program = folder.path().join(at);
    std::fs::create_dir_all(program.parent().expect("a folder")).expect("a folder");
    let linked = std::fs::hard_link(kennel(), &program);
    linked.or_else(|_| std::fs::copy(kennel(), &program).map(drop)).expect("a copy of the program");
    program
}

fn run(program: &Path, arguments: &[&str]) -> Finished {
    let mut command = Command::new(program);
    command.args(arguments);
    command::finish(command, b"")
}

#[test]
fn a_program_without_its_library_guards_its_mongrel2_all_the_same() {
    if !needs_mongrel2() {
        return;
    }
    let (folder, port) = (Folder::new(), Port::free());
    let program = installed(&folder, "kennel");
    folder.write("app.lua", script(APP));
    let mut hub = Command::new(program)
        .args(["run", "--front", "mongrel2", "--listen", &port.address(), "app.lua"])
        .current_dir(folder.path())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kennel can be started");
    let log = Log::collect(hub.stderr.take().expect("stderr is a pipe"));
    log.expect("ready:");
    let is_server = |pid: &u32| process::command_line(*pid).starts_with("mongrel2 ");
    let server = process::children(hub.id()).into_iter().find(is_server);
    let guarded = server.map(is_guarded);
    let _ = hub.kill();
    let _ = hub.wait();
    assert_eq!(guarded, Some(true), "{}", log.text());
    assert!(!log.text().contains(UNGUARDED), "{}", log.text());
}

#[test]
fn an_installed_program_finds_its_library() {
    let folder = Folder::new();
    let program = installed(&folder, "bin/kennel");
    let missing = run(&program, &["guard"]);
    assert_eq!(missing.code, Some(3), "{}", missing.stdout);
    assert!(missing.stderr.contains("kennel guard --write"), "{}", missing.stderr);
    let place = folder.path().join("lib/kennel");
    std::fs::create_dir_all(&place).expect("a folder");
    let written = run(&program, &["guard", "--path", "--write", &place.display().to_string()]);
    let library = format!("{}/{LIBRARY}\n", place.display());
    assert_eq!((written.code, written.stdout), (Some(0), library.clone()));
    assert_eq!(run(&program, &["guard", "--path"]).stdout, library);
    let other_name = run(&program, &["guard", "--write", "/tmp/guard.so"]);
    assert_eq!(other_name.code, Some(2), "{}", other_name.stderr);
}

#[test]
fn kennel_guard_says_how_to_preload_the_library() {
    let library = library();
    assert!(library.is_absolute() && library.is_file(), "{library:?}");
    let path = library.display();
    let text = command::run(Path::new("."), ["guard"]).stdout;
    let shell = format!("LD_PRELOAD={path} mongrel2 config.sqlite UUID");
    let systemd = format!("Environment=LD_PRELOAD={path}");
    for part in [&path.to_string(), &shell, &systemd] {
        assert!(text.contains(part.as_str()), "{part}: {text}");
    }
    let json = command::run(Path::new("."), ["guard", "--json"]).stdout;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["library"], path.to_string());
    assert_eq!(json["shell"], shell);
    assert_eq!(json["systemd"], systemd);
}

/// What `kennel check` says about a server: the names of what it finds, and the processes that are guarded.
fn checked(server: &Mongrel2) -> (String, Value) {
    let database = server.folder().path().join("config.sqlite").display().to_string();
    let said = command::run(server.folder().path(), ["check", "--json", "--mongrel2", &database]);
    let report: Value = serde_json::from_str(&said.stdout).expect("JSON");
    let findings = report["mongrel2"].as_array().expect("a list").iter();
    let names = findings.map(|found| format!("{} {} ", found["severity"], found["name"]).replace('"', ""));
    (names.collect(), report["guarded"].clone())
}

#[test]
fn other_mongrel2s_are_looked_at_by_check_and_at_the_start() {
    if !needs_mongrel2() {
        return;
    }
    let mut server = Mongrel2::start(Setup::default().by(Front::Mongrel2));
    let (found, guarded) = checked(&server);
    assert!(found.contains("warning unguarded "), "{found}");
    assert_eq!(guarded, json!([]));
    let site = Site::plan(APP).behind(&server).start();
    let line = site.log().expect("runs without the guard");
    assert!(line.contains("WARN") && line.contains("kennel guard"), "{line}");
    assert_eq!(site.log().text().matches(UNGUARDED).count(), 1, "{}", site.log().text());
    drop(site);

    server.kill();
    server.preload(&library());
    server.start_again();
    assert!(is_guarded(server.process()));
    let (found, guarded) = checked(&server);
    assert!(!found.contains("guard"), "{found}");
    assert_eq!(guarded, json!([server.process()]));
    let site = Site::plan(APP).behind(&server).start();
    assert_eq!(site.get("/").text(), "fine");
    assert!(!site.log().text().contains("the guard"), "{}", site.log().text());
}
