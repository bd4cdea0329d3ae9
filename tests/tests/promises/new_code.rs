use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tests::client::get;
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::process::Signal;
use tests::site::Plan;
use tests::wait;

in_each_language!(a_reload_serves_the_new_code_and_finishes_what_the_old_code_runs);
fn a_reload_serves_the_new_code_and_finishes_what_the_old_code_runs(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"
        app:get("/", function() return "old" end)
        app:get("/slow", function() kennel.sleep(1) return "slow old" end)
        app:get("/gone", function() return "gone" end)
        app:stop(function() print("old code stops") end)
        "#,
            python: r#"
        import asyncio
        @app.get("/")
        def old(req): return "old"
        @app.get("/slow")
        async def slow(req):
            await asyncio.sleep(1)
            return "slow old"
        @app.get("/gone")
        def gone(req): return "gone"
        @app.stop
        def stop(): print("old code stops")
        "#,
        })
        .behind_warm()
        .start();
    let mut slow = site.client();
    slow.send(get("/slow"));
    assert_eq!(site.get("/").text(), "old");
    let old = site.workers();
    site.write_scripts(
        Scripts { lua: r#"app:get("/", function() return "new" end) app:get("/slow", function() return "slow new" end)"#, python: r#"@app.get("/")
def new(req): return "new"
@app.get("/slow")
def slow(req): return "slow new""# },
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

in_each_language!(broken_new_code_changes_nothing_and_is_reported);
fn broken_new_code_changes_nothing_and_is_reported(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"app:get("/", function() return "old" end)"#,
            python: r#"@app.get("/")
def old(req): return "old""#,
        })
        .behind_warm()
        .start();
    let lua = [
        ("local x = = 1", "app.lua:1:"),
        ("error('not today')", "app.lua:1: not today"),
        ("return 7", "the script must return its app"),
        ("os.exit(1)", "died while it loaded"),
    ];
    let python = [
        ("x = = 1", "app.py:1:"),
        ("raise RuntimeError('not today')", "app.py:1: RuntimeError: not today"),
        ("app = 7", "what it serves is not an app"),
        ("import os; os._exit(1)", "died while it loaded"),
    ];
    for (number, (script, complaint)) in language.pick(lua, python).into_iter().enumerate() {
        site.folder().write(language.app(), script);
        let told = site.kennel(&["reload"]);
        assert_eq!((told.code, told.stdout.as_str()), (Some(1), ""));
        let says = format!("error: {} did not load: ", language.app());
        assert!(told.stderr.starts_with(&says) && told.stderr.contains(complaint), "{}", told.stderr);
        let line = site.log().expect_times("did not load, what ran before goes on", number + 1);
        assert!(line.contains(complaint), "{line}");
        assert_eq!(site.get("/").text(), "old");
    }
    wait::until("2 workers are left", || site.workers().len() == 2);
    assert_eq!(site.log().count("replacement"), 0, "nobody was replaced");
    site.write_scripts(Scripts {
        lua: r#"app:get("/", function() return "new" end)"#,
        python: r#"@app.get("/")
def new(req): return "new""#,
    });
    let told = site.kennel(&["reload"]);
    let loaded = format!("{}: loaded, 2 workers\n", language.app());
    assert_eq!((told.code, told.stdout, told.stderr.as_str()), (Some(0), loaded, ""));
    assert_eq!(site.get("/").text(), "new", "it is there when the command has ended");
}

in_each_language!(a_dead_worker_is_never_replaced_by_a_mix_of_old_and_new_code);
fn a_dead_worker_is_never_replaced_by_a_mix_of_old_and_new_code(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"app:get("/", function() return "old" end)"#,
            python: r#"@app.get("/")
def old(req): return "old""#,
        })
        .behind_warm()
        .start();
    site.write_scripts(Scripts {
        lua: r#"app:get("/", function() return "new" end) app:get("/more", function() return "more" end)"#,
        python: r#"@app.get("/")
async def new(req): return "new"
@app.get("/more")
def more(req): return "more""#,
    });
    tests::process::kill(site.workers()[0]);
    site.log().expect("newest code is in charge");
    for _ in 0..10 {
        assert_eq!(site.get("/").text(), "new");
        assert_eq!(site.get("/more").text(), "more");
    }
}

in_each_language!(reloads_under_load_cost_no_request);
fn reloads_under_load_cost_no_request(language: Language) {
    let scripts = Scripts {
        lua: r#"app:get("/", function() if math.random(5) == 1 then kennel.sleep(0.01) end return "NUMBER" end)"#,
        python: r#"
        import asyncio, random
        @app.get("/")
        async def number(req):
            if random.random() < 0.2:
                await asyncio.sleep(0.01)
            return "NUMBER"
        "#,
    };
    let body = |n: u32| scripts.body(language).replace("NUMBER", &n.to_string());
    let site = Plan::new(language, &body(0)).behind_warm().start();
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

in_each_language!(of_several_reloads_at_once_the_last_one_counts);
fn of_several_reloads_at_once_the_last_one_counts(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"app:get("/", function() return "0" end)"#,
            python: r#"@app.get("/")
def number(req): return "0""#,
        })
        .behind_warm()
        .start();
    for n in 1..=10 {
        site.write_scripts(Scripts {
            lua: &format!(r#"app:get("/", function() return "{n}" end)"#),
            python: &format!("@app.get('/')\ndef number(req): return '{n}'"),
        });
        site.signal(Signal::HUP);
    }
    wait::until("the newest code serves", || site.get("/").text() == "10");
    wait::until("only its workers are left", || site.workers().len() == 2);
    for _ in 0..10 {
        assert_eq!(site.get("/").text(), "10");
    }
}

in_each_language!(under_dev_a_saved_file_is_served_without_being_asked);
fn under_dev_a_saved_file_is_served_without_being_asked(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"app:get("/", function() return require("words") end)"#,
            python: r#"import words
@app.get("/")
def word(req): return words.WORD"#,
        })
        .file("words.lua", "return 'first'")
        .file("words.py", "WORD = 'first'")
        .dev()
        .start();
    assert_eq!(site.get("/").text(), "first");
    site.folder().write(&language.file("words"), language.pick("return 'second'", "WORD = 'second'"));
    site.log().expect("newest code is in charge");
    assert_eq!(site.get("/").text(), "second");
    site.write_scripts(Scripts {
        lua: r#"app:get("/", function() return "third" end)"#,
        python: r#"@app.get("/")
def third(req): return "third""#,
    });
    site.log().expect_times("newest code is in charge", 2);
    assert_eq!(site.get("/").text(), "third");
}

in_each_language!(under_dev_the_browser_shows_what_is_wrong_and_where);
fn under_dev_the_browser_shows_what_is_wrong_and_where(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"local function inner() error("no cake") end
app:get("/", function()
  inner()
  return "x"
end)"#,
            python: r#"def inner(): raise RuntimeError("no cake")
@app.get("/")
async def outer(req):
    inner()
    return "x""#,
        })
        .dev()
        .start();
    let page = site.get("/");
    assert_eq!((page.status, page.header("content-type")), (500, Some("text/html; charset=utf-8")));
    for part in [
        "no cake",
        language.pick("app.lua, line 2", "app.py, line 2"),
        "GET /",
        "Traceback",
        &language.place(4, 5),
    ] {
        assert!(page.text().contains(part), "no `{part}` in {}", page.text());
    }
    // Code that does not load: the page for every address, until it is repaired.
    let broken =
        language.pick("local kennel = require 'kennel'\nlocal x = = 1\n", "import kennel\nx = = 1\n");
    site.folder().write(language.app(), broken);
    site.log().expect("did not load");
    let page = site.get("/anything");
    assert_eq!(page.status, 500);
    for part in language.pick(["app.lua, line 2", "unexpected symbol"], ["app.py, line 2", "invalid syntax"])
    {
        assert!(page.text().contains(part), "no `{part}` in {}", page.text());
    }
    site.write_scripts(Scripts {
        lua: r#"app:get("/", function() return "repaired" end)"#,
        python: r#"@app.get("/")
def repaired(req): return "repaired""#,
    });
    site.log().expect("newest code is in charge");
    assert_eq!(site.get("/").text(), "repaired");
}

in_each_language!(dev_starts_with_broken_code_and_waits_for_it_to_be_repaired);
fn dev_starts_with_broken_code_and_waits_for_it_to_be_repaired(language: Language) {
    let site =
        language.plan(Scripts { lua: "", python: "" }).file(language.app(), "this is no code").dev().spawn();
    site.log().expect("did not load");
    let page = wait::until_some("mongrel2 accepts", || {
        let mut client = tests::client::Client::try_connect(site.port()).ok()?;
        client.try_send(get("/")).ok()?;
        client.try_read().ok()
    });
    assert_eq!(page.status, 500);
    assert!(page.text().contains(&format!("{}, line 1", language.app())), "{}", page.text());
    site.write_scripts(Scripts {
        lua: r#"app:get("/", function() return "repaired" end)"#,
        python: r#"@app.get("/")
def repaired(req): return "repaired""#,
    });
    site.log().expect("ready:");
    assert_eq!(site.get("/").text(), "repaired");
}
