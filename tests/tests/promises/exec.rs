use std::thread;
use std::time::{Duration, Instant};
use tests::client::{Client, get, request};
use tests::folder::Folder;
use tests::port::Port;
use tests::process::{self, Signal};
use tests::site::{Plan, Site};
use tests::{command, wait};

/// A program in Perl: `$event` is each line that comes, `put` writes one, `after` waits and then does.
fn perl(first: &str, each: &str) -> String {
    format!(
        "#!/usr/bin/perl\nuse strict; use warnings; use JSON::PP; use Time::HiRes 'sleep'; $| = 1;\n\
         my $json = JSON::PP->new->utf8->canonical;\nsub put {{ print $json->encode($_[0]), \"\\n\" }}\n{first}\n\
         while (my $line = <STDIN>) {{\n  my $event = $json->decode($line);\n  my $id = $event->{{id}};\n  \
         my $path = $event->{{path}} // '';\n{each}\n}}\n"
    )
}

/// The example in shell.
const ECHO: &str = include_str!("../../../examples/exec-shell/echo.sh");

/// A site that serves one program, with as many workers as such an app has by itself.
fn plan(program: &str) -> Plan {
    Site::plan("").program("app", program).app("./app").workers(0).behind_warm()
}

/// The same with these settings of the app.
fn plan_with(program: &str, settings: &str) -> Plan {
    let config = format!("[[app]]\nsource = \"./app\"\n{settings}");
    plan(program).config(&config).configured_apps()
}

/// The processes of a site's program.
fn programs(site: &Site) -> Vec<u32> {
    site.workers().into_iter().flat_map(process::children).collect()
}

#[test]
fn the_example_of_ten_lines_of_shell_answers() {
    let site = plan(ECHO).start();
    assert_eq!(site.get("/any/path?x=1").json()["path"], "/any/path");
    let mut client = site.client();
    for number in 0..50 {
        let path = format!("/{number}/%22quoted%22/a,b'c");
        let response = client.get(&path);
        assert_eq!((response.status, response.json()["path"].as_str()), (200, Some(&*path)));
    }
    client.send(request("DELETE", "/x", &[], b"a body\nof two lines"));
    assert_eq!(client.read().json()["path"], "/x");
}

#[test]
fn a_program_sees_the_whole_request_and_its_answer_is_passed_on_as_it_is() {
    let site = plan(&perl(
        "",
        r#"
        if ($path eq '/echo') { put({ id => $id, status => 201, body_json => $event,
            headers => { 'set-cookie' => ['a=1', 'b=2'], 'x-number' => 7 } }) }
        elsif ($path eq '/bytes') { put({ id => $id, body_base64 => '/wD+', headers => { 'content-type' => 'x/y' } }) }
        elsif ($path eq '/text') { put({ id => $id, body => "\x{fc}\n" }) }
        elsif ($path eq '/none') { put({ id => $id, status => 204 }) }
        "#,
    ))
    .start();
    let response = site.send(request(
        "PUT",
        "/echo?q=%20",
        &[("X-One", "caf\u{e9}"), ("Accept", "a"), ("Accept", "b")],
        "l1\nl2 \"\u{1f600}\"".as_bytes(),
    ));
    let seen = response.json();
    assert_eq!((response.status, response.header("content-type")), (201, Some("application/json")));
    assert_eq!(response.headers_named("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(response.header("x-number"), Some("7"));
    assert_eq!((seen["type"].as_str(), seen["method"].as_str()), (Some("request"), Some("PUT")));
    assert_eq!((seen["path"].as_str(), seen["query"].as_str()), (Some("/echo"), Some("q=%20")));
    assert_eq!(seen["body"], "l1\nl2 \"\u{1f600}\"");
    assert_eq!(
        (&seen["headers"]["host"], &seen["headers"]["x-one"]),
        (&"localhost".into(), &"caf\u{e9}".into())
    );
    assert_eq!(seen["headers"]["accept"], serde_json::json!(["a", "b"]));
    assert_eq!((&seen["remote_addr"], &seen["scheme"]), (&"127.0.0.1".into(), &"http".into()));
    assert!(seen["conn"].as_str().is_some_and(|conn| !conn.is_empty()));
    let binary = site.send(request("POST", "/echo", &[], b"\xff\x00\xfe")).json();
    assert_eq!((binary["body_base64"].as_str(), binary.get("body")), (Some("/wD+"), None));
    let bytes = site.get("/bytes");
    assert_eq!((&bytes.body[..], bytes.header("content-type")), (&b"\xff\x00\xfe"[..], Some("x/y")));
    assert_eq!(site.get("/text").text(), "\u{fc}\n");
    assert_eq!(site.get("/none").status, 204);
    let mut client = site.client();
    client.send("HEAD /text HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.read_head().header("content-length"), Some("3"));
    assert_eq!(client.get("/text").status, 200);
}

#[test]
fn a_large_body_is_a_file_that_the_program_can_read() {
    let program = perl(
        "",
        r#"
        open(my $file, '<', $event->{body_file}) or die $!; binmode $file;
        my $text = do { local $/; <$file> };
        put({ id => $id, body_json => [length($text), $event->{body_size}, substr($text, -3)] });
        "#,
    );
    // A server that runs already would send such a body within its message.
    let site = Site::plan("").program("app", &program).app("./app").workers(0).start();
    let mut body = vec![b'x'; 3 << 20];
    body.extend_from_slice(b"end");
    let response = site.send(request("POST", "/", &[], &body));
    assert_eq!(response.text(), r#"[3145731,3145731,"end"]"#);
}

#[test]
fn declared_routes_and_channels_are_the_hubs_to_match() {
    let program = perl(
        r#"put({ do => 'routes', routes => ['GET /users/{id}', 'PUT,POST /files/{*rest}', '/any'], channels => ['/ws/{room}'] });"#,
        r#"put({ id => $id, body_json => [$event->{method}, $event->{params}] }) if $id"#,
    );
    let plan = plan_with(&program, "mount = \"/app\"\n");
    let routes = command::run(plan.folder().path(), ["routes", "--json"]);
    assert_eq!(routes.code, Some(0), "{}", routes.stderr);
    for path in ["/app/users/{id}", "/app/files/{*rest}", "/app/any", "/app/ws/{room}"] {
        assert!(routes.stdout.contains(path), "{path} in {}", routes.stdout);
    }
    let check = command::run(plan.folder().path(), ["check"]);
    assert_eq!(check.code, Some(0), "{}", check.stderr);
    assert!(
        check.stdout.contains("./app: fine, 3 routes and 1 channel under /app, 1 worker"),
        "{}",
        check.stdout
    );
    let site = plan.start();
    assert_eq!(site.get("/app/users/a%20b").text(), r#"["GET",{"id":"a b"}]"#);
    assert_eq!(site.send(request("PUT", "/app/files/a/b", &[], b"x")).text(), r#"["PUT",{"rest":"a/b"}]"#);
    assert_eq!(site.send(request("DELETE", "/app/any", &[], b"")).text(), r#"["DELETE",{}]"#);
    let wrong = site.send(request("DELETE", "/app/users/7", &[], b""));
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    assert_eq!((site.get("/app/nothing").status, site.get("/users/7").status), (404, 404));
}

#[test]
fn answers_may_come_in_any_order_and_late_ones_hold_up_nobody() {
    let site = plan(&perl(
        "my @kept;",
        r#"
        push @kept, $id;
        if (@kept == 10) { put({ id => $_, body => "answer to $_" }) for reverse @kept; @kept = () }
        "#,
    ))
    .start();
    let mut clients: Vec<_> = (0..10).map(|_| site.client()).collect();
    clients.iter_mut().for_each(|client| client.send(get("/")));
    let mut answers: Vec<_> = clients.iter_mut().map(|client| client.read().text()).collect();
    answers.sort();
    answers.dedup();
    assert_eq!(answers.len(), 10, "{answers:?}");
}

#[test]
fn fifty_calls_of_a_shell_script_that_sleeps_a_second_take_about_a_second_with_fifty_processes() {
    let program = "#!/bin/sh\nwhile read -r line; do\n  id=${line#*:} id=${id%%,*}\n  sleep 1\n  \
                   echo \"{\\\"id\\\":$id,\\\"body\\\":\\\"awake\\\"}\"\ndone\n";
    let site = plan_with(program, "processes = 50\nat_once = 1\n").start();
    wait::until("50 processes run", || programs(&site).len() == 50);
    let mut clients: Vec<_> = (0..50).map(|_| site.client()).collect();
    let start = Instant::now();
    clients.iter_mut().for_each(|client| client.send(get("/")));
    for client in &mut clients {
        assert_eq!(client.read().text(), "awake");
    }
    let time = start.elapsed();
    assert!(time < Duration::from_secs(2), "50 calls took {time:?}");
}

#[test]
fn when_the_program_ends_what_it_has_read_gets_502_and_what_it_has_not_runs_on_the_next_one() {
    // The shell reads no more than its line.
    let program = "#!/bin/sh\nwhile read -r line; do\n  case $line in *'\"/die\"'*) sleep 0.3; exit 3;; esac\n  \
                   id=${line#*:} id=${id%%,*}\n  echo \"{\\\"id\\\":$id,\\\"body\\\":\\\"$$\\\"}\"\ndone\n";
    let site = plan(program).start();
    let first = site.get("/").text();
    let mut dying = site.client();
    dying.send(get("/die"));
    let mut behind: Vec<_> = (0..5).map(|_| site.client()).collect();
    behind.iter_mut().for_each(|client| client.send(get("/")));
    let died = dying.read();
    assert_eq!(died.status, 502);
    assert!(died.text().starts_with("502 Bad Gateway: the program that was answering has died."));
    for client in &mut behind {
        let response = client.read();
        assert_eq!(response.status, 200);
        assert_ne!(response.text(), first);
    }
    site.log()
        .expect("the program ended (exit status: 3): 1 of its requests get 502, 5 go to the next process");
}

#[test]
fn a_program_that_ends_after_each_answer_loses_no_request() {
    let program = "#!/bin/sh\nread -r line || exit\nid=${line#*:} id=${id%%,*}\n\
                   echo \"{\\\"id\\\":$id,\\\"body\\\":\\\"once\\\"}\"\n";
    let site = plan(program).start();
    let mut client = site.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "once");
    }
}

#[test]
fn nothing_is_left_of_the_program_when_its_worker_is_killed_or_stopped_or_replaced() {
    let mut site =
        plan("#!/bin/sh\nwhile read -r line; do\n  id=${line#*:}\n  echo \"{\\\"id\\\":${id%%,*}}\"\ndone\n")
            .start();
    assert_eq!(site.get("/").status, 200);
    let old = programs(&site);
    assert_eq!(old.len(), 1);
    site.workers().into_iter().for_each(process::kill);
    wait::until("the program goes with its worker", || old.iter().all(|pid| !process::is_alive(*pid)));
    assert_eq!(site.get("/").status, 200);
    let old = programs(&site);
    site.signal(Signal::HUP);
    site.log().expect("newest code is in charge");
    wait::until("the old program ends", || old.iter().all(|pid| !process::is_alive(*pid)));
    assert_eq!(site.get("/").status, 200);
    let last = programs(&site);
    site.signal(Signal::TERM);
    assert_eq!(site.exit_code(), Some(0));
    assert!(last.iter().all(|pid| !process::is_alive(*pid)));
    let left = process::in_folder(site.folder().path());
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_program_goes_when_kennel_is_killed() {
    let site = plan(ECHO).start();
    assert_eq!(site.get("/").status, 200);
    let left = programs(&site);
    assert_eq!(left.len(), 1);
    process::kill(site.hub());
    wait::until("the program ends", || left.iter().all(|pid| !process::is_alive(*pid)));
}

#[test]
fn a_program_without_declared_routes_is_listed_as_taking_everything() {
    let plan = plan_with(ECHO, "mount = \"/echo\"\n");
    let routes = command::run(plan.folder().path(), ["routes"]);
    assert!(routes.stdout.contains("everything under /echo"), "{}{}", routes.stdout, routes.stderr);
}

#[test]
fn a_program_that_heeds_neither_end_of_file_nor_a_signal_is_killed_with_all_that_it_started() {
    let program = "#!/bin/sh\ntrap '' TERM\nsleep 1000 &\nread -r line\n\
                   id=${line#*:}\necho \"{\\\"id\\\":${id%%,*}}\"\nwhile :; do sleep 1; done\n";
    let mut site = plan(program).start();
    assert_eq!(site.get("/").status, 200);
    site.signal(Signal::TERM);
    assert_eq!(site.exit_code(), Some(0));
    site.log().expect("did not end: killed");
    let left = process::in_folder(site.folder().path());
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_bad_line_costs_its_own_request_and_says_in_the_log_what_is_wrong() {
    let site = plan(&perl(
        "$SIG{PIPE} = 'IGNORE';",
        r#"
        my %line = (
          '/garbage' => '{"id":' . $id . ',"body":oops}',
          '/status' => '{"id":' . $id . ',"status":600}',
          '/early' => '{"id":' . $id . ',"status":100}',
          '/crlf' => '{"id":' . $id . ',"headers":{"a":"b\r\nc: d"}}',
          '/nul' => '{"id":' . $id . ',"headers":{"a":"b\u0000"}}',
          '/name' => '{"id":' . $id . ',"headers":{"a\r\nb":"c"}}',
          '/utf8' => '{"id":' . $id . ',"body":"' . "\xff" . '"}',
          '/key' => '{"id":' . $id . ',"satus":200}',
          '/type' => '{"id":' . $id . ',"status":"200"}',
          '/base64' => '{"id":' . $id . ',"body_base64":"!"}',
        );
        if (exists $line{$path}) { print "$line{$path}\n" }
        elsif ($path eq '/twice') { put({ id => $id, body => 'first' }); put({ id => $id, body => 'second' }) }
        elsif ($path eq '/unknown') { put({ id => 999999 }); put({ id => $id, body => 'known' }) }
        elsif ($path eq '/words') { print "hello\n\n\x00\xff\n[1,2]\n"; put({ id => $id, body => 'good' }) }
        elsif ($path eq '/do') { put({ do => 'dance' }); put({ id => $id, body => 'good' }) }
        else { put({ id => $id, body => 'good' }) }
        "#,
    ))
    .start();
    for (path, part) in [
        ("/status", "has the status 600, which must be from 200 to 599"),
        ("/early", "has the status 100"),
        ("/crlf", "carriage return at position 2"),
        ("/nul", "NUL at position 2"),
        ("/name", "is no header name"),
        ("/utf8", "invalid unicode"),
        ("/key", "unknown field `satus`"),
        ("/type", "invalid type: string \"200\""),
        ("/base64", "`body_base64` is no base64"),
    ] {
        let response = site.get(path);
        assert_eq!(response.status, 502, "{path}");
        assert!(response.text().contains("gave no answer that can be passed on"), "{path}");
        site.log().expect(part);
        assert_eq!(site.get("/").text(), "good");
    }
    // Nobody can know whose answer this was to be.
    let mut lost = site.client();
    lost.send(get("/garbage"));
    site.log().expect("no JSON object of ours (expected value at byte");
    assert!(lost.is_silent_for(Duration::from_millis(50)));
    assert_eq!(site.get("/twice").text(), "first");
    site.log().expect("it was answered before, or came too late");
    assert_eq!(site.get("/unknown").text(), "known");
    site.log().expect("an answer to 999999, which was not asked");
    assert_eq!(site.get("/words").text(), "good");
    site.log().expect("ours (expected value at byte 1): hello");
    assert_eq!(site.get("/do").text(), "good");
    site.log().expect("`\"do\": \"dance\"` is unknown");
}

#[test]
fn a_line_without_end_ends_the_program_and_not_the_worker() {
    let program = perl(
        "",
        r#"
        if ($path eq '/long') { my $piece = 'x' x (1 << 20); print '{"body":"'; print $piece for 1 .. 1024 }
        else { put({ id => $id, body => 'good' }) }
        "#,
    );
    let site = plan(&program).config("[limits]\nexec_line = \"8MiB\"\n").start();
    assert_eq!(site.get("/long").status, 502);
    site.log().expect("a line of more than 8388608 bytes (limits.exec_line)");
    assert_eq!(site.get("/").text(), "good");
    let worker = site.workers()[0];
    assert!(process::peak_memory(worker) < 64 << 20, "{} bytes", process::peak_memory(worker));
}

#[test]
fn half_a_line_at_the_end_is_no_answer() {
    let program = perl(
        "",
        r#"
        if ($path eq '/half') { print '{"id":' . $id . ',"body":"whole?"}'; exit 0 }
        put({ id => $id, body => 'good' });
        "#,
    );
    let site = plan(&program).start();
    assert_eq!(site.get("/half").status, 502);
    site.log().expect("the program ended within a line: {\"id\":");
    assert_eq!(site.get("/").text(), "good");
}

#[test]
fn a_flood_of_lines_holds_up_nobody_and_does_not_fill_the_log() {
    let program = "#!/bin/sh\nif [ \"$KENNEL_MOUNT\" = /flood ]; then while :; do echo nonsense; echo noise >&2; done; \
                   fi\nwhile read -r line; do id=${line#*:}; echo \"{\\\"id\\\":${id%%,*}}\"; done\n";
    let config = "[[app]]\nsource = \"./app\"\nmount = \"/flood\"\n[[app]]\nsource = \"./good\"\n";
    let site = plan(program).program("good", program).config(config).configured_apps().start();
    let start = Instant::now();
    for _ in 0..100 {
        assert_eq!(site.get("/").status, 200);
    }
    assert!(start.elapsed() < Duration::from_secs(10));
    site.log().expect("more lines like those before were left out");
    assert!(site.log().count("nonsense") < 1000, "{} lines", site.log().count("nonsense"));
}

#[test]
fn a_program_that_reads_nothing_holds_up_only_itself_and_is_replaced() {
    let config = "[[app]]\nsource = \"./app\"\nmount = \"/deaf\"\n[[app]]\nsource = \"./good\"\n\
                  [limits]\nrequest_timeout = \"1s\"\n";
    let deaf = "#!/bin/sh\n[ -e awake ] || sleep 1000\nwhile read -r line; do id=${line#*:}; \
                echo \"{\\\"id\\\":${id%%,*}}\"; done\n";
    let site = plan(deaf).program("good", ECHO).config(config).configured_apps().start();
    let body = vec![b'x'; 90_000];
    let mut deaf: Vec<_> = (0..20).map(|_| site.client()).collect();
    deaf.iter_mut().for_each(|client| client.send(request("POST", "/deaf", &[], &body)));
    for number in 0..20 {
        assert_eq!(site.get(&format!("/{number}")).status, 200);
    }
    site.folder().write("awake", "");
    // Those that were not in its pipe yet may be another's just in time.
    let statuses: Vec<_> = deaf.iter_mut().map(|client| client.read().status).collect();
    assert!(statuses.contains(&504) && statuses.iter().all(|s| matches!(s, 200 | 504)), "{statuses:?}");
    site.log().expect("the program has said nothing for 1s: its process is killed");
    wait::until("the next process answers", || site.get("/deaf").status == 200);
}

#[test]
fn an_answer_that_comes_too_late_is_left_out() {
    let program = perl(
        "",
        r#"
        if ($path eq '/late') { sleep 1.5; put({ id => $id, body => 'late' }) }
        else { put({ id => $id, body => 'good' }) }
        "#,
    );
    let site = plan(&program).config("[limits]\nrequest_timeout = \"700ms\"\n").start();
    assert_eq!(site.get("/").text(), "good");
    assert_eq!(site.get("/late").status, 504);
    site.log().expect("not waited for any more");
    wait::until("it answers again", || site.get("/").text() == "good");
}

/// What `kennel run` says of a program that does not run.
fn complaint(write: impl FnOnce(&Folder)) -> (Option<i32>, String) {
    let folder = Folder::new();
    write(&folder);
    let port = Port::free();
    let finished = command::run(folder.path(), ["run", "--listen", &port.address(), "./app"]);
    (finished.code, finished.stderr)
}

fn program_that(content: &str) -> (Option<i32>, String) {
    complaint(|folder| {
        folder.write_program("app", content);
    })
}

#[test]
fn what_cannot_be_run_is_said_with_the_reason() {
    for ((code, text), part) in [
        (complaint(|_| {}), "cannot serve `./app`: there is no such file"),
        (complaint(|folder| drop(folder.write("app/file", ""))), "it is a directory"),
        (complaint(|folder| drop(folder.write("app", "#!/bin/sh\n"))), "chmod +x ./app"),
        (program_that("echo hello\n"), "./app: its first line does not say what runs it"),
        (program_that(""), "./app: its first line does not say what runs it"),
        (program_that("#!/no/such/shell\n"), "says that `/no/such/shell` runs it, which is not there"),
        (program_that("#!/bin/sh\r\necho\r\n"), "ends in CR LF"),
        (
            program_that("#!/bin/sh\necho first >&2\necho 'the reason' >&2\nexit 4\n"),
            "(exit status: 4): the reason",
        ),
        (program_that("#!/usr/bin/env no-such-thing\n"), "no-such-thing"),
        (program_that("#!/bin/sh\nkill -SEGV $$\n"), "the program ended at once (signal: 11"),
        (
            program_that("#!/bin/sh\necho '{\"do\":\"routes\",\"routes\":[\"get x\"]}'; cat\n"),
            "`get x` is no route",
        ),
        (program_that("#!/bin/sh\necho '{\"do\":\"routes\",\"routes\":[\"GET /{a\"]}'; cat\n"), "/{a"),
    ] {
        assert_eq!(code, Some(2), "{part}: {text}");
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_program_that_keeps_dying_costs_502_and_503_until_it_is_mended() {
    let site = plan(
        "#!/bin/sh\nread -r line\n[ -e mended ] || exit 1\nwhile :; do id=${line#*:}; \
                     echo \"{\\\"id\\\":${id%%,*}}\"; read -r line || exit; done\n",
    )
    .start();
    let mut seen = Vec::new();
    wait::until("it is given up", || {
        seen.push(site.get("/").status);
        seen.last() == Some(&503)
    });
    assert!(seen.contains(&502) && seen.iter().all(|status| matches!(status, 502 | 503)), "{seen:?}");
    site.folder().write("mended", "");
    wait::until("it answers", || site.get("/").status == 200);
}

#[test]
fn the_surroundings_of_a_program_are_the_documented_ones() {
    let program = "#!/bin/sh\necho \"a word on standard error\" >&2\nwhile read -r line; do\n  id=${line#*:}\n  \
                   echo \"{\\\"id\\\":${id%%,*},\\\"body\\\":\\\"$KENNEL_WORKER $KENNEL_MOUNT ${KENNEL_SECRET-none} $(pwd -P)\\\"}\"\ndone\n";
    let plan = plan_with(program, "mount = \"/app\"\n").variable("KENNEL_SECRET", "s".repeat(40));
    let folder = plan.folder().path().canonicalize().unwrap();
    let site = plan.start();
    let expected = format!("1 /app none {}", folder.display());
    assert_eq!(site.get("/app/x").text(), expected);
    let line = site.log().expect("a word on standard error");
    assert!(line.contains("INFO") && line.contains("app=\"./app\""), "{line}");
}

#[test]
fn a_program_logs_at_every_level() {
    let site = plan(&perl(
        "",
        r#"put({ do => 'log', level => $_, text => "it is $_" }) for qw(info warn error); put({ id => $id })"#,
    ))
    .start();
    assert_eq!(site.get("/").status, 200);
    for (level, text) in [("INFO", "it is info"), ("WARN", "it is warn"), ("ERROR", "it is error")] {
        assert!(site.log().expect(text).contains(level));
    }
}

#[test]
fn a_routes_line_that_comes_twice_is_left_out() {
    let twice = perl(
        "sleep 1; put({ do => 'routes', routes => ['GET /only'] }); put({ do => 'routes', routes => [] });",
        "put({ id => $id, body => 'all' })",
    );
    let site = plan(&twice).start();
    wait::until("its routes count", || site.get("/other").status == 404);
    assert_eq!(site.get("/only").text(), "all");
    site.log().expect("a routes line is left out: it counts once, before the program's first answer");
}

#[test]
fn dev_loads_a_program_anew_when_its_file_changes() {
    let program = |word: &str| {
        format!(
            "#!/bin/sh\nwhile read -r line; do id=${{line#*:}}; echo \"{{\\\"id\\\":${{id%%,*}},\\\"body\\\":\\\"{word}\\\"}}\"; done\n"
        )
    };
    let site = Site::plan("").program("app", &program("old")).app("./app").workers(0).dev().start();
    assert_eq!(site.get("/").text(), "old");
    site.folder().write_program("app", program("new"));
    site.log().expect("newest code is in charge");
    assert_eq!(site.get("/").text(), "new");
    site.folder().write_program("app", "#!/bin/sh\necho broken here >&2; exit 1\n");
    site.log().expect("app did not load");
    let page = site.get("/");
    assert_eq!(page.status, 500);
    assert!(page.text().contains("broken here"), "{}", page.text());
}

#[test]
fn two_processes_share_requests_and_the_least_busy_one_gets_the_next() {
    let program = perl("", r#"sleep 0.5 if $path eq '/slow'; put({ id => $id, body => "$$" })"#);
    let site = plan_with(&program, "processes = 2\n").start();
    let mut slow = site.client();
    slow.send(get("/slow"));
    wait::until("both run", || programs(&site).len() == 2);
    let others: Vec<_> = (0..10).map(|_| site.get("/").text()).collect();
    let busy = slow.read().text();
    assert!(others.iter().filter(|process| **process == busy).count() <= 5, "{busy} of {others:?}");
}

#[test]
fn many_clients_at_once_get_each_its_own_answer() {
    let site =
        plan_with(&perl("", r#"put({ id => $id, body => $path })"#), "processes = 3\nworkers = 2\n").start();
    let port = site.port();
    let clients: Vec<_> = (0..16)
        .map(|client| {
            thread::spawn(move || {
                let mut connection = Client::connect(port);
                for number in 0..100 {
                    let path = format!("/{client}/{number}");
                    assert_eq!(connection.get(&path).text(), path);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
}
