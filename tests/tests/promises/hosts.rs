//! A site that says its hosts is asked by no other name, through its own Mongrel2 and another one.

use tests::client::{Client, Response};
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::site::Site;

const HOSTS: &str = "hosts = [\"example.com\", \"*.example.com\"]\n";

fn ask(site: &Site, host: &str, path: &str, more: &str) -> Response {
    let mut client = Client::connect(site.port());
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"));
    client.read()
}

fn handshake(host: &str) -> String {
    format!(
        "Origin: http://{host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
}

in_each_language!(a_site_with_hosts_answers_to_these_alone);
fn a_site_with_hosts_answers_to_these_alone(language: Language) {
    let body = Scripts {
        lua: r#"
app:get("/", function(req) return req.url end)
app:channel("/ws", { message = function() end })
"#,
        python: r#"
            @app.get("/")
            def root(req): return req.url
            @app.channel("/ws")
            class Nothing:
                def message(self, conn, text): pass
        "#,
    };
    let config = format!("{HOSTS}[metrics]\nlisten = \"127.0.0.1:0\"\n");
    let site = language.plan(body).config(&config).start();
    for host in ["example.com", "Shop.example.com:6767"] {
        assert_eq!(ask(&site, host, "/", "").text(), format!("http://{host}/"));
        assert_eq!(ask(&site, host, "/ws", &handshake(host)).status, 101);
    }
    for host in ["evil.example", "example.com.evil.example", "localhost", "127.0.0.1"] {
        let answer = ask(&site, host, "/", "");
        assert_eq!(answer.status, 421);
        assert!(answer.text().contains("does not answer to this host name"), "{}", answer.text());
        assert_eq!(ask(&site, host, "/ws", &handshake(host)).status, 421, "{host}");
    }
    let line = site.log().expect("a foreign Host");
    assert!(line.contains("`hosts`") && line.contains("path=\"/\""), "{line}");
    // Operators ask by no name of the site.
    let address = site.log().expect("metrics are at http://127.0.0.1:");
    let port = address.rsplit(':').next().and_then(|rest| rest.split('/').next()?.parse().ok());
    let mut scraper = Client::connect(port.expect("a port"));
    assert!(scraper.get("/metrics").text().contains("kennel_info"));
    assert_eq!(site.kennel(&["console", "-c", "workers"]).code, Some(0));
}

#[test]
fn hosts_of_the_command_line_go_before_those_of_the_file_and_check_shows_them() {
    let plan = Site::plan(r#"app:get("/", function() return "x" end)"#).config(HOSTS);
    let site = plan.argument("--only-host=other.example,192.0.2.7").start();
    for (host, status) in
        [("other.example", 200), ("192.0.2.7:80", 200), ("example.com", 421), ("a.other.example", 421)]
    {
        assert_eq!(ask(&site, host, "/", "").status, status, "{host}");
    }
    let said = site.kennel(&["check", "app.lua"]);
    assert!(said.stdout.contains("hosts are answered: example.com, *.example.com"), "{said:?}");
    let said = site.kennel(&["check", "--json", "app.lua"]);
    let report: serde_json::Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!(report["hosts"], serde_json::json!(["example.com", "*.example.com"]));
}
