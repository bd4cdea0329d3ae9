//! What an operator sees of a running kennel, and does to it.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use tests::client::get;
use tests::command::{self, Finished};
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::process::{self, Signal};
use tests::site::Site;
use tests::wait;

const TALK: Scripts<'_> = Scripts {
    lua: r#"
    visits = 0
    app:channel("/talk", {
      open = function(conn)
        conn:join("lobby")
        conn.data = { name = conn.request.query }
      end,
      message = function(conn, msg) conn:send("heard " .. msg) end,
      close = function(conn, code, reason) print("[closed " .. code .. " " .. reason .. "]") end,
    })
    app:get("/visit", function(req)
      visits = visits + 1
      return { visits = visits, agent = req.headers["user-agent"] }
    end)
    app:post("/echo", function(req) return req.body end)
    "#,
    python: r#"
    visits = 0
    @app.channel("/talk")
    class Talk:
        def open(self, conn):
            conn.join("lobby")
            conn.data = {"name": conn.request.query}
        def message(self, conn, msg): conn.send("heard " + msg)
        def close(self, conn, code, reason): print(f"[closed {code} {reason}]")
    @app.get("/visit")
    def visit(req):
        global visits
        visits += 1
        return {"visits": visits, "agent": req.headers.get("user-agent")}
    @app.post("/echo")
    def echo(req): return req.body
    "#,
};

fn console(site: &Site, line: &str) -> Finished {
    site.kennel(&["console", "-c", line])
}

/// What a command answers.
fn answer(site: &Site, line: &str) -> Value {
    let finished = site.kennel(&["console", "--json", "-c", line]);
    assert_eq!(finished.code, Some(0), "{line}: {}", finished.stderr);
    serde_json::from_str(&finished.stdout).expect("JSON")
}

fn socket(site: &Site) -> PathBuf {
    site.folder().path().join(format!(".kennel/{}/console.sock", site.hub()))
}

/// One who speaks to the socket.
fn connect(site: &Site) -> BufReader<UnixStream> {
    let stream = UnixStream::connect(socket(site)).expect("it works");
    stream.set_read_timeout(Some(wait::PATIENCE)).expect("it works");
    BufReader::new(stream)
}

fn line(stream: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    assert!(stream.read_line(&mut line).expect("it works") > 0, "it was closed");
    serde_json::from_str(&line).expect("a line is JSON")
}

/// Whether nothing is there to be read.
fn is_silent(stream: &BufReader<UnixStream>) -> bool {
    let mut byte = [0];
    let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
    rustix::net::recv(stream.get_ref(), &mut byte, flags).is_err()
}

in_each_language!(connections_rooms_and_workers_are_listed);
fn connections_rooms_and_workers_are_listed(language: Language) {
    let site = language.site(TALK);
    let mut ann = site.websocket("/talk?ann");
    assert_eq!(ann.ask("hello"), "heard hello");
    let mut ben = site.websocket("/talk?ben");
    assert_eq!(ben.ask("hello"), "heard hello");

    let list = answer(&site, "connections room=lobby");
    assert_eq!(list["total"], 2);
    let one = &list["connections"][0];
    assert_eq!(
        (&one["path"], &one["transport"], &one["state"]),
        (&json!("/talk"), &json!("websocket"), &json!("open"))
    );
    assert_eq!((&one["address"], &one["rooms"]), (&json!("127.0.0.1"), &json!(["lobby"])));
    for nobody in ["room=none", "path=/other", "address=10.", "idle=60"] {
        assert_eq!(answer(&site, &format!("connections {nobody}"))["connections"], json!([]), "{nobody}");
    }
    let page = answer(&site, "connections limit=1");
    let (first, next) = (&page["connections"][0]["id"], &page["next"]);
    let page = answer(&site, &format!("connections limit=1 after={next}"));
    assert_ne!(&page["connections"][0]["id"], first);

    let story = answer(&site, &format!("connection {}", first.as_str().expect("a text")));
    assert!(["ann", "ben"].contains(&story["data"]["name"].as_str().expect("a text")), "{story}");
    assert!(
        story["headers"].as_array().expect("a list").contains(&json!(["METHOD", "WEBSOCKET_HANDSHAKE"])),
        "{story}"
    );

    assert_eq!(answer(&site, "rooms"), json!([{ "room": "lobby", "members": 2 }]));
    let workers = answer(&site, "workers");
    let mut processes: Vec<u64> = workers
        .as_array()
        .expect("a list")
        .iter()
        .map(|worker| worker["process"].as_u64().expect("a number"))
        .collect();
    processes.sort_unstable();
    let mut expected: Vec<u64> = site.workers().into_iter().map(u64::from).collect();
    expected.sort_unstable();
    assert_eq!(processes, expected);
    assert_eq!(answer(&site, "status")["live_connections"], 2);
    assert_eq!(answer(&site, "queues")[0]["queued"], 0);
    let text = console(&site, "rooms").stdout;
    assert_eq!(text, "MEMBERS  ROOM\n      2  lobby\n");
}

in_each_language!(an_operator_speaks_to_connections_and_ends_them);
fn an_operator_speaks_to_connections_and_ends_them(language: Language) {
    let site = language.site(TALK);
    let mut ann = site.websocket("/talk?ann");
    assert_eq!(ann.ask("hello"), "heard hello");
    let id = answer(&site, "connections")["connections"][0]["id"].as_str().expect("a text").to_owned();
    let mut ben = site.websocket("/talk?ben");
    assert_eq!(ben.ask("hello"), "heard hello");

    assert_eq!(console(&site, &format!("send {id} how are you")).stdout, "done\n");
    assert_eq!(ann.read_text(), "how are you");
    assert_eq!(answer(&site, "broadcast room=lobby to the room"), json!({ "recipients": 2 }));
    assert_eq!(answer(&site, "broadcast to all"), json!({ "recipients": 2 }));
    for one in [&mut ann, &mut ben] {
        assert_eq!((one.read_text(), one.read_text()), ("to the room".into(), "to all".into()));
    }
    console(&site, &format!("message {id} made up"));
    assert_eq!(ann.read_text(), "heard made up");

    console(&site, &format!("close {id} 4001 that's enough"));
    assert_eq!(ann.read_close(), (4001, "that's enough".to_owned()));
    site.log().expect("[closed 4001 that's enough]");
    let finished = console(&site, &format!("send {id} late"));
    assert_eq!(finished.code, Some(2));
    assert!(finished.stderr.contains(&format!("no live connection is called `{id}`")), "{}", finished.stderr);

    // Ann is there until her close callback is done.
    let id = wait::until_some("ben is alone", || {
        let list = answer(&site, "connections")["connections"].take();
        (list.as_array()?.len() == 1).then(|| list[0]["id"].as_str().expect("a text").to_owned())
    });
    let finished = console(&site, &format!("close {id} 1005"));
    assert!(finished.stderr.contains("a close code is 1000 to 1003"), "{}", finished.stderr);
    console(&site, &format!("kick {id}"));
    assert!(ben.try_read_frame().is_err(), "it ends without a word");
    site.log().expect("[closed 1006");
}

in_each_language!(made_up_requests_go_the_way_of_real_ones);
fn made_up_requests_go_the_way_of_real_ones(language: Language) {
    let site = language.site(TALK);
    let made_up =
        r#"{"do": "request", "method": "GET", "path": "/visit", "headers": {"User-Agent": "console"}}"#;
    let seen = answer(&site, made_up);
    assert_eq!(seen["status"], 200);
    let body: Value = serde_json::from_str(seen["body"].as_str().expect("a text")).expect("it works");
    assert_eq!(body, json!({ "visits": 1, "agent": "console" }));
    let text = console(&site, "request POST /echo some words").stdout;
    assert!(text.starts_with("200\n") && text.ends_with("\n\nsome words\n"), "{text}");
    assert_eq!(answer(&site, "request GET /nowhere")["status"], 404);
    let finished = console(&site, "request GET nowhere");
    assert!(finished.stderr.contains("a path begins with `/`"), "{}", finished.stderr);
}

in_each_language!(code_runs_in_the_worker_that_was_chosen);
fn code_runs_in_the_worker_that_was_chosen(language: Language) {
    let site = language.plan(TALK).behind_warm().workers(1).start();
    assert_eq!(site.get("/visit").json()["visits"], 1);
    assert_eq!(answer(&site, "eval 1 visits + 1"), "2");
    answer(&site, "eval 1 visits = 41");
    assert_eq!(site.get("/visit").json()["visits"], 42);
    let count = language.pick("kennel.room('lobby'):count()", "kennel.room('lobby').count()");
    let _ann = site.websocket("/talk?ann");
    wait::until("she is in the lobby", || answer(&site, &format!("eval 1 {count}")) == "1");
    for (code, problem) in [
        (language.pick("error('oops')", "1 / 0"), language.pick("oops", "ZeroDivisionError")),
        ("for", language.pick("expected", "SyntaxError")),
        (language.pick("os.exit(3)", "__import__('os')._exit(3)"), "the worker has ended"),
    ] {
        let finished = console(&site, &format!("eval 1 {code}"));
        assert_eq!(finished.code, Some(2), "{code}");
        assert!(finished.stderr.contains(problem), "{code}: {}", finished.stderr);
    }
    let finished = console(&site, "eval 7 1");
    assert!(finished.stderr.contains("there is no worker 7"), "{}", finished.stderr);
}

in_each_language!(a_drained_worker_finishes_and_its_connections_move_on);
fn a_drained_worker_finishes_and_its_connections_move_on(language: Language) {
    let site = language.plan(TALK).behind_warm().workers(1).start();
    let mut ann = site.websocket("/talk?ann");
    assert_eq!(ann.ask("hello"), "heard hello");
    let old = site.workers()[0];
    console(&site, "drain 1");
    wait::until("another worker", || site.workers().first().is_some_and(|pid| *pid != old));
    wait::until("the old one is gone", || !process::is_alive(old));
    assert_eq!(ann.ask("again"), "heard again");
    assert_eq!(answer(&site, "rooms"), json!([{ "room": "lobby", "members": 1 }]));
    assert_eq!(site.get("/visit").json()["visits"], 1);
}

#[test]
fn what_passes_is_shown_to_who_watches() {
    let site = Language::Lua.site(TALK);
    let mut watcher = connect(&site);
    watcher.get_mut().write_all(b"{\"do\":\"tail\",\"path\":\"/talk\"}\n").expect("it works");
    assert_eq!(line(&mut watcher), json!({ "ok": true, "result": null }));
    site.get("/visit");
    let mut ann = site.websocket("/talk?ann");
    assert_eq!(line(&mut watcher)["event"], "opened");
    ann.ask("hello");
    let heard = line(&mut watcher);
    assert_eq!((&heard["event"], &heard["text"]), (&json!("in"), &json!("hello")));
    let said = line(&mut watcher);
    assert_eq!((&said["event"], &said["text"]), (&json!("out"), &json!("heard hello")));
    watcher.get_mut().write_all(b"{\"do\":\"quiet\",\"ref\":1}\n").expect("it works");
    assert_eq!(line(&mut watcher), json!({ "ref": 1, "ok": true, "result": null }));

    watcher.get_mut().write_all(b"{\"do\":\"tail\"}\n").expect("it works");
    line(&mut watcher);
    site.get("/nowhere");
    let request = line(&mut watcher);
    assert_eq!((&request["event"], &request["path"]), (&json!("request"), &json!("/nowhere")));
    let answer = line(&mut watcher);
    assert_eq!((&answer["event"], &answer["status"]), (&json!("answer"), &json!(404)));
}

#[test]
fn a_watcher_that_does_not_read_costs_no_memory_and_is_told_what_it_missed() {
    let site = Language::Lua.site(TALK);
    let mut watcher = connect(&site);
    watcher.get_mut().write_all(b"{\"do\":\"tail\"}\n").expect("it works");
    line(&mut watcher);
    let before = process::resident_memory(site.hub());
    let mut ann = site.websocket("/talk?ann");
    let long = "x".repeat(4000);
    for _ in 0..2000 {
        ann.ask(&long);
    }
    assert!(
        process::resident_memory(site.hub()) < before + (16 << 20),
        "{} {before}",
        process::resident_memory(site.hub())
    );
    let mut missed = false;
    while !missed {
        if watcher.buffer().is_empty() && is_silent(&watcher) {
            // What waited is read. The next thing that passes comes behind the count.
            ann.send("one more");
        }
        missed = line(&mut watcher)["event"] == "missed";
    }
}

#[test]
fn the_socket_is_the_operators_own() {
    let site = Language::Lua.site(TALK);
    let mode = socket(&site).metadata().expect("it works").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn several_commands_may_be_under_way_and_bad_lines_harm_nobody() {
    let site = Language::Lua.site(TALK);
    let mut one = connect(&site);
    one.get_mut()
        .write_all(
            b"{\"do\":\"rooms\",\"ref\":1}\nnonsense\n\n{\"do\":\"sned\"}\n{\"do\":\"status\",\"ref\":2}\n",
        )
        .expect("it works");
    assert_eq!(line(&mut one)["ref"], 1);
    assert!(line(&mut one)["error"].as_str().expect("a text").contains("one JSON object"));
    assert_eq!(line(&mut one)["error"], "there is no command `sned`; did you mean `send`?");
    assert_eq!(line(&mut one)["ref"], 2);
    let mut endless = connect(&site);
    let _ = endless.get_mut().write_all(&vec![b'x'; 3 << 20]);
    assert!(line(&mut endless)["error"].as_str().expect("a text").contains("at most"));
    let mut half = connect(&site);
    half.get_mut().write_all(b"{\"do\":").expect("it works");
    drop(half);
    let mut over = connect(&site);
    over.get_mut().write_all(b"{\"do\":\"rooms\"}\n").expect("it works");
    over.get_mut().shutdown(std::net::Shutdown::Write).expect("it works");
    assert_eq!(line(&mut over)["ok"], true);
    assert_eq!(site.get("/visit").status, 200);
}

#[test]
fn a_script_on_standard_input_runs_line_by_line_and_stops_at_a_mistake() {
    let site = Language::Lua.site(TALK);
    let script = b"# who is here\nrooms\n\nsned all\nrooms\n";
    let mut command = command::command(site.folder().path(), ["console", "--json"]);
    command.stdin(Stdio::piped());
    let finished = command::finish(command, script);
    let error = r#"{"error":"line 4: there is no command `sned`; did you mean `send`?"}"#;
    assert_eq!((finished.code, &*finished.stdout), (Some(2), &*format!("[]\n{error}\n")));
    assert_eq!(finished.stderr, "");
    // For people it is on standard error.
    let mut command = command::command(site.folder().path(), ["console"]);
    command.stdin(Stdio::piped());
    let finished = command::finish(command, script);
    assert_eq!(finished.code, Some(2));
    assert!(finished.stderr.contains("error: line 4: there is no command `sned`"), "{}", finished.stderr);
}

#[test]
fn a_command_with_json_answers_errors_in_json_too() {
    let site = Language::Lua.site(TALK);
    let wrong = site.kennel(&["console", "--json", "-c", "nonsense"]);
    let error: Value = serde_json::from_str(&wrong.stdout).expect("JSON");
    assert_eq!(wrong.code, Some(2));
    assert!(error["error"].as_str().is_some_and(|text| text.contains("no command `nonsense`")), "{error}");
    assert_eq!(wrong.stderr, "");
    let folder = tests::folder::Folder::new();
    folder.write("broken.lua", "error('not today')\n");
    for (arguments, code, word) in [
        (&["console", "--json", "-c", "rooms"][..], 3, "no kennel runs"),
        (&["routes", "--json", "app.lau"], 2, "app.lau"),
        (&["routes", "--json", "broken.lua"], 2, "not today"),
        (&["test", "--json"], 2, "no tests"),
        (&["running", "--json"], 2, "config.sqlite"),
        (&["ctl", "--json", "time"], 2, "config.sqlite"),
        (&["conf", "check", "--json", "none.conf"], 2, "none.conf"),
        (&["conf", "diff", "--json", "none.conf", "none.conf"], 2, "none.conf"),
        (&["conf", "servers", "--json"], 2, "config.sqlite"),
        (&["conf", "hosts", "--json"], 2, "config.sqlite"),
        (&["conf", "routes", "--json"], 2, "config.sqlite"),
        (&["conf", "route", "--json", "--path", "/"], 2, "config.sqlite"),
        (&["conf", "settings", "--json"], 2, "config.sqlite"),
        (&["conf", "mimetypes", "--json"], 2, "config.sqlite"),
        (&["conf", "log", "--json"], 2, "config.sqlite"),
        (&["check", "--json", "--config", "none.toml"], 2, "none.toml"),
    ] {
        let finished = command::run(folder.path(), arguments);
        let answer: Value = serde_json::from_str(&finished.stdout).unwrap_or_else(|problem| {
            panic!("{arguments:?}: {problem}: {}{}", finished.stdout, finished.stderr)
        });
        assert!(answer["error"].as_str().is_some_and(|text| text.contains(word)), "{arguments:?}: {answer}");
        assert_eq!((finished.code, &*finished.stderr), (Some(code), ""), "{arguments:?}");
    }
    // What `check` finds wrong is in its report.
    let finished = command::run(folder.path(), ["check", "--json", "broken.lua"]);
    let report: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    assert_eq!(finished.code, Some(2));
    assert!(report["errors"][0].as_str().is_some_and(|text| text.contains("not today")), "{report}");
    // A command line that is not understood is answered in words.
    let finished = command::run(folder.path(), ["routes", "--json", "--nonsense"]);
    assert_eq!((finished.code, &*finished.stdout), (Some(2), ""));
    assert!(finished.stderr.contains("`--nonsense` is not a flag"), "{}", finished.stderr);
}

#[test]
fn a_console_without_a_kennel_says_what_to_do() {
    let folder = tests::folder::Folder::new();
    let finished = command::run(folder.path(), ["console", "-c", "rooms"]);
    assert_eq!(finished.code, Some(3));
    assert!(finished.stderr.contains("no kennel runs in this directory"), "{}", finished.stderr);
    let finished = command::run(folder.path(), ["console", "--socket", "nowhere.sock", "-c", "rooms"]);
    assert_eq!(finished.code, Some(3));
    assert!(finished.stderr.contains("cannot reach a console at nowhere.sock"), "{}", finished.stderr);
}

#[test]
fn the_socket_may_be_elsewhere_and_a_dead_ones_place_is_taken() {
    let plan = Language::Lua.plan(TALK).config("[console]\nsocket = \"here.sock\"\n").behind_warm();
    let mut site = plan.start();
    let here = site.folder().path().join("here.sock");
    assert_eq!(site.kennel(&["console", "--socket", "here.sock", "--json", "-c", "rooms"]).stdout, "[]\n");
    let second = site.kennel(&["run", "--console", "here.sock", "app.lua"]);
    assert_eq!(second.code, Some(3), "{}", second.stderr);
    assert!(second.stderr.contains("is another kennel's"), "{}", second.stderr);
    site.signal(Signal::TERM);
    assert_eq!(site.exit_code(), Some(0));
    assert!(!here.exists() || UnixStream::connect(&here).is_err());
}

#[test]
fn the_log_level_changes_while_it_runs() {
    let site = Language::Lua.site(TALK);
    console(&site, "log error");
    site.send(get("/visit"));
    console(&site, "reload");
    console(&site, "log info");
    site.log().expect("the log level is info now");
    assert_eq!(site.log().count("loading the newest code, as the console asked"), 0);
    console(&site, "reload");
    site.log().expect("loading the newest code, as the console asked");
    site.log().expect("newest code is in charge");
}

#[test]
fn a_reload_says_what_became_of_each_app() {
    let program =
        "#!/bin/sh\necho '{\"do\":\"routes\",\"routes\":[\"GET /sh\"]}'\nwhile read -r line; do :; done\n";
    let toml = "[console]\nsocket = \"here.sock\"\n[[app]]\nsource = \"app.lua\"\nworkers = 1\n\
                [[app]]\nsource = \"p.sh\"\nmount = \"/p\"\n";
    let site = Language::Lua
        .plan(TALK)
        .program("p.sh", program)
        .config(toml)
        .configured_apps()
        .behind_warm()
        .start();
    for command in [&["reload"][..], &["console", "-c", "reload"]] {
        let fine = site.kennel(command);
        let lines = "app.lua: loaded, 1 worker\np.sh: loaded, 1 worker\n";
        assert_eq!((fine.code, fine.stdout.as_str(), fine.stderr.as_str()), (Some(0), lines, ""));
    }
    let one = site.kennel(&["console", "-c", "reload p.sh"]);
    assert_eq!((one.code, one.stdout.as_str()), (Some(0), "p.sh: loaded, 1 worker\n"));
    let unknown = site.kennel(&["console", "-c", "reload q.sh"]);
    assert_eq!(unknown.code, Some(2), "{}", unknown.stderr);
    site.folder().write("app.lua", "error('not today')");
    for command in [&["reload"][..], &["console", "-c", "reload"]] {
        let half = site.kennel(command);
        assert_eq!(
            (half.code, half.stdout.as_str()),
            (Some(1), "p.sh: loaded, 1 worker\n"),
            "{}",
            half.stderr
        );
        assert!(half.stderr.contains("app.lua did not load: app.lua:1: not today"), "{}", half.stderr);
    }
    site.folder().write_program("p.sh", "#!/bin/sh\necho broken >&2\nexit 1\n");
    let none = site.kennel(&["console", "--json", "-c", "reload"]);
    assert_eq!(none.code, Some(1));
    let result: Value = serde_json::from_str(&none.stdout).expect("a list");
    assert_eq!((&result[0]["loaded"], &result[1]["loaded"]), (&json!(false), &json!(false)));
    assert!(result[1]["error"].as_str().is_some_and(|error| error.contains("broken")), "{result}");
}
