use serde_json::json;
use tests::client::request;
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::site::Site;

in_each_language!(each_kind_of_value_becomes_its_answer);
fn each_kind_of_value_becomes_its_answer(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        app:get("/string", function() return "caf\195\169" end)
        app:get("/table", function() return { id = 7, name = "x", nested = { 1, 2, { a = true } } } end)
        app:get("/list", function() return { "a", "b" } end)
        app:get("/empty", function() return {} end)
        app:get("/array", function() return kennel.array({}) end)
        app:get("/array-inside", function() return { list = kennel.array(), null = kennel.null } end)
        app:get("/html", function() return kennel.html("<p>hi</p>") end)
        app:get("/json", function() return kennel.json("just a string") end)
        app:get("/text", function() return kennel.text("plain") end)
        app:get("/nothing", function() return kennel.no_content() end)
        app:get("/empty-string", function() return "" end)
        "#,
        python: r#"
        @app.get("/string")
        def string(req): return "café"
        @app.get("/table")
        async def table(req): return {"id": 7, "name": "x", "nested": [1, 2, {"a": True}]}
        @app.get("/list")
        def list_of_texts(req): return ["a", "b"]
        @app.get("/empty")
        def empty(req): return {}
        @app.get("/array")
        async def array(req): return []
        @app.get("/array-inside")
        def array_inside(req): return {"list": [], "null": None}
        @app.get("/html")
        def html(req): return kennel.html("<p>hi</p>")
        @app.get("/json")
        async def json(req): return kennel.json("just a string")
        @app.get("/text")
        def text(req): return kennel.text("plain")
        @app.get("/nothing")
        def nothing(req): return kennel.no_content()
        @app.get("/empty-string")
        def empty_string(req): return ""
        "#,
    });
    for (path, content_type, body) in [
        ("/string", "text/plain; charset=utf-8", "café"),
        ("/table", "application/json", r#"{"id":7,"name":"x","nested":[1,2,{"a":true}]}"#),
        ("/list", "application/json", r#"["a","b"]"#),
        ("/empty", "application/json", "{}"),
        ("/array", "application/json", "[]"),
        ("/array-inside", "application/json", r#"{"list":[],"null":null}"#),
        ("/html", "text/html; charset=utf-8", "<p>hi</p>"),
        ("/json", "application/json", r#""just a string""#),
        ("/text", "text/plain; charset=utf-8", "plain"),
        ("/empty-string", "text/plain; charset=utf-8", ""),
    ] {
        let response = site.get(path);
        assert_eq!((response.status, response.reason.as_str()), (200, "OK"), "{path}");
        assert_eq!(response.header("content-type"), Some(content_type), "{path}");
        assert_eq!(response.headers_named("content-type").len(), 1, "{path}");
        assert_eq!(response.header("content-length"), Some(&*body.len().to_string()), "{path}");
        assert_eq!(response.text(), body, "{path}");
        assert!(response.header("date").is_some_and(|date| date.ends_with(" GMT")), "{path}");
    }
    let response = site.get("/nothing");
    assert_eq!((response.status, response.header("content-length")), (204, None));
}

in_each_language!(a_redirect_has_a_location_and_303_unless_told_otherwise);
fn a_redirect_has_a_location_and_303_unless_told_otherwise(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        app:get("/303", function() return kennel.redirect("/there?x=1") end)
        app:get("/308", function() return kennel.redirect("https://example.org/", 308) end)
        app:get("/wrong", function() return kennel.redirect("/", 200) end)
        app:get("/split", function()
          local made = kennel.redirect("/\r\nset-cookie: a=b")
          return made
        end)
        "#,
        python: r#"
        @app.get("/303")
        def see_other(req): return kennel.redirect("/there?x=1")
        @app.get("/308")
        async def permanent(req): return kennel.redirect("https://example.org/", 308)
        @app.get("/wrong")
        def wrong(req): return kennel.redirect("/", 200)
        @app.get("/split")
        async def split(req): return kennel.redirect("/\r\nset-cookie: a=b")
        "#,
    });
    let response = site.get("/303");
    assert_eq!((response.status, response.header("location")), (303, Some("/there?x=1")));
    let response = site.get("/308");
    assert_eq!((response.status, response.header("location")), (308, Some("https://example.org/")));
    assert_eq!(site.get("/wrong").status, 500);
    let response = site.get("/split");
    assert_eq!((response.status, response.header("set-cookie")), (500, None));
    site.log().expect(&format!("GET /split failed: {}: ", language.place(7, 10)));
}

in_each_language!(a_response_has_the_status_headers_and_body_that_the_script_gives);
fn a_response_has_the_status_headers_and_body_that_the_script_gives(language: Language) {
    let site = language.site(
        Scripts { lua: r#"
        app:get("/full", function()
          return kennel.response("gone", { status = 410, headers = { ["X-One"] = "1", ["x-list"] = { "a", "b" },
            ["content-type"] = "text/x-mine", ["x-number"] = 7 } })
        end)
        app:get("/table", function() return kennel.response({ a = 1 }, { status = 201 }) end)
        app:get("/body-only", function() return kennel.response("x") end)
        app:get("/no-body", function() return kennel.response(nil, { status = 202 }) end)
        app:get("/odd-status", function() return kennel.response("x", { status = 799 }) end)
        app:get("/typed", function() return kennel.html("x", { status = 201, headers = { ["x-a"] = "b" } }) end)
        app:get("/kept", function()
          local made = kennel.text("x")
          made.headers["X-Later"] = "yes"
          made.status = 203
          made.body = "changed"
          return made
        end)
        "#, python: r#"
        @app.get("/full")
        def full(req):
            headers = {"X-One": "1", "x-list": ["a", "b"], "content-type": "text/x-mine", "x-number": 7}
            return kennel.response("gone", status=410, headers=headers)
        @app.get("/table")
        async def table(req): return kennel.response({"a": 1}, status=201)
        @app.get("/body-only")
        def body_only(req): return kennel.response("x")
        @app.get("/no-body")
        def no_body(req): return kennel.response(None, status=202)
        @app.get("/odd-status")
        def odd_status(req): return kennel.response("x", status=799)
        @app.get("/typed")
        def typed(req): return kennel.html("x", status=201, headers={"x-a": "b"})
        @app.get("/kept")
        async def kept(req):
            made = kennel.text("x")
            made.headers["X-Later"] = "yes"
            made.status = 203
            made.body = "changed"
            return made
        "# },
    );
    let response = site.get("/full");
    assert_eq!((response.status, response.reason.as_str()), (410, "Gone"));
    assert_eq!(response.header("x-one"), Some("1"));
    assert_eq!(response.headers_named("x-list"), ["a", "b"]);
    assert_eq!(response.headers_named("content-type"), ["text/x-mine"]);
    assert_eq!(response.header("x-number"), Some("7"));
    assert_eq!(response.text(), "gone");
    let response = site.get("/table");
    assert_eq!((response.status, response.json()), (201, json!({ "a": 1 })));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(site.get("/body-only").header("content-type"), Some("text/plain; charset=utf-8"));
    let response = site.get("/no-body");
    assert_eq!((response.status, response.header("content-length")), (202, Some("0")));
    assert_eq!(site.get("/odd-status").status, 799);
    let response = site.get("/typed");
    assert_eq!((response.status, response.header("x-a")), (201, Some("b")));
    let response = site.get("/kept");
    assert_eq!((response.status, response.header("x-later")), (203, Some("yes")));
    assert_eq!(response.text(), "changed");
}

in_each_language!(several_cookies_are_several_set_cookie_lines);
fn several_cookies_are_several_set_cookie_lines(language: Language) {
    let site = language.site(
        Scripts { lua: r#"
        app:get("/", function()
          return kennel.response("x", { cookies = {
            a = "1", b = { value = "2", max_age = 60, path = "/b", secure = true, http_only = false, same_site = "Strict" },
          } })
        end)
        app:get("/by-header", function()
          return kennel.response("x", { headers = { ["Set-Cookie"] = { "a=1", "b=2" } }, cookies = { c = "3" } })
        end)
        app:get("/bad", function() return kennel.response("x", { cookies = { a = "1\r\nx: y" } }) end)
        "#, python: r#"
        @app.get("/")
        def two(req):
            second = {"value": "2", "max_age": 60, "path": "/b", "secure": True, "http_only": False, "same_site": "Strict"}
            return kennel.response("x", cookies={"a": "1", "b": second})
        @app.get("/by-header")
        async def by_header(req):
            return kennel.response("x", headers={"Set-Cookie": ["a=1", "b=2"]}, cookies={"c": "3"})
        @app.get("/bad")
        def bad(req): return kennel.response("x", cookies={"a": "1\r\nx: y"})
        "# },
    );
    let cookies = site.get("/");
    let cookies = cookies.headers_named("set-cookie");
    assert_eq!(cookies.len(), 2, "{cookies:?}");
    assert!(cookies[0].starts_with("a=1; ") && cookies[0].contains("HttpOnly"), "{cookies:?}");
    assert!(cookies[0].contains("Path=/") && cookies[0].contains("SameSite=Lax"), "{cookies:?}");
    let second = cookies[1];
    assert!(second.starts_with("b=2; ") && !second.contains("HttpOnly"), "{second}");
    for part in ["Max-Age=60", "Path=/b", "Secure", "SameSite=Strict"] {
        assert!(second.contains(part), "{second}");
    }
    let response = site.get("/by-header");
    let all = response.headers_named("set-cookie");
    assert_eq!(all[..2], ["a=1", "b=2"]);
    assert!(all[2].starts_with("c=3"), "{all:?}");
    let response = site.get("/bad");
    assert_eq!((response.status, response.header("x")), (500, None));
}

in_each_language!(json_is_written_and_read_back_without_loss);
fn json_is_written_and_read_back_without_loss(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        app:post("/echo", function(req) return kennel.json(req:json()) end)
        app:get("/function", function() return { a = { b = print } } end)
        app:get("/mixed", function() return { 1, x = 2 } end)
        "#,
        python: r#"
        @app.post("/echo")
        def echo(req): return kennel.json(req.json())
        @app.get("/function")
        async def function(req): return {"a": {"b": print}}
        @app.get("/mixed")
        def mixed(req): return {"x": 1, (1, 2): 2}
        "#,
    });
    let text = r#"{"b":[1,2.5,null,[],"é😀\"\\"],"c":{"d":false},"empty":{}}"#;
    let response = site.send(request("POST", "/echo", &[], text.as_bytes()));
    assert_eq!(response.json(), serde_json::from_str::<serde_json::Value>(text).expect("JSON"));
    assert_eq!(site.get("/function").status, 500);
    site.log().expect("a.b");
    assert_eq!(site.get("/mixed").status, 500);
}

#[test]
fn lua_scripts_write_and_read_json_by_kennels_own_functions() {
    let site = Site::lua(
        r#"
        app:get("/back", function()
          local value = kennel.json_decode('{"n":null,"list":[],"big":12345678901,"float":0.5}')
          assert(value.n == kennel.null and #value.list == 0)
          return kennel.json_encode(value)
        end)
        app:get("/not-json", function() return { pcall(kennel.json_decode, "{") } end)
        "#,
    );
    assert_eq!(
        site.get("/back").json(),
        json!({ "n": null, "list": [], "big": 12_345_678_901_u64, "float": 0.5 })
    );
    let refused = site.get("/not-json").json();
    assert_eq!(refused[0], false);
    assert!(refused[1].as_str().unwrap().contains("not JSON"), "{refused}");
}

#[test]
fn bytes_of_python_are_an_answer_of_bytes() {
    let site = Site::python(
        r#"
        @app.get("/bytes")
        def some(req): return b"\0\xff"
        @app.get("/array")
        async def array(req): return bytearray(b"ab")
        @app.get("/view")
        def view(req): return memoryview(b"abc")[1:]
        @app.get("/typed")
        def typed(req): return kennel.response(b"x", headers={"Content-Type": "image/x-none"})
        "#,
    )
    .behind_warm()
    .start();
    for (path, body) in [("/bytes", &b"\0\xff"[..]), ("/array", b"ab"), ("/view", b"bc")] {
        let response = site.get(path);
        assert_eq!((response.status, &response.body[..]), (200, body), "{path}");
        assert_eq!(response.headers_named("content-type"), ["application/octet-stream"], "{path}");
    }
    assert_eq!(site.get("/typed").headers_named("content-type"), ["image/x-none"]);
}

in_each_language!(a_script_may_close_the_connection_by_its_header);
fn a_script_may_close_the_connection_by_its_header(language: Language) {
    let site = language.site(
        Scripts { lua: r#"app:get("/", function() return kennel.response("bye", { headers = { Connection = "close" } }) end)"#, python: r#"@app.get("/")
def bye(req): return kennel.response("bye", headers={"Connection": "close"})"# },
    );
    let mut client = site.client();
    let response = client.get("/");
    assert_eq!((response.header("connection"), response.text().as_str()), (Some("close"), "bye"));
    assert_eq!(client.read_to_end(), b"");
}

in_each_language!(a_script_cannot_write_a_second_length_or_frame_the_body_itself);
fn a_script_cannot_write_a_second_length_or_frame_the_body_itself(language: Language) {
    let site = language.site(
        Scripts { lua: r#"
        app:get("/length", function() return kennel.response("four", { headers = { ["Content-Length"] = "400" } }) end)
        app:get("/chunked", function() return kennel.response("four", { headers = { ["Transfer-Encoding"] = "chunked" } }) end)
        app:get("/fine", function() return "fine" end)
        "#, python: r#"
        @app.get("/length")
        def length(req): return kennel.response("four", headers={"Content-Length": "400"})
        @app.get("/chunked")
        async def chunked(req): return kennel.response("four", headers={"Transfer-Encoding": "chunked"})
        @app.get("/fine")
        def fine(req): return "fine"
        "# },
    );
    for path in ["/length", "/chunked"] {
        let mut client = site.client();
        let response = client.get(path);
        assert!(response.headers_named("content-length").len() <= 1, "{path}: {response:?}");
        assert_eq!(response.header("transfer-encoding"), None, "{path}: {response:?}");
        // The next response begins where this one ends.
        assert_eq!(client.get("/fine").text(), "fine", "{path}");
    }
}

in_each_language!(a_date_that_the_script_gives_is_the_only_one);
fn a_date_that_the_script_gives_is_the_only_one(language: Language) {
    let site = language.site(
        Scripts { lua: r#"app:get("/", function() return kennel.response("x", { headers = { Date = "Sun, 06 Nov 1994 08:49:37 GMT" } }) end)"#, python: r#"@app.get("/")
def dated(req): return kennel.response("x", headers={"Date": "Sun, 06 Nov 1994 08:49:37 GMT"})"# },
    );
    assert_eq!(site.get("/").headers_named("date"), ["Sun, 06 Nov 1994 08:49:37 GMT"]);
}
