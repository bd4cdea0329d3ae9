//! The Python worker: an extension module that the user's own interpreter loads.
//!
//! The package `kennel` in `python/` is what scripts see. This module, `kennel._native`, is what that package
//! stands on: `link` is the socket pair (`pulse`: what the hub can see besides), `worker` the loop between hub and
//! script, `orders` what the loop does (`app`: by what was registered, `pool` and `threads`: in threads), `request` and
//! `headers` are views of the raw message (`standards`: as ASGI and WSGI name it), `answer`, `exchange` and `stream` bring answers to the hub
//! (`flow`: not faster than the client reads), `body` reads
//! what a client sends in pieces, `conn` is a live connection, `hub` everything else that is said to the
//! hub. `package` carries the package's source, so that a worker needs this one file.

mod answer;
mod app;
mod body;
mod conn;
mod exchange;
mod flow;
mod headers;
mod hub;
mod job;
mod link;
mod orders;
mod package;
mod pool;
mod pulse;
mod request;
mod standards;
mod steps;
mod stream;
mod text;
mod threads;
mod worker;

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
    use crate::headers::{Args, Headers};
    #[pymodule_export]
    use crate::hub::{
        RouteTable, ask, check_header, close_room, cookie, deliver, error_html, evaluated, log, nearest,
        publish, room_name,
    };
    #[pymodule_export]
    use crate::package::sources;
    #[pymodule_export]
    use crate::request::{Refused, Request};
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
}
