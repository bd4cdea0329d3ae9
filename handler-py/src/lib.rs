//! The Python worker: an extension module that the user's own interpreter loads.
//!
//! The package `kennel` in `python/` is what scripts see. This module, `kennel._native`, is what that package
//! stands on: `link` is the socket pair (`pulse`: what the hub can see besides), `worker` the loop between hub and
//! script (`worker_state`: what its threads share), `orders` what the loop does (`app`: by what was registered, `pool`
//! and `threads`: in threads), `request` and `headers` are views of the raw message (`fields`: the collector may see a
//! request too early), `form` of its body (`form_files`: with files of its own; `standards`: as ASGI and WSGI name it;
//! `refused`: what is wrong with it; `session`: what its cookie says), `answer`, `exchange` and `stream` bring answers
//! to the hub (`flow`: not faster than the client reads; `files`: with what lies on the disk; `downloads`: which goes
//! on by itself), `body` reads what a client sends in pieces, `conn` is a live connection, `hub` everything else that
//! is said to the hub. `render` makes pages from templates, with Python's `values`. `rehearsal` is a site without a
//! server, for tests. `package` carries the package's source, so that a worker needs this one file.

mod answer;
mod app;
mod body;
mod conn;
mod downloads;
mod exchange;
mod fields;
mod files;
mod flow;
mod form;
mod form_files;
mod headers;
mod hub;
mod job;
mod link;
mod orders;
mod package;
mod pool;
mod pulse;
mod refused;
mod rehearsal;
mod render;
mod request;
mod session;
mod standards;
mod steps;
mod stream;
mod text;
mod threads;
mod values;
mod worker;
mod worker_state;

/// `kennel._native`.
#[pyo3::pymodule]
mod _native {
    #[pymodule_export]
    use crate::body::Aborted;
    #[pymodule_export]
    use crate::conn::Wire;
    #[pymodule_export]
    use crate::exchange::Exchange;
    #[pymodule_export]
    use crate::files::FoundFile;
    #[pymodule_export]
    use crate::form::{File, Files, Form};
    #[pymodule_export]
    use crate::headers::{Args, Headers};
    #[pymodule_export]
    use crate::hub::{
        RouteTable, ask, attachment, check_header, close_reason, close_room, cookie, deliver, error_html,
        evaluated, event, log, nearest, publish, room_name,
    };
    #[pymodule_export]
    use crate::link::PyLink;
    #[pymodule_export]
    use crate::package::sources;
    #[pymodule_export]
    use crate::refused::Refused;
    #[pymodule_export]
    use crate::rehearsal::Rehearsal;
    #[pymodule_export]
    use crate::render::render;
    #[pymodule_export]
    use crate::request::Request;
    #[pymodule_export]
    use crate::session::{SessionOptions, privacy};
    #[pymodule_export]
    use crate::standards::{environ, scope};
    #[pymodule_export]
    use crate::steps::Steps;
    #[pymodule_export]
    use crate::stream::PyJob;
    #[pymodule_export]
    use crate::worker::Worker;

    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    #[pymodule_export]
    const CSRF_FIELD: &str = handler_core::sessions::csrf::FIELD;
    #[pymodule_export]
    const CSRF_HEADER: &str = handler_core::sessions::csrf::HEADER;
    #[pymodule_export]
    const CSRF_REFUSAL: &str = handler_core::sessions::csrf::REFUSAL;
}
