use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tests::client::get;
use tests::process::Signal;
use tests::site::Site;
use tests::wait;

#[test]
fn a_reload_serves_the_new_code_and_finishes_what_the_old_code_runs() {
    let site = Site::plan(
        r#"
        app:get("/", function() return "old" end)
        app:get("/slow", function() kennel.sleep(1) return "slow old" end)
        app:get("/gone", function() return "gone" end)
        app:stop(function() print("old code stops") end)
        "#,
    )
    .behind_warm()
    .start();
    let mut slow = site.client();
    slow.send(get("/slow"));
    assert_eq!(site.get("/").text(), "old");
    let old = site.workers();
    site.write_script(
        r#"app:get("/", function() return "new" end) app:get("/slow", function() return "slow new" end)"#,
    );
    site.signal(Signal::HUP);
    site.log().expect("newest code is in charge");
    assert_eq!(site.get("/").text(), "new");
    assert_eq!(site.get("/slow").text(), "slow new");
    assert_eq!(site.get("/gone").status, 404);
    assert_eq!(slow.read().text(), "slow old");
    site.log().expect_times("old code stops", 2);
    wait::until("the old workers end", || old.iter().all(|pid| !tests::process::is_alive(*pid)));
    wait::until("2 workers are left", || site.workers().len() == 2);
}

#[test]
fn broken_new_code_changes_nothing_and_is_reported() {
    let site = Site::plan(r#"app:get("/", function() return "old" end)"#).behind_warm().start();
    for (number, (script, complaint)) in [
        ("local x = = 1", "app.lua:1:"),
        ("error('not today')", "app.lua:1: not today"),
        ("return 7", "the script must return its app"),
        ("os.exit(1)", "died while it loaded"),
    ]
    .into_iter()
    .enumerate()
    {
        site.folder().write("app.lua", script);
        assert_eq!(site.kennel(&["reload"]).code, Some(0));
        let line = site.log().expect_times("did not load, what ran before goes on", number + 1);
        assert!(line.contains(complaint), "{line}");
        assert_eq!(site.get("/").text(), "old");
    }
    wait::until("2 workers are left", || site.workers().len() == 2);
    assert_eq!(site.log().count("replacement"), 0, "nobody was replaced");
    site.write_script(r#"app:get("/", function() return "new" end)"#);
    assert_eq!(site.kennel(&["reload"]).code, Some(0));
    site.log().expect("newest code is in charge");
    assert_eq!(site.get("/").text(), "new");
}

#[test]
fn a_dead_worker_is_never_replaced_by_a_mix_of_old_and_new_code() {
    let site = Site::plan(r#"app:get("/", function() return "old" end)"#).behind_warm().start();
    site.write_script(
        r#"app:get("/", function() return "new" end) app:get("/more", function() return "more" end)"#,
    );
    tests::process::kill(site.workers()[0]);
    site.log().expect("newest code is in charge");
    for _ in 0..10 {
        assert_eq!(site.get("/").text(), "new");
        assert_eq!(site.get("/more").text(), "more");
    }
}

#[test]
fn reloads_under_load_cost_no_request() {
    let body = |n: u32| {
        format!(
            r#"app:get("/", function() if math.random(5) == 1 then kennel.sleep(0.01) end return "{n}" end)"#
        )
    };
    let site = Site::plan(&body(0)).behind_warm().start();
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            let mut client = site.client();
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let response = client.get("/");
                    assert_eq!(response.status, 200, "{response:?}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for n in 1..=6 {
        site.write_script(&body(n));
        site.signal(Signal::HUP);
        site.log().expect_times("newest code is in charge", n as usize);
        let so_far = answered.load(Ordering::Relaxed);
        wait::until("the load goes on", || answered.load(Ordering::Relaxed) > so_far + 50);
    }
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().expect("each request is answered"));
    assert_eq!(site.get("/").text(), "6");
}

#[test]
fn of_several_reloads_at_once_the_last_one_counts() {
    let site = Site::plan(r#"app:get("/", function() return "0" end)"#).behind_warm().start();
    for n in 1..=10 {
        site.write_script(&format!(r#"app:get("/", function() return "{n}" end)"#));
        site.signal(Signal::HUP);
    }
    wait::until("the newest code serves", || site.get("/").text() == "10");
    wait::until("only its workers are left", || site.workers().len() == 2);
    for _ in 0..10 {
        assert_eq!(site.get("/").text(), "10");
    }
}

#[test]
fn under_dev_a_saved_file_is_served_without_being_asked() {
    let site = Site::plan(r#"app:get("/", function() return require("words") end)"#)
        .file("words.lua", "return 'first'")
        .dev()
        .start();
    assert_eq!(site.get("/").text(), "first");
    site.folder().write("words.lua", "return 'second'");
    site.log().expect("newest code is in charge");
    assert_eq!(site.get("/").text(), "second");
    site.write_script(r#"app:get("/", function() return "third" end)"#);
    site.log().expect_times("newest code is in charge", 2);
    assert_eq!(site.get("/").text(), "third");
}

#[test]
fn under_dev_the_browser_shows_what_is_wrong_and_where() {
    let site = Site::plan(
        r#"local function inner() error("no cake") end
app:get("/", function()
  inner()
  return "x"
end)"#,
    )
    .dev()
    .start();
    let page = site.get("/");
    assert_eq!((page.status, page.header("content-type")), (500, Some("text/html; charset=utf-8")));
    for part in ["no cake", "app.lua, line 2", "GET /", "Traceback", "app.lua:4"] {
        assert!(page.text().contains(part), "no `{part}` in {}", page.text());
    }
    // Code that does not load: the page for every address, until it is repaired.
    site.folder().write("app.lua", "local kennel = require 'kennel'\nlocal x = = 1\n");
    site.log().expect("did not load");
    let page = site.get("/anything");
    assert_eq!(page.status, 500);
    for part in ["app.lua, line 2", "unexpected symbol"] {
        assert!(page.text().contains(part), "no `{part}` in {}", page.text());
    }
    site.write_script(r#"app:get("/", function() return "repaired" end)"#);
    site.log().expect("newest code is in charge");
    assert_eq!(site.get("/").text(), "repaired");
}

#[test]
fn dev_starts_with_broken_code_and_waits_for_it_to_be_repaired() {
    let site = Site::plan("").file("app.lua", "this is no Lua").dev().spawn();
    site.log().expect("did not load");
    let page = wait::until_some("mongrel2 accepts", || {
        let mut client = tests::client::Client::try_connect(site.port()).ok()?;
        client.try_send(get("/")).ok()?;
        client.try_read().ok()
    });
    assert_eq!(page.status, 500);
    assert!(page.text().contains("app.lua, line 1"), "{}", page.text());
    site.write_script(r#"app:get("/", function() return "repaired" end)"#);
    site.log().expect("ready:");
    assert_eq!(site.get("/").text(), "repaired");
}
