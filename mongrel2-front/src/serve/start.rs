//! The start: from a configuration to a server that listens.

use super::bounds::{CERTIFICATE_CHECK, READ_SIZE};
use super::choice::Choice;
use super::clients::Clients;
use super::descriptors::{self, Descriptors};
use super::listener::Listener;
use super::server::{self, Server};
use super::signals::Signals;
use super::supervisor::Supervisor;
use super::temp_store::TempStore;
use super::uploads::Uploads;
use super::{Options, ServeError};
use crate::front::Front;
use crate::process::access_log::AccessLog;
use crate::process::error_log::ErrorLog;
use crate::process::log_file::LogFile;
use crate::process::pid_file::PidFile;
use crate::process::privileges::{self, Ground};
use crate::site::Site;
use crate::sockets::{ControlSocket, HandlerSockets};
use crate::tls::Certificates;
use mongrel2_conf::model::{self, Config};
use rustix::event::epoll::{self, EventData, EventFlags};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The control port's address when the configuration names none.
const CONTROL_PORT: &str = "ipc://run/control";

impl Server {
    /// Starts the server that the options choose.
    pub(super) fn start(options: &Options, signals: Signals) -> Result<Self, ServeError> {
        descriptors::raise_limit();
        let choice = Choice::read(&options.config, options.server.as_deref())?;
        let (config, server) = (&choice.config, choice.server());
        // Everything that the configuration may have wrong comes before the first trace on the system.
        Site::new(config, server, Path::new("."))?;
        let store = temp_store(config)?;
        let certificates = match &options.tls {
            Some((certificate, key)) => Some(Certificates::load_pair(certificate, key)?),
            None if server.use_ssl => Some(Certificates::load(server, &config.settings, Path::new("."))?),
            None => None,
        };
        let mut pid_file = match server.pid_file.is_empty() {
            true => None,
            false => Some(PidFile::create(outside(server, &server.pid_file))?),
        };
        let keepalive = is_on(config, "net.tcp_keepalive");
        let listeners = Listener::bind_all(&server.bind_addr, server.port, keepalive)?;

        let supervisor = Supervisor::from_environment();
        let inside = inside(&options.config, &server.chroot);
        let chroot = Some(Path::new(&server.chroot));
        let ground = privileges::enter(chroot)?;
        let root = root(&ground);
        let site = Site::new(config, server, &root)?;
        let log = match server.access_log.is_empty() || is_on(config, "disable.access_logging") {
            true => None,
            false => Some(LogFile::open(ground.path(&server.access_log))?),
        };
        let access_log = AccessLog::new(log);
        let error_log = match server.error_log.is_empty() {
            true => None,
            false => Some(ErrorLog::open(ground.path(&server.error_log))?),
        };
        if let Some(pid_file) = &mut pid_file {
            pid_file.is_now_at(ground.path(&server.pid_file));
        }
        let mut options = options.clone();
        if let Ground::Chrooted(owner) = &ground {
            options.config = inside.unwrap_or(options.config);
            if let Some(certificates) = &certificates {
                certificates.enter_chroot();
            }
            access_log.give_to(owner)?;
            error_log.as_ref().map_or(Ok(()), |log| log.give_to(owner))?;
            pid_file.as_ref().map_or(Ok(()), |file| file.give_to(owner))?;
            owner.become_owner()?;
        }

        let poller = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from)?;
        let handlers = HandlerSockets::bind(site.handlers(), &poller, server::HANDLERS)?;
        let (control, without_control) = bind_control(config, server, &poller)?;
        let uploads = Uploads::new(store)?;
        watch(&poller, &signals.stop, server::STOP)?;
        watch(&poller, &signals.reload, server::RELOAD)?;
        watch(&poller, &uploads, server::UPLOADS)?;
        for (token, listener) in (server::LISTENERS..).zip(&listeners) {
            watch(&poller, listener, token)?;
        }
        let congested = vec![false; site.handlers().len()];
        Ok(Self {
            options,
            poller,
            signals,
            listeners,
            descriptors: Descriptors::new(),
            clients: Clients::default(),
            front: Front::new(site),
            handlers: Some(handlers),
            congested,
            control,
            uploads,
            finished: Vec::new(),
            certificates_due: certificates.as_ref().map(|_| Instant::now() + CERTIFICATE_CHECK),
            certificates,
            access_log,
            error_log,
            log_due: None,
            pid_file,
            supervisor,
            notices: without_control.into_iter().collect(),
            root,
            buffer: vec![0; READ_SIZE],
            ready: Vec::new(),
            dirty: Vec::new(),
            stop: None,
        })
    }
}

/// Where files of uploads are made, if the configuration says so.
pub(super) fn temp_store(config: &Config) -> io::Result<Option<TempStore>> {
    let template = config.setting("upload.temp_store").filter(|template| !template.is_empty());
    template.map(|template| TempStore::new(template, config.setting("upload.temp_store_mode"))).transpose()
}

fn is_on(config: &Config, setting: &str) -> bool {
    config.setting(setting).is_some_and(|value| value.trim().parse().is_ok_and(|number: i64| number != 0))
}

/// Where relative paths of folders begin.
fn root(ground: &Ground) -> PathBuf {
    match ground {
        Ground::Chrooted(_) => PathBuf::from("/"),
        Ground::Plain | Ground::Test => PathBuf::from("."),
    }
}

/// A path of the configuration before the chroot.
fn outside(server: &model::Server, path: &str) -> PathBuf {
    if server.chroot.is_empty() {
        PathBuf::from(path)
    } else if rustix::process::geteuid().is_root() {
        Path::new(&server.chroot).join(path.trim_start_matches('/'))
    } else {
        Ground::Test.path(path)
    }
}

/// The configuration's place as it is seen from inside the chroot; `None`: it is outside.
fn inside(config: &Path, chroot: &str) -> Option<PathBuf> {
    let (config, chroot) = (config.canonicalize().ok()?, Path::new(chroot).canonicalize().ok()?);
    Some(Path::new("/").join(config.strip_prefix(chroot).ok()?))
}

/// The control port, or why there is none. Without one in the configuration it is at Mongrel2's place, if that can be.
fn bind_control(
    config: &Config,
    server: &model::Server,
    poller: &OwnedFd,
) -> Result<(Option<ControlSocket>, Option<String>), ServeError> {
    let own = Some(&*server.control_port).filter(|address| !address.is_empty());
    match own.or_else(|| config.setting("control_port").filter(|address| !address.is_empty())) {
        Some(address) => Ok((Some(ControlSocket::bind(address, poller, server::CONTROL)?), None)),
        None => match ControlSocket::bind(CONTROL_PORT, poller, server::CONTROL) {
            Ok(control) => Ok((Some(control), None)),
            Err(problem) => Ok((None, Some(format!("the server runs without a control port: {problem}")))),
        },
    }
}

fn watch(poller: &OwnedFd, descriptor: impl AsFd, token: u64) -> io::Result<()> {
    Ok(epoll::add(poller, descriptor, EventData::new_u64(token), EventFlags::IN)?)
}
