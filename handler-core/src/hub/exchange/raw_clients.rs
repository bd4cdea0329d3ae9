//! Whom the raw handler knows, so that it can be told when they are gone.
//!
//! A raw script keeps Mongrel2's numbers and delivers to them when it likes. After a restart of the
//! server those numbers mean other clients. So the hub remembers whose messages went to the script;
//! when their server goes away it gives the script the disconnect that Mongrel2 could not send, for
//! each of them, and until the script has had them all, nothing that it delivers to that server is sent.

use crate::hub::ids::{ConnKey, LinkId, RequestId};
use mongrel2_wire::ConnId;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::VecDeque;

/// The clients that the raw handler has heard of.
#[derive(Debug, Default)]
pub(in crate::hub) struct RawClients {
    known: FxHashSet<ConnKey>,
    /// Disconnects that are to be made into jobs.
    notices: VecDeque<(ConnKey, Vec<u8>)>,
    /// Those that the script has not finished with.
    telling: FxHashMap<RequestId, LinkId>,
}

/// The message by which Mongrel2 says that a client is gone.
pub(in crate::hub) fn disconnect(sender: &str, id: ConnId) -> Vec<u8> {
    format!("{sender} {id} @* 16:6:METHOD,4:JSON,}}21:{{\"type\":\"disconnect\"}},").into_bytes()
}

impl RawClients {
    /// A message of this client goes to the script.
    pub fn learn(&mut self, key: ConnKey) {
        self.known.insert(key);
    }

    /// Whether a message of this client went to the script.
    pub fn knows(&self, key: ConnKey) -> bool {
        self.known.contains(&key)
    }

    /// The script knows, or will, that this client is gone.
    pub fn forget(&mut self, key: ConnKey) {
        self.known.remove(&key);
    }

    /// All clients of this link are gone; `sender` is how the script knows their server.
    pub fn lose(&mut self, link: LinkId, sender: &str) {
        for key in self.known.extract_if(|key| key.link == link) {
            self.notices.push_back((key, disconnect(sender, key.id)));
        }
    }

    /// The next disconnect to tell the script.
    pub fn next_notice(&mut self) -> Option<(ConnKey, Vec<u8>)> {
        self.notices.pop_front()
    }

    /// This job is about to tell it.
    pub fn begin_telling(&mut self, request: RequestId, link: LinkId) {
        self.telling.insert(request, link);
    }

    /// A raw job has ended.
    pub fn end_telling(&mut self, request: RequestId) {
        self.telling.remove(&request);
    }

    /// Whether the script may still take clients of this link for others.
    pub fn is_outdated(&self, link: LinkId) -> bool {
        self.telling.values().any(|told| *told == link)
            || self.notices.iter().any(|(key, _)| key.link == link)
    }
}
