use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tests::client::{Client, Response, get, request};
use tests::site::Site;
use tests::wait;

const APP: &str = r#"
    app:post("/echo", function(req) return req.body end)
    app:post("/size", function(req) return tostring(#req.body) .. " " .. tostring(#req.body) end)
    app:post("/text", function(req) return req.text end)
    app:post("/slow", function(req) kennel.sleep(30) return "" end)
    app:post("/die", function(req) io.open("/proc/self/comm"):close() os.exit(1) end)
    app:get("/fine", function() return "fine" end)
"#;

const LARGE: usize = 5 << 20;

fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

/// The files that the site's own Mongrel2 has spooled.
fn files(site: &Site) -> Vec<PathBuf> {
    let folder = site.folder().path().join(format!(".kennel/{}/uploads", site.hub()));
    fs::read_dir(folder).expect("the store").map(|entry| entry.expect("an entry").path()).collect()
}

fn chunked(path: &str, body: &[u8]) -> Vec<u8> {
    let mut out =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
    for chunk in body.chunks(50_000) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

#[test]
fn large_bodies_and_chunks_arrive_whole_and_leave_nothing_behind() {
    let site = Site::plan(APP).start();
    let large = bytes(LARGE);
    let mut client = site.client();
    for _ in 0..2 {
        client.send(chunked("/echo", &large[..300_000]));
        assert!(client.read().body == large[..300_000]);
        client.send(chunked("/text", "grün".as_bytes()));
        assert_eq!(client.read().text(), "grün");
        client.send(request("POST", "/echo", &[], &large[..100_000]));
        assert!(client.read().body == large[..100_000]);
    }
    client.send(request("POST", "/echo", &[], &large));
    assert!(client.read().body == large);
    assert!(client.read_to_end().is_empty());
    wait::until("every file is deleted", || files(&site).is_empty());

    // Several at once, in two workers, and each gets its own.
    let mut clients: Vec<Client> = (0..6).map(|_| site.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&request("POST", "/size", &[], &bytes(LARGE + number))[..1_000_000]);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&request("POST", "/size", &[], &bytes(LARGE + number))[1_000_000..]);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let size = LARGE + number;
        assert_eq!(client.read().text(), format!("{size} {size}"));
    }
    wait::until("every file is deleted", || files(&site).is_empty());
}

#[test]
fn what_is_pipelined_behind_a_body_is_no_part_of_it_and_ends_nobody() {
    let site = Site::plan(APP).start();
    let mongrel2 = site.own_mongrel2();
    let large = bytes(LARGE);
    // Mongrel2 puts the second request into the file of the first: it is lost, and the close says so.
    let mut client = site.client();
    client.send([request("POST", "/echo", &[], &large), get("/fine")].concat());
    let answer = client.read();
    assert!(answer.body == large && answer.header("connection") == Some("close"));
    assert!(client.read_to_end().is_empty());
    // With another size of its buffer it would crash here.
    for first in [&large[..], &large[..103_424], &large[..20_000]] {
        // What is left of the chunks is no request, and Mongrel2 says so at any time.
        let mut client = site.client();
        let both = [request("POST", "/echo", &[], first), chunked("/echo", &large[..400_000])].concat();
        let answer = client.try_send(both).and_then(|()| client.try_read());
        assert!(answer.is_err() || answer.is_ok_and(|answer| [200, 400].contains(&answer.status)));
        let mut client = site.client();
        client.send([chunked("/echo", &large[..400_000]), request("POST", "/echo", &[], first)].concat());
        assert!(client.read().body == large[..400_000]);
        assert!(client.read().body == first);
    }
    assert_eq!(site.get("/fine").text(), "fine");
    assert_eq!(site.own_mongrel2(), mongrel2, "mongrel2 crashed");
    wait::until("every file is deleted", || files(&site).is_empty());
}

#[test]
fn what_nobody_takes_is_refused_before_it_is_sent() {
    let site = Site::plan(APP).config("[limits]\nupload = \"6MiB\"\n").start();
    let announce = |path: &str, size: usize| {
        let mut client = site.client();
        client.send(format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"));
        let status = client.read().status;
        assert!(client.read_to_end().is_empty());
        status
    };
    assert_eq!(announce("/echo", (6 << 20) + 1), 413);
    assert_eq!(announce("/nowhere", LARGE), 404);
    assert_eq!(announce("/fine", LARGE), 405);
    site.log().expect("limits.upload");
    wait::until("mongrel2 deletes what it had begun", || files(&site).is_empty());
    assert_eq!(site.send(request("POST", "/size", &[], &bytes(6 << 20))).text(), "6291456 6291456");
}

/// Announces a large body; `None`: it may come.
fn refusal(client: &mut Client) -> Option<Response> {
    client.send(format!("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: {LARGE}\r\n\r\n"));
    client.set_patience(Duration::from_millis(300));
    let refusal = client.try_read().ok();
    client.set_patience(wait::PATIENCE);
    refusal
}

/// The one that began last has to go, and there is room again when the other is over.
#[test]
fn all_uploads_together_have_a_bound() {
    for way in ["file", "stream"] {
        let config = format!("uploads = \"{way}\"\n[limits]\nupload_total = \"8MiB\"\n");
        let site = Site::plan(APP).config(&config).start();
        let body = bytes(LARGE);
        let (mut first, mut second) = (site.client(), site.client());
        assert!(refusal(&mut first).is_none() && refusal(&mut second).is_none(), "{way}");
        first.send(&body[..LARGE - 1000]);
        second.send(&body[..1 << 20]);
        wait::until("what has arrived is counted", || {
            refusal(&mut site.client()).is_some_and(|answer| {
                assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
                true
            })
        });
        site.log().expect("reach limits.upload_total");
        second.send(&body[1 << 20..LARGE - 1000]);
        assert_eq!(second.read().status, 503, "{way}");
        first.send(&body[LARGE - 1000..]);
        assert_eq!(first.read().text(), format!("{LARGE} {LARGE}"), "{way}");
        let mut next = site.client();
        wait::until("there is room again", || {
            next = site.client();
            refusal(&mut next).is_none()
        });
        next.send(&body);
        assert_eq!(next.read().status, 200, "{way}");
        let metrics = site.kennel(&["console", "-c", "metrics kennel_overloads_total"]);
        let count =
            metrics.stdout.split_whitespace().rev().nth(1).and_then(|count| count.parse::<u64>().ok());
        assert!(count.is_some_and(|count| count >= 2), "{metrics:?}");
    }
}

#[test]
fn a_file_outlives_neither_its_client_nor_its_worker() {
    let site = Site::plan(APP).start();
    let mut client = site.client();
    client.send(&request("POST", "/echo", &[], &bytes(LARGE))[..LARGE / 2]);
    wait::until("the upload begins", || files(&site).len() == 1);
    drop(client);
    wait::until("mongrel2 deletes the half of it", || files(&site).is_empty());

    assert_eq!(site.send(request("POST", "/die", &[], &bytes(LARGE))).status, 502);
    wait::until("the dead worker's file is deleted", || files(&site).is_empty());

    let mut client = site.client();
    client.send(request("POST", "/slow", &[], &bytes(LARGE)));
    wait::until("the upload is whole", || files(&site).len() == 1);
    drop(client);
    assert_eq!(site.get("/fine").text(), "fine");
    assert_eq!(files(&site).len(), 1, "its script may still read it");
}

#[test]
fn a_body_that_a_script_cannot_hold_is_an_error_with_its_reason() {
    let site = Site::plan(APP).config("[limits]\nworker_memory = \"5MiB\"\n").workers(1).start();
    assert_eq!(site.send(request("POST", "/size", &[], &bytes(LARGE + 1))).status, 500);
    site.log().expect("limits.worker_memory allows a script 5242880");
    assert_eq!(site.get("/fine").text(), "fine");
    wait::until("the file is deleted", || files(&site).is_empty());
}
