//! Python handlers that block run in threads, and hold up nothing but their own answers.

use std::time::{Duration, Instant};
use tests::client::{Client, get};
use tests::site::{Plan, Site};
use tests::wait;

/// One worker, so that all that happens at the same time happens in it.
fn alone(body: &str) -> Plan {
    Site::python(body).behind_warm().workers(1)
}

#[test]
fn threads_that_never_come_back_cost_their_requests_and_their_worker_once_none_is_left() {
    let site = alone(
        r#"
        def forever():
            while True:
                pass
        @app.get("/loop")
        def loop(req): forever()
        @app.get("/fine")
        def fine(req): return "fine"
        "#,
    )
    .argument("--threads=2")
    .config("[limits]\nscript_time = \"1500ms\"\nrequest_timeout = \"700ms\"\n")
    .start();
    assert_eq!(site.get("/loop").status, 504);
    assert_eq!(site.log().count("without pause"), 0, "the other thread is free");
    assert_eq!(site.get("/fine").text(), "fine");
    assert_eq!(site.get("/loop").status, 504);
    site.log().expect("without pause");
    wait::until("a new worker serves", || site.get("/fine").status == 200);
}

#[test]
fn threads_serve_blocking_code_side_by_side() {
    let site = alone(
        r#"
        import threading
        together = threading.Barrier(3, timeout=10)
        @app.get("/")
        def meet(req):
            together.wait()
            return threading.current_thread().name
        @app.get("/raise")
        def fail(req): raise RuntimeError("in a thread")
        @app.get("/loop")
        async def on_loop(req): return threading.current_thread().name
        "#,
    )
    .argument("--threads=3")
    .start();
    let mut clients: Vec<Client> = (0..3).map(|_| site.client()).collect();
    for client in &mut clients {
        client.send(get("/"));
    }
    let mut names: Vec<_> = clients.iter_mut().map(|client| client.read().text()).collect();
    names.sort();
    assert_eq!(names, ["kennel-1", "kennel-2", "kennel-3"]);
    assert_eq!(site.get("/raise").status, 500);
    site.log().expect("GET /raise failed: app.py:10: RuntimeError: in a thread");
    assert_eq!(site.get("/loop").text(), "MainThread");
}

#[test]
fn a_handler_that_blocks_holds_up_no_other_request_and_no_answer_of_the_hub() {
    let site = alone(
        r#"
        import threading
        go_on, here = threading.Event(), threading.Semaphore(0)
        @app.get("/block")
        def block(req):
            here.release()
            go_on.wait(20)
            return "unblocked"
        @app.get("/blocked")
        def blocked(req):
            for _ in range(3): here.acquire(timeout=20)
            return "three"
        @app.get("/count")
        def count(req): return str(kennel.room("lobby").count())
        @app.get("/go")
        def go(req):
            go_on.set()
            return "gone"
        "#,
    )
    .argument("--threads=4")
    .start();
    let mut blocked: Vec<Client> = (0..3).map(|_| site.client()).collect();
    for client in &mut blocked {
        client.send(get("/block"));
    }
    assert_eq!(site.get("/blocked").text(), "three");
    let begin = Instant::now();
    for _ in 0..50 {
        assert_eq!(site.get("/count").text(), "0");
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(site.get("/go").text(), "gone");
    for client in &mut blocked {
        assert_eq!(client.read().text(), "unblocked");
    }
}

#[test]
fn an_answer_does_not_wait_for_what_its_thread_does_next() {
    let site = Site::plan_module(
        r#"
import threading
read = threading.Event()

class Answer(list):
    def close(self):
        read.wait(20)

def app(environ, start_response):
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/read":
        read.set()
        return [b"read"]
    return Answer([b"answer"])
"#,
    )
    .behind_warm()
    .workers(1)
    .start();
    let begin = Instant::now();
    assert_eq!(site.get("/").text(), "answer");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(site.get("/read").text(), "read");
}

#[test]
fn the_order_to_stop_is_heard_while_all_threads_block() {
    let mut site = alone(
        r#"
        import time
        @app.get("/")
        def block(req):
            print("it runs")
            time.sleep(1)
            return "done"
        @app.stop
        def stop(): print("the end of", kennel.room("lobby").count())
        "#,
    )
    .argument("--threads=1")
    .start();
    let mut client = site.client();
    client.send(get("/"));
    site.log().expect("it runs");
    site.signal(tests::process::Signal::TERM);
    assert_eq!(client.read().text(), "done");
    site.log().expect("the end of 0");
    assert_eq!(site.exit_code(), Some(0));
}
