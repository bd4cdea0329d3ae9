//! Who answers a request: a worker by a route, a page or the raw handler; or the hub itself.

use super::calls::{is_call, plan_call};
use super::{Exchange, client_library};
use crate::hub::answers::{own_answer, own_page};
use crate::hub::apps::affinity::Near;
use crate::hub::apps::app::App;
use crate::hub::apps::is_below_route;
use crate::hub::apps::routes::Target;
use crate::hub::context::Context;
use crate::hub::ids::{AppId, ConnKey};
use crate::hub::ledger::traffic::{Beside, MeterId};
use crate::hub::request::{Asked, Body, Plan, Planned};
use crate::worker::protocol::{Handler, encode_job};
use kennel_http::percent::normal_path;
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

impl Exchange {
    /// Finds who answers an HTTP request, and writes the job or the answer.
    pub(in crate::hub) fn plan(
        &mut self,
        cx: &mut Context,
        asked: &Asked<'_>,
        method: &[u8],
        now: Instant,
    ) -> Planned {
        let (key, envelope, head) = (asked.key, asked.envelope, asked.head);
        let answer = Planned::own;
        if let Some(fault) = head.fault {
            cx.refuse(key.link, envelope, fault.reason(), now);
            return answer(own_answer(400, None), MeterId::NOBODY);
        }
        if cx.stopping.is_some() {
            return answer(own_page(cx, 503), MeterId::NOBODY);
        }
        if cx.refuses_host(key.link, envelope, now) {
            return answer(own_page(cx, 421), MeterId::NOBODY);
        }
        if is_call(cx, envelope)
            && let Some(planned) = plan_call(cx, asked, method, now)
        {
            return planned;
        }
        let path = normal_path(envelope.path);
        // Mongrel2 also hands over paths that end inside a route's key.
        let below_route = is_below_route(envelope, head);
        let mut owner: Option<AppId> = None;
        if below_route {
            let mut allowed = None;
            for app in cx.apps.order.iter().copied() {
                let found = &cx.apps[app];
                if !found.routes.is_under_mount(&path) {
                    continue;
                }
                // Of several apps with the mount point that fits best, the one that has a page.
                let has_page = |app: &App| app.registration.not_found || app.registration.hooks;
                owner = match owner.map(|owner| &cx.apps[owner]) {
                    Some(first) if first.spec.mount != found.spec.mount || has_page(first) => owner,
                    Some(_) if !has_page(found) => owner,
                    _ => Some(app),
                };
                if !found.is_loaded() && found.broken.is_none() {
                    return answer(own_answer(503, None), cx.ledger.traffic.beside(app, Beside::Other));
                }
                if let Some(page) = &found.broken {
                    let head = "Content-Type: text/html; charset=utf-8\r\n".to_owned();
                    let plan = Plan::Answer { status: 500, head, body: page.clone() };
                    return answer(plan, cx.ledger.traffic.beside(app, Beside::Other));
                }
                match found.routes.find(method, &path) {
                    Target::Handler(handler, values) => {
                        let values = values.iter().map(|v| v.as_bytes());
                        return self.run(cx, app, Handler::Route(handler), asked, values, now);
                    }
                    Target::Options(allow) => allowed = allowed.or(Some((app, Handler::Options, allow))),
                    Target::MethodNotAllowed(allow) => {
                        allowed = allowed.or(Some((app, Handler::MethodNotAllowed, allow)));
                    }
                    Target::NotFound if allowed.is_none() && found.registration.is_all_page() => {
                        return self.run(cx, app, Handler::NotFound, asked, [].into_iter(), now);
                    }
                    Target::NotFound => {}
                }
            }
            if let Some(planned) = plan_call(cx, asked, method, now) {
                return planned;
            }
            if let Some((app, handler, allow)) = allowed {
                if cx.apps[app].registration.hooks {
                    return self.run(cx, app, handler, asked, [allow.as_bytes()].into_iter(), now);
                }
                let status = if handler == Handler::Options { 204 } else { 405 };
                return answer(own_answer(status, Some(&allow)), cx.meter_of(app, handler));
            }
            if let Some(planned) = client_library::plan(cx, envelope, method, &path) {
                return planned;
            }
        } else {
            cx.refuse(key.link, envelope, "the path ends inside its route's key", now);
        }
        if let Some(app) = cx.apps.raw() {
            return self.run(cx, app, Handler::Raw, asked, [].into_iter(), now);
        }
        if below_route && cx.apps.channel_at(envelope.path).is_some() {
            return answer(own_answer(426, None), MeterId::NOBODY);
        }
        // The page for "nothing here" is the app's whose mount point fits best, if it wants to.
        let Some(app) = owner else { return answer(own_answer(404, None), MeterId::NOBODY) };
        let registration = &cx.apps[app].registration;
        if registration.not_found || registration.hooks {
            return self.run(cx, app, Handler::NotFound, asked, [].into_iter(), now);
        }
        answer(own_answer(404, None), cx.meter_of(app, Handler::NotFound))
    }

    /// A worker of this app is to answer.
    fn run<'p>(
        &mut self,
        cx: &mut Context,
        app: AppId,
        handler: Handler,
        asked: &Asked<'_>,
        values: impl Iterator<Item = &'p [u8]>,
        now: Instant,
    ) -> Planned {
        let meter = cx.meter_of(app, handler);
        let Some((body, spool)) = cx.place_body(asked, cx.apps[app].streams(handler)) else {
            cx.refuse(asked.key.link, asked.envelope, "there is no folder for a body in parts", now);
            return Planned::own(own_answer(413, None), meter);
        };
        let mut plan = match (body, &spool, &asked.spool) {
            (Body::Parts, ..) => self.job(cx, (app, handler), asked.key, values, b"+", asked.message),
            (Body::Growing, _, Some(path)) => {
                let marked = [b"+", path.as_os_str().as_bytes()].concat();
                self.job(cx, (app, handler), asked.key, values, &marked, asked.message)
            }
            (_, Some(path), _) => {
                self.job(cx, (app, handler), asked.key, values, path.as_os_str().as_bytes(), asked.message)
            }
            _ => self.job(cx, (app, handler), asked.key, values, b"", asked.message),
        };
        if let Plan::Run { near, .. } = &mut plan {
            *near = cx.apps[app].near(asked.envelope);
        }
        Planned { plan, raw: handler == Handler::Raw, meter, body, spool }
    }

    /// The job of a request or message, complete but for its serial.
    pub(super) fn job<'p>(
        &mut self,
        cx: &Context,
        (app, handler): (AppId, Handler),
        key: ConnKey,
        values: impl Iterator<Item = &'p [u8]>,
        spool: &[u8],
        message: &[u8],
    ) -> Plan {
        let mut job = self.spare.pop().unwrap_or_default();
        let mut name = std::mem::take(&mut self.name);
        name.truncate(cx.boot.len());
        let mut digits = itoa::Buffer::new();
        for (mark, number) in [('-', key.link.0.into()), ('.', key.incarnation), ('.', key.id.get())] {
            name.push(mark);
            name.push_str(digits.format(number));
        }
        if handler == Handler::Raw {
            self.raw_clients.learn(key);
        }
        encode_job(&mut job, 0, handler, &name, values, spool, message);
        self.name = name;
        Plan::Run { app, job, near: Near::Any }
    }
}
