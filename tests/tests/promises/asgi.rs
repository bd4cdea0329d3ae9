use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tests::client::{get, request};
use tests::process::{self, Signal};
use tests::site::Site;
use tests::wait;

const HTTP: &str = include_str!("../../fixtures/asgi_http.py");

#[test]
fn the_scope_says_what_was_asked() {
    let site = Site::module(HTTP);
    let port = site.port();
    let text = format!(
        "GET /a%20b/%c3%a9%2F/x?q=%20&r HTTP/1.1\r\nHost: Example.org:{port}\r\nX-Twice: 1\r\nx-TWICE: 2\r\n\r\n"
    );
    let scope = site.send(text).json();
    assert_eq!(scope["type"], "http");
    assert_eq!(scope["asgi"], json!({ "version": "3.0", "spec_version": "2.4" }));
    assert_eq!(scope["http_version"], "1.1");
    assert_eq!(scope["method"], "GET");
    assert_eq!(scope["scheme"], "http");
    assert_eq!(scope["path"], "/a b/é//x");
    assert_eq!(scope["raw_path"], "/a%20b/%c3%a9%2F/x");
    assert_eq!(scope["query_string"], "q=%20&r");
    assert_eq!(scope["root_path"], "");
    assert_eq!(scope["client"], json!(["127.0.0.1", 0]));
    assert_eq!(scope["server"], json!(["Example.org", port]));
    let headers: Vec<Value> = scope["headers"].as_array().unwrap().clone();
    for expected in
        [json!(["host", format!("Example.org:{port}")]), json!(["x-twice", "1"]), json!(["x-twice", "2"])]
    {
        assert!(headers.contains(&expected), "{expected} in {headers:?}");
    }
    assert!(headers.iter().all(|pair| pair[0].as_str().is_some_and(|name| name == name.to_lowercase())));

    let old = site.send("GET / HTTP/1.0\r\n\r\n").json();
    assert_eq!((old["http_version"].as_str(), &old["server"]), (Some("1.0"), &Value::Null));
}

#[test]
fn all_methods_and_all_paths_are_the_apps() {
    let site = Site::module(HTTP);
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"] {
        for path in ["/", "/any/where"] {
            let scope = site.send(request(method, path, &[], b"")).json();
            assert_eq!((scope["method"].as_str(), scope["path"].as_str()), (Some(method), Some(path)));
        }
    }
    let mut client = site.client();
    client.send(request("HEAD", "/counted", &[], b""));
    assert_eq!(client.read_head().header("content-length"), Some("5"));
    client.send(request("HEAD", "/head_alone", &[], b""));
    assert_eq!(client.read_head().header("content-length"), Some("12345"));
    assert_eq!(client.get("/echo").status, 200, "the connection goes on");
}

#[test]
fn an_app_below_a_mount_point_sees_the_whole_path_and_its_root() {
    let toml = "[[app]]\nsource = \"app.py\"\nmount = \"/shop\"\n[[app]]\nsource = \"app.lua\"\n";
    let site = Site::plan_module(HTTP)
        .file(
            "app.lua",
            &tests::site::script(r#"app:get("/{*rest}", function(req, rest) return "lua " .. rest end)"#),
        )
        .config(toml)
        .configured_apps()
        .behind_warm()
        .start();
    let scope = site.get("/shop/a").json();
    assert_eq!((scope["root_path"].as_str(), scope["path"].as_str()), (Some("/shop"), Some("/shop/a")));
    assert_eq!(site.get("/shop").json()["path"], "/shop");
    assert_eq!(site.get("/shopping").text(), "lua shopping");
}

#[test]
fn a_body_comes_by_receive() {
    let site = Site::module(HTTP);
    let body = vec![b'x'; 3_000_000];
    assert_eq!(site.send(request("POST", "/body", &[], &body)).json(), json!([3_000_000]));
    assert_eq!(site.get("/body").json(), json!([0]));
    assert_eq!(site.send(request("POST", "/echo", &[], b"\xff\0")).body, b"\xff\0");
}

/// The sizes of the parts in which a body came.
fn parts(response: &tests::client::Response) -> Vec<u64> {
    serde_json::from_slice(&response.body).expect("a list of sizes")
}

#[test]
fn a_large_body_comes_in_parts_and_costs_no_memory() {
    let site = Site::plan_module(HTTP).workers(1).start();
    site.get("/echo");
    let worker = site.workers()[0];
    let before = process::resident_memory(worker);
    let body = vec![b'x'; 30_000_000];
    let parts_of = parts(&site.send(request("POST", "/body", &[], &body)));
    assert!(parts_of.iter().all(|size| *size <= 65536), "{parts_of:?}");
    assert_eq!(parts_of.iter().sum::<u64>(), 30_000_000);
    let after = process::resident_memory(worker);
    assert!(after < before + (4 << 20), "from {before} to {after} bytes");

    let mut client = site.client();
    client.send("POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..50 {
        client.send([&b"2710\r\n"[..], &[b'y'; 10_000], b"\r\n"].concat());
    }
    client.send("0\r\n\r\n");
    assert_eq!(parts(&client.read()).iter().sum::<u64>(), 500_000);
    assert_eq!(client.get("/body").json(), json!([0]), "the connection goes on");
}

#[test]
fn an_answer_of_one_body_goes_out_whole() {
    let site = Site::module(HTTP);
    let mut client = site.client();
    let response = client.get("/head");
    assert_eq!((response.status, response.text().as_str()), (201, "made"));
    assert_eq!(response.headers_named("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(response.headers_named("date"), ["D"]);
    assert_eq!(response.header("x-one"), Some("1"));
    let response = client.get("/counted");
    assert_eq!(response.headers_named("content-length"), ["5"]);
    assert_eq!(response.text(), "12345");
}

#[test]
fn pieces_arrive_as_they_are_sent() {
    let site = Site::plan_module(HTTP).behind_warm().workers(1).start();
    let mut client = site.client();
    client.send(get("/pieces"));
    let head = client.read_head();
    assert_eq!((head.status, head.header("transfer-encoding")), (200, Some("chunked")));
    assert_eq!(client.read_chunk(), "one");
    site.get("/let_go_on");
    assert_eq!(client.read_chunk(), "two");
    assert_eq!(client.read_chunk(), "");
    assert_eq!(client.get("/echo").status, 200, "the connection goes on");
}

#[test]
fn a_slow_client_costs_the_worker_no_memory() {
    let site = Site::plan_module(HTTP).workers(1).start();
    site.get("/echo");
    let worker = site.workers()[0];
    let before = process::resident_memory(worker);
    let mut client = site.client();
    client.hold_little();
    client.send(get("/long"));
    assert_eq!(client.read_head().header("content-length"), Some("52428800"));
    let mut most = 0;
    for number in 0..800_u32 {
        let bytes = client.read_bytes(65536);
        assert!(bytes.iter().all(|byte| u32::from(*byte) == number % 251), "piece {number}");
        if number % 50 == 0 {
            // Long enough for everything that can come to have come.
            std::thread::sleep(Duration::from_millis(20));
            most = most.max(process::resident_memory(worker));
        }
    }
    assert_eq!(client.get("/echo").status, 200);
    assert!(most < before + (8 << 20), "from {before} to {most} bytes");
}

#[test]
fn a_failure_is_answered_and_logged_with_its_place() {
    let site = Site::module(HTTP);
    assert_eq!(site.get("/fails?x=1").status, 500);
    let line = site.log().expect("GET /fails?x=1 failed");
    assert!(line.contains("app.py:") && line.contains("KeyError: 'before'"), "{line}");
    for path in ["/silent", "/half"] {
        assert_eq!(site.get(path).status, 500);
        let line = site.log().expect(&format!("GET {path} failed"));
        assert!(line.contains("returned before its answer was complete"), "{line}");
    }
    assert_eq!(site.get("/bad_header").status, 500);
    site.log().expect("the value of header `x-bad` has a line feed");
    assert_eq!(site.get("/fails_behind").text(), "whole");
    site.log().expect("KeyError: 'behind'");
    let page = Site::plan_module(HTTP).dev().start().get("/fails");
    assert_eq!(page.status, 500);
    assert!(page.text().contains("KeyError") && page.text().contains("async def fails"), "{}", page.text());
}

#[test]
fn a_failure_in_the_middle_cuts_the_answer_short() {
    let site = Site::module(HTTP);
    let mut client = site.client();
    client.send(get("/fails_later"));
    assert_eq!(client.read_head().status, 200);
    assert_eq!(client.read_chunk(), "half");
    assert!(client.read_to_end().is_empty(), "no last chunk");
    site.log().expect("KeyError: 'in the middle'");
}

#[test]
fn a_client_that_leaves_is_a_message_and_no_cancellation() {
    let site = Site::plan_module(HTTP).behind_warm().workers(1).start();
    let mut client = site.client();
    client.send(get("/waits"));
    site.log().expect("waiting");
    client.vanish();
    site.log().expect("received http.disconnect");
    site.log().expect("send says ClientGone");
    assert_eq!(site.get("/echo").status, 200);
    site.get("/receive_after_answer");
    site.log().expect("behind the answer: http.disconnect");
    assert_eq!(site.log().count("ERROR"), 0, "{}", site.log().text());
}

#[test]
fn sending_is_awaited_in_whatever_way() {
    let site = Site::module(HTTP);
    assert_eq!(site.get("/sends_in_tasks").json(), json!(["CORO_RUNNING", true, true]));
    assert_eq!(site.get("/sends_once").text(), "once");
}

#[test]
fn a_request_has_a_task_of_its_own() {
    assert_eq!(Site::module(HTTP).get("/tasks").json(), json!([true, true, true, "child"]));
}

#[test]
fn an_app_that_blocks_for_ever_is_found_even_behind_an_await() {
    let site = Site::plan_module(HTTP)
        .config("[limits]\nscript_time = \"700ms\"\n")
        .behind_warm()
        .workers(1)
        .start();
    let begin = Instant::now();
    assert_eq!(site.get("/hangs").status, 504);
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert_eq!(site.get("/echo").status, 200);
}

const LIFESPAN: &str = r#"
import contextlib, os
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        assert (await receive())["type"] == "lifespan.startup"
        print("starting")
        scope["state"]["greeting"] = "hello"
        scope["state"]["count"] = []
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        print("ending after", len(scope["state"]["count"]))
        await send({"type": "lifespan.shutdown.complete"})
        return
    state = scope["state"]
    state["count"].append(1)
    body = (state["greeting"] + str(state.get("own"))).encode()
    state["own"] = "seen"
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": body})
"#;

#[test]
fn the_lifespan_surrounds_all_requests_and_its_state_reaches_them() {
    let mut site = Site::plan_module(LIFESPAN).behind_warm().workers(1).start();
    site.log().expect_exactly("starting", 1);
    for _ in 0..3 {
        assert_eq!(site.get("/").text(), "helloNone", "each request has a copy of the state");
    }
    site.signal(Signal::TERM);
    assert_eq!(site.exit_code(), Some(0));
    site.log().expect("ending after 3");
}

#[test]
fn an_app_whose_lifespan_fails_is_not_served() {
    let app = r#"
async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "Traceback:\n  line\nOSError: no database"})
    raise OSError("no database")
"#;
    let mut site = Site::plan_module(app).behind_warm().spawn();
    let line = site.log().expect("the app's lifespan did not start");
    assert!(line.contains("OSError: no database") && line.contains("app.py"), "{line}");
    assert_eq!(site.exit_code(), Some(2));
}

#[test]
fn a_plain_function_is_asgi_when_it_is_said_so() {
    let app = r#"
def make():
    async def inner(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"asgi"})
    return inner
inner = make()
app = lambda scope, receive, send: inner(scope, receive, send)
"#;
    let site = Site::plan_module(app).argument("--interface=asgi").behind_warm().start();
    assert_eq!(site.get("/").text(), "asgi");
}

#[test]
fn requests_that_run_are_finished_before_the_end() {
    let mut site = Site::plan_module(HTTP).behind_warm().workers(1).start();
    let mut client = site.client();
    client.send(get("/until_told"));
    client.read_head();
    assert_eq!(client.read_chunk(), "one");
    site.signal(Signal::TERM);
    site.log().expect("stopping");
    site.folder().write("go_on", "");
    assert_eq!(client.read_chunk(), "two");
    assert_eq!(client.read_chunk(), "");
    assert_eq!(site.exit_code(), Some(0));
    wait::until("its workers end", || site.workers().is_empty());
}

#[test]
fn a_content_length_is_kept_or_the_connection_ends() {
    let site = Site::module(HTTP);
    let (mut longer, mut shorter) = (0, 0);
    for path in ["/long_body", "/long_pieces"] {
        let mut client = site.client();
        let response = client.get(path);
        assert_eq!(
            (response.header("content-length"), response.text().as_str()),
            (Some("6"), "123456"),
            "{path}"
        );
        longer += 1;
        site.log().expect_times("longer than its Content-Length", longer);
        assert_eq!(client.get("/counted").text(), "12345", "{path}: the connection goes on");
    }
    for (path, body) in [("/short_body", "123"), ("/short_pieces", "123"), ("/empty", "")] {
        let mut client = site.client();
        client.send(get(path));
        assert_eq!(client.read_head().header("content-length"), Some("6"), "{path}");
        assert_eq!(client.read_to_end(), body.as_bytes(), "{path}: and the connection ends");
        shorter += 1;
        site.log().expect_times("shorter than its Content-Length", shorter);
    }
    let mut client = site.client();
    let differs = "announces another Content-Length than its body has";
    let mut differing = 0;
    for path in ["/short_body", "/long_body", "/short_pieces", "/long_pieces", "/empty"] {
        client.send(request("HEAD", path, &[], b""));
        assert_eq!(client.read_head().header("content-length"), Some("6"), "{path}");
        // Without a body it may announce any length.
        if path != "/empty" {
            differing += 1;
            site.log().expect_times(differs, differing);
        }
    }
    assert_eq!(site.log().count(differs), differing);
    assert_eq!(client.get("/not_modified").status, 304);
    assert_eq!(client.get("/no_number").status, 500);
    site.log().expect("a Content-Length is a number of bytes, not `six`");
    assert_eq!(client.get("/counted").text(), "12345");
}
