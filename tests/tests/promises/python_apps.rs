use std::path::Path;
use std::process::Command;
use std::thread;
use tests::client::{get, request};
use tests::command::{self, Finished};
use tests::folder::Folder;
use tests::site::Site;
use tests::venv;

const WSGI: &str =
    "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'hi']\n";

const KENNEL: &str = "import kennel\napp = kennel.App()\n@app.get('/')\ndef hello(req): return 'hello'\n";

/// Something that makes apps, in the ways that people write it.
const FACTORY: &str = "
import kennel

def create_app(greeting='factory', **more):
    def app(environ, start_response):
        start_response('200 OK', [])
        return [(greeting + repr(more)).encode()]
    return app

def native():
    app = kennel.App()
    @app.get('/')
    def hello(req): return 'native'
    return app

def asgi():
    async def app(scope, receive, send): pass
    return app

async def late(): return native()
def nothing(): pass
def fails(): raise KeyError('in the factory')
not_callable = 7
";

/// Runs `kennel check` in a folder with these files.
fn check(files: &[(&str, &str)], arguments: &[&str]) -> Finished {
    let folder = Folder::new();
    for (name, content) in files {
        folder.write(name, content);
    }
    command::run(folder.path(), [&["check"], arguments].concat())
}

fn expect_fine(finished: &Finished, part: &str) {
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stdout.contains(part), "no `{part}` in:\n{}", finished.stdout);
}

fn expect_error(finished: &Finished, parts: &[&str]) {
    assert_eq!(finished.code, Some(2), "{}{}", finished.stdout, finished.stderr);
    for part in parts {
        assert!(finished.stderr.contains(part), "no `{part}` in:\n{}", finished.stderr);
    }
    for internal in ["panicked", "<kennel>", "<frozen"] {
        assert!(!finished.stderr.contains(internal), "`{internal}` in:\n{}", finished.stderr);
    }
}

#[test]
fn packages_and_modules_are_served_whatever_folders_are_beside_them() {
    let lua = "local app = require('kennel').app()\napp:get('/', function() return 'lua' end)\nreturn app\n";
    for (files, typed, part) in [
        (&[("pkg/__init__.py", WSGI)][..], "pkg:app", "pkg:app: fine, everything as WSGI"),
        (&[("pkg/__init__.py", WSGI)], "pkg", "pkg: fine, everything as WSGI"),
        (&[("pkg/__init__.py", WSGI)], "pkg/", "pkg/: fine, everything as WSGI"),
        (&[("pkg/__init__.py", ""), ("pkg/web.py", WSGI)], "pkg.web", "pkg.web: fine"),
        (&[("web.py", WSGI), ("web/index.html", "")], "web:app", "web:app: fine"),
        (&[("web.py", WSGI), ("web/index.html", "")], "web", "web: fine"),
        (&[("web.py", WSGI), ("web/handlers/a.lua", lua)], "web:app", "web:app: fine"),
        (&[("web.py", WSGI), ("web/handlers/a.lua", lua)], "web/", "web/handlers/a.lua: fine"),
        (&[("pkg/__init__.py", WSGI), ("pkg/handlers/a.py", "")], "pkg:app", "pkg:app: fine"),
        (&[("pkg/__init__.py", WSGI), ("pkg/handlers/a.py", "")], "pkg", "pkg: fine"),
        (&[("plain/web.py", WSGI)], "plain.web:app", "plain.web:app: fine"),
        (&[("site/handlers/a.lua", lua)], "site", "site/handlers/a.lua: fine"),
        (&[("site.example/handlers/a.lua", lua)], "site.example", "site.example/handlers/a.lua: fine"),
    ] {
        expect_fine(&check(files, &[typed]), part);
    }
    let toml = ("kennel.toml", "[[app]]\nsource = \"pkg\"\nmount = \"/shop\"\n");
    expect_fine(&check(&[("pkg/__init__.py", WSGI), toml], &[]), "everything as WSGI under /shop");
    expect_error(
        &check(&[("plain/x.txt", "")], &["plain"]),
        &["it is a directory without a folder `handlers`"],
    );
    expect_error(&check(&[("plain/x.txt", "")], &["plain:app"]), &["it has no `app`"]);
}

#[test]
fn a_package_is_served() {
    let site =
        Site::plan_module("").file("pkg/__init__.py", "from .web import app\n").file("pkg/web.py", WSGI);
    let site = site.serving(&["pkg:app"]).behind_warm().start();
    assert_eq!(site.get("/").text(), "hi");
    site.folder().write("pkg/web.py", WSGI.replace("hi", "there"));
    assert_eq!(site.kennel(&["reload"]).code, Some(0));
    assert_eq!(site.get("/").text(), "there");
}

#[test]
fn what_makes_an_app_is_called_when_that_is_said() {
    let files = [("fac.py", FACTORY)];
    for (arguments, part) in [
        (&["fac:create_app()"][..], "fac:create_app(): fine, everything as WSGI"),
        (&["fac.py:create_app('x', debug=True)"], "everything as WSGI"),
        (&["fac:native()"], "fac:native(): fine, 1 route"),
        (&["fac:asgi()"], "everything as ASGI"),
        (&["--factory", "fac:native"], "fac:native: fine, 1 route"),
        (&["--factory", "fac:create_app()"], "everything as WSGI"),
        (&["--factory", "fac"], "fac: fine, everything as WSGI"),
    ] {
        expect_fine(&check(&files, arguments), part);
    }
    let toml = ("kennel.toml", "[[app]]\nsource = \"fac:native\"\nfactory = true\n");
    expect_fine(&check(&[files[0], toml], &[]), "fac:native: fine, 1 route");

    for (typed, parts) in [
        ("fac:create_app(open)", &["plain values"][..]),
        ("fac:create_app(**{})", &["plain values"]),
        ("fac:late()", &["`late` is an `async def`", "plain function"]),
        ("fac:nothing()", &["`nothing()` returned None"]),
        ("fac:fails()", &["fac.py:", "KeyError: 'in the factory'"]),
        ("fac:not_callable()", &["`not_callable` is a int and cannot be called"]),
        ("fac:nowhere()", &["it has no `nowhere`"]),
        ("fac", &["it has no `app`, but a `create_app`", "write `fac:create_app()`"]),
    ] {
        expect_error(&check(&files, &[typed]), parts);
    }

    let app = "fac:create_app('made: ', n=1)";
    let site = Site::plan_module("").file("fac.py", FACTORY).serving(&[app]).behind_warm().start();
    assert_eq!(site.get("/").text(), "made: {'n': 1}");
    let site = Site::plan_module("").file("fac.py", FACTORY).serving(&["fac:native"]).argument("--factory");
    assert_eq!(site.behind_warm().start().get("/").text(), "native");
}

#[test]
fn what_cannot_be_an_app_is_said_when_it_is_loaded() {
    for (body, typed, parts) in [
        (
            FACTORY,
            "app:native",
            &["`native` takes no arguments, so it is not an app", "write `app:native()` or add --factory"][..],
        ),
        (
            "class Web:\n    def __call__(self, environ, start_response): pass\n",
            "app:Web",
            &["`Web` takes no arguments", "write `app:Web()`"],
        ),
        ("def app(request): pass\n", "app", &["`app` takes (request)", "(environ, start_response)"]),
        ("def app(a, b, c): pass\n", "app", &["`app` takes (a, b, c)", "(scope, receive, send)"]),
        ("async def app(request): pass\n", "app", &["an ASGI application takes (scope, receive, send)"]),
        (
            "class App:\n    def __init__(self, scope): pass\n    async def __call__(self, receive, send): pass\n",
            "app:App",
            &["`App` is an application of ASGI 2", "asgiref.compatibility.guarantee_single_callable(App)"],
        ),
        ("def app(scope): pass\n", "app", &["ASGI 2"]),
        (KENNEL, "--interface=wsgi", &["is not a WSGI application, but a App"]),
    ] {
        let typed = if typed.starts_with('-') { &[typed, "app"][..] } else { &[typed] };
        expect_error(&check(&[("app.py", body)], typed), parts);
    }
    // What takes more than it must, and what does not tell, is an app.
    for body in [
        "def app(environ, start_response, more=None): pass\n",
        "def app(*arguments): pass\n",
        "class Web:\n    def __call__(self, environ, start_response): pass\napp = Web()\n",
        "class app:\n    def __init__(self, environ, start_response): pass\n    def __iter__(self): return iter([b''])\n",
        "import functools\ndef app(n, environ, start_response): pass\napp = functools.partial(app, 1)\n",
        "import functools\ndef f(): pass\n@functools.wraps(f)\ndef app(environ, start_response): pass\n",
    ] {
        expect_fine(&check(&[("app.py", body)], &["app"]), "everything as WSGI");
    }
    for body in [
        "def app(scope, receive, send):\n    async def run(): pass\n    return run()\n",
        "class Endpoint:\n    def __init__(self, scope, receive, send): pass\n    def __await__(self): yield\napp = Endpoint\n",
        "class Web:\n    async def __call__(self, scope, receive, send): pass\napp = Web()\n",
    ] {
        expect_fine(&check(&[("app.py", body)], &["app"]), "everything as ASGI");
    }
}

#[test]
fn a_plain_function_of_asgis_three_parameters_is_asgi() {
    let app = "
def app(scope, receive, send):
    return answer(scope, send)
async def answer(scope, send):
    if scope['type'] == 'http':
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': b'plain'})
";
    let site = Site::module(app);
    assert_eq!(site.get("/").text(), "plain");
}

#[test]
fn an_app_that_keeps_sessions_in_memory_has_one_worker_unless_more_are_wanted() {
    let asgi = "async def app(scope, receive, send): pass\n";
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let native =
        if cores == 1 { "(1 worker, 1 route)".to_owned() } else { format!("({cores} workers, 1 route)") };
    for (body, said) in [(WSGI, "(1 worker, WSGI)"), (asgi, "(1 worker, ASGI)"), (KENNEL, &native)] {
        let site = Site::plan_module(body).workers(0).behind_warm().start();
        let line = site.log().expect("ready:");
        assert!(line.contains(&format!("app.py {said}")), "{line}");
    }
    let site = Site::plan_module(WSGI).workers(3).behind_warm().start();
    let line = site.log().expect("ready:");
    assert!(line.contains("app.py (3 workers, WSGI)"), "{line}");
    expect_fine(&check(&[("app.py", WSGI)], &["app.py"]), "everything as WSGI under /, 1 worker");
}

#[test]
fn a_modules_own_words_about_a_missing_module_come_first() {
    let own = "raise ModuleNotFoundError(\"install the extra: pip install 'shop[web]'\", name='json')\n";
    expect_error(
        &check(&[("app.py", own)], &["app.py"]),
        &["app.py:1: ", "install the extra: pip install 'shop[web]'"],
    );
    let finished = check(&[("app.py", own)], &["app.py"]);
    assert!(!finished.stderr.contains("may come with"), "{}", finished.stderr);
    let part = check(&[("app.py", "import json.nowhere\n")], &["app.py"]);
    expect_error(&part, &["no module `json.nowhere`", "`json` is there"]);
    assert!(!part.stderr.contains("pip install"), "{}", part.stderr);
    let relative = [("pkg/__init__.py", ""), ("pkg/web.py", "from . import x\n")];
    expect_error(&check(&relative, &["pkg/web.py"]), &["relative import", "`kennel run pkg.web`"]);
}

#[test]
fn a_record_is_logged_once_and_says_its_logger() {
    let app = "
import logging, sys
console = logging.StreamHandler()
logging.getLogger('django').addHandler(console)
logging.getLogger('apart').addHandler(logging.StreamHandler(sys.stdout))
logging.getLogger('apart').propagate = False
def app(environ, start_response):
    logging.getLogger('django.request').error('Internal Server Error: %s', environ['PATH_INFO'])
    logging.getLogger('apart').warning('by its own handler')
    logging.getLogger('shop').warning('sold out', stacklevel=1)
    start_response('200 OK', [])
    return [b'x']
";
    let site = Site::plan_module(app).behind_warm().workers(1).start();
    assert_eq!(site.get("/a").status, 200);
    let line = site.log().expect("Internal Server Error: /a");
    assert!(line.contains("ERROR") && line.contains(" logger=django.request"), "{line}");
    assert!(!line.contains("fields"), "{line}");
    site.log().expect("by its own handler");
    let line = site.log().expect("sold out");
    assert!(line.contains(" logger=shop"), "{line}");
    for text in ["Internal Server Error: /a", "by its own handler", "sold out"] {
        assert_eq!(site.log().count(text), 1, "{}", site.log().text());
    }
}

/// An app that counts each visitor's requests in its memory.
const COUNTER: &str = "
import os
seen = {}
def app(environ, start_response):
    key = environ['QUERY_STRING'] or environ.get('HTTP_COOKIE', '')
    seen[key] = seen.get(key, 0) + 1
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [b'[%d, %d]' % (os.getpid(), seen[key])]
";

#[test]
fn visitors_stay_with_their_worker_by_a_cookie() {
    let site = Site::plan_module(COUNTER).argument("--affinity=cookie").workers(3).behind_warm().start();
    assert!(site.log().expect("ready:").contains("(3 workers, WSGI, affinity cookie)"));
    let mut workers = std::collections::BTreeSet::new();
    for _ in 0..6 {
        let first = site.get("/");
        let cookie = first.header("set-cookie").and_then(|line| line.split(';').next()).expect("a cookie");
        assert!(cookie.starts_with("kennel-worker="), "{cookie}");
        let pid = first.json()[0].clone();
        workers.insert(pid.to_string());
        for _ in 0..4 {
            let next = site.send(request("GET", "/", &[("Cookie", cookie)], b""));
            assert_eq!((next.json()[0].clone(), next.header("set-cookie")), (pid.clone(), None));
        }
    }
    assert_eq!(workers.len(), 3, "visitors are spread");
}

#[test]
fn a_parameter_of_the_query_has_its_worker_before_and_after_a_reload() {
    let toml = "[[app]]\nsource = \"app.py\"\nworkers = 3\naffinity = \"query:room\"\n";
    let site = Site::plan_module(COUNTER).config(toml).configured_apps().behind_warm().start();
    assert!(site.log().expect("ready:").contains("affinity query:room"));
    for round in 0..2 {
        let mut workers = std::collections::BTreeSet::new();
        for room in 0..12 {
            for count in 1..=3 {
                let answer = site.get(&format!("/?room={room}")).json();
                workers.insert(answer[0].to_string());
                assert_eq!(answer[1], count, "room {room}, round {round}");
            }
        }
        assert!(workers.len() > 1, "{workers:?}");
        assert_eq!(site.kennel(&["reload"]).code, Some(0));
    }
}

#[test]
fn socket_io_polls_with_several_workers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/socketio");
    let python = venv::python(&folder.join("requirements.txt"));
    let (app, argument) = (folder.join("app.py"), format!("--python={}", python.display()));
    for transports in ["polling", "polling,websocket"] {
        let site = Site::plan_module("").serving(&[&app.display().to_string()]).argument(&argument);
        let site = site.argument("--affinity=cookie").workers(2).start();
        let mut clients = Command::new(&python);
        clients.arg(folder.join("clients.py")).arg(site.port().to_string()).arg(transports);
        let output = clients.output().expect("the clients can be started");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{transports}: {said}{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(site.log().count("ERROR"), 0, "{}", site.log().text());
        let mut client = site.client();
        client.send(get("/count"));
        assert_eq!(client.read().status, 200);
    }
}
