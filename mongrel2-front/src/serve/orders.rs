//! What operators want: another configuration, and what the control port is asked.

use super::ServeError;
use super::choice::Choice;
use super::clients::Clients;
use super::server::Server;
use super::start::temp_store;
use crate::control::{self, ConnectionRow, Order, Running};
use crate::front::Front;
use crate::process::error_log::ErrorLog;
use crate::site::Site;
use mongrel2_conf::model;
use sd_notify::NotifyState;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tracing::{error, info, warn};

impl Server {
    /// Reads the configuration again and opens log files again. What does not load changes nothing.
    pub(super) fn reload(&mut self) {
        if let Ok(time) = NotifyState::monotonic_usec_now() {
            self.supervisor.tell(&[NotifyState::Reloading, time]);
        }
        match self.load() {
            Ok(()) => info!("configuration was read again"),
            Err(problem) => error!("configuration was not replaced, the old one stays in force: {problem}"),
        }
        if let Err(problem) = self.access_log.reopen() {
            error!("access log was not opened again, the old file stays in use: {problem}");
        }
        if let Some(Err(problem)) = self.error_log.as_ref().map(ErrorLog::reopen) {
            error!("error log was not opened again, the old file stays in use: {problem}");
        }
        self.reload_certificates();
        self.supervisor.tell(&[NotifyState::Ready]);
    }

    /// Loads certificates again. Those of before stay when that fails.
    pub(super) fn reload_certificates(&mut self) {
        match self.certificates.as_ref().map(|certificates| certificates.reload()) {
            Some(Ok(true)) => info!("certificates were loaded again"),
            Some(Ok(false)) | None => {}
            Some(Err(problem)) => {
                error!("certificates were not replaced, the old ones stay in use: {problem}")
            }
        }
    }

    fn load(&mut self) -> Result<(), ServeError> {
        let old = self.front.site().clone();
        let uuid = &old.server().uuid;
        let choice = Choice::read(&self.options.config, Some(uuid))?;
        let (config, server) = (&choice.config, choice.server());
        let site = Site::after(&old, config, server, &self.root)?;
        let store = temp_store(config)?;
        if let Some(handlers) = &mut self.handlers {
            handlers.rebind(site.handlers(), &self.poller)?;
        }
        self.congested.resize(site.handlers().len(), false);
        warn_of_restart(old.server(), server);
        self.uploads.set_store(store);
        self.front.replace_site(site, Instant::now());
        Ok(())
    }

    /// Answers what is asked at the control port. Returns what the server is to do.
    pub(super) fn service_control(&mut self, token: u64, now: Instant) -> Vec<Order> {
        let Some(control) = &mut self.control else { return Vec::new() };
        let (front, clients, poller) = (&mut self.front, &self.clients, &self.poller);
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let site = front.site().clone();
        let mut orders = Vec::new();
        control.service(poller, token, now, |request| {
            let mut running = Facts { front, clients, server: site.server(), now };
            let (answer, order) = control::answer(request, &mut running, unix.cast_signed());
            orders.extend(order);
            answer
        });
        orders
    }
}

/// The server as the control port sees it.
struct Facts<'a> {
    front: &'a mut Front,
    clients: &'a Clients,
    server: &'a model::Server,
    now: Instant,
}

impl Running for Facts<'_> {
    fn server(&self) -> &model::Server {
        self.server
    }

    fn connections(&self) -> Vec<ConnectionRow> {
        self.front.connections(self.now, |client| self.clients.descriptor(client)).collect()
    }

    fn kill(&mut self, id: u32) -> bool {
        self.front.kill(id)
    }
}

/// Names what a running server cannot change.
fn warn_of_restart(old: &model::Server, new: &model::Server) {
    let changes = [
        ("bind_addr", old.bind_addr != new.bind_addr),
        ("port", old.port != new.port),
        ("use_ssl", old.use_ssl != new.use_ssl),
        ("chroot", old.chroot != new.chroot),
        ("pid_file", old.pid_file != new.pid_file),
        ("access_log", old.access_log != new.access_log),
        ("error_log", old.error_log != new.error_log),
        ("control_port", old.control_port != new.control_port),
    ];
    for (name, _) in changes.iter().filter(|(_, has_changed)| *has_changed) {
        warn!("`{name}` has changed, which takes a restart of the server");
    }
}
