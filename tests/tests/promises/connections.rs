use std::time::{Duration, Instant};
use tests::client::{get, request};
use tests::server::{Mongrel2, Setup};
use tests::site::Site;

const ECHO: &str = r#"
app:route({ "GET", "POST" }, "/", function(req) return req.method .. " " .. #req.body end)
app:post("/echo", function(req)
  return kennel.response(req.body, { headers = { ["content-type"] = "application/octet-stream" } })
end)
app:get("/sleep/{ms}/{n}", function(req, ms, n) kennel.sleep(tonumber(ms) / 1000) return n end)
app:get("/big/{n}", function(req, n) print("big answer") return string.rep("0123456789", tonumber(n) / 10) end)
"#;

#[test]
fn a_connection_of_1_1_stays_open_and_one_of_1_0_is_closed() {
    let site = Site::lua(ECHO);
    let mut client = site.client();
    for _ in 0..20 {
        let response = client.get("/");
        assert_eq!((response.text().as_str(), response.header("connection")), ("GET 0", None));
    }
    client.send(request("GET", "/", &[("Connection", "close")], b""));
    assert_eq!(client.read().header("connection"), Some("close"));
    assert_eq!(client.read_to_end(), b"");

    let mut old = site.client();
    old.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(old.read().header("connection"), Some("close"));
    assert_eq!(old.read_to_end(), b"");

    let mut old = site.client();
    for _ in 0..3 {
        old.send("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        let response = old.read();
        assert_eq!((response.text().as_str(), response.header("connection")), ("GET 0", Some("keep-alive")));
    }
    assert!(old.is_silent_for(Duration::from_millis(100)), "it stays open");
}

#[test]
fn what_is_pipelined_behind_a_close_is_not_answered() {
    let site = Site::lua(ECHO);
    let mut client = site.client();
    let close = request("GET", "/sleep/50/last", &[("Connection", "close")], b"");
    client.send([get("/sleep/100/first"), close, get("/sleep/0/never")].concat());
    assert_eq!(client.read().text(), "first");
    assert_eq!(client.read().text(), "last");
    assert_eq!(client.read_to_end(), b"");
}

#[test]
fn forty_pipelined_requests_are_all_answered_in_order() {
    let site = Site::lua(ECHO);
    for round in 0..3 {
        let mut client = site.client();
        // Later ones sleep less, and every third does not sleep at all.
        let time = |n: u32| if n.is_multiple_of(3) { 0 } else { (40 - n) % 7 * 10 };
        let all: Vec<u8> = (0..40).flat_map(|n| get(&format!("/sleep/{}/{n}", time(n)))).collect();
        client.send(all);
        for n in 0..40 {
            assert_eq!(client.read().text(), n.to_string(), "round {round}");
        }
    }
}

#[test]
fn many_pipelined_requests_without_pause_are_not_too_much_for_mongrel2() {
    let site = Site::lua(ECHO);
    let mut client = site.client();
    for _ in 0..5 {
        client.send((0..60).flat_map(|_| get("/")).collect::<Vec<_>>());
        for _ in 0..60 {
            assert_eq!(client.read().text(), "GET 0");
        }
    }
}

#[test]
fn pipelined_bodies_and_errors_keep_their_order_too() {
    let site = Site::lua(ECHO);
    let mut client = site.client();
    let requests = [
        get("/sleep/80/a"),
        request("POST", "/", &[], b"12345"),
        get("/nowhere"),
        request("PUT", "/", &[], b"1"),
        request("OPTIONS", "/", &[], b""),
        request("POST", "/echo", &[], b"GET / HTTP/1.1\r\n\r\n"),
        get("/"),
    ];
    client.send(requests.concat());
    let statuses: Vec<_> = (0..7).map(|_| client.read()).map(|r| (r.status, r.text())).collect();
    let codes: Vec<_> = statuses.iter().map(|(status, _)| *status).collect();
    assert_eq!(codes, [200, 200, 404, 405, 204, 200, 200]);
    assert_eq!(statuses[1].1, "POST 5");
    assert_eq!(statuses[5].1, "GET / HTTP/1.1\r\n\r\n");
}

#[test]
fn bodies_of_every_size_and_byte_come_and_go_unchanged() {
    let site = Site::lua(ECHO);
    let every_byte: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let mut client = site.client();
    for size in [1, 255, 4096, 20_480, 20_481, 100_000] {
        client.send(request("POST", "/echo", &[], &every_byte[..size]));
        assert!(client.read().body == every_byte[..size], "{size} bytes");
    }
    let mut bytes = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".to_vec();
    client.send(&bytes);
    assert_eq!(client.read().text(), "POST 0");
    // Mongrel2 is told to take up to 4 MiB.
    let large: Vec<u8> = every_byte.iter().copied().cycle().take(4 << 20).collect();
    bytes = request("POST", "/echo", &[], &large);
    client.send(&bytes);
    assert!(client.read().body == large);
}

#[test]
fn a_body_beyond_the_limit_is_refused_with_413() {
    let site = Site::lua(ECHO);
    let mut client = site.client();
    client.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4194305\r\n\r\n");
    assert_eq!(client.read().status, 413);
    assert_eq!(site.get("/").text(), "GET 0");
}

#[test]
fn a_response_of_ten_megabytes_arrives_whole_and_disturbs_nobody() {
    let site = Site::lua(ECHO);
    let mut clients: Vec<_> = (0..4).map(|_| site.client()).collect();
    for client in &mut clients {
        client.send(get("/big/10000000"));
    }
    assert_eq!(site.get("/").text(), "GET 0");
    for client in &mut clients {
        let response = client.read();
        assert_eq!(response.body.len(), 10_000_000);
        assert!(response.body.chunks(10).all(|chunk| chunk == b"0123456789"));
        assert_eq!(client.get("/").text(), "GET 0", "the connection goes on");
    }
}

#[test]
fn a_client_that_leaves_early_disturbs_nobody() {
    let site = Site::lua(ECHO);
    for _ in 0..30 {
        let mut client = site.client();
        client.send(get("/sleep/50/x"));
        drop(client);
        let mut half = site.client();
        half.send(get("/sleep/50/x"));
        half.shut_down_sending();
    }
    for n in 0..10 {
        assert_eq!(site.get(&format!("/sleep/20/{n}")).text(), n.to_string());
    }
    assert_eq!(site.log().count("ERROR"), 0);
}

#[test]
fn a_client_that_reads_slowly_gets_everything_and_holds_up_nobody() {
    reads_slowly(&Site::plan(ECHO).start());
}

#[test]
fn under_flow_control_a_client_that_reads_slowly_gets_everything_too() {
    let server = Mongrel2::start(Setup::default().setting("download.flow_control", "1"));
    reads_slowly(&Site::plan(ECHO).behind(&server).start());
}

/// More is on its way to the client than system buffers and Mongrel2's queue of 16 can hold.
fn reads_slowly(site: &Site) {
    let mut slow = site.client();
    slow.send((0..40).flat_map(|_| get("/big/1000000")).collect::<Vec<_>>());
    // Not reading is what this client does, until nothing more is written for it; others go on.
    let (mut written, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_millis(400) {
        assert_eq!(site.get("/").text(), "GET 0");
        let count = site.log().count("big answer");
        if count > written {
            (written, since) = (count, Instant::now());
        }
    }
    for n in 0..40 {
        assert_eq!(slow.read().body.len(), 1_000_000, "response {n}");
    }
}
