use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tests::client::request;
use tests::command;
use tests::folder::Folder;
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::metrics::Metrics;
use tests::process::Signal;
use tests::site::{Site, script};
use tests::wait;

/// A line of 4,000 bytes by way of the hub, and one that the worker writes by itself.
const TALK: Scripts<'static> = Scripts {
    lua: r#"
    app:get("/talk", function()
      print(("x"):rep(4000))
      io.stderr:write(("y"):rep(4000), "\n")
      return "said"
    end)
    app:get("/", function() return "fine" end)
    "#,
    python: r#"
    import os
    @app.get("/talk")
    def talk(req):
        print("x" * 4000)
        os.write(2, b"y" * 4000 + b"\n")
        return "said"
    @app.get("/")
    def fine(req): return "fine"
    "#,
};

in_each_language!(a_log_reader_that_stands_still_delays_no_request_and_the_log_says_what_it_lost);
fn a_log_reader_that_stands_still_delays_no_request_and_the_log_says_what_it_lost(language: Language) {
    let plan = language.plan(TALK).config("[limits]\nlog_queue = \"64KiB\"\n");
    let mut site = plan.argument("--metrics=127.0.0.1:0").behind_warm().start();
    site.log().pause();
    let mut client = site.client();
    let mut times = Vec::new();
    // Much more than the pipe and the queue hold.
    for _ in 0..200 {
        let began = Instant::now();
        assert_eq!(client.get("/talk").text(), "said");
        assert_eq!(client.get("/").text(), "fine");
        times.push(began.elapsed());
    }
    times.sort();
    assert!(times[197] < Duration::from_millis(50), "{times:?}");
    let dropped = || Metrics::of(&site).sum("kennel_log_lines_dropped_total", &[]);
    wait::until("lines are dropped and counted", || dropped() > 100.0);
    site.log().resume();
    site.log().expect("log lines were dropped");
    assert_eq!(client.get("/talk").text(), "said");
    site.signal(Signal::TERM);
    assert_eq!(site.exit_code(), Some(0));
    assert!(site.log().to_end().contains("stopped: "), "what is logged at the end is written");
}

#[test]
fn a_log_that_nobody_reads_does_not_keep_kennel_from_ending() {
    let mut site = Language::Lua.plan(TALK).behind_warm().start();
    site.log().pause();
    let mut client = site.client();
    for _ in 0..40 {
        assert_eq!(client.get("/talk").text(), "said");
    }
    let began = Instant::now();
    site.signal(Signal::TERM);
    assert_eq!(site.exit_code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    site.log().resume();
}

#[test]
fn a_full_disk_and_a_reader_that_is_gone_keep_nothing_from_starting() {
    for format in ["text", "json"] {
        let site = Site::plan(TALK.lua).argument(&format!("--log-format={format}")).behind_warm();
        let site = site.start_with_log_to(File::options().write(true).open("/dev/full").expect("/dev/full"));
        assert_eq!(site.get("/talk").text(), "said");
        let site = Site::plan(TALK.lua).argument(&format!("--log-format={format}")).behind_warm();
        let (read, write) = std::io::pipe().expect("a pipe");
        drop(read);
        let site = site.start_with_log_to(write);
        assert_eq!(site.get("/talk").text(), "said");
    }
}

#[test]
fn control_characters_of_clients_do_not_reach_the_log_as_they_are() {
    let site = Site::plan(
        r#"app:get("/", function(req)
          kennel.log.info("name " .. req.args.name, { field = req.args.name })
          io.stderr:write("raw " .. req.args.name .. "\n")
          return "x"
        end)"#,
    );
    let site = site.behind_warm().start();
    site.get("/?name=a%00b%0Dc%1B%5B2Jd%C2%9B");
    let line = site.log().expect("name a");
    assert!(line.contains("a\\0b\\rc\\x1b[2Jd\\u{9b}"), "{line:?}");
    assert_eq!(site.log().expect("raw a"), "raw a\\0b\\rc\\x1b[2Jd\\u{9b}");
    assert!(!site.log().text().contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
}

/// `head -0` ends before it has read anything.
#[test]
fn no_command_panics_when_its_output_goes_nowhere() {
    let folder = Folder::new();
    folder.write("app.lua", script(r#"app:get("/", function() return "x" end)"#));
    folder.write("bad.lua", "this is not Lua");
    let commands: [&[&str]; 8] = [
        &["check", "app.lua"],
        &["check", "bad.lua"],
        &["routes", "app.lua"],
        &["routes", "bad.lua"],
        &["conf", "check", "none.conf"],
        &["run", "none.lua"],
        &["--help"],
        &["nonsense"],
    ];
    let full = || Stdio::from(File::options().write(true).open("/dev/full").expect("/dev/full"));
    let gone = || {
        let (read, write) = std::io::pipe().expect("a pipe");
        drop(read);
        Stdio::from(write)
    };
    for arguments in commands {
        for nowhere in [full, gone] {
            let mut child = command::command(folder.path(), arguments);
            let mut child = child.stdout(nowhere()).stderr(nowhere()).spawn().expect("kennel can be started");
            let status = wait::until_some("it ends", || child.try_wait().expect("a child can be waited for"));
            assert!(matches!(status.code(), Some(0..=3)), "{arguments:?}: {status}");
        }
    }
}

/// Handlers that hang, that wait too long, that die and that fail.
const TROUBLE: Scripts<'static> = Scripts {
    lua: r#"
    app:get("/hangs", function() while true do end end)
    app:get("/waits", function() kennel.sleep(60) return "late" end)
    app:get("/dies", function() os.exit(7) end)
    app:get("/fails", function() error("no cake") end)
    app:get("/warns", function() kennel.log.warn("odd", { shop = "cake", n = 3 }) return "x" end)
    "#,
    python: r#"
    import asyncio, os
    @app.get("/hangs")
    def hangs(req):
        while True: pass
    @app.get("/waits")
    async def waits(req): await asyncio.sleep(60)
    @app.get("/dies")
    def dies(req): os._exit(7)
    @app.get("/fails")
    def fails(req): raise RuntimeError("no cake")
    @app.get("/warns")
    def warns(req):
        kennel.log.warn("odd", {"shop": "cake", "n": 3})
        return "x"
    "#,
};

in_each_language!(each_line_about_a_request_that_went_wrong_names_it);
fn each_line_about_a_request_that_went_wrong_names_it(language: Language) {
    let plan = || {
        let limits = "[limits]\nscript_time = \"500ms\"\nrequest_timeout = \"3s\"\n";
        language.plan(TROUBLE).config(limits).workers(1).behind_warm()
    };
    let site = plan().start();
    for (path, status, said) in [
        ("/waits", 504, "504 Gateway Timeout: no response within 3s"),
        ("/fails", 500, "GET /fails?token=hush failed"),
        ("/warns", 200, "odd"),
        ("/hangs", 504, "a script ran for 500ms without pause"),
        ("/dies", 502, "502 Bad Gateway"),
    ] {
        wait::until("a worker serves", || site.get("/warns").status == 200);
        let mut client = site.client();
        client.send(request("GET", &format!("{path}?token=hush"), &[], b""));
        assert_eq!(client.read().status, status, "{path}");
        let line = site.log().expect(said);
        for part in [
            &format!("app=\"{}\"", language.app()),
            "worker=1",
            "link=0",
            "conn=",
            "request=",
            "method=\"GET\"",
            &format!("path=\"{path}\""),
        ] {
            assert!(line.contains(part), "no `{part}` in {line}");
        }
    }
    let odd = site.log().expect("odd");
    assert!(odd.contains(" shop=cake") && odd.contains(" n=3"), "{odd}");
    site.log().expect("504 Gateway Timeout: its worker was killed");
    site.log().expect("exit status: 7");

    let site = plan().argument("--log-format=json").start();
    assert_eq!(site.get("/waits").status, 504);
    let line: serde_json::Value =
        serde_json::from_str(&site.log().expect("no response within")).expect("JSON");
    for (name, value) in [("method", "GET"), ("path", "/waits"), ("app", language.app()), ("level", "WARN")] {
        assert_eq!(line[name], value, "{line}");
    }
    assert!(line["worker"] == 1 && line["status"] == 504 && line["request"].is_u64(), "{line}");
}

/// Live connections: one that is refused, one whose script fails, one that breaks the protocol, one by plain HTTP.
const LIVE: Scripts<'static> = Scripts {
    lua: r#"app:channel("/room", { message = function() error("no cake") end })"#,
    python: r#"
    @app.channel("/room")
    class Room:
        def message(self, conn, text): raise RuntimeError("no cake")
    "#,
};

in_each_language!(each_line_about_a_live_connection_names_it);
fn each_line_about_a_live_connection_names_it(language: Language) {
    let foreign = [("Origin", "https://evil.example")];
    for format in ["text", "json"] {
        let plan = language.plan(LIVE).workers(1).behind_warm();
        let site = plan.argument(&format!("--log-format={format}")).start();
        assert_eq!(site.refusal("/room?token=hush", &foreign).status, 403);
        let poll = site.send(request("POST", "/room?token=hush", &foreign, b""));
        assert_eq!(poll.status, 403);
        let mut failing = site.websocket("/room?token=hush");
        failing.send("hello");
        assert_eq!(failing.read_close().0, 1011);
        let mut strange = site.websocket("/room?token=hush");
        strange.send_frame(0x83, b"x");
        assert_eq!(strange.read_close().0, 1002);
        for (said, method, is_attached) in [
            ("handshake refused: ", "WEBSOCKET_HANDSHAKE", false),
            ("refused: a page from elsewhere", "POST", false),
            ("no cake", "WEBSOCKET_HANDSHAKE", true),
            ("closed: ", "WEBSOCKET_HANDSHAKE", false),
        ] {
            let line = site.log().expect(said);
            let app = language.app();
            if format == "text" {
                let (app, method) = (format!("app=\"{app}\""), format!("method=\"{method}\""));
                for part in [
                    app.as_str(),
                    "link=0",
                    "conn=",
                    method.as_str(),
                    "path=\"/room\"",
                    if is_attached { "worker=1" } else { "" },
                ] {
                    assert!(line.contains(part), "no `{part}` in {line}");
                }
                continue;
            }
            let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            for (name, value) in [("app", app), ("method", method), ("path", "/room")] {
                assert_eq!(line[name], value, "{line}");
            }
            assert!(line["link"] == 0 && line["conn"].is_u64(), "{line}");
            assert!(!is_attached || line["worker"] == 1, "{line}");
        }
        assert!(!site.log().text().contains("hush"));
    }
}

/// The second WebSocket fails while the app works on nothing that its client has sent.
#[test]
fn each_line_about_a_request_or_a_websocket_of_asgi_names_it() {
    let site = Site::module(
        r#"
import asyncio, logging

async def app(scope, receive, send):
    if scope["type"] != "websocket":
        await asyncio.sleep(0)
        raise KeyError("plain")
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] == "/later":
        listener = asyncio.ensure_future(receive())
        await asyncio.sleep(0.2)
        listener.cancel()
        raise KeyError("later")
    await receive()
    logging.warning("odd")
    raise KeyError("at once")
"#,
    );
    assert_eq!(site.get("/plain").status, 500);
    let line = site.log().expect("KeyError: 'plain'");
    for part in
        ["app=\"app.py\"", "worker=", "link=0", "conn=", "request=", "method=\"GET\"", "path=\"/plain\""]
    {
        assert!(line.contains(part), "no `{part}` in {line}");
    }
    let mut socket = site.websocket("/at/once");
    socket.send("hello");
    assert_eq!(socket.read_close().0, 1011);
    for said in ["odd", "KeyError: 'at once'"] {
        let line = site.log().expect(said);
        for part in ["app=\"app.py\"", "worker=", "link=0", "conn=", "path=\"/at/once\""] {
            assert!(line.contains(part), "no `{part}` in {line}");
        }
    }
    let mut socket = site.websocket("/later");
    assert_eq!(socket.read_close().0, 1011);
    let line = site.log().expect("KeyError: 'later'");
    for part in ["app=\"app.py\"", "worker=", "conn=", "path=/later"] {
        assert!(line.contains(part), "no `{part}` in {line}");
    }
}
