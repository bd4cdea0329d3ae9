use serde_json::Value;
use std::process::Stdio;
use tests::client::Client;
use tests::command::{self, Finished};
use tests::folder::Folder;
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::log::Log;
use tests::port::Port;
use tests::venv;

/// An app with a file of tests beside it.
struct App {
    folder: Folder,
    language: Language,
}

impl App {
    fn new(language: Language, app: Scripts<'_>) -> Self {
        let folder = Folder::new();
        folder.write(language.app(), language.script_of(app));
        Self { folder, language }
    }

    /// Runs a file of tests, in each language what stands behind the import, which is line 1.
    fn test_with(&self, tests: Scripts<'_>, flags: &[&str]) -> Finished {
        let text = match self.language {
            Language::Lua => format!("local testing = require \"kennel.testing\"\n{}\n", tests.lua),
            Language::Python => {
                // As the language's own scripts are: what all lines begin with is taken away.
                let script = Language::Python.script(tests.python);
                script.replacen("import kennel; app = kennel.App()", "from kennel import testing", 1)
            }
        };
        self.folder.write(&self.language.file("tests/test_app"), text);
        command::run(self.folder.path(), [&["test"], flags].concat())
    }

    #[track_caller]
    fn passes(&self, tests: Scripts<'_>) {
        let finished = self.test_with(tests, &[]);
        assert_eq!(finished.code, Some(0), "{}{}", finished.stdout, finished.stderr);
        assert!(finished.stdout.contains(" passed in "), "{}", finished.stdout);
    }
}

/// Greets, sleeps, fails, counts and talks.
const TALKER: Scripts<'static> = Scripts {
    lua: r#"
    app:get("/hello/{name}", function(req, name) return { hello = name, agent = req.headers["user-agent"], q = req.args.q } end)
    app:get("/late", function() kennel.sleep(5) return "late" end)
    app:get("/never", function() kennel.sleep(1e6) return "never" end)
    app:get("/fails", function() local nothing = nil; return nothing.x end)
    app:post("/body", function(req) return { kind = req.headers["content-type"], body = req.body } end)
    app:get("/visit", function(req)
      local n = tonumber(req.cookies.n or 0) + 1
      return kennel.response(tostring(n), { cookies = { n = tostring(n) } })
    end)
    app:get("/away", function() return kennel.redirect("/visit") end)
    app:after(function(req, res) res.headers["x-after"] = "yes" end)
    local ticks = 0
    app:every(10, function() ticks = ticks + 1 kennel.log.info("tick", { n = ticks }) end)
    app:get("/ticks", function() return tostring(ticks) end)
    app:channel("/chat/{room}", {
      open = function(conn)
        conn:join(conn.request.params.room)
        if not conn.resumed then conn.data = { from = conn.request.params.room } conn:send("welcome") end
      end,
      message = function(conn, msg)
        if msg == "bye" then return conn:close(4001, "as you like") end
        if conn.binary then return conn:send_binary(msg) end
        kennel.room(conn.request.params.room):send(msg, { except = conn })
      end,
      close = function(conn, code) kennel.log.info("closed " .. code) end,
    })
    app:channel("/echo", function(conn)
      for msg in conn:messages() do conn:send((conn.resumed and "again " or "") .. msg) end
    end)
    app:channel("@json", { message = function(conn, msg) conn:send("got " .. msg) end })
    app:channel("<xml", { message = function(conn, msg) conn:send("got " .. msg) end })
    "#,
    python: r#"
    import asyncio

    @app.get("/hello/{name}")
    def hello(req, name): return {"hello": name, "agent": req.headers.get("user-agent"), "q": req.args.get("q")}
    @app.get("/late")
    async def late(req):
        await asyncio.sleep(5)
        return "late"
    @app.get("/never")
    async def never(req):
        await asyncio.sleep(1e6)
        return "never"
    @app.get("/fails")
    def fails(req): return None.x
    @app.post("/body")
    def body(req): return {"kind": req.headers.get("content-type"), "body": req.body.decode()}
    @app.get("/visit")
    def visit(req):
        n = int(req.cookies.get("n", 0)) + 1
        return kennel.response(str(n), cookies={"n": str(n)})
    @app.get("/away")
    def away(req): return kennel.redirect("/visit")
    @app.after
    def after(req, res): res.headers["x-after"] = "yes"
    ticks = 0
    @app.every(10)
    def tick():
        global ticks
        ticks += 1
        kennel.log.info("tick", {"n": ticks})
    @app.get("/ticks")
    def get_ticks(req): return str(ticks)
    @app.channel("/chat/{room}")
    class Chat:
        def open(self, conn):
            conn.join(conn.request.params["room"])
            if not conn.resumed:
                conn.data = {"from": conn.request.params["room"]}
                conn.send("welcome")
        def message(self, conn, msg):
            if msg == "bye": return conn.close(4001, "as you like")
            if isinstance(msg, bytes): return conn.send(msg)
            kennel.room(conn.request.params["room"]).send(msg, except_=conn)
        def close(self, conn, code, reason): kennel.log.info(f"closed {code}")
    @app.channel("/echo")
    async def echo(conn):
        async for msg in conn: conn.send(("again " if conn.resumed else "") + msg)
    @app.channel("@json")
    class Json:
        def message(self, conn, msg): conn.send("got " + msg)
    @app.channel("<xml")
    class Xml:
        def message(self, conn, msg): conn.send("got " + msg)
    "#,
};

in_each_language!(requests_are_answered_as_clients_see_it);
fn requests_are_answered_as_clients_see_it(language: Language) {
    App::new(language, TALKER).passes(Scripts {
        lua: r#"
        testing.test("answers", function()
          local site = testing.site()
          local res = site:get("/hello/a%20b", { headers = { ["User-Agent"] = "me" }, query = { q = "ü &" } })
          testing.equal(res.status, 200)
          testing.equal(res:json(), { hello = "a b", agent = "me", q = "ü &" })
          testing.equal(res.headers["Content-Type"], "application/json")
          testing.equal(res.headers:all("x-after"), { "yes" })
          testing.equal(site:head("/hello/x").body, "")
          testing.equal(site:get("/nothing").status, 404)
          testing.equal(site:delete("/body").status, 405)
          testing.equal(site:options("/body").headers.allow, "OPTIONS, POST")
          testing.equal(site:request("brew", "/body").status, 405)
          testing.equal(site.time, 0)
        end)
        "#,
        python: r#"
        def test_answers():
            site = testing.site()
            res = site.get("/hello/a%20b", headers={"User-Agent": "me"}, query={"q": "ü &"})
            assert res.status == 200
            assert res.json() == {"hello": "a b", "agent": "me", "q": "ü &"}
            assert res.headers["Content-Type"] == "application/json"
            assert res.headers.getall("x-after") == ["yes"]
            assert site.head("/hello/x").body == b""
            assert site.get("/nothing").status == 404
            assert site.delete("/body").status == 405
            assert site.options("/body").headers["allow"] == "OPTIONS, POST"
            assert site.request("brew", "/body").status == 405
            assert site.time == 0
        "#,
    });
}

in_each_language!(bodies_are_sent_as_browsers_send_them);
fn bodies_are_sent_as_browsers_send_them(language: Language) {
    App::new(language, TALKER).passes(Scripts {
        lua: r#"
        testing.test("bodies", function()
          local site = testing.site()
          local form = site:post("/body", { form = { a = "x y", b = { 1, "ü" } } }):json()
          testing.equal(form, { kind = "application/x-www-form-urlencoded", body = "a=x+y&b=1&b=%C3%BC" })
          testing.equal(site:post("/body", { json = { n = 1 } }):json(), { kind = "application/json", body = '{"n":1}' })
          testing.equal(site:post("/body", { body = "as it is" }):json(), { body = "as it is" })
          local files = site:post("/body", { form = { a = "1" }, files = { f = { filename = "x.txt", content = "hi" } } }):json()
          testing.contains(files.kind, "multipart/form-data; boundary=")
          testing.contains(files.body, 'name="f"; filename="x.txt"\r\nContent-Type: application/octet-stream\r\n\r\nhi\r\n')
        end)
        "#,
        python: r#"
        def test_bodies():
            site = testing.site()
            form = site.post("/body", form={"a": "x y", "b": [1, "ü"]}).json()
            assert form == {"kind": "application/x-www-form-urlencoded", "body": "a=x+y&b=1&b=%C3%BC"}
            assert site.post("/body", json={"n": 1}).json() == {"kind": "application/json", "body": '{"n":1}'}
            assert site.post("/body", body="as it is").json() == {"kind": None, "body": "as it is"}
            files = site.post("/body", form={"a": "1"}, files={"f": {"filename": "x.txt", "content": "hi"}}).json()
            assert files["kind"].startswith("multipart/form-data; boundary=")
            part = 'name="f"; filename="x.txt"\r\nContent-Type: application/octet-stream\r\n\r\nhi\r\n'
            assert part in files["body"]
        "#,
    });
}

in_each_language!(cookies_are_kept_and_redirects_followed_when_asked);
fn cookies_are_kept_and_redirects_followed_when_asked(language: Language) {
    App::new(language, TALKER).passes(Scripts {
        lua: r#"
        testing.test("cookies", function()
          local site = testing.site()
          testing.equal(site:get("/visit").text, "1")
          testing.equal(site:get("/visit").text, "2")
          testing.equal(site:get("/visit", { cookie_jar = false }).text, "1")
          testing.equal(site:get("/visit", { cookies = { n = "40" } }).text, "41")
          testing.equal(site.cookies, { n = "41" })
          local res = site:get("/away")
          testing.equal({ res.status, res.headers.location }, { 303, "/visit" })
          testing.equal(site:get("/away", { follow = true }).text, "42")
          site:forget_cookies()
          testing.equal(site:get("/visit").text, "1")
        end)
        "#,
        python: r#"
        def test_cookies():
            site = testing.site()
            assert site.get("/visit").text == "1"
            assert site.get("/visit").text == "2"
            assert site.get("/visit", cookie_jar=False).text == "1"
            assert site.get("/visit", cookies={"n": "40"}).text == "41"
            assert site.cookies == {"n": "41"}
            res = site.get("/away")
            assert (res.status, res.headers["location"]) == (303, "/visit")
            assert site.get("/away", follow=True).text == "42"
            site.forget_cookies()
            assert site.get("/visit").text == "1"
        "#,
    });
}

in_each_language!(time_passes_when_the_test_says_so_and_no_sooner);
fn time_passes_when_the_test_says_so_and_no_sooner(language: Language) {
    let begun = std::time::Instant::now();
    App::new(language, TALKER).passes(Scripts {
        lua: r#"
        testing.test("time", function()
          local site = testing.site()
          testing.equal(site:get("/late").text, "late")
          testing.equal(site.time, 5)
          testing.equal(site:get("/never").status, 504)
          site:advance(3600 * 6 - site.time)
          testing.equal(site.time, 3600 * 6)
          testing.equal(site:get("/ticks").text, "2160")
          testing.equal(#site.log, 2160)
          local last = site.log[2160]
          testing.equal({ last.level, last.text, last.fields, last.at }, { "info", "tick", { n = 2160 }, 21600 })
        end)
        testing.test("another site has another time", function()
          local site = testing.site(nil, { request_timeout = 2 })
          testing.equal(site.time, 0)
          testing.equal(site:get("/late").status, 504)
          testing.equal(site:get("/ticks").text, "0")
        end)
        "#,
        python: r#"
        def test_time():
            site = testing.site()
            assert site.get("/late").text == "late"
            assert site.time == 5
            assert site.get("/never").status == 504
            site.advance(3600 * 6 - site.time)
            assert site.time == 3600 * 6
            assert site.get("/ticks").text == "2160"
            assert len(site.log) == 2160
            assert site.log[-1][:3] == ("info", "tick", {"n": 2160})
            assert site.log[-1].at == 21600
        def test_another_site_has_another_time():
            site = testing.site(request_timeout=2)
            assert site.time == 0
            assert site.get("/late").status == 504
            assert site.get("/ticks").text == "0"
        "#,
    });
    assert!(begun.elapsed().as_secs() < 60, "six hours of made-up time took {:?}", begun.elapsed());
}

in_each_language!(connections_talk_in_rooms_and_end_with_a_code);
fn connections_talk_in_rooms_and_end_with_a_code(language: Language) {
    App::new(language, TALKER).passes(Scripts {
        lua: r#"
        testing.test("chat", function()
          local site = testing.site()
          local ann, bob = site:connect("/chat/lobby"), site:connect("/chat/lobby")
          testing.equal(ann:receive(), "welcome")
          testing.equal(ann:receive(), nil)
          testing.equal(site:room("lobby"):count(), 2)
          testing.equal(ann.rooms, { "lobby" })
          testing.contains(site:room("lobby"):members(), ann.id)
          ann:send("hi")
          ann:send({ n = 1 })
          testing.equal(bob:messages(), { "welcome", "hi", '{"n":1}' })
          ann:send_binary("\1\2")
          local message, binary = ann:receive()
          testing.equal({ message, binary }, { "\1\2", true })
          testing.equal(bob.data, { from = "lobby" })
          ann:send("bye")
          testing.equal(ann.closed, { code = 4001, reason = "as you like" })
          testing.raises("the connection is closed (4001 as you like)", function() ann:send("x") end)
          bob:close(4000)
          testing.equal(site:room("lobby"):count(), 0)
          local eve = site:connect("/chat/lobby")
          eve:vanish()
          testing.equal(site:count(), 0)
          testing.equal(eve.closed.code, 1006)
          local lines = {}
          for at, line in ipairs(site.log) do lines[at] = line.text end
          testing.equal(lines, { "closed 4001", "closed 4000", "closed 1006" })
        end)
        testing.test("refused", function()
          local site = testing.site()
          local conn, refused = site:connect("/nothing")
          testing.equal({ conn == nil, refused.status }, { true, 404 })
          conn, refused = site:connect("/echo", { origin = "http://elsewhere" })
          testing.equal({ conn == nil, refused.status }, { true, 403 })
        end)
        testing.test("other wires", function()
          local site = testing.site()
          for _, name in ipairs({ "@json", "<xml" }) do
            local conn = site:connect(name)
            conn:send("<xml/>")
            testing.equal(conn:messages(), { "got <xml/>" })
            conn:close()
            testing.equal(site:count(), 0)
          end
        end)
        "#,
        python: r#"
        def test_chat():
            site = testing.site()
            ann, bob = site.connect("/chat/lobby"), site.connect("/chat/lobby")
            assert ann.receive() == "welcome"
            assert ann.receive() is None
            assert site.room("lobby").count() == 2
            assert ann.rooms == ["lobby"]
            assert ann.id in site.room("lobby").members()
            ann.send("hi")
            ann.send({"n": 1})
            assert bob.messages() == ["welcome", "hi", '{"n":1}']
            ann.send_binary(b"\1\2")
            assert ann.receive() == b"\1\2"
            assert bob.data == {"from": "lobby"}
            ann.send("bye")
            assert ann.closed == (4001, "as you like")
            try:
                ann.send("x")
            except RuntimeError as problem:
                assert str(problem) == "the connection is closed (4001 as you like)"
            else:
                assert False
            bob.close(4000)
            assert site.room("lobby").count() == 0
            eve = site.connect("/chat/lobby")
            eve.vanish()
            assert site.count() == 0
            assert eve.closed.code == 1006
            assert [line.text for line in site.log] == ["closed 4001", "closed 4000", "closed 1006"]
        def refused(site, path, **options):
            try:
                site.connect(path, **options)
            except testing.Refused as refusal:
                return refusal.response.status
        def test_refused():
            site = testing.site()
            assert refused(site, "/nothing") == 404
            assert refused(site, "/echo", origin="http://elsewhere") == 403
        def test_other_wires():
            site = testing.site()
            for name in "@json", "<xml":
                conn = site.connect(name)
                conn.send("<xml/>")
                assert conn.messages() == ["got <xml/>"]
                conn.close()
                assert site.count() == 0
        "#,
    });
}

in_each_language!(a_reload_hands_the_connections_over);
fn a_reload_hands_the_connections_over(language: Language) {
    App::new(language, TALKER).passes(Scripts {
        lua: r#"
        testing.test("reload", function()
          local site = testing.site()
          local conn, member = site:connect("/echo"), site:connect("/chat/x")
          conn:send("one")
          site:advance(30)
          site:reload()
          conn:send("two")
          testing.equal(conn:messages(), { "one", "again two" })
          testing.equal(site:get("/ticks").text, "0")
          testing.equal({ site:room("x"):count(), member.data.from }, { 1, "x" })
        end)
        testing.test("what a room is told arrives after an hour of silence, unless nobody answers pings", function()
          local site = testing.site()
          local a, b = site:connect("/chat/x"), site:connect("/chat/x")
          site:advance(3600)
          a:send("still there?")
          testing.equal(b:messages(), { "welcome", "still there?" })
          site:answer_pings(false)
          site:advance(600)
          testing.equal(site:count(), 0)
        end)
        testing.test("evaluate", function()
          testing.equal(testing.site():evaluate("1 + 1"), "2")
        end)
        "#,
        python: r#"
        def test_reload():
            site = testing.site()
            conn, member = site.connect("/echo"), site.connect("/chat/x")
            conn.send("one")
            site.advance(30)
            site.reload()
            conn.send("two")
            assert conn.messages() == ["one", "again two"]
            assert site.get("/ticks").text == "0"
            assert (site.room("x").count(), member.data["from"]) == (1, "x")
        def test_what_a_room_is_told_arrives_after_an_hour_of_silence_unless_nobody_answers_pings():
            site = testing.site()
            a, b = site.connect("/chat/x"), site.connect("/chat/x")
            site.advance(3600)
            a.send("still there?")
            assert b.messages() == ["welcome", "still there?"]
            site.answer_pings(False)
            site.advance(600)
            assert site.count() == 0
        def test_evaluate():
            assert testing.site().evaluate("1 + 1") == "2"
        "#,
    });
}

in_each_language!(a_failure_names_the_line_both_values_and_what_the_app_logged);
fn a_failure_names_the_line_both_values_and_what_the_app_logged(language: Language) {
    let app = App::new(language, TALKER);
    let finished = app.test_with(
        Scripts {
            lua: r#"
testing.test("one", function()
  local res = testing.site():get("/fails")
  testing.contains(res.error, "GET /fails failed")
  testing.equal(res.status, 200)
end)
testing.test("two", function() testing.equal({ a = { 1, 2 } }, { a = { 1, 3 } }) end)
testing.test("three", function() testing.site():get("no path") end)
testing.test("four", function() end)
testing.test("five", function() testing.skip("not today") end)
"#,
            python: r#"
def test_one():
    res = testing.site().get("/fails")
    assert "GET /fails failed" in res.error
    assert res.status == 200

def test_two(): assert {"a": [1, 2]} == {"a": [1, 3]}
def test_three(): testing.site().get("no path")
def test_four(): pass
def test_five(): testing.skip("not today")
"#,
        },
        &[],
    );
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let (file, out) = (language.file("tests/test_app"), &finished.stdout);
    let place = language.pick(6, 6);
    for part in [
        &*format!("FAILED {file}:{place}: "),
        "expected: 200\n",
        "got:      500\n",
        "the app logged:\n      GET /fails failed: ",
        language.pick("at a[2]: expected 3, got 2", "at ['a'][1]: expected 3, got 2"),
        "a path begins with `/` and has no blanks (they are written %20), not `no path`",
        "1 passed, 3 failed, 1 skipped in ",
    ] {
        assert!(out.contains(part), "no `{part}` in:\n{out}");
    }
}

in_each_language!(a_test_that_hangs_fails_and_the_others_are_run);
fn a_test_that_hangs_fails_and_the_others_are_run(language: Language) {
    let app = App::new(language, Scripts { lua: "", python: "" });
    let tests = Scripts {
        lua: r#"
testing.test("before", function() end)
testing.test("hangs", function() print("I hang") while true do end end)
testing.test("between", function() end)
testing.test("dies", function() os.exit(7) end)
testing.test("after", function() print("I was here") end)
"#,
        python: r#"
import os

def test_before(): pass
def test_hangs():
    print("I hang")
    while True: pass
def test_between(): pass
def test_dies(): os._exit(7)
def test_after(): print("I was here")
"#,
    };
    let finished = app.test_with(tests, &["--timeout", "0.5", "--json"]);
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let told: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    let results: Vec<_> =
        told["tests"].as_array().expect("a list").iter().map(|test| &test["outcome"]).collect();
    assert_eq!(results, ["passed", "failed", "passed", "failed", "passed"], "{told}");
    let message = |at: usize| told["tests"][at]["failure"]["message"].as_str().expect("a text").to_owned();
    assert!(message(1).starts_with("it took longer than 500ms"), "{}", message(1));
    assert!(message(3).contains("exit status: 7"), "{}", message(3));
    assert!(
        finished.stderr.contains("I was here") && finished.stderr.contains("I hang"),
        "{}",
        finished.stderr
    );
}

in_each_language!(an_app_that_never_comes_to_rest_fails_its_test);
fn an_app_that_never_comes_to_rest_fails_its_test(language: Language) {
    let app = App::new(
        language,
        Scripts {
            lua: r#"app:get("/", function() while true do kennel.sleep(0) end end)"#,
            python: r#"
            import asyncio
            @app.get("/")
            async def page(req):
                while True: await asyncio.sleep(0)
            "#,
        },
    );
    let tests = Scripts {
        lua: r#"testing.test("rest", function() testing.site():get("/") end)"#,
        python: "def test_rest(): testing.site().get(\"/\")",
    };
    let finished = app.test_with(tests, &["--timeout", "60"]);
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(finished.stdout.contains("the app does not come to rest"), "{}", finished.stdout);
}

in_each_language!(an_app_that_does_not_load_says_why);
fn an_app_that_does_not_load_says_why(language: Language) {
    let app = App::new(language, Scripts { lua: "local x = nil + 1", python: "x = None + 1" });
    let tests = Scripts {
        lua: r#"testing.test("load", function() testing.site() end)"#,
        python: "def test_load(): testing.site()",
    };
    let finished = app.test_with(tests, &[]);
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let place = language.place(2, 2);
    assert!(finished.stdout.contains(&format!("the app did not load: {place}: ")), "{}", finished.stdout);
    let own = format!("FAILED {}:2: ", language.file("tests/test_app"));
    assert!(finished.stdout.contains(&own), "the place is the test's line: {}", finished.stdout);
    // And a file of tests that does not.
    let tests = Scripts { lua: "local x = nil + 1", python: "x = None + 1" };
    let finished = app.test_with(tests, &[]);
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let place = format!("FAILED {}:2: (the file itself)", language.file("tests/test_app"));
    assert!(finished.stdout.contains(&place), "{}", finished.stdout);
}

#[test]
fn an_app_of_another_framework_is_not_taken_and_the_error_says_how_to_test_it() {
    let app = App::new(Language::Python, TALKER);
    app.folder.write(
        "other.py",
        "class Flask:\n    def __call__(self, environ, start_response): pass\napp = Flask()\n",
    );
    let tests = r#"
from other import app

def test_object(): testing.site(app)
def test_file(): testing.site("other.py")
"#;
    let finished = app.test_with(Scripts { lua: "", python: tests }, &[]);
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let advice = r#"not Flask; test an ASGI or WSGI app with its framework's test client, or by real requests to `kennel run`"#;
    assert_eq!(finished.stdout.matches(advice).count(), 2, "{}", finished.stdout);
    assert_eq!(finished.stdout.matches("FAILED tests/test_app.py:").count(), 2, "{}", finished.stdout);
}

in_each_language!(settings_of_the_app_are_those_of_kennel_toml);
fn settings_of_the_app_are_those_of_kennel_toml(language: Language) {
    let app = App::new(
        language,
        Scripts {
            lua: r#"app:get("/", function() return kennel.config.greeting end)
            app:get("/never", function() kennel.sleep(1e6) end)"#,
            python: r#"
            import asyncio
            @app.get("/")
            def page(req): return kennel.config["greeting"]
            @app.get("/never")
            async def never(req): await asyncio.sleep(1e6)
            "#,
        },
    );
    let settings = "[[app]]\nsource = \"APP\"\nmount = \"/m\"\n[app.config]\ngreeting = \"hi\"\n[limits]\nrequest_timeout = \"3s\"\n";
    app.folder.write("kennel.toml", settings.replace("APP", language.app()));
    let tests = Scripts {
        lua: r#"
        testing.test("settings", function()
          local site = testing.site()
          testing.equal(site:get("/m/").text, "hi")
          testing.equal(site:get("/").status, 404)
          testing.equal(site:get("/m/never").status, 504)
          assert(site.time < 4)
          testing.equal(testing.site(nil, { config = { greeting = "ho" } }):get("/m/").text, "ho")
        end)
        "#,
        python: r#"
        def test_settings():
            site = testing.site()
            assert site.get("/m/").text == "hi"
            assert site.get("/").status == 404
            assert site.get("/m/never").status == 504
            assert site.time < 4
            assert testing.site(config={"greeting": "ho"}).get("/m/").text == "ho"
        "#,
    };
    app.passes(tests);
    // From elsewhere the folder is named.
    let folder = app.folder.path().to_owned();
    let finished =
        command::run(folder.parent().expect("a folder around it"), ["test", &folder.display().to_string()]);
    assert_eq!(finished.code, Some(0), "{}{}", finished.stdout, finished.stderr);
}

#[test]
fn no_tests_are_wrong_input() {
    let folder = Folder::new();
    let finished = command::run(folder.path(), ["test"]);
    assert_eq!(finished.code, Some(2));
    assert!(
        finished.stderr.contains("test_*.lua, *_test.lua, test_*.py and *_test.py"),
        "{}",
        finished.stderr
    );
    assert_eq!(command::run(folder.path(), ["test", "nowhere"]).code, Some(2));
    folder.write("a_test.lua", "require('kennel.testing').test('a', function() end)");
    let finished = command::run(folder.path(), ["test", "-k", "zzz"]);
    assert_eq!((finished.code, finished.stderr.contains("no test has `zzz`")), (Some(2), true));
    assert_eq!(command::run(folder.path(), ["test", "a_test.lua"]).code, Some(0));
}

in_each_language!(a_new_app_passes_its_tests_and_is_served);
fn a_new_app_passes_its_tests_and_is_served(language: Language) {
    let folder = Folder::new();
    let lang = language.pick("lua", "python");
    let made = command::run(folder.path(), ["new", "my shop", "--lang", lang]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    assert!(made.stdout.contains("kennel test") && made.stdout.contains("kennel dev"), "{}", made.stdout);
    let place = folder.path().join("my shop");
    let tested = command::run(&place, ["test"]);
    assert_eq!(tested.code, Some(0), "{}{}", tested.stdout, tested.stderr);
    assert!(tested.stdout.starts_with("3 passed in "), "{}", tested.stdout);
    assert_eq!(command::run(&place, ["check"]).code, Some(0));

    let port = Port::free();
    let mut kennel = command::command(&place, ["dev", "--listen", &port.address()])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("kennel can be started");
    let log = Log::collect(kennel.stderr.take().expect("stderr is a pipe"));
    log.expect("ready:");
    let get = |path: &str| Client::connect(port.number()).get(path);
    let (page, style, hello) = (get("/"), get("/style.css"), get("/hello/Ann"));
    let _ = kennel.kill();
    let _ = kennel.wait();
    assert!(page.text().contains("<h1>my shop</h1>"), "{}", page.text());
    assert_eq!((page.status, style.status, hello.text()), (200, 200, r#"{"text":"Hello, Ann!"}"#.to_owned()));
}

#[test]
fn a_new_app_touches_nothing_that_is_there() {
    let folder = Folder::new();
    folder.write("old/mine.txt", "mine");
    let refused = command::run(folder.path(), ["new", "old"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("`old` is not empty"), "{}", refused.stderr);
    let refused = command::run(folder.path(), ["new", "old/mine.txt"]);
    assert!(refused.stderr.contains("`old/mine.txt` is a file"), "{}", refused.stderr);
    let left: Vec<_> = std::fs::read_dir(folder.path().join("old")).expect("it is there").collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn where_pytest_is_installed_it_runs_the_tests() {
    let list = Folder::new();
    let python = venv::python(&list.write("requirements.txt", "pytest==9.*\n"));
    let app = App::new(Language::Python, TALKER);
    let tests = r#"
import pytest

@pytest.fixture
def site():
    with testing.site() as site:
        yield site

def test_fixture(site):
    assert site.get("/late").text == "late"

async def test_coroutine(site):
    assert site.get("/visit").text == "1"

@pytest.mark.parametrize("name", ["ann", "bob"])
def test_each(site, name):
    print("asked as", name)
    assert site.get("/hello/" + name).json()["hello"] == "ann"

def test_error(site):
    assert site.get("/fails").status == 200

def test_load():
    testing.site("nowhere.py")

def test_skipped():
    testing.skip("not today")
"#;
    let python = python.display().to_string();
    let finished = app.test_with(Scripts { lua: "", python: tests }, &["--python", &python]);
    assert_eq!(finished.code, Some(1), "{}{}", finished.stdout, finished.stderr);
    for part in [
        ": test_each[bob]\n    assert site.get(",
        "    assert site.get(\"/fails\").status == 200\n",
        "the app logged:\n      GET /fails failed: ",
        "3 passed, 3 failed, 1 skipped in ",
        "FAILED tests/test_app.py:25: test_load\n    RuntimeError: the app did not load",
    ] {
        assert!(finished.stdout.contains(part), "no `{part}` in:\n{}", finished.stdout);
    }
    assert_eq!(
        finished.stderr.matches("asked as").count(),
        1,
        "of the test that failed: {}",
        finished.stderr
    );
    let chosen = app.test_with(Scripts { lua: "", python: tests }, &["--python", &python, "-k", "fixture"]);
    assert!(chosen.stdout.starts_with("1 passed in "), "{}{}", chosen.stdout, chosen.stderr);
}

in_each_language!(a_site_that_is_over_leaves_nothing_behind);
fn a_site_that_is_over_leaves_nothing_behind(language: Language) {
    App::new(language, TALKER).passes(Scripts {
        lua: r#"
        local function maps() local n = 0 for _ in io.lines("/proc/self/maps") do n = n + 1 end return n end
        local function drive() local site = testing.site() site:get("/late") site:connect("/echo") end
        testing.test("first", drive)
        local before
        for n = 1, 40 do
          testing.test("more " .. n, function() before = before or maps() drive() end)
        end
        testing.test("last", function() assert(maps() < before + 20, maps() .. " maps after " .. before) end)
        "#,
        python: r#"
        import gc, os
        def mine():
            gc.collect()
            with open("/proc/self/maps") as maps: return len(maps.readlines()) + len(os.listdir("/proc/self/fd"))
        def drive():
            site = testing.site()
            site.get("/late")
            site.connect("/echo")
        def test_much():
            drive()
            before = mine()
            for _ in range(40): drive()
            assert mine() < before + 20
        "#,
    });
}
