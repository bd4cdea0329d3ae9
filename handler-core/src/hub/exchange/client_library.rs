//! `kennel.js`, the client library of channels (`channel/client.js`): one file of JavaScript that comes from the hub itself, below the mount point
//! of each app that has channels, where no route of the app takes that path.

use crate::hub::answers::own_answer;
use crate::hub::context::Context;
use crate::hub::ledger::traffic::Beside;
use crate::hub::request::{Plan, Planned};
use kennel_http::compression::{gzip, takes_gzip};
use kennel_http::preconditions::{State, Verdict, weigh};
use kennel_http::validators::EntityTag;
use mongrel2_wire::Envelope;
use std::sync::LazyLock;

const SCRIPT: &str = include_str!("../../channel/client.js");
const PATH: &str = "/kennel.js";

/// The script for clients that take gzip.
static PACKED: LazyLock<Option<Vec<u8>>> = LazyLock::new(|| gzip(SCRIPT.as_bytes()));

/// Names this version of the script.
const TAG: u64 = fnv(SCRIPT.as_bytes());

/// Any page may have it: which of them may connect, the channels say. A newer one is asked for after five minutes.
const HEAD: &str =
    "Cache-Control: public, max-age=300\r\nVary: Accept-Encoding\r\nAccess-Control-Allow-Origin: *\r\n";

/// A hash of bytes, FNV-1a, which can be computed while compiling.
const fn fnv(bytes: &[u8]) -> u64 {
    let (mut hash, mut at) = (0xcbf2_9ce4_8422_2325, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x100_0000_01b3);
        at += 1;
    }
    hash
}

/// The answer to a request for the client library; `path` is in its normal form. `None`: it is for something else.
pub(super) fn plan(cx: &Context, envelope: &Envelope<'_>, method: &[u8], path: &str) -> Option<Planned> {
    let mount = path.strip_suffix(PATH).filter(|_| cx.apps.has_channels)?;
    let app = cx.apps.order.iter().copied().find(|app| {
        let app = &cx.apps[*app];
        app.routes.mount() == mount && app.has_channels()
    })?;
    let meter = cx.ledger.traffic.beside(app, Beside::Other);
    if !matches!(method, b"GET" | b"HEAD") {
        return Some(Planned::own(own_answer(405, Some("GET, HEAD")), meter));
    }
    let opaque = format!("{TAG:x}");
    let tag = EntityTag { weak: false, opaque: opaque.as_bytes() };
    let state = State { tag, modified: None, settled: true };
    let plan = match weigh(&envelope.headers, &state) {
        Verdict::NotModified => {
            Plan::Answer { status: 304, head: format!("{HEAD}ETag: {tag}\r\n"), body: String::new() }
        }
        Verdict::Failed => own_answer(412, None),
        Verdict::Perform { .. } => {
            let accept = envelope.headers.get(b"accept-encoding").and_then(|values| values.first());
            let packed = PACKED.as_deref().filter(|_| accept.is_some_and(|a| takes_gzip(&a.bytes())));
            // The compressed bytes are others, with the same meaning.
            let (weak, coding) =
                if packed.is_some() { ("W/", "Content-Encoding: gzip\r\n") } else { ("", "") };
            let head = format!(
                "{HEAD}ETag: {weak}{tag}\r\n{coding}Content-Type: text/javascript; charset=utf-8\r\n"
            );
            Plan::File { head, body: packed.unwrap_or(SCRIPT.as_bytes()) }
        }
    };
    Some(Planned::own(plan, meter))
}
