//! `trusted_proxies`: scripts see the client that a proxy names, in each language and interface, through Kennel's own
//! Mongrel2, which does not overwrite what the proxy says.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;
use tests::client::{Client, Response, request};
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::metrics;
use tests::site::{Plan, Site};

const TRUSTED: &str = "trusted_proxies = [\"127.0.0.1\"]\n";

const FORWARDED: [(&str, &str); 3] = [
    ("X-Forwarded-For", "6.6.6.6, 203.0.113.7"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "example.org"),
];

fn ask(site: &Site, path: &str, headers: &[(&str, &str)]) -> Response {
    site.send(request("GET", path, headers, b""))
}

/// A site whose own Mongrel2 is in front.
fn plan(language: Language) -> Plan {
    language.plan(Scripts {
        lua: r#"
app:get("/who", function(req) return req.remote_addr .. " " .. req.url .. " " .. (req.headers["x-forwarded-for"] or "-") end)
app:channel("/ws", { open = function(conn) conn:send(conn.request.remote_addr .. " " .. conn.request.scheme) end })
"#,
        python: r#"
            @app.get("/who")
            def who(req): return f"{req.remote_addr} {req.url} {req.headers.get('x-forwarded-for', '-')}"
            @app.channel("/ws")
            class Who:
                def open(self, conn): conn.send(f"{conn.request.remote_addr} {conn.request.scheme}")
        "#,
    })
}

in_each_language!(a_script_sees_the_client_that_a_trusted_proxy_names);
fn a_script_sees_the_client_that_a_trusted_proxy_names(language: Language) {
    let site = plan(language).config(TRUSTED).start();
    assert_eq!(
        ask(&site, "/who", &FORWARDED).text(),
        "203.0.113.7 https://example.org/who 6.6.6.6, 203.0.113.7"
    );
    let one = [("Forwarded", "for=\"[2001:db8::7]:4711\";proto=https;host=example.org")];
    assert!(ask(&site, "/who", &one).text().starts_with("2001:db8::7 https://example.org/who "));
    // A page of that host may connect, as if it had asked Mongrel2 itself.
    let page = [&FORWARDED[..], &[("Origin", "https://example.org")]].concat();
    let mut socket = site.websocket_with("/ws", &page);
    assert_eq!(socket.read_text(), "203.0.113.7 https");
}

in_each_language!(without_the_setting_a_client_names_nothing);
fn without_the_setting_a_client_names_nothing(language: Language) {
    for config in ["", "trusted_proxies = [\"10.0.0.0/8\"]\n"] {
        let site = plan(language).config(config).start();
        let text = ask(&site, "/who", &FORWARDED).text();
        assert!(text.starts_with("127.0.0.1 http://localhost") && text.ends_with("/who 127.0.0.1"), "{text}");
    }
}

#[test]
fn asgi_and_wsgi_applications_see_it() {
    let asgi = "async def app(scope, receive, send):\n    if scope['type'] == 'lifespan':\n        return\n    \
                host = dict(scope['headers'])[b'host'].decode()\n    \
                body = f\"{scope['client'][0]} {scope['scheme']} {host}\".encode()\n    \
                await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n    \
                await send({'type': 'http.response.body', 'body': body})\n";
    let wsgi = "def app(environ, start_response):\n    start_response('200 OK', [])\n    \
                names = ('REMOTE_ADDR', 'wsgi.url_scheme', 'HTTP_HOST', 'SERVER_NAME')\n    \
                return [' '.join(environ[name] for name in names).encode()]\n";
    for (source, expected) in
        [(asgi, "203.0.113.7 https example.org"), (wsgi, "203.0.113.7 https example.org example.org")]
    {
        let site = Site::plan_module(source).config(TRUSTED).start();
        assert_eq!(ask(&site, "/", &FORWARDED).text(), expected);
    }
}

#[test]
fn cgi_scripts_and_programs_see_it() {
    let show = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n%s %s %s' \"$REMOTE_ADDR\" \"$HTTPS\" \"$SERVER_NAME\"\n";
    let config = format!("{TRUSTED}[cgi]\nenabled = true\n");
    let site = Site::plan("").program("public/cgi-bin/show", show).config(&config).start();
    assert_eq!(ask(&site, "/cgi-bin/show", &FORWARDED).text(), "203.0.113.7 on example.org");
    let echo = "#!/bin/sh\nwhile read -r line; do\n  field() { printf %s \"$line\" | sed \"s/.*\\\"$1\\\":\\\"*\\([^,\\\"]*\\).*/\\1/\"; }\n  \
                printf '{\"id\":%s,\"body\":\"%s %s\"}\\n' \"$(field id)\" \"$(field remote_addr)\" \"$(field scheme)\"\ndone\n";
    let site = Site::plan("").program("app", echo).app("./app").workers(0).config(TRUSTED).start();
    assert_eq!(ask(&site, "/", &FORWARDED).text(), "203.0.113.7 https");
}

#[test]
fn sessions_and_conversations_are_bounded_for_each_client() {
    let limits = "[limits]\nsessions_per_address = 2\nconversations_per_address = 2\n";
    let site = Site::plan(
        "app:channel('/chat', {})\napp:conversation('/order', function() kennel.prompt('how many?') return 'thanks' end)",
    )
    .workers(1)
    .config(&format!("{TRUSTED}{limits}"))
    .start();
    let open = |from: &str| {
        site.send(request("GET", "/chat", &[("X-Forwarded-For", from), ("Accept", "text/event-stream")], b""))
            .status
    };
    let mut streams: Vec<_> = (0..2)
        .map(|_| {
            let mut client = site.client();
            let headers = [("X-Forwarded-For", "203.0.113.7"), ("Accept", "text/event-stream")];
            client.send(request("GET", "/chat", &headers, b""));
            assert_eq!(client.read_head().status, 200);
            client
        })
        .collect();
    assert_eq!(open("203.0.113.7"), 503);
    site.log().expect("2 sessions of this address are open: a new one gets 503: limits.sessions_per_address");
    let mut other = site.client();
    other.send(request(
        "GET",
        "/chat",
        &[("X-Forwarded-For", "203.0.113.8"), ("Accept", "text/event-stream")],
        b"",
    ));
    assert_eq!(other.read_head().status, 200);
    streams.clear();

    let begin = |from: &str| {
        let answer = site.send(request("GET", "/order", &[("X-Forwarded-For", from)], b""));
        let cookie =
            answer.header("set-cookie").expect("the visitor's cookie").split(';').next().unwrap_or_default();
        (answer.header("location").expect("the address of the page").to_owned(), cookie.to_owned())
    };
    let status =
        |(at, cookie): &(String, String)| site.send(request("GET", at, &[("Cookie", cookie)], b"")).status;
    let other = begin("203.0.113.8");
    let mine: Vec<_> = (0..3).map(|_| begin("203.0.113.7")).collect();
    assert_eq!([status(&other), status(&mine[0]), status(&mine[1]), status(&mine[2])], [200, 410, 200, 200]);
    site.log().expect("more than limits.conversations_per_address (2) wait for 203.0.113.7");
}

#[test]
fn clients_that_do_not_ask_keep_nobody_from_the_metrics() {
    let site = Site::plan("").config("[metrics]\nlisten = \"127.0.0.1:0\"\n").start();
    let port = metrics::port(&site);
    let mut idle: Vec<_> =
        (0..100).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("a connection")).collect();
    for client in &mut idle {
        let _ = client.write_all(b"GET /metrics HTTP/1.1\r\n");
    }
    // A second for each 32 of them; it was five.
    let mut client = Client::connect(port);
    client.set_patience(Duration::from_secs(8));
    assert_eq!(client.get("/metrics").status, 200);
}

#[test]
fn a_proxy_that_is_not_an_address_is_told_with_its_place() {
    let site = Site::plan("").config("trusted_proxies = [\"127.0.0.1\", \"localhost\"]\n");
    let told = tests::command::run(site.folder().path(), ["check"]);
    assert_eq!(told.code, Some(2));
    let text = "kennel.toml:1:19: `localhost` is not an IP address or a network; write `127.0.0.1`, `10.0.0.0/8` or \
                `fd00::/8`";
    assert!(told.stderr.contains(text), "{}", told.stderr);
}
