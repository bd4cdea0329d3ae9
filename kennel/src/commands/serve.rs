//! `kennel run` and `kennel dev`.

use super::check::with_traceback;
use crate::apps::site_folder::addresses::Addresses;
use crate::apps::site_folder::{self, SiteFolder, Typed};
use crate::apps::{self, cgi};
use crate::args::{Front, LogLevel, Serve as Args};
use crate::config::Uploads;
use crate::exit::{WRONG_INPUT, unreachable, wrong_input};
use crate::guard;
use crate::listen::{self, METRICS};
use crate::log;
use crate::mongrel2::existing::{self, CUTS};
use crate::mongrel2::handler_lock::HandlerLocks;
use crate::mongrel2::own::{OwnServer, Ways};
use crate::mongrel2::tls::Tls;
use crate::private_socket::{self, Found};
use crate::run_files::{self, CONSOLE, RunFiles};
use crate::secret;
use crate::unused;
use crate::watch;
use anyhow::Context;
use handler_core::console;
use handler_core::hub::{AppId, HostPattern, Hosts, Hub, Present};
use handler_core::serve::{self, App, AskWhoIsThere, ConsoleSocket, Ending, Inputs, Observer, Plan};
use handler_core::transport::{Endpoint, process_at};
use handler_core::worker::error_page;
use handler_core::worker::protocol::LoadFailure;
use mongrel2_conf::control::{ConnectionKind, Control, NetRow};
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM};
use signal_hook::flag;
use signal_hook::low_level::pipe;
use std::collections::BTreeSet;
use std::io::Read;
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// How long a server may take to say who is connected to it.
const ROLL_CALL_PATIENCE: Duration = Duration::from_secs(10);
/// How often it is said again that no server has come.
const STILL_WAITING: Duration = Duration::from_secs(60);
/// The folder in which workers keep files of requests.
const SCRATCH: &str = "scratch";
/// The folder of bodies that Mongrel2 sends in parts.
const BODIES: &str = "bodies";

/// The sockets for operators, and what of them is to be removed.
type Consoles = (Vec<ConsoleSocket>, Option<Addresses>);

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// For customers.
    Run,
    /// For whoever writes the app.
    Dev,
}

/// `allowed`: host names that `kennel dev` answers to, beside those of this machine.
pub(super) fn run(args: &Args, mode: Mode, allowed: &[HostPattern]) -> anyhow::Result<ExitCode> {
    let Typed { apps: named, config, site } = site_folder::read(&args.apps, args.config.config.as_deref())?;
    let limits = config.limits();
    let (is_dev, run_folder) = (mode == Mode::Dev, run_files::ours());
    let resolve = if site.is_some() { apps::resolve_each } else { apps::resolve };
    let mut apps = resolve(&named, &config, &args.python, args.workers, &limits, is_dev, Some(&run_folder))?;
    if let Some(affinity) = &args.affinity {
        apps.iter_mut().for_each(|app| app.sharing.affinity = Some(affinity.clone()));
    }
    // The last to be dropped: what the others say at their end is written, too.
    let (log, set_level) = log::start(args.log_format, args.log_level, limits.log_queue, None)?;
    site.iter().for_each(SiteFolder::warn);
    let typed = &args.addresses;
    let is_named = !typed.send_spec.is_empty() || args.database.mongrel2.is_some();
    let overridden = typed.listen.is_some() || is_named;
    let starts_own = !is_named && (config.mongrel2.is_empty() || overridden);
    let front = typed.own.front.or(config.front).unwrap_or(Front::DEFAULT);
    let started = starts_own.then_some(front);
    unused::settings(&apps, &args.python, &config, started, overridden)
        .iter()
        .for_each(|text| warn!("{text}"));
    secret::look(&config.sessions)?;
    let existing = existing::endpoints(&args.addresses, &args.database, &config)?;
    let _locks = HandlerLocks::take(&existing)?;
    let tls = match existing.is_empty() {
        true => Tls::chosen(&typed.own, &config, front)?,
        false => None,
    };
    let tls = tls.map(|tls| tls.look().map(|_| tls.files)).transpose()?;

    let metrics = args.metrics.as_deref().or(config.metrics.listen.as_deref());
    let metrics = metrics.map(listen_for_scrapers).transpose()?;

    let public = match &site {
        Some(site) => site.public(),
        None => public_folder(&apps),
    };
    // Before the others: its addresses are few and exact, and an app under `/` may take everything.
    if let Some(public) = public.as_deref().filter(|_| existing.is_empty() || config.cgi.enabled)
        && let Some(scripts) = cgi::app(&config.cgi, public, &limits)?
    {
        apps.insert(0, scripts);
    }

    let files = RunFiles::create()?;
    // Named from the root: scripts may change their directory.
    let scratch = files.make_folder(SCRATCH).context("cannot make the folder of workers' files")?;
    let scratch = scratch.into_os_string().into_string().unwrap_or_default();
    apps.iter_mut().for_each(|app| app.start.scratch.clone_from(&scratch));
    let socket = args.console.clone().or_else(|| config.console.socket.clone());
    let usual = files.folder().join(CONSOLE);
    let console = listen_for_consoles(socket.as_deref().unwrap_or(&usual))?;
    if let Some(socket) = socket {
        // Commands that know the process alone find it there all the same.
        symlink(std::path::absolute(socket)?, usual)?;
    }
    let (consoles, _addresses) = consoles(console, site.as_ref(), &apps)?;
    let bodies = Some(files.make_folder(BODIES).context("cannot make the folder of bodies")?);
    let address = args.addresses.listen.as_deref().or(config.listen.as_deref()).unwrap_or(listen::MONGREL2);
    let (own, _files) = match existing.is_empty() {
        true => {
            let ways = Ways {
                front,
                flow_control: front == Front::Kennel || config.flow_control.unwrap_or(true),
                stream_uploads: config.uploads == Some(Uploads::Stream),
                keep_forwarded: config.trusted_proxies.is_some(),
            };
            if !ways.flow_control {
                warn!("`flow_control` is false: {CUTS}");
            }
            (
                Some(OwnServer::start(
                    files,
                    address,
                    ways,
                    public.as_deref(),
                    (args.log_format, args.log_level),
                    tls,
                )?),
                None,
            )
        }
        false => (None, Some(files)),
    };
    let endpoints = match &own {
        Some(own) => vec![own.endpoint()?],
        None => existing,
    };

    let keys = secret::keys(&config.sessions)?;
    for app in &mut apps {
        app.start.keys = keys.clone();
        app.start.counts_local = config.trusted_proxies.is_some();
    }

    let (stop, stop_signal) = UnixStream::pair()?;
    let (reload, reload_signal) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT] {
        pipe::register(signal, stop_signal.try_clone()?)?;
    }
    pipe::register(SIGHUP, reload_signal.try_clone()?)?;
    survive_other_signals()?;
    let folders: Vec<_> = apps.iter().map(|app| apps::folder(&app.start.source)).collect();
    let programs: Vec<_> = apps.iter().filter_map(apps::program).collect();
    let _watch = match mode {
        Mode::Dev => Some(
            watch::start(&folders, &programs, reload_signal.try_clone()?)
                .context("cannot watch for changes")?,
        ),
        Mode::Run => None,
    };

    if let Some(own) = own.as_ref().filter(|own| mode == Mode::Dev && !own.address().ip().is_loopback()) {
        warn!(
            "kennel dev listens on {}: others in the network reach this site, and its error pages show them source code; \
             `kennel run` is for visitors",
            own.address()
        );
    }
    let own_name = address.rsplit_once(':').and_then(|(host, _)| host.parse().ok());
    let named = if args.only_host.is_empty() { config.hosts } else { Some(args.only_host.clone()) };
    let hosts = match mode {
        Mode::Dev if own.is_some() => {
            let named = named.into_iter().flatten();
            Some(Hosts::AlsoThisMachine(allowed.iter().cloned().chain(own_name).chain(named).collect()))
        }
        _ => named.map(Hosts::Only),
    };
    for (flag, is_set) in [("--front", typed.own.front.is_some()), ("--tls", typed.own.tls.is_some())] {
        if own.is_none() && is_set {
            warn!("{flag} has no effect: an existing server is named, so Kennel starts none");
        }
    }
    if own.is_none() && !allowed.is_empty() {
        warn!("--allow-host has no effect: the server is not Kennel's own");
    }
    let is_ready = Arc::new(AtomicBool::new(false));
    let (ready, failure) = (log.ready(), None);
    let (partial, failed) = (site.is_some(), BTreeSet::new());
    let looks = Vec::new();
    let mut observer =
        Host { own, mode, ready, is_ready, looks, set_level, apps: apps.clone(), site, failed, failure };
    let plan = Plan { limits, endpoints, apps, bodies, proxies: config.trusted_proxies, partial, hosts };
    let (output, dropped_log_lines) = (Some(log.output()), log.dropped());
    let inputs = Inputs { stop, reload, consoles, metrics, output, dropped_log_lines };
    match serve::run(plan, inputs, &mut observer) {
        Ok(Ending::Stopped) => Ok(ExitCode::SUCCESS),
        Ok(Ending::Broken) => match observer.failure {
            Some(failure) => Err(failure),
            None => Ok(ExitCode::from(WRONG_INPUT)),
        },
        Err(problem) => Err(problem.into()),
    }
}

/// Signals that mean nothing here, and would end the program otherwise. They are handled rather than ignored, since
/// workers would inherit that they are ignored.
fn survive_other_signals() -> anyhow::Result<()> {
    for signal in [SIGUSR2, SIGALRM, SIGVTALRM] {
        flag::register(signal, Arc::default())?;
    }
    let (mut asked, signal) = UnixStream::pair()?;
    pipe::register(SIGUSR1, signal)?;
    beside_the_loop(move || {
        while asked.read(&mut [0; 64]).is_ok_and(|count| count > 0) {
            info!("SIGUSR1: there is no log file to open again, since the log goes to standard error");
        }
    });
    Ok(())
}

/// The console's socket. What a killed kennel left in its place goes.
fn listen_for_consoles(path: &Path) -> anyhow::Result<UnixListener> {
    match private_socket::look(path) {
        Found::Alive => {
            let path = path.display();
            return Err(unreachable(format!(
                "the console's socket {path} is another kennel's; --console names another"
            )));
        }
        Found::Dead => std::fs::remove_file(path)?,
        Found::None => {}
    }
    private_socket::listen(path, "the console's socket", "--console names another place")
}

/// All sockets for operators: the console's, and the handlers' addresses.
fn consoles(own: UnixListener, site: Option<&SiteFolder>, apps: &[App]) -> anyhow::Result<Consoles> {
    let mut sockets = vec![ConsoleSocket { listener: own, only: None }];
    let Some(site) = site else { return Ok((sockets, None)) };
    let (addresses, listeners) = Addresses::make(site)?;
    for (handler, listener) in site.handlers.iter().zip(listeners) {
        let at = apps.iter().position(|app| app.spec.name == handler.source);
        sockets.push(ConsoleSocket { listener, only: at.map(|at| AppId(at as u16)) });
    }
    Ok((sockets, Some(addresses)))
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

/// Does what may take a moment in a thread of its own.
fn beside_the_loop(work: impl FnOnce() + Send + 'static) {
    let spawned = std::thread::Builder::new().name("start".to_owned()).spawn(work);
    if let Err(problem) = spawned {
        error!("cannot start a thread: {problem}");
    }
}

/// What the hub wants to know of a connection in the server's list.
fn present(row: &NetRow) -> Option<Present> {
    // Both are ages in whole seconds. A client that was never written to has no age of that.
    let waits = row.bytes_written == 0 || row.last_read < row.last_write;
    let waits = row.kind == ConnectionKind::Http && row.bytes_read > 0 && waits;
    Some(Present { id: row.id?, waits, received: row.bytes_read, sent: row.bytes_written })
}

/// What the program does about what the loop tells it.
struct Host {
    own: Option<OwnServer>,
    mode: Mode,
    ready: log::Ready,
    /// It has been said that all is ready.
    is_ready: Arc<AtomicBool>,
    /// What there is to see before it is said that all is ready. It reads `/proc`, so the loop does not do it.
    looks: Vec<Box<dyn FnOnce() + Send>>,
    set_level: log::SetLevel,
    apps: Vec<App>,
    site: Option<SiteFolder>,
    /// Handlers of the site whose first code did not load.
    failed: BTreeSet<u16>,
    failure: Option<anyhow::Error>,
}

impl Host {
    /// A handler of the site did not load, and nothing of it ever has: the others serve without it.
    fn go_on_without(&mut self, hub: &mut Hub, app: AppId, text: &str) -> ControlFlow<()> {
        let name = &self.apps[usize::from(app.0)].spec.name;
        error!("{name} did not load, so its paths answer 500 until `kennel reload` finds it better: {text}");
        hub.set_broken(app, Some(error_page::without_details().to_owned()));
        self.failed.insert(app.0);
        if self.failed.len() < self.apps.len() || hub.app_ids().any(|app| hub.is_loaded(app)) {
            return ControlFlow::Continue(());
        }
        let folder = self.site.as_ref().map_or(Path::new("."), SiteFolder::folder);
        self.failure = Some(wrong_input(format!(
            "none of the handlers of `{}` loaded; what is wrong with each is said above",
            folder.display()
        )));
        ControlFlow::Break(())
    }

    /// Whether it is one of several that may fail alone.
    fn is_handler(&self, app: AppId) -> bool {
        let name = &self.apps[usize::from(app.0)].spec.name;
        self.site.iter().flat_map(|site| &site.handlers).any(|handler| handler.source == *name)
    }
}

impl Observer for Host {
    fn ready(&mut self, hub: &Hub) {
        self.is_ready.store(true, Ordering::Relaxed);
        let (loaded, failed): (Vec<_>, Vec<_>) = hub.app_ids().partition(|app| hub.is_loaded(*app));
        let describe = |app: &AppId| hub.describe(*app);
        let mut apps = loaded.iter().map(describe).collect::<Vec<_>>().join(", ");
        if self.site.is_some() {
            apps = format!("{} of {} loaded: {apps}", loaded.len(), self.apps.len());
        }
        if !failed.is_empty() {
            let name = |app: &AppId| self.apps[usize::from(app.0)].spec.name.as_str();
            apps.push_str(&format!(
                "; not loaded: {}",
                failed.iter().map(name).collect::<Vec<_>>().join(", ")
            ));
        }
        let (looks, ready) = (std::mem::take(&mut self.looks), self.ready.clone());
        let own = self.own.as_mut().map(|own| {
            own.note_served();
            (own.await_answer(), format!("{} by {}", own.url(), own.name()))
        });
        beside_the_loop(move || {
            looks.into_iter().for_each(|look| look());
            let place = match own {
                Some((await_answer, place)) => {
                    await_answer();
                    place
                }
                None => "mongrel2 is connected".to_owned(),
            };
            ready.tell(&format!("{place}, {apps}"));
            // Without systemd there is nothing to tell.
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        });
    }

    fn connected(&mut self, endpoint: &Endpoint, process: Option<u32>) {
        match &self.own {
            Some(own) => {
                if let Some(look) = own.look_for_guard() {
                    self.looks.push(Box::new(look));
                }
            }
            None => {
                let (what, control) = (endpoint.send_spec.to_string(), endpoint.control_port.clone());
                self.looks.push(Box::new(move || {
                    let process = process.or_else(|| process_at(control.as_ref()?));
                    guard::tell_about_other(&what, process);
                }));
            }
        }
    }

    fn reload_asked(&mut self) {
        // Under `kennel dev` every saved file asks for it.
        if let Some(own) = self.own.as_ref().filter(|_| self.mode == Mode::Run) {
            own.reload();
        }
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
            (Mode::Run, true) if self.is_handler(app) => return self.go_on_without(hub, app, &text),
            (Mode::Run, true) => {
                self.failure = Some(wrong_input(text));
                return ControlFlow::Break(());
            }
            (Mode::Run, false) => error!("{name} did not load, what ran before goes on: {text}"),
            (Mode::Dev, _) => {
                error!("{name} did not load: {text}");
                if let Some(own) = self.own.as_ref().filter(|_| first) {
                    let (await_answer, url, ready, name) =
                        (own.await_answer(), own.url(), self.ready.clone(), name.clone());
                    beside_the_loop(move || {
                        await_answer();
                        ready.tell_of_error(&format!(
                            "{url} shows the error of {name}; save the file when it is repaired"
                        ));
                    });
                }
                hub.set_broken(app, Some(error_page::render(&format!("loading {name}"), failure)));
            }
        }
        ControlFlow::Continue(())
    }

    fn companion(&self) -> Option<BorrowedFd<'_>> {
        self.own.as_ref().and_then(OwnServer::descriptor)
    }

    fn companion_ended(&mut self, now: Instant) -> ControlFlow<()> {
        if let Some(own) = &mut self.own
            && let Err(problem) = own.bury(now)
        {
            self.failure = Some(problem);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn companion_due(&self) -> Option<Instant> {
        self.own.as_ref().and_then(OwnServer::due)
    }

    fn start_companion(&mut self, now: Instant) {
        if let Some(own) = &mut self.own {
            own.start_again(now);
        }
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
            Ok(rows.iter().filter_map(present).collect())
        }))
    }

    fn waiting(&mut self, endpoint: &Endpoint) {
        let place = format!(
            "a mongrel2 whose handler has send_spec {} and recv_spec {}",
            endpoint.send_spec, endpoint.recv_spec
        );
        info!("waiting for {place}; `kennel check --mongrel2 CONFIG.sqlite` says why nothing arrives");
        let is_ready = Arc::clone(&self.is_ready);
        beside_the_loop(move || {
            let begun = Instant::now();
            loop {
                std::thread::sleep(STILL_WAITING);
                if is_ready.load(Ordering::Relaxed) {
                    return;
                }
                let waited = begun.elapsed().as_secs();
                warn!(
                    "still waiting, for {waited} s, for {place}; `kennel check --mongrel2 CONFIG.sqlite` says why nothing \
                     arrives"
                );
            }
        });
    }
}
