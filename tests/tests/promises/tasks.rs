use std::time::{Duration, Instant};
use tests::client::{Client, get};
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::process::Signal;
use tests::site::Site;

in_each_language!(sleeping_requests_share_one_worker);
fn sleeping_requests_share_one_worker(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"app:get("/{n}", function(req, n) kennel.sleep(0.5) return n end)"#,
            python: r#"import asyncio
@app.get("/{n}")
async def sleep(req, n):
    await asyncio.sleep(0.5)
    return n"#,
        })
        .behind_warm()
        .workers(1)
        .start();
    let begin = Instant::now();
    let mut clients: Vec<Client> = (0..50).map(|_| site.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(get(&format!("/{number}")));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.read().text(), number.to_string());
    }
    let time = begin.elapsed();
    assert!(time >= Duration::from_millis(500), "{time:?}");
    assert!(time < Duration::from_secs(10), "one after the other would take 25 s: {time:?}");
}

in_each_language!(sleep_works_wherever_a_handler_can_be);
fn sleep_works_wherever_a_handler_can_be(language: Language) {
    let site = language.site(Scripts {
        lua: r#"
        app:before(function() kennel.sleep(0.01) end)
        app:after(function() kennel.sleep(0.01) end)
        app:error(function(req, message) kennel.sleep(0.01) return "caught " .. message end)
        app:get("/pcall", function()
          local ok, problem = pcall(function() kennel.sleep(0.01) error("inside", 0) end)
          return problem
        end)
        app:get("/raise", function() kennel.sleep(0.01) error("late", 0) end)
        app:get("/zero", function() kennel.sleep(0) return "zero" end)
        app:get("/wrong", function() kennel.sleep(-1) return "x" end)
        app:get("/sort", function()
          local t = { 3, 1, 2 }
          table.sort(t, function(a, b) return a < b end)
          return t
        end)
        "#,
        python: r#"
        from asyncio import sleep
        @app.before
        async def before(req): await sleep(0.01)
        @app.after
        async def after(req, res): await sleep(0.01)
        @app.error
        async def page(req, problem):
            await sleep(0.01)
            return f"caught {problem}"
        @app.get("/pcall")
        async def catch(req):
            try:
                await sleep(0.01)
                raise RuntimeError("inside")
            except RuntimeError as problem:
                return str(problem)
        @app.get("/raise")
        async def late(req):
            await sleep(0.01)
            raise RuntimeError("late")
        @app.get("/zero")
        async def zero(req):
            await sleep(0)
            return "zero"
        @app.get("/wrong")
        async def wrong(req):
            await sleep("long")
            return "x"
        @app.get("/sort")
        def in_order(req): return sorted([3, 1, 2])
        "#,
    });
    assert_eq!(site.get("/pcall").text(), "inside");
    let response = site.get("/raise");
    assert_eq!((response.status, response.text().as_str()), (500, "caught late"));
    assert_eq!(site.get("/zero").text(), "zero");
    assert_eq!(site.get("/wrong").status, 500);
    assert_eq!(site.get("/sort").text(), "[1,2,3]");
}

#[test]
fn the_scripts_own_coroutines_may_sleep_in_between() {
    let site = Site::lua(
        r#"
        app:get("/generator", function()
          local out = {}
          for value in coroutine.wrap(function()
            for n = 1, 3 do kennel.sleep(0.01) coroutine.yield(n) end
          end) do out[#out + 1] = value end
          return out
        end)
        app:get("/resume", function()
          local co = coroutine.create(function(a)
            kennel.sleep(0.01)
            local b = coroutine.yield(a + 1)
            kennel.sleep(0.01)
            error("end " .. b, 0)
          end)
          local results = { { coroutine.resume(co, 1) }, { coroutine.resume(co, 5) }, { coroutine.resume(co) } }
          results[4] = coroutine.status(co)
          return results
        end)
        app:get("/nested", function()
          local inner = coroutine.wrap(function() kennel.sleep(0.01) coroutine.yield("a") kennel.sleep(0.01) return "b" end)
          local outer = coroutine.wrap(function() coroutine.yield(inner()) coroutine.yield(inner()) end)
          return outer() .. outer()
        end)
        "#,
    );
    assert_eq!(site.get("/generator").text(), "[1,2,3]");
    let expected = r#"[[true,2],[false,"end 5"],[false,"cannot resume dead coroutine"],"dead"]"#;
    assert_eq!(site.get("/resume").text(), expected);
    assert_eq!(site.get("/nested").text(), "ab");
}

in_each_language!(spawned_work_goes_on_after_the_answer);
fn spawned_work_goes_on_after_the_answer(language: Language) {
    let site = language.site(
        Scripts { lua: r#"
        app:get("/", function(req)
          kennel.spawn(function() kennel.sleep(0.05) print("spawned later") end)
          kennel.spawn(function(a) print("spawned soon") kennel.spawn(function() print("spawned by spawned") end) end)
          kennel.spawn(function() error("spawned broke") end)
          return "answered"
        end)
        "#, python: r#"
        import asyncio
        async def later():
            await asyncio.sleep(0.05)
            print("spawned later")
        def soon():
            print("spawned soon")
            kennel.spawn(print, "spawned by spawned")
        def broken(): raise RuntimeError("spawned broke")
        @app.get("/")
        def spawn(req):
            kennel.spawn(later)
            kennel.spawn(soon)
            kennel.spawn(broken)
            return "answered"
        "# },
    );
    assert_eq!(site.get("/").text(), "answered");
    for line in ["spawned soon", "spawned by spawned", "spawned later", "a task failed", "spawned broke"] {
        site.log().expect(line);
    }
    assert_eq!(site.get("/").text(), "answered");
}

in_each_language!(repeated_work_is_done_by_one_worker_of_the_app);
fn repeated_work_is_done_by_one_worker_of_the_app(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"
        app:every(0.05, function() print("tick of " .. kennel.worker) end)
        app:every(0.05, function() error("tick broke") end)
        app:get("/", function() return "x" end)
        "#,
            python: r#"
        @app.every(0.05)
        def tick(): print(f"tick of {kennel.worker}")
        @app.every(0.05)
        async def broken(): raise RuntimeError("tick broke")
        @app.get("/")
        def x(req): return "x"
        "#,
        })
        .behind_warm()
        .workers(3)
        .start();
    site.log().expect_times("tick of ", 6);
    site.log().expect_times("tick broke", 3);
    let text = site.log().text();
    let who: std::collections::BTreeSet<&str> =
        text.lines().filter_map(|line| line.split_once("tick of ")).map(|(_, rest)| &rest[..1]).collect();
    assert_eq!(who.len(), 1, "{who:?}");
}

in_each_language!(repeated_work_moves_to_another_worker_when_its_worker_dies);
fn repeated_work_moves_to_another_worker_when_its_worker_dies(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"
        app:every(0.05, function() print("tick") end)
        app:get("/", function() return "x" end)
        "#,
            python: r#"
        @app.every(0.05)
        async def tick(): print("tick")
        @app.get("/")
        def x(req): return "x"
        "#,
        })
        .behind_warm()
        .start();
    site.log().expect("tick");
    for worker in site.workers() {
        tests::process::kill(worker);
    }
    let before = site.log().count("tick");
    site.log().expect_times("tick", before + 5);
}

in_each_language!(start_and_stop_run_once_in_each_worker);
fn start_and_stop_run_once_in_each_worker(language: Language) {
    let mut site = language
        .plan(Scripts {
            lua: r#"
        app:start(function() kennel.sleep(0.01) print("start of " .. kennel.worker) end)
        app:stop(function() kennel.sleep(0.01) print("stop of " .. kennel.worker) end)
        app:get("/", function() return "x" end)
        "#,
            python: r#"
        import asyncio
        @app.start
        async def start():
            await asyncio.sleep(0.01)
            print(f"start of {kennel.worker}")
        @app.stop
        async def stop():
            await asyncio.sleep(0.01)
            print(f"stop of {kennel.worker}")
        @app.get("/")
        def x(req): return "x"
        "#,
        })
        .behind_warm()
        .start();
    for number in [1, 2] {
        site.log().expect(&format!("start of {number}"));
    }
    assert_eq!(site.log().count("stop of"), 0);
    site.signal(Signal::TERM);
    assert_eq!(site.exit_code(), Some(0));
    let log = site.log().to_end();
    for line in ["start of 1", "start of 2", "stop of 1", "stop of 2"] {
        assert_eq!(log.matches(line).count(), 1, "{line}\n{log}");
    }
}
