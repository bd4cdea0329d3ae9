//! Everything that the hub counts, as families.

use crate::hub::Hub;
use crate::hub::ids::AppId;
use crate::metrics::{Family, Kind, Sample, Value};

/// A worker's states, as `workers` of the console has them.
const STATES: [&str; 5] = ["loading", "ready", "busy", "draining", "killed"];

impl Hub {
    /// All families, for whoever asks. It looks at each request that is under way, and at no connection.
    pub fn metrics(&self) -> Vec<Family<'_>> {
        let mut families = Vec::new();
        self.add_requests(&mut families);
        self.add_queues(&mut families);
        self.add_connections(&mut families);
        self.add_workers(&mut families);
        self.add_drops(&mut families);
        families
    }

    fn app_name(&self, app: Option<AppId>) -> &str {
        app.map_or("-", |app| &*self.cx.apps[app].spec.name)
    }

    fn add_requests<'a>(&'a self, families: &mut Vec<Family<'a>>) {
        let mut requests = Family::counter(
            "kennel_requests_total",
            "HTTP requests by what became of them: the status of the answer, or that there was none.",
        );
        let mut times = Family::new(
            Kind::Histogram,
            "kennel_request_seconds",
            "From a request's arrival to its answer, or to the beginning of one in pieces.",
        );
        for meter in &self.cx.ledger.traffic.meters {
            let app = self.app_name(meter.app);
            for (status, count) in meter.outcomes() {
                let labels =
                    [("app", app.into()), ("route", (&*meter.route).into()), ("status", status.into())];
                requests.samples.push(Sample { labels: labels.into(), value: Value::Count(count) });
            }
            if meter.times.count() > 0 {
                times.add([("app", app), ("route", &meter.route)], Value::Times(&meter.times));
            }
        }
        families.extend([requests, times]);
        let counters = &self.cx.ledger.counters;
        let single = [
            ("kennel_timeouts_total", "Requests and handshakes answered with 504.", counters.timed_out),
            (
                "kennel_reruns_total",
                "Jobs that went to another worker before they had begun.",
                counters.rerun,
            ),
            (
                "kennel_overloads_total",
                "Requests and handshakes answered with 503, and connections closed because too much waited for a script.",
                counters.overloaded,
            ),
        ];
        let family = |(name, help, count)| Family::counter(name, help).only(Value::Count(count));
        families.extend(single.map(family));
    }

    fn add_queues<'a>(&'a self, families: &mut Vec<Family<'a>>) {
        let mut requests =
            Family::gauge("kennel_requests_in_flight", "HTTP requests without an answer, by where they are.");
        let mut orphans =
            Family::gauge("kennel_connections_without_worker", "Live connections that wait for a worker.");
        for (view, app) in self.list_queues(None).into_iter().zip(&self.cx.apps.list) {
            let name = &*app.spec.name;
            let states = [("queued", view.queued), ("running", view.running), ("pipelined", view.pipelined)];
            for (state, count) in states {
                requests.add([("app", name), ("state", state)], Value::Count(count as u64));
            }
            orphans.add([("app", name)], Value::Count(view.orphans as u64));
        }
        let waiting = Family::gauge(
            "kennel_connections_waiting",
            "Connections of any kind that have something under way: a request, bytes to be sent, credits.",
        );
        families.extend([
            requests,
            orphans,
            waiting.only(Value::Count(self.cx.outbox.conns.map.len() as u64)),
        ]);
    }

    fn add_connections<'a>(&'a self, families: &mut Vec<Family<'a>>) {
        let mut open = Family::gauge("kennel_connections", "Live connections.");
        let mut opened = Family::counter("kennel_connections_opened_total", "Live connections that began.");
        let mut messages = Family::counter(
            "kennel_channel_messages_total",
            "Messages of live connections: in from clients, out to single ones.",
        );
        for meter in &self.cx.ledger.traffic.channels {
            if meter.app.is_none() && meter.opened == 0 {
                continue;
            }
            let (app, channel) = (self.app_name(meter.app), &*meter.channel);
            open.add([("app", app), ("channel", channel)], Value::Count(meter.open()));
            opened.add([("app", app), ("channel", channel)], Value::Count(meter.opened));
            for (direction, count) in [("in", meter.received), ("out", meter.sent)] {
                let labels = [("app", app), ("channel", channel), ("direction", direction)];
                messages.add(labels, Value::Count(count));
            }
        }
        families.extend([open, opened, messages]);
        let counters = &self.cx.ledger.counters;
        let adopted = Family::counter(
            "kennel_connections_adopted_total",
            "Live connections that another kennel had opened and this one goes on with.",
        );
        families.push(adopted.only(Value::Count(counters.adopted)));
        let cut = Family::counter("kennel_connections_cut_total", "Connections that did not end in peace.");
        families.push(cut.by(
            "reason",
            [
                ("overflow", counters.overflowed),
                ("violation", counters.violations),
                ("no_pong", counters.unanswered_pings),
                ("server_gone", counters.purged),
                ("untold", counters.untold),
                ("orphaned", counters.orphaned),
            ],
        ));
        let rooms = Family::gauge("kennel_rooms", "Rooms with members.");
        families.push(rooms.only(Value::Count(self.live.rooms.len() as u64)));
        let published = Family::counter("kennel_room_messages_total", "Messages to rooms.");
        families.push(published.only(Value::Count(counters.published)));
        let recipients =
            Family::counter("kennel_room_deliveries_total", "Messages to rooms, times those who got them.");
        families.push(recipients.only(Value::Count(counters.recipients)));
    }

    fn add_workers<'a>(&'a self, families: &mut Vec<Family<'a>>) {
        let mut workers = Family::gauge("kennel_workers", "Workers by what they are up to.");
        let mut restarts =
            Family::counter("kennel_worker_restarts_total", "Workers that others took the place of.");
        for app in self.app_ids() {
            let state = &self.cx.apps[app];
            let name = &*state.spec.name;
            for stage in STATES {
                let count =
                    self.cx.workers.iter().filter(|(_, w)| w.app == app && w.state_name() == stage).count();
                workers.add([("app", name), ("state", stage)], Value::Count(count as u64));
            }
            let reasons = [
                ("died", state.restarts.died),
                ("hung", state.restarts.hung),
                ("not_loaded", state.restarts.not_loaded),
                ("drained", state.restarts.drained),
                ("reloaded", state.restarts.reloaded),
            ];
            for (reason, count) in reasons {
                restarts.add([("app", name), ("reason", reason)], Value::Count(count));
            }
        }
        families.extend([workers, restarts]);
    }

    fn add_drops<'a>(&'a self, families: &mut Vec<Family<'a>>) {
        let counters = &self.cx.ledger.counters;
        let dropped = Family::counter(
            "kennel_dropped_total",
            "Messages, answers and orders that did not get where they should.",
        );
        families.push(dropped.by(
            "reason",
            [
                ("malformed", counters.malformed),
                ("refused", counters.refused),
                ("spoofed_upload", counters.spoofed_uploads),
                ("too_late", counters.answers_too_late),
                ("cut_short", counters.cut_short),
                ("worker_died", counters.worker_died),
                ("slow_client", counters.dropped),
                ("bad_target", counters.bad_targets),
                ("refused_order", counters.refused_orders),
            ],
        ));
    }
}
