//! Requests to a channel's path: which they are, and whether they may.

use super::Exchange;
use crate::channel::call;
use crate::hub::answers::{explain, own_answer};
use crate::hub::context::Context;
use crate::hub::effect::Effect;
use crate::hub::event::Event;
use crate::hub::ids::RequestId;
use crate::hub::ledger::about::log_about;
use crate::hub::ledger::counters::Complaint;
use crate::hub::ledger::traffic::Beside;
use crate::hub::request::{Asked, Asking, Called, Plan, Planned};
use crate::worker::protocol::ChannelSpec;
use kennel_http::websocket::origin;
use mongrel2_wire::Envelope;
use std::path::Path;
use std::time::Instant;

impl Exchange {
    /// It is the turn of a request to a channel's path.
    pub(in crate::hub) fn begin_call(&mut self, cx: &mut Context, key: RequestId) {
        let Some(request) = self.requests.get_mut(key) else { return };
        let Plan::Call(asking) = &request.plan else { return };
        if asking.body.is_none()
            && let Some(path) = request.spool.clone()
        {
            let max = longest_message(cx, asking) + 1;
            cx.effects.push_back(Effect::ReadFile { request: key, path, max });
            return;
        }
        if let Plan::Call(asking) = std::mem::replace(&mut request.plan, Plan::NONE) {
            let called = Called { request: key, conn: request.conn, number: request.number };
            cx.events.push(Event::Call(called, asking));
        }
    }

    /// What [`Effect::ReadFile`] came to: what is in the file, or why that cannot be had.
    pub(in crate::hub) fn take_file(
        &mut self,
        cx: &mut Context,
        key: RequestId,
        path: &Path,
        result: Result<Vec<u8>, String>,
        now: Instant,
    ) {
        let Some(request) = self.requests.get_mut(key) else { return };
        let is_meant = request.spool.as_deref() == Some(path);
        let Plan::Call(asking) = &mut request.plan else { return };
        if !is_meant {
            return;
        }
        match result {
            Ok(bytes) => {
                asking.body = Some(bytes);
                self.begin_call(cx, key);
            }
            Err(problem) => {
                let about = cx.about_request(request);
                let path = path.display();
                log_about!(error, about, status = 500, "cannot read a body from {path}: {problem}");
                self.answer_with(cx, key, 500, now);
            }
        }
    }
}

/// The largest message that the channel takes, bytes.
fn longest_message(cx: &Context, asking: &Asking) -> usize {
    let envelope = Envelope::parse(&asking.message).ok();
    let place = envelope.and_then(|envelope| cx.apps.channel_at(envelope.path));
    let spec = place.and_then(|(app, route)| cx.apps.channel(app, route));
    spec.map_or(0, |spec| spec.max_message)
}

/// Whether a request is for a channel even if a route would take it.
pub(super) fn is_call(cx: &Context, envelope: &Envelope<'_>) -> bool {
    cx.has_sessions && cx.apps.has_channels && call::is_meant(envelope)
}

/// What becomes of a request to a channel's path. `None`: it is none for a channel.
pub(super) fn plan_call(cx: &mut Context, asked: &Asked<'_>, method: &[u8], now: Instant) -> Option<Planned> {
    if !cx.has_sessions || !cx.apps.has_channels {
        return None;
    }
    let envelope = asked.envelope;
    let (app, route) = cx.apps.channel_at(envelope.path)?;
    let spec = cx.apps.channel(app, route)?;
    if spec.asks {
        // Its script answers plain HTTP itself.
        return None;
    }
    let max = spec.max_message as u64;
    let cors = cors(spec, envelope);
    let call = call::read(method, envelope).transpose()?;
    let meter = cx.ledger.traffic.beside(app, Beside::Other);
    let Some(cors) = cors else {
        cx.ledger.counters.refused += 1;
        if cx.ledger.complaints.pass(Complaint::Refused, now) {
            let about = cx.about_opening(asked.key, envelope, app);
            log_about!(
                warn,
                about,
                status = 403,
                "refused: a page from elsewhere, see the channel's origins"
            );
        }
        return Some(Planned::own(own_answer(403, None), meter));
    };
    let call = match call {
        Ok(call) => call,
        Err(problem) => return Some(Planned::own(explain(400, &cors, &problem.to_string()), meter)),
    };
    let announced = asked.head.spool_size.map_or(0, u64::from);
    if announced > max {
        let plan = explain(413, &cors, &format!("a message to this channel has at most {max} bytes"));
        return Some(Planned::own(plan, meter));
    }
    let Some((body, spool)) = cx.place_body(asked, false) else {
        return Some(Planned::own(own_answer(413, None), meter));
    };
    let asking = Asking { call, cors, message: asked.message.to_vec(), body: None };
    Some(Planned { plan: Plan::Call(Box::new(asking)), raw: false, meter, body, spool })
}

/// The header lines by which a browser lets a page of another host read the answer. `None`: that page may not come.
fn cors(spec: &ChannelSpec, envelope: &Envelope<'_>) -> Option<String> {
    let value = |name: &[u8]| Some(envelope.headers.get(name)?.first()?.bytes().into_owned());
    let Some(from) = value(b"origin") else {
        // A page may have a browser ask without saying which page it is (`no-cors`). The browser says at least that it
        // is not one of this host's.
        let is_foreign =
            value(b"sec-fetch-site").is_some_and(|site| matches!(&*site, b"cross-site" | b"same-site"));
        let all_may = spec.origins.iter().any(|origin| origin == "*");
        return (!is_foreign || all_may).then(String::new);
    };
    if spec.origins.is_empty() {
        let host = value(b"host").unwrap_or_default();
        return origin::is_same(&from, &host).then(String::new);
    }
    let text = String::from_utf8(from).ok().filter(|from| from.bytes().all(|b| b.is_ascii_graphic()))?;
    if !origin::is_listed(text.as_bytes(), &spec.origins) {
        return None;
    }
    // With `*` any page may ask, but in nobody's name.
    let credentials = match spec.origins.iter().any(|origin| origin == "*") {
        true => "",
        false => "Access-Control-Allow-Credentials: true\r\n",
    };
    Some(format!("Access-Control-Allow-Origin: {text}\r\nVary: Origin\r\n{credentials}"))
}
