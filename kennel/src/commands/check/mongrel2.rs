//! Whether anything would arrive from a Mongrel2 whose database is named, and if not, why.
//!
//! Each finding has a name. Errors are what keeps messages or answers from arriving; warnings what costs
//! some of them; notes what one may want to know. Nothing is connected to but the control port.

use super::app_routes;
use super::sockets::{self, Seen};
use crate::args::{Database, Front};
use crate::config::{Config, Place};
use crate::guard;
use crate::mongrel2::capacity::{OWN_DIVIDEND, Places};
use crate::mongrel2::existing::{self, CUTS};
use crate::run_files;
use handler_core::hub::Limits;
use handler_core::serve::App;
use handler_core::worker::protocol::Registration;
use mongrel2_conf::control::Control;
use mongrel2_conf::deployed::is_front;
use mongrel2_conf::deployed::{Deployment, Process};
use mongrel2_conf::model::{Handler, Protocol, Server, Target};
use mongrel2_guard::Presence;
use mongrel2_wire::address::Address;
use rustix::fs::{Access, access};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Something about a Mongrel2 that whoever runs a kennel behind it should know.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    /// For whoever looks it up, or filters by it.
    name: &'static str,
    message: String,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
    /// Processes that have the library which keeps one client's bytes from another client.
    pub(super) guarded: Vec<u32>,
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// Messages or answers do not arrive.
    Error,
    /// Some of them do not.
    Warning,
    /// All do.
    Note,
}

impl Severity {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

impl Finding {
    pub(super) fn text(&self) -> String {
        format!("{} [{}]", self.message, self.name)
    }

    pub(super) fn as_json(&self) -> Value {
        json!({ "severity": self.severity.word(), "name": self.name, "message": self.message })
    }
}

/// Looks at each Mongrel2 whose database was named, on the command line or else in kennel.toml.
pub(super) fn check(
    typed: &Database,
    front: Option<Front>,
    config: &Config,
    apps: &[(App, Registration)],
    limits: &Limits,
) -> anyhow::Result<Report> {
    let mut list: Vec<(&Database, Option<&Path>)> = Vec::new();
    match typed.mongrel2 {
        Some(_) => list.push((typed, None)),
        None => {
            for server in &config.mongrel2 {
                if let Place::Database(database) = &server.place {
                    list.push((database, server.upload_store.as_deref()));
                }
            }
        }
    }
    let mut report = Report::default();
    let is_mongrel2 = front.or(config.front).unwrap_or(Front::DEFAULT) == Front::Mongrel2;
    if list.is_empty() && config.mongrel2.is_empty() && is_mongrel2 && config.flow_control == Some(false) {
        let message = format!("`flow_control` is false in kennel.toml: {CUTS}");
        report.findings.push(Finding { severity: Severity::Warning, name: "no-flow-control", message });
    }
    for (database, upload_store) in list {
        let Some(path) = &database.mongrel2 else { continue };
        let deployment = existing::open(path, database.workdir.as_deref())?;
        let (server, handler) = existing::find(&deployment, database)?;
        let process = deployment.process(server);
        let mut about =
            About { deployment: &deployment, server, handler, process, report: Report::default() };
        about.rows();
        about.idents();
        about.process();
        about.guard();
        about.sockets();
        about.sharing();
        about.control_port();
        about.flow_control();
        about.forwarded(config);
        about.uploads(upload_store);
        about.limits(limits);
        about.descriptors();
        about.protocol();
        about.unsupported(front);
        about.routes(apps);
        report.findings.append(&mut about.report.findings);
        report.guarded.append(&mut about.report.guarded);
    }
    Ok(report)
}

/// One handler of one server, and what was found out about it.
struct About<'a> {
    deployment: &'a Deployment,
    server: &'a Server,
    handler: &'a Handler,
    process: Process,
    report: Report,
}

impl About<'_> {
    fn error(&mut self, name: &'static str, message: String) {
        self.report.findings.push(Finding { severity: Severity::Error, name, message });
    }

    fn warning(&mut self, name: &'static str, message: String) {
        self.report.findings.push(Finding { severity: Severity::Warning, name, message });
    }

    fn note(&mut self, name: &'static str, message: String) {
        self.report.findings.push(Finding { severity: Severity::Note, name, message });
    }

    fn rows(&mut self) {
        for flaw in &self.deployment.contents.flaws {
            self.warning("flawed-row", flaw.to_string());
        }
    }

    fn idents(&mut self) {
        let Handler { send_ident, recv_ident, .. } = self.handler;
        if !send_ident.starts_with(recv_ident.as_str()) {
            self.error(
                "ident-mismatch",
                format!(
                    "recv_ident `{recv_ident}` is no prefix of send_ident `{send_ident}`: mongrel2 hears none of \
                     the answers; make it `{send_ident}` or empty"
                ),
            );
        }
        if send_ident.is_empty() || !send_ident.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            self.error(
                "bad-ident",
                format!(
                    "send_ident `{send_ident}` may have letters, digits and `-` only: mongrel2 understands no answer \
                     that begins with it"
                ),
            );
        }
    }

    fn process(&mut self) {
        let label = self.server.label();
        match &self.process {
            Process::Running { .. } => {}
            Process::Absent { pid_file } => {
                let text = format!("server `{label}` does not run: there is no {}", pid_file.display());
                self.note("not-running", text);
            }
            Process::Stale { pid_file, .. } => {
                let text = format!("server `{label}` does not run: {} is stale", pid_file.display());
                self.note("stale-pid-file", text);
            }
            Process::Unreadable { pid_file, .. } => {
                let text = format!("whether server `{label}` runs is in {}, not for us", pid_file.display());
                self.note("pid-file-unreadable", text);
            }
        }
    }

    /// Whether the process has the library that keeps one client's bytes from another client. A front needs none.
    fn guard(&mut self) {
        let process = self.process.pid().filter(|pid| !is_front(*pid));
        let Some(pid) = process.and_then(|pid| u32::try_from(pid).ok()) else { return };
        let how = "`kennel guard` says how to preload it";
        match mongrel2_guard::presence(pid) {
            Presence::Loaded => self.report.guarded.push(pid),
            Presence::Absent => {
                self.warning(
                    "unguarded",
                    format!("process {pid} runs without the guard: {}; {how}", guard::DANGER),
                );
            }
            Presence::Unknown(problem) => {
                let why = guard::in_words(problem);
                self.note(
                    "guard-unknown",
                    format!("cannot see whether process {pid} has the guard ({why}); {how}"),
                );
            }
        }
    }

    fn sockets(&mut self) {
        for (what, spec) in [("send_spec", &self.handler.send_spec), ("recv_spec", &self.handler.recv_spec)] {
            let address = match self.deployment.address(self.server, spec) {
                Ok(address) => address,
                Err(problem) => {
                    self.error("bad-address", format!("{what}: {problem}"));
                    continue;
                }
            };
            let seen = sockets::look(spec, &address, self.process.pid());
            if let Address::Ipc(path) = &address
                && !path.starts_with('@')
                && !self.reachable(what, spec, Path::new(path))
            {
                continue;
            }
            let Some(Seen { listening, connected }) = seen else { continue };
            match (self.process.pid(), listening) {
                (Some(pid), false) => self.error(
                    "not-bound",
                    format!(
                        "{what} `{spec}`: process {pid} does not listen there; was it started before the database \
                         was changed?"
                    ),
                ),
                (None, true) if !matches!(self.process, Process::Unreadable { .. }) => self.error(
                    "address-taken",
                    format!(
                        "{what} `{spec}`: another program listens there already, so mongrel2 will not be able to"
                    ),
                ),
                _ => {}
            }
            if self.process.pid().is_some() {
                self.consumers(what, spec, connected);
            }
        }
    }

    /// Several at one address get the messages in turn: a request and its disconnect reach different ones.
    fn consumers(&mut self, what: &str, spec: &str, connected: usize) {
        let own = run_files::running().map_or(0, |running| running.len());
        match connected {
            0 => {}
            1 if own > 0 => {
                self.note("connected", format!("{what} `{spec}`: a kennel runs in this directory"));
            }
            1 => self.warning(
                "second-consumer",
                format!(
                    "{what} `{spec}`: a handler is connected already; with another, mongrel2 deals the messages to \
                     the two in turn"
                ),
            ),
            many => self.error(
                "several-consumers",
                format!(
                    "{what} `{spec}`: {many} handlers are connected, and mongrel2 deals the messages to them in turn; \
                     stop all but one, and give that one more workers"
                ),
            ),
        }
    }

    /// Whether a socket is there for this user; says why not.
    fn reachable(&mut self, what: &str, spec: &str, path: &Path) -> bool {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let place = format!("{what} `{spec}` is {} from here", path.display());
        match fs::metadata(folder) {
            Err(problem) if problem.kind() == io::ErrorKind::PermissionDenied => {
                self.error("no-permission", format!("{place}: this user may not look into the folder"));
                return false;
            }
            Err(_) => {
                self.error(
                    "no-folder",
                    format!(
                        "{place}: there is no such folder; is mongrel2's working directory another? (--workdir)"
                    ),
                );
                return false;
            }
            Ok(_) => {}
        }
        match (fs::metadata(path), self.process.pid()) {
            (Err(problem), _) if problem.kind() == io::ErrorKind::PermissionDenied => {
                self.error("no-permission", format!("{place}: this user may not look into the folder"));
                false
            }
            (Err(_), Some(pid)) => {
                self.error(
                    "no-socket",
                    format!(
                        "{place}: there is no such socket, though process {pid} runs; is its working directory \
                         another (--workdir), or was it started before the database was changed?"
                    ),
                );
                false
            }
            (Ok(_), _) if access(path, Access::WRITE_OK).is_err() => {
                self.error(
                    "no-permission",
                    format!(
                        "{place}: this user may not connect to it; it needs the right to write to the socket"
                    ),
                );
                false
            }
            _ => true,
        }
    }

    /// Addresses that two handlers bind: the second one fails. Mongrel2 binds what its routes lead to.
    fn sharing(&mut self) {
        let mine = [&self.handler.send_spec, &self.handler.recv_spec];
        if mine[0] == mine[1] {
            self.error("shared-address", format!("send_spec and recv_spec are both `{}`", mine[0]));
        }
        let mut texts = Vec::new();
        let mut seen = HashSet::new();
        for other in self.server.handlers().filter(|other| seen.insert(*other)) {
            let theirs = [&other.send_spec, &other.recv_spec];
            // The same pair is one handler to Mongrel2, with the idents of the first.
            if theirs == mine {
                if (&other.send_ident, &other.recv_ident)
                    != (&self.handler.send_ident, &self.handler.recv_ident)
                {
                    texts.push(format!(
                        "handlers `{}` and `{}` have the same addresses; mongrel2 takes them for one",
                        self.handler.send_ident, other.send_ident
                    ));
                }
                continue;
            }
            for spec in mine.iter().filter(|spec| theirs.contains(spec)) {
                texts.push(format!(
                    "`{spec}` is an address of handler `{}` too; only one of them can have it",
                    other.send_ident
                ));
            }
        }
        texts.into_iter().for_each(|text| self.error("shared-address", text));
        let at = |server: &Server, spec: &str| self.deployment.address(server, spec).ok();
        let mine = mine.map(|spec| at(self.server, spec));
        let wants = |server: &&Server| {
            let specs = server.handlers().flat_map(|other| [&other.send_spec, &other.recv_spec]);
            specs.map(|spec| at(server, spec)).any(|address| address.is_some() && mine.contains(&address))
        };
        let others = self.deployment.servers().iter().filter(|other| other.uuid != self.server.uuid);
        let texts: Vec<_> = others
            .filter(wants)
            .map(|other| {
                format!(
                    "server `{}` has a handler at the same address, so only one of the two can run",
                    other.label()
                )
            })
            .collect();
        texts.into_iter().for_each(|text| self.warning("same-address", text));
    }

    fn control_port(&mut self) {
        let Some(pid) = self.process.pid() else { return };
        let answer = match self.deployment.control_port(self.server) {
            Ok(address) => Control::new(address).uuid().map_err(|problem| problem.to_string()),
            Err(problem) => Err(problem.to_string()),
        };
        match answer {
            Ok(uuid) if uuid == self.server.uuid => {}
            Ok(uuid) => {
                let text = format!(
                    "the control port of server `{}` is answered by the server with uuid `{uuid}`",
                    self.server.label()
                );
                self.warning("other-control-port", text);
            }
            Err(problem) => {
                self.note("no-control-port", format!("{problem} (process {pid} runs all the same)"));
            }
        }
    }

    fn flow_control(&mut self) {
        if !existing::has_flow_control(self.deployment) {
            self.warning("no-flow-control", format!("without download.flow_control, {CUTS}"));
        }
    }

    fn forwarded(&mut self, config: &Config) {
        if config.trusted_proxies.is_some() && !existing::keeps_forwarded(self.deployment) {
            self.warning("no-forwarded", existing::OVERWRITES.to_owned());
        }
    }

    fn uploads(&mut self, named: Option<&Path>) {
        let limit = self.deployment.setting("limits.content_length").unwrap_or("20480").to_owned();
        let Some(template) = self.deployment.setting("upload.temp_store").filter(|t| !t.is_empty()) else {
            let text = format!("without upload.temp_store mongrel2 refuses bodies beyond {limit} bytes");
            self.note("no-upload-store", text);
            return;
        };
        let template = template.to_owned();
        if !template.ends_with("XXXXXX") {
            self.error(
                "upload-template",
                format!(
                    "upload.temp_store `{template}` must end with XXXXXX: mongrel2 can make no file from it"
                ),
            );
        }
        let Some(folder) = self.deployment.upload_store(self.server) else { return };
        let place = format!("the folder of upload.temp_store `{template}` is {} from here", folder.display());
        let real = match folder.canonicalize() {
            Ok(real) if real.is_dir() => real,
            _ => {
                self.error("upload-store", format!("{place}, and that is no folder: uploads are refused"));
                return;
            }
        };
        if let Some(named) = named
            && named.canonicalize().ok() != Some(real.clone())
        {
            let text = format!("{place}, upload_store in kennel.toml says {}", named.display());
            self.error("upload-store-mismatch", text);
        }
        if !may_use(&real) {
            self.error("upload-store", format!("{place}, where this user may not read and delete files"));
        }
        if limit != "103424" {
            self.warning(
                "content-length",
                format!(
                    "limits.content_length is {limit}: with uploads a client can crash mongrel2 unless it is 103424"
                ),
            );
        }
    }

    fn limits(&mut self, limits: &Limits) {
        let number = |key, default| {
            self.deployment.setting(key).and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or(default)
        };
        let (targets, ping) = (number("limits.handler_targets", 128), number("limits.min_ping", 120));
        if targets < limits.handler_targets as u64 {
            self.warning(
                "handler-targets",
                format!(
                    "mongrel2 refuses replies to more than {targets} connections (limits.handler_targets), kennel \
                     sends to {}; set handler_targets = {targets} under [limits] in kennel.toml",
                    limits.handler_targets
                ),
            );
        }
        if ping > 0 && limits.keep_alive.saturating_mul(2) >= Duration::from_secs(ping) {
            self.warning(
                "min-ping",
                format!(
                    "mongrel2 ends connections that are quiet for {ping} s (limits.min_ping); set keep_alive under \
                     [limits] in kennel.toml below half of that"
                ),
            );
        }
    }

    /// Whether Mongrel2's settings fit its descriptors. A front does not know them.
    fn descriptors(&mut self) {
        if self.process.pid().is_some_and(is_front) {
            return;
        }
        let Places { descriptors, dividend, max_fd } = Places::of(self.deployment, self.server);
        if dividend < OWN_DIVIDEND {
            self.error(
                "hot-dividend",
                format!("mongrel2 crashes at its start with superpoll.hot_dividend {dividend}; set it to 2"),
            );
        }
        if descriptors < max_fd {
            self.warning(
                "few-descriptors",
                format!(
                    "mongrel2 wants {max_fd} descriptors (superpoll.max_fd) and got {descriptors}, so replies stall from \
                     {} connections on; raise the hard limit of its process (LimitNOFILE, ulimit -Hn)",
                    descriptors / dividend
                ),
            );
        }
    }

    fn protocol(&mut self) {
        if self.handler.protocol == Protocol::Json {
            self.note(
                "json",
                "headers come as JSON; protocol='tnetstring' is faster and exact for all bytes".to_owned(),
            );
        }
    }

    /// What `kennel front` would refuse to start with: an error for who wants to start it, else worth knowing.
    fn unsupported(&mut self, front: Option<Front>) {
        for found in mongrel2_front::unsupported(self.server) {
            match front {
                Some(Front::Kennel) => self.error("front-unsupported", found.to_string()),
                Some(Front::Mongrel2) => {}
                None => self.note("front-unsupported", found.to_string()),
            }
        }
    }

    fn routes(&mut self, apps: &[(App, Registration)]) {
        let mine = (&self.handler.send_spec, &self.handler.recv_spec);
        let is_ours = |target: &Target| matches!(target, Target::Handler(other) if (&other.send_spec, &other.recv_spec) == mine);
        let unreached: Vec<_> = app_routes::all(apps)
            .iter()
            .filter_map(|path| app_routes::unreached(path, self.server, is_ours))
            .collect();
        let ident = &self.handler.send_ident;
        for text in unreached {
            self.warning("no-route", format!("handler `{ident}` never gets {text}"));
        }
    }
}

/// Files of others are deleted by who may write to their folder; that they may be read is up to their mode.
fn may_use(folder: &PathBuf) -> bool {
    access(folder, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).is_ok()
}
