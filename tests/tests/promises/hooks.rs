use tests::client::request;
use tests::in_each_language;
use tests::language::{Language, Scripts};

in_each_language!(before_hooks_run_in_order_and_the_first_answer_ends_the_request);
fn before_hooks_run_in_order_and_the_first_answer_ends_the_request(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        app:before(function(req) req.user = req.headers["x-user"] end)
        app:before(function(req)
          if req.path == "/secret" and not req.user then return kennel.response("who?", { status = 401 }) end
        end)
        app:before(function(req) if req.path == "/table" then return { early = true } end end)
        app:get("/secret", function(req) return "welcome " .. req.user end)
        app:get("/table", function() error("never reached") end)
        "#,
        python: r#"
        @app.before
        def who(req): req.user = req.headers.get("x-user")
        @app.before
        async def members_only(req):
            if req.path == "/secret" and not req.user:
                return kennel.response("who?", status=401)
        @app.before
        def early(req):
            if req.path == "/table":
                return {"early": True}
        @app.get("/secret")
        def secret(req): return "welcome " + req.user
        @app.get("/table")
        def table(req): raise RuntimeError("never reached")
        "#,
    });
    assert_eq!(site.get("/secret").status, 401);
    assert_eq!(site.send(request("GET", "/secret", &[("X-User", "ann")], b"")).text(), "welcome ann");
    assert_eq!(site.get("/table").text(), r#"{"early":true}"#);
}

in_each_language!(after_hooks_see_change_and_replace_every_response);
fn after_hooks_see_change_and_replace_every_response(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        app:get("/", function() return "body" end)
        app:get("/table", function() return { a = 1 } end)
        app:get("/raise", function() error("oops") end)
        app:get("/replace", function() return "old" end)
        app:before(function(req) if req.path == "/early" then return "early" end end)
        app:after(function(req, res) res.headers["X-Seen"] = res.status .. " " .. #res.body end)
        app:after(function(req, res)
          if req.path == "/" then res.status = 202 res.body = res.body .. "!" end
          if req.path == "/replace" then return kennel.response("new", { status = 418 }) end
        end)
        "#,
        python: r#"
        @app.get("/")
        def body(req): return "body"
        @app.get("/table")
        async def table(req): return {"a": 1}
        @app.get("/raise")
        def fail(req): raise RuntimeError("oops")
        @app.get("/replace")
        def replace(req): return "old"
        @app.before
        def early(req):
            if req.path == "/early":
                return "early"
        @app.after
        def seen(req, res): res.headers["X-Seen"] = f"{res.status} {len(res.body)}"
        @app.after
        async def change(req, res):
            if req.path == "/":
                res.status = 202
                res.body += "!"
            if req.path == "/replace":
                return kennel.response("new", status=418)
        "#,
    });
    let response = site.get("/");
    assert_eq!((response.status, response.text().as_str()), (202, "body!"));
    assert_eq!(response.header("x-seen"), Some("200 4"));
    assert_eq!(response.header("content-length"), Some("5"));
    let response = site.get("/table");
    assert_eq!(
        (response.header("x-seen"), response.header("content-type")),
        (Some("200 7"), Some("application/json"))
    );
    let response = site.get("/replace");
    assert_eq!((response.status, response.text().as_str()), (418, "new"));
    assert!(site.get("/early").header("x-seen").is_some(), "an early answer");
    assert!(site.get("/raise").header("x-seen").is_some_and(|seen| seen.starts_with("500 ")), "an error");
    assert!(site.get("/none").header("x-seen").is_some_and(|seen| seen.starts_with("404 ")), "nothing found");
    let response = site.send(request("POST", "/", &[], b""));
    assert!(response.header("x-seen").is_some_and(|seen| seen.starts_with("405 ")), "a wrong method");
    assert_eq!(response.header("allow"), Some("GET, HEAD, OPTIONS"));
    let response = site.send(request("OPTIONS", "/", &[], b""));
    assert!(response.header("x-seen").is_some_and(|seen| seen.starts_with("204 ")), "options");
}

in_each_language!(not_found_and_error_replace_the_pages);
fn not_found_and_error_replace_the_pages(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        app:not_found(function(req)
          if req.path == "/soft" then return kennel.response("found after all", { status = 200 }) end
          return "no " .. req.path
        end)
        app:error(function(req, message) return kennel.html("<b>sorry</b>", { status = 503 }) end)
        app:get("/raise", function() error("oops") end)
        "#,
        python: r#"
        @app.not_found
        async def not_found(req):
            if req.path == "/soft":
                return kennel.response("found after all", status=200)
            return "no " + req.path
        @app.error
        def sorry(req, problem): return kennel.html("<b>sorry</b>", status=503)
        @app.get("/raise")
        def fail(req): raise RuntimeError("oops")
        "#,
    });
    let response = site.get("/where");
    assert_eq!((response.status, response.text().as_str()), (404, "no /where"));
    assert_eq!(site.get("/soft").status, 200);
    let response = site.get("/raise");
    assert_eq!((response.status, response.text().as_str()), (503, "<b>sorry</b>"));
    site.log().expect("oops");
}

in_each_language!(an_error_page_as_text_is_still_a_500);
fn an_error_page_as_text_is_still_a_500(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        app:error(function(req, message) return "we know: " .. message end)
        app:get("/raise", function() error("oops") end)
        "#,
        python: r#"
        @app.error
        async def page(req, problem): return f"we know: {problem}"
        @app.get("/raise")
        def fail(req): raise RuntimeError("oops")
        "#,
    });
    let response = site.get("/raise");
    assert_eq!(response.status, 500);
    assert!(response.text().starts_with("we know: "), "{}", response.text());
}

in_each_language!(a_hook_that_fails_costs_one_500_and_is_logged);
fn a_hook_that_fails_costs_one_500_and_is_logged(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        app:before(function(req) if req.path == "/before" then error("before broke") end end)
        app:after(function(req, res) if req.path == "/after" then error("after broke") end end)
        app:error(function(req) if req.path == "/twice" then error("error page broke") end return "sorry" end)
        app:get("/twice", function() error("first") end)
        app:get("/after", function() return "x" end)
        app:get("/fine", function() return "fine" end)
        "#,
        python: r#"
        @app.before
        def before(req):
            if req.path == "/before":
                raise RuntimeError("before broke")
        @app.after
        async def after(req, res):
            if req.path == "/after":
                raise RuntimeError("after broke")
        @app.error
        def page(req, problem):
            if req.path == "/twice":
                raise RuntimeError("error page broke")
            return "sorry"
        @app.get("/twice")
        def twice(req): raise RuntimeError("first")
        @app.get("/after")
        def fine_so_far(req): return "x"
        @app.get("/fine")
        def fine(req): return "fine"
        "#,
    });
    for (path, log) in
        [("/before", "before broke"), ("/after", "after broke"), ("/twice", "error page broke")]
    {
        assert_eq!(site.get(path).status, 500, "{path}");
        site.log().expect(log);
    }
    assert_eq!(site.get("/fine").text(), "fine");
}
