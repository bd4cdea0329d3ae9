//! `kennel.js`, the client library of channels (`channel/client.js`): one file of JavaScript that comes from the hub itself, below the mount point
//! of each app that has channels, where no route of the app takes that path.

use super::Hub;
use super::intake::{Planned, own_answer};
use super::request::Plan;
use super::traffic::Beside;
use crate::http::preconditions::{State, Verdict, weigh};
use crate::http::validators::EntityTag;
use crate::protocol::Envelope;

const SCRIPT: &str = include_str!("../channel/client.js");
const PATH: &str = "/kennel.js";

/// Names this version of the script.
const TAG: u64 = fnv(SCRIPT.as_bytes());

/// Any page may have it: which of them may connect, the channels say. A newer one is asked for after five minutes.
const HEAD: &str = "Cache-Control: public, max-age=300\r\nAccess-Control-Allow-Origin: *\r\n";

/// A hash of bytes, FNV-1a, which can be computed while compiling.
const fn fnv(bytes: &[u8]) -> u64 {
    let (mut hash, mut at) = (0xcbf2_9ce4_8422_2325, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x100_0000_01b3);
        at += 1;
    }
    hash
}

impl Hub {
    /// The answer to a request for the client library; `path` is in its normal form. `None`: it is for something else.
    pub(super) fn plan_client_library(
        &mut self,
        envelope: &Envelope<'_>,
        method: &[u8],
        path: &str,
    ) -> Option<Planned> {
        let mount = path.strip_suffix(PATH).filter(|_| self.has_channels)?;
        let app = self.app_order.iter().copied().find(|app| {
            let app = &self.apps[usize::from(app.0)];
            app.routes.mount() == mount && app.has_channels()
        })?;
        let meter = self.traffic.beside(app, Beside::Other);
        if !matches!(method, b"GET" | b"HEAD") {
            return Some(Planned::own(own_answer(405, Some("GET, HEAD")), meter));
        }
        let opaque = format!("{TAG:x}");
        let tag = EntityTag { weak: false, opaque: opaque.as_bytes() };
        let mut head = format!("{HEAD}ETag: {tag}\r\n");
        let state = State { tag, modified: None, settled: true };
        let (status, body) = match weigh(&envelope.headers, &state) {
            Verdict::NotModified => (304, ""),
            Verdict::Failed => (412, ""),
            Verdict::Perform { .. } => (200, SCRIPT),
        };
        if status == 200 {
            head.push_str("Content-Type: text/javascript; charset=utf-8\r\n");
        }
        Some(Planned::own(Plan::Answer { status, head, body: body.to_owned() }, meter))
    }
}
