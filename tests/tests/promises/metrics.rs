//! What a Prometheus, and an operator at the console, can read of a running kennel.

use serde_json::Value;
use std::time::{Duration, Instant};
use tests::client::{Client, get, request};
use tests::folder::Folder;
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::metrics::{self, Metrics};
use tests::port::Port;
use tests::process;
use tests::site::{Plan, Site};
use tests::{command, wait};

const SCRIPT: Scripts<'_> = Scripts {
    lua: r#"
    app:get("/users/{id}", function(req) print("looked up " .. req.params.id) return "user" end)
    app:get("/slow", function() kennel.sleep(0.03) print("slept") return "slow" end)
    app:post("/things", function(req) return kennel.text(req.body, { status = 201 }) end)
    app:get("/boom", function() error("boom") end)
    app:get("/forever", function() kennel.sleep(3600) end)
    app:channel("/talk", {
      open = function(conn) conn:join("lobby") end,
      message = function(conn, msg)
        print("heard " .. msg)
        if msg == "all" then kennel.room("lobby"):send("to all") else conn:send(msg) end
      end,
    })
    "#,
    python: r#"
    import asyncio
    @app.get("/users/{id}")
    def user(req, id):
        print("looked up " + id)
        return "user"
    @app.get("/slow")
    async def slow(req):
        await asyncio.sleep(0.03)
        print("slept")
        return "slow"
    @app.post("/things")
    def things(req): return kennel.response(req.body, status=201)
    @app.get("/boom")
    def boom(req): raise RuntimeError("boom")
    @app.get("/forever")
    async def forever(req): await asyncio.sleep(3600)
    @app.channel("/talk")
    class Talk:
        def open(self, conn): conn.join("lobby")
        def message(self, conn, msg):
            print("heard " + msg)
            if msg == "all": kennel.room("lobby").send("to all")
            else: conn.send(msg)
    "#,
};

fn plan(language: Language) -> Plan {
    language.plan(SCRIPT).argument("--metrics=127.0.0.1:0").behind_warm()
}

/// The number of requests of a route that ended so.
fn requests(metrics: &Metrics, language: Language, route: &str, status: &str) -> f64 {
    let labels = [("app", language.app()), ("route", route), ("status", status)];
    metrics.sum("kennel_requests_total", &labels)
}

in_each_language!(requests_are_counted_by_app_route_and_status);
fn requests_are_counted_by_app_route_and_status(language: Language) {
    let site = plan(language).start();
    let mut client = site.client();
    for id in 0..50 {
        assert_eq!(client.get(&format!("/users/{id}?page={id}")).status, 200);
    }
    for _ in 0..3 {
        assert_eq!(client.get("/slow").status, 200);
        assert_eq!(site.get("/boom").status, 500);
    }
    client.send(request("POST", "/things", &[], b"thing"));
    assert_eq!(client.read().status, 201);
    assert_eq!(site.get("/nowhere/1").status, 404);
    assert_eq!(site.get("/nowhere/2").status, 404);
    assert_eq!(site.get("/things").status, 405);

    let metrics = Metrics::of(&site);
    let count = |route, status| requests(&metrics, language, route, status);
    assert_eq!(count("/users/{id}", "200"), 50.0);
    assert_eq!((count("/slow", "200"), count("/boom", "500"), count("/things", "201")), (3.0, 3.0, 1.0));
    assert_eq!((count("not_found", "404"), count("method_not_allowed", "405")), (2.0, 1.0));
    assert_eq!(metrics.sum("kennel_requests_total", &[]), 60.0);
    let slow = [("route", "/slow")];
    assert_eq!(metrics.sum("kennel_request_seconds_count", &slow), 3.0);
    assert_eq!(metrics.sum("kennel_request_seconds_bucket", &[slow[0], ("le", "0.025")]), 0.0);
    assert!(metrics.sum("kennel_request_seconds_sum", &slow) >= 0.09);
    // The ends of connections are messages, too.
    assert!(metrics.sum("kennel_server_received_total", &[("server", "0")]) >= 60.0);
    assert!(metrics.sum("kennel_server_received_bytes_total", &[]) > 60.0 * 100.0);
    assert!(metrics.sum("kennel_server_sent_total", &[]) >= 60.0);
    assert!(metrics.sum("kennel_server_sent_bytes_total", &[]) > 60.0 * 100.0);
    assert_eq!(metrics.sum("kennel_workers", &[("state", "ready")]), 2.0);
    assert!(metrics.sum("kennel_loop_seconds_count", &[]) >= 60.0);
    assert!(!metrics.values("route").iter().any(|route| route.contains("nowhere") || route.contains("/7")));
}

in_each_language!(live_connections_their_messages_and_rooms_are_counted);
fn live_connections_their_messages_and_rooms_are_counted(language: Language) {
    let site = plan(language).start();
    let mut ann = site.websocket("/talk");
    let mut ben = site.websocket("/talk");
    assert_eq!((ann.ask("one"), ben.ask("two")), ("one".to_owned(), "two".to_owned()));
    ann.send("all");
    assert_eq!((ann.read_text(), ben.read_text()), ("to all".to_owned(), "to all".to_owned()));
    let metrics = Metrics::of(&site);
    let channel = [("app", language.app()), ("channel", "/talk")];
    let messages = |direction| metrics.sum("kennel_channel_messages_total", &[("direction", direction)]);
    assert_eq!(metrics.sum("kennel_connections", &channel), 2.0);
    assert_eq!((messages("in"), messages("out")), (3.0, 2.0));
    assert_eq!(metrics.sum("kennel_rooms", &[]), 1.0);
    assert_eq!(metrics.sum("kennel_room_messages_total", &[]), 1.0);
    assert_eq!(metrics.sum("kennel_room_deliveries_total", &[]), 2.0);
    ann.vanish();
    wait::until("she is gone", || Metrics::of(&site).sum("kennel_connections", &channel) == 1.0);
    assert_eq!(Metrics::of(&site).sum("kennel_connections_opened_total", &channel), 2.0);
}

in_each_language!(restarts_losses_and_what_runs_are_counted);
fn restarts_losses_and_what_runs_are_counted(language: Language) {
    let site = plan(language).workers(1).start();
    let mut client = site.client();
    client.send(get("/forever"));
    let state = |metrics: &Metrics, state| metrics.sum("kennel_requests_in_flight", &[("state", state)]);
    wait::until("it runs", || state(&Metrics::of(&site), "running") == 1.0);
    process::kill(site.workers()[0]);
    assert_eq!(client.read().status, 502);
    assert_eq!(site.get("/users/1").status, 200);
    let metrics = Metrics::of(&site);
    let restarts =
        |metrics: &Metrics, reason| metrics.sum("kennel_worker_restarts_total", &[("reason", reason)]);
    assert_eq!((restarts(&metrics, "died"), restarts(&metrics, "hung")), (1.0, 0.0));
    assert_eq!(requests(&metrics, language, "/forever", "502"), 1.0);
    assert_eq!(state(&metrics, "running"), 0.0);

    let mut client = site.client();
    client.send(get("/forever"));
    wait::until("it runs", || state(&Metrics::of(&site), "running") == 1.0);
    client.vanish();
    site.kennel(&["console", "-c", "reload"]);
    site.log().expect("newest code is in charge");
    assert_eq!(restarts(&Metrics::of(&site), "reloaded"), 1.0);
    assert_eq!(requests(&Metrics::of(&site), language, "/users/{id}", "200"), 1.0, "counts outlive a reload");
}

in_each_language!(log_lines_name_the_request_or_the_connection_that_they_are_about);
fn log_lines_name_the_request_or_the_connection_that_they_are_about(language: Language) {
    let site = plan(language).config("[limits]\nrequest_timeout = \"1s\"\n").start();
    let mut client = site.client();
    client.get("/users/7");
    let line = site.log().expect("looked up 7");
    assert!(line.contains(" conn=") && line.contains(" request=1"), "{line}");
    client.get("/slow");
    let line = site.log().expect("slept");
    assert!(line.contains(" conn=") && line.contains(" request=2"), "{line}");
    site.get("/boom");
    let line = match language {
        Language::Lua => site.log().expect("app=\"app.lua\" worker=1 link=0 conn=").to_owned(),
        Language::Python => site.log().expect("app=\"app.py\" worker=1 link=0 conn=").to_owned(),
    };
    assert!(line.contains(" request="), "{line}");
    site.log().expect(" request=3");
    assert_eq!(site.get("/forever").status, 504);
    let line = site.log().expect("504 Gateway Timeout: no response within 1s");
    assert!(line.contains(" conn=") && line.contains(" request=4"), "{line}");
    let mut ann = site.websocket("/talk");
    ann.ask("hello");
    let line = site.log().expect("heard hello");
    assert!(line.contains(" conn=") && !line.contains(" request="), "{line}");
}

#[test]
fn log_lines_are_json_on_demand_with_the_same_ids() {
    let site = plan(Language::Lua).argument("--log-format=json").start();
    site.get("/users/7");
    let line: Value = serde_json::from_str(&site.log().expect("looked up 7")).expect("a line is JSON");
    assert_eq!((&line["request"], &line["link"]), (&1.into(), &0.into()), "{line}");
    assert!(line["conn"].is_u64(), "{line}");
}

#[test]
fn the_console_has_the_same_numbers() {
    let site = plan(Language::Lua).start();
    for id in 0..7 {
        site.get(&format!("/users/{id}"));
    }
    let finished = site.kennel(&["console", "--json", "-c", "metrics"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let rows: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    let rows = rows.as_array().expect("a list");
    let of_users = |row: &&Value| row["labels"]["route"] == "/users/{id}";
    let found: Vec<_> = rows.iter().filter(of_users).collect();
    assert_eq!((&found[0]["metric"], &found[0]["value"]), (&"kennel_requests_total".into(), &7.into()));
    assert_eq!((&found[1]["metric"], &found[1]["value"]), (&"kennel_request_seconds".into(), &7.into()));
    let read = Metrics::of(&site);
    for family in read.families() {
        assert!(rows.iter().any(|row| row["metric"] == family), "{family} is not at the console");
    }
    let text = site.kennel(&["console", "-c", "metrics requests_total"]).stdout;
    let words: Vec<_> = text.split_whitespace().collect();
    assert_eq!(
        words[4..],
        ["kennel_requests_total", "app=app.lua", "route=/users/{id}", "status=200", "7", "-"],
        "{text}"
    );
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn nothing_listens_unless_told_to() {
    let site = Language::Lua.plan(SCRIPT).behind_warm().start();
    assert_eq!(site.get("/users/1").status, 200);
    assert_eq!(site.log().count("metrics are at"), 0);
    assert_eq!(listeners(site.hub()), 0);
}

/// How many TCP sockets of a process listen.
fn listeners(pid: u32) -> usize {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives");
    let targets = descriptors.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let sockets: Vec<_> = targets.map(|target| target.to_string_lossy().into_owned()).collect();
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the system tells");
    let listens = |line: &&str| {
        let words: Vec<_> = line.split_whitespace().collect();
        words.get(3) == Some(&"0A")
            && words.get(9).is_some_and(|inode| sockets.contains(&format!("socket:[{inode}]")))
    };
    table.lines().filter(listens).count()
}

#[test]
fn the_address_may_come_from_a_flag_a_variable_or_the_file() {
    let (flag, variable, file) = (Port::free(), Port::free(), Port::free());
    let config = format!("[metrics]\nlisten = \"{}\"\n", file.address());
    let plan = || Language::Lua.plan(SCRIPT).config(&config).behind_warm();
    let reads = |site: &Site, port: &Port| {
        assert_eq!(metrics::port(site), port.number());
        assert!(!Metrics::of(site).is_empty());
    };
    reads(&plan().start(), &file);
    reads(&plan().variable("KENNEL_METRICS", variable.address()).start(), &variable);
    let all = plan().variable("KENNEL_METRICS", variable.address());
    reads(&all.argument(&format!("--metrics={}", flag.address())).start(), &flag);
}

#[test]
fn an_address_that_cannot_be_is_said_with_the_way_out() {
    let folder = Folder::new();
    folder.write("app.lua", Language::Lua.script_of(SCRIPT));
    for (address, problem) in [
        ("nonsense", "`nonsense` has no port; write nonsense:9464 (an example: 127.0.0.1:9464)"),
        ("127.0.0.1", "`127.0.0.1` has no port; write 127.0.0.1:9464"),
        ("127.0.0.1:99999", "`127.0.0.1:99999`: a port is a number up to 65535, as in 127.0.0.1:9464"),
        ("192.0.2.1:9464", "192.0.2.1 is not an address of this machine; choose another with --metrics"),
    ] {
        let finished = command::run(folder.path(), ["run", "--metrics", address, "app.lua"]);
        assert_eq!(finished.code, Some(2), "{address}: {}", finished.stderr);
        assert!(finished.stderr.contains(problem), "{address}: {}", finished.stderr);
    }
    let port = Port::free();
    let _taken = std::net::TcpListener::bind(port.address()).expect("it is free");
    let finished = command::run(folder.path(), ["run", "--metrics", &port.address(), "app.lua"]);
    assert_eq!(finished.code, Some(3), "{}", finished.stderr);
    let problem = format!("port {} of 127.0.0.1 is taken by another program", port.number());
    assert!(finished.stderr.contains(&problem), "{}", finished.stderr);
    folder.write("kennel.toml", "[metrics]\nlisen = \"127.0.0.1:9464\"\n");
    let finished = command::run(folder.path(), ["run", "app.lua"]);
    assert_eq!(finished.code, Some(2));
    assert!(finished.stderr.contains("did you mean `listen`?"), "{}", finished.stderr);
}

#[test]
fn whatever_is_asked_gets_its_answer_or_none_and_harms_nobody() {
    let site = plan(Language::Lua).start();
    let port = metrics::port(&site);
    let status = |bytes: &[u8]| {
        let mut client = Client::connect(port);
        client.send(bytes);
        let response = client.read();
        assert_eq!(response.header("connection"), Some("close"));
        assert_eq!(client.read_to_end(), b"", "nothing behind the answer");
        response.status
    };
    assert_eq!(status(&get("/")), 404);
    assert_eq!(status(&get("/metrics/x")), 404);
    assert_eq!(status(&get("/metrics?name[]=x")), 200);
    assert_eq!(status(&request("POST", "/metrics", &[], &[b'x'; 4000])), 405);
    assert_eq!(status(b"GET /metrics HTTP/1.0\r\n\r\n"), 200);
    assert_eq!(status(b"nonsense\r\n\r\n"), 400);
    assert_eq!(status(&[get("/metrics"), get("/metrics")].concat()), 200);
    let mut client = Client::connect(port);
    let _ = client.try_send(vec![b'x'; 1 << 20]);
    assert!(client.try_read().map_or(true, |response| response.status == 431));
    let mut client = Client::connect(port);
    client.send(request("HEAD", "/metrics", &[], b""));
    let head = client.read_head();
    assert!(
        head.header("content-length")
            .and_then(|size| size.parse().ok())
            .is_some_and(|size: usize| size > 1000)
    );
    assert_eq!(client.read_to_end(), b"");
    let mut half = Client::connect(port);
    half.send("GET /met");
    half.shut_down_sending();
    assert_eq!(half.read_to_end(), b"");
    Client::connect(port).vanish();
    assert_eq!(site.get("/users/1").status, 200);
    assert!(!Metrics::of(&site).is_empty());
}

#[test]
fn a_hundred_scrapers_at_once_are_all_served() {
    let site = plan(Language::Lua).start();
    let port = metrics::port(&site);
    let mut clients: Vec<_> = (0..100).map(|_| Client::connect(port)).collect();
    for client in &mut clients {
        client.send(get("/metrics"));
    }
    assert_eq!(site.get("/users/1").status, 200);
    for client in &mut clients {
        let response = client.read();
        assert_eq!(response.status, 200);
        assert!(!Metrics::parse(&response.text()).is_empty());
    }
}

#[test]
fn scrapers_that_stall_are_let_go_and_others_get_their_turn() {
    let site = plan(Language::Lua).start();
    let port = metrics::port(&site);
    let begun = Instant::now();
    let mut stalled: Vec<_> = (0..40).map(|_| Client::connect(port)).collect();
    for client in &mut stalled {
        client.send("GET /metrics HTTP/1.1\r\nHost:");
    }
    let mut patient = Client::connect(port);
    patient.send(get("/metrics"));
    // The site's own work is not held up meanwhile.
    while begun.elapsed() < Duration::from_secs(1) {
        let asked = Instant::now();
        assert_eq!(site.get("/users/1").status, 200);
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    }
    assert_eq!(patient.read().status, 200, "it waits until the others are gone");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    for client in &mut stalled {
        assert_eq!(client.try_read_bytes(1).unwrap_or_default(), b"");
    }
}

#[test]
fn who_has_an_answer_and_stays_is_let_go() {
    let site = plan(Language::Lua).start();
    let mut client = Client::connect(metrics::port(&site));
    client.send(get("/metrics"));
    assert_eq!(client.read().status, 200);
    let sockets = || {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", site.hub())).expect("the hub lives");
        descriptors.count()
    };
    let with = sockets();
    wait::until("its socket is closed", || sockets() < with);
    drop(client);
}

#[test]
fn lines_of_handlers_in_threads_name_their_own_request() {
    let site = plan(Language::Python).workers(1).argument("--threads=8").start();
    let mut clients: Vec<_> = (0..20).map(|_| site.client()).collect();
    for (id, client) in clients.iter_mut().enumerate() {
        client.send(get(&format!("/users/u{id}.")));
    }
    for client in &mut clients {
        assert_eq!(client.read().status, 200);
    }
    let lines = (0..20).map(|id| site.log().expect(&format!("looked up u{id}.")));
    let numbers = lines.map(|line| {
        let (_, number) = line.split_once(" request=").unwrap_or_else(|| panic!("no request in {line}"));
        number.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
    });
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
}

#[test]
fn an_asgi_applications_lines_name_their_request() {
    let source = r#"
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    print("asked " + scope["path"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})
"#;
    let site = Site::plan_module(source).argument("--metrics=127.0.0.1:0").behind_warm().start();
    assert_eq!(site.get("/a/7").status, 200);
    let line = site.log().expect("asked /a/7");
    assert!(line.contains(" request=1"), "{line}");
    let metrics = Metrics::of(&site);
    assert_eq!(requests(&metrics, Language::Python, "any", "200"), 1.0);
}

#[test]
fn every_metric_has_its_line_in_the_documentation_and_every_line_its_metric() {
    let site = plan(Language::Lua).start();
    site.get("/users/1");
    let page = include_str!("../../../docs/metrics.md");
    let rows = page.lines().filter(|line| line.starts_with("| `kennel_"));
    let names = rows.flat_map(|row| row.split('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2));
    let mut documented: Vec<_> = names.collect();
    documented.sort_unstable();
    let metrics = Metrics::of(&site);
    assert_eq!(documented, metrics.families().collect::<Vec<_>>());
    for reason in metrics.values("reason") {
        assert!(page.contains(&format!("`{reason}`")), "`{reason}` is not explained");
    }
}
