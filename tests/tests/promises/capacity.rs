use std::time::{Duration, Instant};
use tests::server::{Front, Mongrel2, Setup, needs_mongrel2};
use tests::site::Site;
use tests::wait;
use tests::websocket::WebSocket;

const APP: &str = r#"
    app:get("/", function() return "fine" end)
    app:channel("/live", { message = function(conn, msg) conn:send(msg) end })
"#;

/// Opens this number of WebSockets.
fn open(site: &Site, count: usize) -> Vec<WebSocket> {
    (0..count).map(|_| site.websocket("/live")).collect()
}

/// All say something at once, and all hear it. This is when a Mongrel2 that is too full begins to stall.
fn all_speak(all: &mut [WebSocket]) {
    for _ in 0..5 {
        all.iter_mut().for_each(|socket| socket.send("still here"));
        all.iter_mut().for_each(|socket| assert_eq!(socket.read_text(), "still here"));
    }
}

/// How long a plain request takes, the median of 21. Beyond its capacity, Mongrel2 needs half a second for each.
fn plain_request(site: &Site) -> Duration {
    let mut client = site.client();
    let mut times: Vec<_> = (0..21)
        .map(|_| {
            let began = Instant::now();
            assert_eq!(client.get("/").text(), "fine");
            began.elapsed()
        })
        .collect();
    times.sort();
    times[10]
}

fn is_refused(site: &Site) -> bool {
    let mut client = site.client();
    client.send(tests::websocket::handshake("/live", &[]));
    let response = client.read();
    if response.status == 101 {
        return false;
    }
    assert_eq!((response.status, response.header("retry-after")), (503, Some("10")), "{response:?}");
    assert!(client.read_to_end().is_empty(), "it is closed");
    true
}

#[test]
fn one_websocket_too_many_gets_503_and_plain_http_goes_on() {
    let site = Site::plan(APP).config("[limits]\nconnections = 40\n").start();
    let mut all = open(&site, 36);
    assert_eq!(site.log().count("nearly full"), 0);
    all.extend(open(&site, 4));
    for _ in 0..10 {
        assert!(is_refused(&site));
    }
    site.log().expect_exactly("server is nearly full", 1);
    site.log().expect_exactly("server is full", 1);
    all_speak(&mut all);
    let time = plain_request(&site);
    assert!(time < Duration::from_millis(250), "{time:?}");
    all.truncate(30);
    wait::until("those that left make room", || !is_refused(&site));
    site.log().expect_exactly("server is nearly full", 1);
}

/// This Mongrel2 really stalls when clients have nearly all of its 64 places: measured, each reply took 0.5 ms with 56
/// WebSockets and 504 ms with 62.
#[test]
fn a_mongrel2_of_a_database_is_never_filled() {
    if !needs_mongrel2() {
        return;
    }
    let setup = Setup::default()
        .by(Front::Mongrel2)
        .setting("superpoll.max_fd", "256")
        .setting("superpoll.hot_dividend", "4");
    let server = Mongrel2::start(setup.flow_control());
    let database = server.folder().path().join("config.sqlite");
    let site = Site::plan(APP)
        .behind_named(server.port())
        .argument(&format!("--mongrel2={}", database.display()))
        .start();
    let mut all = open(&site, 48);
    assert!(is_refused(&site));
    site.log().expect_exactly("server is nearly full", 1);
    all_speak(&mut all);
    let time = plain_request(&site);
    assert!(time < Duration::from_millis(250), "{time:?}");
    let check = site.kennel(&["check", &format!("--mongrel2={}", database.display())]);
    assert!(check.stdout.contains(" 48  server `site` of "), "{}{}", check.stdout, check.stderr);
    assert!(check.stdout.contains("256 descriptors / superpoll.hot_dividend 4, less 16"), "{}", check.stdout);
}

/// A front uses all its descriptors, whatever the settings say that keep a Mongrel2 from it.
#[test]
fn a_front_of_a_database_takes_as_many_clients_as_it_has_descriptors() {
    let setup = Setup::default().by(Front::Kennel).setting("superpoll.max_fd", "256");
    let server = Mongrel2::start(setup.setting("superpoll.hot_dividend", "1").flow_control());
    let database = format!("--mongrel2={}", server.folder().path().join("config.sqlite").display());
    let site = Site::plan(APP).behind_named(server.port()).argument(&database).start();
    let mut all = open(&site, 300);
    assert!(!is_refused(&site));
    all_speak(&mut all);
    let check = site.kennel(&["check", &database]);
    assert!(check.stdout.contains(" descriptors, less "), "{}{}", check.stdout, check.stderr);
    assert!(!check.stderr.contains("hot-dividend") && !check.stderr.contains("guard"), "{}", check.stderr);
}

#[test]
fn check_says_how_many_connections_fit_and_what_keeps_mongrel2_from_them() {
    let folder = tests::folder::Folder::new();
    folder.write("kennel.toml", "[limits]\nconnections = 40\n");
    let finished = tests::command::run(folder.path(), ["check"]);
    assert!(finished.stdout.contains("40  Kennel's front: as `connections` says"), "{finished:?}");
    let finished = tests::command::run(folder.path(), ["check", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&finished.stdout).expect("JSON");
    assert_eq!(report["connections"][0]["live"], 40, "{report}");

    let setup = Setup::default().setting("superpoll.hot_dividend", "1");
    let server = Mongrel2::prepare(setup);
    let database = server.folder().path().join("config.sqlite");
    let finished =
        tests::command::run(folder.path(), ["check", &format!("--mongrel2={}", database.display())]);
    assert!(finished.stderr.contains("[hot-dividend]"), "{finished:?}");
}
