//! A directory of handlers: each an app of its own, with an address that a shell can write to.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tests::command::{self, Finished};
use tests::folder::Folder;
use tests::language::Language;
use tests::log::Log;
use tests::port::Port;
use tests::process::{self, Signal};
use tests::site::{Plan, Site, script};
use tests::wait;

/// A handler whose connections are in the room `all`, and which says back what it hears.
const TALK: &str = r#"
app:get("/", function() return "talk at " .. kennel.config.place end)
app:channel("/live", {
  open = function(conn) conn:join("all") end,
  message = function(conn, msg) conn:send("heard " .. msg) end,
})
"#;

/// The same in Python, and what it is called.
const PYTHON: &str = r#"
@app.get("/")
def index(req): return "python"
@app.channel("/live")
class Live:
    def open(self, conn): conn.join("all")
    def message(self, conn, msg): conn.send("python heard " + msg)
"#;

const BROKEN: &str = "error('no cake')\n";

/// A site of `talk.lua` and `python.py`.
fn plan() -> Plan {
    Site::plan("")
        .workers(0)
        .serving(&["site/"])
        .file("site/handlers/talk.lua", &script(TALK))
        .file("site/handlers/python.py", &Language::Python.script(PYTHON))
        .file("site/kennel.toml", "[[app]]\nsource = \"handlers/talk.lua\"\n[app.config]\nplace = \"home\"\n")
}

/// The same, which runs.
fn site() -> Site {
    plan().behind_warm().start()
}

fn address(site: &Site, name: &str) -> PathBuf {
    site.folder().path().join("site/run").join(name)
}

/// Somebody at a handler's address.
fn connect(site: &Site, name: &str) -> BufReader<UnixStream> {
    let stream = UnixStream::connect(address(site, name)).expect("somebody listens");
    stream.set_read_timeout(Some(wait::PATIENCE)).expect("it works");
    BufReader::new(stream)
}

fn answer(stream: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    assert!(stream.read_line(&mut line).expect("it works") > 0, "it was closed");
    serde_json::from_str(&line).expect("a line is JSON")
}

fn ask(stream: &mut BufReader<UnixStream>, line: &str) -> Value {
    stream.get_mut().write_all(format!("{line}\n").as_bytes()).expect("it works");
    answer(stream)
}

/// What a shell gets that pipes a line into `kennel console`.
fn piped(site: &Site, name: &str, line: &str) -> Finished {
    let socket = address(site, name).display().to_string();
    let mut command = command::command(site.folder().path(), ["console", "--json", "--socket", &socket]);
    command.stdin(Stdio::piped());
    command::finish(command, line.as_bytes())
}

/// The `conn.id` of a handler's only connection.
fn only_connection(site: &Site, name: &str) -> String {
    let list = ask(&mut connect(site, name), r#"{"do": "connections"}"#);
    let connections = list["result"]["connections"].as_array().expect("a list");
    assert_eq!((connections.len(), &list["result"]["total"]), (1, &json!(1)), "{list}");
    connections[0]["id"].as_str().expect("a text").to_owned()
}

/// Another kennel on a folder, with a Mongrel2 of its own.
fn another(folder: &Path, port: &Port) -> (Child, Log) {
    let arguments = ["run", "--listen", &port.address(), "site/"];
    let mut command = command::command(folder, arguments);
    let mut kennel = command.stderr(Stdio::piped()).spawn().expect("kennel can be started");
    let log = Log::collect(kennel.stderr.take().expect("stderr is a pipe"));
    (kennel, log)
}

#[test]
fn every_handler_is_served_at_its_name_and_files_come_first() {
    let site = plan()
        .file("site/handlers/notes.txt", "not a handler")
        .file("site/handlers/ten", "#!/bin/sh\necho not executable")
        .file("site/handlers/talk_test.lua", "not a handler either")
        .file("site/handlers/hidden.lua", &script(r#"app:get("/", function() return "never seen" end)"#))
        .file("site/public/index.html", "the front page")
        .file("site/public/hidden", "a file")
        .start();
    assert_eq!(site.get("/").text(), "the front page");
    for path in ["/talk", "/talk/"] {
        assert_eq!(site.get(path).text(), "talk at home", "{path}");
    }
    assert_eq!(site.get("/python").text(), "python");
    assert_eq!(site.get("/hidden").text(), "a file");
    assert_eq!(site.get("/talk_test").status, 404);
    assert_eq!(site.websocket("/talk/live").ask("hello"), "heard hello");
    assert_eq!(site.websocket("/python/live").ask("hello"), "python heard hello");
    assert_eq!(site.workers().len(), 3, "one each");
    site.log().expect("not taken for handlers in site/handlers: ten (not executable)");
    site.log().expect("site/public/hidden hides site/handlers/hidden.lua");
    site.log().expect("3 of 3 loaded: ");
}

#[test]
fn a_handler_may_be_mounted_elsewhere_and_have_more_workers() {
    let config = "[[app]]\nsource = \"handlers/talk.lua\"\nmount = \"/\"\nworkers = 2\n[app.config]\nplace = \"the root\"\n";
    let site = plan().file("site/kennel.toml", config).behind_warm().start();
    assert_eq!(site.get("/").text(), "talk at the root");
    assert_eq!(site.get("/python").text(), "python");
    assert_eq!(site.workers().len(), 3);
}

#[test]
fn programs_are_handlers_too_and_one_that_cannot_be_served_stops_no_other() {
    let echo = "#!/bin/sh\nwhile read -r line; do id=${line#*:}; printf '{\"id\":%s,\"body\":\"sh\"}\\n' \"${id%%,*}\"; done\n";
    let site = plan()
        .program("site/handlers/shell", echo)
        .program("site/handlers/gone", "#!/nowhere/interpreter\n")
        .program("site/handlers/ends", "#!/bin/sh\necho no luck >&2\nexit 3\n")
        .file("site/kennel.toml", "[[app]]\nsource = \"handlers/python.py\"\npython = \"/nowhere/python\"\n[[app]]\nsource = \"handlers/talk.lua\"\n[app.config]\nplace = \"home\"\n")
        .behind_warm()
        .start();
    let ready = site.log().expect("ready:");
    assert!(ready.contains("2 of 5 loaded: "), "{ready}");
    assert_eq!(site.get("/shell/any").text(), "sh");
    assert_eq!(site.get("/talk").text(), "talk at home");
    for path in ["/gone", "/ends/x", "/python"] {
        assert_eq!(site.get(path).status, 500, "{path}");
    }
    for words in ["no luck", "/nowhere/interpreter", "/nowhere/python"] {
        site.log().expect(words);
    }
    // It has an address as the others have.
    assert_eq!(ask(&mut connect(&site, "python"), r#"{"do": "stats"}"#)["result"]["state"], "failed");
    assert_eq!(ask(&mut connect(&site, "shell"), r#"{"do": "stats"}"#)["result"]["state"], "serving");
}

#[test]
fn one_that_does_not_load_stops_no_other_and_a_reload_puts_it_right() {
    let site = plan().file("site/handlers/bad.lua", BROKEN).behind_warm().start();
    let ready = site.log().expect("ready:");
    assert!(
        ready.contains("2 of 3 loaded: ") && ready.ends_with("; not loaded: site/handlers/bad.lua"),
        "{ready}"
    );
    site.log().expect("site/handlers/bad.lua did not load");
    site.log().expect("site/handlers/bad.lua:1: no cake");
    for path in ["/bad", "/bad/", "/bad/below?a=b"] {
        let page = site.get(path);
        assert_eq!(page.status, 500, "{path}");
        assert!(!page.text().contains("cake"), "{}", page.text());
    }
    assert_eq!(site.refusal("/bad/live", &[]).status, 500);
    assert_eq!(site.get("/talk").text(), "talk at home");
    assert_eq!(site.get("/elsewhere").status, 404);
    let mut shell = connect(&site, "bad");
    assert_eq!(ask(&mut shell, r#"{"do": "stats"}"#)["result"]["state"], "failed");

    let told = ask(&mut shell, r#"{"do": "reload"}"#);
    assert_eq!(told["ok"], false);
    assert_eq!(told["error"], "site/handlers/bad.lua did not load: site/handlers/bad.lua:1: no cake");
    site.log().expect_times("site/handlers/bad.lua did not load", 2);
    assert_eq!(site.get("/bad").status, 500);

    site.folder().write("site/handlers/bad.lua", script(r#"app:get("/", function() return "good" end)"#));
    site.signal(Signal::HUP);
    site.log().expect("newest code is in charge: site/handlers/bad.lua");
    assert_eq!(site.get("/bad").text(), "good");
    assert_eq!(ask(&mut shell, r#"{"do": "stats"}"#)["result"]["state"], "serving");

    // What has loaded once stays.
    site.folder().write("site/handlers/bad.lua", BROKEN);
    let told = ask(&mut shell, r#"{"do": "reload"}"#);
    assert_eq!(told["ok"], false);
    assert_eq!(told["error"], "site/handlers/bad.lua did not load: site/handlers/bad.lua:1: no cake");
    site.log().expect("what ran before goes on");
    assert_eq!(site.get("/bad").text(), "good");
}

#[test]
fn one_that_never_ends_loading_holds_the_others_up_for_some_seconds_only() {
    let site = plan()
        .file("site/handlers/stuck.lua", "while true do end\n")
        .config("[limits]\nload_time = \"60s\"\n")
        .argument("--config=kennel.toml")
        .file("site/handlers/talk.lua", &script(r#"app:get("/", function() return "talk" end)"#))
        .behind_warm()
        .spawn();
    // Until they are connected to it, requests wait in Mongrel2.
    assert_eq!(site.get("/talk").text(), "talk");
    assert_eq!(site.get("/stuck").status, 503);
    assert_eq!(site.refusal("/stuck/live", &[]).status, 503);
    assert_eq!(ask(&mut connect(&site, "stuck"), r#"{"do": "stats"}"#)["result"]["state"], "loading");
    assert_eq!(site.log().count("ready:"), 0);
}

#[test]
fn kennel_toml_may_list_the_directory() {
    let config = "[[app]]\nsource = \"site\"\n[[app]]\nsource = \"site/handlers/python.py\"\nmount = \"/snake\"\n\
                  [[app]]\nsource = \"app.lua\"\nworkers = 1\n";
    let site = plan()
        .config(config)
        .configured_apps()
        .file("app.lua", &script(r#"app:get("/", function() return "the app" end)"#))
        .file("site/handlers/talk.lua", &script(r#"app:get("/", function() return "talk" end)"#))
        .behind_warm()
        .start();
    for (path, text) in [("/", "the app"), ("/talk", "talk"), ("/snake", "python")] {
        assert_eq!(site.get(path).text(), text, "{path}");
    }
    site.folder().write("kennel.toml", "[[app]]\nsource = \"site\"\nmount = \"/deep\"\n");
    let finished = site.kennel(&["check"]);
    assert_eq!(finished.code, Some(2));
    assert!(
        finished.stderr.contains("`site` is a directory of handlers: what is said of it"),
        "{}",
        finished.stderr
    );
}

#[test]
fn under_dev_the_browser_shows_which_handler_is_wrong_and_the_others_serve() {
    let site = plan().file("site/handlers/bad.lua", BROKEN).dev().behind_warm().start();
    assert!(site.get("/bad").text().contains("no cake"));
    assert_eq!(site.get("/talk").text(), "talk at home");
    site.folder().write("site/handlers/bad.lua", script(r#"app:get("/", function() return "good" end)"#));
    site.log().expect("newest code is in charge: site/handlers/bad.lua");
    assert_eq!(site.get("/bad").text(), "good");
}

#[test]
fn a_site_of_which_nothing_loads_ends_with_2() {
    let mut site = Site::plan("")
        .workers(0)
        .serving(&["site"])
        .file("site/handlers/one.lua", BROKEN)
        .file("site/handlers/two.lua", BROKEN)
        .behind_warm()
        .spawn();
    assert_eq!(site.exit_code(), Some(2));
    let log = site.log().to_end();
    assert!(log.contains("none of the handlers of `site` loaded"), "{log}");
    assert!(log.contains("one.lua:1: no cake") && log.contains("two.lua:1: no cake"), "{log}");
    assert!(!site.folder().path().join("site/run").exists());
}

#[test]
fn a_shell_speaks_to_the_connections_of_one_handler_alone() {
    let site = site();
    let mut talk = site.websocket("/talk/live");
    assert_eq!(talk.ask("hello"), "heard hello");
    let mut python = site.websocket("/python/live");
    assert_eq!(python.ask("hello"), "python heard hello");

    let finished = piped(&site, "talk", r#"{"do": "broadcast", "data": "to talk"}"#);
    assert_eq!((finished.code, &*finished.stdout), (Some(0), "{\"recipients\":1}\n"), "{}", finished.stderr);
    let mut shell = connect(&site, "talk");
    let published = ask(&mut shell, r#"{"do": "publish", "room": "all", "data": {"n": 1}}"#);
    assert_eq!(published, json!({ "ok": true, "result": { "recipients": 1 } }));
    let id = only_connection(&site, "talk");
    assert_eq!(
        ask(&mut shell, &json!({ "do": "send", "conn": id, "data": "to one" }).to_string())["ok"],
        true
    );
    for text in ["to talk", r#"{"n":1}"#, "to one"] {
        assert_eq!(talk.read_text(), text);
    }

    let theirs = only_connection(&site, "python");
    for command in ["send", "close", "kick", "connection", "tail"] {
        let name = if command == "tail" { "id" } else { "conn" };
        let mut line = json!({ "do": command, name: theirs });
        if command == "send" {
            line["data"] = "x".into();
        }
        let refused = ask(&mut shell, &line.to_string());
        assert!(refused["error"].as_str().is_some_and(|e| e.contains("no live connection")), "{refused}");
    }
    assert_eq!(ask(&mut shell, r#"{"do": "rooms"}"#)["result"], json!([{ "room": "all", "members": 1 }]));
    assert_eq!(ask(&mut shell, &json!({ "do": "close", "conn": id, "code": 4000 }).to_string())["ok"], true);
    assert_eq!(talk.read_close().0, 4000);
    assert_eq!(python.ask("still here"), "python heard still here", "and nothing before");
}

#[test]
fn an_address_answers_each_line_and_takes_nothing_that_is_not_its_business() {
    let site = site();
    let mut shell = connect(&site, "talk");
    for command in ["status", "limits", "metrics"] {
        let refused = ask(&mut shell, &json!({ "do": command, "ref": 7 }).to_string());
        assert!(
            refused["error"].as_str().is_some_and(|e| e.contains("console of the whole kennel")),
            "{refused}"
        );
        assert_eq!(refused["ref"], 7);
    }
    for line in [
        r#"{"do": "eval", "worker": 1, "code": "1"}"#,
        r#"{"do": "log", "level": "error"}"#,
        r#"{"do": "request", "method": "GET", "path": "/"}"#,
        r#"{"do": "reload", "app": "site/handlers/python.py"}"#,
        r#"{"do": "brodcast", "data": "x"}"#,
        r#"{"do": "send"}"#,
        "rm -rf /",
        "{",
        "\u{0}\u{1}",
    ] {
        let refused = ask(&mut shell, line);
        assert!(refused["ok"] == false && refused["error"].is_string(), "{line}: {refused}");
    }
    let help = ask(&mut shell, r#"{"do": "help"}"#).to_string();
    assert!(help.contains("broadcast") && !help.contains("eval"), "{help}");
    let socket = address(&site, "talk").display().to_string();
    let finished = site.kennel(&["console", "--socket", &socket, "-c", "eval 1 1"]);
    assert_eq!(finished.code, Some(2));
    let finished = site.kennel(&["console", "--socket", &socket, "-c", "stats"]);
    assert!(finished.stdout.contains("site/handlers/talk.lua"), "{}", finished.stdout);
}

#[test]
fn half_lines_and_endless_lines_harm_nobody() {
    let site = site();
    let mut unended = connect(&site, "talk");
    unended.get_mut().write_all(br#"{"do": "rooms"}"#).expect("it works");
    unended.get_mut().shutdown(Shutdown::Write).expect("it works");
    assert_eq!(answer(&mut unended), json!({ "ok": true, "result": [] }), "the end ends the line");
    let mut half = connect(&site, "talk");
    half.get_mut().write_all(br#"{"do": "ro"#).expect("it works");
    half.get_mut().shutdown(Shutdown::Write).expect("it works");
    assert_eq!(answer(&mut half)["ok"], false);
    let mut long = connect(&site, "talk");
    let million = json!({ "do": "broadcast", "data": "x".repeat(1_000_000) }).to_string();
    assert_eq!(ask(&mut long, &million)["result"]["recipients"], 0);
    let mut endless = connect(&site, "talk");
    let _ = endless.get_mut().write_all(&vec![b'x'; 3 << 20]);
    assert!(answer(&mut endless)["error"].as_str().is_some_and(|e| e.contains("at most 1048576 bytes")));
    assert_eq!(site.get("/talk").text(), "talk at home");
}

#[test]
fn a_hundred_writers_at_once_are_all_heard() {
    let site = site();
    let mut talk = site.websocket("/talk/live");
    assert_eq!(talk.ask("hello"), "heard hello");
    let begin = std::sync::Barrier::new(100);
    std::thread::scope(|scope| {
        for number in 0..100 {
            let (site, begin) = (&site, &begin);
            scope.spawn(move || {
                let mut shell = connect(site, "talk");
                begin.wait();
                let said =
                    ask(&mut shell, &json!({ "do": "broadcast", "data": number.to_string() }).to_string());
                assert_eq!(said["result"]["recipients"], 1, "{said}");
            });
        }
    });
    let mut heard: Vec<u32> = (0..100).map(|_| talk.read_text().parse().expect("a number")).collect();
    heard.sort_unstable();
    assert_eq!(heard, (0..100).collect::<Vec<_>>());
}

#[test]
fn too_many_at_an_address_are_told_and_leave_the_others_alone() {
    let site = site();
    let mut crowd: Vec<_> = (0..128).map(|_| connect(&site, "talk")).collect();
    let last = crowd.last_mut().expect("there are many");
    assert_eq!(ask(last, r#"{"do": "rooms"}"#)["ok"], true);
    let refused = answer(&mut connect(&site, "talk"));
    assert!(refused["error"].as_str().is_some_and(|e| e.contains("128 are connected")), "{refused}");
    assert_eq!(ask(&mut connect(&site, "python"), r#"{"do": "rooms"}"#)["ok"], true);
    assert_eq!(site.kennel(&["console", "-c", "rooms"]).code, Some(0));
    drop(crowd);
    wait::until("there is room again", || {
        let mut shell = connect(&site, "talk");
        // It may be refused before it has said anything.
        let _ = shell.get_mut().write_all(b"{\"do\": \"rooms\"}\n");
        answer(&mut shell)["ok"] == true
    });
}

#[test]
fn who_never_reads_is_let_go_and_blocks_nobody() {
    let site = site();
    let before = process::resident_memory(site.hub());
    let mut deaf = connect(&site, "talk").into_inner();
    let lines = b"{\"do\": \"help\"}\n".repeat(1000);
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            // Each answer is longer than a thousand bytes, so that much more waits than may.
            (0..200).any(|_| deaf.write_all(&lines).is_err())
        });
        let mut longest = Duration::ZERO;
        while !writer.is_finished() {
            let begun = Instant::now();
            assert_eq!(site.get("/talk").text(), "talk at home");
            longest = longest.max(begun.elapsed());
        }
        assert!(writer.join().expect("it does not panic"), "it was let go");
        assert!(longest < Duration::from_secs(2), "others waited for {longest:?}");
    });
    let after = process::resident_memory(site.hub());
    assert!(after < before + (12 << 20), "{before} {after}");
}

#[test]
fn addresses_are_private_and_gone_after_a_stop() {
    let mut site = site();
    let mode = |path: &Path| path.metadata().expect("it is there").permissions().mode() & 0o777;
    let run = site.folder().path().join("site/run");
    assert_eq!(mode(&run), 0o700);
    for name in ["talk", "python"] {
        assert_eq!(mode(&run.join(name)), 0o600, "{name}");
    }
    let second = site.kennel(&["run", "site/"]);
    assert_eq!(second.code, Some(3));
    assert!(second.stderr.contains("another kennel serves this site"), "{}", second.stderr);
    assert_eq!(
        ask(&mut connect(&site, "talk"), r#"{"do": "rooms"}"#)["ok"],
        true,
        "the first has them still"
    );
    site.signal(Signal::TERM);
    assert_eq!(site.exit_code(), Some(0));
    assert!(!run.exists());
}

#[test]
fn what_a_killed_kennel_left_is_taken_over_by_the_next() {
    let mut site = site();
    site.signal(Signal::KILL);
    assert_eq!(site.exit_code(), None);
    assert!(address(&site, "talk").exists() && UnixStream::connect(address(&site, "talk")).is_err());
    drop(UnixListener::bind(address(&site, "of-old")).expect("it works"));
    site.folder().write("site/run/mine.txt", "kept");
    let port = Port::free();
    let (mut kennel, log) = another(site.folder().path(), &port);
    log.expect("ready:");
    assert_eq!(ask(&mut connect(&site, "talk"), r#"{"do": "stats"}"#)["result"]["state"], "serving");
    assert!(!address(&site, "of-old").exists(), "nobody is behind it");
    process::signal(kennel.id(), Signal::TERM);
    kennel.wait().expect("a child can be waited for");
    assert!(!address(&site, "talk").exists());
    assert!(site.folder().path().join("site/run/mine.txt").exists(), "what is not kennel's stays");
}

#[test]
fn what_cannot_be_served_is_said_with_the_next_step() {
    let folder = Folder::new();
    let talk = script(TALK);
    let deep = format!("{}/site", "deep".repeat(30));
    for file in ["none/app.lua", "empty/handlers/notes.txt", "twice/handlers/a.lua", "twice/handlers/a.py"] {
        folder.write(file, &talk);
    }
    folder.write("typo/handlers/a.lua", &talk);
    folder.write("typo/kennel.toml", "[[app]]\nsource = \"handlers/b.lua\"\n");
    folder.write("taken/handlers/a.lua", &talk);
    folder.write("taken/run/a", "somebody's file");
    folder.write(&format!("{deep}/handlers/a.lua"), &talk);
    for (site, problem) in [
        (
            "none",
            "cannot serve `none`: it is a directory without a folder `handlers`; put scripts into none/handlers",
        ),
        ("empty", "no handler is in empty/handlers"),
        ("twice", "`twice/handlers/a.lua` and `twice/handlers/a.py` would both be mounted at `/a`"),
        ("typo", "typo/kennel.toml: there is no handler `handlers/b.lua`"),
        ("taken", "the address of a handler cannot be made at taken/run/a"),
        (&deep, "and that of a socket has 107 at most; serve the site from its own folder"),
    ] {
        let finished = command::run(folder.path(), ["run", site]);
        assert_eq!(finished.code, Some(2), "{site}: {}", finished.stderr);
        assert!(finished.stderr.contains(problem), "{site}: {}", finished.stderr);
    }
    assert!(!folder.path().join(&deep).join("run").exists(), "nothing is left behind");
}

#[test]
fn check_and_routes_take_a_directory_and_tell_of_all_that_is_in_it() {
    let folder = Folder::new();
    folder.write("site/handlers/talk.lua", script(TALK));
    folder.write("site/handlers/bad.lua", BROKEN);
    let finished = command::run(folder.path(), ["check", "site"]);
    assert_eq!(finished.code, Some(2));
    assert!(finished.stderr.contains("site/handlers/bad.lua:1: no cake"), "{}", finished.stderr);
    assert!(
        finished.stdout.contains("site/handlers/talk.lua: fine, 1 route and 1 channel under /talk, 1 worker"),
        "{}",
        finished.stdout
    );
    let finished = command::run(folder.path(), ["routes", "site"]);
    assert_eq!(finished.code, Some(2));
    assert!(finished.stderr.contains("no cake"), "{}", finished.stderr);
    assert!(finished.stdout.contains("/talk/live"), "{}", finished.stdout);
}

#[test]
fn the_example_serves_its_page_its_handlers_and_a_shell() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/site");
    let folder = Folder::new();
    for file in ["handlers/board.lua", "handlers/clock.py", "public/index.html"] {
        let text = std::fs::read(example.join(file)).expect("the example has it");
        folder.write(&format!("site/{file}"), text);
    }
    let shell = std::fs::read(example.join("handlers/echo")).expect("the example has it");
    folder.write_program("site/handlers/echo", shell);
    let port = Port::free();
    let (mut kennel, log) = another(folder.path(), &port);
    log.expect("3 of 3 loaded: ");
    let get = |path| tests::client::Client::connect(port.number()).get(path);
    assert!(get("/").text().contains("A board"));
    assert!(get("/clock").json()["time"].is_string());
    assert!(get("/clock/2").json()["time"].as_str().is_some_and(|time| time.ends_with("+02:00")));
    assert_eq!(get("/clock/noon").status, 400);
    assert_eq!(get("/echo/a/b").json(), json!({ "path": "/echo/a/b" }));
    let mut board = tests::websocket::WebSocket::open(port.number(), "/board/live");
    assert_eq!(board.read_text(), "nothing yet");
    let arguments = ["console", "--socket", "site/run/board", "-c", "broadcast hello from a shell"];
    assert_eq!(command::run(folder.path(), arguments).stdout, "recipients  1\n");
    assert_eq!(board.read_text(), "hello from a shell");
    board.send("hello from a page");
    assert_eq!(board.read_text(), "hello from a page");
    assert_eq!(get("/board").json(), json!({ "last": "hello from a page" }));
    process::signal(kennel.id(), Signal::TERM);
    assert_eq!(kennel.wait().expect("a child can be waited for").code(), Some(0));
}
