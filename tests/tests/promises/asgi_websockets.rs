use serde_json::{Value, json};
use std::time::Duration;
use tests::process::{self, Signal};
use tests::site::Site;
use tests::wait;
use tests::websocket::Received;

const APP: &str = include_str!("../../fixtures/asgi_websocket.py");

#[test]
fn messages_come_and_go_as_text_and_bytes() {
    let site = Site::module(APP);
    let mut ws = site.websocket("/echo");
    assert_eq!(ws.ask("häß"), "häß");
    ws.send_binary(b"\x00\xff");
    assert_eq!(ws.read_binary(), b"\x00\xff");
    for number in 0..100 {
        ws.send(number.to_string());
    }
    for number in 0..100 {
        assert_eq!(ws.read_text(), number.to_string());
    }
    ws.send_binary(vec![7; 1_500_000]);
    assert_eq!(ws.read_binary(), vec![7; 1_500_000]);
    ws.close(4000, "done");
    site.log().expect("disconnected 4000 'done'");
}

#[test]
fn the_scope_says_what_was_asked_and_the_answer_is_the_apps() {
    let site = Site::module(APP);
    for path in ["/", "/any/where?x=1"] {
        let headers = [("Sec-WebSocket-Protocol", "one, two"), ("Origin", "http://elsewhere.example")];
        let mut ws = site.websocket_with(path, &headers);
        assert_eq!(ws.response().header("sec-websocket-protocol"), Some("two"));
        assert_eq!(ws.response().header("x-greeting"), Some("hello"));
        let scope: Value = serde_json::from_str(&ws.read_text()).unwrap();
        assert_eq!((scope["type"].as_str(), scope["scheme"].as_str()), (Some("websocket"), Some("ws")));
        assert_eq!(scope["subprotocols"], json!(["one", "two"]));
        assert_eq!(scope["path"], path.split('?').next().unwrap());
        assert_eq!(scope["query_string"], path.split('?').nth(1).unwrap_or_default());
        assert_eq!(scope["http_version"], "1.1");
        assert!(scope.get("method").is_none());
        assert_eq!(ws.read_close(), (1000, String::new()), "the app has returned");
    }
    assert_eq!(site.websocket("/none").response().header("sec-websocket-protocol"), None);
}

#[test]
fn plain_http_at_the_same_paths_is_the_apps_too() {
    let site = Site::module(APP);
    for path in ["/", "/echo"] {
        assert_eq!(site.get(path).text(), "plain http");
    }
}

#[test]
fn an_app_closes_with_code_and_reason() {
    let site = Site::module(APP);
    let mut ws = site.websocket("/closes");
    assert_eq!(ws.read_text(), "bye");
    assert_eq!(ws.read_close(), (4001, "enough".to_owned()));
    ws.send_close(4001, "enough");
    site.log().expect("then websocket.disconnect 4001");
}

#[test]
fn a_connection_is_refused_before_it_is_one() {
    let site = Site::module(APP);
    let refused = site.refusal("/rejects", &[]);
    assert_eq!((refused.status, refused.text().as_str()), (403, ""));
    assert_eq!(site.refusal("/silent", &[]).status, 403, "to say nothing is to close");
    let denied = site.refusal("/denies", &[]);
    assert_eq!((denied.status, denied.text().as_str()), (401, "who are you?"));
    assert_eq!((denied.header("x-why"), denied.header("content-length")), (Some("no ticket"), Some("12")));
    assert_eq!(site.log().count("ERROR"), 0, "{}", site.log().text());
}

#[test]
fn a_failure_ends_the_connection_and_is_logged() {
    let site = Site::module(APP);
    for (path, message) in [
        ("/fails_first", "KeyError: 'before it decided'"),
        ("/half_denies", "returned before its answer to the handshake was complete"),
        ("/sends_too_early", "`websocket.send` cannot be sent before websocket.accept"),
    ] {
        assert_eq!(site.refusal(path, &[]).status, 500, "{path}");
        let line = site.log().expect(&format!("websocket {path} failed"));
        assert!(line.contains(message), "{line}");
    }
    let mut ws = site.websocket("/fails");
    assert_eq!(ws.read_close().0, 1011);
    let line = site.log().expect("websocket /fails failed");
    assert!(line.contains("app.py:") && line.contains("KeyError: 'after it accepted'"), "{line}");
}

#[test]
fn a_client_that_leaves_is_a_message_and_no_cancellation() {
    let site = Site::module(APP);
    let mut ws = site.websocket("/left");
    assert_eq!(ws.read_text(), "here");
    ws.vanish();
    site.log().expect("received websocket.disconnect");
    site.log().expect("send says ClientGone");
    assert_eq!(site.log().count("ERROR"), 0, "{}", site.log().text());
}

#[test]
fn the_decision_may_take_its_time() {
    let site = Site::plan_module(APP).behind_warm().workers(1).start();
    let port = site.port();
    let client = std::thread::spawn(move || {
        let mut ws = tests::websocket::WebSocket::open(port, "/thinks");
        ws.read_text()
    });
    site.log().expect("thinking");
    site.get("/");
    assert_eq!(client.join().unwrap(), "welcome");
}

#[test]
fn messages_wait_for_an_app_that_is_busy() {
    let site = Site::module(APP);
    let mut ws = site.websocket("/slow");
    for number in 0..5 {
        ws.send(number.to_string());
    }
    for number in 0..5 {
        assert_eq!(ws.read_text(), number.to_string());
    }
    assert_eq!(ws.read_close().0, 1000);
}

#[test]
fn an_app_that_stops_waiting_loses_no_message() {
    let site = Site::module(APP);
    let mut ws = site.websocket("/both");
    for number in 0..20 {
        ws.send(number.to_string());
        std::thread::sleep(Duration::from_millis(2));
    }
    let got = loop {
        let text = ws.read_text();
        if text != "tick" {
            break text;
        }
    };
    let expected: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(serde_json::from_str::<Vec<String>>(&got).unwrap(), expected);
}

#[test]
fn the_end_of_a_worker_closes_its_connections() {
    let mut site = Site::plan_module(APP).behind_warm().workers(1).start();
    let mut ws = site.websocket("/echo");
    assert_eq!(ws.ask("x"), "x");
    site.folder().write("app.py", APP);
    site.signal(Signal::HUP);
    assert_eq!(ws.read_close().0, 1012, "newer code knows nothing of the conversation");
    site.log().expect("disconnected 1012");

    let mut ws = site.websocket("/echo");
    assert_eq!(ws.ask("x"), "x");
    wait::until("the old worker has ended", || site.workers().len() == 1);
    let worker = site.workers()[0];
    process::kill(worker);
    assert_eq!(ws.read_close().0, 1012);

    wait::until("there is a worker again", || site.workers().first().is_some_and(|new| *new != worker));
    let mut ws = site.websocket("/echo");
    assert_eq!(ws.ask("x"), "x");
    site.signal(Signal::TERM);
    assert!(matches!(ws.read(), Received::Close(Some(1001), _)));
    ws.send_close(1001, "");
    site.log().expect("disconnected 1001");
    assert_eq!(site.exit_code(), Some(0));
}
