//! `kennel front` and nginx, each with a folder that it serves.

use mongrel2_conf::model::{Config, Dir, Host, Route, Server, Target};
use mongrel2_conf::{mimetypes, store};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tests::folder::Folder;
use tests::port::Port;
use tests::{command, cpu, process};

const PATIENCE: Duration = Duration::from_secs(20);

const NGINX: &str = r#"
daemon off;
worker_processes 1;
worker_rlimit_nofile 65536;
pid nginx.pid;
error_log stderr crit;
events { worker_connections 60000; }
http {
    access_log off;
    sendfile on;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server { listen 127.0.0.1:PORT TLS; root files; }
}
"#;

/// A server that runs. It is ended when dropped.
pub(super) struct Running {
    pub(super) name: &'static str,
    child: Child,
    port: Port,
}

impl Running {
    /// Kennel's front, which serves the folder `files` of this one. With TLS: by `cert.pem` and `key.pem`.
    pub(super) fn front(folder: &Folder, with_tls: bool) -> Self {
        let port = Port::free();
        std::fs::create_dir_all(folder.path().join("files")).unwrap();
        let routes = vec![Route::new("/", Target::Dir(Dir::new("files/")))];
        let server = Server {
            uuid: "bench".to_owned(),
            name: "bench".to_owned(),
            access_log: "access.log".to_owned(),
            error_log: "error.log".to_owned(),
            pid_file: "front.pid".to_owned(),
            control_port: "ipc://control".to_owned(),
            default_host: "localhost".to_owned(),
            bind_addr: "127.0.0.1".to_owned(),
            port: port.number(),
            hosts: vec![Host::new("localhost", routes)],
            ..Server::default()
        };
        let config = Config { servers: vec![server], mimetypes: mimetypes::defaults(), ..Config::default() };
        let database = folder.path().join("config.sqlite");
        let _ = std::fs::remove_file(&database);
        store::write(&config, &database).unwrap();
        let tls: &[&str] = if with_tls { &["--tls", "cert.pem,key.pem"] } else { &[] };
        let command = command::command(folder.path(), ["front", "config.sqlite"].iter().chain(tls));
        Self::start("front", command, port)
    }

    /// nginx with the same folder; `None`, with words, where it is not installed.
    pub(super) fn nginx(folder: &Folder, with_tls: bool) -> Option<Self> {
        let port = Port::free();
        let tls = match with_tls {
            true => {
                "ssl; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate cert.pem; ssl_certificate_key key.pem"
            }
            false => "",
        };
        let text = NGINX.replace("PORT", &port.number().to_string()).replace("TLS", tls);
        folder.write("nginx.conf", text);
        let mut command = Command::new("nginx");
        command.args(["-p", &folder.path().display().to_string(), "-c", "nginx.conf"]);
        if Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_err() {
            println!(
                "  skipped: the comparison with nginx, which is not installed (apt install nginx-light)"
            );
            return None;
        }
        Some(Self::start("nginx", command, port))
    }

    fn start(name: &'static str, mut command: Command, port: Port) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut running = Self { name, child, port };
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", running.port())).is_err() {
            assert!(running.child.try_wait().unwrap().is_none(), "{name} ended");
            assert!(begin.elapsed() < PATIENCE, "{name} does not listen");
            std::thread::sleep(Duration::from_millis(1));
        }
        running
    }

    pub(super) fn port(&self) -> u16 {
        self.port.number()
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU of all its processes.
    pub(super) fn on_cpu(&self) -> Duration {
        cpu::family(self.pid()).into_iter().map(cpu::used_by).sum()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        process::signal(self.pid(), process::Signal::TERM);
        let begin = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            if begin.elapsed() > Duration::from_secs(5) {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
