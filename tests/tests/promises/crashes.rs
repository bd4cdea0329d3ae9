use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tests::client::{Client, get};
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::process;
use tests::site::Site;
use tests::wait;
use tests::websocket::WebSocket;

const APP: Scripts<'_> = Scripts {
    lua: r#"
app:get("/fine/{n}", function(req, n) return n end)
app:get("/sleep/{s}/{n}", function(req, s, n) kennel.sleep(tonumber(s)) return n end)
app:get("/held/{n}", function(req, n)
  print("[held " .. n .. "]")
  repeat kennel.sleep(0.01) until io.open("go")
  return n
end)
app:get("/block/{s}", function(req, s)
  io.open("blocking", "w"):close()
  local until_then = os.clock() + tonumber(s)
  while os.clock() < until_then do end
  return "unblocked"
end)
app:get("/big", function() return string.rep("0123456789", 2000000) end)
app:get("/exit", function() os.exit(7) end)
app:get("/crash", function() require("ffi").cast("int *", 0)[0] = 1 return "x" end)
"#,
    python: r#"
import asyncio, ctypes, os, time
@app.get("/fine/{n}")
def fine(req, n): return n
@app.get("/sleep/{s}/{n}")
async def sleep(req, s, n):
    await asyncio.sleep(float(s))
    return n
@app.get("/held/{n}")
async def held(req, n):
    print(f"[held {n}]")
    while not os.path.exists("go"):
        await asyncio.sleep(0.01)
    return n
@app.get("/block/{s}")
def block(req, s):
    open("blocking", "w").close()
    until = time.process_time() + float(s)
    while time.process_time() < until:
        pass
    return "unblocked"
@app.get("/big")
def big(req): return "0123456789" * 2000000
@app.get("/exit")
def leave(req): os._exit(7)
@app.get("/crash")
async def crash(req): return ctypes.string_at(0)
"#,
};

in_each_language!(a_killed_worker_costs_its_running_request_and_the_queued_ones_are_answered);
fn a_killed_worker_costs_its_running_request_and_the_queued_ones_are_answered(language: Language) {
    let site = language.plan(APP).behind_warm().workers(1).start();
    let mut running = site.client();
    running.send(get("/block/10"));
    wait::until("the request runs", || site.folder().path().join("blocking").exists());
    let mut queued: Vec<Client> = (0..20).map(|_| site.client()).collect();
    for (n, client) in queued.iter_mut().enumerate() {
        client.send(get(&format!("/fine/{n}")));
    }
    process::kill(site.workers()[0]);
    let response = running.read();
    assert_eq!(response.status, 502);
    for (n, client) in queued.iter_mut().enumerate() {
        assert_eq!(client.read().text(), n.to_string());
    }
    assert_eq!(running.get("/fine/after").text(), "after", "its connection is still open");
    site.log().expect("a worker died");
    site.log().expect_exactly("502 Bad Gateway", 1);
}

in_each_language!(a_crash_from_inside_is_no_different);
fn a_crash_from_inside_is_no_different(language: Language) {
    let site = language.site(APP);
    let mut client = site.client();
    for path in ["/exit", "/crash"] {
        assert_eq!(client.get(path).status, 502, "{path}");
        assert_eq!(client.get("/fine/1").text(), "1", "{path}");
    }
    site.log().expect_times("a worker died", 2);
}

in_each_language!(sleeping_requests_of_a_killed_worker_get_502_and_those_of_others_their_answer);
fn sleeping_requests_of_a_killed_worker_get_502_and_those_of_others_their_answer(language: Language) {
    let site = language.site(APP);
    let mut clients: Vec<Client> = (0..20).map(|_| site.client()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(get(&format!("/held/{n}")));
    }
    // They are dealt to both workers alike, and all of them run.
    site.log().expect_times("[held ", 20);
    process::kill(site.workers()[0]);
    site.log().expect("a worker died");
    site.folder().write("go", "");
    let statuses: Vec<_> = clients.iter_mut().map(|client| client.read().status).collect();
    let lost = statuses.iter().filter(|status| **status == 502).count();
    let done = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!((lost, done), (10, 10), "{statuses:?}");
}

/// How many requests and messages ran in workers when they died, as the log says.
fn running_at_deaths(site: &Site) -> usize {
    let log = site.log().text();
    let running = |line: &str| line.split_once(" running=")?.1.split(' ').next()?.parse::<usize>().ok();
    log.lines().filter_map(running).sum()
}

/// Waits until a worker that is new serves, and has served for a while: one that dies at once is replaced more slowly.
fn next_worker_serves(client: &mut Client) {
    let begin = Instant::now();
    wait::until("the next worker serves", || {
        client.get("/fine/1").text() == "1" && begin.elapsed() > Duration::from_millis(250)
    });
}

in_each_language!(a_dead_worker_costs_at_most_what_it_ran_and_half_a_response_is_never_sent);
fn a_dead_worker_costs_at_most_what_it_ran_and_half_a_response_is_never_sent(language: Language) {
    let site = language.plan(APP).behind_warm().workers(1).start();
    let mut client = site.client();
    let mut queued: Vec<Client> = (0..5).map(|_| site.client()).collect();
    let mut lost = 0;
    for round in 0..12 {
        let worker = wait::until_some("there is a worker", || site.workers().first().copied());
        client.send(get("/big"));
        for (n, client) in queued.iter_mut().enumerate() {
            client.send(get(&format!("/fine/{n}")));
        }
        // At every time from before the request runs until after its response is complete.
        std::thread::sleep(Duration::from_millis(2 * round));
        process::kill(worker);
        let big = client.read();
        if big.status == 200 {
            assert_eq!(big.body.len(), 20_000_000, "round {round}");
        }
        let mut statuses = vec![big.status];
        for (n, client) in queued.iter_mut().enumerate() {
            let response = client.read();
            if response.status == 200 {
                assert_eq!(response.text(), n.to_string(), "round {round}");
            }
            statuses.push(response.status);
        }
        assert!(statuses.iter().all(|status| matches!(status, 200 | 502)), "round {round}: {statuses:?}");
        let lost_now = statuses.iter().filter(|status| **status == 502).count();
        assert!(lost_now <= 1, "one worker ran one of them, round {round}: {statuses:?}");
        lost += lost_now;
        next_worker_serves(&mut client);
    }
    assert_eq!(lost, running_at_deaths(&site), "502 for what ran, and for nothing else");
}

in_each_language!(a_response_whose_first_byte_has_arrived_is_complete_whatever_becomes_of_its_worker);
fn a_response_whose_first_byte_has_arrived_is_complete_whatever_becomes_of_its_worker(language: Language) {
    let site = language.plan(APP).behind_warm().workers(1).start();
    let mut client = site.client();
    for _ in 0..3 {
        let worker = wait::until_some("there is a worker", || site.workers().first().copied());
        client.send(get("/big"));
        assert!(!client.is_silent_for(wait::PATIENCE), "the first byte comes");
        process::kill(worker);
        let response = client.read();
        assert_eq!((response.status, response.body.len()), (200, 20_000_000));
        next_worker_serves(&mut client);
    }
    assert_eq!(running_at_deaths(&site), 0);
}

in_each_language!(pipelined_requests_keep_their_order_when_their_worker_dies);
fn pipelined_requests_keep_their_order_when_their_worker_dies(language: Language) {
    let site = language.site(APP);
    let mut client = site.client();
    client.send((0..20).flat_map(|n| get(&format!("/sleep/0.05/{n}"))).collect::<Vec<_>>());
    assert_eq!(client.read().text(), "0");
    site.workers().into_iter().for_each(process::kill);
    let mut lost = 0;
    for n in 1..20 {
        let response = client.read();
        match response.status {
            200 => assert_eq!(response.text(), n.to_string()),
            502 => lost += 1,
            _ => panic!("{n}: {response:?}"),
        }
    }
    // The second worker may have begun the next one before it was killed too.
    assert!(lost <= 2, "one ran at each worker, {lost} were lost");
}

in_each_language!(idle_connections_outlive_any_worker);
fn idle_connections_outlive_any_worker(language: Language) {
    let site = language.site(APP);
    let mut clients: Vec<Client> = (0..20).map(|_| site.client()).collect();
    for round in 0..5 {
        for (n, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.get(&format!("/fine/{n}")).text(), n.to_string(), "round {round}");
        }
        for worker in site.workers() {
            process::kill(worker);
        }
    }
}

in_each_language!(a_worker_that_cannot_be_replaced_at_once_is_tried_again_ever_more_slowly);
fn a_worker_that_cannot_be_replaced_at_once_is_tried_again_ever_more_slowly(language: Language) {
    let site = language.plan(APP).behind_warm().workers(1).start();
    assert_eq!(site.get("/fine/1").text(), "1");
    // From now on the script kills every worker as soon as it loads it.
    site.folder().write(language.app(), language.pick("os.exit(3)", "import os; os._exit(3)"));
    process::kill(site.workers()[0]);
    site.log().expect_times("a worker died", 4);
    let response = site.get("/fine/2");
    assert_eq!(response.status, 503, "everything is down, and says so");
    site.write_scripts(APP);
    wait::until("the repaired script serves", || site.get("/fine/3").status == 200);
}

in_each_language!(killing_workers_under_load_loses_no_request_and_disturbs_nobody_else);
in_each_language!(a_segfault_under_load_costs_one_request_and_no_live_connection);
fn a_segfault_under_load_costs_one_request_and_no_live_connection(language: Language) {
    let echo = Scripts {
        lua: r#"app:channel("/echo", { message = function(conn, msg) conn:send(msg) end })"#,
        python: "@app.channel('/echo')\nclass Echo:\n    def message(self, conn, msg): conn.send(msg)\n",
    };
    let site = language
        .plan(Scripts {
            lua: &format!("{}{}", APP.lua, echo.lua),
            python: &format!("{}{}", APP.python, echo.python),
        })
        .behind_warm()
        .start();
    let mut live: Vec<WebSocket> = (0..10).map(|_| site.websocket("/echo")).collect();
    for ws in &mut live {
        assert_eq!(ws.ask("before"), "before");
    }
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let (stop, mut client) = (Arc::clone(&stop), site.client());
            std::thread::spawn(move || {
                for n in (number..).step_by(4) {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let response = client.get(&format!("/fine/{n}"));
                    assert_eq!((response.status, response.text()), (200, n.to_string()));
                }
            })
        })
        .collect();
    let mut deadly = site.client();
    for crash in 1..=4 {
        assert_eq!(deadly.get("/crash").status, 502);
        site.log().expect_times("a worker died", crash);
        for (n, ws) in live.iter_mut().enumerate() {
            assert_eq!(ws.ask(format!("{crash} {n}")), format!("{crash} {n}"));
        }
    }
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().expect("all the others were answered"));
    site.log().expect_exactly(" running=1", 4);
}

/// 32 clients in closed loop while workers are killed every half second: every request is answered,
/// 502 only for those that ran in a killed worker.
fn killing_workers_under_load_loses_no_request_and_disturbs_nobody_else(language: Language) {
    let long = std::env::var_os("KENNEL_LONG").is_some();
    let time = Duration::from_secs(if long { 20 } else { 4 });
    let site = language
        .plan(Scripts {
            lua: r#"
        app:get("/{n}", function(req, n)
          if tonumber(n) % 4 == 0 then kennel.sleep(0.02) end
          return n
        end)
        "#,
            python: r#"
        import asyncio
        @app.get("/{n}")
        async def answer(req, n):
            if int(n) % 4 == 0:
                await asyncio.sleep(0.02)
            return n
        "#,
        })
        .workers(4)
        .start();
    assert_eq!(site.get("/0").text(), "0");

    let stop = Arc::new(AtomicBool::new(false));
    let (answered, lost) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..32)
        .map(|number| {
            let (stop, answered, lost) = (Arc::clone(&stop), Arc::clone(&answered), Arc::clone(&lost));
            let mut client = site.client();
            std::thread::spawn(move || {
                let mut n = number;
                while !stop.load(Ordering::Relaxed) {
                    n += 32;
                    let response = client.get(&format!("/{n}"));
                    match response.status {
                        200 => assert_eq!(response.text(), n.to_string(), "somebody else's answer"),
                        502 => _ = lost.fetch_add(1, Ordering::Relaxed),
                        _ => panic!("{response:?}"),
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();

    let begin = Instant::now();
    let mut kills = 0;
    while begin.elapsed() < time {
        std::thread::sleep(Duration::from_millis(500));
        let workers = site.workers();
        process::kill(workers[kills % workers.len()]);
        kills += 1;
        site.log().expect_times("a worker died", kills);
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("a client got an answer to each request");
    }
    let (answered, lost) = (answered.load(Ordering::Relaxed), lost.load(Ordering::Relaxed));
    assert!(answered > 1000, "that was no load: {answered}");
    // What the log says was running is what got 502.
    assert_eq!(lost, running_at_deaths(&site), "{kills} kills, {answered} answers");
    println!("{answered} answers, {kills} kills, {lost} of them 502");
}
