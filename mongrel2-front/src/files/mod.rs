//! Files of a folder: which one a path means, and what a request for it is answered with.
//!
//! * `types`: the content type of a name.
//! * `place`: from a request's path to a name below the folder.
//! * `open`: that name as an open file, and no way out of the folder.
//! * `head`: the bytes of an answer's head, and the answers that are no file.
//! * `folder`: all of it together.

mod folder;
mod head;
mod open;
mod place;
mod types;

use std::fs::File;
use std::sync::Arc;

pub(crate) use folder::Folder;
pub(crate) use head::error;
pub(crate) use types::Types;

/// A request for a file, as its connection hands it over.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Which of the site's folders.
    pub(crate) dir: usize,
    /// The method, as sent.
    pub(crate) method: Vec<u8>,
    /// The whole path, undecoded.
    pub(crate) path: Vec<u8>,
    /// How many bytes the route's literal prefix has.
    pub(crate) prefix: usize,
    /// The headers as the inside of a tnetstring dict, without its length and type: as `Headers::new` takes them. A
    /// `QUERY` among them is kept by a redirect.
    pub(crate) headers: Vec<u8>,
    /// The request is one of HTTP/1.1.
    pub(crate) is_http_11: bool,
    /// The connection may serve another request afterwards.
    pub(crate) keeps_alive: bool,
}

/// What a request for a file is answered with.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The whole head, with the blank line that ends it.
    pub(crate) head: Vec<u8>,
    /// The body, in order.
    pub(crate) body: Vec<Piece>,
    /// The connection ends with this answer.
    pub(crate) closes: bool,
    /// How many bytes the body has.
    pub(crate) size: u64,
}

/// A part of a body.
#[derive(Debug)]
pub(crate) enum Piece {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A part of a file, which may have become shorter since.
    File {
        /// The file.
        file: Arc<File>,
        /// Where the part begins.
        offset: u64,
        /// How many bytes it has, at least 1.
        length: u64,
    },
}
