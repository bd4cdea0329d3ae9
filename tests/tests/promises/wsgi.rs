use serde_json::json;
use std::time::Duration;
use tests::client::{Client, get, request};
use tests::process;
use tests::site::Site;

const APP: &str = include_str!("../../fixtures/wsgi.py");

#[test]
fn the_environ_says_what_was_asked() {
    let site = Site::module(APP);
    let port = site.port();
    let text = format!(
        "POST /a%20b/%c3%a9?q=%20 HTTP/1.1\r\nHost: Example.org:{port}\r\nContent-Type: text/x\r\nContent-Length: 4\r\n\
         X-Twice: 1\r\nx-TWICE: 2\r\nCookie: a=1\r\nCookie: b=2\r\nProxy: evil\r\nX_Under_score: evil\r\n\
         Accept-Language: de\r\n\r\nbody"
    );
    let environ = site.send(text).json();
    for (name, value) in [
        ("REQUEST_METHOD", "POST"),
        ("SCRIPT_NAME", ""),
        // Bytes as characters, as PEP 3333 has it.
        ("PATH_INFO", "/a b/\u{c3}\u{a9}"),
        ("QUERY_STRING", "q=%20"),
        ("REQUEST_URI", "/a%20b/%c3%a9?q=%20"),
        ("CONTENT_TYPE", "text/x"),
        ("CONTENT_LENGTH", "4"),
        ("SERVER_NAME", "Example.org"),
        ("SERVER_PORT", &port.to_string()),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("HTTP_X_TWICE", "1,2"),
        ("HTTP_COOKIE", "a=1; b=2"),
        ("HTTP_ACCEPT_LANGUAGE", "de"),
        ("wsgi.url_scheme", "http"),
    ] {
        assert_eq!(environ[name], value, "{name}");
    }
    assert_eq!(environ["wsgi.version"], json!([1, 0]));
    for (name, value) in [("wsgi.multithread", true), ("wsgi.multiprocess", true), ("wsgi.run_once", false)] {
        assert_eq!(environ[name], value, "{name}");
    }
    for absent in ["HTTP_PROXY", "HTTP_X_UNDER_SCORE", "HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE", "PROXY"] {
        assert!(environ.get(absent).is_none(), "{absent}");
    }
    let bare = site.send("GET / HTTP/1.0\r\n\r\n").json();
    assert_eq!((bare["SERVER_NAME"].as_str(), bare["SERVER_PORT"].as_str()), (Some("localhost"), Some("80")));
    assert!(bare.get("CONTENT_LENGTH").is_none());
}

#[test]
fn an_app_below_a_mount_point_sees_where_it_is() {
    let toml = "[[app]]\nsource = \"app.py\"\nmount = \"/shop\"\n";
    let site = Site::plan_module(APP).config(toml).configured_apps().behind_warm().start();
    let environ = site.get("/shop/a%2Fb").json();
    assert_eq!(
        (environ["SCRIPT_NAME"].as_str(), environ["PATH_INFO"].as_str()),
        (Some("/shop"), Some("/a/b"))
    );
    assert_eq!(site.get("/shop").json()["PATH_INFO"], "");
}

#[test]
fn all_methods_and_all_paths_are_the_apps() {
    let site = Site::module(APP);
    for method in ["GET", "POST", "DELETE", "OPTIONS", "PROPFIND"] {
        let environ = site.send(request(method, "/any/where", &[], b"")).json();
        assert_eq!(environ["REQUEST_METHOD"], method);
    }
    let mut client = site.client();
    for (path, length) in [("/counted", "5"), ("/head_alone", "12345"), ("/head", "4")] {
        client.send(request("HEAD", path, &[], b""));
        assert_eq!(client.read_head().header("content-length"), Some(length), "{path}");
    }
    assert_eq!(client.get("/head").text(), "made", "the connection goes on");
}

#[test]
fn the_standards_own_checks_pass() {
    let site = Site::module(APP);
    assert_eq!(site.get("/validated/valid?a=b").text(), "valid GET ");
    assert_eq!(site.send(request("POST", "/validated/valid", &[], b"body")).text(), "valid POST body");
    assert_eq!(site.get("/validated/writes").text(), "written and returned");
    assert_eq!(site.get("/validated/counted").text(), "12345");
    let mut client = site.client();
    client.send(request("HEAD", "/validated/head_alone", &[], b""));
    assert_eq!(client.read_head().status, 200);
    assert_eq!(site.log().count("ERROR"), 0, "{}", site.log().text());
    assert_eq!(site.log().count("Warning"), 0, "{}", site.log().text());
}

#[test]
fn a_body_is_read_as_from_a_file() {
    let site = Site::module(APP);
    let read = site.send(request("POST", "/echo", &[], b"first\nsecond\nthird\nlast"));
    assert_eq!(read.text(), "first\n|sec|ond\nthird\nlast");
    let body = vec![b'x'; 3_000_000];
    assert_eq!(site.send(request("POST", "/sizes", &[], &body)).text(), "3000000 3000000");
    assert_eq!(site.get("/sizes").text(), "None 0");
}

#[test]
fn a_large_body_is_read_from_its_file_and_costs_no_memory() {
    let site = Site::plan_module(APP).workers(1).start();
    site.get("/closes");
    let worker = site.workers()[0];
    let before = process::resident_memory(worker);
    let body = vec![b'x'; 30_000_000];
    assert_eq!(site.send(request("POST", "/sizes", &[], &body)).text(), "30000000 30000000");
    let after = process::resident_memory(worker);
    assert!(after < before + (4 << 20), "from {before} to {after} bytes");

    let mut client = site.client();
    client.send("POST /sizes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..50 {
        client.send([&b"2710\r\n"[..], &[b'y'; 10_000], b"\r\n"].concat());
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.read().text(), "500000 500000", "its size is known by now");
    client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n");
    let environ = client.read().json();
    assert_eq!(environ["CONTENT_LENGTH"], "1");
    assert!(environ.get("HTTP_TRANSFER_ENCODING").is_none(), "it is in chunks no more");
}

#[test]
fn threads_that_wait_for_slow_clients_are_not_taken_for_stuck() {
    let site = Site::plan_module(APP).config("[limits]\nscript_time = \"700ms\"\n").workers(1).start();
    let mut clients: Vec<Client> = (0..8).map(|_| site.client()).collect();
    for client in &mut clients {
        client.hold_little();
        client.send(get("/long"));
        assert_eq!(client.read_head().status, 200);
    }
    std::thread::sleep(Duration::from_millis(2000));
    for client in &mut clients {
        assert_eq!(client.read_bytes(52_428_800).len(), 52_428_800);
    }
    assert_eq!(site.get("/closes").text(), "ab");
}

#[test]
fn status_and_headers_are_the_apps() {
    let site = Site::module(APP);
    let mut client = site.client();
    client.send(get("/head"));
    let response = client.read();
    assert_eq!((response.status, response.text().as_str()), (201, "made"));
    assert_eq!(response.headers_named("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(response.headers_named("content-length"), ["4"]);
    // One byte, which is no UTF-8.
    assert_eq!(response.header("x-latin"), Some("caf\u{fffd}"));
    let counted = client.get("/counted");
    assert_eq!((counted.headers_named("content-length"), counted.text()), (vec!["5"], "12345".to_owned()));
    assert_eq!(client.get("/replaced").status, 503);
}

#[test]
fn pieces_arrive_as_they_are_made() {
    let site = Site::plan_module(APP).behind_warm().workers(1).start();
    let mut client = site.client();
    for path in ["/pieces", "/validated/pieces"] {
        client.send(get(path));
        let head = client.read_head();
        assert_eq!((head.status, head.header("transfer-encoding")), (200, Some("chunked")));
        assert_eq!(client.read_chunk(), "one");
        site.get("/let_go_on");
        assert_eq!(client.read_chunk(), "two");
        assert_eq!(client.read_chunk(), "");
    }
    assert_eq!(client.get("/writes").text(), "written and returned");
    assert_eq!(client.get("/too_long").text(), "123456", "no more than was announced");
}

#[test]
fn a_file_is_sent_by_the_wrapper_and_closed() {
    let site = Site::module(APP);
    assert_eq!(site.get("/file").body, b"0123456789".repeat(20000));
    site.log().expect("the file is closed");
}

#[test]
fn close_is_called_whatever_happens() {
    let site = Site::module(APP);
    assert_eq!(site.get("/closes").text(), "ab");
    site.log().expect_times("closed", 1);
    let mut client = site.client();
    client.send(get("/fails_in_the_middle"));
    client.read_head();
    assert_eq!(client.read_chunk(), "half");
    assert!(client.read_to_end().is_empty(), "no last chunk");
    site.log().expect_times("closed", 2);
    let line = site.log().expect("GET /fails_in_the_middle failed");
    assert!(line.contains("KeyError: 'in the middle'"), "{line}");

    let mut client = site.client();
    client.send(get("/endless"));
    client.read_head();
    client.vanish();
    site.log().expect_times("closed", 3);
    site.log().expect_exactly("ERROR", 1);
}

#[test]
fn a_slow_client_costs_the_worker_no_memory() {
    let site = Site::plan_module(APP).workers(1).start();
    site.get("/closes");
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
    assert_eq!(client.get("/closes").text(), "ab");
    assert!(most < before + (8 << 20), "from {before} to {most} bytes");
}

#[test]
fn a_failure_is_answered_and_logged_with_its_place() {
    let site = Site::module(APP);
    assert_eq!(site.get("/fails?x=1").status, 500);
    let line = site.log().expect("GET /fails?x=1 failed");
    assert!(line.contains("app.py:") && line.contains("KeyError: 'before'"), "{line}");
    assert_eq!(site.get("/no_start").status, 500);
    site.log().expect("start_response has to be called");
    assert_eq!(site.get("/twice").status, 500);
    site.log().expect("start_response was called before");
    let mut client = site.client();
    client.send(get("/too_late"));
    assert_eq!((client.read_head().status, client.read_chunk().as_str()), (200, "half"));
    assert!(client.read_to_end().is_empty(), "no last chunk");
    site.log().expect("KeyError: 'too late'");
    site.get("/errors");
    assert!(site.log().expect("said to wsgi.errors").contains("ERROR"));
    let page = Site::plan_module(APP).dev().start().get("/fails");
    assert_eq!(page.status, 500);
    assert!(page.text().contains("KeyError") && page.text().contains("def fails"), "{}", page.text());
}

#[test]
fn requests_of_one_worker_run_at_the_same_time() {
    let site = Site::plan_module(APP).behind_warm().workers(1).start();
    let mut clients: Vec<Client> = (0..8).map(|_| site.client()).collect();
    for client in &mut clients {
        client.send(get("/together"));
    }
    for client in &mut clients {
        assert_eq!(client.read().text(), "together");
    }
}

#[test]
fn the_reason_phrase_is_the_apps() {
    let site = Site::module(APP);
    let mut client = site.client();
    for (typed, status, reason) in [
        ("299+Completely+Fine", 299, "Completely Fine"),
        ("404+NOT+FOUND", 404, "NOT FOUND"),
        ("200+OK", 200, "OK"),
        ("500+Custom", 500, "Custom"),
        ("201", 201, "Created"),
        ("202+", 202, "Accepted"),
    ] {
        let response = client.get(&format!("/reason?{typed}"));
        assert_eq!(
            (response.status, response.reason.as_str(), response.text().as_str()),
            (status, reason, "x")
        );
    }
    let response = client.get("/reason_in_pieces");
    assert_eq!((response.status, response.reason.as_str()), (299, "Completely Fine"));
    let refused = client.get("/bad_reason");
    assert_eq!((refused.status, refused.header("set-cookie")), (500, None));
    site.log().expect("a status is one line of plain text");
}

#[test]
fn a_content_length_is_kept_or_the_connection_ends() {
    let site = Site::module(APP);
    let (mut longer, mut shorter) = (0, 0);
    for path in ["/long_list", "/long_behind", "/long_written", "/too_long"] {
        let mut client = site.client();
        let response = client.get(path);
        assert_eq!((response.header("content-length"), response.body.len()), (Some("6"), 6), "{path}");
        longer += 1;
        site.log().expect_times("longer than its Content-Length", longer);
        assert_eq!(client.get("/counted").text(), "12345", "{path}: the connection goes on");
    }
    for (path, body) in
        [("/short_list", "123"), ("/short_pieces", "123"), ("/empty", ""), ("/head_alone", "")]
    {
        let mut client = site.client();
        client.send(get(path));
        let announced = if path == "/head_alone" { "12345" } else { "6" };
        assert_eq!(client.read_head().header("content-length"), Some(announced), "{path}");
        assert_eq!(client.read_to_end(), body.as_bytes(), "{path}: and the connection ends");
        shorter += 1;
        site.log().expect_times("shorter than its Content-Length", shorter);
    }
    let mut client = site.client();
    let differs = "announces another Content-Length than its body has";
    let mut differing = 0;
    for path in ["/short_list", "/long_list", "/short_pieces", "/long_behind", "/empty"] {
        client.send(request("HEAD", path, &[], b""));
        assert_eq!(client.read_head().header("content-length"), Some("6"), "{path}");
        match path {
            // Its first piece is as long as it announces.
            "/long_behind" => drop(site.log().expect("HEAD /long_behind: longer than its Content-Length")),
            // Without a body it may announce any length.
            "/empty" => {}
            _ => {
                differing += 1;
                site.log().expect_times(differs, differing);
            }
        }
    }
    assert_eq!(site.log().count(differs), differing);
    assert_eq!(client.get("/not_modified").status, 304);
    assert_eq!(client.get("/no_number").status, 500);
    site.log().expect("a Content-Length is a number of bytes, not `six`");
    assert_eq!(client.get("/counted").text(), "12345");
}

#[test]
fn a_read_takes_what_is_left_however_much_is_asked_for() {
    let site = Site::plan_module(APP).workers(1).start();
    let large = vec![b'x'; 3_000_000];
    let lines = b"line\n".repeat(100_000);
    for body in [&b"0123456789"[..], &large] {
        let read = site.send(request("POST", "/reads_much", &[], body));
        let expected = format!("5,{},0,0", body.len() - 5);
        assert_eq!((read.status, read.header("x-sizes")), (200, Some(expected.as_str())));
    }
    let read = site.send(request("POST", "/reads_lines", &[], &lines));
    assert_eq!((read.status, read.header("x-sizes")), (200, Some("5,500000")));
    let mut client = site.client();
    for path in ["/reads_much", "/reads_lines"] {
        let chunked = "HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send(format!("POST {path} {chunked}7\r\nline\nab\r\n3\r\ncd\n\r\n0\r\n\r\n"));
        let expected = if path == "/reads_much" { "5,5,0,0" } else { "5,10" };
        let read = client.read();
        assert_eq!((read.status, read.header("x-sizes")), (200, Some(expected)), "{path}");
    }
}
