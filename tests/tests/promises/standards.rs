use tests::client::request;
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::server::{self, Front};
use tests::site::Site;
use tests::wait;

const APP: Scripts<'_> = Scripts {
    lua: r#"
    app:get("/", function(req) return "at " .. req.host .. " " .. req.path .. " " .. req.url end)
    app:post("/", function(req) return #req.body .. " bytes" end)
    app:get("/value", function(req) return "[" .. (req.headers["x-t"] or "none") .. "]" .. table.concat(req.headers:all("x-t"), "|") end)
    app:get("/login", function(req) req.session = { user = "ann" } return "in" end)
    app:get("/who", function(req) return req.session.user or "nobody" end)
    app:get("/go", function(req) return kennel.redirect(req.args.to) end)
    app:get("/own", function(req) return kennel.response("", { status = 201, headers = { location = "/é" } }) end)
    app:get("/cached", function() return kennel.file("app.lua", { max_age = 60 }) end)
    app:post("/json", function(req) return { got = req:json() } end)
    app:post("/text", function(req) return req.text end)
    app:post("/form", function(req) return req.form.a .. " " .. (req.files.f and req.files.f.filename or "none") end)
    app:get("/a@b/sp ace/é", function() return "spelt" end)
    app:channel("/live", { open = function(conn) print("[open]") end, message = function(conn, msg) conn:send("re:" .. msg) end })
    "#,
    python: r#"
    @app.get("/")
    def index(req): return f"at {req.host} {req.path} {req.url}"
    @app.post("/")
    def post(req): return f"{len(req.body)} bytes"
    @app.get("/value")
    def value(req): return "[" + req.headers.get("x-t", "none") + "]" + "|".join(req.headers.getall("x-t"))
    @app.get("/login")
    def login(req):
        req.session = {"user": "ann"}
        return "in"
    @app.get("/who")
    def who(req): return req.session.get("user", "nobody")
    @app.get("/go")
    def go(req): return kennel.redirect(req.args["to"])
    @app.get("/own")
    def own(req): return kennel.response("", status=201, headers={"location": "/é"})
    @app.get("/cached")
    def cached(req): return kennel.file("app.py", max_age=60)
    @app.post("/json")
    def json(req): return {"got": req.json()}
    @app.post("/text")
    def text(req): return req.text
    @app.post("/form")
    def form(req):
        file = req.files.get("f")
        return req.form["a"] + " " + (file.filename if file else "none")
    @app.get("/a@b/sp ace/é")
    def spelt(req): return "spelt"
    @app.channel("/live")
    class Live:
        def open(self, conn): print("[open]")
        def message(self, conn, msg): conn.send("re:" + msg)
    "#,
};

/// What a WSGI, an ASGI application and a CGI script see of `x-t`, and where they are.
const WSGI: &str = "def app(environ, start_response):\n    start_response('200 OK', [('Location', '/a b')])\n    \
    return [('[%s]%s %s' % (environ.get('HTTP_X_T'), environ['SCRIPT_NAME'], environ['PATH_INFO'])).encode('latin-1')]\n";
const ASGI: &str = "async def app(scope, receive, send):\n    if scope['type'] == 'lifespan': raise RuntimeError\n    \
    if scope['type'] == 'websocket':\n        await receive(); await send({'type': 'websocket.accept'}); return\n    \
    value = [v for n, v in scope['headers'] if n == b'x-t']\n    \
    text = '[%s]%s %s' % (b','.join(value).decode(), scope['root_path'], scope['path'])\n    \
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n    \
    await send({'type': 'http.response.body', 'body': text.encode()})\n";

fn head(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n")
}

#[test]
fn bytes_behind_a_body_of_doubtful_length_are_not_a_request() {
    let site = Site::lua(APP.lua);
    let hidden = "GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // Mongrel2 reads 32 bits of a length, so large ones are doubtful, and takes `Chunked` for no coding. The front knows
    // that these are too large for this site, which has no place for uploads.
    let too_large = ["4294967296", "99999999999", "Transfer-Encoding: Chunked"];
    for lines in [
        "Content-Length: 0\r\nContent-Length: 35\r\n",
        "Content-Length: 0, 35\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x2c\r\n",
        "Content-Length: abc\r\n",
        "Content-Length: 4294967296\r\n",
        "Content-Length: 99999999999\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: Chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
    ] {
        let mut client = site.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n{hidden}"));
        let answer = client.read();
        let is_large = too_large.iter().any(|text| lines.contains(text));
        let status = if is_large && server::front() == Front::Kennel { 413 } else { 400 };
        assert_eq!(
            (answer.status, answer.header("connection")),
            (status, Some("close")),
            "{lines}{answer:?}"
        );
        assert_eq!(client.read_to_end(), b"", "{lines}: what stood behind it was answered");
    }
    let mut client = site.client();
    for _ in 0..2 {
        client.send(request("POST", "/", &[], b"hello"));
        assert_eq!(client.read().text(), "5 bytes");
    }
}

#[test]
fn a_request_names_one_host() {
    let site = Site::lua(APP.lua);
    for lines in [
        "",
        "Host: a\r\nHost: b\r\n",
        "Host: a/b\r\n",
        "Host: user@a\r\n",
        "Host: a b\r\n",
        "Host: a:99999\r\n",
    ] {
        let mut client = site.client();
        client.send(format!("GET / HTTP/1.1\r\n{lines}\r\n"));
        assert_eq!(client.read().status, 400, "{lines}");
        assert_eq!(client.read_to_end(), b"", "{lines}");
    }
    assert_eq!(site.send("GET / HTTP/1.0\r\n\r\n").status, 200);
    assert_eq!(
        site.send("GET / HTTP/1.1\r\nHost: [::1]:80 \r\n\r\n").text(),
        "at [::1]:80 / http://[::1]:80/"
    );
}

in_each_language!(a_whole_address_as_the_target_is_its_path);
fn a_whole_address_as_the_target_is_its_path(language: Language) {
    let site = language.site(APP);
    let asked =
        |target: &str| site.send(format!("GET {target} HTTP/1.1\r\nHost: Example.org:81\r\n\r\n")).text();
    let url = "http://Example.org:81/";
    assert_eq!(asked("http://example.org:81/"), format!("at Example.org:81 / {url}"));
    assert_eq!(asked("http://example.org:81/?q=1"), format!("at Example.org:81 / {url}?q=1"));
    let mut ws = site.client();
    ws.send(
        "GET http://localhost/live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    assert_eq!(ws.read_head().status, 101);
    site.log().expect("[open]");
}

in_each_language!(blanks_around_a_value_are_not_part_of_it);
fn blanks_around_a_value_are_not_part_of_it(language: Language) {
    let site = language.site(APP);
    assert_eq!(site.send(head("/value", "X-T:  a b \t \r\nX-T: \t\r\n")).text(), "[a b]a b|");
    let login = site.get("/login");
    let cookie = login.header("set-cookie").and_then(|line| line.split(';').next()).expect("a session");
    assert_eq!(site.send(head("/who", &format!("Cookie: {cookie}  \r\n"))).text(), "ann");
}

#[test]
fn other_interfaces_see_values_without_blanks_and_decoded_mounts() {
    let toml = "[[app]]\nsource = \"app.py\"\nmount = \"/m n/é\"\n";
    for app in [WSGI, ASGI] {
        let site = Site::plan_module(app).config(toml).configured_apps().workers(1).behind_warm().start();
        let answer = site.send(head("/m%20n/%C3%A9/a%20b", "X-T: v \t\r\n"));
        let expected = match app == WSGI {
            true => "[v]/m n/é /a b",
            // The path is the whole one.
            false => "[v]/m n/é /m n/é/a b",
        };
        assert_eq!(answer.text(), expected);
        if app == WSGI {
            assert_eq!(answer.header("location"), Some("/a%20b"));
        }
    }
    let cgi = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n[%s]%s' \"$HTTP_X_T\" \"$PATH_INFO\"\n";
    let site = Site::plan("").config("[cgi]\nenabled = true\n").program("public/sp ace.cgi", cgi).start();
    assert_eq!(site.send(head("/sp%20ace.cgi/x", "X-T: v \t\r\n")).text(), "[v]/x");
    for outside in ["/a%2f..%2f..%2fetc/passwd", "/../x", "/%2e%2e/x", "/.."] {
        assert_eq!(site.get(&format!("/sp%20ace.cgi{outside}")).status, 404, "{outside}");
    }
    let shell = "#!/bin/sh\nwhile read -r line; do id=${line#*:}; case $line in *'\"x-t\":\"v\"'*) t=trimmed;; *) t=not;; esac; \
                 echo \"{\\\"id\\\":${id%%,*},\\\"body\\\":\\\"$t\\\"}\"; done\n";
    let site = Site::plan("").program("app", shell).app("./app").workers(0).behind_warm().start();
    assert_eq!(site.send(head("/", "X-T: v \t\r\n")).text(), "trimmed");
}

in_each_language!(an_address_in_a_response_is_one);
fn an_address_in_a_response_is_one(language: Language) {
    let site = language.site(APP);
    for (to, location) in [
        ("/a%20b", "/a%20b"),
        ("/caf%C3%A9", "/caf%C3%A9"),
        ("/x%2520y?a=%2526", "/x%20y?a=%26"),
        ("http://b%C3%BCcher.example/", "http://b%C3%BCcher.example/"),
    ] {
        let answer = site.get(&format!("/go?to={to}"));
        assert_eq!((answer.status, answer.header("location")), (303, Some(location)), "{to}");
    }
    assert_eq!(site.get("/own").header("location"), Some("/%C3%A9"));
    assert_eq!(site.get("/go?to=%0d%0ax:y").status, 500);
}

in_each_language!(an_error_about_a_file_is_not_kept);
fn an_error_about_a_file_is_not_kept(language: Language) {
    let site = language.site(APP);
    assert_eq!(site.get("/cached").header("cache-control"), Some("max-age=60"));
    for (line, status) in [("If-Match: \"other\"\r\n", 412), ("Range: bytes=9999999-\r\n", 416)] {
        let answer = site.send(head("/cached", line));
        assert_eq!((answer.status, answer.header("cache-control")), (status, None), "{line}");
    }
}

in_each_language!(every_spelling_of_a_path_finds_its_route);
fn every_spelling_of_a_path_finds_its_route(language: Language) {
    let site = language.site(APP);
    for path in ["/a@b/sp%20ace/%C3%A9", "/a%40b/sp%20ace/%c3%a9", "/%61@b/s%70%20ace/%C3%a9"] {
        assert_eq!(site.get(path).text(), "spelt", "{path}");
    }
}

const KEY: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
                   Sec-WebSocket-Version: 13\r\n";

#[test]
fn a_handshake_with_a_body_opens_nothing() {
    for (site, path) in [(Site::lua(APP.lua), "/live"), (Site::module(ASGI), "/any")] {
        for lines in ["Content-Length: 8\r\n", "Content-Length: abc\r\n", "Transfer-Encoding: chunked\r\n"] {
            let mut client = site.client();
            client.send(
                [
                    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{KEY}{lines}\r\n").as_bytes(),
                    b"\x81\x82\0\0\0\0hi",
                ]
                .concat(),
            );
            let answer = client.read();
            // Mongrel2 takes the body for frames. For the front, it is the body of a POST, which is no handshake: a channel
            // does not take it, an ASGI app may, and the next request stands behind it.
            if server::front() == Front::Kennel && lines.contains('8') {
                assert_eq!(answer.status, if path == "/any" { 200 } else { 400 });
                client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{KEY}\r\n"));
                assert_eq!(client.read_head().status, 101);
                continue;
            }
            // The front has no place for uploads here.
            let is_large = server::front() == Front::Kennel && lines.contains("chunked");
            let status = if is_large { 413 } else { 400 };
            assert_eq!((answer.status, answer.header("connection")), (status, Some("close")), "{lines}");
            assert_eq!(client.read_to_end(), b"", "{lines}");
        }
        let mut client = site.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{KEY}\r\n"));
        assert_eq!(client.read_head().status, 101);
    }
}

#[test]
fn a_foreign_page_opens_no_event_stream_in_a_visitors_name() {
    let site = Site::lua(APP.lua);
    let ask = |site_is: &str| {
        let mut client = site.client();
        client.send(head("/live", &format!("Accept: text/event-stream\r\nSec-Fetch-Site: {site_is}\r\n")));
        client.read_head().status
    };
    assert_eq!((ask("cross-site"), ask("same-site")), (403, 403));
    assert_eq!((ask("same-origin"), ask("none")), (200, 200));
}

in_each_language!(what_is_not_json_is_a_400);
fn what_is_not_json_is_a_400(language: Language) {
    let site = language.site(APP);
    let post = |body: &str| site.send(request("POST", "/json", &[], body.as_bytes()));
    for wrong in [
        "NaN",
        "Infinity",
        "-Infinity",
        "{\"a\":1e400}",
        "[1e999]",
        "\"\\ud800\"",
        "{\"\\udc00\":1}",
        "\u{feff}{}",
        "01",
    ] {
        let answer = post(wrong);
        assert_eq!(answer.status, 400, "{wrong}: {answer:?}");
        assert!(answer.text().contains("the body is not JSON: "), "{wrong}: {}", answer.text());
    }
    let deep = "[".repeat(200) + &"]".repeat(200);
    assert_eq!(post(&deep).status, 400);
    assert_eq!(
        post("{\"a\":[1.5,\"\\ud83d\\ude00\",null]}").text(),
        "{\"got\":{\"a\":[1.5,\"\u{1f600}\",null]}}"
    );
}

in_each_language!(a_mark_of_the_byte_order_is_not_text_and_headers_of_parts_may_be_folded);
fn a_mark_of_the_byte_order_is_not_text_and_headers_of_parts_may_be_folded(language: Language) {
    let site = language.site(APP);
    let utf_16 = [("Content-Type", "text/plain; charset=utf-16")];
    for body in [&b"\xff\xfeh\0\xe9\0"[..], b"\xfe\xff\0h\0\xe9"] {
        assert_eq!(site.send(request("POST", "/text", &utf_16, body)).text(), "hé");
    }
    let form = b"--x\r\nContent-Disposition: form-data;\r\n name=\"a\"\r\n\r\nvalue\r\n--x\r\nContent-Disposition: form-data;\
                 \r\n\tname=\"f\";\r\n filename=\"b.txt\"\r\n\r\nfile\r\n--x--\r\n";
    let multipart = [("Content-Type", "multipart/form-data; boundary=x")];
    assert_eq!(site.send(request("POST", "/form", &multipart, form)).text(), "value b.txt");
}

#[test]
fn a_program_may_take_its_time_to_say_what_it_answers_to() {
    let program = |first: &str, then: &str| {
        format!(
            "#!/bin/sh\n{first}\nwhile read -r line; do id=${{line#*:}}; echo \"{{\\\"id\\\":${{id%%,*}},\\\"body\\\":\\\"all\\\"}}\"; \
             {then} done\n"
        )
    };
    let plan = |program: &str| Site::plan("").program("app", program).app("./app").workers(0).behind_warm();
    let routes = r#"echo '{"do":"routes","routes":["GET /only"],"channels":["/live"]}'"#;
    // An empty line, and a list that it prints, are not answers; nor do they end its time.
    let late = program(&format!("sleep 1; echo; echo '[1]'; {routes}"), "");
    let site = plan(&late).start();
    wait::until("its routes count", || site.get("/other").status == 404);
    assert_eq!(site.get("/only").text(), "all");
    assert_eq!(site.websocket("/live").response().status, 101);
    assert!(!site.log().text().contains("EOF"), "an empty line is no warning");
    site.log().expect("a line that is no JSON object of ours");

    let site = plan(&program("", &format!("{routes};"))).start();
    assert_eq!(site.get("/other").text(), "all");
    site.log().expect("a routes line is left out: it counts once, before the program's first answer");
    assert_eq!(site.get("/other").text(), "all");
}

#[test]
fn a_script_called_as_the_package_is_told_so() {
    let plan = Site::plan("").file("kennel.py", "import kennel\napp = kennel.App()\n").app("kennel.py");
    let mut site = plan.spawn();
    site.log().expect("a script cannot be called `kennel.py`");
    wait::until("it gives up", || site.exit_code().is_some());
}
