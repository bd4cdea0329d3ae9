use flate2::read::GzDecoder;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};
use tests::client::{Response, request};
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::process::resident_memory;
use tests::site::{Plan, Site};
use tests::wait;

const SERVES: Scripts<'_> = Scripts {
    lua: r#"
    app:get("/files/{*rest}", function(req, rest) return kennel.file(rest, { root = "root" }) end)
    app:get("/any", function(req) return kennel.file(req.args.path) end)
    app:get("/cached", function() return kennel.file("root/page.html", { max_age = 3600, headers = { ["x-a"] = "b" } }) end)
    app:get("/stored", function() return kennel.file("root/page.html", { filename = 'Über "x".html', type = "text/x-mine" }) end)
    app:get("/sorry", function() return kennel.file("root/page.html", { status = 503 }) end)
    app:get("/no-root", function() return kennel.file("a", { root = "nowhere" }) end)
    app:get("/wrong", function() return kennel.file(7) end)
    "#,
    python: r#"
    @app.get("/files/{*rest}")
    def files(req, rest): return kennel.file(rest, root="root")
    @app.get("/any")
    async def any_file(req): return kennel.file(req.args["path"])
    @app.get("/cached")
    def cached(req): return kennel.file("root/page.html", max_age=3600, headers={"x-a": "b"})
    @app.get("/stored")
    async def stored(req): return kennel.file("root/page.html", filename='Über "x".html', type="text/x-mine")
    @app.get("/sorry")
    def sorry(req): return kennel.file("root/page.html", status=503)
    @app.get("/no-root")
    async def no_root(req): return kennel.file("a", root="nowhere")
    @app.get("/wrong")
    def wrong(req): return kennel.file(7)
    "#,
};

/// A plan with a folder `root` and a secret beside it; the files in it are a day old.
fn plan(language: Language, scripts: Scripts<'_>) -> Plan {
    let plan = language.plan(scripts).behind_warm();
    let folder = plan.folder().path();
    std::fs::create_dir_all(folder.join("root/sub")).expect("a folder");
    for (name, content) in [
        ("secret.txt", "secret"),
        ("root/page.html", "<p>hello</p>"),
        ("root/digits", "0123456789"),
        ("root/sub/style.css", "p{}"),
        ("root/empty.txt", ""),
    ] {
        std::fs::write(folder.join(name), content).expect("a file");
        age(&folder.join(name));
    }
    plan
}

/// Makes a file a day old: nobody takes it for one that may still be changing.
fn age(path: &std::path::Path) {
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("the file is there");
    file.set_modified(SystemTime::now() - Duration::from_secs(86_400)).expect("its time can be set");
}

fn asked(site: &Site, path: &str, headers: &[(&str, &str)]) -> Response {
    site.send(request("GET", path, headers, b""))
}

fn known<'a>(response: &'a Response, name: &str) -> &'a str {
    response.header(name).unwrap_or_else(|| panic!("no {name}: {response:?}"))
}

in_each_language!(a_file_comes_with_all_that_is_known_of_it);
fn a_file_comes_with_all_that_is_known_of_it(language: Language) {
    let site = plan(language, SERVES).start();
    let response = site.get("/files/page.html");
    assert_eq!((response.status, response.text().as_str()), (200, "<p>hello</p>"));
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("content-length", "12"),
        ("accept-ranges", "bytes"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(response.headers_named(name), [value], "{name}");
    }
    assert!(response.header("etag").is_some_and(|tag| tag.starts_with('"') && tag.ends_with('"')));
    assert!(response.header("last-modified").is_some_and(|date| date.ends_with(" GMT")));
    assert_eq!(response.header("cache-control"), None);
    assert_eq!(site.get("/files/sub/style.css").header("content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(site.get("/files/digits").header("content-type"), Some("application/octet-stream"));
    let empty = site.get("/files/empty.txt");
    assert_eq!((empty.status, empty.header("content-length"), empty.text().as_str()), (200, Some("0"), ""));

    let mut client = site.client();
    client.send(request("HEAD", "/files/page.html", &[], b""));
    let head = client.read_head();
    let without_date = |response: &Response| {
        let mut headers = response.headers.clone();
        headers.retain(|(name, _)| name != "Date");
        headers
    };
    assert_eq!(without_date(&head), without_date(&response));
    assert_eq!(client.get("/files/digits").text(), "0123456789", "the connection goes on");

    let response = site.get("/cached");
    assert_eq!(response.header("cache-control"), Some("max-age=3600"));
    assert_eq!(response.header("x-a"), Some("b"));
    let response = site.get("/stored");
    assert_eq!(response.headers_named("content-type"), ["text/x-mine"]);
    assert_eq!(
        response.header("content-disposition"),
        Some("attachment; filename=\"_ber _x_.html\"; filename*=UTF-8''%C3%9Cber%20%22x%22.html")
    );
    let response = asked(&site, "/sorry", &[("range", "bytes=0-1"), ("if-none-match", "*")]);
    assert_eq!((response.status, response.text().as_str()), (503, "<p>hello</p>"));
}

in_each_language!(who_has_a_file_does_not_get_it_again);
fn who_has_a_file_does_not_get_it_again(language: Language) {
    let site = plan(language, SERVES).start();
    let first = site.get("/files/page.html");
    let (tag, date) = (known(&first, "etag"), known(&first, "last-modified"));
    for (headers, status) in [
        (&[("if-none-match", tag)][..], 304),
        (&[("if-none-match", "\"other\"")], 200),
        (&[("if-none-match", "*")], 304),
        (&[("if-modified-since", date)], 304),
        (&[("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")], 200),
        (&[("if-none-match", "\"other\""), ("if-modified-since", date)], 200),
        (&[("if-match", tag)], 200),
        (&[("if-match", "\"other\"")], 412),
        (&[("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT")], 412),
        (&[("if-unmodified-since", date)], 200),
    ] {
        let mut client = site.client();
        client.send(request("GET", "/files/page.html", headers, b""));
        let response = client.read();
        assert_eq!(response.status, status, "{headers:?}");
        if status == 304 {
            assert_eq!(response.header("etag"), Some(tag));
            assert_eq!(response.header("content-length"), None);
            assert_eq!(response.header("content-type"), None);
        }
        assert_eq!(client.get("/files/digits").text(), "0123456789", "the connection goes on");
    }
    let response = asked(&site, "/cached", &[("if-none-match", "*")]);
    assert_eq!((response.status, response.header("cache-control")), (304, Some("max-age=3600")));
}

in_each_language!(a_client_gets_the_parts_that_it_asks_for);
fn a_client_gets_the_parts_that_it_asks_for(language: Language) {
    let site = plan(language, SERVES).start();
    for (range, status, content_range, body) in [
        ("bytes=2-4", 206, Some("bytes 2-4/10"), "234"),
        ("bytes=-3", 206, Some("bytes 7-9/10"), "789"),
        ("bytes=8-100", 206, Some("bytes 8-9/10"), "89"),
        ("bytes=10-", 416, Some("bytes */10"), "416 Range Not Satisfiable\n"),
        ("bytes=4-2", 200, None, "0123456789"),
        ("lines=1-2", 200, None, "0123456789"),
        ("bytes=0-9,0-9,0-9", 200, None, "0123456789"),
    ] {
        let response = asked(&site, "/files/digits", &[("range", range)]);
        assert_eq!((response.status, response.header("content-range")), (status, content_range), "{range}");
        assert_eq!(response.text(), body, "{range}");
    }
    let response = asked(&site, "/files/digits", &[("range", "bytes=0-1, 8-")]);
    assert_eq!(response.status, 206);
    let content_type = known(&response, "content-type");
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").expect("several parts");
    let part = |range: &str, bytes: &str| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {range}/10\r\n\r\n{bytes}"
        )
    };
    let expected = format!("{}{}\r\n--{boundary}--\r\n", part("0-1", "01"), part("8-9", "89"));
    assert_eq!(response.text(), expected);

    let tag = known(&response, "etag").to_owned();
    let date = known(&response, "last-modified").to_owned();
    for (value, status) in
        [(&*tag, 206), (&date, 206), ("\"other\"", 200), ("Sun, 06 Nov 1994 08:49:37 GMT", 200)]
    {
        let response = asked(&site, "/files/digits", &[("range", "bytes=0-1"), ("if-range", value)]);
        assert_eq!(response.status, status, "{value}");
    }
}

in_each_language!(nothing_outside_of_its_root_is_served_and_nobody_learns_what_is_there);
fn nothing_outside_of_its_root_is_served_and_nobody_learns_what_is_there(language: Language) {
    let plan = plan(language, SERVES);
    let folder = plan.folder().path().to_owned();
    symlink(folder.join("secret.txt"), folder.join("root/absolute")).expect("a link");
    symlink("../secret.txt", folder.join("root/relative")).expect("a link");
    symlink("..", folder.join("root/up")).expect("a link");
    symlink("sub/style.css", folder.join("root/inside.css")).expect("a link");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        folder.join("root/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("a pipe");
    let site = plan.start();
    assert_eq!(site.get("/files/inside.css").text(), "p{}");
    let missing = site.get("/files/missing");
    assert_eq!(missing.status, 404);
    for path in [
        "../secret.txt",
        "..%2fsecret.txt",
        "%2e%2e/secret.txt",
        "%2E%2E%2Fsecret.txt",
        "%252e%252e/secret.txt",
        "sub/../../secret.txt",
        "sub/..%2f..%2fsecret.txt",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "..%5csecret.txt",
        "..%00/secret.txt",
        "page.html%00",
        "page.html%00.png",
        "absolute",
        "relative",
        "up/secret.txt",
        "up/root/page.html",
        "sub",
        "sub/",
        "pipe",
        "sub//style.css",
        "./page.html",
        "%ff%fe",
    ] {
        let response = site.get(&format!("/files/{path}"));
        assert_eq!(response.status, 404, "{path}");
        assert_eq!(response.text(), missing.text(), "{path}");
    }
    for path in ["/dev/zero", "/dev/stdin", "/nowhere", "root", "", "root/pipe", "root/page.html%00"] {
        assert_eq!(site.get(&format!("/any?path={path}")).status, 404, "{path}");
    }
    assert_eq!(site.get("/any?path=secret.txt").text(), "secret", "what a script names itself it may");
    let log = site.log().text();
    assert!(!log.contains("failed"), "{log}");

    assert_eq!(site.get("/no-root").status, 500);
    site.log().expect("GET /no-root failed: ");
    site.log().expect("the root `nowhere` cannot be opened");
    assert_eq!(site.get("/wrong").status, 500);
}

in_each_language!(a_missing_file_gets_the_apps_own_page_and_hooks_see_files);
fn a_missing_file_gets_the_apps_own_page_and_hooks_see_files(language: Language) {
    let site = plan(
        language,
        Scripts {
            lua: r#"
            app:get("/{*rest}", function(req, rest) return kennel.file(rest, { root = "root" }) end)
            app:not_found(function(req) return "nothing here" end)
            app:after(function(req, res)
              res.headers["x-seen"] = res.status .. " " .. tostring(res.headers["content-type"])
            end)
            "#,
            python: r#"
            @app.get("/{*rest}")
            def files(req, rest): return kennel.file(rest, root="root")
            @app.not_found
            def nothing(req): return "nothing here"
            @app.after
            def after(req, res):
                res.headers["x-seen"] = f'{res.status} {res.headers.get("content-type")}'
            "#,
        },
    )
    .start();
    let response = site.get("/page.html");
    assert_eq!(response.header("x-seen"), Some("200 text/html; charset=utf-8"));
    assert_eq!(response.text(), "<p>hello</p>");
    let response = asked(&site, "/digits", &[("range", "bytes=1-2")]);
    assert_eq!(response.header("x-seen"), Some("206 application/octet-stream"));
    let response = site.get("/missing");
    assert_eq!((response.status, response.text().as_str()), (404, "nothing here"));
    assert_eq!(response.header("x-seen"), Some("404 text/plain; charset=utf-8"));
}

const LARGE: Scripts<'_> = Scripts {
    lua: r#"
    app:get("/large", function() return kennel.file("large") end)
    app:get("/quick", function() return "quick" end)
    "#,
    python: r#"
    @app.get("/large")
    def large(req): return kennel.file("large")
    @app.get("/quick")
    def quick(req): return "quick"
    "#,
};

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n % 251) as u8 ^ (n >> 16) as u8).collect()
}

in_each_language!(a_large_file_arrives_whole_and_so_does_any_part_of_it);
fn a_large_file_arrives_whole_and_so_does_any_part_of_it(language: Language) {
    let plan = plan(language, LARGE);
    let content = content(5_000_000);
    plan.folder().write("large", &content);
    let site = plan.start();
    let response = site.get("/large");
    assert_eq!(response.header("content-length"), Some("5000000"));
    assert!(response.body == content);
    let response = asked(&site, "/large", &[("range", "bytes=1000000-3999999")]);
    assert_eq!(response.status, 206);
    assert!(response.body == content[1_000_000..4_000_000]);
    let response = asked(&site, "/large", &[("range", "bytes=0-999999,2000000-2999999")]);
    assert_eq!(response.header("content-length"), Some(&*response.body.len().to_string()));
    assert!(memchr::memmem::find(&response.body, &content[2_000_000..3_000_000]).is_some());
    let mut client = site.client();
    client.send(request("HEAD", "/large", &[], b""));
    assert_eq!(client.read_head().header("content-length"), Some("5000000"));
    assert_eq!(client.get("/quick").text(), "quick");
}

in_each_language!(a_slow_reader_slows_the_sending_and_costs_no_memory);
fn a_slow_reader_slows_the_sending_and_costs_no_memory(language: Language) {
    // Kennel's own server, which has flow control.
    let plan = language.plan(LARGE).workers(1);
    plan.folder().write("large", content(50_000_000));
    let site = plan.start();
    assert_eq!(site.get("/quick").text(), "quick");
    let worker = site.workers()[0];
    let before = (resident_memory(site.hub()), resident_memory(worker));
    let mut clients: Vec<_> = (0..10)
        .map(|_| {
            let mut client = site.client();
            client.hold_little();
            client.send(request("GET", "/large", &[], b""));
            let _ = client.read_head();
            client
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(site.get("/quick").text(), "quick");
    }
    let after = (resident_memory(site.hub()), resident_memory(worker));
    println!(
        "{} and {} KiB, then {} and {} KiB",
        before.0 >> 10,
        before.1 >> 10,
        after.0 >> 10,
        after.1 >> 10
    );
    assert!(after.0 < before.0 + (60 << 20) && after.1 < before.1 + (20 << 20));
    let content = content(50_000_000);
    for client in &mut clients {
        assert!(client.read_bytes(1_000_000) == content[..1_000_000]);
    }
    // Those who leave take their answers along. Whoever comes behind them may get the rest of a message that Mongrel2 is
    // just writing, since it goes on with the number of a descriptor; so it is one who was there before.
    let mut other = site.client();
    assert_eq!(other.get("/quick").text(), "quick");
    drop(clients);
    assert_eq!(other.get("/quick").text(), "quick");
    let mut site = site;
    site.signal(rustix::process::Signal::TERM);
    wait::until("the end", || site.exit_code() == Some(0));
}

in_each_language!(a_file_that_is_cut_while_it_is_sent_ends_the_connection);
fn a_file_that_is_cut_while_it_is_sent_ends_the_connection(language: Language) {
    let plan = language.plan(LARGE);
    let path = plan.folder().write("large", content(50_000_000));
    let site = plan.start();
    let mut client = site.client();
    client.hold_little();
    client.send(request("GET", "/large", &[], b""));
    assert_eq!(client.read_head().header("content-length"), Some("50000000"));
    std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_len(1_000_000))
        .expect("it gets shorter");
    let came = client.read_to_end().len();
    assert!(came < 50_000_000, "{came} bytes");
    assert_eq!(site.get("/quick").text(), "quick");
}

const TEXTS: Scripts<'_> = Scripts {
    lua: r#"
    local words = ("all work and no play "):rep(200)
    app:get("/text", function() return words end)
    app:get("/short", function() return "short" end)
    app:get("/json", function() return { words = words } end)
    app:get("/html", function() return kennel.html(words, { headers = { etag = '"1"', vary = "cookie" } }) end)
    app:get("/off", { compress = false }, function() return words end)
    app:get("/off-but-on", { compress = false }, function() return kennel.text(words, { compress = true }) end)
    app:get("/secret", function() return kennel.html(words, { compress = false }) end)
    app:get("/cookie", function() return kennel.html(words, { cookies = { a = "b" } }) end)
    app:get("/image", function() return kennel.response(words, { headers = { ["content-type"] = "image/png" } }) end)
    app:get("/encoded", function() return kennel.html(words, { headers = { ["content-encoding"] = "br" } }) end)
    app:get("/file", function() return kennel.file("words.txt") end)
    "#,
    python: r#"
    words = "all work and no play " * 200
    @app.get("/text")
    def text(req): return words
    @app.get("/short")
    async def short(req): return "short"
    @app.get("/json")
    async def json(req): return {"words": words}
    @app.get("/html")
    def html(req): return kennel.html(words, headers={"etag": '"1"', "vary": "cookie"})
    @app.get("/off", compress=False)
    def off(req): return words
    @app.get("/off-but-on", compress=False)
    async def off_but_on(req): return kennel.text(words, compress=True)
    @app.get("/secret")
    def secret(req): return kennel.html(words, compress=False)
    @app.get("/cookie")
    async def cookie(req): return kennel.html(words, cookies={"a": "b"})
    @app.get("/image")
    def image(req): return kennel.response(words, headers={"content-type": "image/png"})
    @app.get("/encoded")
    def encoded(req): return kennel.html(words, headers={"content-encoding": "br"})
    @app.get("/file")
    def file(req): return kennel.file("words.txt")
    "#,
};

in_each_language!(text_is_compressed_for_who_takes_it);
fn text_is_compressed_for_who_takes_it(language: Language) {
    let words = "all work and no play ".repeat(200);
    let plan = language.plan(TEXTS).behind_warm();
    age(&plan.folder().write("words.txt", &words));
    let site = plan.start();
    let gzip = |path: &str| asked(&site, path, &[("accept-encoding", "deflate, gzip;q=0.5")]);
    for path in ["/text", "/json", "/html", "/off-but-on", "/file"] {
        let plain = site.get(path);
        assert_eq!(plain.header("content-encoding"), None, "{path}");
        assert!(plain.headers_named("vary").contains(&"Accept-Encoding"), "{path}: caches are told");
        let response = gzip(path);
        assert_eq!(response.headers_named("content-encoding"), ["gzip"], "{path}");
        assert!(response.headers_named("vary").contains(&"Accept-Encoding"), "{path}");
        assert!(response.body.len() < 300, "{path}");
        let mut body = Vec::new();
        GzDecoder::new(&response.body[..]).read_to_end(&mut body).expect("gzip");
        assert!(body == plain.body, "{path}");
        let mut client = site.client();
        client.send(request("HEAD", path, &[("accept-encoding", "gzip")], b""));
        let length = response.body.len().to_string();
        assert_eq!(client.read_head().header("content-length"), Some(&*length), "{path}");
    }
    assert_eq!(gzip("/html").header("etag"), Some("W/\"1\""));
    assert_eq!(site.get("/html").header("etag"), Some("\"1\""));
    for path in ["/short", "/off", "/secret", "/cookie", "/image"] {
        let response = gzip(path);
        assert_eq!((response.header("content-encoding"), response.header("vary")), (None, None), "{path}");
        assert!(response.body == site.get(path).body, "{path}");
    }
    assert_eq!(gzip("/encoded").header("content-encoding"), Some("br"));
    for accept in ["gzip;q=0", "identity", "br", "*;q=0"] {
        let response = asked(&site, "/text", &[("accept-encoding", accept)]);
        assert_eq!(response.header("content-encoding"), None, "{accept}");
        assert_eq!(response.text(), words);
    }
    // The tag of the compressed file names the file too, but no range of it.
    let file = gzip("/file");
    let tag = known(&file, "etag");
    assert!(tag.starts_with("W/"));
    let again = asked(&site, "/file", &[("if-none-match", tag)]);
    assert_eq!((again.status, again.header("vary")), (304, Some("Accept-Encoding")));
    let part = asked(&site, "/file", &[("range", "bytes=0-1999"), ("accept-encoding", "gzip")]);
    assert_eq!((part.status, part.header("content-encoding")), (206, None));
    assert_eq!(part.text(), words[..2000]);
    let whole = asked(&site, "/file", &[("range", "bytes=0-1"), ("if-range", tag)]);
    assert_eq!(whole.status, 200);
}

in_each_language!(an_app_that_says_so_compresses_nothing);
fn an_app_that_says_so_compresses_nothing(language: Language) {
    let source = language.pick(
        r#"
        local kennel = require "kennel"
        local app = kennel.app({ compress = false })
        app:get("/", function() return ("x"):rep(5000) end)
        app:get("/on", { compress = true }, function() return ("x"):rep(5000) end)
        return app
        "#,
        "import kennel\napp = kennel.App(compress=False)\n\
         @app.get('/')\ndef plain(req): return 'x' * 5000\n\
         @app.get('/on', compress=True)\ndef on(req): return 'x' * 5000\n",
    );
    let site = language.plan(TEXTS).file(language.app(), source).behind_warm().start();
    let encoding = |path: &str| {
        let response = asked(&site, path, &[("accept-encoding", "gzip")]);
        response.header("content-encoding").map(str::to_owned)
    };
    assert_eq!(encoding("/"), None);
    assert_eq!(encoding("/on").as_deref(), Some("gzip"));
}
