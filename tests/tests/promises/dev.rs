use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use tests::browser::{Browser, Screen};
use tests::client::{Client, get, request};
use tests::command;
use tests::folder::Folder;
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::log::Log;
use tests::port::Port;
use tests::process::{self, Signal};
use tests::site::{Site, script};
use tests::wait;

const BROWSER: (&str, &str) = ("Accept", "text/html,application/xhtml+xml");

/// A channel that fails when it is spoken to.
const FRAGILE: Scripts<'_> = Scripts {
    lua: r#"
app:get("/", function() return kennel.html(PAGE) end)
PAGE = '<!doctype html><title>x</title><link rel="icon" href="data:,"><body>page<script src="/kennel.js"></script>' ..
  '<script>const c = new KennelChannel("/talk"); c.onopen = () => c.send("x"); c.onclose = (e) => { window.end = e.code };</script>'
app:channel("/talk", { message = function(conn, msg) error("no cake today") end })
"#,
    python: r#"
PAGE = '<!doctype html><title>x</title><link rel="icon" href="data:,"><body>page<script src="/kennel.js"></script>' \
  '<script>const c = new KennelChannel("/talk"); c.onopen = () => c.send("x"); c.onclose = (e) => { window.end = e.code };</script>'
@app.get("/")
def root(req): return kennel.html(PAGE)
@app.channel("/talk")
class Talk:
    def message(self, conn, msg): raise RuntimeError("no cake today")
"#,
};

in_each_language!(an_error_of_a_channel_is_shown_in_the_page_under_dev_alone);
fn an_error_of_a_channel_is_shown_in_the_page_under_dev_alone(language: Language) {
    let site = language.plan(FRAGILE).dev().behind_warm().start();
    let mut browser = Browser::start();
    let mut page = browser.open(&format!("http://127.0.0.1:{}/", site.port()), Screen::Desktop);
    page.sees("The channel /talk failed: ");
    page.sees("no cake today");
    let shown = page.evaluate("document.querySelector('#kennel-error').textContent");
    let place = language.pick("app.lua:", "app.py:");
    assert!(shown.as_str().is_some_and(|shown| shown.contains(place)), "{shown}");
    page.click("#kennel-error button");
    page.until("!document.querySelector('#kennel-error')");
    page.close();
    let mut plain = site.websocket("/talk");
    plain.send("x");
    let (code, reason) = plain.read_close();
    assert!(code == 1011 && reason.starts_with("kennel dev: ") && reason.contains(place), "{code} {reason}");

    let site = language.plan(FRAGILE).behind_warm().start();
    let mut plain = site.websocket("/talk");
    plain.send("x");
    assert_eq!(plain.read_close(), (1011, "internal error".to_owned()), "visitors learn nothing");
    let mut page = browser.open(&format!("http://127.0.0.1:{}/", site.port()), Screen::Desktop);
    page.until("window.end === 1011");
    assert_eq!(page.evaluate("document.querySelectorAll('#kennel-error').length"), 0);
    page.close();
}

/// As Starlette does: a bare 500, and the exception behind it. As Django does: the exception in the log. As an app's own
/// page about an error.
const ASGI: &str = r#"
import logging

async def answer(send, status, body):
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/fine":
        return await answer(send, 200, b"fine")
    if scope["path"] == "/meant":
        return await answer(send, 503, b"back soon")
    try:
        raise KeyError("no cake")
    except KeyError:
        if scope["path"] == "/logged":
            logging.getLogger("shop").exception("it failed")
            return await answer(send, 500, b"Internal Server Error")
        if scope["path"] == "/own":
            logging.getLogger("shop").exception("it failed")
            return await answer(send, 500, b"x" * 20000)
        await answer(send, 500, b"Internal Server Error")
        if scope["path"] == "/waits":
            assert (await receive())["type"] == "http.request"
            assert (await receive())["type"] == "http.disconnect"
            return
        raise
"#;

const WSGI: &str = r#"
import logging

def app(environ, start_response):
    path = environ["PATH_INFO"]
    plain = [("Content-Type", "text/plain")]
    if path == "/fine":
        start_response("200 OK", plain)
        return [b"fine"]
    if path == "/meant":
        start_response("503 Service Unavailable", plain)
        return iter([b"back ", b"soon"])
    try:
        raise KeyError("no cake")
    except KeyError:
        logging.getLogger("shop").exception("it failed")
    start_response("500 Internal Server Error", plain)
    if path == "/own":
        return iter([b"x" * 10000, b"x" * 10000])
    return [b"Internal Server Error"]
"#;

#[test]
fn errors_that_frameworks_catch_are_shown_to_browsers_under_dev() {
    for (source, failing) in [(ASGI, &["/raised", "/logged"][..]), (WSGI, &["/logged"])] {
        let site = Site::plan_module(source).dev().behind_warm().start();
        for path in failing {
            let page = site.send(request("GET", path, &[BROWSER], b""));
            assert_eq!((page.status, page.header("content-type")), (500, Some("text/html; charset=utf-8")));
            for part in ["KeyError", "no cake", "app.py, line", &format!("GET {path}")] {
                assert!(page.text().contains(part), "{path}: no `{part}` in {}", page.text());
            }
            // Programs get what the app says.
            let answer = site.get(path);
            assert_eq!((answer.status, answer.text().as_str()), (500, "Internal Server Error"));
        }
        let asked = |path: &str| site.send(request("GET", path, &[BROWSER], b""));
        assert_eq!(asked("/fine").text(), "fine");
        assert_eq!((asked("/meant").status, asked("/meant").text().as_str()), (503, "back soon"));
        let own = asked("/own");
        assert_eq!((own.status, own.text().len()), (500, 20_000), "its own page is left alone");
    }
    let site = Site::plan_module(ASGI).dev().behind_warm().start();
    let mut client = site.client();
    client.send(request("GET", "/waits", &[BROWSER], b""));
    assert_eq!(client.read().text(), "Internal Server Error", "who waits for the client's end has answered");
    drop(client);
    let visitors = Site::plan_module(ASGI).behind_warm().start();
    let answer = visitors.send(request("GET", "/raised", &[BROWSER], b""));
    assert_eq!(answer.text(), "Internal Server Error", "visitors see no source");
}

#[test]
fn a_breakpoint_says_what_to_do_and_stops_nothing() {
    let kennels = "import kennel, threading
breakpoint()
app = kennel.App(threads=1)
@app.get('/')
def root(req):
    breakpoint()
    thread = threading.Thread(target=lambda: breakpoint())
    thread.start()
    thread.join()
    return 'went on'
";
    let wsgi = "breakpoint()
def app(environ, start_response):
    breakpoint()
    start_response('200 OK', [])
    return [b'went on']
";
    let asgi = "breakpoint()
async def app(scope, receive, send):
    if scope['type'] == 'lifespan':
        raise RuntimeError
    breakpoint()
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b'went on'})
";
    for (script, lines) in [(kennels, &[2, 6, 7][..]), (wsgi, &[1, 3]), (asgi, &[1, 5])] {
        for is_dev in [false, true] {
            let plan = Site::plan_module(script).workers(1).behind_warm();
            let site = if is_dev { plan.dev().start() } else { plan.start() };
            assert_eq!(site.get("/").text(), "went on");
            for line in lines {
                let line = site.log().expect(&format!("breakpoint() at app.py:{line} is skipped"));
                assert!(line.contains("PYTHONBREAKPOINT=remote_pdb.set_trace"), "{line}");
                assert!(line.contains("script_time"), "{line}");
            }
        }
    }
}

#[test]
fn a_debugger_without_a_terminal_says_what_to_do() {
    let body = "@app.get('/')\ndef root(req):\n    import pdb; pdb.set_trace()\n    return 'never'";
    let site = Site::python(body).behind_warm().start();
    assert_eq!(site.get("/").status, 500);
    let line = site.log().expect("BdbQuit");
    assert!(line.contains("a worker has no terminal") && line.contains("remote_pdb.set_trace"), "{line}");
}

/// `kennel dev` that listens where it is told.
fn dev_at(folder: &Folder, listen: &str, more: &[&str]) -> (std::process::Child, Log) {
    let arguments = [&["dev", "--workers=1", "--listen", listen][..], more, &["app.lua"]].concat();
    let mut command = command::command(folder.path(), arguments);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut kennel = command.spawn().expect("kennel can be started");
    let log = Log::collect(kennel.stderr.take().expect("stderr is a pipe"));
    (kennel, log)
}

fn stop(mut kennel: std::process::Child) {
    process::signal(kennel.id(), Signal::TERM);
    assert_eq!(kennel.wait().expect("a child can be waited for").code(), Some(0));
}

#[test]
fn dev_tells_its_address_though_nothing_loads() {
    let (folder, port) = (Folder::new(), Port::free());
    folder.write("app.lua", "local x = = 1\n");
    let (kennel, log) = dev_at(&folder, &port.address(), &[]);
    let line = log.expect("not serving yet: ");
    assert!(line.contains(&format!("http://{} shows the error of app.lua", port.address())), "{line}");
    let mut client = Client::connect(port.number());
    client.send(get("/"));
    assert_eq!(client.read().status, 500);
    assert_eq!(log.count("ready:"), 0, "{}", log.text());
    stop(kennel);
}

#[test]
fn dev_in_a_network_warns_and_its_address_can_be_opened() {
    let (folder, port) = (Folder::new(), Port::free());
    folder.write("app.lua", script(r#"app:get("/", function() return "x" end)"#));
    let (kennel, log) = dev_at(&folder, &format!("0.0.0.0:{}", port.number()), &[]);
    let ready = log.expect("ready:");
    assert!(ready.contains(&format!("http://127.0.0.1:{} by ", port.number())), "{ready}");
    assert!(log.expect("kennel dev listens on 0.0.0.0").contains("WARN"));
    stop(kennel);
}

#[test]
fn dev_answers_to_no_foreign_name() {
    let (folder, port) = (Folder::new(), Port::free());
    let body =
        "app:get('/', function() return 'secret' end)\napp:channel('/ws', { message = function() end })";
    folder.write("app.lua", script(body));
    let (kennel, log) = dev_at(&folder, &port.address(), &["--allow-host", "laptop.example"]);
    log.expect("ready:");
    let ask = |host: &str, path: &str, more: &str| {
        let mut client = Client::connect(port.number());
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"));
        client.read()
    };
    for host in ["127.0.0.1", "localhost:6767", "[::1]", "laptop.example", "192.0.2.7"] {
        assert_eq!(ask(host, "/", "").text(), "secret", "{host}");
    }
    for host in ["evil.example", "localhost.evil.example"] {
        let answer = ask(host, "/", "");
        assert!(answer.status == 421 && answer.text().contains("--allow-host NAME"), "{}", answer.text());
        let handshake = format!(
            "Origin: http://{host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        );
        assert_eq!(ask(host, "/ws", &handshake).status, 421, "a rebound page is of the same origin");
        assert_eq!(ask(host, "/ws", "Accept: text/event-stream\r\n").status, 421);
        assert_eq!(ask(host, "/kennel.js", "").status, 421);
    }
    let line = log.expect("a foreign Host");
    assert!(line.contains("path=\"/\""), "{line}");
    stop(kennel);

    let site = Site::plan("app:get('/', function() return 'x' end)").start();
    let answer = site.send("GET / HTTP/1.1\r\nHost: any.example\r\n\r\n");
    assert_eq!(answer.text(), "x", "visitors come by any name");
}

in_each_language!(a_folder_of_code_that_is_moved_is_new_code);
fn a_folder_of_code_that_is_moved_is_new_code(language: Language) {
    let body = Scripts {
        lua: r#"
local found, lib = pcall(require, "lib.words")
local word = found and lib or "none"
app:get("/", function() return word end)"#,
        python: r#"
try:
    from lib.words import word
except ImportError:
    word = "none"
@app.get("/")
def root(req): return word"#,
    };
    let site = language.plan(body).dev().behind_warm().workers(1).start();
    assert_eq!(site.get("/").text(), "none");
    let at = |name: &str| site.folder().path().join(name);
    let outside = Folder::new();
    for (folder, word) in [("one", "first"), ("two", "second")] {
        let (name, text) = language
            .pick(("words.lua", format!("return '{word}'\n")), ("words.py", format!("word = '{word}'\n")));
        outside.write(&format!("{folder}/{name}"), text);
    }
    let rename = |from: &Path, to: &Path| std::fs::rename(from, to).expect("a folder can be moved");
    rename(&outside.path().join("one"), &at("lib"));
    wait::until("the folder that came is loaded", || site.get("/").text() == "first");
    rename(&at("lib"), &at("old"));
    wait::until("the folder that went is missed", || site.get("/").text() == "none");
    rename(&outside.path().join("two"), &at("lib"));
    wait::until("the other folder is loaded", || site.get("/").text() == "second");
}

in_each_language!(a_folder_with_a_dot_in_its_name_that_is_moved_is_new_code);
fn a_folder_with_a_dot_in_its_name_that_is_moved_is_new_code(language: Language) {
    // What is in it is code that only the app finds.
    let body = Scripts {
        lua: r#"
local file = io.open("words.d/v1.2/word.txt")
local word = file and file:read("*l") or "none"
app:get("/", function() return word end)"#,
        python: r#"
import os
word = open("words.d/v1.2/word.txt").read() if os.path.exists("words.d/v1.2/word.txt") else "none"
@app.get("/")
def root(req): return word"#,
    };
    let plan = language.plan(body).file("words.d/v1.2/word.txt", "first").dev().behind_warm().workers(1);
    let site = plan.start();
    assert_eq!(site.get("/").text(), "first");
    let at = |name: &str| site.folder().path().join(name);
    let outside = Folder::new();
    let rename = |from: &Path, to: &Path| std::fs::rename(from, to).expect("a folder can be moved");
    rename(&at("words.d/v1.2"), &outside.path().join("v1.2"));
    wait::until("the folder that went is missed", || site.get("/").text() == "none");
    rename(&outside.path().join("v1.2"), &at("words.d/v1.2"));
    wait::until("the folder that came back is loaded", || site.get("/").text() == "first");
    rename(&at("words.d"), &outside.path().join("words.d"));
    wait::until("the folder around it is missed, too", || site.get("/").text() == "none");
    outside.write("words.d/v1.2/word.txt", "second");
    rename(&outside.path().join("words.d"), &at("words.d"));
    wait::until("the folder around it is loaded", || site.get("/").text() == "second");
}

/// Everything below a folder that others than its owner may use, with its mode.
fn open_to_others(folder: &Path, found: &mut Vec<String>) {
    for entry in folder.read_dir().expect("a folder").flatten() {
        let Ok(about) = entry.path().symlink_metadata() else { continue };
        let mode = about.permissions().mode() & 0o777;
        if !about.is_symlink() && mode & 0o077 != 0 {
            found.push(format!("{} {mode:o}", entry.path().display()));
        }
        if about.is_dir() {
            open_to_others(&entry.path(), found);
        }
    }
}

#[test]
fn what_a_kennel_keeps_is_for_its_user_alone_whatever_the_umask() {
    let (folder, port) = (Folder::new(), Port::free());
    folder.write("app.py", Language::Python.script("@app.get('/')\ndef root(req): return 'x'"));
    let kept = folder.path().join(".kennel");
    std::fs::create_dir(&kept).expect("a folder can be made");
    std::fs::set_permissions(&kept, PermissionsExt::from_mode(0o777)).expect("a mode can be set");
    let program = command::command(folder.path(), [] as [&str; 0]).get_program().to_owned();
    let mut command = Command::new("sh");
    command.current_dir(folder.path()).args(["-c", "umask 000; exec \"$@\"", "sh"]).arg(program);
    command.args(["run", "--workers=1", "--listen", &port.address(), "app.py"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut kennel = command.spawn().expect("kennel can be started");
    let log = Log::collect(kennel.stderr.take().expect("stderr is a pipe"));
    log.expect("ready:");
    let mut found = Vec::new();
    open_to_others(folder.path(), &mut found);
    found.retain(|line| line.contains("/.kennel"));
    assert_eq!(found, [""; 0]);
    assert!(kept.join("secret").is_file() && kept.join(kennel.id().to_string()).join("requests").exists());
    stop(kennel);
}

#[test]
fn a_file_beside_the_app_is_no_library_of_the_probe() {
    let folder = Folder::new();
    for name in ["json.py", "importlib.py", "marshal.py", "types.py"] {
        folder.write(name, "X = 1\n");
    }
    folder.write("srv/app.py", Language::Python.script("@app.get('/')\ndef root(req): return 'x'"));
    let finished = command::run(folder.path(), ["check", "srv/app.py"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
}
