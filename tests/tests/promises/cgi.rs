use std::time::{Duration, Instant};
use tests::client::{get, request};
use tests::process;
use tests::site::{Plan, Site};
use tests::wait;

const ON: &str = "[cgi]\nenabled = true\n";

/// Writes all variables, and what it is given.
const SHOW: &str = "#!/bin/sh\necho 'Content-Type: text/plain'\necho\nenv | sort\necho \"cwd=$(pwd -P)\"\n\
                    echo \"arguments=$#\"\nprintf 'body='\nhead -c \"${CONTENT_LENGTH:-0}\"\n";

/// A site with a script in Lua that takes what nobody else does, and these files in its `public`.
fn plan(config: &str) -> Plan {
    Site::plan("app:get('/', function() return 'lua' end) app:not_found(function() return kennel.response('lua: none', { status = 404 }) end)")
        .config(config)
        .program("public/cgi-bin/show", SHOW)
        .program("public/docs/deep/page.cgi", "#!/bin/sh\nprintf 'Content-Type: text/html\\n\\n<p>deep'\n")
        .file("public/docs/plain.txt", "plain")
}

fn line<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

#[test]
fn a_script_gets_its_request_and_its_output_is_the_answer() {
    let site = plan(ON).variable("KENNEL_SECRET", "s".repeat(40)).start();
    let folder = site.folder().path().canonicalize().expect("the site's folder");
    let answer = site.send(request(
        "POST",
        "/cgi-bin/show/more/a%20b?x=1&y",
        &[("Content-Type", "a/b"), ("X-One", "1"), ("Proxy", "evil"), ("Cookie", "c=d")],
        b"some body",
    ));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain")));
    let text = answer.text();
    for (name, value) in [
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("REQUEST_METHOD", "POST"),
        ("SCRIPT_NAME", "/cgi-bin/show"),
        ("PATH_INFO", "/more/a b"),
        ("QUERY_STRING", "x=1&y"),
        ("CONTENT_TYPE", "a/b"),
        ("CONTENT_LENGTH", "9"),
        ("HTTP_X_ONE", "1"),
        ("HTTP_COOKIE", "c=d"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("body", "some body"),
    ] {
        assert_eq!(line(&text, name), Some(value), "{name} in {text}");
    }
    assert_eq!(line(&text, "SCRIPT_FILENAME"), folder.join("public/cgi-bin/show").to_str());
    assert_eq!(line(&text, "cwd"), folder.join("public/cgi-bin").to_str());
    assert!(line(&text, "PATH").is_some_and(|path| !path.is_empty()));
    for absent in ["HTTP_PROXY", "KENNEL_SECRET", "KENNEL_WORKER", "HOME"] {
        assert_eq!(line(&text, absent), None, "{absent}");
    }
    // Words of a query never become arguments.
    let text = site.get("/cgi-bin/show?one+two").text();
    assert_eq!((line(&text, "arguments"), line(&text, "QUERY_STRING")), (Some("0"), Some("one+two")));
    assert_eq!(line(&site.get("/cgi-bin/show/").text(), "PATH_INFO"), Some("/"));
}

#[test]
fn files_and_scripts_and_the_app_live_side_by_side() {
    let site = plan(ON).start();
    assert_eq!(site.get("/docs/deep/page.cgi").text(), "<p>deep");
    assert_eq!(site.get("/docs/plain.txt").text(), "plain");
    assert_eq!(site.get("/").text(), "lua");
    assert_eq!(
        (site.get("/none").text(), site.get("/cgi-bin/none").text()),
        ("lua: none".into(), "lua: none".into())
    );
    let mut client = site.client();
    client.send("HEAD /docs/deep/page.cgi HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.read_head().header("content-length"), Some("7"));
    assert_eq!(client.get("/docs/plain.txt").text(), "plain");
}

/// Ways to ask for the text of a script.
const SPELLINGS: [&str; 10] = [
    "/docs/deep/page.cgi",
    "/docs/deep/page%2ecgi",
    "/docs/deep/page.%63gi",
    "/docs/deep/page.c%67i",
    "/docs/deep/page.cg%69",
    "/docs/deep/page.cgi%00",
    "/docs/./deep/page.cgi",
    "/cgi-bin/show",
    "/cgi%2dbin/show",
    "/%63gi-bin/show",
];

#[test]
fn a_script_is_never_handed_out_as_a_file() {
    for config in ["", ON] {
        let site = plan(config).start();
        if config.is_empty() {
            site.log().expect("is a CGI script: it is not run unless kennel.toml says");
        }
        for path in SPELLINGS {
            let answer = site.get(path);
            assert!(!answer.text().contains("#!/bin/sh"), "{path}: {answer:?}");
            let runs = !config.is_empty() && answer.status == 200;
            assert!(runs || matches!(answer.status, 400 | 404), "{path}: {answer:?}");
        }
        assert_eq!(site.get("/docs/plain.txt").text(), "plain");
    }
}

#[test]
fn a_large_body_is_read_from_its_file() {
    let count = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nhead -c \"$CONTENT_LENGTH\" | wc -c\n";
    let site = plan(ON).program("public/count.cgi", count).start();
    for size in [0, 1, 90_000, 3 << 20] {
        let body = vec![b'x'; size];
        let answer = site.send(request(
            "POST",
            "/count.cgi",
            &[("Content-Length", "0")][usize::from(size > 0)..],
            &body,
        ));
        assert_eq!(answer.text().trim(), size.to_string());
    }
}

#[test]
fn status_and_location_and_headers_are_the_scripts() {
    let script = "#!/bin/sh\ncase $PATH_INFO in\n\
        /missing) printf 'Status: 404 Not Here\\nContent-Type: text/plain\\nX-A: 1\\nSet-Cookie: a=1\\nSet-Cookie: b=2\\n\\nno';;\n\
        /away) printf 'Location: https://example.org/x\\n\\n';;\n\
        /there) printf 'Location: /docs/plain.txt\\r\\n\\r\\n';;\n\
        /moved) printf 'Status: 301\\nLocation: /\\n\\n';;\nesac\n";
    let site = plan(ON).program("public/s.cgi", script).start();
    let missing = site.get("/s.cgi/missing");
    assert_eq!((missing.status, missing.text(), missing.header("x-a")), (404, "no".to_owned(), Some("1")));
    assert_eq!(missing.headers_named("set-cookie"), ["a=1", "b=2"]);
    for (path, status, location) in [
        ("/s.cgi/away", 302, "https://example.org/x"),
        ("/s.cgi/there", 302, "/docs/plain.txt"),
        ("/s.cgi/moved", 301, "/"),
    ] {
        let answer = site.get(path);
        assert_eq!((answer.status, answer.header("location")), (status, Some(location)), "{path}");
    }
}

#[test]
fn what_is_no_answer_is_502_and_the_log_says_why() {
    let script = "#!/bin/sh\ncase $PATH_INFO in\n\
        /fails) echo 'Content-Type: a/b'; echo; echo 'what went wrong' >&2; exit 3;;\n\
        /killed) kill -SEGV $$;;\n\
        /plain) echo 'hello';;\n\
        /headless) echo 'Content-Type: a/b';;\n\
        /typeless) echo 'Status: 200'; echo; echo body;;\n\
        /split) printf 'Content-Type: a/b\\nX: y\\rSet-Cookie: z\\n\\n';;\n\
        /much) echo 'Content-Type: a/b'; echo; yes;;\n\
        /long) sleep 100;;\n\
        *) printf 'Content-Type: text/plain\\n\\nfine';;\nesac\n";
    let config = format!("{ON}timeout = \"1s\"\noutput = \"64KiB\"\n");
    let site =
        plan(&config).program("public/s.cgi", script).program("public/bad.cgi", "#!/no/such\n").start();
    for (path, status, part) in [
        ("/s.cgi/fails", 502, "/s.cgi gave no answer: ended with exit status: 3"),
        ("/s.cgi/killed", 502, "/s.cgi gave no answer: ended with signal: 11"),
        ("/s.cgi/plain", 502, "`hello` is no header line"),
        ("/s.cgi/headless", 502, "its header has no end"),
        ("/s.cgi/typeless", 502, "it has a body and no Content-Type"),
        ("/s.cgi/split", 502, "carriage return"),
        ("/s.cgi/much", 502, "has written more than 65536 bytes (output under [cgi]): killed"),
        ("/s.cgi/long", 504, "ran for 1s (timeout under [cgi]): killed"),
        ("/bad.cgi", 502, "`/no/such` runs it, which is not there"),
    ] {
        assert_eq!(site.get(path).status, status, "{path}");
        site.log().expect(part);
        assert_eq!(site.get("/s.cgi").text(), "fine", "after {path}");
    }
    site.log().expect("/s.cgi: what went wrong");
}

#[test]
fn so_many_run_at_once_and_no_more() {
    let script = "#!/bin/sh\nsleep 0.5\nprintf 'Content-Type: text/plain\\n\\nfine'\n";
    let config = format!("{ON}at_once = 4\n");
    let site = plan(&config).program("public/s.cgi", script).start();
    let start = Instant::now();
    let mut clients: Vec<_> = (0..12).map(|_| site.client()).collect();
    clients.iter_mut().for_each(|client| client.send(get("/s.cgi")));
    for client in &mut clients {
        assert_eq!(client.read().text(), "fine");
    }
    let time = start.elapsed();
    assert!(time >= Duration::from_millis(1400), "three rounds of half a second took {time:?}");
}

#[test]
fn no_script_outlives_its_client_or_its_worker() {
    let site = plan(ON).program("public/s.cgi", "#!/bin/sh\necho started >&2\nexec sleep 1000\n").start();
    let scripts =
        || process::in_folder(&site.folder().path().join("public").canonicalize().expect("the folder"));
    let mut client = site.client();
    client.send(get("/s.cgi"));
    site.log().expect("/s.cgi: started");
    assert_eq!(scripts().len(), 1);
    client.vanish();
    wait::until("the script goes with its client", || scripts().is_empty());
    let mut client = site.client();
    client.send(get("/s.cgi"));
    site.log().expect_times("/s.cgi: started", 2);
    let worker = process::children(site.hub())
        .into_iter()
        .find(|pid| process::command_line(*pid).contains("worker-cgi"))
        .expect("a worker of scripts");
    process::kill(worker);
    assert_eq!(client.read().status, 502);
    wait::until("the script goes with its worker", || scripts().is_empty());
}
