use serde_json::{Value, json};
use std::io::Write;
use std::sync::{Arc, Barrier};
use tests::client::get;
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::process;
use tests::server::{Mongrel2, Setup};
use tests::site::Site;
use tests::wait;
use tests::websocket::{FIN, Received, TEXT, WebSocket, frame};

/// A chat whose clients say what to do: `VERB ROOM TEXT`.
const APP: Scripts<'_> = Scripts {
    lua: r#"
app:channel("/", {
  open = function(conn) conn.data = { name = conn.request.args.name or "-" } conn:join("all") end,
  message = function(conn, msg)
    local verb, room, text = msg:match("^(%a+) ?(%S*) ?(.*)$")
    if verb == "join" then conn:join(room) conn:send("joined")
    elseif verb == "leave" then conn:leave(room) conn:send("left")
    elseif verb == "rooms" then
      local rooms = conn:rooms()
      table.sort(rooms)
      conn:send(kennel.array(rooms))
    elseif verb == "say" then kennel.room(room):send(text)
    elseif verb == "others" then kennel.room(room):send(text, { except = conn })
    elseif verb == "table" then kennel.room(room):send({ text = text })
    elseif verb == "count" then conn:send(tostring(kennel.room(room):count()))
    elseif verb == "close" then kennel.room(room):close()
    else conn:send(msg) end
  end,
  close = function(conn, code) print("[close " .. code .. "]") end,
})
app:get("/count/{room}", function(req, room) return tostring(kennel.room(room):count()) end)
app:get("/say/{room}/{text}", function(req, room, text) kennel.room(room):send(text) return "said" end)
app:get("/close/{room}", function(req, room) kennel.room(room):close() return "closed" end)
app:get("/members/{room}", function(req, room)
  local names = {}
  for _, conn in ipairs(kennel.room(room):members()) do
    names[#names + 1] = conn.data.name
    conn:send("you are a member")
  end
  table.sort(names)
  return kennel.array(names)
end)
"#,
    python: r#"
@app.channel("/")
class Chat:
    def open(self, conn):
        conn.data = {"name": conn.request.args.get("name", "-")}
        conn.join("all")
    def message(self, conn, msg):
        verb, _, rest = msg.partition(" ")
        room, _, text = rest.partition(" ")
        if verb == "join":
            conn.join(room)
            conn.send("joined")
        elif verb == "leave":
            conn.leave(room)
            conn.send("left")
        elif verb == "rooms":
            conn.send(sorted(conn.rooms()))
        elif verb == "say":
            kennel.room(room).send(text)
        elif verb == "others":
            kennel.room(room).send(text, except_=conn)
        elif verb == "table":
            kennel.room(room).send({"text": text})
        elif verb == "count":
            conn.send(str(kennel.room(room).count()))
        elif verb == "close":
            kennel.room(room).close()
        else:
            conn.send(msg)
    def close(self, conn, code, reason): print(f"[close {code}]")
@app.get("/count/{room}")
async def count(req, room): return str(kennel.room(room).count())
@app.get("/say/{room}/{text}")
def say(req, room, text):
    kennel.room(room).send(text)
    return "said"
@app.get("/close/{room}")
def close(req, room):
    kennel.room(room).close()
    return "closed"
@app.get("/members/{room}")
def members(req, room):
    names = []
    for conn in kennel.room(room).members():
        names.append(conn.data["name"])
        conn.send("you are a member")
    return sorted(names)
"#,
};

fn open(site: &Site, count: usize) -> Vec<WebSocket> {
    (0..count).map(|n| site.websocket(&format!("/?name=n{n:04}"))).collect()
}

/// Reads what comes until a text, without it.
fn until(ws: &mut WebSocket, end: &str) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        let text = ws.read_text();
        if text == end {
            return texts;
        }
        texts.push(text);
    }
}

in_each_language!(a_message_to_a_room_reaches_its_members_and_nobody_else);
fn a_message_to_a_room_reaches_its_members_and_nobody_else(language: Language) {
    let site = language.site(APP);
    let mut clients = open(&site, 6);
    for ws in &mut clients[..3] {
        assert_eq!(ws.ask("join red"), "joined");
    }
    for ws in &mut clients[2..5] {
        assert_eq!(ws.ask("join blue"), "joined");
    }
    for path in ["/say/red/red", "/say/blue/blue", "/say/all/everybody"] {
        assert_eq!(site.get(path).text(), "said");
    }
    for (ws, expected) in clients.iter_mut().zip(["red", "red", "red blue", "blue", "blue", ""]) {
        ws.send("mark");
        assert_eq!(until(ws, "mark").join(" "), format!("{expected} everybody").trim_start());
    }
}

in_each_language!(the_one_that_a_message_excepts_does_not_get_it);
fn the_one_that_a_message_excepts_does_not_get_it(language: Language) {
    let site = language.site(APP);
    let mut clients = open(&site, 4);
    for ws in &mut clients {
        assert_eq!(ws.ask("here?"), "here?");
    }
    clients[1].send("others all not for me");
    clients[1].send("say all for all");
    for (n, ws) in clients.iter_mut().enumerate() {
        if n != 1 {
            assert_eq!(ws.read_text(), "not for me");
        }
        assert_eq!(ws.read_text(), "for all");
    }
}

in_each_language!(joining_twice_is_joining_once_and_leaving_ends_it);
fn joining_twice_is_joining_once_and_leaving_ends_it(language: Language) {
    let site = language.site(APP);
    let (mut ws, mut other) = (site.websocket("/"), site.websocket("/"));
    for _ in 0..3 {
        assert_eq!(ws.ask("join red"), "joined");
    }
    assert_eq!(ws.ask("rooms"), r#"["all","red"]"#);
    assert_eq!(ws.ask("count red"), "1");
    other.send("say red once");
    assert_eq!(ws.read_text(), "once");
    assert_eq!(ws.ask("leave red"), "left");
    assert_eq!(ws.ask("leave red"), "left", "leaving a room that one is not in does nothing");
    assert_eq!(ws.ask("leave nowhere"), "left");
    assert_eq!(ws.ask("rooms"), r#"["all"]"#);
    assert_eq!(ws.ask("count red"), "0");
    other.send("say red nobody hears this");
    other.send("say all end");
    assert_eq!(ws.read_text(), "end");
    assert_eq!(other.read_text(), "end");
}

in_each_language!(a_room_exists_while_it_has_members);
fn a_room_exists_while_it_has_members(language: Language) {
    let site = language.site(APP);
    assert_eq!(site.get("/count/all").text(), "0");
    assert_eq!(site.get("/members/all").json(), json!([]));
    assert_eq!(site.get("/say/all/nobody").text(), "said");
    let mut clients = open(&site, 5);
    for ws in &mut clients {
        assert_eq!(ws.ask("here?"), "here?");
    }
    assert_eq!(site.get("/count/all").text(), "5");
    clients.pop().expect("five").close(1000, "");
    clients.pop().expect("four").vanish();
    wait::until("the dead have left", || site.get("/count/all").text() == "3");
    for ws in clients {
        ws.close(1000, "");
    }
    wait::until("the room is empty", || site.get("/count/all").text() == "0");
}

in_each_language!(members_are_connections_wherever_they_are);
fn members_are_connections_wherever_they_are(language: Language) {
    let site = language.plan(APP).behind_warm().workers(3).start();
    let mut clients = open(&site, 7);
    for ws in &mut clients {
        assert_eq!(ws.ask("here?"), "here?");
    }
    let expected: Vec<String> = (0..7).map(|n| format!("n{n:04}")).collect();
    assert_eq!(site.get("/members/all").json(), json!(expected));
    for ws in &mut clients {
        assert_eq!(ws.read_text(), "you are a member");
    }
}

in_each_language!(closing_a_room_closes_its_members_and_no_others);
fn closing_a_room_closes_its_members_and_no_others(language: Language) {
    let site = language.site(APP);
    let mut clients = open(&site, 6);
    for ws in &mut clients[..4] {
        assert_eq!(ws.ask("join red"), "joined");
    }
    assert_eq!(site.get("/close/red").text(), "closed");
    for ws in &mut clients[..4] {
        assert_eq!(ws.read_close().0, 1000);
    }
    site.log().expect_times("[close 1000]", 4);
    for ws in &mut clients[4..] {
        assert_eq!(ws.ask("here?"), "here?");
    }
    wait::until("the closed have left", || site.get("/count/all").text() == "2");
    assert_eq!(site.get("/count/red").text(), "0");
}

in_each_language!(a_room_name_is_1_to_255_bytes_of_text_and_anything_else_an_error_of_the_script);
fn a_room_name_is_1_to_255_bytes_of_text_and_anything_else_an_error_of_the_script(language: Language) {
    let body = Scripts {
        lua: r#"
        app:channel("/", function(conn)
          for _, name in ipairs({ "x", string.rep("x", 255), "ä 😀", "a b", "with/slash", "0" }) do
            conn:join(name)
            kennel.room(name):send("to " .. #name)
            conn:leave(name)
          end
          local wrong = { "", string.rep("x", 256), string.rep("x", 1048576), {}, true, print }
          for n = 1, 7 do
            local name = wrong[n]
            for _, try in ipairs({
              function() conn:join(name) end,
              function() conn:leave(name) end,
              function() kennel.room(name):send("x") end,
              function() return kennel.room(name):count() end,
            }) do
              local ok, problem = pcall(try)
              if ok then conn:send("took " .. n) end
              if #tostring(problem) > 1000 then conn:send("a long complaint") end
            end
          end
          conn:send("end")
          conn:join(string.rep("x", 1048576))
        end)
    "#,
        python: r#"
        @app.channel("/")
        async def names(conn):
            for name in ("x", "x" * 255, "ä 😀", "a b", "with/slash", "0"):
                conn.join(name)
                kennel.room(name).send(f"to {len(name.encode())}")
                conn.leave(name)
            for n, name in enumerate(("", "x" * 256, "x" * 1048576, {}, True, print, None)):
                for attempt in (
                    lambda: conn.join(name),
                    lambda: conn.leave(name),
                    lambda: kennel.room(name).send("x"),
                    lambda: kennel.room(name).count(),
                ):
                    try:
                        attempt()
                        conn.send(f"took {n}")
                    except (TypeError, ValueError) as problem:
                        if len(str(problem)) > 1000:
                            conn.send("a long complaint")
            conn.send("end")
            conn.join("x" * 1048576)
    "#,
    };
    let site = language.site(body);
    let mut ws = site.websocket("/");
    for size in [1, 255, 7, 3, 10, 1] {
        assert_eq!(ws.read_text(), format!("to {size}"));
    }
    assert_eq!(ws.read_text(), "end");
    assert_eq!(ws.read_close().0, 1011);
    site.log().expect(&format!("{}:", language.place(24, 23)));
}

in_each_language!(a_table_said_to_a_room_is_json);
fn a_table_said_to_a_room_is_json(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        app:channel("/", { open = function(conn) conn:join("r") conn:send("joined") end })
        app:get("/say", function()
          kennel.room("r"):send({ a = 1 })
          kennel.room("r"):send("text")
          return "said"
        end)
        "#,
        python: r#"
        @app.channel("/")
        class Listener:
            def open(self, conn):
                conn.join("r")
                conn.send("joined")
        @app.get("/say")
        async def say(req):
            kennel.room("r").send({"a": 1})
            kennel.room("r").send("text")
            return "said"
        "#,
    });
    let mut clients = open(&site, 3);
    for ws in &mut clients {
        assert_eq!(ws.read_text(), "joined");
    }
    assert_eq!(site.get("/say").text(), "said");
    for ws in &mut clients {
        assert_eq!(serde_json::from_str::<Value>(&ws.read_text()).expect("JSON"), json!({ "a": 1 }));
        assert_eq!(ws.read_text(), "text");
    }
}

in_each_language!(what_a_script_sends_before_it_joins_comes_before_what_the_room_says);
fn what_a_script_sends_before_it_joins_comes_before_what_the_room_says(language: Language) {
    let body = Scripts {
        lua: r#"
        app:channel("/", { open = function(conn)
          conn:send("welcome")
          conn:join("r")
          kennel.room("r"):send("somebody is here")
          conn:send("after")
        end })
    "#,
        python: r#"
        @app.channel("/")
        class Listener:
            def open(self, conn):
                conn.send("welcome")
                conn.join("r")
                kennel.room("r").send("somebody is here")
                conn.send("after")
    "#,
    };
    let site = language.site(body);
    let mut first = site.websocket("/");
    for text in ["welcome", "somebody is here", "after"] {
        assert_eq!(first.read_text(), text);
    }
    for n in 0..10 {
        let mut next = site.websocket("/");
        for text in ["welcome", "somebody is here", "after"] {
            assert_eq!(next.read_text(), text, "{n}");
        }
        assert_eq!(first.read_text(), "somebody is here", "{n}");
    }
}

in_each_language!(all_members_hear_the_same_order);
/// Ten clients on two workers talk at once; everybody hears the same conversation.
fn all_members_hear_the_same_order(language: Language) {
    let site = language.site(APP);
    let mut clients = open(&site, 10);
    for ws in &mut clients {
        assert_eq!(ws.ask("here?"), "here?");
    }
    let together = Arc::new(Barrier::new(10));
    let writers: Vec<_> = clients
        .iter()
        .enumerate()
        .map(|(who, ws)| {
            let (mut writer, together) = (ws.writer(), Arc::clone(&together));
            std::thread::spawn(move || {
                together.wait();
                for n in 0..100 {
                    let bytes = frame(FIN | TEXT, format!("say all {who}:{n}"));
                    writer.write_all(&bytes).expect("an open connection");
                }
            })
        })
        .collect();
    let heard: Vec<Vec<String>> =
        clients.iter_mut().map(|ws| (0..1000).map(|_| ws.read_text()).collect()).collect();
    for writer in writers {
        writer.join().expect("all was written");
    }
    for (n, other) in heard.iter().enumerate() {
        assert!(*other == heard[0], "client {n} heard something else than client 0");
    }
    for who in 0..10 {
        let mine: Vec<_> = heard[0].iter().filter(|text| text.starts_with(&format!("{who}:"))).collect();
        let expected: Vec<_> = (0..100).map(|n| format!("{who}:{n}")).collect();
        assert!(mine.iter().copied().eq(expected.iter()), "what one says stays in order: {mine:?}");
    }
}

in_each_language!(a_thousand_clients_hear_what_each_of_them_says_exactly_once);
fn a_thousand_clients_hear_what_each_of_them_says_exactly_once(language: Language) {
    for flow_control in [true, false] {
        let site = language.plan(APP).config(&format!("flow_control = {flow_control}\n")).start();
        let mut clients = open(&site, 1000);
        for ws in &mut clients {
            assert_eq!(ws.ask("here?"), "here?");
        }
        assert_eq!(site.get("/count/all").text(), "1000");
        clients[500].send("others all hello all of you");
        for (round, ws) in clients.iter_mut().take(5).enumerate() {
            ws.send(format!("say all round {round}"));
        }
        assert_eq!(site.get("/count/all").text(), "1000");
        // Messages of different clients come in some order, the same for all; nothing comes twice.
        let mut order = Vec::new();
        for (n, ws) in clients.iter_mut().enumerate() {
            let count = if n == 500 { 5 } else { 6 };
            let mut texts: Vec<String> = (0..count).map(|_| ws.read_text()).collect();
            texts.retain(|text| text != "hello all of you");
            if n == 0 {
                order.clone_from(&texts);
            }
            assert_eq!(texts, order, "client {n}");
            assert_eq!(ws.ask("mark"), "mark", "client {n} got something twice");
        }
        order.sort();
        assert_eq!(order, ["round 0", "round 1", "round 2", "round 3", "round 4"]);
        // Everybody says something: a million messages would be too many, so to a room of ten.
        for ws in &mut clients[..10] {
            assert_eq!(ws.ask("join ten"), "joined");
        }
        for (n, ws) in clients.iter_mut().enumerate() {
            ws.send(format!("say ten {n}"));
        }
        for ws in &mut clients[..10] {
            let mut heard: Vec<u32> = (0..1000).map(|_| ws.read_text().parse().expect("a number")).collect();
            heard.sort_unstable();
            assert!(heard.iter().copied().eq(0..1000), "{heard:?}");
        }
    }
}

in_each_language!(a_burst_to_a_room_arrives_whole_and_in_order);
fn a_burst_to_a_room_arrives_whole_and_in_order(language: Language) {
    let body = Scripts {
        lua: r#"
        app:channel("/", { open = function(conn) conn:join("r") conn:send("joined") end })
        app:get("/burst/{n}", function(req, n)
          for k = 1, tonumber(n) do kennel.room("r"):send("message " .. k) end
          return n
        end)
    "#,
        python: r#"
        @app.channel("/")
        class Listener:
            def open(self, conn):
                conn.join("r")
                conn.send("joined")
        @app.get("/burst/{n}")
        def burst(req, n):
            for k in range(1, int(n) + 1):
                kennel.room("r").send(f"message {k}")
            return n
    "#,
    };
    for setup in [Setup::default().tnetstring(), Setup::default().flow_control()] {
        let server = Mongrel2::start(setup.clone());
        let site = language.plan(body).behind(&server).start();
        let mut clients = open(&site, 200);
        for ws in &mut clients {
            assert_eq!(ws.read_text(), "joined");
        }
        assert_eq!(site.get("/burst/500").text(), "500");
        for (n, ws) in clients.iter_mut().enumerate() {
            for k in 1..=500 {
                assert_eq!(ws.read_text(), format!("message {k}"), "client {n}, {setup:?}");
            }
        }
    }
}

in_each_language!(a_room_spans_several_servers);
fn a_room_spans_several_servers(language: Language) {
    let one = Mongrel2::start(Setup { recv_ident: "one-".into(), ..Setup::default() });
    let two =
        Mongrel2::start(Setup { recv_ident: "two-".into(), ..Setup::default() }.tnetstring().flow_control());
    let site = language.plan(APP).behind(&one).behind(&two).start();
    // The same numbers of connections on both.
    let mut clients: Vec<WebSocket> = (0..20)
        .map(|n| {
            WebSocket::open(if n % 2 == 0 { one.port() } else { two.port() }, &format!("/?name=n{n:04}"))
        })
        .collect();
    for ws in &mut clients {
        assert_eq!(ws.ask("here?"), "here?");
    }
    assert_eq!(clients[0].ask("count all"), "20");
    clients[3].send("others all hello");
    for (n, ws) in clients.iter_mut().enumerate() {
        if n != 3 {
            assert_eq!(ws.read_text(), "hello", "client {n}");
        }
        assert_eq!(ws.ask("mark"), "mark");
    }
    assert_eq!(site.get("/members/all").json().as_array().map(Vec::len), Some(20));
}

in_each_language!(a_server_that_dies_takes_only_its_own_members);
fn a_server_that_dies_takes_only_its_own_members(language: Language) {
    let mut one = Mongrel2::start(Setup::default());
    let two = Mongrel2::start(Setup::default());
    let site = language.plan(APP).behind(&one).behind(&two).start();
    let mut lost: Vec<WebSocket> = (0..5).map(|_| WebSocket::open(one.port(), "/")).collect();
    let mut kept: Vec<WebSocket> = (0..5).map(|_| WebSocket::open(two.port(), "/")).collect();
    for ws in lost.iter_mut().chain(&mut kept) {
        assert_eq!(ws.ask("here?"), "here?");
    }
    one.kill();
    site.log().expect_times("[close 1006]", 5);
    assert_eq!(kept[0].ask("count all"), "5");
    kept[0].send("say all still here");
    for ws in &mut kept {
        assert_eq!(ws.read_text(), "still here");
    }
    one.start_again();
    site.log().expect_times("server listens", 3);
    let mut new = WebSocket::open(one.port(), "/");
    assert_eq!(new.ask("count all"), "6");
}

in_each_language!(membership_survives_any_number_of_killed_workers);
fn membership_survives_any_number_of_killed_workers(language: Language) {
    let site = language.site(APP);
    let mut clients = open(&site, 20);
    for (n, ws) in clients.iter_mut().enumerate() {
        assert_eq!(ws.ask(format!("join room{}", n % 4)), "joined");
    }
    for round in 1..=3 {
        site.workers().into_iter().for_each(process::kill);
        site.log().expect_times("a worker died", 2 * round);
        clients[0].send(format!("say all round {round}"));
        for ws in &mut clients {
            assert_eq!(ws.read_text(), format!("round {round}"));
        }
        clients[1].send("say room1 only these");
        for (n, ws) in clients.iter_mut().enumerate() {
            if n % 4 == 1 {
                assert_eq!(ws.read_text(), "only these", "client {n}");
            }
            assert_eq!(ws.ask("rooms"), format!(r#"["all","room{}"]"#, n % 4));
        }
        wait::until("there are two again", || site.workers().len() == 2);
    }
    assert_eq!(site.get("/count/all").text(), "20");
    assert_eq!(site.log().count("[close "), 0);
}

in_each_language!(rooms_survive_a_reload);
fn rooms_survive_a_reload(language: Language) {
    let site = language.site(APP);
    let mut clients = open(&site, 6);
    for ws in &mut clients {
        assert_eq!(ws.ask("join red"), "joined");
    }
    site.signal(process::Signal::HUP);
    site.log().expect("newest code is in charge");
    assert_eq!(site.get("/count/red").text(), "6");
    clients[0].send("say red still");
    for ws in &mut clients {
        assert_eq!(ws.read_text(), "still");
    }
}

in_each_language!(members_may_come_and_go_while_the_room_is_talking);
/// What the room says while they come and go reaches nobody twice, and the room's count is right in the end.
fn members_may_come_and_go_while_the_room_is_talking(language: Language) {
    let site = language.site(APP);
    let mut steady = open(&site, 5);
    for ws in &mut steady {
        assert_eq!(ws.ask("here?"), "here?");
    }
    let mut http = site.client();
    for n in 0..100 {
        let mut guest = site.websocket("/?name=guest");
        http.send(get(&format!("/say/all/{n}")));
        match n % 3 {
            0 => guest.send("leave all"),
            1 => guest.send_close(1000, ""),
            _ => guest.vanish(),
        }
        assert_eq!(http.read().text(), "said");
    }
    for ws in &mut steady {
        for n in 0..100 {
            assert_eq!(ws.read_text(), n.to_string());
        }
    }
    wait::until("all guests have left", || site.get("/count/all").text() == "5");
}

in_each_language!(a_member_that_was_closed_hears_nothing_more);
fn a_member_that_was_closed_hears_nothing_more(language: Language) {
    let site = language.site(APP);
    let (mut ws, mut other) = (site.websocket("/"), site.websocket("/"));
    assert_eq!(ws.ask("here?"), "here?");
    assert_eq!(other.ask("join red"), "joined");
    other.send("close all");
    for ws in [&mut ws, &mut other] {
        assert!(matches!(ws.read(), Received::Close(Some(1000), _)));
    }
    assert_eq!(site.get("/say/all/late").text(), "said");
    assert_eq!(site.get("/say/red/late").text(), "said");
    for ws in [&mut ws, &mut other] {
        assert_eq!(ws.read(), Received::End);
    }
}
