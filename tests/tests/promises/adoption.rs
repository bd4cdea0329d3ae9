use std::time::{Duration, Instant};
use tests::client::{Client, get};
use tests::process::{self, Signal};
use tests::server::{Mongrel2, Setup};
use tests::site::{Plan, Site};
use tests::wait;
use tests::websocket::{DEFLATE, Deflater, FIN, RSV1, Received, TEXT, WebSocket};

const APP: &str = r#"
app:channel("/chat/{room}", {
  open = function(conn)
    print("[open " .. conn.request.args.name .. " resumed=" .. tostring(conn.resumed) .. "]")
    conn:join(conn.request.params.room)
  end,
  message = function(conn, msg)
    if msg == "id" then conn:send(conn.id)
    elseif msg == "cookie" then conn:send(conn.request.cookies.who)
    elseif msg == "say" then kennel.room(conn.request.params.room):send("said")
    else conn:send("re: " .. msg) end
  end,
  close = function(conn, code, reason)
    print("[close " .. conn.request.args.name .. " " .. code .. " " .. reason .. "]")
  end,
})
app:channel("/line", function(conn)
  conn:send("begin resumed=" .. tostring(conn.resumed))
  for msg in conn:messages() do conn:send(msg) end
end)
app:channel("/deflate", { deflate = true }, function(conn)
  for msg in conn:messages() do conn:send(msg) end
end)
app:get("/fine", function() return "fine" end)
"#;

fn plan(server: &Mongrel2) -> Plan {
    Site::plan(APP).behind(server)
}

/// `kill -9`; its workers end with it.
fn kill(site: Site) {
    let workers = site.workers();
    process::kill(site.hub());
    drop(site);
    wait::until("the workers are gone", || !workers.iter().any(|pid| process::is_alive(*pid)));
}

#[test]
fn the_websockets_of_a_killed_kennel_are_opened_again_by_the_next_one_when_they_speak() {
    for setup in [Setup::default(), Setup::default().tnetstring().flow_control()] {
        let server = Mongrel2::start(setup);
        let first = plan(&server).start();
        let mut clients: Vec<WebSocket> = (0..5)
            .map(|n| first.websocket_with(&format!("/chat/r?name=n{n}"), &[("Cookie", "who=ann")]))
            .collect();
        let ids: Vec<String> = clients.iter_mut().map(|ws| ws.ask("id")).collect();
        kill(first);

        let second = plan(&server).start();
        for (n, ws) in clients.iter_mut().enumerate() {
            assert_eq!(ws.ask("x"), "re: x");
            second.log().expect(&format!("[open n{n} resumed=true]"));
            assert_eq!(ws.ask("cookie"), "ann", "the opening request is known");
            assert_ne!(ws.ask("id"), ids[n], "for others it is another connection");
        }
        // They are members of their rooms again, and new ones are their equals.
        let mut new = second.websocket("/chat/r?name=new");
        assert_eq!(new.ask("x"), "re: x");
        second.log().expect("[open new resumed=false]");
        clients[0].send("say");
        for ws in clients.iter_mut().chain([&mut new]) {
            assert_eq!(ws.read_text(), "said");
        }
        clients.remove(0).close(4000, "bye");
        second.log().expect("[close n0 4000 bye]");
        clients.remove(0).vanish();
        second.log().expect("[close n1 1006 ");
        second.log().expect_exactly("[open ", 6);
        second.log().expect_exactly("[close ", 2);
    }
}

#[test]
fn what_clients_said_while_no_kennel_ran_is_heard_by_the_next_one() {
    let server = Mongrel2::start(Setup::default());
    let first = plan(&server).start();
    let mut clients: Vec<WebSocket> =
        (0..5).map(|n| first.websocket(&format!("/chat/r?name=n{n}"))).collect();
    for ws in &mut clients {
        assert_eq!(ws.ask("x"), "re: x");
    }
    kill(first);
    for ws in &mut clients {
        for n in 0..20 {
            ws.send(n.to_string());
        }
    }
    clients.remove(0).vanish();
    let second = plan(&server).start();
    for ws in &mut clients {
        for n in 0..20 {
            assert_eq!(ws.read_text(), format!("re: {n}"));
        }
    }
    second.log().expect("[close n0 1006 ");
    wait::until("all were opened again", || second.log().count("resumed=true]") == 5);
}

#[test]
fn requests_that_a_killed_kennel_had_taken_are_closed_and_idle_clients_are_not() {
    let server = Mongrel2::start(Setup::default());
    let app = format!("{APP}\napp:get('/slow', function() kennel.sleep(60) return 'late' end)");
    let at = server.folder().path().display().to_string();
    let database = format!("--mongrel2={at}/config.sqlite");
    let plan = || Site::plan(&app).argument(&database).behind_named(server.port());
    let first = plan().start();
    let mut idle = first.client();
    assert_eq!(idle.get("/fine").text(), "fine");
    let mut socket = first.websocket("/chat/r?name=n");
    assert_eq!(socket.ask("x"), "re: x");
    let mut waiting: Vec<Client> = (0..20).map(|_| first.client()).collect();
    waiting.iter_mut().for_each(|client| client.send(get("/slow")));
    wait::until("the hub has them", || {
        first.kennel(&["console", "--json", "-c", "status"]).stdout.contains("\"requests_unanswered\":20")
    });
    kill(first);
    // Those who ask while no kennel runs are answered by the next one.
    let mut late = Client::connect(server.port());
    late.send(get("/fine"));

    let second = plan().start();
    let began = Instant::now();
    for client in &mut waiting {
        client.set_patience(Duration::from_secs(5));
        assert!(client.read_to_end().is_empty());
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    second.log().expect("closed connections whose requests an earlier hub has taken");
    assert_eq!(late.read().text(), "fine");
    assert_eq!(idle.get("/fine").text(), "fine");
    assert_eq!(socket.ask("y"), "re: y");
}

#[test]
fn straight_line_code_begins_from_its_top() {
    let server = Mongrel2::start(Setup::default());
    let first = plan(&server).start();
    let mut ws = first.websocket("/line");
    assert_eq!(ws.read_text(), "begin resumed=false");
    kill(first);
    let _second = plan(&server).start();
    ws.send("hello");
    assert_eq!(ws.read_text(), "begin resumed=true");
    assert_eq!(ws.read_text(), "hello");
}

#[test]
fn clients_that_leave_between_two_kennels_are_nobodys() {
    let server = Mongrel2::start(Setup::default());
    let first = plan(&server).start();
    let mut polite = first.websocket("/chat/r?name=polite");
    assert_eq!(polite.ask("x"), "re: x");
    let mut rude = first.websocket("/chat/r?name=rude");
    assert_eq!(rude.ask("x"), "re: x");
    kill(first);
    rude.vanish();
    polite.send_close(1000, "");
    let second = plan(&server).start();
    assert!(matches!(polite.read(), Received::Close(Some(1000), _) | Received::End));
    let mut new = second.websocket("/chat/r?name=new");
    assert_eq!(new.ask("x"), "re: x");
    assert_eq!(second.log().count("rude"), 0, "{}", second.log().text());
    wait::until("every open has its close", || {
        second.log().count("[open polite") == second.log().count("[close polite")
    });
}

#[test]
fn where_the_next_kennel_has_no_such_channel_the_connection_is_closed() {
    let server = Mongrel2::start(Setup::default());
    let first = plan(&server).start();
    let mut ws = first.websocket("/chat/r?name=n");
    assert_eq!(ws.ask("x"), "re: x");
    kill(first);
    let second = Site::plan(r#"app:get("/fine", function() return "fine" end)"#).behind(&server).start();
    ws.send("hello?");
    loop {
        match ws.read() {
            Received::Close(..) => {}
            Received::End => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(second.get("/fine").text(), "fine");
}

/// What both sides had remembered for compression is gone. A wrong text would be worse than an end.
#[test]
fn a_compressed_connection_is_never_misunderstood() {
    let server = Mongrel2::start(Setup::default());
    let first = plan(&server).start();
    let mut ws = first.websocket_with("/deflate", &[DEFLATE]);
    // It was agreed that each message begins anew.
    let deflate = |text: &str| Deflater::new().deflate(text);
    for _ in 0..3 {
        ws.send_frame(FIN | RSV1 | TEXT, deflate("the same again and again"));
        assert_eq!(ws.read_text(), "the same again and again");
    }
    kill(first);
    let second = plan(&server).start();
    ws.send_frame(FIN | RSV1 | TEXT, deflate("the same again and again"));
    match ws.read() {
        Received::Text(text) => assert_eq!(text, "the same again and again"),
        Received::Close(code, _) => assert!(code.is_some_and(|code| code != 1000), "{code:?}"),
        Received::End => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(second.get("/fine").text(), "fine");
}

#[test]
fn after_a_stop_in_peace_there_is_nothing_to_adopt() {
    let server = Mongrel2::start(Setup::default());
    let mut first = plan(&server).start();
    let mut ws = first.websocket("/chat/r?name=n");
    assert_eq!(ws.ask("x"), "re: x");
    first.signal(Signal::TERM);
    assert_eq!(ws.read_close().0, 1001);
    assert_eq!(first.exit_code(), Some(0));
    let second = plan(&server).start();
    assert_eq!(second.websocket("/chat/r?name=new").ask("x"), "re: x");
    assert_eq!(second.log().count("[open n "), 0);
}
