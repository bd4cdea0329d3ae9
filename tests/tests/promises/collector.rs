use std::collections::VecDeque;
use std::path::Path;
use std::time::Instant;
use tests::site::{Plan, Site};
use tests::websocket::WebSocket;

/// WebSockets that are open at a time: few enough for the usual limit of 1,024 descriptors.
const OPEN: usize = 500;

/// How many are opened: 100,000 with `KENNEL_LONG`.
fn times() -> usize {
    if std::env::var_os("KENNEL_LONG").is_some() { 100_000 } else { 1000 }
}

/// Opens WebSockets, of which the newest stay open, and looks at the workers.
fn no_worker_dies(plan: Plan, path: &str) {
    let site = plan.behind_warm().start();
    let workers = site.workers();
    let began = Instant::now();
    let mut open: VecDeque<WebSocket> = VecDeque::new();
    for number in 0..times() {
        if open.len() == OPEN {
            open.pop_front();
        }
        let mut socket = site.websocket(path);
        if number % 7 == 0 {
            socket.send("hello");
            assert_eq!(socket.read_text(), "hello");
        }
        assert_eq!(site.log().count("process ended"), 0, "after {number}:\n{}", site.log().text());
        open.push_back(socket);
    }
    println!("{} WebSockets in {:?}", times(), began.elapsed());
    assert_eq!(site.workers(), workers, "{}", site.log().text());
}

/// The collector runs as often as it can, and each time at another place: also while the dict of a request is made, which
/// is before its fields are written.
#[test]
fn a_collector_that_comes_while_a_request_is_made_kills_no_worker() {
    let plan = Site::python(
        r#"
        import gc
        gc.set_threshold(3, 3, 1000000)
        opened = 0
        @app.channel("/live")
        class Live:
            def open(self, conn):
                global opened
                opened += 1
                gc.set_threshold(1 + opened % 5, 3, 1000000)
            def message(self, conn, msg): conn.send(msg)
        "#,
    );
    no_worker_dies(plan, "/live");
}

#[test]
fn a_collector_that_comes_while_a_conversation_of_asgi_begins_kills_no_worker() {
    let plan = Site::plan_module(
        r#"
import gc
gc.set_threshold(3, 3, 1000000)
opened = 0
async def app(scope, receive, send):
    global opened
    if scope["type"] != "websocket":
        return
    opened += 1
    gc.set_threshold(1 + opened % 5, 3, 1000000)
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            return
        await send({"type": "websocket.send", "text": event["text"]})
"#,
    );
    no_worker_dies(plan, "/live");
}

#[test]
fn attributes_of_a_script_stay_on_its_request_and_their_cycles_are_collected() {
    let site = Site::python(
        r#"
        import gc, weakref
        class Thing: pass
        things = weakref.WeakSet()
        @app.before
        def before(req): req.user = "jo"
        @app.get("/")
        def index(req):
            thing = Thing()
            thing.request, req.thing = req, thing
            things.add(thing)
            req.session["n"] = 1
            missing = getattr(req, "missing", "nothing")
            req.json = "mine"
            del req.json
            return f"{req.user} {sorted(vars(req))} {missing} {callable(req.json)}"
        @app.get("/left")
        def left(req):
            gc.collect()
            return str(len(things))
        "#,
    )
    .behind_warm()
    .workers(1)
    .start();
    for _ in 0..10 {
        assert_eq!(site.get("/").text(), "jo ['thing', 'user'] nothing True");
    }
    assert_eq!(site.get("/left").text(), "0");
}

/// Another class would crash as rarely as the first did, so no test of its own would find it.
#[test]
fn each_class_that_the_collector_visits_keeps_its_fields_where_zeros_are_none() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../handler-py/src");
    let mut classes = 0;
    let mut left = vec![folder];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(
                std::fs::read_dir(path).expect("sources").filter_map(Result::ok).map(|entry| entry.path()),
            );
            continue;
        }
        let source = std::fs::read_to_string(&path).expect("a source can be read");
        let visited = source.matches("fn __traverse__(").count();
        let kept = source.matches("(Fields<Parts>);").count();
        assert_eq!(visited, kept, "{}: see fields.rs", path.display());
        classes += visited;
    }
    assert!(classes > 0);
}
