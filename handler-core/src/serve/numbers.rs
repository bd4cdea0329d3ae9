//! All metrics of a running hub: its own, those of its servers' links, and the loop's.

use crate::hub::{Hub, LinkId};
use crate::metrics::{Family, Histogram, Kind, Value};
use crate::transport::Mongrel2s;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the loop counts, and what it knows of itself.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// From each wake-up until it sleeps again: what comes meanwhile waits for so long.
    pub busy: Histogram,
    /// When the process began to serve, in seconds since 1970.
    pub began: f64,
    /// Lines of the log that were dropped.
    pub dropped_log_lines: Arc<AtomicU64>,
}

impl Turns {
    /// Counts a turn.
    pub(super) fn observe(&mut self, busy: Duration) {
        self.busy.observe(busy);
    }
}

/// Gathers everything.
pub(super) fn gather<'a>(hub: &'a Hub, servers: &Mongrel2s, turns: &'a Turns) -> Vec<Family<'a>> {
    let mut info = Family::gauge("kennel_info", "1, with the version.");
    info.add([("version", env!("CARGO_PKG_VERSION"))], Value::Count(1));
    let began = Family::gauge("kennel_start_time_seconds", "When it began to serve, seconds since 1970.");
    let mut families = vec![info, began.only(Value::Real(turns.began))];
    families.extend(hub.metrics());
    families.extend(of_links(hub, servers));
    let dropped = Family::counter(
        "kennel_log_lines_dropped_total",
        "Log lines that were dropped, since standard error did not take them in time.",
    );
    families.push(dropped.only(Value::Count(turns.dropped_log_lines.load(Ordering::Relaxed))));
    let mut lag = Family::new(
        Kind::Histogram,
        "kennel_loop_seconds",
        "From each wake-up of the hub until it sleeps again: what comes meanwhile waits for so long.",
    );
    lag.add([], Value::Times(&turns.busy));
    families.push(lag);
    families
}

/// What passes between the hub and each Mongrel2, counted from 0 in the order of the addresses.
fn of_links<'a>(hub: &Hub, servers: &Mongrel2s) -> Vec<Family<'a>> {
    let links = 0..servers.endpoints().count();
    let by_server = |family: Family<'a>, number: &dyn Fn(usize) -> u64| {
        family.by("server", links.clone().map(|link| (link.to_string(), number(link))))
    };
    let up = Family::gauge("kennel_server_up", "1 while this Mongrel2 listens and is listened to, else 0.");
    let arrivals = Family::counter(
        "kennel_server_arrivals_total",
        "How often this Mongrel2 came: once for each of its runs.",
    );
    let received = Family::counter("kennel_server_received_total", "Messages from this Mongrel2.");
    let received_bytes = Family::counter("kennel_server_received_bytes_total", "Their bytes.");
    let sent = Family::counter(
        "kennel_server_sent_total",
        "Messages to this Mongrel2; one may be for up to 128 of its clients.",
    );
    let sent_bytes = Family::counter("kennel_server_sent_bytes_total", "Their bytes.");
    let spill =
        Family::gauge("kennel_server_spill_bytes", "Bytes that wait because this Mongrel2 takes no more.");
    let dropped = Family::counter(
        "kennel_server_dropped_total",
        "Messages to this Mongrel2 that were dropped, since it was gone.",
    );
    let live = Family::gauge("kennel_server_connections", "Live connections that this Mongrel2 holds.");
    let most = Family::gauge(
        "kennel_server_connections_bound",
        "Connections of this Mongrel2 beyond which new live connections get 503.",
    );
    let id = |link| LinkId(link as u16);
    vec![
        by_server(up, &|link| servers.is_up(link).into()),
        by_server(arrivals, &|link| servers.passed(link).arrivals),
        by_server(received, &|link| servers.passed(link).received),
        by_server(received_bytes, &|link| servers.passed(link).received_bytes),
        by_server(sent, &|link| servers.passed(link).sent),
        by_server(sent_bytes, &|link| servers.passed(link).sent_bytes),
        by_server(spill, &|link| servers.unsent(link) as u64),
        by_server(dropped, &|link| servers.passed(link).dropped),
        by_server(live, &|link| hub.live_on(id(link)) as u64),
        by_server(most, &|link| hub.most_live(id(link)) as u64),
    ]
}
