use serde_json::json;
use std::collections::HashSet;
use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};
use tests::client::{Client, get, request};
use tests::command;
use tests::fake::{FakeMongrel2, Message};
use tests::folder::Folder;
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::process::{self, Signal};
use tests::server::{Mongrel2, Setup};
use tests::site::Site;
use tests::wait;
use tests::websocket::{self, BINARY, CLOSE, FIN, Received, TEXT, WebSocket};

/// Says in the log what it hears, with the name that the client gave in its query, and does what it is told.
const TALK: Scripts<'_> = Scripts {
    lua: r#"
local function name(conn) return conn.request.args.name or "-" end
app:get("/fine", function() return "fine" end)
app:channel("/talk", {
  open = function(conn) print("[open " .. name(conn) .. " resumed=" .. tostring(conn.resumed) .. "]") end,
  message = function(conn, msg)
    local verb, rest = msg:match("^(%a+) ?(.*)$")
    if verb == "close" then
      local code, reason = rest:match("^(%d+) ?(.*)$")
      conn:close(tonumber(code), reason)
      print("[late " .. name(conn) .. " " .. tostring(conn:send("late")) .. "]")
    elseif verb == "fail" then error("on purpose")
    elseif verb == "loop" then while true do end
    elseif verb == "exit" then os.exit(7)
    elseif verb == "resumed" then conn:send(tostring(conn.resumed))
    elseif verb == "worker" then conn:send(tostring(kennel.worker))
    elseif verb == "id" then conn:send(conn.id)
    elseif verb == "keep" then conn.data = { kept = rest } conn:send("kept")
    elseif verb == "kept" then conn:send(conn.data and conn.data.kept or "nothing")
    else conn:send("re: " .. msg) end
  end,
  close = function(conn, code, reason)
    print("[close " .. name(conn) .. " " .. code .. " " .. tostring(reason) .. "]")
  end,
})
app:channel("/echo", function(conn)
  print("[begin resumed=" .. tostring(conn.resumed) .. "]")
  for msg in conn:messages() do
    if conn.binary then conn:send_binary(msg) else conn:send(msg) end
    if msg == "return" then return end
    if msg == "fail" then error("on purpose") end
  end
  print("[the end of messages]")
end)
"#,
    python: r#"
import os
def name(conn): return conn.request.args.get("name", "-")
def said(value): return str(value).lower()
@app.get("/fine")
def fine(req): return "fine"
@app.channel("/talk")
class Talk:
    def open(self, conn): print(f"[open {name(conn)} resumed={said(conn.resumed)}]")
    def message(self, conn, msg):
        verb, _, rest = msg.partition(" ")
        if verb == "close":
            code, _, reason = rest.partition(" ")
            if code:
                conn.close(int(code), reason)
            else:
                conn.close()
            print(f"[late {name(conn)} {said(conn.send('late'))}]")
        elif verb == "fail":
            raise RuntimeError("on purpose")
        elif verb == "loop":
            while True:
                pass
        elif verb == "exit":
            os._exit(7)
        elif verb == "resumed":
            conn.send(said(conn.resumed))
        elif verb == "worker":
            conn.send(str(kennel.worker))
        elif verb == "id":
            conn.send(conn.id)
        elif verb == "keep":
            conn.data = {"kept": rest}
            conn.send("kept")
        elif verb == "kept":
            conn.send(conn.data.get("kept", "nothing"))
        else:
            conn.send("re: " + msg)
    def close(self, conn, code, reason): print(f"[close {name(conn)} {code} {reason}]")
@app.channel("/echo")
async def echo(conn):
    print(f"[begin resumed={said(conn.resumed)}]")
    async for msg in conn:
        conn.send(msg)
        if msg == "return":
            return
        if msg == "fail":
            raise RuntimeError("on purpose")
    print("[the end of messages]")
"#,
};

/// Ends the site in peace and returns what it logged, so that nothing more can come.
fn log_to_the_end(mut site: Site) -> String {
    site.signal(Signal::TERM);
    assert_eq!(site.exit_code(), Some(0));
    site.log().to_end()
}

fn expect_once(log: &str, text: &str) {
    assert_eq!(log.matches(text).count(), 1, "`{text}` in:\n{log}");
}

in_each_language!(a_channel_hears_of_open_then_of_messages_then_of_close);
fn a_channel_hears_of_open_then_of_messages_then_of_close(language: Language) {
    let body = Scripts {
        lua: r#"
        local heard = {}
        local function hear(what) heard[#heard + 1] = what end
        app:channel("/", {
          open = function(conn) hear("open") conn:send("welcome") end,
          message = function(conn, msg) hear(msg) end,
          close = function(conn, code, reason) hear(code .. reason) print(table.concat(heard, ",")) end,
        })
    "#,
        python: r#"
        heard = []
        @app.channel("/")
        class Everything:
            def open(self, conn):
                heard.append("open")
                conn.send("welcome")
            async def message(self, conn, msg): heard.append(msg)
            def close(self, conn, code, reason):
                heard.append(f"{code}{reason}")
                print(",".join(heard))
    "#,
    };
    let site = language.plan(body).behind_warm().workers(1).start();
    let mut ws = site.websocket("/");
    assert_eq!(ws.read_text(), "welcome");
    ws.send("one");
    ws.send("two");
    ws.close(4000, "bye");
    site.log().expect("open,one,two,4000bye");
}

in_each_language!(a_channel_needs_no_more_handlers_than_it_has_use_for);
fn a_channel_needs_no_more_handlers_than_it_has_use_for(language: Language) {
    let body = Scripts {
        lua: r#"
        app:channel("/deaf", { open = function(conn) conn:send("hello") end })
        app:channel("/mute", { message = function(conn, msg) conn:send(msg) end })
        app:channel("/late", { close = function(conn, code) print("closed with " .. code) end })
    "#,
        python: r#"
        @app.channel("/deaf")
        class Deaf:
            def open(self, conn): conn.send("hello")
        @app.channel("/mute")
        class Mute:
            def message(self, conn, msg): conn.send(msg)
        @app.channel("/late")
        class Late:
            async def close(self, conn, code, reason): print(f"closed with {code}")
    "#,
    };
    let site = language.site(body);
    let mut deaf = site.websocket("/deaf");
    assert_eq!(deaf.read_text(), "hello");
    deaf.send("who hears this?");
    deaf.close(1000, "");
    let mut mute = site.websocket("/mute");
    assert_eq!(mute.ask("x"), "x");
    site.websocket("/late").close(4007, "");
    site.log().expect("closed with 4007");
    assert_eq!(site.log().count("ERROR"), 0);
}

in_each_language!(straight_line_code_reads_its_messages_in_a_loop);
fn straight_line_code_reads_its_messages_in_a_loop(language: Language) {
    let site = language.site(TALK);
    let mut clients: Vec<WebSocket> = (0..5).map(|_| site.websocket("/echo")).collect();
    for round in 0..3 {
        for (n, ws) in clients.iter_mut().enumerate() {
            ws.send(format!("{n} {round}"));
            ws.send_binary([0, 255, n as u8]);
        }
        for (n, ws) in clients.iter_mut().enumerate() {
            assert_eq!(ws.read_text(), format!("{n} {round}"));
            assert_eq!(ws.read_binary(), [0, 255, n as u8]);
        }
    }
    for ws in clients {
        ws.close(1000, "");
    }
    site.log().expect_times("[the end of messages]", 5);
}

in_each_language!(straight_line_code_that_returns_closes_with_1000_and_one_that_fails_with_1011);
fn straight_line_code_that_returns_closes_with_1000_and_one_that_fails_with_1011(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        app:channel("/", function(conn)
          for msg in conn:messages() do
            if msg == "return" then return end
            error("on purpose")
          end
        end)
        "#,
        python: r#"
        @app.channel("/")
        async def read(conn):
            async for msg in conn.messages():
                if msg == "return":
                    return
                raise RuntimeError("on purpose")
        "#,
    });
    let mut ws = site.websocket("/");
    ws.send("return");
    assert_eq!(ws.read_close().0, 1000);
    assert_eq!(site.log().count("ERROR"), 0);
    let mut ws = site.websocket("/");
    ws.send("fail");
    let (code, reason) = ws.read_close();
    assert_eq!(code, 1011);
    assert!(!reason.contains("purpose") && !reason.contains("app."), "strangers need not know: {reason}");
    let line = site.log().expect(&language.raised(6, 8, "on purpose"));
    assert!(line.contains("ERROR"), "{line}");
}

in_each_language!(what_was_sent_before_the_function_returns_arrives_before_the_close);
fn what_was_sent_before_the_function_returns_arrives_before_the_close(language: Language) {
    let site = language.site(Scripts {
        lua: r#"app:channel("/", function(conn) for n = 1, 100 do conn:send("line " .. n) end end)"#,
        python: r#"
        @app.channel("/")
        async def lines(conn):
            for n in range(1, 101):
                conn.send(f"line {n}")
        "#,
    });
    let mut ws = site.websocket("/");
    for n in 1..=100 {
        assert_eq!(ws.read_text(), format!("line {n}"));
    }
    assert_eq!(ws.read_close().0, 1000);
}

in_each_language!(messages_of_every_kind_and_size_come_and_go_unchanged);
fn messages_of_every_kind_and_size_come_and_go_unchanged(language: Language) {
    let site = language.site(Scripts {
        lua: &TALK
            .lua
            .replace(r#"app:channel("/echo","#, r#"app:channel("/echo", { max_message = 8000000 },"#),
        python: &TALK.python.replace(r#"channel("/echo")"#, r#"channel("/echo", max_message=8000000)"#),
    });
    let mut ws = site.websocket("/echo");
    let every_byte: Vec<u8> = (0..=255).cycle().take(5_000_000).collect();
    for size in [0, 1, 125, 126, 127, 65_535, 65_536, 200_000, 5_000_000] {
        ws.send_binary(&every_byte[..size]);
        assert!(ws.read_binary() == every_byte[..size], "{size} bytes");
        let text = "ä€😀x".repeat(size / 10);
        assert!(ws.ask(&text) == text, "a text of {} bytes", text.len());
    }
    assert_eq!(ws.ask("nul \0 and ctl \x01\u{7f}"), "nul \0 and ctl \x01\u{7f}");
}

in_each_language!(a_table_is_sent_as_json_and_bytes_by_send_binary);
fn a_table_is_sent_as_json_and_bytes_by_send_binary(language: Language) {
    let body = Scripts {
        lua: r#"
        app:channel("/", function(conn)
          conn:send({ a = 1, list = kennel.array({}), nothing = kennel.null })
          conn:send({ 1, "zwei", true })
          conn:send("")
          conn:send_binary("\0\255")
          conn:send_binary("")
          local ok, problem = pcall(conn.send, conn, "no \255 text")
          conn:send(tostring(ok) .. tostring(problem))
        end)
    "#,
        python: r#"
        @app.channel("/")
        async def everything(conn):
            conn.send({"a": 1, "list": [], "nothing": None})
            conn.send([1, "zwei", True])
            conn.send("")
            conn.send(b"\0\xff")
            conn.send(b"")
            try:
                conn.send("no \ud800 text")
            except UnicodeError as problem:
                conn.send(f"false {problem}")
    "#,
    };
    let site = language.site(body);
    let mut ws = site.websocket("/");
    let table = serde_json::from_str::<serde_json::Value>(&ws.read_text()).expect("JSON");
    assert_eq!(table, json!({ "a": 1, "list": [], "nothing": null }));
    assert_eq!(ws.read_text(), r#"[1,"zwei",true]"#);
    assert_eq!(ws.read_text(), "");
    assert_eq!(ws.read_binary(), [0, 255]);
    assert_eq!(ws.read_binary(), b"");
    let refusal = ws.read_text();
    assert!(refusal.starts_with("false") && refusal.to_uppercase().contains("UTF-8"), "{refusal}");
    assert_eq!(ws.read_close().0, 1000);
}

in_each_language!(messages_of_one_connection_run_one_after_the_other_and_those_of_others_meanwhile);
fn messages_of_one_connection_run_one_after_the_other_and_those_of_others_meanwhile(language: Language) {
    let body = Scripts {
        lua: r#"
        app:channel("/", { message = function(conn, msg)
          if msg == "slow" then repeat kennel.sleep(0.01) until io.open("go") end
          conn:send(msg)
        end })
    "#,
        python: r#"
        import asyncio, os
        @app.channel("/")
        class Slow:
            async def message(self, conn, msg):
                while msg == "slow" and not os.path.exists("go"):
                    await asyncio.sleep(0.01)
                conn.send(msg)
    "#,
    };
    let site = language.plan(body).behind_warm().workers(1).start();
    let (mut slow, mut quick) = (site.websocket("/"), site.websocket("/"));
    slow.send("slow");
    for n in 0..20 {
        slow.send(n.to_string());
    }
    assert_eq!(quick.ask("quick"), "quick", "it does not wait for another");
    assert!(slow.is_silent_for(Duration::from_millis(20)), "nothing overtakes the first message");
    site.folder().write("go", "");
    assert_eq!(slow.read_text(), "slow");
    for n in 0..20 {
        assert_eq!(slow.read_text(), n.to_string());
    }
}

in_each_language!(a_connection_knows_its_request_its_transport_and_that_it_is_new);
fn a_connection_knows_its_request_its_transport_and_that_it_is_new(language: Language) {
    let body = Scripts {
        lua: r#"
        app:channel("/room/{name}/{*rest}", function(conn)
          local req = conn.request
          conn:send({
            path = req.path, name = req.params.name, rest = req.params.rest, query = req.args.q,
            agent = req.headers["User-Agent"], cookie = req.cookies.who, address = req.remote_addr,
            method = req.method, transport = conn.transport, resumed = conn.resumed,
          })
          for msg in conn:messages() do conn:send(conn.request.args.q .. msg) end
        end)
    "#,
        python: r#"
        @app.channel("/room/{name}/{*rest}")
        async def room(conn):
            req = conn.request
            conn.send({
                "path": req.path, "name": req.params["name"], "rest": req.params["rest"], "query": req.args["q"],
                "agent": req.headers["User-Agent"], "cookie": req.cookies["who"], "address": req.remote_addr,
                "method": req.method, "transport": conn.transport, "resumed": conn.resumed,
            })
            async for msg in conn:
                conn.send(conn.request.args["q"] + msg)
    "#,
    };
    let site = language.site(body);
    let headers = [("User-Agent", "a test"), ("Cookie", "who=ann")];
    let mut ws = site.websocket_with("/room/caf%C3%A9/a/b?q=1", &headers);
    let seen: serde_json::Value = serde_json::from_str(&ws.read_text()).expect("JSON");
    let expected = json!({
        "path": "/room/caf%C3%A9/a/b", "name": "café", "rest": "a/b", "query": "1", "agent": "a test",
        "cookie": "ann", "address": "127.0.0.1", "transport": "websocket", "resumed": false,
        "method": seen["method"],
    });
    assert_eq!(seen, expected);
    assert_eq!(ws.ask("2"), "12", "the opening request is there for later messages too");
}

in_each_language!(no_two_connections_ever_have_the_same_id);
fn no_two_connections_ever_have_the_same_id(language: Language) {
    let server = Mongrel2::start(Setup::default());
    let mut seen = HashSet::new();
    for run in 0..2 {
        let site = language.plan(TALK).behind(&server).start();
        for n in 0..40 {
            let id = site.websocket("/talk").ask("id");
            assert!(!id.is_empty() && id.is_ascii() && !id.contains(' '), "{id:?}");
            assert!(seen.insert(id), "connection {n} of run {run} has an old id");
        }
    }
}

in_each_language!(an_id_from_before_a_restart_or_of_another_kennel_is_nobody);
/// Ids that begin again from one with each start, on each server, would be an old client's.
fn an_id_from_before_a_restart_or_of_another_kennel_is_nobody(language: Language) {
    let find = Scripts {
        lua: r#"
        app:channel("/talk", { message = function(conn, msg) conn:send(conn.id) end })
        app:post("/find", function(req)
          local conn = kennel.connection(req.body)
          return conn and conn.id or "nobody"
        end)
    "#,
        python: r#"
        @app.channel("/talk")
        class Talk:
            def message(self, conn, msg): conn.send(conn.id)
        @app.post("/find")
        def find(req):
            conn = kennel.connection(req.text)
            return conn.id if conn else "nobody"
    "#,
    };
    let mut server = Mongrel2::start(Setup::default());
    let other = language.plan(find).start();
    let others_id = other.websocket("/talk").ask("");
    let site = language.plan(find).behind(&server).start();
    let found = |id: &str| site.send(request("POST", "/find", &[], id.as_bytes())).text();

    let mut old = site.websocket("/talk");
    let old_id = old.ask("");
    assert_eq!(found(&old_id), old_id);
    let long = "x".repeat(10_000);
    for unknown in [&*others_id, "0", "1", "-1", "x", &long, " ", "\u{0}", "ä", "1-1-1", &old_id[1..]] {
        assert_eq!(found(unknown), "nobody", "{unknown:?}");
    }
    server.kill();
    site.log().expect("server is gone");
    server.start_again();
    site.log().expect_times("server listens", 2);
    let mut new = site.websocket("/talk");
    let new_id = new.ask("");
    assert_ne!(old_id, new_id);
    assert_eq!(found(&old_id), "nobody");
    assert_eq!(found(&new_id), new_id);
    new.close(1000, "");
    wait::until("a closed connection is nobody", || found(&new_id) == "nobody");
}

in_each_language!(any_worker_finds_a_connection_by_its_id_and_acts_on_it);
fn any_worker_finds_a_connection_by_its_id_and_acts_on_it(language: Language) {
    let body = Scripts {
        lua: r#"
        app:channel("/", {
          open = function(conn) conn.data = { n = conn.request.args.n } conn:send(conn.id) end,
          close = function(conn, code, reason) print("[closed " .. code .. " " .. reason .. "]") end,
        })
        app:post("/tell", function(req)
          local conn = kennel.connection(req.body)
          conn:send("worker " .. kennel.worker)
          conn:send_binary("\255")
          conn:join("found")
          return { id = conn.id, transport = conn.transport, n = conn.data.n, rooms = kennel.array(conn:rooms()) }
        end)
        app:post("/close", function(req) kennel.connection(req.body):close(4004, "found you") return "closed" end)
    "#,
        python: r#"
        @app.channel("/")
        class Found:
            def open(self, conn):
                conn.data = {"n": conn.request.args["n"]}
                conn.send(conn.id)
            def close(self, conn, code, reason): print(f"[closed {code} {reason}]")
        @app.post("/tell")
        async def tell(req):
            conn = kennel.connection(req.text)
            conn.send(f"worker {kennel.worker}")
            conn.send(b"\xff")
            conn.join("found")
            return {"id": conn.id, "transport": conn.transport, "n": conn.data["n"], "rooms": conn.rooms()}
        @app.post("/close")
        def close(req):
            kennel.connection(req.text).close(4004, "found you")
            return "closed"
    "#,
    };
    let site = language.plan(body).behind_warm().workers(3).start();
    let mut clients: Vec<WebSocket> = (0..6).map(|n| site.websocket(&format!("/?n={n}"))).collect();
    for (n, ws) in clients.iter_mut().enumerate() {
        let id = ws.read_text();
        // Three at once, so that every worker has one of them.
        let mut askers: Vec<Client> = (0..3).map(|_| site.client()).collect();
        for asker in &mut askers {
            asker.send(request("POST", "/tell", &[], id.as_bytes()));
        }
        for asker in &mut askers {
            let told = asker.read().json();
            let expected = json!({
                "id": id, "transport": "websocket", "n": n.to_string(), "rooms": ["found"],
            });
            assert_eq!(told, expected);
        }
        for _ in 0..3 {
            assert!(ws.read_text().starts_with("worker "));
            assert_eq!(ws.read_binary(), [255]);
        }
        assert_eq!(site.send(request("POST", "/close", &[], id.as_bytes())).text(), "closed");
        assert_eq!(ws.read_close(), (4004, "found you".into()));
    }
    site.log().expect_times("[closed 4004 found you]", 6);
}

in_each_language!(connections_are_spread_over_the_workers);
fn connections_are_spread_over_the_workers(language: Language) {
    let site = language.plan(TALK).behind_warm().workers(3).start();
    let mut clients: Vec<WebSocket> = (0..9).map(|_| site.websocket("/talk")).collect();
    let workers: HashSet<String> = clients.iter_mut().map(|ws| ws.ask("worker")).collect();
    assert_eq!(workers.len(), 3, "{workers:?}");
}

in_each_language!(data_is_kept_within_4_kib_and_only_json);
fn data_is_kept_within_4_kib_and_only_json(language: Language) {
    let body = Scripts {
        lua: r#"
        app:channel("/", function(conn)
          conn:send(type(conn.data))
          conn.data = { list = { 1, 2 }, text = "ä" }
          conn:send(conn.data)
          conn.data = { big = string.rep("x", 4000) }
          for _, wrong in ipairs({ { big = string.rep("x", 5000) }, { f = print }, { bad = "\255" } }) do
            local ok, problem = pcall(function() conn.data = wrong end)
            conn:send(tostring(ok) .. " " .. tostring(problem))
          end
          conn:send(tostring(#conn.data.big))
        end)
    "#,
        python: r#"
        @app.channel("/")
        async def data(conn):
            conn.send(type(conn.data).__name__)
            conn.data = {"list": [1, 2], "text": "ä"}
            conn.send(conn.data)
            conn.data = {"big": "x" * 4000}
            for wrong in ({"big": "x" * 5000}, {"f": print}, {"bad": "\ud800"}):
                try:
                    conn.data = wrong
                    conn.send("true")
                except (TypeError, ValueError) as problem:
                    conn.send(f"false {problem}")
            conn.send(str(len(conn.data["big"])))
    "#,
    };
    let site = language.site(body);
    let mut ws = site.websocket("/");
    assert!(["nil", "table", "dict"].contains(&ws.read_text().as_str()), "nothing yet");
    let data: serde_json::Value = serde_json::from_str(&ws.read_text()).expect("JSON");
    assert_eq!(data, json!({ "list": [1, 2], "text": "ä" }));
    for part in ["4", "function", "utf-8"] {
        let problem = ws.read_text();
        assert!(problem.starts_with(language.pick("false app.lua:", "false ")), "{problem}");
        assert!(problem.to_lowercase().contains(part), "{problem}");
    }
    assert_eq!(ws.read_text(), "4000", "what was wrong changes nothing");
    assert_eq!(ws.read_close().0, 1000);
}

in_each_language!(a_close_of_the_client_reaches_the_script_once_with_code_and_reason);
fn a_close_of_the_client_reaches_the_script_once_with_code_and_reason(language: Language) {
    let server = Mongrel2::start(Setup::default());
    let site = language.plan(TALK).behind(&server).start();
    for code in [1000, 1001, 1003, 1007, 1008, 1011, 3000, 4999] {
        let mut ws = site.websocket(&format!("/talk?name=n{code}"));
        assert_eq!(ws.ask("x"), "re: x");
        ws.close(code, "genug 😀");
        site.log().expect(&format!("[close n{code} {code} genug 😀]"));
    }
    // No code at all, and more frames behind the close.
    let mut ws = site.websocket("/talk?name=none");
    ws.send_frame(FIN | CLOSE, "");
    assert!(matches!(ws.read(), Received::Close(None | Some(1000), _)));
    assert_eq!(ws.read(), Received::End);
    let mut ws = site.websocket("/talk?name=more");
    let close = websocket::frame(FIN | CLOSE, websocket::close_payload(4001, "first"));
    let text = websocket::frame(FIN | TEXT, "fail");
    ws.send_bytes([close.clone(), text.clone(), close, text].concat());
    assert_eq!(ws.read(), Received::Close(Some(4001), String::new()));
    site.log().expect("[close more 4001 first]");

    let log = log_to_the_end(site);
    for name in ["n1000", "n1001", "n1003", "n1007", "n1008", "n1011", "n3000", "n4999", "none", "more"] {
        expect_once(&log, &format!("[open {name} "));
        expect_once(&log, &format!("[close {name} "));
    }
    assert!(log.contains("[close none 1005 ") || log.contains("[close none 1000 "), "{log}");
    assert!(!log.contains("on purpose"), "nothing is heard of a client that has closed:\n{log}");
}

in_each_language!(a_client_that_vanishes_is_closed_once_with_1006);
fn a_client_that_vanishes_is_closed_once_with_1006(language: Language) {
    let server = Mongrel2::start(Setup::default());
    let site = language.plan(TALK).behind(&server).start();
    for (n, how) in ["reset", "end", "half", "broken"].into_iter().enumerate() {
        let mut ws = site.websocket(&format!("/talk?name={how}"));
        assert_eq!(ws.ask(n.to_string()), format!("re: {n}"));
        match how {
            "reset" => ws.vanish(),
            "end" => drop(ws),
            "half" => ws.writer().shutdown(Shutdown::Write).expect("an open connection"),
            // A frame without a mask: Mongrel2 ends the connection.
            _ => ws.send_bytes(b"\x81\x01x"),
        }
        site.log().expect(&format!("[close {how} 1006 "));
    }
    let log = log_to_the_end(site);
    for how in ["reset", "end", "half", "broken"] {
        expect_once(&log, &format!("[close {how} "));
    }
}

in_each_language!(a_close_of_the_script_reaches_the_client_and_the_script_once);
fn a_close_of_the_script_reaches_the_client_and_the_script_once(language: Language) {
    let server = Mongrel2::start(Setup::default());
    let site = language.plan(TALK).behind(&server).start();
    let mut ws = site.websocket("/talk?name=polite");
    ws.send("close 4001 enough");
    assert_eq!(ws.read_close(), (4001, "enough".into()));
    site.log().expect("[close polite 4001 enough]");
    // One that does not answer is closed all the same, and one that is gone by then too.
    let mut ws = site.websocket("/talk?name=silent");
    ws.send("close 4002 enough");
    assert_eq!(ws.read(), Received::Close(Some(4002), "enough".into()));
    assert_eq!(ws.read(), Received::End);
    site.log().expect("[close silent 4002 enough]");
    let mut ws = site.websocket("/talk?name=gone");
    ws.send("close 4003 enough");
    ws.vanish();
    site.log().expect("[close gone ");
    // A code is not needed.
    let mut ws = site.websocket("/talk?name=plain");
    ws.send("close");
    assert_eq!(ws.read_close(), (1000, String::new()));
    site.log().expect("[close plain 1000 ");

    let log = log_to_the_end(site);
    for name in ["polite", "silent", "gone", "plain"] {
        expect_once(&log, &format!("[close {name} "));
        expect_once(&log, &format!("[late {name} false]"));
    }
}

in_each_language!(a_code_that_nobody_may_send_is_an_error_of_the_script);
fn a_code_that_nobody_may_send_is_an_error_of_the_script(language: Language) {
    let body = Scripts {
        lua: r#"
        app:channel("/", function(conn)
          for _, code in ipairs({ 0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 70000, 1000.5 }) do
            if pcall(conn.close, conn, code) then print("[took " .. code .. "]") end
          end
          conn:send("still open")
          conn:close(1000, string.rep("x", 123))
        end)
    "#,
        python: r#"
        @app.channel("/")
        async def codes(conn):
            for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 70000, 1000.5):
                try:
                    conn.close(code)
                    print(f"[took {code}]")
                except (TypeError, ValueError):
                    pass
            conn.send("still open")
            conn.close(1000, "x" * 123)
    "#,
    };
    let site = language.site(body);
    let mut ws = site.websocket("/");
    assert_eq!(ws.read_text(), "still open");
    assert_eq!(ws.read_close(), (1000, "x".repeat(123)));
    assert_eq!(site.log().count("[took "), 0, "{}", site.log().text());
}

in_each_language!(an_error_in_a_callback_closes_with_1011_and_the_log_has_its_line);
fn an_error_in_a_callback_closes_with_1011_and_the_log_has_its_line(language: Language) {
    let scripts = Scripts {
        lua: r#"
        app:channel("/open", { open = function() error("in open") end,
          close = function(c, code) print("[close " .. code .. "]") end })
        app:channel("/message", { message = function(conn, msg) error("in message") end,
          close = function(c, code) print("[close " .. code .. "]") end })
        app:channel("/close", { close = function() error("in close") end })
        app:get("/fine", function() return "fine" end)
        "#,
        python: r#"
        class Said:
            def close(self, conn, code, reason): print(f"[close {code}]")
        @app.channel("/open")
        class Open(Said):
            def open(self, conn): raise RuntimeError("in open")
        @app.channel("/message")
        class Message(Said):
            def message(self, conn, msg): raise RuntimeError("in message")
        @app.channel("/close")
        class Close:
            async def close(self, conn, code, reason): raise RuntimeError("in close")
        @app.get("/fine")
        def fine(req): return "fine"
        "#,
    };
    let site = language.plan(scripts).behind_warm().workers(1).start();
    let worker = site.workers();
    assert_eq!(site.websocket("/open").read_close().0, 1011);
    site.log().expect(&language.raised(3, 7, "in open"));
    site.log().expect("[close 1011]");
    let mut ws = site.websocket("/message");
    ws.send("x");
    ws.send("not heard");
    assert_eq!(ws.read_close().0, 1011);
    let in_message = language.raised(5, 10, "in message");
    site.log().expect(&in_message);
    site.log().expect_times("[close 1011]", 2);
    site.websocket("/close").close(1000, "");
    site.log().expect(&language.raised(7, 13, "in close"));
    assert_eq!(site.get("/fine").text(), "fine");
    assert_eq!(site.log().count(&in_message), 1, "the second message was not run");
    assert_eq!(site.workers(), worker, "the worker lives");
}

in_each_language!(a_stop_closes_with_1001_and_the_script_hears_it_before_its_end);
fn a_stop_closes_with_1001_and_the_script_hears_it_before_its_end(language: Language) {
    for signal in [Signal::TERM, Signal::INT] {
        let mut site = language.plan(TALK).start();
        let mut clients: Vec<WebSocket> =
            (0..10).map(|n| site.websocket(&format!("/talk?name=n{n}"))).collect();
        let mut straight = site.websocket("/echo");
        for ws in &mut clients {
            assert_eq!(ws.ask("x"), "re: x");
        }
        assert_eq!(straight.ask("x"), "x");
        site.signal(signal);
        for ws in &mut clients {
            assert_eq!(ws.read_close().0, 1001);
        }
        assert_eq!(straight.read_close().0, 1001);
        assert_eq!(site.exit_code(), Some(0));
        let log = site.log().to_end();
        for n in 0..10 {
            expect_once(&log, &format!("[close n{n} 1001 "));
        }
        expect_once(&log, "[the end of messages]");
    }
}

in_each_language!(a_stop_is_not_held_up_by_clients_that_do_not_answer);
fn a_stop_is_not_held_up_by_clients_that_do_not_answer(language: Language) {
    let mut site = language.plan(TALK).behind_warm().start();
    let mut clients: Vec<WebSocket> = (0..10).map(|n| site.websocket(&format!("/talk?name=n{n}"))).collect();
    for ws in &mut clients {
        assert_eq!(ws.ask("x"), "re: x");
    }
    let begin = Instant::now();
    site.signal(Signal::TERM);
    assert_eq!(site.exit_code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    for ws in &mut clients {
        assert!(matches!(ws.read(), Received::Close(Some(1001), _)));
    }
}

in_each_language!(when_mongrel2_dies_all_of_its_connections_close_with_1006);
fn when_mongrel2_dies_all_of_its_connections_close_with_1006(language: Language) {
    let mut one = Mongrel2::start(Setup::default());
    let two = Mongrel2::start(Setup::default());
    let site = language.plan(TALK).behind(&one).behind(&two).start();
    let mut lost: Vec<WebSocket> =
        (0..10).map(|n| WebSocket::open(one.port(), &format!("/talk?name=n{n}"))).collect();
    let mut kept = WebSocket::open(two.port(), "/talk?name=kept");
    for ws in &mut lost {
        assert_eq!(ws.ask("x"), "re: x");
    }
    assert_eq!(kept.ask("x"), "re: x");
    one.kill();
    for n in 0..10 {
        site.log().expect(&format!("[close n{n} 1006 "));
    }
    one.start_again();
    site.log().expect_times("server listens", 3);
    let mut new = WebSocket::open(one.port(), "/talk?name=new");
    assert_eq!(new.ask("y"), "re: y");
    assert_eq!(kept.ask("y"), "re: y");
    let log = log_to_the_end(site);
    assert_eq!(log.matches(" 1006 ").count(), 10, "{log}");
}

in_each_language!(a_message_to_a_client_of_a_dead_mongrel2_reaches_nobody);
/// Nothing that was meant for the old clients may reach the new ones, whose numbers are the same.
fn a_message_to_a_client_of_a_dead_mongrel2_reaches_nobody(language: Language) {
    let body = Scripts {
        lua: r#"
        app:channel("/", { message = function(conn, msg) kennel.sleep(1) conn:send("for " .. msg) end })
    "#,
        python: r#"
        import asyncio
        @app.channel("/")
        class Late:
            async def message(self, conn, msg):
                await asyncio.sleep(1)
                conn.send("for " + msg)
    "#,
    };
    let mut server = Mongrel2::start(Setup::default());
    let site = language.plan(body).behind(&server).start();
    let mut old: Vec<WebSocket> = (0..5).map(|_| site.websocket("/")).collect();
    for ws in &mut old {
        ws.send("the old");
    }
    server.kill();
    site.log().expect("server is gone");
    server.start_again();
    site.log().expect_times("server listens", 2);
    let mut new: Vec<WebSocket> = (0..5).map(|_| site.websocket("/")).collect();
    for ws in &mut new {
        ws.send("the new");
    }
    for ws in &mut new {
        assert_eq!(ws.read_text(), "for the new");
    }
}

in_each_language!(close_runs_once_however_often_mongrel2_says_that_a_client_is_gone);
fn close_runs_once_however_often_mongrel2_says_that_a_client_is_gone(language: Language) {
    let mongrel2 = FakeMongrel2::start();
    let site = language.plan(TALK).behind_fake(&mongrel2).start();
    let open = |id: i64, name: &str| {
        mongrel2.send(Message::handshake(id, &format!("/talk?name={name}")));
        let answer = mongrel2.reply_to(id as u64);
        assert!(answer.text().starts_with("HTTP/1.1 101 "), "{answer:?}");
        site.log().expect(&format!("[open {name} "));
    };
    open(1, "twice");
    for _ in 0..3 {
        mongrel2.send(Message::disconnect(1));
    }
    open(3, "ours");
    mongrel2.send(Message::frame(3, "/talk?name=ours", FIN | TEXT, "close 4001 enough"));
    mongrel2.send(Message::disconnect(3));
    mongrel2.send(Message::disconnect(3));
    open(4, "closes");
    mongrel2.send(Message::frame(4, "/talk?name=closes", FIN | CLOSE, b"\x03\xe8".to_vec()));
    mongrel2.send(Message::disconnect(4));
    // The numbers of the dead are given to others.
    open(1, "next");
    mongrel2.send(Message::frame(1, "/talk?name=next", FIN | TEXT, "hello"));
    mongrel2.reply_that("the next one is served", |reply| {
        reply.ids == [1] && reply.text().ends_with("re: hello")
    });
    mongrel2.send(Message::disconnect(1));
    for name in ["twice", "ours", "closes", "next"] {
        site.log().expect(&format!("[close {name} "));
    }
    let log = log_to_the_end(site);
    for name in ["twice", "ours", "closes", "next"] {
        expect_once(&log, &format!("[open {name} "));
        expect_once(&log, &format!("[close {name} "));
    }
    assert!(log.contains("[close twice 1006 ") && log.contains("[close closes 1000 "), "{log}");
}

in_each_language!(a_killed_worker_closes_no_connection_and_is_noticed_by_the_script_alone);
fn a_killed_worker_closes_no_connection_and_is_noticed_by_the_script_alone(language: Language) {
    let site = language.plan(TALK).behind_warm().start();
    let mut clients: Vec<WebSocket> = (0..10).map(|n| site.websocket(&format!("/talk?name=n{n}"))).collect();
    for (n, ws) in clients.iter_mut().enumerate() {
        assert_eq!(ws.ask("resumed"), "false");
        assert_eq!(ws.ask(format!("keep it{n}")), "kept");
    }
    for round in 1..=3 {
        let workers = site.workers();
        workers.iter().copied().for_each(process::kill);
        site.log().expect_times("a worker died", 2 * round);
        for (n, ws) in clients.iter_mut().enumerate() {
            assert_eq!(ws.ask("resumed"), "true", "round {round}");
            assert_eq!(ws.ask("kept"), format!("it{n}"), "round {round}");
        }
        wait::until("there are two again", || site.workers().len() == 2);
    }
    for ws in clients {
        ws.close(1000, "");
    }
    for n in 0..10 {
        site.log().expect(&format!("[close n{n} 1000 "));
    }
    let log = log_to_the_end(site);
    for n in 0..10 {
        expect_once(&log, &format!("[open n{n} "));
        expect_once(&log, &format!("[close n{n} "));
    }
}

in_each_language!(messages_that_come_while_there_is_no_worker_are_not_lost);
fn messages_that_come_while_there_is_no_worker_are_not_lost(language: Language) {
    let site = language.plan(TALK).behind_warm().workers(1).start();
    let mut ws = site.websocket("/talk");
    assert_eq!(ws.ask("resumed"), "false");
    process::kill(site.workers()[0]);
    for n in 0..200 {
        ws.send(format!("m{n}"));
    }
    for n in 0..200 {
        assert_eq!(ws.read_text(), format!("re: m{n}"));
    }
}

in_each_language!(a_message_that_kills_its_worker_costs_at_most_itself);
fn a_message_that_kills_its_worker_costs_at_most_itself(language: Language) {
    let site =
        language.plan(TALK).config("[limits]\nscript_time = \"400ms\"\n").behind_warm().workers(1).start();
    for (deadly, complaint) in [("exit", "a worker died"), ("loop", "without pause")] {
        let mut ws = site.websocket(&format!("/talk?name={deadly}"));
        let mut other = site.websocket("/talk");
        assert_eq!(other.ask("keep me"), "kept");
        ws.send(deadly);
        site.log().expect(complaint);
        assert_eq!(other.ask("kept"), "me", "{deadly}");
        // The guilty one goes on, or is told that the script failed; it is not run again and again.
        ws.send("still there");
        match ws.read() {
            Received::Text(text) => assert_eq!(text, "re: still there", "{deadly}"),
            Received::Close(code, _) => assert_eq!(code, Some(1011), "{deadly}"),
            end => panic!("{deadly}: {end:?}"),
        }
        assert_eq!(site.log().count(complaint), 1, "{deadly}");
    }
}

in_each_language!(straight_line_code_of_a_killed_worker_starts_again_from_its_top);
fn straight_line_code_of_a_killed_worker_starts_again_from_its_top(language: Language) {
    let site = language.site(TALK);
    let mut ws = site.websocket("/echo");
    assert_eq!(ws.ask("one"), "one");
    site.log().expect("[begin resumed=false]");
    site.workers().into_iter().for_each(process::kill);
    site.log().expect("[begin resumed=true]");
    assert_eq!(ws.ask("two"), "two");
    ws.close(1000, "");
    site.log().expect("[the end of messages]");
    site.log().expect_exactly("[begin resumed=false]", 1);
}

in_each_language!(a_reload_moves_every_connection_to_the_new_code);
fn a_reload_moves_every_connection_to_the_new_code(language: Language) {
    let site = language.plan(TALK).behind_warm().start();
    let mut talk: Vec<WebSocket> = (0..6).map(|n| site.websocket(&format!("/talk?name=n{n}"))).collect();
    let mut echo = site.websocket("/echo");
    for (n, ws) in talk.iter_mut().enumerate() {
        assert_eq!(ws.ask(format!("keep it{n}")), "kept");
    }
    assert_eq!(echo.ask("one"), "one");
    site.write_scripts(Scripts {
        lua: &TALK
            .lua
            .replace(r#""re: ""#, r#""new: ""#)
            .replace("conn:send(msg) end", r#"conn:send("new: " .. msg) end"#),
        python: &TALK
            .python
            .replace(r#""re: ""#, r#""new: ""#)
            .replace("conn.send(msg)", r#"conn.send("new: " + msg)"#),
    });
    site.signal(Signal::HUP);
    site.log().expect("newest code is in charge");
    for (n, ws) in talk.iter_mut().enumerate() {
        wait::until("the new code answers", || ws.ask("x") == "new: x");
        assert_eq!(ws.ask("resumed"), "true");
        assert_eq!(ws.ask("kept"), format!("it{n}"));
    }
    site.log().expect("[begin resumed=true]");
    assert_eq!(echo.ask("two"), "new: two");
    for ws in talk {
        ws.close(1000, "");
    }
    let log = log_to_the_end(site);
    for n in 0..6 {
        expect_once(&log, &format!("[open n{n} "));
        expect_once(&log, &format!("[close n{n} "));
    }
}

in_each_language!(messages_on_their_way_during_a_reload_are_all_answered_once_and_in_order);
fn messages_on_their_way_during_a_reload_are_all_answered_once_and_in_order(language: Language) {
    let site = language.plan(TALK).behind_warm().start();
    let mut ws = site.websocket("/talk");
    let mut writer = ws.writer();
    let sender = std::thread::spawn(move || {
        for n in 0..2000 {
            let bytes = websocket::frame(FIN | TEXT, format!("m{n}"));
            writer.write_all(&bytes).expect("the connection stays open");
            if n % 20 == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    });
    for n in 0..2000 {
        if n % 500 == 100 {
            site.signal(Signal::HUP);
        }
        assert_eq!(ws.read_text(), format!("re: m{n}"));
    }
    sender.join().expect("the sender ends");
    site.log().expect("newest code is in charge");
    ws.close(1000, "");
}

in_each_language!(a_channel_that_the_new_code_no_longer_has_closes_its_connections);
fn a_channel_that_the_new_code_no_longer_has_closes_its_connections(language: Language) {
    let site = language.plan(TALK).behind_warm().start();
    let mut ws = site.websocket("/talk");
    assert_eq!(ws.ask("x"), "re: x");
    site.write_scripts(Scripts {
        lua: r#"app:get("/fine", function() return "fine" end)"#,
        python: r#"@app.get("/fine")
def fine(req): return "fine""#,
    });
    site.signal(Signal::HUP);
    let (code, _) = ws.read_close();
    assert!([1001, 1011, 1012].contains(&code), "{code}");
    assert_eq!(site.refusal("/talk", &[]).status, 404);
}

in_each_language!(http_is_served_beside_channels);
fn http_is_served_beside_channels(language: Language) {
    let site = language.site(TALK);
    let mut clients: Vec<WebSocket> = (0..50).map(|_| site.websocket("/talk")).collect();
    let mut http = site.client();
    for (n, ws) in clients.iter_mut().enumerate() {
        ws.send(format!("m{n}"));
        http.send(get("/fine"));
        assert_eq!(ws.read_text(), format!("re: m{n}"));
        assert_eq!(http.read().text(), "fine");
    }
}

in_each_language!(a_page_and_a_channel_may_have_the_same_path);
fn a_page_and_a_channel_may_have_the_same_path(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        app:get("/both", function() return "page" end)
        app:channel("/both", { message = function(conn, msg) conn:send(msg) end })
        "#,
        python: r#"
        @app.get("/both")
        def page(req): return "page"
        @app.channel("/both")
        class Both:
            def message(self, conn, msg): conn.send(msg)
        "#,
    });
    assert_eq!(site.get("/both").text(), "page");
    assert_eq!(site.websocket("/both").ask("x"), "x");
}

in_each_language!(two_apps_have_channels_of_their_own);
fn two_apps_have_channels_of_their_own(language: Language) {
    let echo = |word: &str| language.script(&language.pick(LUA, PYTHON).replace("WORD", word));
    const LUA: &str = r#"
        app:channel("/c", { message = function(conn, msg) conn:send("WORD " .. msg .. " " .. conn.request.path) end })
    "#;
    const PYTHON: &str = r#"
        @app.channel("/c")
        class Echo:
            def message(self, conn, msg): conn.send(f"WORD {msg} {conn.request.path}")
    "#;
    let (one, two) = (language.file("one"), language.file("two"));
    let toml = format!(
        "[[app]]\nsource = \"{one}\"\nworkers = 1\n[[app]]\nsource = \"{two}\"\nworkers = 1\nmount = \"/two\"\n"
    );
    let site = language
        .plan(Scripts { lua: "", python: "" })
        .file(&one, &echo("one"))
        .file(&two, &echo("two"))
        .config(&toml)
        .configured_apps()
        .behind_warm()
        .start();
    assert!(site.websocket("/c").ask("x").starts_with("one x "));
    assert!(site.websocket("/two/c").ask("x").starts_with("two x "));
    assert_eq!(site.refusal("/two/d", &[]).status, 404);
}

in_each_language!(a_channel_that_makes_no_sense_is_an_error_at_its_line);
fn a_channel_that_makes_no_sense_is_an_error_at_its_line(language: Language) {
    let lua = [
        (r#"app:channel("chat", {})"#, &["`/path`"][..]),
        (r#"app:channel("/chat")"#, &["channel"]),
        (r#"app:channel("/chat", 7)"#, &["function"]),
        (r#"app:channel("/chat", { opened = print })"#, &["opened"]),
        (r#"app:channel("/chat", { open = 7 })"#, &["open"]),
        (r#"app:channel("/chat", { max_mesage = 1 }, print)"#, &["max_mesage"]),
        (r#"app:channel("/chat", { max_message = "big" }, print)"#, &["max_message"]),
        (r#"app:channel("/chat", { slow = "drop" }, print)"#, &["slow"]),
        (r#"app:channel("/chat", { ping = -1 }, print)"#, &["ping"]),
        (r#"app:channel("/chat", { origins = "x" }, print)"#, &["origins"]),
        ("app:channel('/a/{x}', print) app:channel('/a/{y}', print)", &["/a/{y}"]),
        ("app:channel('@chat', print) app:channel('@chat', print)", &["@chat"]),
    ];
    let python = [
        (r#"app.channel("chat")"#, &["`/path`"][..]),
        (r#"app.channel(7)"#, &["channel"]),
        (r#"app.channel("/chat")(7)"#, &["callbacks"]),
        (r#"app.channel("/chat")(type("Chat", (), {"opened": print}))"#, &["opened"]),
        (r#"app.channel("/chat")(type("Chat", (), {"open": 7, "close": print}))"#, &["open"]),
        (r#"app.channel("/chat", max_mesage=1)"#, &["max_mesage"]),
        (r#"app.channel("/chat", max_message="big")"#, &["max_message"]),
        (r#"app.channel("/chat", slow="drop")"#, &["slow"]),
        (r#"app.channel("/chat", ping=-1)"#, &["ping"]),
        (r#"app.channel("/chat", origins="x")"#, &["origins"]),
        (r#"for x in "xy": app.channel(f"/a/{{{x}}}")(type("C", (), {"open": print}))"#, &["/a/{y}"]),
        (r#"for _ in "xy": app.channel("@chat")(type("C", (), {"open": print}))"#, &["@chat"]),
    ];
    for (body, parts) in language.pick(lua, python) {
        let folder = Folder::new();
        folder.write(language.app(), language.script(body));
        let finished = command::run(folder.path(), ["check", language.app()]);
        assert_eq!(finished.code, Some(2), "{body}: {}", finished.stderr);
        assert!(
            finished.stderr.contains(&format!("{}:", language.place(2, 2))),
            "{body}: {}",
            finished.stderr
        );
        for part in parts {
            assert!(finished.stderr.contains(part), "{body}: no `{part}` in {}", finished.stderr);
        }
    }
}

in_each_language!(a_client_that_sends_while_the_script_closes_gets_its_close_all_the_same);
fn a_client_that_sends_while_the_script_closes_gets_its_close_all_the_same(language: Language) {
    let site = language.site(TALK);
    for _ in 0..20 {
        let mut ws = site.websocket("/talk");
        ws.send("close 4001 enough");
        for n in 0..50 {
            // It may be closed meanwhile.
            if ws.writer().write_all(&websocket::frame(FIN | BINARY, [n])).is_err() {
                break;
            }
        }
        match ws.read() {
            Received::Close(Some(4001), reason) => assert_eq!(reason, "enough"),
            // The system drops what was not read when it answers a late frame by a reset.
            Received::End => {}
            other => panic!("{other:?}"),
        }
    }
    site.log().expect_times("[close - 4001 enough]", 20);
}
