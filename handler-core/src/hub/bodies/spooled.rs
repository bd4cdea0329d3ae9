//! Bodies that arrive as files.
//!
//! Mongrel2 writes a body that is too large for a message, or that comes in chunks, to a file and says so twice: when
//! it begins and when the file is whole. The first is remembered, and gives the request to a route that reads bodies as
//! they arrive; for every other route the second becomes a request like any other, whose job names the file. The file
//! is ours from then on, and goes with the request. In between, the file is looked at: how far it has grown, whether it
//! is still there, and whether one in chunks, which announced nothing, has become too large.

use crate::hub::Hub;
use crate::hub::bodies::stored::{Coming, Pace, Progress, Stored};
use crate::hub::bodies::streamed::LOOK;
use crate::hub::effect::Effect;
use crate::hub::ids::{ConnKey, LinkId, RequestId};
use crate::hub::ledger::about::{About, log_about};
use crate::hub::ledger::counters::Complaint;
use crate::hub::request::Share;
use crate::hub::request::{Asked, Body, Place, Plan};
use crate::worker::protocol::encode_grown;
use kennel_http::Persistence;
use kennel_http::client_address::ClientAddress;
use mongrel2_wire::{Envelope, Head, Kind};
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
struct Announced {
    /// Which one it is of all that were announced.
    number: u64,
    /// Its size is asked for, and not known yet.
    is_asked: bool,
    path: PathBuf,
    /// What the log says about it.
    about: Box<About>,
    /// How large it will be; none: it comes in chunks, and the client has not said.
    length: Option<u64>,
    /// The address that limits per client address count.
    client: Option<ClientAddress>,
    /// The request that a worker has already, or will have.
    request: Option<RequestId>,
    /// That request is over: the file is of no use.
    abandoned: bool,
    /// What becomes of the connection if the body is read to its end.
    persistence: Persistence,
    /// The worker waits to be told how far it has grown.
    wanted: bool,
    /// The size that it was told.
    told: u64,
    /// The size that was seen.
    size: u64,
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
    fn path(&self, link: LinkId, name: &[u8]) -> Option<PathBuf> {
        let file = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let is_file = !matches!(file, b"" | b"." | b"..") && !file.contains(&0);
        self.stores.get(&link).filter(|_| is_file).map(|store| store.join(OsStr::from_bytes(file)))
    }

    fn announce(&mut self, asked: &Asked<'_>, path: PathBuf, client: Option<ClientAddress>, now: Instant) {
        let key = asked.key;
        self.count += 1;
        let number = self.count;
        let announced = Announced {
            number,
            is_asked: false,
            path,
            about: Box::new(About::message(key, asked.envelope)),
            length: asked.head.spool_size.map(u64::from),
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
    fn complete(&mut self, key: ConnKey, path: &Path) -> Option<Announced> {
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
    fn is_wanted(&self, key: ConnKey) -> bool {
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
}

impl Hub {
    /// A connection ends: the log says so if an upload had begun there and is not whole.
    pub(in crate::hub) fn note_broken_upload(&mut self, key: ConnKey, now: Instant) {
        let is_ours = self.cx.outbox.conns.map.get(&key).is_some_and(|conn| conn.is_ending());
        let is_broken = self.bodies.spooled.is_wanted(key) || self.bodies.streamed.is_under_way(key);
        if is_broken && !is_ours && self.cx.ledger.complaints.pass(Complaint::Cut, now) {
            log_about!(
                warn,
                self.about_body(key),
                "an upload ended before it was whole: its client left, or was too slow for mongrel2 (see docs/deploying.md)"
            );
        }
    }

    /// How many uploads are kept in mind.
    #[cfg(test)]
    pub(in crate::hub) fn remembered_uploads(&self) -> usize {
        self.bodies.spooled.order.len()
    }

    /// Takes uploads of this server from now on: the folder of its `upload.temp_store`, as seen from here and by
    /// workers.
    pub fn set_upload_store(&mut self, link: LinkId, folder: PathBuf) {
        self.bodies.spooled.stores.insert(link, folder);
    }

    /// A body begins to arrive in a file, or is whole. `false`: this server has no store for that.
    pub(in crate::hub) fn handle_upload(
        &mut self,
        key: ConnKey,
        envelope: &Envelope<'_>,
        head: &Head<'_>,
        message: &[u8],
        now: Instant,
    ) -> bool {
        let Some(name) = head.spool_file else { return false };
        let Some(path) = self.bodies.spooled.path(key.link, &name.bytes()) else { return false };
        let is_start = head.kind == Kind::UploadStart;
        let body = if is_start { Body::Growing } else { Body::Whole };
        let mut asked =
            Asked { key, envelope, head, message, spool: Some(path.clone()), body, new_file: None };
        self.make_room_for_next(key);
        if is_start {
            self.upload_started(&asked, path, now);
            return true;
        }
        match self.bodies.spooled.complete(key, &path) {
            None => {
                // It began before this hub did, or somebody guessed the name of a file.
                self.refuse(key.link, envelope, "an upload that nobody saw begin", now);
                self.answer_at_once(key, 503, now);
            }
            Some(announced) if announced.request.is_some() => self.file_is_whole(announced, now),
            Some(announced) if announced.abandoned || self.cx.outbox.is_finished(key) => {
                self.cx.effects.push_back(Effect::DeleteFile(path));
            }
            Some(announced) => {
                if announced.length.is_none() {
                    asked.body = Body::Collected;
                }
                self.handle_http(asked, now);
            }
        }
        true
    }

    /// Says at once what the body would not change. A file that is refused is remembered too: if it is completed
    /// before the connection is closed it has to be deleted.
    fn upload_started(&mut self, asked: &Asked<'_>, path: PathBuf, now: Instant) {
        let key = asked.key;
        if asked.head.first_credits.is_some() {
            self.cx.servers[key.link].flow_control = true;
        }
        let client = self.cx.clients.address(&asked.envelope.headers);
        self.bodies.spooled.announce(asked, path, client, now);
        self.bodies.streamed.next_look.get_or_insert(now + LOOK);
        if self.cx.outbox.is_finished(key) {
            return;
        }
        let method = asked.head.method.bytes();
        let planned = match self.refuse_at_start(asked, now) {
            Some(refused) => refused,
            None => self.plan(asked, &method, now),
        };
        if let Plan::Run { .. } | Plan::Call(_) = planned.plan {
            if planned.body != Body::Growing {
                self.recycle(planned.plan);
                return;
            }
            self.cx.ledger.counters.requests += 1;
        } else {
            self.bodies.spooled.give_up(key);
        }
        self.admit(asked, planned, &method, Persistence::of(asked.head), now);
    }

    /// A request whose body is in a file, or comes into one, is about to take its place.
    pub(in crate::hub) fn begin_file(
        &mut self,
        asked: &Asked<'_>,
        body: Body,
        request: RequestId,
        persistence: Persistence,
    ) {
        match (body, &asked.spool) {
            (Body::Growing, _) => {
                if let Some(announced) = self.bodies.spooled.announced.get_mut(&asked.key) {
                    announced.request = Some(request);
                    announced.persistence = persistence;
                }
            }
            (Body::Collected, Some(path)) => {
                self.bodies.spooled.unmeasured.insert(path.clone(), (request, persistence));
                self.cx.effects.push_back(Effect::Measure {
                    key: asked.key,
                    path: path.clone(),
                    whole: true,
                });
            }
            _ => {}
        }
    }

    /// The file that a worker may be reading already is whole. One in chunks has to be measured first.
    fn file_is_whole(&mut self, announced: Announced, now: Instant) {
        let Announced { path, length, persistence, request, size, client, .. } = announced;
        let known = request.and_then(|key| Some((key, self.exchange.requests.get_mut(key)?)));
        let Some((key, request)) = known else {
            self.cx.effects.push_back(Effect::DeleteFile(path));
            return;
        };
        let conn = request.conn;
        request.spool = Some(path.clone());
        request.stored = Share { bytes: length.unwrap_or(size), client };
        if length.is_none() {
            self.bodies.spooled.unmeasured.insert(path.clone(), (key, persistence));
            self.cx.effects.push_back(Effect::Measure { key: conn, path, whole: true });
        } else {
            // What a client pipelines behind it is in the file as well, and never answered.
            self.finish_file(key, Persistence::Close, now);
        }
    }

    /// The file of a request is whole and not too large.
    fn finish_file(&mut self, key: RequestId, persistence: Persistence, now: Instant) {
        let grows = self.exchange.requests.get(key).is_some_and(|request| request.body == Body::Growing);
        self.complete_body(key, persistence, now);
        if !grows {
            return;
        }
        let Some(request) = self.exchange.requests.get_mut(key) else { return };
        request.body = Body::Grown;
        if let Place::Worker(id, serial) = request.place
            && !request.gone
            && let Some(worker) = self.cx.workers.get_mut(id)
        {
            encode_grown(&mut worker.orders, serial, true, 0);
        }
    }

    /// Asks how large the files are whose workers wait for more.
    pub(in crate::hub) fn measure_wanted(&mut self) {
        let (wanting, announced) = (&mut self.bodies.spooled.wanting, &mut self.bodies.spooled.announced);
        wanting.retain(|key| announced.get(key).is_some_and(|announced| announced.wanted));
        for key in wanting {
            let path = announced.get_mut(key).and_then(Announced::ask);
            self.cx.effects.extend(path.map(|path| Effect::Measure { key: *key, path, whole: false }));
        }
    }

    /// Asks how large all files are, and whether they are still there.
    pub(in crate::hub) fn measure_all(&mut self) {
        for (key, announced) in &mut self.bodies.spooled.announced {
            let path = announced.ask();
            self.cx.effects.extend(path.map(|path| Effect::Measure { key: *key, path, whole: false }));
        }
    }

    /// What [`Effect::Measure`] came to: the size of the file, bytes; none: it is not there.
    pub fn handle_measured(
        &mut self,
        key: ConnKey,
        path: &Path,
        whole: bool,
        size: Option<u64>,
        now: Instant,
    ) {
        let is_too_large = self.is_too_large(size.unwrap_or(0));
        if whole {
            let Some((request, persistence)) = self.bodies.spooled.unmeasured.remove(path) else { return };
            let known = self.exchange.requests.get_mut(request);
            let Some(known) = known.filter(|request| request.spool.as_deref() == Some(path)) else { return };
            known.stored.bytes = size.unwrap_or(0);
            match is_too_large {
                true => self.refuse_chunks(key, Some(request), now),
                false => self.finish_file(request, persistence, now),
            }
            return;
        }
        let Some(announced) = self.bodies.spooled.announced.get_mut(&key).filter(|a| a.path == path) else {
            return;
        };
        announced.is_asked = false;
        let request = announced.request;
        let Some(size) = size else {
            // Mongrel2 deletes it when the client has left.
            self.bodies.spooled.forget(key);
            if request.is_some() {
                self.drop_connection(key, now);
            }
            return;
        };
        announced.size = size;
        let pace = match announced.abandoned || size == 0 {
            true => Pace::Fine,
            false => announced.progress.look(size, self.cx.limits.upload_rate, now),
        };
        if announced.length.is_none() && is_too_large && !announced.abandoned {
            self.refuse_chunks(key, request, now);
        } else if pace == Pace::Slow {
            self.refuse_slow_body(key, request, now);
        } else if pace == Pace::Lost {
            self.give_up_body(key, now);
        } else if announced.wanted && size > announced.told {
            announced.wanted = false;
            announced.told = size;
            if let Some(request) = request.and_then(|request| self.exchange.requests.get(request))
                && let Place::Worker(id, serial) = request.place
                && let Some(worker) = self.cx.workers.get_mut(id)
            {
                encode_grown(&mut worker.orders, serial, false, size);
            }
        }
    }

    /// A body in chunks has become too large.
    fn refuse_chunks(&mut self, key: ConnKey, request: Option<RequestId>, now: Instant) {
        self.cx.ledger.counters.refused += 1;
        if self.cx.ledger.complaints.pass(Complaint::Refused, now) {
            let about = self.about_body(key);
            log_about!(warn, about, status = 413, "refused: a body beyond limits.upload");
        }
        self.refuse_coming(key, request, 413, now);
    }
}
