use mongrel2_conf::model::{Config, Dir, Handler, Host, Protocol, Route, Server, Target};
use mongrel2_conf::{mimetypes, store};
use std::os::unix::fs::{chown, symlink};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tests::client::{Client, request};
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
        self.write(pages, &[]);
    }

    fn write(&self, pages: &str, settings: &[(&str, &str)]) {
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
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let config = Config { servers: vec![server], settings, mimetypes: mimetypes::defaults() };
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

/// A file system of 1 MiB; gone with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`: this user may not mount.
    fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir(&at).expect("a folder");
        let options = format!("size=1m,mode=700,uid={NOBODY}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "kennel-test"]).arg(&at).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then(|| Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Skipped by those who may not mount a file system.
#[test]
fn an_upload_for_which_the_disk_has_no_room_is_refused_and_the_next_one_is_served() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let jail = Jail::new();
    let Some(disk) = SmallDisk::mount(jail.folder.path().join("jail/uploads")) else { return };
    jail.write("/pages/", &[("upload.temp_store", "/uploads/body.XXXXXX")]);
    let (_front, log) = jail.kennel(&["front", "jail/config.sqlite"]);
    log.expect("listens at");
    let app = r#"app:post("/", function(req) return tostring(req.body_size or #req.body) end)"#;
    jail.folder.write("app.lua", script(app));
    let (_hub, hub_log) = jail.kennel(&["run", "--mongrel2=jail/config.sqlite", "app.lua"]);
    hub_log.expect("ready:");

    let post = |size: usize| {
        let mut client = Client::connect(jail.port.number());
        let _ = client.try_send(request("POST", "/", &[], &vec![b'x'; size]));
        client.read()
    };
    assert_eq!(post(500_000).status, 200);
    let refused = post(3_000_000);
    assert_eq!(refused.status, 503, "{}", refused.text());
    const NO_ROOM: &str = "cannot write the file of an upload: No space left on device";
    log.expect(NO_ROOM);
    let errors =
        || std::fs::read_to_string(jail.folder.path().join("jail/logs/error.log")).expect("the error log");
    assert_eq!(errors().matches(NO_ROOM).count(), 1, "{}", errors());
    assert!(!errors().contains("INFO"), "{}", errors());
    wait::until("the disk is empty again", || {
        std::fs::read_dir(&disk.0).is_ok_and(|files| files.count() == 0)
    });
    assert_eq!(post(500_000).status, 200);
}
