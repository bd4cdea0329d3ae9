//! `kennel run` and `kennel dev`.

use super::check::with_traceback;
use crate::apps;
use crate::args::{LogFormat, LogLevel, Serve as Args};
use crate::cgi;
use crate::config::{Config, Uploads};
use crate::existing;
use crate::exit::{WRONG_INPUT, plain, unreachable, wrong_input};
use crate::listen;
use crate::log;
use crate::own_server::{DEFAULT_LISTEN, OwnServer, Ways};
use crate::run_files::{self, CONSOLE, RunFiles};
use crate::secret;
use crate::watch;
use anyhow::Context;
use handler_core::console;
use handler_core::hub::{AppId, Hub};
use handler_core::serve::{self, App, AskWhoIsThere, Ending, Inputs, Observer, Plan};
use handler_core::transport::Endpoint;
use handler_core::worker::error_page;
use handler_core::worker::protocol::LoadFailure;
use mongrel2_conf::control::Control;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tracing::{error, info};

/// An address for the metrics, as an example: the port is the usual one of such exporters.
const METRICS: &str = "127.0.0.1:9464";

/// How long a server may take to say who is connected to it.
const ROLL_CALL_PATIENCE: Duration = Duration::from_secs(10);
/// The folder in which workers keep files of requests.
const SCRATCH: &str = "scratch";
/// The folder of bodies that Mongrel2 sends in parts.
const BODIES: &str = "bodies";

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// For customers.
    Run,
    /// For whoever writes the app.
    Dev,
}

pub(super) fn run(args: &Args, mode: Mode) -> anyhow::Result<ExitCode> {
    let config = Config::load(args.config.config.as_deref()).map_err(wrong_input)?;
    let limits = config.limits();
    let (is_dev, run_folder) = (mode == Mode::Dev, run_files::ours());
    let mut apps =
        apps::resolve(&args.apps, &config, &args.python, args.workers, &limits, is_dev, Some(&run_folder))?;
    let set_level = log::start(args.log_format, args.log_level);
    secret::look(&config.sessions)?;
    let existing = existing::endpoints(&args.addresses, &args.database, &config)?;

    let metrics = args.metrics.as_deref().or(config.metrics.listen.as_deref());
    let metrics = metrics.map(listen_for_scrapers).transpose()?;

    let public = public_folder(&apps);
    // Before the others: its addresses are few and exact, and an app under `/` may take everything.
    if let Some(public) = public.as_deref().filter(|_| existing.is_empty() || config.cgi.enabled)
        && let Some(scripts) = cgi::app(&config.cgi, public, &limits)?
    {
        apps.insert(0, scripts);
    }

    let files = RunFiles::create().context("cannot write to `.kennel` in this directory")?;
    // Named from the root: scripts may change their directory.
    let scratch = files.make_folder(SCRATCH).context("cannot make the folder of workers' files")?;
    let scratch = scratch.into_os_string().into_string().unwrap_or_default();
    apps.iter_mut().for_each(|app| app.start.scratch.clone_from(&scratch));
    let socket = args.console.clone().or_else(|| config.console.socket.clone());
    let console = listen_for_consoles(&socket.unwrap_or_else(|| files.folder().join(CONSOLE)))?;
    let bodies = Some(files.make_folder(BODIES).context("cannot make the folder of bodies")?);
    let address = args.addresses.listen.as_deref().or(config.listen.as_deref()).unwrap_or(DEFAULT_LISTEN);
    let (own, _files) = match existing.is_empty() {
        true => {
            let ways = Ways {
                flow_control: config.flow_control.unwrap_or(true),
                stream_uploads: config.uploads == Some(Uploads::Stream),
            };
            (Some(OwnServer::start(files, address, ways, public.as_deref())?), None)
        }
        false => (None, Some(files)),
    };
    let endpoints = match &own {
        Some(own) => vec![own.endpoint()?],
        None => existing,
    };

    let keys = secret::keys(&config.sessions)?;
    apps.iter_mut().for_each(|app| app.start.keys = keys.clone());

    let (stop, stop_signal) = UnixStream::pair()?;
    let (reload, reload_signal) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT] {
        pipe::register(signal, stop_signal.try_clone()?)?;
    }
    pipe::register(SIGHUP, reload_signal.try_clone()?)?;
    let folders: Vec<_> = apps.iter().map(|app| apps::folder(&app.start.source)).collect();
    let programs: Vec<_> = apps.iter().filter_map(apps::program).collect();
    let _watch = match mode {
        Mode::Dev => Some(
            watch::start(&folders, &programs, reload_signal.try_clone()?)
                .context("cannot watch for changes")?,
        ),
        Mode::Run => None,
    };

    let (format, failure) = (args.log_format, None);
    let mut observer = Host { own, mode, format, set_level, apps: apps.clone(), failure };
    let plan = Plan { limits, endpoints, apps, bodies };
    match serve::run(plan, Inputs { stop, reload, console: Some(console), metrics }, &mut observer) {
        Ok(Ending::Stopped) => Ok(ExitCode::SUCCESS),
        Ok(Ending::Broken) => match observer.failure {
            Some(failure) => Err(failure),
            None => Ok(ExitCode::from(WRONG_INPUT)),
        },
        Err(problem) => Err(problem.into()),
    }
}

/// The console's socket, which nobody but this user can open. What a killed kennel left in its place goes.
fn listen_for_consoles(path: &Path) -> anyhow::Result<UnixListener> {
    if path.metadata().is_ok_and(|file| file.file_type().is_socket()) {
        if UnixStream::connect(path).is_ok() {
            let path = path.display();
            return Err(unreachable(format!(
                "the console's socket {path} is another kennel's; --console names another"
            )));
        }
        std::fs::remove_file(path)?;
    }
    // The mode has to be right from the first moment on. No other thread makes files yet.
    let usual = rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(usual);
    bound.map_err(|problem| {
        let (path, problem) = (path.display(), plain(&problem));
        wrong_input(format!(
            "the console's socket cannot be made at {path}: {problem}; --console names another place"
        ))
    })
}

/// The socket of the metrics. Port 0 lets the system choose one; the log says which.
fn listen_for_scrapers(typed: &str) -> anyhow::Result<TcpListener> {
    let socket = listen::bind(listen::parse(typed, METRICS)?, "--metrics")?;
    info!("metrics are at http://{}/metrics", socket.local_addr()?);
    Ok(socket)
}

/// The folder `public` beside the first app that has one.
fn public_folder(apps: &[App]) -> Option<PathBuf> {
    apps.iter().map(|app| apps::folder(&app.start.source).join("public")).find(|folder| folder.is_dir())
}

/// What the program does about what the loop tells it.
struct Host {
    own: Option<OwnServer>,
    mode: Mode,
    format: LogFormat,
    set_level: log::SetLevel,
    apps: Vec<App>,
    failure: Option<anyhow::Error>,
}

impl Observer for Host {
    fn ready(&mut self, hub: &Hub) {
        let apps: Vec<_> = hub.app_ids().map(|app| hub.describe(app)).collect();
        let place = match &self.own {
            Some(own) => {
                own.await_answer();
                own.url()
            }
            None => "mongrel2 is connected".to_owned(),
        };
        log::ready(self.format, &format!("{place}, {}", apps.join(", ")));
        // Without systemd there is nobody to tell.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    }

    fn reloaded(&mut self, hub: &Hub, app: AppId) {
        info!("newest code is in charge: {}", hub.describe(app));
    }

    fn load_failed(
        &mut self,
        hub: &mut Hub,
        app: AppId,
        failure: &LoadFailure,
        first: bool,
    ) -> ControlFlow<()> {
        let name = &self.apps[usize::from(app.0)].spec.name;
        let text = with_traceback(failure);
        match (self.mode, first) {
            (Mode::Run, true) => {
                self.failure = Some(wrong_input(text));
                return ControlFlow::Break(());
            }
            (Mode::Run, false) => error!("{name} did not load, what ran before goes on: {text}"),
            (Mode::Dev, _) => {
                error!("{name} did not load: {text}");
                hub.set_broken(app, Some(error_page::render(&format!("loading {name}"), failure)));
            }
        }
        ControlFlow::Continue(())
    }

    fn companion(&self) -> Option<BorrowedFd<'_>> {
        self.own.as_ref().and_then(OwnServer::descriptor)
    }

    fn companion_ended(&mut self) -> ControlFlow<()> {
        if let Some(own) = &mut self.own
            && let Err(problem) = own.revive()
        {
            self.failure = Some(problem);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn set_log_level(&mut self, level: console::LogLevel) {
        let level = match level {
            console::LogLevel::Debug => LogLevel::Debug,
            console::LogLevel::Info => LogLevel::Info,
            console::LogLevel::Warn => LogLevel::Warn,
            console::LogLevel::Error => LogLevel::Error,
        };
        (self.set_level)(level);
        info!("the log level is {} now, as the console asked", format!("{level:?}").to_lowercase());
    }

    fn roll_call(&self, endpoint: &Endpoint) -> Option<AskWhoIsThere> {
        let control = Control::new(endpoint.control_port.clone()?).with_patience(ROLL_CALL_PATIENCE);
        Some(Box::new(move || {
            let rows = control.status_net().map_err(|problem| problem.to_string())?;
            Ok(rows.iter().filter_map(|row| row.id).collect())
        }))
    }

    fn waiting(&mut self, endpoint: &Endpoint) {
        info!(
            "waiting for a mongrel2 whose handler has send_spec {} and recv_spec {}",
            endpoint.send_spec, endpoint.recv_spec
        );
    }
}
