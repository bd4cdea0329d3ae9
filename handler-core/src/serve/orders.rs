//! What is said to the console's sockets, done.
//!
//! Whoever speaks to the operator's socket may do everything. The address of a handler is about its app alone: what it lists is that
//! app's, and for connections of others it is as if they were not there.

use super::numbers::{self, Turns};
use super::seats::Seats;
use super::{App, Observer};
use crate::console::{self, Command};
use crate::hub::inspect::ConnectionFilter;
use crate::hub::{AppId, Hub, LinkId, OperateError, TapFilter};
use crate::metrics;
use crate::transport::Mongrel2s;
use serde_json::{Value, json};
use std::time::Instant;
use tracing::info;

/// Everything that commands may need.
pub(super) struct Desk<'a> {
    pub hub: &'a mut Hub,
    pub seats: &'a Seats,
    pub apps: &'a [App],
    pub servers: &'a Mongrel2s,
    pub turns: &'a Turns,
    pub observer: &'a mut dyn Observer,
    /// The link of made-up requests.
    pub link: LinkId,
    /// Who asks: what was begun to be watched is told to them.
    pub token: u64,
    pub started: Instant,
    pub now: Instant,
    /// The app that the address is of; none: the operator's own.
    pub only: Option<AppId>,
}

/// Does what was asked for.
pub(super) fn obey(command: Command, desk: &mut Desk<'_>) -> Result<Value, String> {
    let now = desk.now;
    let hub = &mut *desk.hub;
    let value = |value: Result<Value, serde_json::Error>| value.map_err(|problem| problem.to_string());
    let done = |result: Result<(), OperateError>| match result {
        Ok(()) => Ok(Value::Null),
        Err(problem) => Err(problem.to_string()),
    };
    let only = desk.only;
    match command {
        Command::Help { about } => {
            console::help(about.as_deref(), only.is_some()).map_err(|problem| problem.to_string())
        }
        Command::Stats { app } => {
            let fits = |id: AppId, name: &str| match only {
                Some(only) => id == only,
                None => app.as_ref().is_none_or(|app| app == name),
            };
            let apps = hub.list_apps().into_iter().filter(|(id, view)| fits(*id, &view.app));
            let mut apps: Vec<_> = apps.map(|(_, view)| view).collect();
            match only.and_then(|_| apps.pop()) {
                Some(own) => value(serde_json::to_value(own)),
                None if apps.is_empty() => Err(no_such_app(desk.apps)),
                None => value(serde_json::to_value(apps)),
            }
        }
        Command::Status => {
            let (waiting, requests) = hub.load();
            Ok(json!({
                "process": std::process::id(),
                "version": env!("CARGO_PKG_VERSION"),
                "uptime": now.saturating_duration_since(desk.started).as_secs(),
                "connections_waiting": waiting,
                "requests_unanswered": requests,
                "live_connections": hub.live(),
                "counters": hub.counters(),
            }))
        }
        Command::Connections(filter) => {
            let filter = ConnectionFilter { only, ..filter };
            value(serde_json::to_value(hub.list_connections(&filter, now)))
        }
        Command::Connection { id } => match hub.connection_story(&id, now) {
            Some(story) => value(serde_json::to_value(story)),
            None => Err(format!("no live connection is called `{id}`; `connections` lists them")),
        },
        Command::Rooms => value(serde_json::to_value(hub.list_rooms(only))),
        Command::Workers => {
            let mut workers = hub.list_workers(only, now);
            for (id, view) in &mut workers {
                view.process = desk.seats.process(*id);
            }
            let views: Vec<_> = workers.into_iter().map(|(_, view)| view).collect();
            value(serde_json::to_value(views))
        }
        Command::Queues => value(serde_json::to_value(hub.list_queues(only))),
        Command::Metrics { name } => {
            let families = numbers::gather(hub, desk.servers, desk.turns);
            Ok(metrics::rows(&families, name.as_deref().unwrap_or_default()))
        }
        Command::Limits => {
            let limits = hub.limits().described();
            let each = |(name, value, means): (&str, String, &str)| json!({ "limit": name, "value": value, "means": means });
            Ok(limits.into_iter().map(each).collect())
        }
        Command::Send { id, text } => done(hub.send_to(&id, &text, now)),
        Command::Broadcast { room, text } => {
            Ok(json!({ "recipients": hub.broadcast(room.as_deref(), only, &text, now) }))
        }
        Command::Close { id, code, reason } => done(hub.close_by_name(&id, code, &reason, now)),
        Command::Kick { id } => done(hub.kick(&id, now)),
        Command::Tail(filter) => done(hub.tap(desk.token, TapFilter { only, ..filter })),
        Command::Quiet => {
            hub.untap(desk.token);
            Ok(Value::Null)
        }
        Command::Message { id, text } => done(hub.simulate_message(&id, &text, now)),
        Command::Request(_) | Command::Eval { .. } | Command::Reload { .. } => {
            unreachable!("their answers come later")
        }
        Command::Log { level } => {
            desk.observer.set_log_level(level);
            Ok(Value::Null)
        }
        Command::Drain(name) => done(hub.drain_worker(name.app.as_deref(), name.worker, now)),
    }
}

/// Begins to load the newest code of an app, or of all. Gives the apps whose outcome is to be waited for.
pub(super) fn reload(app: Option<&str>, desk: &mut Desk<'_>) -> Result<Vec<(AppId, String)>, String> {
    let is_meant = |id: AppId, name: &str| match desk.only {
        Some(only) => id == only,
        None => app.is_none_or(|app| app == name),
    };
    let named = desk.hub.app_ids().zip(desk.apps).map(|(id, app)| (id, app.spec.name.clone()));
    let chosen: Vec<_> = named.filter(|(id, name)| is_meant(*id, name)).collect();
    if chosen.is_empty() {
        return Err(no_such_app(desk.apps));
    }
    let app = app.or_else(|| desk.only.and(chosen.first()).map(|(_, name)| name.as_str()));
    info!(app, "loading the newest code, as the console asked");
    desk.observer.reload_asked();
    for (app, _) in &chosen {
        desk.hub.load_app(*app, desk.now);
    }
    Ok(chosen)
}

fn no_such_app(apps: &[App]) -> String {
    let names: Vec<_> = apps.iter().map(|app| format!("`{}`", app.spec.name)).collect();
    format!("there is no such app; there is {}", names.join(", "))
}

/// Whether this may be said to the address of this app: why not.
pub(super) fn refusal(command: &Command, app: AppId, hub: &Hub, apps: &[App]) -> Option<String> {
    let name = || apps.get(usize::from(app.0)).map_or("", |app| app.spec.name.as_str());
    let conn = match command {
        Command::Connection { id }
        | Command::Send { id, .. }
        | Command::Close { id, .. }
        | Command::Kick { id }
        | Command::Tail(TapFilter { id: Some(id), .. }) => id,
        Command::Stats { app: Some(other) } | Command::Reload { app: Some(other) } if other != name() => {
            return Some(format!("this address is that of `{}`, not of `{other}`", name()));
        }
        Command::Help { .. }
        | Command::Stats { .. }
        | Command::Connections(_)
        | Command::Rooms
        | Command::Workers
        | Command::Queues
        | Command::Broadcast { .. }
        | Command::Reload { .. }
        | Command::Tail(_)
        | Command::Quiet => return None,
        Command::Status
        | Command::Metrics { .. }
        | Command::Limits
        | Command::Drain(_)
        | Command::Request(_)
        | Command::Message { .. }
        | Command::Eval { .. }
        | Command::Log { .. } => {
            let name = name();
            return Some(format!(
                "that is for the console of the whole kennel; `help` lists what the address of `{name}` takes"
            ));
        }
    };
    let is_its = hub.app_of(conn) == Some(app);
    (!is_its).then(|| OperateError::NoConnection { id: conn.clone() }.to_string())
}
