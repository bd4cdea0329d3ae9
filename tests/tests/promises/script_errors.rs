use tests::client::request;
use tests::site::Site;

#[test]
fn a_script_that_raises_costs_one_500_and_the_log_says_where() {
    let site = Site::lua(
        r#"local function deep(x)
  error("no such thing: " .. x)
end
app:get("/raise", function(req)
  local value = deep("cake") -- not a tail call
  return value
end)
app:get("/index", function() local t; return t.x end)
app:get("/table", function() error({ code = 7 }) end)
app:get("/fine", function() return "fine" end)"#,
    );
    let mut client = site.client();
    let response = client.get("/raise?a=1");
    assert_eq!((response.status, response.text().as_str()), (500, "500 Internal Server Error\n"));
    site.log().expect("GET /raise?a=1 failed: app.lua:3: no such thing: cake");
    site.log().expect("app.lua:6: in function");
    assert_eq!(client.get("/index").status, 500);
    site.log().expect("app.lua:9: attempt to index");
    assert_eq!(client.get("/table").status, 500);
    site.log().expect(r#"{"code":7}"#);
    assert_eq!(client.get("/fine").text(), "fine", "the connection and the worker go on");
    assert_eq!(site.log().count("a worker died"), 0);
    assert_eq!(site.log().count("[kennel]"), 0, "the runtime's own lines are nobody's business");
}

#[test]
fn nothing_or_nonsense_returned_is_a_500_that_names_the_handler() {
    let site = Site::lua(
        r#"app:get("/nil/{x}", function() end)
app:get("/number", function() return 7 end)
app:get("/true", function() return true end)
app:get("/function", function() return print end)"#,
    );
    for path in ["/nil/1", "/number", "/true", "/function"] {
        assert_eq!(site.get(path).status, 500, "{path}");
    }
    site.log().expect("GET /nil/{x} (app.lua:2) returned nothing");
    site.log().expect("GET /number failed: a handler returns a string, a table or a response, not a number");
    site.log().expect("not a boolean");
}

#[test]
fn a_header_with_a_line_break_is_an_error_at_the_scripts_line() {
    let site = Site::lua(
        r#"local function answer(name, value)
  local made = kennel.response("x", { headers = { [name] = value } })
  return made
end
app:get("/crlf", function()
  local made = answer("x-a", "b\r\nset-cookie: evil=1")
  return made
end)
app:get("/lf", function() local made = answer("x-a", "b\nc") return made end)
app:get("/nul", function() local made = answer("x-a", "b\0c") return made end)
app:get("/list", function() local made = answer("x-a", { "b", "c\r" }) return made end)
app:get("/name", function() local made = answer("x\r\na", "b") return made end)
app:get("/blank", function() local made = answer("x a", "b") return made end)
app:get("/type", function() local made = answer("x-a", true) return made end)"#,
    );
    for (path, line) in
        [("/crlf", 7), ("/lf", 10), ("/nul", 11), ("/list", 12), ("/name", 13), ("/blank", 14), ("/type", 15)]
    {
        let response = site.get(path);
        assert_eq!(response.status, 500, "{path}");
        assert_eq!(response.header("set-cookie"), None);
        site.log().expect(&format!("GET {path} failed: app.lua:3: "));
        site.log().expect(&format!("app.lua:{line}: in function"));
    }
}

#[test]
fn a_mistake_in_a_tail_call_is_blamed_on_its_handler_and_not_on_kennel() {
    // Lua forgets who made a tail call; the handler's own place is what is left to say.
    let site = Site::lua(
        r#"app:get("/crlf", function()
  return kennel.response("x", { headers = { ["x-a"] = "b\r\nc" } })
end)
app:get("/redirect", function() return kennel.redirect("/", 200) end)"#,
    );
    for (path, line) in [("/crlf", 2), ("/redirect", 5)] {
        assert_eq!(site.get(path).status, 500, "{path}");
        let first = site.log().expect(&format!("GET {path} failed"));
        assert!(!first.contains("[kennel]"), "{first}");
        let text = site.log().text();
        assert!(text.contains(&format!("app.lua:{line}")), "{path}: no place in the script:\n{text}");
    }
}

#[test]
fn a_line_break_in_a_header_set_later_is_an_error_at_the_scripts_line_too() {
    let site = Site::lua(
        r#"app:get("/later", function(req)
  local made = kennel.text("x")
  made.headers["x-a"] = "b\r\nset-cookie: evil=1"
  return made
end)
app:after(function(req, res)
  if req.path == "/after" then
    res.headers["x-a"] = "b\nc"
  end
end)
app:get("/after", function() return "x" end)"#,
    );
    let response = site.get("/later");
    assert_eq!((response.status, response.header("set-cookie")), (500, None));
    site.log().expect("GET /later failed");
    assert_eq!(site.get("/after").status, 500);
    site.log().expect("GET /after failed");
    let text = site.log().text();
    assert!(text.contains("app.lua:4"), "the line in /later is not named");
    assert!(text.contains("app.lua:9"), "the line in the after hook is not named");
}

#[test]
fn a_raw_ampersand_or_markup_of_the_client_is_not_run_by_the_error_page() {
    let site = Site::plan(r#"app:get("/{x}", function(req, x) error("bad " .. x) end)"#).dev().start();
    let response = site.get("/%3Cscript%3Ealert(1)%3C%2Fscript%3E");
    assert_eq!(response.status, 500);
    assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(!response.text().contains("<script>"), "{}", response.text());
    assert!(response.text().contains("&lt;script&gt;"));
}

#[test]
fn a_stack_overflow_and_an_error_without_words_are_errors_like_others() {
    let site = Site::lua(
        r#"
        local function forever(n) return 1 + forever(n + 1) end
        app:get("/deep", function() return { forever(1) } end)
        app:get("/nil", function() error() end)
        app:get("/yield", function() coroutine.yield("nobody waits for this") return "x" end)
        app:get("/fine", function() return "fine" end)
        "#,
    );
    assert_eq!(site.get("/deep").status, 500);
    site.log().expect("stack overflow");
    assert_eq!(site.get("/nil").status, 500);
    assert_eq!(site.get("/yield").status, 500);
    site.log().expect("coroutine.yield");
    assert_eq!(site.get("/fine").text(), "fine");
    assert_eq!(site.send(request("POST", "/fine", &[], b"")).status, 405);
    assert_eq!(site.log().count("a worker died"), 0);
}
