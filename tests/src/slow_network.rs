//! Two network namespaces, joined by a wire that is slow, far and loses packets, as real clients' lines are.
//!
//! Servers run in the one, clients in the other. Needs root, `/dev/net/tun` and `ip` (iproute2); where these are missing,
//! [`SlowNetwork::new`] says so. Everything goes when the network is dropped; what a killed test left goes when the next
//! network is made.

use crate::folder::Folder;
use crate::process;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The program that carries the packets.
const WIRE: &str = include_str!("slow_network/wire.c");
/// Where `ip` lists the namespaces.
const NAMESPACES: &str = "/run/netns";
/// What the names of ours begin with; then comes the process id of the test.
const PREFIX: &str = "kennel-test-";

/// A client's line, the same in both directions.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// How long a packet is under way, one way.
    pub delay_ms: f64,
    /// How many of a hundred packets are lost.
    pub loss_percent: f64,
    /// How many bits of each client pass in a second.
    pub mbit_per_s: f64,
}

/// The two namespaces and the wire between them.
#[derive(Debug)]
pub struct SlowNetwork {
    wire: Option<Child>,
    server: Namespace,
    client: Namespace,
    _folder: Folder,
}

impl SlowNetwork {
    /// The address of the servers' side.
    pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
    /// How many addresses the clients' side has. Each has a line of its own.
    pub const CLIENTS: u8 = 200;

    /// The address of a client, from 1 to [`CLIENTS`](Self::CLIENTS).
    pub fn client(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 9, 1, number)
    }

    /// Makes the namespaces and joins them.
    ///
    /// # Errors
    ///
    /// What this machine or this user lacks.
    ///
    /// # Panics
    ///
    /// When the machine has all that is needed and it does not work.
    pub fn new(line: Line) -> Result<Self, String> {
        check_machine()?;
        remove_stale();
        let folder = Folder::new();
        let program = compile(&folder);
        let (server, client) = (Namespace::new("server"), Namespace::new("client"));
        let mut wire = Command::new(program)
            .args([&server.name, &client.name])
            .args([line.delay_ms, line.loss_percent, line.mbit_per_s].map(|number| number.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the wire can be started");
        let output = wire.stdout.take().expect("stdout is a pipe");
        let network = Self { wire: Some(wire), server, client, _folder: folder };
        let mut said = String::new();
        BufReader::new(output).read_line(&mut said).expect("the wire says something");
        assert_eq!(said, "up\n", "the wire does not work");
        network.server.configure("server", &[Self::SERVER]);
        let clients: Vec<_> = (1..=Self::CLIENTS).map(Self::client).collect();
        network.client.configure("client", &clients);
        Ok(network)
    }

    /// Loses all that a client sends and gets from now on, without a word to anybody.
    ///
    /// # Panics
    ///
    /// When the wire has ended.
    pub fn cut(&self, client: u8) {
        self.tell(b'-', client);
    }

    /// Ends what [`cut`](Self::cut) began.
    ///
    /// # Panics
    ///
    /// When the wire has ended.
    pub fn mend(&self, client: u8) {
        self.tell(b'+', client);
    }

    fn tell(&self, command: u8, client: u8) {
        let wire = self.wire.as_ref().and_then(|wire| wire.stdin.as_ref());
        let mut wire = wire.expect("the wire is there until the network is dropped");
        wire.write_all(&[command, client]).expect("the wire reads commands");
    }

    /// Lets new connections of the clients' side come from the address of this client. Those that are there keep theirs.
    ///
    /// # Panics
    ///
    /// When `ip` fails.
    pub fn come_from(&self, client: u8) {
        let source = Self::client(client).to_string();
        let mut ip = Command::new("ip");
        ip.args([
            "-n",
            &self.client.name,
            "route",
            "replace",
            "10.9.0.0/16",
            "dev",
            "client",
            "proto",
            "kernel",
        ]);
        let status = ip.args(["scope", "link", "src", &source]).status();
        assert!(status.expect("ip can be run").success(), "the route cannot be changed");
    }

    /// Connects from a namespace's own 127.0.0.1.
    ///
    /// # Panics
    ///
    /// When nothing listens there.
    pub fn connect(namespace: &str, host: &str) -> TcpStream {
        let path = Path::new(NAMESPACES).join(namespace);
        // The thread stays in the namespace, and the connection belongs to it.
        std::thread::scope(|scope| {
            let connecting = scope.spawn(|| {
                let file = std::fs::File::open(&path).expect("the namespace is there");
                rustix::thread::move_into_link_name_space(
                    file.as_fd(),
                    Some(rustix::thread::LinkNameSpaceType::Network),
                )
                .expect("root may enter it");
                TcpStream::connect(host).unwrap_or_else(|e| panic!("nothing at {host} in {namespace}: {e}"))
            });
            connecting.join().expect("it connects")
        })
    }

    /// The name of the servers' namespace, for [`inside`].
    pub fn server_side(&self) -> &str {
        &self.server.name
    }

    /// The name of the clients' namespace, for [`inside`].
    pub fn client_side(&self) -> &str {
        &self.client.name
    }
}

impl Drop for SlowNetwork {
    fn drop(&mut self) {
        if let Some(mut wire) = self.wire.take() {
            let _ = wire.kill();
            let _ = wire.wait();
        }
    }
}

/// Says on the terminal, even if the test's output is captured, that a test did not run, and why.
pub fn say_not_run(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "NOT RUN: {test}: {why}");
}

/// The same command in a namespace. `ip` becomes the program, so the program has the process id of the child.
pub fn inside(namespace: &str, command: &Command) -> Command {
    let mut inside = Command::new("ip");
    inside.args(["netns", "exec", namespace]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => inside.env(name, value),
            None => inside.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        inside.current_dir(folder);
    }
    inside
}

fn check_machine() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("network namespaces need root".to_owned());
    }
    if !Path::new("/dev/net/tun").exists() {
        return Err("there is no /dev/net/tun".to_owned());
    }
    match Command::new("ip").args(["netns", "list"]).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => return Err(format!("ip netns: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(problem) => return Err(format!("`ip` of iproute2: {problem}")),
    }
    // A container's root may not be allowed to.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let trial = format!("{PREFIX}{}-trial-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let made = Command::new("ip").args(["netns", "add", &trial]).output().expect("ip can be run");
    let _ = Command::new("ip").args(["netns", "del", &trial]).output();
    match made.status.success() {
        true => Ok(()),
        false => Err(format!("ip netns add: {}", String::from_utf8_lossy(&made.stderr).trim())),
    }
}

/// Removes the namespaces of tests that were killed, and the processes in them.
fn remove_stale() {
    let Ok(entries) = std::fs::read_dir(NAMESPACES) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse().ok());
        if owner.is_some_and(|owner: u32| !process::is_alive(owner)) {
            Namespace { name }.remove();
        }
    }
}

fn compile(folder: &Folder) -> std::path::PathBuf {
    let source = folder.write("wire.c", WIRE);
    let program = folder.path().join("wire");
    let status = Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(source).status();
    assert!(status.expect("there is a C compiler").success(), "the wire cannot be compiled");
    program
}

/// A network namespace, removed when dropped.
#[derive(Debug)]
struct Namespace {
    name: String,
}

impl Namespace {
    fn new(side: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}-{side}", std::process::id());
        let status = Command::new("ip").args(["netns", "add", &name]).status();
        assert!(status.expect("ip can be run").success(), "the namespace {name} cannot be made");
        Self { name }
    }

    /// Gives its device these addresses and starts it.
    fn configure(&self, device: &str, addresses: &[Ipv4Addr]) {
        let mut batch = format!("link set lo up\nlink set {device} mtu 1500 txqueuelen 1000 up\n");
        for address in addresses {
            writeln!(batch, "addr add {address}/16 dev {device}").expect("a text takes text");
        }
        let mut ip = Command::new("ip")
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("ip can be run");
        ip.stdin.take().expect("stdin is a pipe").write_all(batch.as_bytes()).expect("ip reads commands");
        assert!(ip.wait().expect("ip ends").success(), "the device {device} cannot be configured");
    }

    fn remove(&self) {
        if let Ok(output) = Command::new("ip").args(["netns", "pids", &self.name]).output() {
            let pids = String::from_utf8_lossy(&output.stdout).into_owned();
            pids.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).for_each(process::kill);
        }
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.remove();
    }
}
