use serde_json::json;
use tests::client::request;
use tests::in_each_language;
use tests::language::{Language, Scripts};

in_each_language!(the_fields_say_what_the_server_says);
fn the_fields_say_what_the_server_says(language: Language) {
    let site = language.site(
        Scripts { lua: r#"
        app:route({ "GET", "POST" }, "/a/{name}", function(req, name)
          return { method = req.method, path = req.path, query = req.query, params = req.params, name = name,
            remote_addr = req.remote_addr, scheme = req.scheme, host = req.host, url = req.url, version = req.version,
            body = req.body, text = req.text, unknown = req.nonsense == nil }
        end)
        "#, python: r#"
        @app.route(["GET", "POST"], "/a/{name}")
        def fields(req, name):
            return {"method": req.method, "path": req.path, "query": req.query, "params": req.params, "name": name,
                "remote_addr": req.remote_addr, "scheme": req.scheme, "host": req.host, "url": req.url, "version": req.version,
                "body": req.body.decode(), "text": req.text, "unknown": not hasattr(req, "nonsense")}
        "# },
    );
    let port = site.port();
    let host = format!("example.org:{port}");
    let text = format!("POST /a/x%20y?q=1&r HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\n\r\nbody");
    let expected = json!({
        "method": "POST", "path": "/a/x%20y", "query": "q=1&r", "params": { "name": "x y" }, "name": "x y",
        "remote_addr": "127.0.0.1", "scheme": "http", "host": host,
        "url": format!("http://{host}/a/x%20y?q=1&r"), "version": "HTTP/1.1", "body": "body", "text": "body",
        "unknown": true,
    });
    assert_eq!(site.send(text).json(), expected);

    let plain = site.send("GET /a/b HTTP/1.0\r\n\r\n").json();
    assert_eq!(plain["query"], "");
    assert_eq!(plain["version"], "HTTP/1.0");
    assert_eq!(plain["body"], "");
}

in_each_language!(the_client_cannot_write_the_servers_fields);
fn the_client_cannot_write_the_servers_fields(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        app:get("/", function(req)
          local names = {}
          for name in pairs(req.headers) do names[#names + 1] = name end
          return { remote = req.remote_addr, method = req.method, path = req.path, scheme = req.scheme,
            mine = req.headers["REMOTE_ADDR"], names = kennel.array(names) }
        end)
        "#,
        python: r#"
        @app.get("/")
        async def fields(req):
            return {"remote": req.remote_addr, "method": req.method, "path": req.path, "scheme": req.scheme,
                "mine": req.headers["REMOTE_ADDR"], "names": list(req.headers)}
        "#,
    });
    let headers = [("REMOTE_ADDR", "6.6.6.6"), ("METHOD", "PUT"), ("PATH", "/x"), ("URL_SCHEME", "https")];
    let seen = site.send(request("GET", "/", &headers, b"")).json();
    assert_eq!(seen["remote"], "127.0.0.1");
    assert_eq!(seen["method"], "GET");
    assert_eq!(seen["path"], "/");
    assert_eq!(seen["scheme"], "http");
    // The client's own header of that name is a header like any other.
    assert_eq!(seen["mine"], "6.6.6.6");
    for name in seen["names"].as_array().expect("a list") {
        let name = name.as_str().expect("a text");
        assert_eq!(name, name.to_lowercase(), "the server's own names are not among the headers");
    }
}

in_each_language!(headers_are_found_in_any_case_listed_in_full_and_walked_in_order);
fn headers_are_found_in_any_case_listed_in_full_and_walked_in_order(language: Language) {
    let site = language.site(
        Scripts { lua: r#"
        app:get("/", function(req)
          local walked = {}
          for name, value in pairs(req.headers) do
            if name:sub(1, 2) == "x-" and name ~= "x-forwarded-for" and name ~= "x-high" then walked[#walked + 1] = name .. "=" .. value end
          end
          local by_method = 0
          for _ in req.headers:pairs() do by_method = by_method + 1 end
          return { lower = req.headers["x-one"], upper = req.headers["X-ONE"], all = req.headers:all("X-Many"),
            first = req.headers["x-many"], none = req.headers["x-none"] == nil,
            no_list = kennel.array(req.headers:all("x-none")), walked = walked, count = by_method > 3,
            blank = req.headers["x-blank"], high = #req.headers["x-high"] }
        end)
        app:get("/write", function(req) req.headers["a"] = "b" return "x" end)
        "#, python: r#"
        @app.get("/")
        def headers(req):
            walked = [f"{name}={value}" for name, value in req.headers.items()
                if name.startswith("x-") and name not in ("x-forwarded-for", "x-high")]
            return {"lower": req.headers["x-one"], "upper": req.headers["X-ONE"], "all": req.headers.getall("X-Many"),
                "first": req.headers["x-many"], "none": req.headers.get("x-none") is None and "x-none" not in req.headers,
                "no_list": req.headers.getall("x-none"), "walked": walked, "count": len(req.headers) > 3,
                "blank": req.headers["x-blank"], "high": len(req.headers["x-high"])}
        @app.get("/write")
        def write(req):
            req.headers["a"] = "b"
            return "x"
        "# },
    );
    let mut bytes =
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-One: 1\r\nX-Many: a\r\nX-Many: b\r\nX-Many: c\r\n".to_vec();
    bytes.extend_from_slice(b"X-Blank:\r\nX-High: caf\xe9\r\n\r\n");
    let seen = site.send(bytes).json();
    assert_eq!((&seen["lower"], &seen["upper"]), (&json!("1"), &json!("1")));
    assert_eq!(seen["all"], json!(["a", "b", "c"]));
    assert_eq!(seen["first"], "a");
    assert_eq!(seen["none"], true);
    assert_eq!(seen["no_list"], json!([]));
    assert_eq!(seen["count"], true);
    assert_eq!(seen["blank"], "");
    assert_eq!(seen["high"], 4, "bytes stay bytes");
    let mut walked: Vec<_> =
        seen["walked"].as_array().expect("a list").iter().map(|v| v.as_str().unwrap_or("?")).collect();
    walked.sort_unstable();
    assert_eq!(walked, ["x-blank=", "x-many=a", "x-many=b", "x-many=c", "x-one=1"]);
    assert_eq!(site.get("/write").status, 500);
}

in_each_language!(query_arguments_are_decoded_first_value_by_name_and_all_on_demand);
fn query_arguments_are_decoded_first_value_by_name_and_all_on_demand(language: Language) {
    let site = language.site(
        Scripts { lua: r#"
        app:get("/", function(req)
          local walked = {}
          for name, value in pairs(req.args) do walked[#walked + 1] = { name, value } end
          return { a = req.args.a, all = req.args:all("a"), blank = req.args.blank, none = req.args.zzz == nil,
            plus = req.args.plus, utf8 = req.args["caf\195\169"], walked = kennel.array(walked) }
        end)
        "#, python: r#"
        @app.get("/")
        async def arguments(req):
            walked = [[name, value] for name, value in req.args.items()]
            get = req.args.get
            return {"a": get("a"), "all": req.args.getall("a"), "blank": get("blank"), "none": get("zzz") is None,
                "plus": get("plus"), "utf8": get("café"), "walked": walked}
        "# },
    );
    let seen = site.get("/?a=1&blank=&a=2%263&flag&plus=x+y%2Bz&caf%C3%A9=%E2%82%AC").json();
    assert_eq!(seen["a"], "1");
    assert_eq!(seen["all"], json!(["1", "2&3"]));
    assert_eq!(seen["blank"], "");
    assert_eq!(seen["none"], true);
    assert_eq!(seen["plus"], "x y+z");
    assert_eq!(seen["utf8"], "€");
    let expected =
        json!([["a", "1"], ["blank", ""], ["a", "2&3"], ["flag", ""], ["plus", "x y+z"], ["café", "€"]]);
    assert_eq!(seen["walked"], expected);
    assert_eq!(site.get("/").json()["walked"], json!([]));
}

in_each_language!(cookies_come_by_name_the_first_of_a_name_wins);
fn cookies_come_by_name_the_first_of_a_name_wins(language: Language) {
    let site = language.site(
        Scripts { lua: r#"app:get("/", function(req) return { a = req.cookies.a, b = req.cookies.b, none = req.cookies.c == nil } end)"#, python: r#"@app.get("/")
def cookies(req):
    found = {name: req.cookies[name] for name in ("a", "b") if name in req.cookies}
    return {**found, "none": req.cookies.get("c") is None}"# },
    );
    let seen = site.send(request("GET", "/", &[("Cookie", "a=1; b=\"two\"; a=3")], b"")).json();
    assert_eq!((&seen["a"], &seen["none"]), (&json!("1"), &json!(true)));
    assert!(seen["b"] == "two" || seen["b"] == "\"two\"", "{seen}");
    assert_eq!(site.get("/").json(), json!({ "none": true }));
}

in_each_language!(a_body_that_is_not_json_is_answered_with_400);
fn a_body_that_is_not_json_is_answered_with_400(language: Language) {
    let site = language.site(Scripts {
        lua: r#"app:post("/", function(req) local body = req:json() return { got = body.a } end)"#,
        python: r#"@app.post("/")
async def got(req):
    body = req.json()
    return {"got": body["a"]}"#,
    });
    let post = |body: &str| {
        site.send(request("POST", "/", &[("Content-Type", "application/json")], body.as_bytes()))
    };
    assert_eq!(post(r#"{"a":[1]}"#).json(), json!({ "got": [1] }));
    for bad in ["{", "", "{\"a\":}", "\u{0}"] {
        let response = post(bad);
        assert_eq!(response.status, 400, "{bad:?}");
        assert!(response.text().contains("JSON"), "{bad:?}: {}", response.text());
    }
    assert_eq!(site.log().count("failed"), 0, "a client's mistake is not the script's");
}

in_each_language!(text_follows_the_charset_and_bad_bytes_are_a_400_when_asked_for);
fn text_follows_the_charset_and_bad_bytes_are_a_400_when_asked_for(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        app:post("/text", function(req) return req.text end)
        app:post("/body", function(req) return { size = #req.body } end)
        "#,
        python: r#"
        @app.post("/text")
        def text(req): return req.text
        @app.post("/body")
        async def body(req): return {"size": len(req.body)}
        "#,
    });
    let post = |path: &str, content_type: &str, body: &[u8]| {
        site.send(request("POST", path, &[("Content-Type", content_type)], body))
    };
    assert_eq!(post("/text", "text/plain", "é".as_bytes()).text(), "é");
    assert_eq!(post("/text", "text/plain; charset=iso-8859-1", b"\xe9").text(), "é");
    assert_eq!(post("/text", "text/plain; charset=\"utf-16le\"", b"h\0i\0").text(), "hi");
    assert_eq!(post("/text", "text/plain", b"\xe9").status, 400);
    assert_eq!(post("/text", "text/plain; charset=klingon", b"x").status, 400);
    // Who does not ask for text is not bothered.
    assert_eq!(post("/body", "text/plain", b"\xe9\0\xff").json(), json!({ "size": 3 }));
}

in_each_language!(the_raw_message_is_there_for_those_who_want_it);
fn the_raw_message_is_there_for_those_who_want_it(language: Language) {
    let site = language.site(
        Scripts { lua: r#"
        app:post("/raw", function(req)
          local raw = req.mongrel2
          return { sender = raw.sender, id = raw.conn_id > 0, path = raw.path, method = raw.headers.METHOD,
            host = raw.headers.host, body = raw.body, conn = req.conn.id ~= nil, transport = req.conn.transport }
        end)
        "#, python: r#"
        @app.post("/raw")
        def raw(req):
            raw = req.mongrel2
            return {"sender": raw.sender, "id": raw.conn_id > 0, "path": raw.path, "method": raw.headers["METHOD"],
                "host": raw.headers["host"], "body": raw.body.decode(), "conn": req.conn.id is not None,
                "transport": req.conn.transport}
        "# },
    );
    let seen = site.send(request("POST", "/raw", &[], b"abc")).json();
    let expected = json!({
        "sender": "warmsite-0", "id": true, "path": "/raw", "method": "POST", "host": "localhost", "body": "abc",
        "conn": true, "transport": "http",
    });
    assert_eq!(seen, expected);
}

in_each_language!(a_connection_keeps_its_id_and_no_two_have_the_same);
fn a_connection_keeps_its_id_and_no_two_have_the_same(language: Language) {
    let site = language.site(Scripts {
        lua: r#"app:get("/", function(req) return req.conn.id end)"#,
        python: r#"@app.get("/")
def id_of(req): return req.conn.id"#,
    });
    let (mut first, mut second) = (site.client(), site.client());
    let (a, b) = (first.get("/").text(), second.get("/").text());
    assert_ne!(a, b);
    assert_eq!(first.get("/").text(), a);
    assert_eq!(second.get("/").text(), b);
}
