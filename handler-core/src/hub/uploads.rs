//! Bodies that arrive as files.
//!
//! Mongrel2 writes a body that is too large for a message, or that comes in chunks, to a file and says so twice: when
//! it begins and when the file is whole. The first is remembered; the second becomes a request like any other, whose
//! job names the file. The file is ours from then on, and goes with the request.

use super::Hub;
use super::effect::Effect;
use super::ids::{ConnKey, LinkId};
use super::intake::{Asked, own_answer};
use super::request::{Plan, Request};
use super::traffic::MeterId;
use crate::protocol::{Envelope, Head, Kind};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Instant;

/// Uploads under way that are remembered: as many as Mongrel2 can have connections. Some ends of connections it does
/// not tell, so those that began first are forgotten for newer ones.
const MOST: usize = 65_536;

/// Where servers put bodies, and which they are writing.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    stores: FxHashMap<LinkId, PathBuf>,
    announced: FxHashMap<ConnKey, PathBuf>,
    /// Their keys, oldest first, and some that are no more.
    order: VecDeque<ConnKey>,
}

impl Uploads {
    /// The file that a server calls `name`: whatever its folder is called there, it is the store. `None`: there is no
    /// store, or no such name in one.
    fn path(&self, link: LinkId, name: &[u8]) -> Option<PathBuf> {
        let file = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let is_file = !matches!(file, b"" | b"." | b"..") && !file.contains(&0);
        self.stores.get(&link).filter(|_| is_file).map(|store| store.join(OsStr::from_bytes(file)))
    }

    fn announce(&mut self, key: ConnKey, path: PathBuf) {
        self.announced.insert(key, path);
        self.order.push_back(key);
        if self.announced.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.announced.remove(&oldest);
        }
        if self.order.len() > 2 * self.announced.len() + 64 {
            self.order.retain(|key| self.announced.contains_key(key));
        }
    }

    /// Whether this is the file that was announced. It is whole now.
    fn complete(&mut self, key: ConnKey, path: &PathBuf) -> bool {
        self.announced.get(&key) == Some(path) && self.announced.remove(&key).is_some()
    }

    /// The connection is gone; Mongrel2 deletes what it has not completed.
    pub fn forget(&mut self, key: ConnKey) {
        self.announced.remove(&key);
    }

    /// The server is gone, and will complete nothing: what it was writing.
    pub fn lose(&mut self, link: LinkId) -> impl Iterator<Item = PathBuf> {
        self.announced.extract_if(move |key, _| key.link == link).map(|(_, path)| path)
    }
}

impl Hub {
    /// Takes uploads of this server from now on: the folder of its `upload.temp_store`, as seen from here and by
    /// workers.
    pub fn set_upload_store(&mut self, link: LinkId, folder: PathBuf) {
        self.uploads.stores.insert(link, folder);
    }

    /// A body begins to arrive in a file, or is whole. `false`: this server has no store for that.
    pub(super) fn handle_upload(
        &mut self,
        key: ConnKey,
        envelope: &Envelope<'_>,
        head: &Head<'_>,
        message: &[u8],
        now: Instant,
    ) -> bool {
        let Some(name) = head.spool_file else { return false };
        let Some(path) = self.uploads.path(key.link, &name.bytes()) else { return false };
        let asked = Asked { key, envelope, head, message, spool: Some(path.clone()) };
        self.make_room_for_next(key);
        match head.kind {
            Kind::UploadStart => self.upload_started(&asked, path, now),
            _ if !self.uploads.complete(key, &path) => {
                // It began before this hub did, or somebody guessed the name of a file.
                self.refuse(key.link, envelope, "an upload that nobody saw begin", now);
                self.answer_at_once(key, 503, now);
            }
            _ if self.is_finished(key) => self.effects.push_back(Effect::DeleteFile(path)),
            _ => self.handle_http(asked, now),
        }
        true
    }

    /// Says at once what the body would not change. A file that is refused is remembered too: if it is completed
    /// before the connection is closed it has to be deleted.
    fn upload_started(&mut self, asked: &Asked<'_>, path: PathBuf, now: Instant) {
        let key = asked.key;
        if asked.head.first_credits.is_some() {
            self.links[usize::from(key.link.0)].flow_control = true;
        }
        self.uploads.announce(key, path);
        if self.is_finished(key) {
            return;
        }
        let method = asked.head.method.bytes();
        let (plan, meter) = if asked.head.spool_size.is_some_and(|size| size as usize > self.limits.upload) {
            self.refuse(key.link, asked.envelope, "a body beyond limits.upload", now);
            (own_answer(413, None), MeterId::NOBODY)
        } else {
            let planned = self.plan(asked, &method, now);
            (planned.plan, planned.meter)
        };
        if let Plan::Run { .. } = plan {
            self.recycle(plan);
            return;
        }
        let request = Request::new(key, plan, now, self.limits.request_timeout);
        self.enqueue(key, Request { meter, head_only: &*method == b"HEAD", ..request }, now);
    }
}
