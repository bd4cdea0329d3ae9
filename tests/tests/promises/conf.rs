use mongrel2_conf::store;
use rusqlite::Connection;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::command::{self, Finished};
use tests::folder::Folder;
use tests::port::Port;
use tests::server::{Mongrel2, needs_mongrel2};
use tests::site::Site;

const SITE: &str = r#"
app = Handler(send_spec='tcp://127.0.0.1:9997', send_ident='app-1',
              recv_spec='tcp://127.0.0.1:9996', recv_ident='app-', protocol='tnetstring')
files = Dir(base='public/', index_file='index.html', default_ctype='text/plain', cache_ttl=5)
main = Server(
    uuid='2f62bd5a', name='main', port=6767, default_host='localhost', chroot='',
    access_log='logs/access.log', error_log='logs/error.log', pid_file='run/mongrel2.pid',
    hosts=[
        Host(name='localhost', routes={'/': app, '/files/': files, '/api/([0-9]+)$': app}),
        Host(name='www', matching='example.com', routes={'/': files})
    ])
other = Server(
    uuid='91aa', name='other', port=6768, default_host='localhost',
    access_log='logs/access2.log', error_log='logs/error2.log', pid_file='run/other.pid',
    hosts=[Host(name='localhost', routes={'/': Proxy(addr='127.0.0.1', port=8080)})])
settings = {'limits.min_ping': 30, 'server.daemonize': 0}
servers = [main, other]
"#;

fn loaded() -> Folder {
    let folder = Folder::new();
    folder.write("site.conf", SITE);
    let finished = conf(&folder, &["load", "site.conf"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    folder
}

fn conf(folder: &Folder, arguments: &[&str]) -> Finished {
    command::run(folder.path(), [&["conf"], arguments].concat())
}

/// What a command prints as JSON.
fn json(folder: &Folder, arguments: &[&str]) -> Value {
    let finished = conf(folder, &[arguments, &["--json"]].concat());
    assert_eq!(finished.code, Some(0), "{arguments:?}: {}", finished.stderr);
    serde_json::from_str(&finished.stdout).unwrap_or_else(|e| panic!("{e}: {}", finished.stdout))
}

/// The lines of a listing, header and all, with single blanks.
fn listing(folder: &Folder, arguments: &[&str]) -> Vec<String> {
    let finished = conf(folder, arguments);
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    finished.stdout.lines().map(line).collect()
}

#[test]
fn load_makes_the_database_and_says_how_much_is_in_it() {
    let folder = Folder::new();
    folder.write("site.conf", SITE);
    let finished = conf(&folder, &["load", "site.conf"]);
    assert_eq!(finished.stdout, "made config.sqlite: 2 servers, 3 hosts, 5 routes\n");
    let finished = conf(&folder, &["load", "--db", "config.sqlite", "site.conf"]);
    assert_eq!(
        finished.stdout,
        "replaced config.sqlite: 2 servers, 3 hosts, 5 routes\na mongrel2 that runs with it reads it when it is started again\n"
    );
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 2, "nothing else is left");
}

#[test]
fn a_broken_file_leaves_the_database_as_it_was_byte_for_byte() {
    let folder = loaded();
    let db = folder.path().join("config.sqlite");
    let before = fs::read(&db).expect("the database");
    let broken = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mongrel2-conf/tests/broken");
    let mut files: Vec<PathBuf> = fs::read_dir(broken)
        .expect("the broken files")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    files.sort();
    let mut refused = 0;
    for file in files {
        let name = file.display().to_string();
        let finished = conf(&folder, &["load", &name]);
        if finished.code == Some(0) {
            // Files about warnings alone do load.
            let checked = conf(&folder, &["check", &name]);
            assert_eq!(checked.code, Some(0), "{name}");
            assert!(!finished.stderr.is_empty(), "{name}: nothing was said");
            fs::write(&db, &before).expect("the database");
            continue;
        }
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(2), ""), "{name}: {}", finished.stderr);
        let first = finished.stderr.lines().next().unwrap_or_default();
        let place = first.strip_prefix(&*name).unwrap_or_else(|| {
            // What is wrong may be in a file that it includes.
            first.split_once(".conf").unwrap_or_else(|| panic!("{name}: {first}")).1
        });
        let numbers: Vec<_> = place.trim_start_matches(':').splitn(3, ':').collect();
        assert!(
            numbers.len() == 3 && numbers[..2].iter().all(|n| n.parse::<u32>().is_ok()),
            "{name}: {first}"
        );
        assert!(finished.stderr.contains("error: "), "{name}: {}", finished.stderr);
        assert!(!finished.stderr.contains('\u{1b}'), "no colours but on a terminal");
        assert!(fs::read(&db).expect("the database") == before, "{name} changed the database");
        assert_eq!(conf(&folder, &["check", &name]).code, Some(2), "{name}");
        refused += 1;
    }
    assert!(refused >= 40, "{refused} broken files");
}

#[test]
fn check_says_what_is_wrong_to_people_and_machines() {
    let folder = Folder::new();
    folder.write("site.conf", SITE);
    let finished = conf(&folder, &["check", "site.conf"]);
    assert_eq!(finished.stdout, "site.conf: fine, 2 servers, 3 hosts, 5 routes\n");
    folder.write("wrong.conf", SITE.replace("hosts=[Host(", "hostz=[Host("));
    let finished = conf(&folder, &["check", "wrong.conf"]);
    assert_eq!(finished.code, Some(2));
    let warning = "wrong.conf:15:5: warning: a Server has no attribute `hostz`";
    assert!(finished.stderr.contains(warning), "{}", finished.stderr);
    assert!(finished.stderr.contains("did you mean `hosts`?"), "{}", finished.stderr);
    assert!(finished.stderr.ends_with("error: 1 error in `wrong.conf`\n"), "{}", finished.stderr);
    let finished = conf(&folder, &["check", "--json", "wrong.conf"]);
    assert_eq!(finished.code, Some(2));
    let list: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    let hostz = list.as_array().expect("a list").iter().find(|one| one["name"] == "unknown-attribute");
    let hostz = hostz.expect("it is among them");
    assert_eq!((&hostz["line"], &hostz["column"]), (&15.into(), &5.into()), "{list}");
    let finished = conf(&folder, &["check", "nowhere.conf"]);
    assert_eq!(finished.code, Some(2));
    assert_eq!(finished.stderr, "error: cannot read `nowhere.conf`: there is no such file\n");
    let finished = conf(&folder, &["load", "nowhere.conf"]);
    assert_eq!(finished.code, Some(2));
    assert!(!folder.path().join("config.sqlite").exists());
}

#[test]
fn servers_hosts_and_routes_are_listed_for_one_or_all() {
    let folder = loaded();
    assert_eq!(
        listing(&folder, &["servers"]),
        [
            "NAME DEFAULT HOST UUID ADDRESS TLS",
            "main localhost 2f62bd5a 0.0.0.0:6767 no",
            "other localhost 91aa 0.0.0.0:6768 no",
        ]
    );
    assert_eq!(
        listing(&folder, &["hosts"]),
        [
            "ID SERVER HOST MATCHING ROUTES",
            "1 main localhost localhost 3",
            "2 main www example.com 1",
            "3 other localhost localhost 1",
        ]
    );
    assert_eq!(listing(&folder, &["hosts", "--server", "91aa"]).len(), 2, "by uuid");
    assert_eq!(
        listing(&folder, &["routes", "--server", "main", "--host", "localhost"]),
        [
            "SERVER HOST ROUTE TARGET",
            "main localhost / Handler app-1 at tcp://127.0.0.1:9997",
            "main localhost /files/ Dir public/",
            "main localhost /api/([0-9]+)$ Handler app-1 at tcp://127.0.0.1:9997",
        ]
    );
    assert_eq!(listing(&folder, &["routes", "--id", "3"])[1], "other localhost / Proxy 127.0.0.1:8080");
    assert_eq!(listing(&folder, &["routes"]).len(), 6);
    let routes = json(&folder, &["routes", "--host", "www"]);
    assert_eq!(routes[0]["target"]["base"], "public/");
    assert_eq!(json(&folder, &["servers"])[1]["port"], 6768);
    assert_eq!(json(&folder, &["hosts"])[1]["matching"], "example.com");
}

#[test]
fn settings_and_mimetypes_are_listed() {
    let folder = loaded();
    let mut settings = listing(&folder, &["settings"]);
    settings.sort();
    assert_eq!(settings, ["KEY VALUE", "limits.min_ping 30", "server.daemonize 0"]);
    let types = listing(&folder, &["mimetypes"]);
    assert_eq!(types.len(), 858);
    assert!(types.contains(&".png image/png".to_owned()));
    assert_eq!(json(&folder, &["mimetypes"]).as_array().map(Vec::len), Some(857));
    assert_eq!(json(&folder, &["settings"])[0]["key"].as_str().map(str::len), Some("limits.min_ping".len()));
}

#[test]
fn an_unknown_name_is_an_error_that_says_which_there_are() {
    let folder = loaded();
    let finished = conf(&folder, &["hosts", "--server", "mian"]);
    assert_eq!(finished.code, Some(2));
    assert_eq!(finished.stderr, "error: no server `mian` in `config.sqlite`: there is `main`, `other`\n");
    let finished = conf(&folder, &["routes", "--server", "main", "--host", "w"]);
    assert_eq!(finished.stderr, "error: no host `w` in `config.sqlite`: there is `localhost`, `www`\n");
    assert_eq!(conf(&folder, &["routes", "--id", "77"]).code, Some(2));
}

#[test]
fn without_a_database_every_command_says_so_and_makes_none() {
    let folder = Folder::new();
    for arguments in [
        &["print"][..],
        &["servers"],
        &["hosts"],
        &["routes"],
        &["route", "--path", "/"],
        &["settings"],
        &["mimetypes"],
        &["log"],
        &["commit", "--what", "x"],
    ] {
        let finished = conf(&folder, arguments);
        assert_eq!(finished.code, Some(2), "{arguments:?}");
        assert!(
            finished.stderr.starts_with("error: there is no database `config.sqlite`; "),
            "{}",
            finished.stderr
        );
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0, "{arguments:?}");
    }
    folder.write("other.txt", "text");
    let finished = conf(&folder, &["servers", "--db", "other.txt"]);
    assert_eq!(finished.code, Some(2));
    assert_eq!(finished.stderr, "error: `other.txt` is not a database, so it is left alone\n");
}

#[test]
fn a_path_leads_to_the_route_that_mongrel2_would_take() {
    let folder = loaded();
    let route = |path: &str| json(&folder, &["route", "--server", "main", "--path", path])[0]["path"].clone();
    assert_eq!(route("/"), "/");
    assert_eq!(route("/files/a.png"), "/files/");
    assert_eq!(route("/api/12"), "/api/([0-9]+)$");
    assert_eq!(route("/other"), "/");
    let host = ["route", "--server", "main", "--path", "/x", "--host", "www.example.com:80"];
    assert_eq!(json(&folder, &host)[0]["host"], "www");
    let finished = conf(&folder, &["route", "--server", "main", "--path", "/api/12a"]);
    assert_eq!(finished.code, Some(1), "no shorter route is tried: {}", finished.stdout);
    let finished = conf(&folder, &["route", "--path", "/api/12", "--pattern", "/api/([0-9]+)$"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let finished = conf(&folder, &["route", "--path", "/api/x", "--pattern", "/api/([0-9]+)$"]);
    assert_eq!(finished.code, Some(1), "{}", finished.stdout);
}

#[test]
fn what_cannot_be_meant_is_told_before_it_is_tried() {
    let folder = loaded();
    for (arguments, said) in [
        (&["load", "config.sqlite"][..], "this is a database, not a configuration file [no-text]"),
        (&["route", "--path", "chat"], "error: `chat` cannot be a path: requests begin with `/`"),
        (&["route", "--path", "/", "--pattern", "x"], "error: `x` cannot be a path"),
        (
            &["route", "--path", "/", "--pattern", "/x([a)"],
            "error: `/x([a)`: the `[` in the pattern has no `]`",
        ),
        (&["diff", "nowhere", "site.conf"], "error: cannot read `nowhere`: there is no such file"),
        (
            &["diff", "--db", "nowhere", "site.conf"],
            "error: there is no database `nowhere`; `kennel conf load",
        ),
    ] {
        let finished = conf(&folder, arguments);
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(finished.stderr.contains(said), "{arguments:?}: {}", finished.stderr);
        assert!(finished.stderr.lines().count() < 7, "{}", finished.stderr);
    }
    let odd = conf(&folder, &["route", "--path", "/a", "--pattern", "/(a|b)"]);
    assert!(odd.stderr.starts_with("warning: `|` means the character: "), "{}", odd.stderr);
}

#[test]
fn diff_says_what_loading_would_change() {
    let folder = loaded();
    assert_eq!(conf(&folder, &["diff", "site.conf"]).code, Some(0));
    let changed =
        SITE.replace("port=6768", "port=6769").replace("'/files/': files, ", "").replace(": 30", ": 60");
    folder.write("new.conf", changed);
    let finished = conf(&folder, &["diff", "new.conf"]);
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let expected = "\
- config.sqlite
+ new.conf
  server 2f62bd5a
    host localhost
-     route /files/: Dir public/
  server 91aa
-   port: 6768
+   port: 6769
- setting limits.min_ping: 30
+ setting limits.min_ping: 60
";
    assert_eq!(finished.stdout, expected);
    let finished = conf(&folder, &["diff", "--json", "site.conf", "new.conf"]);
    assert_eq!(finished.code, Some(1));
    let list: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    assert_eq!(list[1]["field"], "port");
    assert_eq!((&list[0]["route"], &list[0]["new"]), (&"/files/".into(), &Value::Null));
    assert_eq!(conf(&folder, &["diff", "site.conf", "nowhere.sqlite"]).code, Some(2));
}

#[test]
fn what_is_printed_loads_to_the_same_database() {
    let folder = loaded();
    let printed = conf(&folder, &["print"]);
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
    folder.write("printed.conf", &printed.stdout);
    let finished = conf(&folder, &["load", "--db", "again.sqlite", "printed.conf"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let read = |name: &str| store::read(&folder.path().join(name)).expect("a database").config;
    assert_eq!(read("config.sqlite"), read("again.sqlite"));
    assert_eq!(conf(&folder, &["diff", "config.sqlite", "again.sqlite"]).stdout, "");
}

#[test]
fn the_log_tells_of_loads_and_commits() {
    let folder = Folder::new();
    folder.write("site.conf", SITE);
    let run = |arguments: &[&str]| {
        let mut command = command::command(folder.path(), [&["conf"], arguments].concat());
        command.env("LOGNAME", "ada");
        let finished = command::finish(command, b"");
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    };
    run(&["load", "site.conf"]);
    run(&["commit", "--what", "port 80", "--why", "the old site is gone", "--where", "here"]);
    run(&["load", "--why", "again", "site.conf"]);
    let log = json(&folder, &["log"]);
    let column = |name: &str| -> Vec<&str> {
        log.as_array().expect("rows").iter().map(|row| row[name].as_str().expect("text")).collect()
    };
    assert_eq!(column("what"), ["load", "port 80", "load"]);
    assert_eq!(column("how"), ["site.conf", "kennel", "site.conf"]);
    assert_eq!(column("why"), ["command", "the old site is gone", "again"]);
    assert_eq!(column("location")[1], "here");
    // Behind a login it is that name, as for m2sh.
    let no_login = fs::read_to_string("/proc/self/loginuid").map_or(true, |uid| uid.trim() == "4294967295");
    if no_login {
        assert_eq!(column("who"), ["ada", "ada", "ada"]);
    }
    assert_eq!(listing(&folder, &["log"])[0], "WHEN (UTC) WHO WHERE WHAT HOW WHY");
}

#[test]
fn the_log_is_kept_as_m2sh_keeps_it() {
    if !needs_mongrel2() {
        return;
    }
    let folder = Folder::new();
    folder.write("site.conf", SITE);
    let load = |db: &str| {
        let mut command = command::command(folder.path(), ["conf", "load", "--db", db, "site.conf"]);
        command.env("LOGNAME", "ada");
        assert_eq!(command::finish(command, b"").code, Some(0));
    };
    let load_by_m2sh = |db: &str| {
        let mut command = Command::new("m2sh");
        command.args(["load", "-config", "site.conf", "-db", db]);
        let output = command.current_dir(folder.path()).env("LOGNAME", "ada").output();
        assert!(output.expect("this test needs m2sh").status.success());
    };
    let rows = |db: &str| -> Vec<[Option<String>; 5]> {
        let db = Connection::open(folder.path().join(db)).expect("a database");
        let mut query =
            db.prepare("SELECT who, what, location, how, why FROM log ORDER BY id").expect("a log");
        let row =
            |row: &rusqlite::Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?]);
        query.query_map([], row).expect("rows").map(|row| row.expect("texts")).collect()
    };
    load("ours.sqlite");
    load_by_m2sh("theirs.sqlite");
    assert_eq!(rows("ours.sqlite"), rows("theirs.sqlite"));
    // Each goes on with the other's.
    load("theirs.sqlite");
    load_by_m2sh("ours.sqlite");
    for db in ["ours.sqlite", "theirs.sqlite"] {
        let rows = rows(db);
        assert_eq!((rows.len(), &rows[0]), (2, &rows[1]), "{db}");
    }
}

#[test]
fn a_real_mongrel2_serves_what_was_loaded() {
    let (folder, port) = (Folder::new(), Port::free());
    let at = folder.path().display();
    let (send, recv) = (format!("ipc://{at}/requests"), format!("ipc://{at}/replies"));
    folder.write(
        "site.conf",
        format!(
            "servers = [Server(uuid='site', name='site', port={}, bind_addr='127.0.0.1', chroot='',
                default_host='localhost', access_log='{at}/access.log', error_log='{at}/error.log',
                pid_file='{at}/mongrel2.pid', control_port='ipc://{at}/control',
                hosts=[Host(name='localhost', routes={{
                    '/': Handler(send_spec='{send}', send_ident='site', recv_spec='{recv}', recv_ident=''),
                    '/files/': Dir(base='{at}/public/', index_file='index.html', default_ctype='text/plain')
                }})])]
            mimetypes = {{'.mine': 'text/x-mine'}}
            settings = {{'server.daemonize': 0}}\n",
            port.number(),
        ),
    );
    folder.write("public/hello.mine", "from a Dir");
    let finished = conf(&folder, &["load", "site.conf"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let mut server = Mongrel2::on_database(folder, port, "site", vec![(send, recv)]);
    server.start_again();
    let site =
        Site::plan(r#"app:get("/hello", function() return "from a Handler" end)"#).behind(&server).start();
    assert_eq!(site.get("/hello").text(), "from a Handler");
    let file = site.get("/files/hello.mine");
    assert_eq!(file.text(), "from a Dir");
    assert_eq!(file.header("content-type"), Some("text/x-mine"), "a type that m2sh would lose");
}

#[test]
fn help_of_every_conf_command_ends_with_examples() {
    let folder = Folder::new();
    let help = conf(&folder, &["--help"]);
    for name in [
        "load",
        "check",
        "print",
        "diff",
        "servers",
        "hosts",
        "routes",
        "route",
        "settings",
        "mimetypes",
        "log",
        "commit",
    ] {
        assert!(help.stdout.contains(&format!("\n  {name} ")), "{name}: {}", help.stdout);
        let finished = conf(&folder, &[name, "--help"]);
        assert_eq!(finished.code, Some(0), "{name}");
        let (_, examples) = finished.stdout.split_once("Examples:\n").expect("examples");
        assert!(examples.contains(&format!("kennel conf {name}")), "{name}: {examples}");
    }
}
