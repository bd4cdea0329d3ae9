use tests::command::{self, Finished};
use tests::folder::Folder;
use tests::language::{Language, Scripts};
use tests::{in_each_language, site};

/// Checks a script that is written down whole.
fn check(name: &str, source: &str) -> Finished {
    let folder = Folder::new();
    folder.write(name, source);
    command::run(folder.path(), ["check", name])
}

/// What is typed by mistake, and what is said about it when the script is loaded.
#[test]
fn slips_are_told_at_load_with_their_place_and_what_to_write() {
    let lua = |body: &str| check("app.lua", &site::script(body));
    let python = |body: &str| check("app.py", &Language::Python.script(body));
    for (finished, said) in [
        (
            lua(r#"app:get("/users/:id", function() return "" end)"#),
            "app.lua:2: route `/users/:id`: `:id` is not a parameter here; write `{name}`",
        ),
        (
            lua(r#"app:get("/users/<id>", function() return "" end)"#),
            "`<id>` is not a parameter here; write `{name}`",
        ),
        (
            lua(r#"app:get("/users/{id:int}", function() return "" end)"#),
            "parameters have no types, the handler gets text",
        ),
        (lua(r#"app:channel("/chat/:room", {})"#), "`:room` is not a parameter here"),
        (
            lua(r#"app.get("/", function() return "" end)"#),
            "app.lua:2: call it with a colon: app:get(...), not app.get(...)",
        ),
        (lua(r#"app.channel("/", {})"#), "app:channel(...), not app.channel(...)"),
        (lua(r"app.before(function() end)"), "app:before(...), not app.before(...)"),
        (
            lua(r#"app:gett("/", function() return "" end)"#),
            "app.lua:2: an app has no `gett`; did you mean `get`?",
        ),
        (lua(r#"app:chanel("/", {})"#), "did you mean `channel`?"),
        (
            lua(r#"kennel.roomm("x"):send("y")"#),
            "app.lua:2: kennel has no `roomm`; did you mean `kennel.room`?",
        ),
        (python("@app.get('/users/:id')\ndef user(req): return ''"), "`:id` is not a parameter here"),
        (
            python("@app.get('/users/<int:id>')\ndef user(req): return ''"),
            "`<int:id>` is not a parameter here",
        ),
        (python("@app.get('/')\ndef root(): return ''"), "the handler of `/` must take (req), but root()"),
        (
            python("@app.get('/{id}')\ndef user(req): return ''"),
            "must take (req, id), but user(req): got an unexpected keyword argument 'id'",
        ),
        (
            python("@app.get('/{id}')\nasync def user(req, name): return ''"),
            "must take (req, id), but user(req, name)",
        ),
        (
            python("@app.get('/more')\ndef more(req, id): return ''"),
            "must take (req), but more(req, id): missing a required argument: 'id'",
        ),
        (python("@app.gett('/')\ndef root(req): return ''"), "did you mean `get`?"),
        (python("kennel.rooom('x')"), "did you mean `room`?"),
    ] {
        assert_eq!(finished.code, Some(2), "{said}: {finished:?}");
        assert!(finished.stderr.contains(said), "{said}: {}", finished.stderr);
        assert!(!finished.stderr.contains("[kennel]"), "{}", finished.stderr);
    }
}

#[test]
fn a_lua_handler_that_wants_more_than_its_path_has_is_warned_of() {
    let plan = site::Site::plan(
        r#"
        app:get("/users", function(req, id) return id or "all" end)
        app:get("/any", function(...) return "any" end)
        app:get("/users/{id}", function(req, id) return id end)
        "#,
    );
    let site = plan.workers(1).start();
    site.log().expect("app.lua:3: the handler of `/users` takes 1 values of the path, which has 0");
    assert_eq!(site.log().count("values of the path"), 1);
    assert_eq!(site.get("/users").text(), "all");
}

in_each_language!(a_second_value_is_the_status);
fn a_second_value_is_the_status(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        app:get("/table", function() return { error = "none" }, 404 end)
        app:get("/text", function() return "made", 201 end)
        app:get("/response", function() return kennel.html("<p>"), 403 end)
        app:get("/count", function() return ("aaa"):gsub("a", "b") end)
        "#,
        python: r#"
        @app.get("/table")
        def table(req): return {"error": "none"}, 404
        @app.get("/text")
        async def text(req): return "made", 201
        @app.get("/response")
        def page(req): return kennel.html("<p>"), 403
        @app.get("/headers")
        def headers(req): return ["a"], 202, {"X-Name": "value"}
        @app.get("/count")
        def count(req): return "bbb"
        @app.get("/list")
        def a_list(req): return ["x", 201]
        @app.get("/pair")
        def pair(req): return (1, 2)
        "#,
    });
    let all = [
        ("/table", 404, r#"{"error":"none"}"#),
        ("/text", 201, "made"),
        ("/response", 403, "<p>"),
        ("/count", 200, "bbb"),
    ];
    for (path, status, text) in all {
        let response = site.get(path);
        assert_eq!((response.status, response.text().as_str()), (status, text), "{path}");
    }
    assert_eq!(site.get("/response").header("content-type"), Some("text/html; charset=utf-8"));
    if language == Language::Python {
        let response = site.get("/headers");
        assert_eq!(
            (response.status, response.header("x-name"), response.text().as_str()),
            (202, Some("value"), "[\"a\"]")
        );
        assert_eq!((site.get("/list").status, site.get("/list").text().as_str()), (200, "[\"x\",201]"));
        assert_eq!((site.get("/pair").status, site.get("/pair").text().as_str()), (200, "[1,2]"));
    }
}

#[test]
fn two_apps_with_one_mount_are_refused() {
    let folder = Folder::new();
    folder.write("a.lua", site::script("app:get('/', function() return 'a' end)"));
    folder.write("b.lua", site::script("app:get('/', function() return 'b' end)"));
    for command in ["run", "check", "routes", "dev"] {
        let finished = command::run(folder.path(), [command, "a.lua", "b.lua"]);
        assert_eq!(finished.code, Some(2), "{command}: {finished:?}");
        let said = "`a.lua` and `b.lua` have the same mount `/`, so only the first would be reached";
        assert!(finished.stderr.contains(said), "{command}: {finished:?}");
    }
    folder.write(
        "kennel.toml",
        "[[app]]\nsource = \"a.lua\"\nmount = \"/s\"\n[[app]]\nsource = \"b.lua\"\nmount = \"/s/\"\n",
    );
    assert_eq!(command::run(folder.path(), ["check"]).code, Some(2));
}

#[test]
fn any_error_of_lua_is_logged_with_its_request() {
    let site = site::Site::plan(
        r#"
        app:get("/nil", function() error() end)
        app:get("/odd", function() error(setmetatable({}, { __tostring = function() error("no") end })) end)
        app:get("/deep", function() local function f(n) return 1 + f(n + 1) end return { f(1) } end)
        app:get("/memory", function() local t = {} for n = 1, 1e9 do t[n] = ("x"):rep(1e6) .. n end return "x" end)
        app:get("/function", function() error(print) end)
        app:channel("/chat", { message = function() error(setmetatable({}, { __tostring = function() return nil end })) end })
        "#,
    )
    .config("[limits]\nworker_memory = \"64MiB\"")
    .start();
    for (path, said) in [
        ("/nil", "GET /nil failed: nil"),
        ("/odd", "GET /odd failed: an error whose __tostring fails"),
        ("/deep", "GET /deep failed: "),
        ("/memory", "GET /memory failed: not enough memory"),
        ("/function", "GET /function failed: builtin"),
    ] {
        assert_eq!(site.get(path).status, 500, "{path}");
        if path != "/function" {
            site.log().expect(said);
        }
    }
    site.log().expect("stack overflow");
    let mut chat = site.websocket("/chat");
    chat.send("x");
    site.log().expect("the message callback of channel `/chat`");
    assert_eq!(site.log().count("a handler will not answer"), 0);
}
