use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tests::client::{Client, get};
use tests::process;
use tests::site::Site;
use tests::wait;

const APP: &str = r#"
app:get("/fine/{n}", function(req, n) return n end)
app:get("/sleep/{s}/{n}", function(req, s, n) kennel.sleep(tonumber(s)) return n end)
app:get("/block/{s}", function(req, s)
  io.open("blocking", "w"):close()
  local until_then = os.clock() + tonumber(s)
  while os.clock() < until_then do end
  return "unblocked"
end)
app:get("/big", function() return string.rep("0123456789", 2000000) end)
app:get("/exit", function() os.exit(7) end)
app:get("/crash", function() require("ffi").cast("int *", 0)[0] = 1 return "x" end)
"#;

#[test]
fn a_killed_worker_costs_its_running_request_and_the_queued_ones_are_answered() {
    let site = Site::plan(APP).behind_warm().workers(1).start();
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
    assert_eq!(site.log().count("502"), 1);
}

#[test]
fn a_crash_from_inside_is_no_different() {
    let site = Site::lua(APP);
    let mut client = site.client();
    for path in ["/exit", "/crash"] {
        assert_eq!(client.get(path).status, 502, "{path}");
        assert_eq!(client.get("/fine/1").text(), "1", "{path}");
    }
    site.log().expect_times("a worker died", 2);
}

#[test]
fn sleeping_requests_of_a_killed_worker_get_502_and_those_of_others_their_answer() {
    let site = Site::lua(APP);
    let mut clients: Vec<Client> = (0..20).map(|_| site.client()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(get(&format!("/sleep/1/{n}")));
    }
    // They are dealt to both workers alike; a request behind them shows that both have begun.
    assert_eq!(site.get("/fine/x").text(), "x");
    process::kill(site.workers()[0]);
    let statuses: Vec<_> = clients.iter_mut().map(|client| client.read().status).collect();
    let lost = statuses.iter().filter(|status| **status == 502).count();
    let done = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!((lost, done), (10, 10), "{statuses:?}");
}

#[test]
fn an_answer_that_was_half_sent_by_a_dead_worker_is_whole_or_502() {
    let site = Site::plan(APP).behind_warm().workers(1).start();
    let mut client = site.client();
    let (mut whole, mut lost) = (0, 0);
    for round in 0..12 {
        let worker = wait::until_some("there is a worker", || site.workers().first().copied());
        client.send(get("/big"));
        // At every time from before the request runs until after its answer is complete.
        std::thread::sleep(Duration::from_millis(2 * round));
        process::kill(worker);
        let response = client.read();
        match response.status {
            200 => {
                assert_eq!(response.body.len(), 20_000_000);
                whole += 1;
            }
            502 => lost += 1,
            _ => panic!("{response:?}"),
        }
        // It has served for a while before it is killed again.
        let begin = Instant::now();
        wait::until("the next worker serves", || {
            client.get("/fine/1").text() == "1" && begin.elapsed() > Duration::from_millis(250)
        });
    }
    assert_eq!(whole + lost, 12);
}

#[test]
fn pipelined_requests_keep_their_order_when_their_worker_dies() {
    let site = Site::lua(APP);
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

#[test]
fn idle_connections_outlive_any_worker() {
    let site = Site::lua(APP);
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

#[test]
fn a_worker_that_cannot_be_replaced_at_once_is_tried_again_ever_more_slowly() {
    let site = Site::plan(APP).behind_warm().workers(1).start();
    assert_eq!(site.get("/fine/1").text(), "1");
    // From now on the script kills every worker as soon as it loads it.
    site.folder().write("app.lua", "os.exit(3)");
    process::kill(site.workers()[0]);
    site.log().expect_times("a worker died", 4);
    let response = site.get("/fine/2");
    assert_eq!(response.status, 503, "everything is down, and says so");
    site.write_script(APP);
    wait::until("the repaired script serves", || site.get("/fine/3").status == 200);
}

/// 32 clients in closed loop while workers are killed every half second: every request is answered,
/// 502 only for those that ran in a killed worker.
#[test]
fn killing_workers_under_load_loses_no_request_and_disturbs_nobody_else() {
    let long = std::env::var_os("KENNEL_LONG").is_some();
    let time = Duration::from_secs(if long { 20 } else { 4 });
    let site = Site::plan(
        r#"
        app:get("/{n}", function(req, n)
          if tonumber(n) % 4 == 0 then kennel.sleep(0.02) end
          return n
        end)
        "#,
    )
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
    let running: usize = site
        .log()
        .text()
        .lines()
        .filter_map(|line| line.split_once(" running=")?.1.split(' ').next()?.parse::<usize>().ok())
        .sum();
    assert_eq!(lost, running, "{kills} kills, {answered} answers");
    println!("{answered} answers, {kills} kills, {lost} of them 502");
}
