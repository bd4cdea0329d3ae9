//! A folder whose files are served.

use super::head::{Afterwards, Head, refused};
use super::open::{Found, Missing, open};
use super::place;
use super::{Answer, Piece, Request, Types};
use kennel_http::file::{self, Facts, Part, Plan};
use mongrel2_conf::model::Dir;
use mongrel2_wire::{Headers, Protocol};
use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A Dir of the configuration. Nothing is kept between two requests, so a change is seen at once.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    base: PathBuf,
    index_file: String,
    default_type: String,
    types: Arc<Types>,
}

impl Folder {
    /// Serves `dir`, whose base counts from `root` when it is relative; an empty `root` is the working directory.
    pub(crate) fn new(dir: &Dir, types: Arc<Types>, root: &Path) -> Self {
        Self {
            base: root.join(&dir.base),
            index_file: dir.index_file.clone(),
            default_type: dir.default_ctype.clone(),
            types,
        }
    }

    /// Answers a request. It opens the file, and reads nothing of it.
    pub(crate) fn answer(&self, request: &Request, now: SystemTime) -> Answer {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let is_head = request.method == b"HEAD";
        if !is_head && request.method != b"GET" {
            return refused(405, Some(now), false);
        }
        let Some(place) = place::locate(&request.path, request.prefix, &self.index_file) else {
            return refused(404, Some(now), is_head);
        };
        match open(&self.base, &place.name) {
            Ok(Found::File { file, size, modified }) => {
                let content_type = self.types.of(&place.name).unwrap_or(&self.default_type).as_bytes();
                with_file(request, file, &Facts { size, modified, now, content_type })
            }
            // An index that is a folder, or none: another `/` would not help.
            Ok(Found::Folder) if place.is_index => refused(404, Some(now), is_head),
            Ok(Found::Folder) => moved(request, now),
            Err(Missing::NotThere) => refused(404, Some(now), is_head),
            Err(Missing::Busy) => refused(503, Some(now), is_head),
            Err(Missing::Broken(problem)) => {
                let (base, name) = (self.base.display(), place.name.escape_ascii());
                tracing::error!("cannot read `{name}` of {base}: {problem}");
                refused(500, Some(now), is_head)
            }
        }
    }
}

fn headers(request: &Request) -> Headers<'_> {
    Headers::new(Protocol::Tnetstring, &request.headers)
}

fn afterwards(request: &Request) -> Afterwards {
    Afterwards { is_http_11: request.is_http_11, keeps_alive: request.keeps_alive }
}

/// A redirect to the folder's path with a `/` at its end.
fn moved(request: &Request, now: u64) -> Answer {
    let query = headers(request).get(b"QUERY").and_then(|values| values.first());
    let query = query.as_ref().map(|text| text.bytes());
    let mut head = Head::begin(301, Some(now));
    head.field("Location", &place::with_slash(&request.path, query.as_deref()));
    head.field("Content-Length", b"0");
    let head = head.end(afterwards(request));
    Answer { status: 301, head, body: Vec::new(), closes: !request.keeps_alive, size: 0 }
}

fn with_file(request: &Request, file: File, facts: &Facts<'_>) -> Answer {
    let plan = file::plan(&headers(request), &request.method, true, facts, boundary);
    let head = planned_head(&plan, facts.now).end(afterwards(request));
    let (mut body, mut size) = (Vec::new(), 0);
    if request.method == b"GET" {
        let file = Arc::new(file);
        body.extend(plan.parts.into_iter().map(|part| match part {
            Part::Bytes(bytes) => Piece::Bytes(bytes),
            Part::Span(span) => {
                Piece::File { file: Arc::clone(&file), offset: span.start, length: span.length }
            }
        }));
        size = plan.length;
    }
    Answer { status: plan.status, head, body, closes: !request.keeps_alive, size }
}

/// The plan's headers in Mongrel2's order.
fn planned_head(plan: &Plan, now: u64) -> Head {
    let mut head = Head::begin(plan.status, Some(now));
    let own = |wanted: &str| plan.head.iter().find(|(name, _)| *name == wanted);
    if let Some((name, value)) = own("Content-Type") {
        head.field(name, value);
    }
    // A 304 has no body, and need not say how long it would be.
    if plan.status != 304 {
        head.field("Content-Length", plan.length.to_string().as_bytes());
    }
    for (name, value) in ["Last-Modified", "ETag"].into_iter().filter_map(own) {
        head.field(name, value);
    }
    for (name, value) in &plan.head {
        // Files go out as they are, whatever encodings the client takes, so nothing varies.
        if !matches!(*name, "Content-Type" | "Last-Modified" | "ETag" | "Vary") {
            head.field(name, value);
        }
    }
    head
}

/// A text that nobody can have put into a file.
fn boundary() -> String {
    format!("{:016x}{:016x}", RandomState::new().hash_one(1), RandomState::new().hash_one(2))
}

#[cfg(test)]
pub(super) mod tests;
