//! Bodies that are still arriving: the same whether Mongrel2 puts them into files or sends them in parts.

use std::fs;
use std::path::PathBuf;
use tests::client::{Client, request};
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::site::Site;
use tests::wait;

const WAYS: [&str; 2] = ["file", "stream"];

const APP: Scripts<'static> = Scripts {
    lua: r#"
        app:post("/count", { body = "stream" }, function(req)
          kennel.log.info("begun with " .. tostring(req.body_size))
          local total, pieces = 0, 0
          while true do
            local piece, problem = req:read(50000)
            if not piece then
              if problem then
                kennel.log.info("over: " .. problem)
                return "nobody reads this"
              end
              break
            end
            if total == 0 then kennel.log.info("first piece") end
            assert(#piece > 0 and #piece <= 50000)
            total, pieces = total + #piece, pieces + 1
            assert(req.received >= total)
          end
          assert(req:read(1) == nil and req.body_size == total)
          return tostring(total)
        end)
        app:post("/all", { body = "stream" }, function(req) return req:read() end)
        app:post("/no", { body = "stream" }, function(req) return kennel.response("no", { status = 403 }) end)
        app:post("/body", { body = "stream" }, function(req) return req.body end)
        app:post("/whole", function(req)
          local first = req:read(3) or ""
          return first .. "|" .. #req:read() .. "|" .. #req.body .. "|" .. req.received
        end)
        app:post("/echo", function(req) return req.body end)
        app:get("/fine", function() return "fine" end)
    "#,
    python: r#"
        import logging
        @app.post("/count", body="stream")
        async def count(req):
            logging.info("begun with %s", req.body_size)
            total = 0
            while True:
                try:
                    piece = await req.receive(50000)
                except kennel.Aborted:
                    logging.info("over: aborted")
                    raise
                if not piece:
                    break
                if not total:
                    logging.info("first piece")
                assert len(piece) <= 50000
                total += len(piece)
                assert req.received >= total
            assert await req.receive(1) == b"" and req.body_size == total
            return str(total)
        @app.post("/all", body="stream")
        async def all_of_it(req):
            return await req.receive()
        @app.post("/no", body="stream")
        async def no(req):
            return kennel.response("no", status=403)
        @app.post("/body", body="stream")
        async def body(req):
            return req.body
        @app.post("/whole")
        def whole(req):
            first = req.read(3)
            return f"{first.decode()}|{len(req.read())}|{len(req.body)}|{req.received}"
        @app.post("/echo")
        def echo(req):
            return req.body
        @app.get("/fine")
        def fine(req):
            return "fine"
    "#,
};

fn site(language: Language, way: &str, limits: &str) -> Site {
    language.plan(APP).config(&format!("uploads = \"{way}\"\n[limits]\n{limits}\n")).workers(1).start()
}

fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

/// The files that lie in the folders of bodies.
fn files(site: &Site) -> Vec<PathBuf> {
    let folder = site.folder().path().join(format!(".kennel/{}", site.hub()));
    let entries = ["uploads", "bodies"].map(|name| fs::read_dir(folder.join(name)).expect("the folder"));
    entries.into_iter().flatten().map(|entry| entry.expect("an entry").path()).collect()
}

fn head(path: &str, length: Option<usize>) -> String {
    let length = match length {
        Some(length) => format!("Content-Length: {length}"),
        None => "Transfer-Encoding: chunked".to_owned(),
    };
    format!("POST {path} HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n")
}

fn chunks(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(50_000) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn a_handler_starts_with_the_head_and_reads_what_has_come(language: Language) {
    for way in WAYS {
        let site = site(language, way, "");
        let large = bytes(3_000_000);
        let mut client = site.client();
        client.send(head("/count", Some(large.len())));
        site.log().expect("begun with 3000000");
        client.send(&large[..400_000]);
        site.log().expect("first piece");
        client.send(&large[400_000..]);
        assert_eq!(client.read().text(), "3000000", "{way}");

        let mut client = site.client();
        client.send(head("/count", None));
        site.log().expect(language.pick("begun with nil", "begun with None"));
        client.send(chunks(&large[..400_000]));
        site.log().expect_times("first piece", 2);
        client.send(chunks(&large[..100_000]));
        client.send(b"0\r\n\r\n");
        assert_eq!(client.read().text(), "500000", "{way}");
        client.send(request("POST", "/all", &[], b"small"));
        assert_eq!(client.read().text(), "small", "it stays open");
        client.send([head("/all", None).as_bytes(), &chunks(&large[..300_000]), b"0\r\n\r\n"].concat());
        assert!(client.read().body == large[..300_000]);
        wait::until("no file is left", || files(&site).is_empty());
    }
}
in_each_language!(a_handler_starts_with_the_head_and_reads_what_has_come);

fn an_answer_before_the_body_is_there_refuses_it(language: Language) {
    for way in WAYS {
        let site = site(language, way, "");
        for length in [Some(50_000_000), None] {
            let mut client = site.client();
            client.send(head("/no", length));
            assert_eq!(client.read().status, 403);
            assert!(client.read_to_end().is_empty());
        }
        assert_eq!(site.get("/fine").text(), "fine");
        wait::until("no file is left", || files(&site).is_empty());
    }
}
in_each_language!(an_answer_before_the_body_is_there_refuses_it);

fn a_script_learns_that_its_client_has_left_in_the_middle(language: Language) {
    for way in WAYS {
        let site = site(language, way, "");
        let mut client = site.client();
        client.send(head("/count", Some(5_000_000)));
        client.send(bytes(1_000_000));
        site.log().expect("first piece");
        drop(client);
        site.log().expect("over: aborted");
        assert_eq!(site.get("/fine").text(), "fine");
        wait::until("no file is left", || files(&site).is_empty());
        assert!(!site.log().text().contains("failed"), "its end is nobody's loss");
    }
}
in_each_language!(a_script_learns_that_its_client_has_left_in_the_middle);

fn without_the_option_a_body_is_whole_and_can_be_read_in_pieces_too(language: Language) {
    for way in WAYS {
        let site = site(language, way, "");
        let large = bytes(2_000_000);
        let mut client = site.client();
        client.send([head("/echo", None).as_bytes(), &chunks(&large), b"0\r\n\r\n"].concat());
        assert!(client.read().body == large, "{way}");
        client.send(request("POST", "/whole", &[], b"abcdef"));
        assert_eq!(client.read().text(), "abc|3|6|6");
        let body = [b"abc", &large[..]].concat();
        client.send(request("POST", "/whole", &[], &body));
        assert_eq!(client.read().text(), "abc|2000000|2000003|2000003");
        // Of a route that streams only a body that came with the head is whole.
        assert_eq!(site.send(request("POST", "/body", &[], b"small")).text(), "small");
        assert_eq!(site.send(request("POST", "/body", &[], &large)).status, 500);
        site.log().expect("the body is still arriving");
        wait::until("no file is left", || files(&site).is_empty());
    }
}
in_each_language!(without_the_option_a_body_is_whole_and_can_be_read_in_pieces_too);

fn chunks_beyond_the_limit_get_413_however_they_come(language: Language) {
    for way in WAYS {
        let site = site(language, way, "upload = \"1MiB\"");
        for path in ["/count", "/echo"] {
            let mut client = site.client();
            let _ = client.try_send([head(path, None).as_bytes(), &chunks(&bytes(1_500_000))].concat());
            // Whole or not: it is too large already.
            let _ = client.try_send(b"0\r\n\r\n");
            assert_eq!(client.read().status, 413, "{way} {path}");
        }
        wait::until("no file is left", || files(&site).is_empty());
        assert_eq!(site.get("/fine").text(), "fine");
    }
}
in_each_language!(chunks_beyond_the_limit_get_413_however_they_come);

/// Of a process, what it had in memory at most, KiB.
fn peak(process: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it lives");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("its peak");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}

fn a_large_body_read_in_pieces_needs_little_memory(language: Language) {
    const PIECE: usize = 1 << 20;
    for way in WAYS {
        let site = site(language, way, "");
        assert_eq!(site.send(request("POST", "/count", &[], &bytes(600_000))).text(), "600000");
        let processes = [site.hub(), site.workers()[0]];
        let before = processes.map(peak);
        for path in ["/count", "/whole"] {
            let (mut client, piece) = (site.client(), bytes(PIECE));
            if path == "/whole" && way == "file" {
                continue;
            }
            if path == "/count" {
                client.send(head(path, Some(64 * PIECE)));
                (0..64).for_each(|_| client.send(&piece));
                assert_eq!(client.read().text(), (64 * PIECE).to_string());
            }
        }
        for (process, before) in processes.into_iter().zip(before) {
            let grown = peak(process) - before;
            assert!(grown < 12 << 10, "{way}: {grown} KiB more for 64 MiB");
        }
    }
}
in_each_language!(a_large_body_read_in_pieces_needs_little_memory);

#[test]
fn a_plain_function_in_the_only_thread_cannot_stream_and_one_in_threads_can() {
    let script = "@app.post('/up', body='stream')\ndef up(req):\n    return str(len(req.read()))\n";
    let mut site = Site::python(script).spawn();
    site.log().expect("has body=\"stream\" and is a plain function");
    assert_eq!(site.exit_code(), Some(2));
    let site = Site::python(script).argument("--threads=2").config("uploads = \"stream\"\n").start();
    let mut client: Client = site.client();
    client.send(head("/up", Some(1_000_000)));
    client.send(bytes(1_000_000));
    assert_eq!(client.read().text(), "1000000");
}

#[test]
fn options_of_a_route_are_checked_when_the_app_loads() {
    for (options, problem) in [
        ("{ body = \"parts\" }", "is \"whole\" or \"stream\", not parts"),
        ("{ boddy = 1 }", "has no option `boddy`"),
        ("1", "takes a table of options before its function, not a number"),
    ] {
        let script = format!("app:post(\"/up\", {options}, function() return \"\" end)");
        let mut site = Site::plan(&script).spawn();
        site.log().expect(problem);
        assert_eq!(site.exit_code(), Some(2));
    }
}

#[test]
fn asgi_gets_the_body_as_it_comes_and_the_end_of_its_client() {
    let source = r#"
import logging
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    total = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            logging.info("disconnected")
            return
        if not total:
            logging.info("first part")
        total += len(event["body"])
        if not event["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(total).encode()})
"#;
    for way in WAYS {
        let site = Site::plan_module(source).config(&format!("uploads = \"{way}\"\n")).workers(1).start();
        let mut client = site.client();
        client.send(head("/", Some(2_000_000)));
        client.send(bytes(500_000));
        site.log().expect("first part");
        client.send(bytes(1_500_000));
        assert_eq!(client.read().text(), "2000000");
        let mut client = site.client();
        client.send([head("/", None).as_bytes(), &chunks(&bytes(300_000)), b"0\r\n\r\n"].concat());
        assert_eq!(client.read().text(), "300000");
        let mut client = site.client();
        client.send(head("/", Some(2_000_000)));
        client.send(bytes(500_000));
        site.log().expect_times("first part", 3);
        drop(client);
        site.log().expect("disconnected");
    }
}
