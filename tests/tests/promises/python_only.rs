use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tests::client::{Client, get};
use tests::command::{self, Finished};
use tests::folder::Folder;
use tests::language::Language;
use tests::port::Port;
use tests::process;
use tests::site::{Plan, Site};
use tests::wait;

/// A site with one worker, so that what lives on is what was asked.
fn alone(body: &str) -> Plan {
    Site::python(body).behind_warm().workers(1)
}

#[test]
fn code_that_never_comes_back_gets_504_wherever_it_runs() {
    let site = alone(
        r#"
        import asyncio
        def forever():
            while True:
                pass
        async def forever_in_task(): forever()
        @app.get("/plain")
        def plain(req): forever()
        @app.get("/first")
        async def first(req): forever()
        @app.get("/late")
        async def late(req):
            await asyncio.sleep(0)
            forever()
        @app.get("/task")
        async def task(req): await asyncio.create_task(forever_in_task())
        @app.get("/fine")
        def fine(req): return "fine"
        "#,
    )
    .config("[limits]\nscript_time = \"400ms\"\nrequest_timeout = \"10s\"\n")
    .start();
    for (round, path) in ["/plain", "/first", "/late"].into_iter().enumerate() {
        assert_eq!(site.get(path).status, 504, "{path}");
        site.log().expect_times("without pause", round + 1);
        assert_eq!(site.get("/fine").text(), "fine", "{path}");
    }
    // Nobody can say for whom a task runs; its worker is ended all the same.
    let status = site.get("/task").status;
    assert!([502, 504].contains(&status), "{status}");
    assert_eq!(site.get("/fine").text(), "fine");
}

#[test]
fn memory_that_is_asked_for_at_once_or_by_doubling_is_an_error_like_others() {
    let site = alone(
        r#"
        @app.get("/at-once")
        def at_once(req): return str(len(bytes(10**10)))
        @app.get("/doubling")
        async def doubling(req):
            eaten = "x"
            while True:
                eaten += eaten
        @app.get("/fine")
        def fine(req): return "fine"
        "#,
    )
    .config("[limits]\nworker_memory = \"64MiB\"\n")
    .start();
    let worker = site.workers();
    for path in ["/at-once", "/doubling", "/at-once"] {
        assert_eq!(site.get(path).status, 500, "{path}");
        assert_eq!(site.get("/fine").text(), "fine", "{path}");
    }
    site.log().expect_times("MemoryError", 3);
    assert_eq!(site.workers(), worker);
}

#[test]
fn a_script_that_exits_where_it_may_only_return_fails_alone() {
    let site = alone(
        r#"
        import asyncio, sys
        ends = {"exit": lambda: sys.exit(3), "quit": lambda: quit(), "interrupt": lambda: interrupt()}
        def interrupt(): raise KeyboardInterrupt
        @app.get("/plain/{how}")
        def plain(req, how): ends[how]()
        @app.get("/first/{how}")
        async def first(req, how): ends[how]()
        @app.get("/late/{how}")
        async def late(req, how):
            await asyncio.sleep(0.001)
            ends[how]()
        @app.get("/spawned/{how}")
        def spawned(req, how):
            kennel.spawn(ends[how])
            return "spawned"
        @app.channel("/live")
        class Live:
            def message(self, conn, msg): ends[msg]()
        "#,
    )
    .start();
    let worker = site.workers();
    for how in ["exit", "interrupt", "quit"] {
        for handler in ["plain", "first", "late"] {
            assert_eq!(site.get(&format!("/{handler}/{how}")).status, 500, "{handler} {how}");
        }
        assert_eq!(site.get(&format!("/spawned/{how}")).text(), "spawned");
        let mut ws = site.websocket("/live");
        ws.send(how);
        assert_eq!(ws.read_close().0, 1011, "{how}");
    }
    site.log().expect("GET /plain/exit failed: app.py:4: SystemExit: 3");
    site.log().expect("KeyboardInterrupt");
    site.log().expect_times("a task failed", 3);
    assert_eq!(site.workers(), worker, "the worker lives:\n{}", site.log().text());
}

#[test]
fn a_process_that_ends_itself_costs_what_it_ran() {
    let site = alone(
        r#"
        import asyncio, os, signal, sys
        @app.get("/_exit")
        def leave(req): os._exit(0)
        @app.get("/abort")
        async def abort(req): os.abort()
        @app.get("/segfault")
        def segfault(req): os.kill(os.getpid(), signal.SIGSEGV)
        @app.get("/term")
        async def term(req):
            os.kill(os.getpid(), signal.SIGKILL)
            await asyncio.sleep(60)
        @app.get("/exit-of-the-loop")
        async def exit_of_the_loop(req):
            asyncio.get_running_loop().call_soon(sys.exit, 3)
            await asyncio.sleep(60)
        @app.get("/fine")
        def fine(req): return "fine"
        "#,
    )
    .start();
    let mut client = site.client();
    for (round, path) in
        ["/_exit", "/abort", "/segfault", "/term", "/exit-of-the-loop"].into_iter().enumerate()
    {
        assert_eq!(client.get(path).status, 502, "{path}");
        site.log().expect_times("a worker died", round + 1);
        assert_eq!(client.get("/fine").text(), "fine", "{path}");
    }
}

#[test]
fn the_log_names_the_line_of_python_that_crashed() {
    let site = alone(
        r#"
        import ctypes
        def deep(): ctypes.string_at(0)
        @app.get("/crash")
        def crash(req):
            deep()
        @app.get("/fine")
        def fine(req): return "fine"
        "#,
    )
    .start();
    assert_eq!(site.get("/crash").status, 502);
    site.log().expect("Fatal Python error: Segmentation fault");
    site.log().expect("app.py\", line 4 in deep");
    site.log().expect("app.py\", line 7 in crash");
    site.log().expect("a worker died");
    assert_eq!(site.get("/fine").text(), "fine");
}

#[test]
fn a_fork_that_returns_on_both_sides_answers_once() {
    let site = alone(
        r#"
        import asyncio, os
        def fork():
            pid = os.fork()
            if pid == 0:
                print("a child that says something")
                return "child"
            return f"parent of {pid}"
        @app.get("/plain")
        def plain(req): return fork()
        @app.get("/first")
        async def first(req): return fork()
        @app.get("/late")
        async def late(req):
            await asyncio.sleep(0.001)
            return fork()
        @app.get("/spawned")
        def spawned(req):
            kennel.spawn(fork)
            return "parent of one that is not known"
        @app.get("/fine")
        def fine(req): return "fine"
        @app.channel("/live")
        class Live:
            def message(self, conn, msg): conn.send(fork())
        "#,
    )
    .start();
    let worker = site.workers()[0];
    let mut client = site.client();
    for path in ["/plain", "/first", "/late", "/spawned"].repeat(2) {
        let text = client.get(path).text();
        assert!(text.starts_with("parent of "), "{path}: {text}");
        assert_eq!(client.get("/fine").text(), "fine", "{path}");
    }
    let mut ws = site.websocket("/live");
    for _ in 0..3 {
        assert!(ws.ask("fork").starts_with("parent of "));
    }
    wait::until("the children end", || process::children(worker).is_empty());
    assert_eq!(site.workers(), [worker]);
    assert_eq!(site.log().count("ERROR"), 0, "{}", site.log().text());
}

#[test]
fn a_fork_in_a_thread_answers_once_too() {
    let site = alone(
        r#"
        import os
        @app.get("/")
        def fork(req): return "parent" if os.fork() else "child"
        "#,
    )
    .argument("--threads=2")
    .start();
    let worker = site.workers()[0];
    for _ in 0..5 {
        assert_eq!(site.get("/").text(), "parent");
    }
    wait::until("the children end", || process::children(worker).is_empty());
    assert_eq!(site.workers(), [worker]);
}

#[test]
fn processes_of_multiprocessing_work_for_their_handler() {
    let site = alone(
        r#"
        import multiprocessing
        def square(numbers, results):
            kennel.room("r").send("nobody hears a child")
            for n in numbers:
                results.put(n * n)
        @app.get("/")
        def compute(req):
            context = multiprocessing.get_context("fork")
            results = context.Queue()
            child = context.Process(target=square, args=([1, 2, 3], results))
            child.start()
            found = [results.get(timeout=10) for _ in range(3)]
            child.join()
            return found
        @app.channel("/room")
        class Listener:
            def open(self, conn):
                conn.join("r")
                conn.send("joined")
            def message(self, conn, msg): conn.send(msg)
        "#,
    )
    .start();
    let mut ws = site.websocket("/room");
    assert_eq!(ws.read_text(), "joined");
    for _ in 0..3 {
        assert_eq!(site.get("/").json(), json!([1, 4, 9]));
    }
    assert_eq!(ws.ask("mark"), "mark");
}

/// The child has what its worker had, and outlives it.
#[test]
fn a_child_that_stays_does_not_hide_the_death_of_its_worker() {
    let site = alone(
        r#"
        import os, time
        @app.get("/fork")
        def fork(req):
            pid = os.fork()
            if pid == 0:
                time.sleep(600)
                os._exit(0)
            return str(pid)
        @app.get("/fine")
        def fine(req): return "fine"
        "#,
    )
    .start();
    let child: u32 = site.get("/fork").text().parse().expect("a process");
    process::kill(site.workers()[0]);
    site.log().expect("a worker died");
    assert_eq!(site.get("/fine").text(), "fine");
    assert!(process::is_alive(child));
    process::kill(child);
}

#[test]
fn a_worker_that_closes_its_own_descriptors_is_replaced() {
    for waits in ["", "async "] {
        let body = r#"
        import os
        @app.get("/close")
        ASYNCdef close(req):
            os.closerange(3, 5000)
            return "closed"
        @app.get("/fine")
        def fine(req): return "fine"
        "#;
        let site = alone(&body.replace("ASYNC", waits)).start();
        let mut client = site.client();
        // The answer may have been left where the hub still finds it.
        let status = client.get("/close").status;
        assert!([200, 502].contains(&status), "{status}");
        site.log().expect("a worker died");
        assert_eq!(client.get("/fine").text(), "fine", "`{waits}`");
    }
}

#[test]
fn a_coroutine_of_a_plain_function_is_run_where_there_is_a_loop_and_else_an_error_that_says_how() {
    let body = r#"
        async def answer(): return "answered"
        @app.get("/")
        def forgot(req): return answer()
    "#;
    let site = alone(body).start();
    assert_eq!(site.get("/").status, 500);
    site.log().expect("write it as `async def`");
    let with_loop = format!("{body}\n        @app.get('/other')\n        async def other(req): return 'x'");
    let site = alone(&with_loop).start();
    assert_eq!(site.get("/").text(), "answered");
}

#[test]
fn text_that_is_no_text_is_an_error_of_the_handler_and_never_of_the_worker() {
    let site = alone(
        r#"
        bad = "no \ud800 text"
        class Strange(Exception):
            def __str__(self): return bad
        class Worse(Exception):
            def __str__(self): raise RuntimeError("not even words")
        @app.get("/text")
        def text(req): return bad
        @app.get("/json")
        async def json(req): return {"a": [bad]}
        @app.get("/header")
        def header(req): return kennel.response("x", headers={"x-a": bad})
        @app.get("/body")
        def body(req): return kennel.response(bad)
        @app.get("/room")
        def room(req): kennel.room(bad).send("x")
        @app.get("/strange")
        def strange(req): raise Strange
        @app.get("/worse")
        async def worse(req): raise Worse
        @app.get("/log")
        def log(req):
            print("printed", bad)
            kennel.log.info("logged " + bad, {"field": bad})
            return "fine"
        @app.get("/fine")
        def fine(req): return "fine"
        "#,
    )
    .start();
    let worker = site.workers();
    for path in ["/text", "/json", "/header", "/body", "/room", "/strange", "/worse"] {
        assert_eq!(site.get(path).status, 500, "{path}");
        site.log().expect(&format!("GET {path} failed"));
    }
    assert_eq!(site.get("/log").text(), "fine");
    site.log().expect("printed no ");
    site.log().expect("logged no ");
    assert_eq!(site.get("/fine").text(), "fine");
    assert_eq!(site.workers(), worker, "the worker lives:\n{}", site.log().text());
}

#[test]
fn text_that_is_no_text_is_shown_in_the_browser_too() {
    let site =
        Site::python("@app.get('/')\ndef bad(req): raise RuntimeError('no \\ud800 text')").dev().start();
    let page = site.get("/");
    assert_eq!(page.status, 500);
    assert!(page.text().contains("app.py, line 3"), "{}", page.text());
}

#[test]
fn what_asyncio_offers_works_in_handlers_from_their_first_step_on() {
    let site = alone(
        r#"
        import asyncio, contextvars
        who = contextvars.ContextVar("who")
        async def give(value, delay=0.01):
            await asyncio.sleep(delay)
            return value
        @app.get("/gather")
        async def gather(req): return await asyncio.gather(*(give(n, 0.03 - n / 100) for n in range(3)))
        @app.get("/time-out")
        async def time_out(req):
            try:
                await asyncio.wait_for(asyncio.sleep(60), 0.01)
            except asyncio.TimeoutError:
                return "in vain"
        @app.get("/one-task")
        async def one_task(req):
            before = asyncio.current_task()
            await asyncio.sleep(0)
            return "same" if before is asyncio.current_task() else "another"
        @app.get("/context/{name}")
        async def context(req, name):
            who.set(name)
            await asyncio.sleep(0.02)
            return who.get()
        @app.get("/cancelled")
        async def cancelled(req):
            asyncio.current_task().cancel()
            await asyncio.sleep(60)
        @app.get("/thread")
        async def thread(req):
            return await asyncio.get_running_loop().run_in_executor(None, lambda: "from a thread")
        lock, queue = asyncio.Lock(), asyncio.Queue()
        @app.get("/lock")
        async def locked(req):
            async with lock:
                await queue.put(1)
                return str(await queue.get())
        @app.get("/subprocess")
        async def subprocess(req):
            child = await asyncio.create_subprocess_exec("echo", "hi", stdout=asyncio.subprocess.PIPE)
            return (await child.communicate())[0].decode().strip()
        "#,
    )
    .start();
    assert_eq!(site.get("/gather").json(), json!([0, 1, 2]));
    for (path, text) in [
        ("/time-out", "in vain"),
        ("/one-task", "same"),
        ("/thread", "from a thread"),
        ("/lock", "1"),
        ("/subprocess", "hi"),
    ] {
        assert_eq!(site.get(path).text(), text, "{path}");
    }
    assert_eq!(site.get("/cancelled").status, 500);
    let mut clients: Vec<Client> = (0..10).map(|_| site.client()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(get(&format!("/context/{n}")));
    }
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.read().text(), n.to_string(), "each request has a context of its own");
    }
}

#[test]
fn lines_of_print_logging_and_standard_error_arrive_in_the_log() {
    let site = alone(
        r#"
        import logging, os, sys, threading, warnings
        log = logging.getLogger("shop.till")
        @app.get("/")
        def talk(req):
            print("one", "two", end=" ")
            print("three")
            print("to standard error", file=sys.stderr)
            log.debug("too quiet")
            log.info("sold %d", 3)
            log.warning("till is empty")
            try:
                1 / 0
            except ZeroDivisionError:
                log.exception("cannot divide")
            warnings.warn("old habits")
            thread = threading.Thread(target=print, args=("from a thread",))
            thread.start()
            thread.join()
            os.write(2, b"beside everything\n")
            return "x"
        "#,
    )
    .start();
    assert_eq!(site.get("/").text(), "x");
    for (text, level) in [
        ("one two three", "INFO"),
        ("to standard error", "WARN"),
        ("sold 3", "INFO"),
        ("till is empty", "WARN"),
        ("cannot divide", "ERROR"),
        ("old habits", "WARN"),
        ("from a thread", "INFO"),
        ("beside everything", ""),
    ] {
        let line = site.log().expect(text);
        assert!(line.contains(level), "{line}");
    }
    site.log().expect("shop.till");
    site.log().expect("ZeroDivisionError");
    assert_eq!(site.log().count("too quiet"), 0);
}

/// Runs `kennel check` in a folder with these files.
fn check(files: &[(&str, &str)], arguments: &[&str]) -> Finished {
    let folder = Folder::new();
    for (name, content) in files {
        folder.write(name, content);
    }
    command::run(folder.path(), [&["check"], arguments].concat())
}

fn expect_error(finished: &Finished, code: i32, parts: &[&str]) {
    assert_eq!(finished.code, Some(code), "{}", finished.stderr);
    for part in parts {
        assert!(finished.stderr.contains(part), "no `{part}` in:\n{}", finished.stderr);
    }
    for internal in ["panicked", "Os {", "os error", "<kennel>", "<frozen", "anyhow"] {
        assert!(!finished.stderr.contains(internal), "`{internal}` in:\n{}", finished.stderr);
    }
}

#[test]
fn code_that_cannot_be_loaded_is_said_with_its_place() {
    for (body, parts) in [
        ("x = 1\ny = = 2\n", &["app.py:2:", "SyntaxError"][..]),
        ("def f():\nreturn 1\n", &["app.py:2:", "IndentationError"]),
        ("x = '\0'\n", &["app.py", "null bytes"]),
        (
            "import kennel\nimport nosuch.thing\n",
            &["app.py:2:", "no module `nosuch`", "-m pip install nosuch"],
        ),
        ("def f():\n  raise KeyError('cake')\nf()\n", &["app.py:2:", "KeyError: 'cake'"]),
        ("import helper\n", &["helper.py:1:", "NameError"]),
        ("import sys\nsys.exit(4)\n", &["app.py:2:", "ended itself"]),
        ("raise KeyboardInterrupt\n", &["app.py:1:", "KeyboardInterrupt"]),
        ("raise RuntimeError('no \\ud800 text')\n", &["app.py:1:", "RuntimeError: no "]),
        ("print('hello')\n", &["app.py", "it has no `app`", "app = kennel.App()"]),
        ("app = 7\n", &["app.py", "is not an app", "int"]),
        ("import kennel\nkennel.App(threads=-1)\n", &["app.py:2:", "threads"]),
        ("import kennel\napp = kennel.App()\n@app.get('x')\ndef x(req): pass\n", &["app.py:3:", "`x`"]),
        ("import kennel\napp = kennel.App()\napp.get('/x')(7)\n", &["app.py:3:", "function"]),
        ("import kennel\nkennel.app()\n", &["app.py:2:", "app"]),
        ("import kennel\nkennel.room('r').count()\n", &["app.py:2:", "handlers and tasks"]),
    ] {
        let finished = check(&[("app.py", body), ("helper.py", "nowhere\n")], &["app.py"]);
        expect_error(&finished, 2, parts);
    }
}

#[test]
fn an_app_of_another_name_is_named_behind_a_colon() {
    let files =
        [("shop.py", "import kennel\nservice = kennel.App()\n@service.get('/')\ndef x(req): return 'x'\n")];
    let fine = check(&files, &["shop.py:service"]);
    assert_eq!(fine.code, Some(0), "{}", fine.stderr);
    let fine = check(&files, &["shop:service"]);
    assert_eq!(fine.code, Some(0), "a module's name: {}", fine.stderr);
    expect_error(&check(&files, &["shop.py"]), 2, &["shop.py", "it has no `app`", "shop.py:name"]);
    let near = check(&files, &["shop.py:servise"]);
    expect_error(&near, 2, &["it has no `servise`", "did you mean `service`?"]);
    expect_error(&check(&files, &["nowhere.py"]), 2, &["nowhere.py"]);
    expect_error(&check(&files, &["nowhere:app"]), 2, &["nowhere"]);
}

const HELLO: &str = "import kennel; app = kennel.App()\n@app.get('/')\ndef hello(req): return 'hello'\n";

#[test]
fn an_interpreter_that_is_none_is_said_in_words() {
    let files = [("app.py", HELLO)];
    let missing = check(&files, &["--python", "/nowhere/python3", "app.py"]);
    expect_error(&missing, 2, &["/nowhere/python3", "named by --python", "no such file"]);
    for none in ["/bin/true", "/bin/false", "/bin/echo"] {
        let finished = check(&files, &["--python", none, "app.py"]);
        expect_error(&finished, 2, &[none, "Python"]);
    }
    let folder = Folder::new();
    folder.write("app.py", HELLO);
    folder.write("not-executable", "#!/bin/sh\n");
    let finished = command::run(folder.path(), ["check", "--python", "./not-executable", "app.py"]);
    expect_error(&finished, 2, &["./not-executable", "named by --python"]);
    let listen = Port::free();
    let finished = command::run(
        folder.path(),
        ["run", "--listen", &listen.address(), "--python", "/nowhere/python3", "app.py"],
    );
    expect_error(&finished, 3, &["/nowhere/python3", "named by --python"]);
}

#[test]
fn an_interpreter_that_is_too_old_is_said_to_be() {
    for version in ["2.7", "3.6", "3.7", "3.8"] {
        for python in interpreters(version) {
            let finished = check(&[("app.py", HELLO)], &["--python", &python, "app.py"]);
            expect_error(&finished, 2, &[&python, version, "3.9 or newer is needed", "--python"]);
        }
    }
}

#[test]
fn every_python_that_is_there_serves_pages_and_live_connections() {
    let mut tried = Vec::new();
    for minor in 9..=14 {
        for python in interpreters(&format!("3.{minor}")) {
            let site = alone(
                r#"
                import asyncio, sys
                @app.get("/")
                def hello(req): return "hello from %d.%d" % sys.version_info[:2]
                @app.get("/slow/{n}")
                async def slow(req, n):
                    await asyncio.sleep(0.01)
                    return n
                @app.get("/raise")
                def fail(req): raise RuntimeError("on purpose")
                @app.channel("/callbacks")
                class Callbacks:
                    async def message(self, conn, msg):
                        conn.join("all")
                        kennel.room("all").send({"said": msg})
                @app.channel("/straight")
                async def straight(conn):
                    async for msg in conn:
                        conn.send(msg)
                "#,
            )
            .argument(&format!("--python={python}"))
            .start();
            assert_eq!(site.get("/").text(), format!("hello from 3.{minor}"), "{python}");
            assert_eq!(site.get("/slow/7").text(), "7", "{python}");
            assert_eq!(site.get("/raise").status, 500, "{python}");
            site.log().expect("app.py:11: RuntimeError: on purpose");
            assert_eq!(site.websocket("/callbacks").ask("hi"), r#"{"said":"hi"}"#, "{python}");
            assert_eq!(site.websocket("/straight").ask("hi"), "hi", "{python}");
            tried.push(python);
        }
    }
    assert!(!tried.is_empty(), "there is no Python to try");
}

/// The interpreters of a version that are here: on the path, and those of pyenv.
fn interpreters(version: &str) -> Vec<String> {
    let name = format!("python{version}");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).map(|folder| folder.join(&name)).collect();
    let home = std::env::var_os("HOME").unwrap_or_default();
    let of_pyenv = fs::read_dir(Path::new(&home).join(".pyenv/versions")).into_iter().flatten();
    places.extend(of_pyenv.filter_map(|entry| Some(entry.ok()?.path().join("bin").join(&name))));
    let works = |python: &PathBuf| {
        let mut command = Command::new(python);
        let command = command.args(["-c", "pass"]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let found =
        places.into_iter().filter(works).filter_map(|python| python.into_os_string().into_string().ok());
    found.take(2).collect()
}

/// A virtual environment with a module that is nowhere else.
fn make_environment(folder: &Folder, name: &str) -> PathBuf {
    let place = folder.path().join(name);
    let made = Command::new("python3").args(["-m", "venv", "--without-pip"]).arg(&place).status();
    assert!(made.is_ok_and(|status| status.success()), "python3 has no venv");
    let library = fs::read_dir(place.join("lib")).expect("a library").next().expect("of one version");
    let packages = library.expect("a folder").path().join("site-packages");
    fs::write(packages.join("only_here.py"), format!("WORD = '{name}'\n")).expect("a module");
    place
}

const ONLY_HERE: &str = "import only_here\n@app.get('/')\ndef word(req): return only_here.WORD";

#[test]
fn the_virtual_environment_in_use_is_chosen_and_else_the_one_beside_the_app() {
    let elsewhere = Folder::new();
    let active = make_environment(&elsewhere, "active");
    // `.venv` is made where the site will be, by a plan that has its folder already.
    let plan = alone(ONLY_HERE);
    make_environment(plan.folder(), ".venv");
    let site = plan.start();
    assert_eq!(site.get("/").text(), ".venv");
    drop(site);
    let plan = alone(ONLY_HERE).variable("VIRTUAL_ENV", &active);
    make_environment(plan.folder(), ".venv");
    let site = plan.start();
    assert_eq!(site.get("/").text(), "active", "what is in use goes before what lies about");
    drop(site);
    let site =
        alone(ONLY_HERE).argument(&format!("--python={}", active.join("bin/python").display())).start();
    assert_eq!(site.get("/").text(), "active");
    let finished = check(&[("app.py", &Language::Python.script(ONLY_HERE))], &["app.py"]);
    expect_error(&finished, 2, &["app.py:2:", "no module `only_here`"]);
}

/// Connections and requests name each other, and so may what a script hangs on them.
#[test]
fn connections_and_requests_that_are_over_leave_nothing_behind() {
    let site = Site::python(
        r#"
        import gc
        @app.channel("/echo")
        class Echo:
            def open(self, conn):
                conn.mine = conn
                conn.join("all")
            def message(self, conn, text): conn.send(text)
            def close(self, conn, code, reason): conn.request.last = conn
        @app.get("/itself")
        def itself(req):
            req.me, req.again = req, req.conn
            return "fine"
        @app.get("/left")
        def left(req):
            gc.collect()
            kinds = ("Connection", "HttpConnection", "Request")
            return str(sum(type(one).__name__ in kinds for one in gc.get_objects()))
        "#,
    )
    .workers(1)
    .behind_warm()
    .start();
    let left = || site.get("/left").text().parse::<u32>().expect("a number");
    let before = left();
    for _ in 0..50 {
        assert_eq!(site.websocket("/echo").ask("x"), "x");
        site.websocket("/echo").close(1000, "");
        assert_eq!(site.get("/itself").text(), "fine");
    }
    wait::until("nothing is left", || left() <= before);
}

/// The files of the compiled package in the folder of the running kennel.
fn compiled(site: &Site) -> Vec<PathBuf> {
    let folder = site.folder().path().join(".kennel").join(site.hub().to_string());
    let entries = fs::read_dir(folder).expect("a running kennel has a folder");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    paths
        .filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("code-cpython"))
        })
        .collect()
}

#[test]
fn workers_find_the_package_compiled_and_compile_it_themselves_when_what_they_find_is_broken() {
    let site = alone(
        r#"
        @app.get("/")
        def index(req): return "fine"
        "#,
    )
    .start();
    assert_eq!(site.get("/").text(), "fine");
    wait::until("the first worker to leave its code", || compiled(&site).len() == 1);
    let file = compiled(&site).remove(0);
    let whole = fs::read(&file).unwrap();
    let mut halves = whole.clone();
    halves.truncate(whole.len() / 2);
    for broken in [b"".to_vec(), b"no code at all".to_vec(), halves] {
        fs::write(&file, &broken).unwrap();
        let old = site.workers();
        process::kill(old[0]);
        wait::until("another worker", || site.workers().first().is_some_and(|worker| *worker != old[0]));
        assert_eq!(site.get("/").text(), "fine");
        wait::until("the code to be whole again", || {
            fs::read(&file).is_ok_and(|now| now.len() == whole.len())
        });
    }
}
