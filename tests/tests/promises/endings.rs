//! Stop and reload let a worker finish what it has begun, and name what they cut off.

use std::time::{Duration, Instant};
use tests::client::get;
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::process::{self, Signal};
use tests::site::Site;
use tests::wait;

/// Each kind of work makes the file `begun`, takes a second, and makes the file `done`. A service and a timer run
/// beside it for ever.
const WORK: Scripts<'_> = Scripts {
    lua: r#"
local function touch(name) io.open(name, "w"):close() end
local function work() touch("begun") kennel.sleep(1) touch("done") end
app:get("/async", function() work() return "x" end)
app:get("/spawn", function() kennel.spawn(work) return "x" end)
app:channel("/callback", { message = work })
app:raw(function(msg) if msg.path == "/raw" then work() end end)
local ticks = false
app:get("/timer", function() ticks = true return "x" end)
app:every(0.05, function() if ticks then ticks = false work() end end)
kennel.spawn(function() while true do kennel.sleep(0.05) end end)
app:start(function() kennel.spawn(function() kennel.sleep(1000) end) kennel.sleep(1000) end)
app:stop(function() print("stop hook ran") end)
"#,
    python: r#"
import asyncio, time
app = kennel.App(threads=2)
def touch(name): open(name, "w").close()
async def work(*_):
    touch("begun")
    await asyncio.sleep(1)
    touch("done")
@app.get("/thread")
def thread(req):
    touch("begun")
    time.sleep(1)
    touch("done")
    return "x"
@app.get("/async")
async def in_loop(req):
    await work()
    return "x"
@app.get("/spawn")
async def spawn(req):
    kennel.spawn(work)
    return "x"
@app.get("/task")
async def task(req):
    asyncio.create_task(work())
    return "x"
@app.channel("/callback")
class Callback:
    async def message(self, conn, message): await work()
@app.raw
async def raw(msg):
    if msg.path == "/raw":
        await work()
ticks = False
@app.get("/timer")
def timer(req):
    global ticks
    ticks = True
    return "x"
@app.every(0.05)
async def tick():
    global ticks
    if ticks:
        ticks = False
        await work()
async def service():
    while True:
        await asyncio.wait_for(asyncio.sleep(0.05), 1)
kennel.spawn(service)
@app.start
async def start():
    asyncio.create_task(service())
    await asyncio.sleep(0)
    asyncio.create_task(service())
    kennel.spawn(service)
    await asyncio.sleep(1000)
@app.stop
def stop(): print("stop hook ran")
"#,
};

const LUA: &[&str] = &["async", "spawn", "callback", "raw", "timer"];
const PYTHON: &[&str] = &["thread", "async", "spawn", "task", "callback", "raw", "timer"];

fn has(site: &Site, name: &str) -> bool {
    site.folder().path().join(name).exists()
}

/// Lets a request, a message or a timer begin its work, and ends the worker with this signal in the middle of it. Gives the
/// time until the worker was gone.
fn end_in_the_middle_of(site: &mut Site, work: &str, signal: Signal) -> Duration {
    for name in ["begun", "done"] {
        let _ = std::fs::remove_file(site.folder().path().join(name));
    }
    let mut client = site.client();
    let mut socket = None;
    if work == "callback" {
        let opened = socket.insert(site.websocket("/callback"));
        opened.send("go");
    } else {
        client.send(get(&format!("/{work}")));
    }
    wait::until("the work begins", || has(site, "begun"));
    let worker = site.workers()[0];
    let reloads = site.log().count("newest code is in charge");
    site.signal(signal);
    if signal == Signal::HUP {
        // Until then the old code is in charge, and its worker has no reason to end.
        site.log().expect_times("newest code is in charge", reloads + 1);
    }
    let begin = Instant::now();
    wait::until("the worker ends", || !process::is_alive(worker) || !site.workers().contains(&worker));
    let time = begin.elapsed();
    assert!(has(site, "done"), "{work} was cut off after {time:?}:\n{}", site.log().text());
    assert!(time < Duration::from_secs(5), "the worker ended {time:?} after the signal, long after {work}");
    if matches!(work, "thread" | "async") {
        assert_eq!(client.read().text(), "x", "{work}");
    }
    time
}

in_each_language!(a_stop_waits_for_all_kinds_of_work);
fn a_stop_waits_for_all_kinds_of_work(language: Language) {
    for work in language.pick(LUA, PYTHON) {
        let mut site = language.plan(WORK).behind_warm().workers(1).start();
        end_in_the_middle_of(&mut site, work, Signal::TERM);
        assert_eq!(site.exit_code(), Some(0), "{work}");
        let log = site.log().to_end();
        assert_eq!(log.matches("stop hook ran").count(), 1, "{work}: {log}");
        assert!(!log.contains("cut off") && !log.contains("ERROR"), "{work}: {log}");
    }
}

in_each_language!(a_reload_waits_for_all_kinds_of_work);
fn a_reload_waits_for_all_kinds_of_work(language: Language) {
    let mut site = language.plan(WORK).behind_warm().workers(1).start();
    for (number, work) in language.pick(LUA, PYTHON).iter().enumerate() {
        end_in_the_middle_of(&mut site, work, Signal::HUP);
        site.log().expect_times("stop hook ran", number + 1);
    }
    let log = site.log().text();
    assert!(!log.contains("cut off") && !log.contains("ERROR"), "{log}");
}

const ENDLESS: Scripts<'_> = Scripts {
    lua: r#"
local function touch(name) io.open(name, "w"):close() end
app:get("/", function() return "x" end)
app:get("/endless", function() touch("one") kennel.sleep(1000) return "x" end)
app:get("/spawn", function() kennel.spawn(function() kennel.sleep(1000) end) touch("two") return "x" end)
app:stop(function() kennel.sleep(0.05) print("stop hook ran") end)
app:stop(function() kennel.sleep(1000) end)
"#,
    python: r#"
import asyncio
def touch(name): open(name, "w").close()
@app.get("/")
def x(req): return "x"
@app.get("/endless")
async def endless(req):
    touch("one")
    await asyncio.sleep(1000)
    return "x"
async def lonely():
    try:
        await asyncio.sleep(1000)
    finally:
        print("cancelled")
@app.get("/spawn")
async def spawn(req):
    kennel.spawn(lonely)
    asyncio.create_task(lonely(), name="single")
    touch("two")
    return "x"
@app.stop
async def stop():
    await asyncio.sleep(0.05)
    print("stop hook ran")
@app.stop
async def slow(): await asyncio.sleep(1000)
"#,
};

in_each_language!(what_a_stop_or_a_reload_cuts_off_is_named_and_stop_hooks_run);
fn what_a_stop_or_a_reload_cuts_off_is_named_and_stop_hooks_run(language: Language) {
    let limits = "[limits]\nstop_time = \"600ms\"\nhook_time = \"2s\"\n";
    for signal in [Signal::TERM, Signal::HUP] {
        let mut site = language.plan(ENDLESS).config(limits).behind_warm().workers(1).start();
        let mut client = site.client();
        client.send(get("/endless"));
        site.get("/spawn");
        wait::until("both run", || has(&site, "one") && has(&site, "two"));
        let worker = site.workers()[0];
        let begin = Instant::now();
        site.signal(signal);
        assert_eq!(client.read().status, 502);
        wait::until("the worker ends", || !site.workers().contains(&worker));
        assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
        site.log().expect("stop hook ran");
        let line = site.log().expect("cut off: the response did not end within limits.stop_time");
        assert!(line.contains("/endless"), "{line}");
        let place = language.pick("the function at app.lua:6", "`lonely` at app.py:");
        assert!(site.log().expect("cut off: the").contains("cut off: the"), "{}", site.log().text());
        assert!(site.log().text().contains(place), "{}", site.log().text());
        site.log().expect("cut off: a stop hook");
        if language == Language::Python {
            site.log().expect_times("cancelled", 2);
            site.log().expect("cut off: the task single of `lonely`");
        }
        if signal == Signal::TERM {
            assert_eq!(site.exit_code(), Some(0));
        }
        assert_eq!(site.log().count("ERROR"), 0, "{}", site.log().text());
    }
}

/// Leaves in each phase of a response, and what the app does then.
const LEAVERS: &str = r#"
import asyncio
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("lifespan ended")
        await send({"type": "lifespan.shutdown.complete"})
        return
    _, phase, then = (scope["path"] + "//").split("/")[:3]
    start = {"type": "http.response.start", "status": 200, "headers": []}
    async def gone():
        while (await receive())["type"] != "http.disconnect":
            pass
    if phase in ("started", "streaming", "sized", "events", "oserror"):
        if phase == "sized":
            start["headers"] = [(b"content-length", b"100")]
        await send(start)
    if phase in ("streaming", "sized", "oserror"):
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
    if phase == "":
        await send(start)
        await send({"type": "http.response.body", "body": b"ok"})
        return
    print("waits", scope["path"])
    if phase == "events":
        # As sse-starlette does it: what listens for the end cancels what sends.
        async def stream():
            while True:
                await send({"type": "http.response.body", "body": b"data: x\r\n\r\n", "more_body": True})
                await asyncio.sleep(0.05)
        sender = asyncio.create_task(stream())
        await gone()
        sender.cancel()
        await asyncio.wait([sender])
    elif phase == "oserror":
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
                await asyncio.sleep(0.02)
        except OSError:
            pass
    else:
        await gone()
    print("left", scope["path"])
    if then == "raise":
        raise RuntimeError("my client has left")
    if then == "send":
        try:
            if phase == "early":
                await send(start)
            await send({"type": "http.response.body", "body": b"end"})
        except OSError:
            print("too late")
"#;

#[test]
fn an_asgi_request_is_over_when_the_app_returns_after_its_client_has_left() {
    // Mongrel2 sends no notice when its delivery fails first: then keep-alives tell that the client has left.
    let site = Site::plan_module(LEAVERS).config("[limits]\nkeep_alive = \"1s\"\n");
    let mut site = site.behind_warm().workers(1).start();
    let phases = ["early", "started", "streaming", "sized", "events", "oserror"];
    for phase in phases {
        for then in ["return", "raise", "send"] {
            let path = format!("/{phase}/{then}");
            let mut client = site.client();
            client.send(get(&path));
            site.log().expect(&format!("waits {path}"));
            client.vanish();
            site.log().expect(&format!("left {path}"));
        }
    }
    let jobs = || {
        let answer = site.kennel(&["console", "--json", "-c", "workers"]).stdout;
        serde_json::from_str::<serde_json::Value>(&answer).expect("a list of workers")[0]["jobs"].as_u64()
    };
    wait::until("no job is left", || jobs() == Some(0));
    assert_eq!(site.get("/").text(), "ok");
    let begin = Instant::now();
    site.signal(Signal::TERM);
    assert_eq!(site.exit_code(), Some(0));
    assert!(begin.elapsed() < Duration::from_millis(1500), "{:?}", begin.elapsed());
    let log = site.log().to_end();
    assert!(log.contains("lifespan ended"), "{log}");
    for complaint in ["ERROR", "killed", "cut off:", "cut short", "502 Bad Gateway"] {
        assert!(!log.contains(complaint), "{complaint}: {log}");
    }
}

const BEHIND: &str = r#"
import asyncio, time
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("lifespan ended")
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    endless = scope["path"] == "/endless"
    await send({"type": "http.response.body", "body": b"ok", "more_body": endless})
    if endless:
        await asyncio.sleep(1000)
    if scope["path"] == "/background":
        open("begun", "w").close()
        await asyncio.sleep(0.5)
        await asyncio.to_thread(time.sleep, 0.5) if hasattr(asyncio, "to_thread") else None
        open("done", "w").close()
"#;

#[test]
fn code_behind_the_last_body_message_of_asgi_is_finished() {
    let mut site = Site::plan_module(BEHIND).behind_warm().workers(1).start();
    end_in_the_middle_of(&mut site, "background", Signal::HUP);
    site.log().expect("lifespan ended");
    end_in_the_middle_of(&mut site, "background", Signal::TERM);
    assert_eq!(site.exit_code(), Some(0));
    let log = site.log().to_end();
    assert_eq!(log.matches("lifespan ended").count(), 2, "{log}");
    assert!(!log.contains("cut off") && !log.contains("ERROR"), "{log}");
}

#[test]
fn a_stream_without_end_is_cut_off_and_the_lifespan_ends_all_the_same() {
    let limits = "[limits]\nstop_time = \"500ms\"\n";
    let mut site = Site::plan_module(BEHIND).config(limits).behind_warm().workers(1).start();
    let mut client = site.client();
    client.send(get("/endless"));
    client.read_head();
    let begin = Instant::now();
    site.signal(Signal::TERM);
    assert_eq!(site.exit_code(), Some(0));
    assert!(begin.elapsed() < Duration::from_millis(2500), "{:?}", begin.elapsed());
    let log = site.log().to_end();
    assert!(log.contains("lifespan ended"), "{log}");
    assert!(log.contains("cut off: the response did not end within limits.stop_time"), "{log}");
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn tasks_that_a_library_has_made_for_itself_hold_nothing_up() {
    let library = "import asyncio\nasync def watch():\n    while True:\n        await asyncio.sleep(0.05)\n\
                   def start():\n    asyncio.ensure_future(watch())\n";
    let app = format!(
        "import sys\nsys.path.insert(0, 'site-packages')\nimport watcher\n{BEHIND}    watcher.start()\n"
    );
    let mut site =
        Site::plan_module(&app).file("site-packages/watcher.py", library).behind_warm().workers(1).start();
    site.get("/");
    let begin = Instant::now();
    site.signal(Signal::TERM);
    assert_eq!(site.exit_code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    let log = site.log().to_end();
    assert!(log.contains("lifespan ended") && !log.contains("cut off"), "{log}");
}

const CLOSES: &str = r#"
import time
class Response:
    def __init__(self, path): self.path = path
    def __iter__(self):
        yield b"ok"
        if self.path == "/yield":
            self.work()
    def close(self):
        if self.path == "/close":
            self.work()
    def work(self):
        open("begun", "w").close()
        time.sleep(1)
        open("done", "w").close()
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return Response(environ["PATH_INFO"])
"#;

#[test]
fn close_and_code_behind_the_last_yield_of_wsgi_are_finished() {
    let mut site = Site::plan_module(CLOSES).behind_warm().workers(1).start();
    for work in ["close", "yield"] {
        end_in_the_middle_of(&mut site, work, Signal::HUP);
    }
    end_in_the_middle_of(&mut site, "close", Signal::TERM);
    assert_eq!(site.exit_code(), Some(0));
    assert!(!site.log().to_end().contains("cut off"));
    let limits = "[limits]\nstop_time = \"300ms\"\nhook_time = \"200ms\"\n";
    let mut site = Site::plan_module(CLOSES).config(limits).behind_warm().workers(1).start();
    let mut client = site.client();
    client.send(get("/close"));
    wait::until("it begins", || has(&site, "begun"));
    site.signal(Signal::TERM);
    assert_eq!(site.exit_code(), Some(0));
    site.log().expect("cut off: GET /close did not end within limits.stop_time");
}

#[test]
fn a_program_that_does_not_answer_in_time_is_ended_in_peace_and_its_request_is_named() {
    let program = "#!/bin/sh\necho '{\"do\":\"routes\",\"routes\":[\"GET /slow\"]}'\n\
                   while read -r line; do touch begun; done\necho ended in peace >&2\n";
    let limits = "[limits]\nstop_time = \"500ms\"\n[[app]]\nsource = \"p.sh\"\n";
    let mut site =
        Site::plan("").program("p.sh", program).config(limits).configured_apps().behind_warm().start();
    let mut client = site.client();
    client.send(get("/slow"));
    wait::until("it has the request", || has(&site, "begun"));
    let begin = Instant::now();
    site.signal(Signal::TERM);
    assert_eq!(client.read().status, 502);
    assert_eq!(site.exit_code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    let line = site.log().expect("cut off: the response did not end within limits.stop_time");
    assert!(line.contains("/slow"), "{line}");
    site.log().expect("ended in peace");
}
