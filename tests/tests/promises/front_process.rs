use mongrel2_conf::model::{Config, Dir, Handler, Host, Protocol, Route, Server, Target};
use mongrel2_conf::{mimetypes, store};
use std::os::unix::fs::{chown, symlink};
use std::process::{Child, Stdio};
use tests::client::Client;
use tests::command;
use tests::folder::Folder;
use tests::log::Log;
use tests::port::Port;
use tests::process::{self, Signal};
use tests::site::script;
use tests::wait;

const NOBODY: u32 = 65_534;

/// A site in a chroot that belongs to an unprivileged user.
struct Jail {
    folder: Folder,
    port: Port,
}

impl Jail {
    fn new() -> Self {
        let (folder, port) = (Folder::new(), Port::free());
        let jail = folder.path().join("jail");
        for below in ["run", "logs", "www"] {
            std::fs::create_dir_all(jail.join(below)).expect("a folder");
            chown(jail.join(below), Some(NOBODY), Some(NOBODY)).expect("root gives a folder away");
        }
        chown(&jail, Some(NOBODY), Some(NOBODY)).expect("root gives a folder away");
        std::fs::write(folder.path().join("secret.txt"), "outside").expect("a file");
        std::fs::write(jail.join("www/index.html"), "inside").expect("a file");
        symlink("../../secret.txt", jail.join("www/way-out.txt")).expect("a link");
        let written = Self { folder, port };
        written.configure("/pages/");
        written
    }

    /// Writes the configuration, with the pages at this route.
    fn configure(&self, pages: &str) {
        let jail = self.folder.path().join("jail");
        let handler = Handler {
            send_spec: "ipc://run/requests".into(),
            send_ident: "app".into(),
            recv_spec: "ipc://run/replies".into(),
            recv_ident: String::new(),
            raw_payload: true,
            protocol: Protocol::Tnetstring,
        };
        let routes =
            vec![Route::new("/", Target::Handler(handler)), Route::new(pages, Target::Dir(Dir::new("www/")))];
        let server = Server {
            uuid: "jailed".into(),
            name: "jailed".into(),
            chroot: jail.to_string_lossy().into_owned(),
            access_log: "/logs/access.log".into(),
            error_log: "/logs/error.log".into(),
            pid_file: "/run/front.pid".into(),
            control_port: "ipc://run/control".into(),
            bind_addr: "127.0.0.1".into(),
            port: self.port.number(),
            hosts: vec![Host::new("localhost", routes)],
            ..Server::default()
        };
        let config = Config { servers: vec![server], mimetypes: mimetypes::defaults(), ..Config::default() };
        let _ = std::fs::remove_file(jail.join("config.sqlite"));
        store::write(&config, &jail.join("config.sqlite")).expect("a configuration that can be written");
    }

    /// `kennel` with these arguments, and its log.
    fn kennel(&self, arguments: &[&str]) -> (Kennel, Log) {
        let mut command = command::command(self.folder.path(), arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kennel starts");
        let log = Log::collect(child.stderr.take().expect("it is piped"));
        (Kennel(child), log)
    }
}

/// Ends with the test.
struct Kennel(Child);

impl Kennel {
    fn stop(&mut self) -> Option<i32> {
        process::signal(self.0.id(), Signal::TERM);
        self.0.wait().expect("it was started").code()
    }
}

impl Drop for Kennel {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Skipped by others than root, who may not chroot.
#[test]
fn as_root_the_front_enters_its_chroot_and_becomes_its_owner() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let jail = Jail::new();
    let (mut front, log) = jail.kennel(&["front", "jail/config.sqlite"]);
    log.expect("listens at");
    let status = std::fs::read_to_string(format!("/proc/{}/status", front.0.id())).expect("it runs");
    for who in ["Uid", "Gid"] {
        let line = format!("{who}:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}");
        assert!(status.contains(&line), "{status}");
    }
    assert!(status.contains("Groups:\t \n") || status.contains(&format!("Groups:\t{NOBODY}")), "{status}");

    jail.folder.write("app.lua", script(r#"app:get("/", function() return "from the app" end)"#));
    let (_hub, hub_log) = jail.kennel(&["run", "--mongrel2=jail/config.sqlite", "app.lua"]);
    hub_log.expect("ready:");
    let get = |path: &str| Client::connect(jail.port.number()).get(path);
    assert_eq!(get("/").text(), "from the app");
    assert_eq!(get("/pages/").text(), "inside");
    assert_eq!(get("/pages/way-out.txt").status, 404);

    // The configuration is inside, and is found again there.
    jail.configure("/other/");
    process::signal(front.0.id(), Signal::HUP);
    log.expect("configuration was read again");
    assert_eq!(get("/other/").text(), "inside");

    let running = command::run(&jail.folder.path().join("jail"), ["ctl", "uuid"]);
    assert_eq!((running.code, &*running.stdout), (Some(0), "jailed\n"), "{}", running.stderr);
    let pid_file = jail.folder.path().join("jail/run/front.pid");
    assert!(pid_file.exists());
    assert_eq!(front.stop(), Some(0));
    assert!(!pid_file.exists(), "its owner may remove it");
    wait::until("the last lines are in the access log", || {
        let lines = std::fs::read_to_string(jail.folder.path().join("jail/logs/access.log"));
        lines.is_ok_and(|lines| lines.contains("/other/"))
    });
}
