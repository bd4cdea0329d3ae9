use std::time::{Duration, Instant};
use tests::client::{Client, get};
use tests::in_each_language;
use tests::language::{Language, Scripts};

in_each_language!(an_endless_loop_gets_504_and_others_are_answered_meanwhile);
fn an_endless_loop_gets_504_and_others_are_answered_meanwhile(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"
        app:get("/loop", function() while true do end end)
        app:get("/fine", function() return "fine" end)
        "#,
            python: r#"
        @app.get("/loop")
        def loop(req):
            while True:
                pass
        @app.get("/fine")
        def fine(req): return "fine"
        "#,
        })
        .config("[limits]\nscript_time = \"1500ms\"\n")
        .behind_warm()
        .start();
    let mut looping = site.client();
    let begin = Instant::now();
    looping.send(get("/loop"));
    // More than the workers' round trip: some of these are given to the worker that hangs.
    let mut answered = 0;
    while begin.elapsed() < Duration::from_millis(1000) {
        let mut clients: Vec<Client> = (0..8).map(|_| site.client()).collect();
        for client in &mut clients {
            client.send(get("/fine"));
        }
        for client in &mut clients {
            assert_eq!(client.read().text(), "fine");
            answered += 1;
        }
    }
    assert!(answered >= 32, "only {answered} requests in a second");
    assert_eq!(looping.read().status, 504);
    assert!(begin.elapsed() >= Duration::from_millis(1500));
    site.log().expect("a script ran for 1.5s without pause");
    assert_eq!(site.get("/fine").text(), "fine");
}

in_each_language!(an_endless_loop_in_the_only_worker_costs_itself_alone);
fn an_endless_loop_in_the_only_worker_costs_itself_alone(language: Language) {
    let site = language.plan(
        Scripts { lua: r#"
        app:get("/loop", function() while true do end end)
        app:get("/string", function() return string.rep("a", 40):match(string.rep("a?", 40) .. string.rep("a", 40)) end)
        app:get("/fine", function() return "fine" end)
        "#, python: r#"
        import re
        @app.get("/loop")
        async def loop(req):
            while True:
                pass
        @app.get("/string")
        def string(req): return str(re.match("(a+)+$", "a" * 40 + "b"))
        @app.get("/fine")
        def fine(req): return "fine"
        "# },
    )
    .config("[limits]\nscript_time = \"400ms\"\n")
    .behind_warm()
    .workers(1)
    .start();
    for path in ["/loop", "/string"] {
        let mut looping = site.client();
        looping.send(get(path));
        let mut behind: Vec<Client> = (0..5).map(|_| site.client()).collect();
        for client in &mut behind {
            client.send(get("/fine"));
        }
        assert_eq!(looping.read().status, 504, "{path}");
        for client in &mut behind {
            assert_eq!(client.read().text(), "fine", "{path}");
        }
    }
}

in_each_language!(a_loop_in_spawned_work_ends_too);
fn a_loop_in_spawned_work_ends_too(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"
        app:get("/", function() kennel.spawn(function() while true do end end) return "answered" end)
        app:get("/fine", function() return "fine" end)
        "#,
            python: r#"
        def loop():
            while True:
                pass
        @app.get("/")
        def spawn(req):
            kennel.spawn(loop)
            return "answered"
        @app.get("/fine")
        def fine(req): return "fine"
        "#,
        })
        .config("[limits]\nscript_time = \"400ms\"\n")
        .behind_warm()
        .workers(1)
        .start();
    assert_eq!(site.get("/").text(), "answered");
    let begin = Instant::now();
    assert_eq!(site.get("/fine").text(), "fine");
    assert!(begin.elapsed() < Duration::from_secs(5));
    // Whoever has no request in it: the loop still ends, nobody pays for it for ever.
    assert_eq!(site.get("/").text(), "answered");
    site.log().expect("without pause");
    assert_eq!(site.get("/fine").text(), "fine");
}

in_each_language!(a_request_that_takes_too_long_gets_504_and_its_late_answer_reaches_nobody);
fn a_request_that_takes_too_long_gets_504_and_its_late_answer_reaches_nobody(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"
        app:get("/slow/{s}", function(req, s) kennel.sleep(tonumber(s)) return "slow " .. s end)
        app:get("/fine", function() return "fine" end)
        "#,
            python: r#"
        import asyncio
        @app.get("/slow/{s}")
        async def slow(req, s):
            await asyncio.sleep(float(s))
            return "slow " + s
        @app.get("/fine")
        def fine(req): return "fine"
        "#,
        })
        .config("[limits]\nrequest_timeout = \"300ms\"\n")
        .behind_warm()
        .workers(1)
        .start();
    let mut client = site.client();
    let begin = Instant::now();
    assert_eq!(client.get("/slow/0.7").status, 504);
    assert!(begin.elapsed() >= Duration::from_millis(300));
    assert_eq!(client.get("/slow/0.1").text(), "slow 0.1", "the worker and the connection go on");
    assert!(client.is_silent_for(Duration::from_millis(700)), "the late answer came after all");
    assert_eq!(client.get("/fine").text(), "fine");
    site.log().expect("504");
}

in_each_language!(a_full_queue_is_answered_with_503_and_retry_after);
fn a_full_queue_is_answered_with_503_and_retry_after(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"app:get("/", function() kennel.sleep(0.5) return "done" end)"#,
            python: r#"import asyncio
@app.get("/")
async def slow(req):
    await asyncio.sleep(0.5)
    return "done""#,
        })
        .config("[limits]\nqueue = 2\nworker_jobs = 1\n")
        .behind_warm()
        .workers(1)
        .start();
    let mut clients: Vec<Client> = (0..6).map(|_| site.client()).collect();
    for client in &mut clients {
        client.send(get("/"));
    }
    let responses: Vec<_> = clients.iter_mut().map(Client::read).collect();
    let refused: Vec<_> = responses.iter().filter(|response| response.status == 503).collect();
    assert_eq!(refused.len(), 3, "one runs, two wait: {responses:?}");
    assert!(refused.iter().all(|response| response.header("retry-after") == Some("1")), "{refused:?}");
    assert_eq!(responses.iter().filter(|response| response.text() == "done").count(), 3);
    assert_eq!(clients[0].get("/").text(), "done", "afterwards there is room");
}

in_each_language!(one_connection_cannot_pipeline_without_end);
fn one_connection_cannot_pipeline_without_end(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"app:get("/{n}", function(req, n) kennel.sleep(0.2) return n end)"#,
            python: r#"import asyncio
@app.get("/{n}")
async def slow(req, n):
    await asyncio.sleep(0.2)
    return n"#,
        })
        .config("[limits]\npipeline = 4\n")
        .behind_warm()
        .start();
    let mut client = site.client();
    client.send((0..12).flat_map(|n| get(&format!("/{n}"))).collect::<Vec<_>>());
    for n in 0..5 {
        assert_eq!(client.read().text(), n.to_string());
    }
    let last = client.read();
    assert_eq!((last.status, last.header("connection")), (503, Some("close")));
    assert_eq!(client.read_to_end(), b"");
}

in_each_language!(memory_of_scripts_is_limited_and_the_worker_lives);
fn memory_of_scripts_is_limited_and_the_worker_lives(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"
        app:get("/eat", function()
          local t = {}
          for n = 1, 1e9 do t[n] = string.rep("x", 1000) .. n end
          return "full"
        end)
        app:get("/fine", function() return "fine" end)
        "#,
            python: r#"
        @app.get("/eat")
        def eat(req):
            eaten = []
            for n in range(10**9):
                eaten.append("x" * 1000 + str(n))
            return "full"
        @app.get("/fine")
        def fine(req): return "fine"
        "#,
        })
        .config("[limits]\nworker_memory = \"32MiB\"\n")
        .behind_warm()
        .workers(1)
        .start();
    let worker = site.workers();
    let mut client = site.client();
    for round in 0..3 {
        assert_eq!(client.get("/eat").status, 500, "{round}");
        assert_eq!(client.get("/fine").text(), "fine", "{round}");
    }
    site.log().expect(language.pick("memory", "MemoryError"));
    assert_eq!(site.workers(), worker, "it was the same worker all the time");
}

in_each_language!(a_script_that_does_not_finish_loading_is_an_error);
fn a_script_that_does_not_finish_loading_is_an_error(language: Language) {
    let mut site = language
        .plan(Scripts { lua: "while true do end", python: "while True: pass" })
        .config("[limits]\nload_time = \"300ms\"\n")
        .behind_warm()
        .spawn();
    assert_eq!(site.exit_code(), Some(2));
    let log = site.log().to_end();
    assert!(log.contains("did not load within 300ms"), "{log}");
    assert!(log.contains(language.app()), "which one: {log}");
}

in_each_language!(a_script_that_does_not_finish_loading_is_named_with_the_line_where_it_stood);
fn a_script_that_does_not_finish_loading_is_named_with_the_line_where_it_stood(language: Language) {
    // Native code that does not return, a wait, and a loop, in the script itself or in what it loads.
    let scripts = [
        (
            Scripts {
                lua: "local n = 1\n\nos.execute('sleep 60')",
                python: "n = 1\n\n__import__('os').system('sleep 60')",
            },
            language.app(),
            4,
        ),
        (
            Scripts { lua: "local slow = require 'slow'", python: "import slow" },
            language.pick("slow.lua", "slow.py"),
            3,
        ),
    ];
    for (scripts, file, line) in scripts {
        let mut site = language
            .plan(scripts)
            .file(
                &language.file("slow"),
                language
                    .pick("local n = 0\n\nwhile n >= 0 do n = n + 1 end", "n = 0\n\nwhile n >= 0: n += 1\n"),
            )
            .config("[limits]\nload_time = \"6s\"\n")
            .workers(1)
            .behind_warm()
            .spawn();
        assert_eq!(site.exit_code(), Some(2));
        let log = site.log().to_end();
        let place = format!("{file}:{line}: the script did not load within 6s (limits.load_time)");
        assert!(log.contains(&place), "{place} in\n{log}");
    }
}

in_each_language!(waiting_in_the_queue_counts_as_time_too);
fn waiting_in_the_queue_counts_as_time_too(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"app:get("/", function() kennel.sleep(5) return "done" end)"#,
            python: r#"import asyncio
@app.get("/")
async def slow(req):
    await asyncio.sleep(5)
    return "done""#,
        })
        .config("[limits]\nrequest_timeout = \"400ms\"\nworker_jobs = 1\n")
        .behind_warm()
        .workers(1)
        .start();
    let begin = Instant::now();
    let mut clients: Vec<Client> = (0..3).map(|_| site.client()).collect();
    for client in &mut clients {
        client.send(get("/"));
    }
    for client in &mut clients {
        assert_eq!(client.read().status, 504);
    }
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
}
