use tests::client::request;
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::site::Site;

in_each_language!(a_script_that_raises_costs_one_500_and_the_log_says_where);
fn a_script_that_raises_costs_one_500_and_the_log_says_where(language: Language) {
    let site = language.site(Scripts {
        lua: r#"local function deep(x)
  error("no such thing: " .. x)
end
app:get("/raise", function(req)
  local value = deep("cake") -- not a tail call
  return value
end)
app:get("/index", function() local t; return t.x end)
app:get("/table", function() error({ code = 7 }) end)
app:get("/fine", function() return "fine" end)"#,
        python: r#"def deep(x):
    raise RuntimeError("no such thing: " + x)
@app.get("/raise")
async def raising(req):
    value = deep("cake")
    return value
@app.get("/index")
def index(req): return None.x
@app.get("/table")
def table(req): raise ValueError({"code": 7})
@app.get("/fine")
def fine(req): return "fine""#,
    });
    let mut client = site.client();
    let response = client.get("/raise?a=1");
    assert_eq!((response.status, response.text().as_str()), (500, "500 Internal Server Error\n"));
    let raised = language.raised(3, 3, "no such thing: cake");
    site.log().expect(&format!("GET /raise?a=1 failed: {raised}"));
    site.log().expect(&format!("{}: in {}", language.place(6, 6), language.pick("function", "raising")));
    assert_eq!(client.get("/index").status, 500);
    let complaint = language.pick("attempt to index", "AttributeError: ");
    site.log().expect(&format!("{}: {complaint}", language.place(9, 9)));
    assert_eq!(client.get("/table").status, 500);
    site.log().expect(language.pick(r#"{"code":7}"#, "ValueError: {'code': 7}"));
    assert_eq!(client.get("/fine").text(), "fine", "the connection and the worker go on");
    assert_eq!(site.log().count("a worker died"), 0);
    assert_eq!(
        site.log().count(language.pick("[kennel]", "<kennel>")),
        0,
        "the runtime's own lines are nobody's business"
    );
}

in_each_language!(nothing_or_nonsense_returned_is_a_500_that_names_the_handler);
fn nothing_or_nonsense_returned_is_a_500_that_names_the_handler(language: Language) {
    let site = language.site(Scripts {
        lua: r#"app:get("/nil/{x}", function() end)
app:get("/number", function() return 7 end)
app:get("/true", function() return true end)
app:get("/function", function() return print end)"#,
        python: r#"@app.get("/nil/{x}")
def nothing(req, x): pass
@app.get("/number")
def number(req): return 7
@app.get("/true")
async def true(req): return True
@app.get("/function")
def function(req): return print"#,
    });
    for path in ["/nil/1", "/number", "/true", "/function"] {
        assert_eq!(site.get(path).status, 500, "{path}");
    }
    site.log().expect(&format!("GET /nil/{{x}} ({}) returned nothing", language.place(2, 2)));
    site.log().expect(language.pick(
        "GET /number failed: a handler returns a string, a table or a response, not a number",
        "GET /number failed: TypeError: a handler returns text, bytes, a dict, a list or a response, not int",
    ));
    site.log().expect(language.pick("not a boolean", "not bool"));
}

in_each_language!(a_header_with_a_line_break_is_an_error_at_the_scripts_line);
fn a_header_with_a_line_break_is_an_error_at_the_scripts_line(language: Language) {
    let site = language.site(Scripts {
        lua: r#"local function answer(name, value)
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
        python: r#"def answer(name, value):
    return kennel.response("x", headers={name: value})
@app.get("/crlf")
def crlf(req): return answer("x-a", "b\r\nset-cookie: evil=1")
@app.get("/lf")
async def lf(req): return answer("x-a", "b\nc")
@app.get("/nul")
def nul(req): return answer("x-a", "b\0c")
@app.get("/list")
def in_list(req): return answer("x-a", ["b", "c\r"])
@app.get("/name")
async def name(req): return answer("x\r\na", "b")
@app.get("/blank")
def blank(req): return answer("x a", "b")
@app.get("/type")
def of_no_type(req): return answer("x-a", True)"#,
    });
    for (path, lua, python) in [
        ("/crlf", 7, 5),
        ("/lf", 10, 7),
        ("/nul", 11, 9),
        ("/list", 12, 11),
        ("/name", 13, 13),
        ("/blank", 14, 15),
        ("/type", 15, 17),
    ] {
        let response = site.get(path);
        assert_eq!(response.status, 500, "{path}");
        assert_eq!(response.header("set-cookie"), None);
        site.log().expect(&format!("GET {path} failed: {}: ", language.place(3, 3)));
        site.log().expect(&format!("{}: in ", language.place(lua, python)));
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

in_each_language!(a_line_break_in_a_header_set_later_is_an_error_at_the_scripts_line_too);
fn a_line_break_in_a_header_set_later_is_an_error_at_the_scripts_line_too(language: Language) {
    let site = language.site(Scripts {
        lua: r#"app:get("/later", function(req)
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
        python: r#"@app.get("/later")
def later(req):
    made = kennel.text("x")
    made.headers["x-a"] = "b\r\nset-cookie: evil=1"
    return made
@app.after
def line_break(req, res):
    if req.path == "/after":
        res.headers["x-a"] = "b\nc"
@app.get("/after")
def after(req): return "x""#,
    });
    let response = site.get("/later");
    assert_eq!((response.status, response.header("set-cookie")), (500, None));
    site.log().expect("GET /later failed");
    assert_eq!(site.get("/after").status, 500);
    site.log().expect("GET /after failed");
    let text = site.log().text();
    assert!(text.contains(&language.place(4, 5)), "the line in /later is not named");
    assert!(text.contains(&language.place(9, 10)), "the line in the after hook is not named");
}

in_each_language!(a_raw_ampersand_or_markup_of_the_client_is_not_run_by_the_error_page);
fn a_raw_ampersand_or_markup_of_the_client_is_not_run_by_the_error_page(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"app:get("/{x}", function(req, x) error("bad " .. x) end)"#,
            python: r#"@app.get("/{x}")
def bad(req, x): raise RuntimeError("bad " + x)"#,
        })
        .dev()
        .start();
    let response = site.get("/%3Cscript%3Ealert(1)%3C%2Fscript%3E");
    assert_eq!(response.status, 500);
    assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(!response.text().contains("<script>"), "{}", response.text());
    assert!(response.text().contains("&lt;script&gt;"));
}

in_each_language!(a_stack_overflow_and_an_error_without_words_are_errors_like_others);
fn a_stack_overflow_and_an_error_without_words_are_errors_like_others(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        local function forever(n) return 1 + forever(n + 1) end
        app:get("/deep", function() return { forever(1) } end)
        app:get("/nil", function() error() end)
        app:get("/yield", function() coroutine.yield("nobody waits for this") return "x" end)
        app:get("/fine", function() return "fine" end)
        "#,
        python: r#"
        class Odd:
            def __await__(self):
                yield "nobody waits for this"
        def forever(n): return 1 + forever(n + 1)
        @app.get("/deep")
        def deep(req): return {"deep": forever(1)}
        @app.get("/nil")
        async def without_words(req): raise RuntimeError
        @app.get("/yield")
        async def yields(req):
            await Odd()
            return "x"
        @app.get("/fine")
        def fine(req): return "fine"
        "#,
    });
    assert_eq!(site.get("/deep").status, 500);
    site.log().expect(language.pick("stack overflow", "maximum recursion depth"));
    assert_eq!(site.get("/nil").status, 500);
    assert_eq!(site.get("/yield").status, 500);
    site.log().expect(language.pick("coroutine.yield", "bad yield"));
    assert_eq!(site.get("/fine").text(), "fine");
    assert_eq!(site.send(request("POST", "/fine", &[], b"")).status, 405);
    assert_eq!(site.log().count("a worker died"), 0);
}
