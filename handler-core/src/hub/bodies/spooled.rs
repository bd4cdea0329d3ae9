//! Bodies that arrive as files.
//!
//! Mongrel2 writes a body that is too large for a message, or that comes in chunks, to a file and says so twice: when
//! it begins and when the file is whole. The first is remembered, and gives the request to a route that reads bodies as
//! they arrive; for every other route the second becomes a request like any other, whose job names the file. The file
//! is ours from then on, and goes with the request. In between, the file is looked at: how far it has grown, whether it
//! is still there, and whether one in chunks, which announced nothing, has become too large.

use crate::hub::bodies::progress::{Pace, Progress};
use crate::hub::bodies::stored::{Coming, Stored};
use crate::hub::context::Context;
use crate::hub::effect::Effect;
use crate::hub::event::Event;
use crate::hub::ids::{ConnKey, LinkId, RequestId};
use crate::hub::ledger::about::About;
use crate::hub::request::{BodyEnd, Place, Request, Share};
use crate::worker::protocol::encode_grown;
use kennel_http::Persistence;
use kennel_http::client_address::ClientAddress;
use mongrel2_wire::{Envelope, Head};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Uploads under way that are remembered: as many as Mongrel2 can have connections. Some ends of connections it does
/// not tell, so those that began first are forgotten for newer ones.
const MOST: usize = 65_536;

/// A file that a server is writing.
#[derive(Debug)]
pub(in crate::hub) struct Announced {
    /// Which one it is of all that were announced.
    number: u64,
    /// Its size is asked for, and not known yet.
    is_asked: bool,
    pub path: PathBuf,
    /// What the log says about it.
    about: Box<About>,
    /// How large it will be; none: it comes in chunks, and the client has not said.
    pub length: Option<u64>,
    /// The address that limits per client address count.
    pub client: Option<ClientAddress>,
    /// The request that a worker has already, or will have.
    pub request: Option<RequestId>,
    /// That request is over: the file is of no use.
    pub abandoned: bool,
    /// What becomes of the connection if the body is read to its end.
    pub persistence: Persistence,
    /// The worker waits to be told how far it has grown.
    wanted: bool,
    /// The size that it was told.
    told: u64,
    /// The size that was seen.
    pub size: u64,
    /// When it began.
    since: Instant,
    progress: Progress,
}

impl Announced {
    /// The path whose size is to be asked for; `None`: it is asked for already. A disk that stands still is asked once.
    fn ask(&mut self) -> Option<PathBuf> {
        (!std::mem::replace(&mut self.is_asked, true)).then(|| self.path.clone())
    }

    /// What there is of it.
    fn share(&self) -> Share {
        Share { bytes: self.size, client: self.client }
    }
}

/// Where servers put bodies, and which they are writing.
#[derive(Debug, Default)]
pub(in crate::hub) struct Uploads {
    stores: FxHashMap<LinkId, PathBuf>,
    announced: FxHashMap<ConnKey, Announced>,
    /// Their keys and numbers, oldest first, and some that are no more.
    order: VecDeque<(ConnKey, u64)>,
    /// The number of the last one.
    count: u64,
    /// Those whose workers wait to be told, and some others.
    wanting: Vec<ConnKey>,
    /// Whole files whose size has to be known before their requests go on.
    unmeasured: FxHashMap<PathBuf, (RequestId, Persistence)>,
}

impl Uploads {
    /// The file that a server calls `name`: whatever its folder is called there, it is the store. `None`: there is no
    /// store, or no such name in one.
    pub fn path(&self, link: LinkId, name: &[u8]) -> Option<PathBuf> {
        let file = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let is_file = !matches!(file, b"" | b"." | b"..") && !file.contains(&0);
        self.stores.get(&link).filter(|_| is_file).map(|store| store.join(OsStr::from_bytes(file)))
    }

    /// A body begins to arrive in a file.
    pub fn announce(
        &mut self,
        key: ConnKey,
        (envelope, head): (&Envelope<'_>, &Head<'_>),
        path: PathBuf,
        client: Option<ClientAddress>,
        now: Instant,
    ) {
        self.count += 1;
        let number = self.count;
        let announced = Announced {
            number,
            is_asked: false,
            path,
            about: Box::new(About::message(key, envelope)),
            length: head.spool_size.map(u64::from),
            client,
            request: None,
            abandoned: false,
            persistence: Persistence::Close,
            wanted: false,
            told: 0,
            size: 0,
            since: now,
            progress: Progress::new(0, now),
        };
        self.announced.insert(key, announced);
        self.order.push_back((key, number));
        let is_there = |announced: &FxHashMap<ConnKey, Announced>, (key, number): &(ConnKey, u64)| {
            announced.get(key).is_some_and(|announced| announced.number == *number)
        };
        while self.announced.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            if is_there(&self.announced, &oldest) {
                self.announced.remove(&oldest.0);
            }
        }
        if self.order.len() > 2 * self.announced.len() + 64 {
            self.order.retain(|entry| is_there(&self.announced, entry));
        }
    }

    /// Takes the file that was announced, if it is this one. It is whole now.
    pub fn complete(&mut self, key: ConnKey, path: &Path) -> Option<Announced> {
        if self.announced.get(&key)?.path != path {
            return None;
        }
        self.announced.remove(&key)
    }

    /// Whether a server is writing a file for this connection.
    pub fn is_announced(&self, key: ConnKey) -> bool {
        self.announced.contains_key(&key)
    }

    /// Whether a server is writing a file for this connection that somebody wants.
    pub fn is_wanted(&self, key: ConnKey) -> bool {
        self.announced.get(&key).is_some_and(|announced| !announced.abandoned)
    }

    /// The connection is gone; Mongrel2 deletes what it has not completed.
    pub fn forget(&mut self, key: ConnKey) {
        self.announced.remove(&key);
    }

    /// What the log says about the file that is written for this connection.
    pub fn about(&self, key: ConnKey) -> Option<&About> {
        self.announced.get(&key).map(|announced| &*announced.about)
    }

    /// The request whose file is written for this connection, if a worker has it already, or will have it.
    pub fn request(&self, key: ConnKey) -> Option<RequestId> {
        self.announced.get(&key)?.request
    }

    /// Nobody wants the file any more that is written for this connection.
    pub fn give_up(&mut self, key: ConnKey) {
        if let Some(announced) = self.announced.get_mut(&key) {
            announced.abandoned = true;
        }
    }

    /// Counts the bytes of these files. Those that nobody wants are about to go.
    pub fn count(&self, stored: &mut Stored, coming: &mut Vec<Coming>) {
        for (key, announced) in self.announced.iter().filter(|(_, announced)| !announced.abandoned) {
            let (share, request) = (announced.share(), announced.request);
            stored.add(share);
            coming.push(Coming { since: announced.since, key: *key, request, share });
        }
    }

    /// Nobody has looked for this long.
    pub fn excuse(&mut self, pause: Duration) {
        self.announced.values_mut().for_each(|announced| announced.progress.excuse(pause));
    }

    /// The request is over before its file is whole.
    pub fn abandon(&mut self, key: ConnKey, request: RequestId) {
        if let Some(announced) = self.announced.get_mut(&key).filter(|a| a.request == Some(request)) {
            announced.request = None;
            announced.abandoned = true;
        }
    }

    /// A worker waits for a file to grow: which, unless that was known.
    pub fn want(&mut self, key: ConnKey) -> Option<PathBuf> {
        let announced = self.announced.get_mut(&key).filter(|announced| !announced.wanted)?;
        announced.wanted = true;
        self.wanting.push(key);
        announced.ask()
    }

    /// The server is gone, and will complete nothing: what it was writing.
    pub fn lose(&mut self, link: LinkId) -> impl Iterator<Item = PathBuf> {
        self.announced.extract_if(move |key, _| key.link == link).map(|(_, announced)| announced.path)
    }

    /// How many of these files are written for a client's address, without the one of this connection.
    pub fn of_client(&self, client: ClientAddress, but: ConnKey) -> usize {
        let is_of = |(key, announced): &(&ConnKey, &Announced)| {
            announced.client == Some(client) && !announced.abandoned && **key != but
        };
        self.announced.iter().filter(is_of).count()
    }

    pub fn is_empty(&self) -> bool {
        self.announced.is_empty()
    }

    /// The folder in which a server puts bodies.
    pub fn set_store(&mut self, link: LinkId, folder: PathBuf) {
        self.stores.insert(link, folder);
    }

    /// How many uploads are kept in mind.
    #[cfg(test)]
    pub fn remembered(&self) -> usize {
        self.order.len()
    }

    /// The request that a worker has already, or will have, before the file of this connection is whole.
    pub fn begin(&mut self, key: ConnKey, request: RequestId, persistence: Persistence) {
        if let Some(announced) = self.announced.get_mut(&key) {
            announced.request = Some(request);
            announced.persistence = persistence;
        }
    }

    /// The request goes on when the size of its whole file is known.
    pub fn measure_whole(
        &mut self,
        cx: &mut Context,
        (key, path): (ConnKey, PathBuf),
        request: RequestId,
        persistence: Persistence,
    ) {
        self.unmeasured.insert(path.clone(), (request, persistence));
        cx.effects.push_back(Effect::Measure { key, path, whole: true });
    }

    /// The request that waits for the size of this whole file.
    pub fn take_unmeasured(&mut self, path: &Path) -> Option<(RequestId, Persistence)> {
        self.unmeasured.remove(path)
    }

    /// Asks how large the files are whose workers wait for more.
    pub fn measure_wanted(&mut self, cx: &mut Context) {
        let announced = &mut self.announced;
        self.wanting.retain(|key| announced.get(key).is_some_and(|announced| announced.wanted));
        for key in &self.wanting {
            let path = announced.get_mut(key).and_then(Announced::ask);
            cx.effects.extend(path.map(|path| Effect::Measure { key: *key, path, whole: false }));
        }
    }

    /// Asks how large all files are, and whether they are still there.
    pub fn measure_all(&mut self, cx: &mut Context) {
        for (key, announced) in &mut self.announced {
            let path = announced.ask();
            cx.effects.extend(path.map(|path| Effect::Measure { key: *key, path, whole: false }));
        }
    }

    /// The size of a file that is being written; none: it is not there. `request`: the one that a worker has already, or
    /// will have.
    pub fn measured(
        &mut self,
        cx: &mut Context,
        (key, path): (ConnKey, &Path),
        size: Option<u64>,
        request: Option<&Request>,
        now: Instant,
    ) {
        let Some(announced) = self.announced.get_mut(&key).filter(|a| a.path == path) else { return };
        announced.is_asked = false;
        let id = announced.request;
        let Some(size) = size else {
            // Mongrel2 deletes it when the client has left.
            self.forget(key);
            cx.events.extend(id.map(|_| Event::Gone(key)));
            return;
        };
        announced.size = size;
        let pace = match announced.abandoned || size == 0 {
            true => Pace::Fine,
            false => announced.progress.look(size, cx.limits.upload_rate, now),
        };
        if announced.length.is_none() && cx.limits.is_too_large(size) && !announced.abandoned {
            cx.events.push(Event::BodyEnds(key, id, BodyEnd::TooLarge));
        } else if pace == Pace::Slow {
            cx.events.push(Event::BodyEnds(key, id, BodyEnd::TooSlow));
        } else if pace == Pace::Lost {
            cx.events.push(Event::BodyEnds(key, id, BodyEnd::Lost));
        } else if announced.wanted && size > announced.told {
            announced.wanted = false;
            announced.told = size;
            if let Some(Place::Worker(id, serial)) = request.map(|request| request.place)
                && let Some(worker) = cx.workers.get_mut(id)
            {
                encode_grown(&mut worker.orders, serial, false, size);
            }
        }
    }
}
