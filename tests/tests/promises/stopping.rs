use std::time::{Duration, Instant};
use tests::client::{Client, get};
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::process::{self, Signal};
use tests::server;
use tests::wait::{self, PATIENCE};

const APP: Scripts<'_> = Scripts {
    lua: r#"
app:get("/", function() return "x" end)
app:get("/sleep/{s}", function(req, s)
  io.open("sleeping", "w"):close()
  kennel.sleep(tonumber(s))
  return "slept"
end)
app:get("/big", function() kennel.sleep(0.3) return string.rep("0123456789", 2000000) end)
app:get("/loop", function() io.open("looping", "w"):close() while true do end end)
"#,
    python: r#"
import asyncio
@app.get("/")
def x(req): return "x"
@app.get("/sleep/{s}")
async def sleep(req, s):
    open("sleeping", "w").close()
    await asyncio.sleep(float(s))
    return "slept"
@app.get("/big")
async def big(req):
    await asyncio.sleep(0.3)
    return "0123456789" * 2000000
@app.get("/loop")
def loop(req):
    open("looping", "w").close()
    while True:
        pass
"#,
};

in_each_language!(what_runs_is_finished_and_then_it_ends_with_0);
fn what_runs_is_finished_and_then_it_ends_with_0(language: Language) {
    for signal in [Signal::TERM, Signal::INT] {
        let mut site = language.plan(APP).start();
        let mut clients: Vec<Client> = (0..10).map(|_| site.client()).collect();
        for client in &mut clients {
            client.send(get("/sleep/0.4"));
        }
        assert_eq!(site.get("/").text(), "x", "the others are under way");
        site.signal(signal);
        for client in &mut clients {
            let response = client.read();
            assert_eq!((response.status, response.text().as_str()), (200, "slept"));
            assert_eq!(response.header("connection"), Some("close"));
        }
        assert_eq!(site.exit_code(), Some(0));
        assert!(site.folder().run_files().is_empty(), "it clears up");
    }
}

in_each_language!(a_large_answer_on_its_way_when_it_stops_arrives_whole);
fn a_large_answer_on_its_way_when_it_stops_arrives_whole(language: Language) {
    let mut site = language.plan(APP).start();
    let mut client = site.client();
    client.send(get("/big"));
    assert_eq!(site.get("/").text(), "x", "the other is under way");
    site.signal(Signal::TERM);
    // The client's line is slow.
    let mut bytes = 0;
    while bytes < 20_000_000 {
        bytes += client.read_bytes(1_000_000).len();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!client.read_to_end().is_empty(), "the head of the response is left over");
    assert_eq!(site.exit_code(), Some(0));
}

in_each_language!(pipelined_requests_that_arrived_before_the_stop_are_answered);
fn pipelined_requests_that_arrived_before_the_stop_are_answered(language: Language) {
    let mut site = language.plan(APP).behind_warm().start();
    let mut client = site.client();
    client.send([get("/sleep/0.3"), get("/"), get("/")].concat());
    assert_eq!(site.get("/").text(), "x", "they are under way");
    site.signal(Signal::TERM);
    assert_eq!(client.read().text(), "slept");
    // The first answer closes the connection, or the others are answered too.
    let rest = client.read_to_end();
    let answers = String::from_utf8_lossy(&rest).matches("HTTP/1.1 200 OK").count();
    assert!(rest.is_empty() || answers == 2, "{}", rest.escape_ascii());
    assert_eq!(site.exit_code(), Some(0));
}

in_each_language!(a_second_signal_ends_it_at_once);
fn a_second_signal_ends_it_at_once(language: Language) {
    let mut site = language.plan(APP).behind_warm().start();
    let mut client = site.client();
    client.send(get("/sleep/9"));
    assert_eq!(site.get("/").text(), "x", "it is under way");
    let begin = Instant::now();
    site.signal(Signal::INT);
    site.log().expect("stopping: what runs may finish");
    site.signal(Signal::INT);
    site.exit_code();
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    wait::until("the workers are gone", || site.workers().is_empty());
}

in_each_language!(what_does_not_finish_in_time_is_ended);
fn what_does_not_finish_in_time_is_ended(language: Language) {
    let mut site = language.plan(APP).config("[limits]\nstop_time = \"500ms\"\n").behind_warm().start();
    let (mut looping, mut sleeping) = (site.client(), site.client());
    looping.send(get("/loop"));
    sleeping.send(get("/sleep/60"));
    let has_begun = |name: &str| site.folder().path().join(name).exists();
    wait::until("both run", || has_begun("looping") && has_begun("sleeping"));
    site.signal(Signal::TERM);
    assert_eq!(site.exit_code(), Some(0));
    for client in [&mut looping, &mut sleeping] {
        let status = client.read().status;
        assert!(matches!(status, 502..=504), "{status}");
    }
}

in_each_language!(stop_finds_the_kennel_of_this_folder);
fn stop_finds_the_kennel_of_this_folder(language: Language) {
    let mut site = language.plan(APP).start();
    let pid = site.hub().to_string();
    let wrong = site.kennel(&["stop", "--pid", "1"]);
    assert_eq!(wrong.code, Some(3));
    assert!(wrong.stderr.contains("no kennel with process id 1"), "{}", wrong.stderr);
    let fine = site.kennel(&["stop", "--pid", &pid]);
    assert_eq!((fine.code, fine.stdout.as_str(), fine.stderr.as_str()), (Some(0), "stopped\n", ""));
    assert!(site.folder().run_files().is_empty(), "its end was waited for");
    assert_eq!(site.exit_code(), Some(0));
    assert!(site.log().to_end().contains("stopped: nothing was asked"), "{}", site.log().text());
    for command in ["stop", "reload"] {
        let nobody = site.kennel(&[command]);
        assert_eq!(nobody.code, Some(3), "{command}");
        assert!(nobody.stderr.contains("no kennel runs in this directory"), "{}", nobody.stderr);
    }
}

in_each_language!(a_stop_is_waited_for_and_meanwhile_new_requests_and_new_code_are_turned_away);
fn a_stop_is_waited_for_and_meanwhile_new_requests_and_new_code_are_turned_away(language: Language) {
    // Its own Mongrel2 counts what clients read, so it is listened to until the end.
    let mut site = language.plan(APP).start();
    let (mut sleeper, mut late) = (site.client(), site.client());
    assert_eq!(late.get("/").text(), "x");
    sleeper.send(get("/sleep/2"));
    wait::until("it runs", || site.folder().path().join("sleeping").exists());
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let stop = scope.spawn(|| site.kennel(&["stop"]));
        site.log().expect("stopping: what runs may finish");
        late.send(get("/"));
        let refused = late.read();
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
        assert!(refused.text().contains("the server is stopping"), "{}", refused.text());
        let reload = site.kennel(&["reload"]);
        assert_eq!(reload.code, Some(1), "{}", reload.stderr);
        assert!(reload.stderr.contains("the server is stopping"), "{}", reload.stderr);
        assert_eq!(stop.join().expect("it ends").stdout, "stopped\n");
    });
    assert!(begin.elapsed() >= Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(sleeper.read().text(), "slept");
    assert_eq!(site.exit_code(), Some(0));
}

in_each_language!(a_killed_hub_leaves_nobody_behind);
fn a_killed_hub_leaves_nobody_behind(language: Language) {
    let mut site = language.plan(APP).workers(3).start();
    let mut looping = site.client();
    looping.send(get("/loop"));
    wait::until("the loop runs", || site.folder().path().join("looping").exists());
    let mut left = site.workers();
    assert_eq!(left.len(), 3);
    left.extend(site.own_mongrel2());
    assert_eq!(left.len(), 4);
    process::kill(site.hub());
    assert_eq!(site.exit_code(), None);
    wait::until("workers and mongrel2 end", || left.iter().all(|pid| !process::is_alive(*pid)));
    // What the dead one left on disk does not keep the next one from starting.
    let next = site.kennel(&["stop"]);
    assert_eq!(next.code, Some(3), "{}", next.stderr);
}

in_each_language!(a_hub_killed_while_it_starts_leaves_nobody_behind_either);
fn a_hub_killed_while_it_starts_leaves_nobody_behind_either(language: Language) {
    // Often, since it is a matter of chance which step the kill hits.
    let starts = format!("{} starts", server::front().name_in_log());
    for wait_for in [starts.as_str(), "server listens"].repeat(5) {
        let mut site = language.plan(APP).workers(4).spawn();
        site.log().expect(wait_for);
        process::kill(site.hub());
        assert_eq!(site.exit_code(), None);
        let alive = || process::in_folder(site.folder().path());
        // An interpreter that has just been started takes its time until it can look for its hub.
        let deadline = Instant::now() + language.pick(Duration::from_secs(3), PATIENCE);
        while !alive().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let orphans: Vec<_> = alive().into_iter().map(|pid| (pid, process::command_line(pid))).collect();
        orphans.iter().for_each(|(pid, _)| process::kill(*pid));
        assert!(orphans.is_empty(), "killed after `{wait_for}`, left behind: {orphans:?}");
    }
}

in_each_language!(the_folder_of_a_killed_kennel_is_cleared_by_the_next);
fn the_folder_of_a_killed_kennel_is_cleared_by_the_next(language: Language) {
    let mut site = language.plan(APP).behind_warm().start();
    process::kill(site.hub());
    site.exit_code();
    let folder = site.folder().path().join(".kennel");
    assert!(folder.join(site.hub().to_string()).exists());
    let command = tests::command::command(
        site.folder().path(),
        ["run", "--send-spec=ipc://nowhere", "--recv-spec=ipc://nowhere", language.app()],
    );
    let mut command = command;
    let mut next = command.stderr(std::process::Stdio::null()).spawn().expect("kennel can be started");
    wait::until("the old folder goes", || !folder.join(site.hub().to_string()).exists());
    process::kill(next.id());
    next.wait().expect("a child can be waited for");
}
