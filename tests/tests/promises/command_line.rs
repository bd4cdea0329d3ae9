use serde_json::{Value, json};
use std::process::Stdio;
use tests::command::{self, Finished};
use tests::folder::Folder;
use tests::port::Port;
use tests::process::{self, Signal};
use tests::server::{Mongrel2, Setup};
use tests::site::{Site, script};

const APP: &str = r#"app:get("/", function() return "x" end)
app:route({ "GET", "POST" }, "/users/{id}", function() return "x" end)"#;

fn folder(files: &[(&str, &str)]) -> Folder {
    let folder = Folder::new();
    for (name, content) in files {
        folder.write(name, content);
    }
    folder
}

/// An error as a person wants it: the exit code, one `error:`, what was wrong, no internals.
fn expect_error(finished: &Finished, code: i32, parts: &[&str]) {
    let text = &finished.stderr;
    assert_eq!(finished.code, Some(code), "{text}");
    assert!(text.contains("error:"), "{text}");
    for part in parts {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
    for internal in ["panicked", "Os {", "os error", "RUST_BACKTRACE", "[kennel]", "anyhow"] {
        assert!(!text.contains(internal), "`{internal}` in:\n{text}");
    }
}

#[test]
fn what_cannot_be_served_is_said_with_exit_code_2() {
    let at = folder(&[
        ("fine.lua", &script(APP)),
        (
            "syntax.lua",
            "local kennel = require 'kennel'\nlocal app = kennel.app()\napp:get('/', function( return 'x' end)\n",
        ),
        ("raises.lua", "local function f()\n  error('not today')\nend\nf()\n"),
        ("no_return.lua", "local app = require('kennel').app()\napp:get('/', function() return 'x' end)\n"),
        ("no_app.lua", "print('hello')\n"),
        ("conflict.lua", &script("app:get('/a/{x}', print)\napp:get('/a/{y}', print)")),
        ("twice.lua", &script("app:get('/a', print)\napp:get('/a', print)")),
        ("no_slash.lua", &script("app:get('a', print)")),
        ("no_function.lua", &script("app:get('/a', 'x')")),
        ("missing_module.lua", "local x = require 'nowhere'\n"),
        ("sleeps.lua", &script("kennel.sleep(1)")),
        ("two_apps.lua", &script("local other = kennel.app()")),
        ("app.rb", "puts 1\n"),
    ]);
    let listen = Port::free();
    let run = |app: &str| command::run(at.path(), ["run", "--workers=1", "--listen", &listen.address(), app]);
    for (app, parts) in [
        ("nowhere.lua", &["nowhere.lua", "no such file"][..]),
        (".", &["directory"]),
        ("app.rb", &["app.rb", ".lua", ".py"]),
        ("syntax.lua", &["syntax.lua:3:"]),
        ("raises.lua", &["raises.lua:2: not today", "raises.lua:4:"]),
        ("no_return.lua", &["no_return.lua", "return app"]),
        ("no_app.lua", &["no_app.lua", "return app"]),
        ("conflict.lua", &["conflict.lua:3:", "/a/{x}", "/a/{y}"]),
        ("twice.lua", &["twice.lua:3:", "twice.lua:2"]),
        ("no_slash.lua", &["no_slash.lua:2:", "must begin with `/`"]),
        ("no_function.lua", &["no_function.lua:2:", "function"]),
        ("missing_module.lua", &["missing_module.lua:1:", "nowhere"]),
        ("sleeps.lua", &["sleeps.lua:2:", "kennel.sleep"]),
        ("two_apps.lua", &["two_apps.lua:2:", "once"]),
    ] {
        expect_error(&run(app), 2, parts);
        assert!(at.run_files().is_empty(), "{app}: it clears up");
        if app.ends_with(".lua") {
            expect_error(&command::run(at.path(), ["check", app]), 2, parts);
            expect_error(&command::run(at.path(), ["routes", app]), 2, &parts[..1]);
        }
    }
    expect_error(&command::run(at.path(), ["run"]), 2, &["no app to serve", "kennel run app.lua"]);
}

#[test]
fn a_wrong_kennel_toml_is_shown_with_place_and_suggestion() {
    for (toml, parts) in [
        (
            "listen = \"127.0.0.1:1\"\n[limits]\nrequest_timeuot = 1\n",
            &["kennel.toml:3:1", "request_timeuot", "`request_timeout`"][..],
        ),
        ("[[app]]\nsource = 1\n", &["kennel.toml:2:10"]),
        ("[[app]]\nsource = \"app.lua\"\nworkers = 0\n", &["kennel.toml:3:", "1 to 256"]),
        ("[limits]\nscript_time = \"soon\"\n", &["kennel.toml:2:", "soon"]),
        ("[limits\n", &["kennel.toml:1:"]),
        ("[[app]]\nsource = \"app.lua\"\nmount = \"shop\"\n", &["shop", "must begin with `/`"]),
    ] {
        let at = folder(&[("app.lua", &script(APP)), ("kennel.toml", toml)]);
        for command in ["run", "check", "routes"] {
            expect_error(&command::run(at.path(), [command, "app.lua"]), 2, parts);
        }
    }
    let at = folder(&[("app.lua", &script(APP))]);
    expect_error(&command::run(at.path(), ["run", "--config", "other.toml", "app.lua"]), 2, &["other.toml"]);
}

#[test]
fn flags_win_over_variables_and_these_over_the_file() {
    let (flag, variable, file) = (Port::free(), Port::free(), Port::free());
    let toml = format!("listen = \"{}\"\n[[app]]\nsource = \"app.lua\"\nworkers = 1\n", file.address());
    let at = folder(&[("app.lua", &script(APP)), ("kennel.toml", &toml)]);
    for (arguments, variables, expected) in [
        (vec![], vec![], (&file, "1 worker,")),
        (
            vec![],
            vec![("KENNEL_LISTEN", variable.address()), ("KENNEL_WORKERS", "2".into())],
            (&variable, "2 workers"),
        ),
        (
            vec!["--listen".to_owned(), flag.address(), "--workers=3".into()],
            vec![("KENNEL_LISTEN", variable.address()), ("KENNEL_WORKERS", "2".into())],
            (&flag, "3 workers"),
        ),
    ] {
        let mut command = command::command(at.path(), ["run"]);
        command.args(arguments).envs(variables).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut kennel = command.spawn().expect("kennel can be started");
        let log = tests::log::Log::collect(kennel.stderr.take().expect("stderr is a pipe"));
        let line = log.expect("ready:");
        process::signal(kennel.id(), Signal::TERM);
        assert_eq!(kennel.wait().expect("a child can be waited for").code(), Some(0));
        let (port, workers) = expected;
        assert!(line.contains(&port.address()) && line.contains(workers), "{line}");
    }
}

#[test]
fn what_cannot_be_reached_is_said_with_exit_code_3() {
    let at = folder(&[("app.lua", &script(APP))]);
    let port = Port::free();
    let taken = std::net::TcpListener::bind(port.address()).expect("a port of its own");
    let run = || {
        let arguments = ["run", "--front=mongrel2", "--listen", &port.address(), "app.lua"];
        command::command(at.path(), arguments)
    };
    expect_error(&command::finish(run(), b""), 3, &[&port.number().to_string(), "taken", "--listen"]);
    drop(taken);

    let mut without = run();
    without.env("PATH", at.path());
    expect_error(
        &command::finish(without, b""),
        3,
        &["mongrel2 is not installed", "apt install mongrel2-core", "--front kennel", "--send-spec"],
    );

    // One that is there but does not run.
    let broken = at.write("mongrel2", "#!/bin/sh\necho 'this server is broken' >&2\nexit 1\n");
    let mut permissions = std::fs::metadata(&broken).expect("a file").permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    std::fs::set_permissions(&broken, permissions).expect("a file of its own");
    let mut with_broken = run();
    with_broken.env("PATH", format!("{}:/usr/bin:/bin", at.path().display()));
    expect_error(&command::finish(with_broken, b""), 3, &["mongrel2", "this server is broken"]);
    assert!(at.run_files().is_empty(), "it clears up");
}

#[test]
fn malformed_addresses_are_said_with_exit_code_2() {
    let at = folder(&[("app.lua", &script(APP))]);
    let run = |arguments: &[&str]| command::run(at.path(), [&["run"], arguments, &["app.lua"]].concat());
    for address in ["nonsense", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:0", ":x", ""] {
        expect_error(&run(&["--listen", address]), 2, &["`", "127.0.0.1"]);
    }
    expect_error(&run(&["--listen", "192.0.2.1:8080"]), 2, &["192.0.2.1", "--listen"]);
    for spec in [
        "nonsense",
        "tcp://127.0.0.1",
        "udp://127.0.0.1:1",
        "tcp://",
        "ipc://",
        "tcp://127.0.0.1:99999",
        "tcp://127.0.0.1:x",
    ] {
        expect_error(
            &run(&["--send-spec", spec, "--recv-spec", "tcp://127.0.0.1:9998"]),
            2,
            &[&format!("`{spec}`")],
        );
        expect_error(
            &run(&["--send-spec", "tcp://127.0.0.1:9999", "--recv-spec", spec]),
            2,
            &[&format!("`{spec}`")],
        );
    }
    expect_error(&run(&["--send-spec", "tcp://127.0.0.1:9999"]), 2, &["pairs"]);
    expect_error(
        &run(&[
            "--listen",
            "127.0.0.1:1",
            "--send-spec",
            "tcp://127.0.0.1:9999",
            "--recv-spec",
            "tcp://127.0.0.1:9998",
        ]),
        2,
        &["--listen"],
    );
    expect_error(&run(&["--workers", "0"]), 2, &["--workers"]);
}

#[test]
fn an_existing_server_that_is_not_there_yet_is_waited_for() {
    let mut server = Mongrel2::prepare(Setup::default());
    let (send, _) = server.specs()[0].clone();
    let mut site = Site::plan(APP).behind(&server).spawn();
    let line = site.log().expect("waiting for a mongrel2");
    assert!(line.contains(&send), "{line}");
    assert_eq!(site.log().count("ready:"), 0);
    server.start_again();
    site.log().expect("ready:");
    assert_eq!(site.get("/").text(), "x");
    site.signal(Signal::TERM);
    assert_eq!(site.exit_code(), Some(0));
    // And one that waits can be told to stop.
    let nowhere = Mongrel2::prepare(Setup::default());
    let mut site = Site::plan(APP).behind(&nowhere).spawn();
    site.log().expect("waiting for a mongrel2");
    site.signal(Signal::TERM);
    assert_eq!(site.exit_code(), Some(0));
}

#[test]
fn check_loads_everything_and_says_all_that_is_wrong() {
    let at = folder(&[
        ("one.lua", &script(APP)),
        ("two.lua", "local x = = 1\n"),
        ("three.lua", "error('three')\n"),
        (
            "kennel.toml",
            "[[app]]\nsource = \"one.lua\"\n[[app]]\nsource = \"two.lua\"\nmount = \"/two\"\n[[app]]\nsource = \"three.lua\"\nmount = \"/three\"\n[limits]\nqueue = 7\n",
        ),
    ]);
    let finished = command::run(at.path(), ["check"]);
    assert!(!finished.stdout.contains("script_time"), "limits hide nothing: {}", finished.stdout);
    let finished = command::run(at.path(), ["check", "--limits"]);
    expect_error(&finished, 2, &["two.lua:1:", "three.lua:1: three"]);
    assert_eq!(finished.stderr.matches("error:").count(), 2);
    assert!(finished.stdout.contains("one.lua: fine, 2 routes"), "{}", finished.stdout);
    for name in [
        "request_timeout",
        "script_time",
        "load_time",
        "stop_time",
        "queue",
        "worker_jobs",
        "pipeline",
        "spill",
        "server_output",
        "handler_targets",
        "worker_memory",
        "log_queue",
        "form_parts",
    ] {
        assert!(finished.stdout.contains(name), "{name}: {}", finished.stdout);
    }
    let finished = command::run(at.path(), ["check", "--json"]);
    assert_eq!(finished.code, Some(2));
    let report: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    assert_eq!(report["limits"]["queue"], 7);
    assert_eq!(
        (&report["limits"]["script_time"], &report["limits"]["upload"]),
        (&json!(10), &json!(1 << 30))
    );
    assert_eq!(report["apps"][0]["routes"], 2);
    assert_eq!(report["errors"].as_array().map(Vec::len), Some(2));
    let finished = command::run(at.path(), ["check", "one.lua"]);
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
}

#[test]
fn routes_are_listed_for_people_and_machines() {
    let at = folder(&[("app.lua", &script(APP))]);
    let finished = command::run(at.path(), ["routes", "app.lua"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let lines: Vec<Vec<&str>> =
        finished.stdout.lines().map(|line| line.split_ascii_whitespace().collect()).collect();
    assert_eq!(lines[0], ["METHOD", "PATH", "HANDLER"]);
    assert_eq!(lines[1], ["GET", "/", "app.lua:2"]);
    assert_eq!(lines[2], ["GET,POST", "/users/{id}", "app.lua:3"]);
    let finished = command::run(at.path(), ["routes", "--json", "app.lua"]);
    let list: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    assert_eq!(list[1]["path"], "/users/{id}");
    assert_eq!(list[1]["methods"], json!(["GET", "POST"]));
    assert_eq!(list[1]["place"], "app.lua:3");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let many: String = (0..3000).map(|n| format!("app:get('/a-rather-long-path-{n}', print)\n")).collect();
    let at = folder(&[("app.lua", &script(&many))]);
    for arguments in [
        &["routes", "app.lua"][..],
        &["routes", "--json", "app.lua"],
        &["check", "app.lua"],
        &["completions", "bash"],
        &["--help"],
    ] {
        let mut command = command::command(at.path(), arguments);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kennel can be started");
        drop(child.stdout.take());
        let log = tests::log::Log::collect(child.stderr.take().expect("stderr is a pipe"));
        let code = child.wait().expect("a child can be waited for").code();
        assert_eq!((code, log.to_end().as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn help_of_every_command_ends_with_examples() {
    let at = Folder::new();
    let help = command::run(at.path(), ["--help"]);
    assert_eq!(help.code, Some(0));
    for command in ["run", "dev", "check", "routes", "decode", "conf", "reload", "stop", "completions"] {
        assert!(help.stdout.contains(&format!("\n  {command} ")), "{command}: {}", help.stdout);
        let finished = command::run(at.path(), [command, "--help"]);
        assert_eq!(finished.code, Some(0), "{command}");
        let (_, examples) = finished
            .stdout
            .split_once("Examples:\n")
            .unwrap_or_else(|| panic!("{command}: {}", finished.stdout));
        assert!(examples.contains(&format!("kennel {command}")), "{command}: {examples}");
    }
    assert!(!help.stdout.contains("worker-lua"), "{}", help.stdout);
    let version = command::run(at.path(), ["--version"]);
    assert!(version.stdout.starts_with("kennel "), "{}", version.stdout);
    let nothing = command::run(at.path(), [] as [&str; 0]);
    assert_eq!(nothing.code, Some(2));
    assert!(nothing.stderr.contains("Usage"), "{}", nothing.stderr);
    let unknown = command::run(at.path(), ["rum"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("run"), "{}", unknown.stderr);
}

#[test]
fn completions_name_the_commands() {
    let at = Folder::new();
    for shell in ["bash", "zsh", "fish"] {
        let finished = command::run(at.path(), ["completions", shell]);
        assert_eq!(finished.code, Some(0));
        assert!(finished.stdout.contains("decode"), "{shell}");
        assert!(!finished.stdout.contains("worker-lua"), "{shell}: what is hidden is not completed");
    }
}

#[test]
fn several_kennels_in_one_folder_are_told_apart() {
    let mut first = Site::plan(APP).start();
    let port = Port::free();
    let mut command = command::command(
        first.folder().path(),
        ["run", "--workers=1", "--listen", &port.address(), "app.lua"],
    );
    let mut second =
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("kennel can be started");
    let log = tests::log::Log::collect(second.stderr.take().expect("stderr is a pipe"));
    log.expect("ready:");
    let which = first.kennel(&["stop"]);
    expect_error(&which, 2, &["--pid", &second.id().to_string(), &first.hub().to_string()]);
    assert_eq!(first.kennel(&["stop", "--pid", &second.id().to_string()]).code, Some(0));
    assert_eq!(second.wait().expect("a child can be waited for").code(), Some(0));
    assert_eq!(first.get("/").text(), "x");
    assert_eq!(first.kennel(&["stop"]).code, Some(0));
    assert_eq!(first.exit_code(), Some(0));
}
