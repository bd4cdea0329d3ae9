//! Sessions: what a visitor carries in a signed cookie, and nobody else can write.

use serde_json::json;
use tests::client::{Response, request};
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::process::Signal;
use tests::site::Site;

/// A browser's cookies, as far as one host and one path go.
#[derive(Debug, Default, Clone)]
struct Cookies(Vec<(String, String)>);

impl Cookies {
    fn of(value: &str) -> Self {
        Self(vec![("kennel_session".into(), value.into())])
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn take(&mut self, response: &Response) {
        for line in response.headers_named("set-cookie") {
            let (name, rest) = line.split_once('=').expect("a cookie");
            let value = rest.split(';').next().unwrap_or_default();
            self.0.retain(|(known, _)| known != name);
            if !rest.contains("Max-Age=0;") {
                self.0.push((name.into(), value.into()));
            }
        }
    }

    fn send(&mut self, site: &Site, method: &str, path: &str, more: &[(&str, &str)], body: &str) -> Response {
        let line: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let line = line.join("; ");
        let mut headers = more.to_vec();
        if !line.is_empty() {
            headers.push(("Cookie", &line));
        }
        let response = site.send(request(method, path, &headers, body.as_bytes()));
        self.take(&response);
        response
    }

    fn get_page(&mut self, site: &Site, path: &str) -> Response {
        self.send(site, "GET", path, &[], "")
    }

    fn post_form(&mut self, site: &Site, path: &str, body: &str) -> Response {
        self.send(site, "POST", path, &[("Content-Type", "application/x-www-form-urlencoded")], body)
    }
}

const LOGIN: Scripts<'_> = Scripts {
    lua: r#"
    app:get("/", function(req) return req.session.user and "hello " .. req.session.user or "who?" end)
    app:get("/all", function(req) return req.session end)
    app:get("/plain", function() return "nobody asks" end)
    app:get("/login/{user}", function(req, user)
      req.session.user = user
      req.session.seen = { pages = { "login" } }
      return kennel.redirect("/")
    end)
    app:get("/deep", function(req)
      table.insert(req.session.seen.pages, "deep")
      return "ok"
    end)
    app:get("/logout", function(req)
      req.session = nil
      return kennel.redirect("/")
    end)
    app:get("/other", function(req)
      req.session = { other = true }
      return { now = req.session }
    end)
    app:get("/empty", function(req)
      for name in pairs(req.session) do req.session[name] = nil end
      return "ok"
    end)
    "#,
    python: r#"
    @app.get("/")
    def index(req): return f"hello {req.session['user']}" if "user" in req.session else "who?"
    @app.get("/all")
    async def all(req): return req.session
    @app.get("/plain")
    def plain(req): return "nobody asks"
    @app.get("/login/{user}")
    def login(req, user):
        req.session["user"] = user
        req.session["seen"] = {"pages": ["login"]}
        return kennel.redirect("/")
    @app.get("/deep")
    async def deep(req):
        req.session["seen"]["pages"].append("deep")
        return "ok"
    @app.get("/logout")
    def logout(req):
        req.session = None
        return kennel.redirect("/")
    @app.get("/other")
    def other(req):
        req.session = {"other": True}
        return {"now": req.session}
    @app.get("/empty")
    def empty(req):
        req.session.clear()
        return "ok"
    "#,
};

in_each_language!(a_visitor_who_logs_in_is_known_until_logging_out);
fn a_visitor_who_logs_in_is_known_until_logging_out(language: Language) {
    let site = language.site(LOGIN);
    let mut cookies = Cookies::default();
    let first = cookies.get_page(&site, "/");
    assert_eq!((first.text().as_str(), first.header("set-cookie")), ("who?", None), "reading sets none");
    let login = cookies.get_page(&site, "/login/ada");
    assert_eq!((login.status, login.header("location")), (303, Some("/")));
    let line = login.header("set-cookie").expect("a session");
    assert!(line.starts_with("kennel_session=") && line.len() < 400, "{line}");
    assert!(line.ends_with("; Max-Age=1209600; Path=/; SameSite=Lax; HttpOnly"), "{line}");

    let page = cookies.get_page(&site, "/");
    assert_eq!((page.text().as_str(), page.header("set-cookie")), ("hello ada", None));
    assert_eq!((page.header("vary"), page.header("cache-control")), (Some("Cookie"), Some("private")));
    let plain = cookies.get_page(&site, "/plain");
    assert_eq!((plain.header("vary"), plain.header("cache-control")), (None, None), "nobody asked");

    assert!(cookies.get_page(&site, "/deep").header("set-cookie").is_some(), "a change inside is seen");
    let all = cookies.get_page(&site, "/all");
    assert_eq!(all.json(), json!({ "user": "ada", "seen": { "pages": ["login", "deep"] } }));
    assert_eq!(all.header("set-cookie"), None);

    let out = cookies.get_page(&site, "/logout");
    assert_eq!(
        out.headers_named("set-cookie"),
        ["kennel_session=; Max-Age=0; Path=/; SameSite=Lax; HttpOnly"]
    );
    let gone = cookies.get_page(&site, "/");
    assert_eq!((gone.text().as_str(), gone.header("set-cookie")), ("who?", None));

    cookies.get_page(&site, "/login/bob");
    assert_eq!(cookies.get_page(&site, "/other").json(), json!({ "now": { "other": true } }));
    assert_eq!(cookies.get_page(&site, "/all").json(), json!({ "other": true }));
    assert!(cookies.get_page(&site, "/empty").header("set-cookie").is_some());
    assert_eq!(cookies.get("kennel_session"), None);
}

in_each_language!(a_session_that_somebody_changed_is_none_and_is_cleared);
fn a_session_that_somebody_changed_is_none_and_is_cleared(language: Language) {
    let site = language.site(LOGIN);
    let mut cookies = Cookies::default();
    cookies.get_page(&site, "/login/ada");
    let good = cookies.get("kennel_session").expect("a session").to_owned();
    let mut client = site.client();
    let mut refused = |value: &str, more: &str| {
        let line = format!("kennel_session={value}{more}");
        client.send(request("GET", "/", &[("Cookie", &line)], b""));
        let response = client.read();
        assert_eq!(response.text(), "who?", "{line}");
        let cleared = response.header("set-cookie").is_some_and(|line| line.contains("=; Max-Age=0;"));
        assert!(cleared, "{line}: {response:?}");
    };
    for at in 0..good.len() {
        let other = if good.as_bytes()[at] == b'A' { "B" } else { "A" };
        let mut changed = good.clone();
        changed.replace_range(at..=at, other);
        refused(&changed, "");
    }
    for at in (0..good.len()).step_by(7) {
        refused(&good[..at], "");
    }
    for value in ["", ".", "...", "%00", "null", "\"", "🐕", "1.2.3.4", &"x".repeat(3000)] {
        refused(value, "");
    }
    refused(&good, &format!("; kennel_session={good}"));
    refused(&good, "; kennel_session=x");
    assert_eq!(cookies.get_page(&site, "/").text(), "hello ada");
}

in_each_language!(sessions_outlive_kennel_and_are_known_to_all_workers);
fn sessions_outlive_kennel_and_are_known_to_all_workers(language: Language) {
    let mut site = language.plan(LOGIN).workers(3).start();
    let mut cookies = Cookies::default();
    cookies.get_page(&site, "/login/ada");
    for _ in 0..12 {
        assert_eq!(cookies.get_page(&site, "/").text(), "hello ada");
    }
    let secret = site.folder().path().join(".kennel/secret");
    let first = std::fs::read(&secret).expect("a secret was made");
    assert!(!site.log().text().contains(String::from_utf8_lossy(&first).trim()));
    site.signal(Signal::TERM);
    assert_eq!(site.exit_code(), Some(0));
    assert_eq!(std::fs::read(&secret).expect("it stays"), first);

    let next = language.plan(LOGIN).file(".kennel/secret", "");
    std::fs::copy(&secret, next.folder().path().join(".kennel/secret")).expect("a copy");
    let next = next.behind_warm().start();
    assert_eq!(cookies.get_page(&next, "/").text(), "hello ada", "another kennel of the same secret");
}

in_each_language!(a_secret_is_replaced_without_losing_a_session);
fn a_secret_is_replaced_without_losing_a_session(language: Language) {
    let (old, new) = ("an old secret of ours", "the newer secret we have");
    let start = |secret: &str| language.plan(LOGIN).variable("KENNEL_SECRET", secret).behind_warm().start();
    let mut cookies = Cookies::default();
    let site = start(old);
    cookies.get_page(&site, "/login/ada");
    assert!(!site.folder().path().join(".kennel/secret").exists(), "none is made when one is given");
    drop(site);

    let site = start(&format!("{new},{old}"));
    assert_eq!(cookies.get_page(&site, "/").text(), "hello ada");
    let mut stays = cookies.clone();
    cookies.get_page(&site, "/deep");
    drop(site);

    let site = start(new);
    assert_eq!(cookies.get_page(&site, "/").text(), "hello ada", "what was written since is the new one's");
    assert_eq!(stays.get_page(&site, "/").text(), "who?", "and the old one is worth nothing any more");
    assert_eq!(stays.get("kennel_session"), None);
    drop(site);

    let config = format!("[sessions]\nsecrets = [\"{new}\"]\n");
    let site = language.plan(LOGIN).config(&config).behind_warm().start();
    assert_eq!(cookies.get_page(&site, "/").text(), "hello ada", "from kennel.toml");
}

in_each_language!(workers_do_not_see_the_secret);
fn workers_do_not_see_the_secret(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"app:get("/", function() return tostring(os.getenv("KENNEL_SECRET")) end)"#,
            python: "import os\n@app.get('/')\ndef seen(req): return str(os.environ.get('KENNEL_SECRET'))",
        })
        .variable("KENNEL_SECRET", "nobody shall see this one")
        .behind_warm()
        .start();
    assert_eq!(site.get("/").text(), language.pick("nil", "None"));
}

in_each_language!(a_session_that_cannot_be_kept_is_an_error_that_names_the_handler);
fn a_session_that_cannot_be_kept_is_an_error_that_names_the_handler(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        app:get("/large", function(req) req.session.x = ("x"):rep(5000) return "ok" end)
        app:get("/function", function(req) req.session.a = { b = print } return "ok" end)
        app:get("/list", function(req) req.session = { 1, 2 } return "ok" end)
        app:get("/number", function(req) req.session = 7 return "ok" end)
        app:get("/fails", function(req) req.session.x = 1 error("oh no") end)
        "#,
        python: r#"
        @app.get("/large")
        def large(req): req.session["x"] = "x" * 5000; return "ok"
        @app.get("/function")
        async def function(req): req.session["a"] = {"b": print}; return "ok"
        @app.get("/list")
        def a_list(req): req.session = [1, 2]; return "ok"
        @app.get("/number")
        def number(req): req.session = 7; return "ok"
        @app.get("/fails")
        def fails(req): req.session["x"] = 1; raise RuntimeError("oh no")
        "#,
    });
    for (path, words) in [
        ("/large", "bytes as a cookie, at most 4000 fit; keep an id in it"),
        ("/function", "a.b"),
        ("/list", ""),
        ("/number", ""),
        ("/fails", "oh no"),
    ] {
        let response = site.get(path);
        assert_eq!((response.status, response.header("set-cookie")), (500, None), "{path}");
        site.log().expect(&format!("GET {path} failed: "));
        site.log().expect(words);
    }
    if language == Language::Lua {
        site.log().expect("in the handler of GET /large (app.lua:3)");
    }
}

in_each_language!(an_answer_that_is_given_to_many_keeps_no_visitors_cookie);
fn an_answer_that_is_given_to_many_keeps_no_visitors_cookie(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"
            local same = kennel.response("same", { headers = { vary = "Accept", ["cache-control"] = "public" },
              cookies = { a = "1" } })
            app:get("/in", function(req) req.session.user = "ada" return same end)
            app:get("/read", function(req) local _ = req.session.user return same end)
            app:get("/out", function(req) return same end)
            "#,
            python: r#"
            same = kennel.response("same", headers={"vary": "Accept", "cache-control": "public"}, cookies={"a": "1"})
            @app.get("/in")
            def log_in(req): req.session["user"] = "ada"; return same
            @app.get("/read")
            def read(req): req.session.get("user"); return same
            @app.get("/out")
            def out(req): return same
            "#,
        })
        .workers(1)
        .behind_warm()
        .start();
    let cookies = |path| site.get(path).headers_named("set-cookie").len();
    let response = site.get("/in");
    assert_eq!(response.headers_named("set-cookie").len(), 2);
    assert_eq!(
        (response.header("vary"), response.header("cache-control")),
        (Some("Accept, Cookie"), Some("private"))
    );
    assert_eq!((cookies("/out"), cookies("/in"), cookies("/out")), (1, 2, 1));
    assert_eq!(site.get("/read").header("cache-control"), Some("public"), "the script has said so");
}

in_each_language!(hooks_and_error_pages_see_the_session);
fn hooks_and_error_pages_see_the_session(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        app:before(function(req) if req.path == "/private" and not req.session.user then return kennel.redirect("/login") end end)
        app:after(function(req, res) if req.path == "/count" then req.session.after = (req.session.after or 0) + 1 end end)
        app:get("/private", function(req) return req.session.user end)
        app:get("/login", function(req) req.session.user = "ada" return "in" end)
        app:get("/count", function(req) return tostring(req.session.after) end)
        app:get("/fails", function() error("oh") end)
        app:error(function(req) return "sorry, " .. tostring(req.session.user) end)
        app:not_found(function(req) return "nothing here, " .. tostring(req.session.user) end)
        "#,
        python: r#"
        @app.before
        def check(req):
            if req.path == "/private" and "user" not in req.session: return kennel.redirect("/login")
        @app.after
        def count_up(req, res):
            if req.path == "/count": req.session["after"] = req.session.get("after", 0) + 1
        @app.get("/private")
        def private(req): return req.session["user"]
        @app.get("/login")
        async def login(req): req.session["user"] = "ada"; return "in"
        @app.get("/count")
        def count(req): return str(req.session.get("after"))
        @app.get("/fails")
        def fails(req): raise RuntimeError("oh")
        @app.error
        def sorry(req, problem): return f"sorry, {req.session.get('user')}"
        @app.not_found
        def nothing(req): return f"nothing here, {req.session.get('user')}"
        "#,
    });
    let mut cookies = Cookies::default();
    assert_eq!(cookies.get_page(&site, "/private").header("location"), Some("/login"));
    cookies.get_page(&site, "/login");
    assert_eq!(cookies.get_page(&site, "/private").text(), "ada");
    cookies.get_page(&site, "/count");
    assert_eq!(cookies.get_page(&site, "/count").text(), "1");
    assert_eq!(cookies.get_page(&site, "/fails").text(), "sorry, ada");
    let missing = cookies.get_page(&site, "/nowhere");
    assert_eq!((missing.status, missing.text().as_str()), (404, "nothing here, ada"));
}

in_each_language!(an_app_says_how_its_sessions_are_kept);
fn an_app_says_how_its_sessions_are_kept(language: Language) {
    let body = Scripts {
        lua: r#"app:get("/in", function(req) req.session.user = "ada" return "in" end)"#,
        python: "@app.get('/in')\ndef log_in(req): req.session['user'] = 'ada'; return 'in'",
    };
    let with = |options: &str| {
        let script = language.script_of(body);
        script.replace(language.pick("kennel.app()", "kennel.App()"), options)
    };
    let options = with(language.pick(
        r#"kennel.app({ session = { name = "mine", max_age = 60, same_site = "strict", secure = true, domain = "a.example" } })"#,
        r#"kennel.App(session={"name": "mine", "max_age": 60, "same_site": "strict", "secure": True, "domain": "a.example"})"#,
    ));
    let site = language.plan(body).file(language.app(), &options).behind_warm().start();
    let response = site.get("/in");
    let line = response.header("set-cookie").expect("a session");
    assert!(line.starts_with("mine="), "{line}");
    let attributes = "; Max-Age=60; Path=/; Domain=a.example; SameSite=Strict; Secure; HttpOnly";
    assert!(line.ends_with(attributes), "{line}");

    for (options, words) in [
        (language.pick("kennel.app({ session = { nam = 'x' } })", "kennel.App(session={'nam': 'x'})"), "nam"),
        (
            language.pick("kennel.app({ session = { max_age = 0 } })", "kennel.App(session={'max_age': 0})"),
            "max_age of a session is 0 seconds",
        ),
        (language.pick("kennel.app({ sesion = {} })", "kennel.App(sesion={})"), "sesion"),
    ] {
        let plan = language.plan(body).file(language.app(), &with(options));
        let checked = tests::command::run(plan.folder().path(), ["check", language.app()]);
        assert_eq!(checked.code, Some(2), "{options}");
        assert!(
            checked.stderr.contains(words) && checked.stderr.contains(&language.place(1, 1)),
            "{}",
            checked.stderr
        );
    }
}

in_each_language!(each_app_has_its_own_sessions_unless_they_share_a_name);
fn each_app_has_its_own_sessions_unless_they_share_a_name(language: Language) {
    let script = |options: &str| {
        let script = language.script_of(LOGIN);
        script.replace(language.pick("kennel.app()", "kennel.App()"), options)
    };
    let alone = script(language.pick("kennel.app()", "kennel.App()"));
    let shared = script(language.pick(
        "kennel.app({ session = { name = 'kennel_session' } })",
        "kennel.App(session={'name': 'kennel_session'})",
    ));
    let app = |stem: &str, mount: &str| {
        format!("[[app]]\nsource = \"{}\"\nmount = \"{mount}\"\nworkers = 1\n", language.file(stem))
    };
    let config = [app("app", "/"), app("shop", "/shop"), app("blog", "/blog")].concat();
    let site = language
        .plan(LOGIN)
        .file(&language.file("shop"), &alone)
        .file(&language.file("blog"), &shared)
        .config(&config)
        .configured_apps()
        .behind_warm()
        .start();
    let mut cookies = Cookies::default();
    cookies.get_page(&site, "/login/ada");
    assert_eq!(cookies.get_page(&site, "/shop/").text(), "who?");
    assert_eq!(cookies.get_page(&site, "/blog/").text(), "hello ada");
    cookies.get_page(&site, "/shop/login/bob");
    assert_eq!(cookies.get_page(&site, "/").text(), "hello ada");
    assert_eq!(cookies.get_page(&site, "/shop/").text(), "hello bob");
    let (main, shop) = (cookies.get("kennel_session"), cookies.get("kennel_session_shop"));
    assert!(main.is_some() && shop.is_some() && main != shop);
    let mut swapped = Cookies::of(shop.unwrap_or_default());
    assert_eq!(swapped.get_page(&site, "/").text(), "who?", "signed for another app");
}

#[test]
fn what_changes_a_session_behind_the_head_of_a_stream_is_told() {
    let site = Site::python(
        r#"
        @app.get("/stream")
        def stream(req):
            req.session["n"] = req.session.get("n", 0) + 1
            def pieces():
                yield "one"
                req.session["late"] = True
                yield "two"
            return pieces()
        @app.get("/assign")
        def assign(req):
            req.session["n"] = 1
            def pieces():
                yield "one"
                req.session = None
            return pieces()
        @app.get("/")
        def index(req): return req.session
        "#,
    )
    .behind_warm()
    .start();
    let mut cookies = Cookies::default();
    let response = cookies.get_page(&site, "/stream");
    assert_eq!((response.text().as_str(), response.header("set-cookie").is_some()), ("onetwo", true));
    site.log().expect("the session was changed after the answer had begun, and that is lost");
    assert_eq!(cookies.get_page(&site, "/").json(), json!({ "n": 1 }));
    let mut client = site.client();
    client.send(tests::client::get("/assign"));
    assert!(client.try_read().is_err(), "the answer is cut short");
    site.log().expect("the answer has begun, so the session cannot be changed any more");
}

in_each_language!(cookies_are_set_and_deleted_on_a_response);
fn cookies_are_set_and_deleted_on_a_response(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        app:get("/", function(req)
          local res = kennel.text("x", { cookies = { a = "1" } })
          res:set_cookie("b", "2", { max_age = 60, http_only = false })
          res:set_cookie("c", 3)
          res:delete_cookie("d")
          res:delete_cookie("e", { path = "/e" })
          return res
        end)
        app:get("/bad", function(req)
          local res = kennel.text("x")
          res:set_cookie("b", "2; Secure")
          return res
        end)
        "#,
        python: r#"
        @app.get("/")
        def index(req):
            res = kennel.text("x", cookies={"a": "1"})
            res.set_cookie("b", "2", max_age=60, http_only=False)
            res.set_cookie("c", 3)
            res.delete_cookie("d")
            res.delete_cookie("e", path="/e")
            return res
        @app.get("/bad")
        def bad(req):
            res = kennel.text("x")
            res.set_cookie("b", "2; Secure")
            return res
        "#,
    });
    let usual = "Path=/; SameSite=Lax; HttpOnly";
    assert_eq!(
        site.get("/").headers_named("set-cookie"),
        [
            &*format!("a=1; {usual}"),
            "b=2; Max-Age=60; Path=/; SameSite=Lax",
            &*format!("c=3; {usual}"),
            &*format!("d=; Max-Age=0; {usual}"),
            "e=; Max-Age=0; Path=/e; SameSite=Lax; HttpOnly",
        ]
    );
    assert_eq!(site.get("/bad").status, 500);
    site.log().expect(&format!("{}: ", language.place(13, 14)));
}

in_each_language!(signed_texts_are_known_again_until_they_are_too_old);
fn signed_texts_are_known_again_until_they_are_too_old(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        app:get("/sign", function(req) return kennel.sign({ user = 7, what = "reset" }) end)
        app:get("/text", function(req) return kennel.sign("hello") end)
        app:get("/unsign", function(req)
          local value = kennel.unsign(req.args.t, tonumber(req.args.age))
          return { value = value or "none" }
        end)
        "#,
        python: r#"
        @app.get("/sign")
        def sign(req): return kennel.sign({"user": 7, "what": "reset"})
        @app.get("/text")
        def text(req): return kennel.sign("hello")
        @app.get("/unsign")
        def unsign(req):
            age = req.args.get("age")
            return {"value": kennel.unsign(req.args.get("t"), int(age) if age else None) or "none"}
        "#,
    });
    let token = site.get("/sign").text();
    assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{token}");
    let unsign = |rest: &str| site.get(&format!("/unsign?t={rest}")).json()["value"].clone();
    assert_eq!(unsign(&token), json!({ "user": 7, "what": "reset" }));
    assert_eq!(unsign(&format!("{token}&age=3600")), json!({ "user": 7, "what": "reset" }));
    assert_eq!(unsign(&site.get("/text").text()), json!("hello"));
    for other in [&token[1..], &token[..token.len() - 1], "", "x", "1.2.3"] {
        assert_eq!(unsign(other), json!("none"), "{other}");
    }
    assert_eq!(site.get("/unsign").json()["value"], json!("none"), "none at all");
}

const FORMS: Scripts<'_> = Scripts {
    lua: r#"
    app:get("/form", function(req) return req.csrf_token end)
    app:get("/twice", function(req) return tostring(req.csrf_token == req.csrf_token) end)
    app:post("/form", function(req) return "taken" end)
    app:route({ "PUT", "PATCH", "DELETE" }, "/form", function(req) return "taken" end)
    app:post("/hook", { csrf = false }, function(req) return "hooked" end)
    app:post("/logout", function(req) req.session = nil return "out" end)
    "#,
    python: r#"
    @app.get("/form")
    def form(req): return req.csrf_token
    @app.get("/twice")
    def twice(req):
        token = req.csrf_token
        return "true"
    @app.post("/form")
    async def post(req): return "taken"
    @app.route(["PUT", "PATCH", "DELETE"], "/form")
    def other(req): return "taken"
    @app.post("/hook", csrf=False)
    def hook(req): return "hooked"
    @app.post("/logout")
    def logout(req): req.session = None; return "out"
    "#,
};

fn forms(language: Language) -> Site {
    let script = language.script_of(FORMS);
    let script = script.replace(
        language.pick("kennel.app()", "kennel.App()"),
        language.pick("kennel.app({ csrf = true })", "kennel.App(csrf=True)"),
    );
    language.plan(FORMS).file(language.app(), &script).behind_warm().start()
}

in_each_language!(a_form_of_another_site_is_refused);
fn a_form_of_another_site_is_refused(language: Language) {
    let site = forms(language);
    let mut cookies = Cookies::default();
    let page = cookies.get_page(&site, "/form");
    let token = page.text();
    assert!(page.header("set-cookie").is_some(), "the token hangs on a session");
    let again = cookies.get_page(&site, "/form");
    assert!(again.text() != token && again.header("set-cookie").is_none());

    assert_eq!(cookies.post_form(&site, "/form", &format!("a=1&csrf_token={token}")).text(), "taken");
    assert_eq!(cookies.post_form(&site, "/form", &format!("csrf_token={}", again.text())).text(), "taken");
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let with = [("X-CSRF-Token", token.as_str())];
        assert_eq!(cookies.send(&site, method, "/form", &with, "").text(), "taken", "{method}");
        let refused = cookies.send(&site, method, "/form", &[], "");
        assert_eq!(refused.status, 403, "{method}");
        assert!(refused.text().contains("reload the page"), "{}", refused.text());
    }
    let mut changed = token.clone();
    changed.replace_range(3..4, if &token[3..4] == "A" { "B" } else { "A" });
    for body in ["", "csrf_token=", "csrf_token=x", &format!("csrf_token={changed}"), "a=1"] {
        assert_eq!(cookies.post_form(&site, "/form", body).status, 403, "{body}");
    }
    let multipart = [("Content-Type", "multipart/form-data; boundary=x")];
    assert_eq!(cookies.send(&site, "POST", "/form", &multipart, "--x--").status, 403);
    let text = [("Content-Type", "text/plain")];
    assert_eq!(cookies.send(&site, "POST", "/form", &text, &format!("csrf_token={token}")).status, 403);
    let json = [("Content-Type", "application/json")];
    assert_eq!(cookies.send(&site, "POST", "/form", &json, "{}").text(), "taken", "no form sends JSON");
    assert_eq!(cookies.post_form(&site, "/hook", "a=1").text(), "hooked", "a route may do without");

    let mut stranger = Cookies::default();
    stranger.get_page(&site, "/form");
    assert_eq!(stranger.post_form(&site, "/form", &format!("csrf_token={token}")).status, 403);
    assert_eq!(Cookies::default().post_form(&site, "/form", &format!("csrf_token={token}")).status, 403);

    cookies.post_form(&site, "/logout", &format!("csrf_token={token}"));
    assert_eq!(cookies.post_form(&site, "/form", &format!("csrf_token={token}")).status, 403);
}

in_each_language!(a_secret_that_others_can_read_is_refused_and_check_says_where_it_is);
fn a_secret_that_others_can_read_is_refused_and_check_says_where_it_is(language: Language) {
    let plan = language.plan(LOGIN);
    let folder = plan.folder().path().to_owned();
    let check = || tests::command::run(&folder, ["check", language.app()]);
    let before = check();
    assert_eq!(before.code, Some(0), "{}", before.stderr);
    assert!(
        before.stdout.contains("secret of .kennel/secret, which `kennel run` will make"),
        "{}",
        before.stdout
    );
    assert!(!folder.join(".kennel").exists(), "check makes nothing");

    let plan = plan.file(".kennel/secret", "0123456789abcdefghij\n");
    let finished = check();
    assert_eq!(finished.code, Some(2));
    assert!(
        finished.stderr.contains(".kennel/secret can be read by others (mode 644)"),
        "{}",
        finished.stderr
    );
    assert!(finished.stderr.contains("chmod 600") && !finished.stderr.contains("0123456789abcdef"));
    let refused = tests::command::run(&folder, ["run", "--listen=127.0.0.1:1", language.app()]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("can be read by others"), "{}", refused.stderr);
    drop(plan);
}
