//! What is typed wrong, and what is said about it: the exit code, what is wrong, where, and what to do.

use std::sync::atomic::{AtomicUsize, Ordering};
use tests::command;
use tests::folder::Folder;

/// A wrong input: its files, what is typed, and words of the answer. It ends with 2.
struct Wrong {
    files: &'static [(&'static str, &'static str)],
    typed: &'static [&'static str],
    said: &'static [&'static str],
}

/// With the files of a folder in which everything is fine.
const fn typed(typed: &'static [&'static str], said: &'static [&'static str]) -> Wrong {
    Wrong { files: &[], typed, said }
}

/// With a `kennel.toml`; `kennel check` is enough to see what is wrong with it.
const fn toml(text: &'static [(&'static str, &'static str)], said: &'static [&'static str]) -> Wrong {
    Wrong { files: text, typed: &["check"], said }
}

/// With a script.
const fn lua(file: &'static [(&'static str, &'static str)], said: &'static [&'static str]) -> Wrong {
    Wrong { files: file, typed: &["check", "wrong.lua"], said }
}

const fn python(file: &'static [(&'static str, &'static str)], said: &'static [&'static str]) -> Wrong {
    Wrong { files: file, typed: &["check", "wrong.py"], said }
}

macro_rules! settings {
    ($text:literal, $($said:literal),+) => {
        toml(&[("kennel.toml", $text)], &["kennel.toml:", $($said),+])
    };
}

macro_rules! script {
    (lua $text:literal, $($said:literal),+) => {
        lua(&[("wrong.lua", concat!("local kennel = require('kennel')\nlocal app = kennel.app()\n", $text, "\nreturn app\n"))], &[$($said),+])
    };
    (python $text:literal, $($said:literal),+) => {
        python(&[("wrong.py", concat!("import kennel\napp = kennel.App()\n", $text, "\n"))], &[$($said),+])
    };
}

/// Command lines.
const TYPED: &[Wrong] = &[
    typed(&["rnu", "app.lua"], &["`rnu` is not a command", "did you mean `kennel run`?"]),
    typed(&["serve", "app.lua"], &["serve", "did you mean `kennel run`?"]),
    typed(&["version"], &["did you mean `kennel --version`?"]),
    typed(&["init", "shop"], &["did you mean `kennel new`?"]),
    typed(&["status"], &["did you mean `kennel console -c stats`?"]),
    typed(&["frobnicate"], &["frobnicate", "`kennel --help` lists them"]),
    typed(&["run", "--port", "8080", "app.lua"], &["--port", "write --listen 127.0.0.1:8080"]),
    typed(&["run", "-p", "8080", "app.lua"], &["-p", "write --listen 127.0.0.1:8080"]),
    typed(&["dev", "--host", "0.0.0.0", "app.lua"], &["--host", "--listen 0.0.0.0:8080"]),
    typed(&["run", "--reload", "app.lua"], &["--reload", "`kennel dev`"]),
    typed(
        &["run", "--wrokers", "2", "app.lua"],
        &["`--wrokers` is not a flag of `kennel run`", "did you mean `--workers`?"],
    ),
    typed(
        &["run", "--listen", "8080", "app.lua"],
        &["`8080`", "write 127.0.0.1:8080 for this machine alone"],
    ),
    typed(&["run", "--listen", ":8080", "app.lua"], &["`:8080`", "or 0.0.0.0:8080 for all networks"]),
    typed(&["run", "--listen", "127.0.0.1:99999", "app.lua"], &["127.0.0.1:99999", "up to 65535"]),
    typed(&["run", "--listen", "127.0.0.1:0", "app.lua"], &["127.0.0.1:0", "write one"]),
    typed(&["run", "--listen", "localhost", "app.lua"], &["`localhost` has no port", "localhost:6767"]),
    typed(&["run", "--listen", "http://127.0.0.1:80", "app.lua"], &["is a URL", "ADDRESS:PORT"]),
    typed(&["run", "--listen", "::1", "app.lua"], &["write [::1]:6767"]),
    typed(&["run", "--metrics", "9464", "app.lua"], &["`9464`", "127.0.0.1:9464"]),
    typed(&["run", "--workers", "0", "app.lua"], &["--workers", "a whole number from 1 to 256"]),
    typed(&["run", "--workers", "many", "app.lua"], &["many", "a whole number from 1 to 256"]),
    typed(&["run", "--threads", "1000", "app.lua"], &["--threads", "from 1 to 256"]),
    typed(&["run", "--interface", "cgi", "app.py"], &["--interface", "asgi or wsgi"]),
    typed(
        &["run", "--log-level", "loud", "app.lua"],
        &["--log-level", "write debug or info or warn or error"],
    ),
    typed(
        &["dev", "--allow-host", "http://a.example", "app.lua"],
        &["--allow-host", "without scheme and port"],
    ),
    typed(&["run", "--allow-host", "a.example", "app.lua"], &["--allow-host"]),
    typed(&["run", "--server", "main", "app.lua"], &["--mongrel2"]),
    typed(&["run", "--send-spec", "tcp://127.0.0.1:9999", "app.lua"], &["--send-spec", "pairs"]),
    typed(&["run"], &["no app to serve", "kennel run app.lua"]),
    typed(&["run", "ap.lua"], &["cannot serve `ap.lua`", "did you mean `app.lua`?"]),
    typed(&["run", "app.lau"], &["cannot serve `app.lau`", "did you mean `app.lua`?"]),
    typed(&["dev", "app.lau"], &["cannot serve `app.lau`", "did you mean `app.lua`?"]),
    typed(&["check", "app.lau"], &["cannot serve `app.lau`", "did you mean `app.lua`?"]),
    typed(&["routes", "app.lau"], &["cannot serve `app.lau`", "did you mean `app.lua`?"]),
    typed(&["test", "app.lau"], &["`app.lau`", "did you mean `app.lua`?"]),
    typed(&["run", "app.yp:app"], &["did you mean `app.py:app`?"]),
    typed(&["run", "server.js"], &["cannot serve `server.js`", "scripts end in `.lua` or `.py`"]),
    typed(&["run", "--listen"], &["`--listen <ADDR:PORT>` needs a value"]),
    typed(&["run", "--listen=127.0.0.1:1", "--listen=127.0.0.1:2"], &["is there twice"]),
    typed(&["check", "--strict=yes"], &["`--strict` takes no value"]),
    typed(&["conf", "chek"], &["did you mean `kennel conf check`?"]),
    typed(&["help", "rnu"], &["did you mean `kennel run`?"]),
    typed(&["new"], &["`kennel new` needs `<DIR>`", "`kennel new --help`"]),
    typed(&["start", "now"], &["`now` is more than `kennel start` takes"]),
    typed(&["run", "nowhere/app.lua"], &["nor a folder `nowhere`"]),
    typed(&["run", "app.lua:app"], &["leave out what is behind the colon"]),
    typed(&["run", "notes.txt"], &["notes.txt", "chmod +x notes.txt"]),
    typed(&["run", "."], &["directory", "handlers"]),
    typed(&["run", "app.lua", "app.lua"], &["app.lua", "the same mount `/`", "another `mount`"]),
    typed(&["run", "--config", "other.toml", "app.lua"], &["cannot read `other.toml`", "no such file"]),
    typed(&["run", "--mongrel2", "none.sqlite", "app.lua"], &["none.sqlite", "kennel conf load"]),
    typed(&["reload", "--pid", "x"], &["--pid", "write a whole number"]),
    typed(&["test", "--timeout", "soon"], &["--timeout", "a number of seconds"]),
    typed(&["conf", "load", "-config", "a.conf"], &["kennel conf load site.conf"]),
    typed(&["conf", "load", "-db", "x", "a.conf"], &["two dashes: --db"]),
    typed(&["conf", "routes", "--id", "one"], &["--id", "write a whole number"]),
    typed(&["conf", "load", "none.conf"], &["cannot read `none.conf`", "no such file"]),
    typed(&["ctl", "kill", "x"], &["write a whole number"]),
    typed(&["new", "."], &["is not empty", "kennel new"]),
    typed(&["completions", "cmd"], &["cmd", "bash"]),
];

/// `kennel.toml`.
const SETTINGS: &[Wrong] = &[
    settings!("[app]\nsource = \"app.lua\"\n", "1:1", "write `[[app]]`"),
    settings!("[mongrel2]\nsend_spec = \"ipc://x\"\n", "1:1", "write `[[mongrel2]]`"),
    settings!("[[limits]]\nqueue = 1\n", "1:", "write `[limits]`"),
    settings!("lisen = \"127.0.0.1:80\"\n", "1:1", "unknown key `lisen`", "did you mean `listen`?"),
    settings!("[cgi]\nx = 1\n", "2:1", "unknown key `x`; known here: enabled"),
    settings!("listen = 8080\n", "1:10", "the number 8080", "a text in quotes"),
    settings!("listen = \"8080\"\n", "1:10", "write 127.0.0.1:8080"),
    settings!("listen = \"127.0.0.1:0\"\n[[app]]\nsource = \"app.lua\"\n", "1:10", "does not choose a port"),
    settings!("[metrics]\nlisten = \"9464\"\n", "2:10", "write 127.0.0.1:9464"),
    settings!("flow_control = \"yes\"\n", "1:16", "the text \"yes\"", "true or false"),
    settings!("uploads = \"disk\"\n", "1:11", "`disk`", "\"file\" or \"stream\""),
    settings!("[[app]]\n", "1:1", "`source` is missing"),
    settings!("[[app]]\nsource = \"nope.lua\"\n", "2:10", "cannot serve `nope.lua`", "no such file"),
    settings!(
        "[[app]]\nsource = \"app.lua\"\nmount = \"shop\"\n",
        "3:9",
        "begin with `/`",
        "write \"/shop\""
    ),
    settings!(
        "[[app]]\nsource = \"app.lua\"\nworkers = \"two\"\n",
        "3:11",
        "the text \"two\"",
        "a whole number"
    ),
    settings!("[[app]]\nsource = \"app.lua\"\nworkers = 0\n", "3:11", "from 1 to 256"),
    settings!("[[app]]\nsource = \"app.lua\"\ninterface = \"fcgi\"\n", "3:13", "`fcgi`", "\"asgi\""),
    settings!("[limits]\nscript_time = \"soon\"\n", "2:15", "`soon` is not a duration", "\"30s\""),
    settings!("[limits]\nqueue = \"lots\"\n", "2:9", "not a size"),
    settings!("[limits]\nqueue = -1\n", "2:9", "above 0"),
    settings!("[limits]\nrequest_timeuot = 1\n", "2:1", "did you mean `request_timeout`?"),
    settings!("[limits\n", "1:", "]"),
    settings!("listen = \"127.0.0.1:80\nx = 1\n", "1:"),
    settings!("[[mongrel2]]\nsend_spec = \"ipc://x\"\n", "1:1", "`recv_spec` is missing"),
    settings!("[[mongrel2]]\nsend_spec = \"udp://x:1\"\nrecv_spec = \"ipc://y\"\n", "2:13", "`udp://x:1`"),
    settings!("[console]\nsocket = 1\n", "2:10", "a text in quotes"),
];

/// Scripts.
const SCRIPTS: &[Wrong] = &[
    script!(lua "app:get('/', function( return 1 end)", "wrong.lua:3:"),
    script!(lua "app.get('/', function() return 1 end)", "wrong.lua:3: call it with a colon: app:get(...)"),
    script!(lua "app:gett('/', function() return 1 end)", "wrong.lua:3:", "did you mean `get`?"),
    script!(lua "app:get('users', function() return 1 end)", "wrong.lua:3:", "must begin with `/`"),
    script!(lua "app:get('/:id', function() return 1 end)", "wrong.lua:3:", "write `{name}`"),
    script!(lua "app:get('/', 'x')", "wrong.lua:3:", "function"),
    script!(lua "app:get('/a', print)\napp:get('/a', print)", "wrong.lua:4:", "wrong.lua:3"),
    script!(lua "require 'nowhere'", "wrong.lua:3:", "nowhere"),
    script!(lua "error('not today')", "wrong.lua:3: not today"),
    script!(lua "os.exit(0)", "wrong.lua:3: ", "died while it loaded the script (exit status: 0)", "end its process?"),
    lua(&[("wrong.lua", "print('hello')\n")], &["wrong.lua", "return app", "wrong.lua prints: hello"]),
    script!(python "@app.get('/')\ndef root(: pass", "wrong.py:4:", "SyntaxError"),
    script!(python "@app.get('/')\ndef root(): return 1", "wrong.py:", "must take (req)"),
    script!(python "@app.get('/<id>')\ndef user(req): return 1", "wrong.py:", "`<id>`", "write `{name}`"),
    script!(python "@app.gett('/')\ndef root(req): return 1", "wrong.py:3:", "did you mean `get`?"),
    script!(python "import nowhere", "wrong.py:3:", "nowhere", "pip install nowhere"),
    script!(python "raise RuntimeError('not today')", "wrong.py:3: RuntimeError: not today"),
    script!(python "import os; os._exit(3)", "wrong.py:", "exit status: 3"),
    python(&[("wrong.py", "x = 1\n")], &["wrong.py", "app"]),
];

/// Words of libraries and of the system, which tell nobody what to do.
const JARGON: [&str; 19] = [
    "unrecognized",
    "subcommand",
    "tip:",
    "For more information",
    "panicked",
    "Os {",
    "os error",
    "RUST_BACKTRACE",
    "[kennel]",
    "anyhow",
    "expected i64",
    "unknown variant",
    "unknown field",
    "invalid type",
    "invalid digit",
    "is not in 1..",
    "Error code",
    "use '-- ",
    "untagged",
];

fn look(wrong: &Wrong) -> Result<(), String> {
    let folder = Folder::new();
    let fine = "local app = require('kennel').app()\napp:get('/', function() return 'x' end)\nreturn app\n";
    for (name, text) in
        [("app.lua", fine), ("app.py", "import kennel\napp = kennel.App()\n"), ("notes.txt", "x")]
    {
        folder.write(name, text);
    }
    for (name, text) in wrong.files {
        folder.write(name, text);
    }
    let finished = command::run(folder.path(), wrong.typed);
    let (typed, files, text) = (wrong.typed, wrong.files, &finished.stderr);
    let missing =
        wrong.said.iter().find(|said| !text.contains(**said)).map(|said| format!("`{said}` is missing"));
    let jargon = JARGON.iter().find(|word| text.contains(**word)).map(|word| format!("`{word}` is jargon"));
    let code = (finished.code != Some(2)).then(|| format!("it ends with {:?}", finished.code));
    let error = (!text.contains("error:")).then(|| "no `error:`".to_owned());
    match missing.or(jargon).or(code).or(error) {
        Some(problem) => Err(format!("kennel {typed:?} {files:?}: {problem}:\n{text}")),
        None => Ok(()),
    }
}

/// Looks at all of them, two at a time; says all that is wrong.
fn look_at_all(all: &[Wrong]) {
    let (next, mut problems) = (AtomicUsize::new(0), Vec::new());
    let work = || -> Vec<String> {
        let mine = std::iter::from_fn(|| all.get(next.fetch_add(1, Ordering::Relaxed)));
        mine.filter_map(|wrong| look(wrong).err()).collect()
    };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        for thread in threads {
            problems.extend(thread.join().expect("nothing panics there"));
        }
    });
    assert!(problems.is_empty(), "{} of {}:\n{}", problems.len(), all.len(), problems.join("\n"));
}

#[test]
fn wrong_command_lines_are_answered_with_what_to_type() {
    look_at_all(TYPED);
}

#[test]
fn wrong_settings_are_answered_with_their_place() {
    look_at_all(SETTINGS);
}

#[test]
fn wrong_scripts_are_answered_with_their_line() {
    look_at_all(SCRIPTS);
}

/// What is not wrong, but has no effect, or not the one that was meant: it is told, and `--strict` refuses it.
#[test]
fn what_has_no_effect_is_told() {
    let app = ("app.lua", "local app = require('kennel').app()\napp:get('/', print)\nreturn app\n");
    for (files, variable, typed, said) in [
        (vec![app], None, vec!["check", "--threads", "8", "app.lua"], "--threads has no effect"),
        (vec![app], None, vec!["check", "--interface", "wsgi", "app.lua"], "--interface has no effect"),
        (vec![app], None, vec!["check", "--python", "/nothere", "app.lua"], "none of the apps is in Python"),
        (vec![app], Some("KENNEL_WORKRES"), vec!["check", "app.lua"], "did you mean KENNEL_WORKERS?"),
        (
            vec![app, ("kennel.toml", "[[app]]\nsource = \"app.lua\"\nthreads = 2\n")],
            None,
            vec!["check"],
            "`threads` of `app.lua` in kennel.toml has no effect: it is for apps in Python",
        ),
        (
            vec![app, ("kennel.toml", "[[app]]\nsource = \"app.lua\"\nat_once = 2\n")],
            None,
            vec!["check"],
            "it is for programs",
        ),
        (vec![app, ("kennel.toml", "[cgi]\nat_once = 2\n")], None, vec!["check", "app.lua"], "CGI is off"),
        (
            vec![
                app,
                (
                    "kennel.toml",
                    "uploads = \"file\"\n[[mongrel2]]\nsend_spec = \"ipc://x\"\nrecv_spec = \"ipc://y\"\n",
                ),
            ],
            None,
            vec!["check", "app.lua"],
            "`uploads` in kennel.toml has no effect",
        ),
        (
            vec![("app.lua", "return require('kennel').app()\n")],
            None,
            vec!["check", "app.lua"],
            "it loads, but has no routes and no channels",
        ),
    ] {
        let folder = Folder::new();
        for (name, text) in &files {
            folder.write(name, text);
        }
        for strict in [false, true] {
            let mut command = command::command(folder.path(), &typed);
            command.args(strict.then_some("--strict")).envs(variable.map(|name| (name, "4")));
            let finished = command::finish(command, b"");
            let text = &finished.stderr;
            assert_eq!(finished.code, Some(if strict { 2 } else { 0 }), "{typed:?}: {text}");
            assert!(text.contains("warning: ") && text.contains(said), "{typed:?}: no `{said}` in {text}");
        }
    }
}
