//! The Python worker: an extension module that the user's own interpreter loads.
//!
//! The package `kennel` in `python/` is what scripts see. This module, `kennel._native`, is what that package
//! stands on:
//!
//! * `link`: the worker's end of the socket pair, the jobs that come by it, and what the hub can see besides;
//! * `http`: requests and responses; `live`: connections and rooms;
//! * `worker`: the loop between hub and script, what it does by what an app has registered, here or in threads;
//! * `interface`: applications of ASGI and WSGI;
//! * `render`: pages from templates; `log` and `error_page`: what is said of a script, and to whom;
//! * `testing`: a site without a server, for tests;
//! * `package`: the package's source, so that a worker needs this one file.

#[cfg(test)]
extern crate libpython as _;

mod error_page;
mod fields;
mod http;
mod interface;
mod link;
mod live;
mod log;
mod package;
mod render;
mod suggest;
mod testing;
mod text;
mod worker;

/// `kennel._native`.
#[pyo3::pymodule]
mod _native {
    #[pymodule_export]
    use crate::error_page::{close_reason, error_html};
    #[pymodule_export]
    use crate::http::body::Aborted;
    #[pymodule_export]
    use crate::http::events::event;
    #[pymodule_export]
    use crate::http::files::{FoundFile, attachment};
    #[pymodule_export]
    use crate::http::form::{File, Files, Form};
    #[pymodule_export]
    use crate::http::headers::{Args, Headers};
    #[pymodule_export]
    use crate::http::raw::deliver;
    #[pymodule_export]
    use crate::http::refused::Refused;
    #[pymodule_export]
    use crate::http::request::Request;
    #[pymodule_export]
    use crate::http::response::{check_header, cookie};
    #[pymodule_export]
    use crate::http::session::{SessionOptions, privacy};
    #[pymodule_export]
    use crate::http::stream::PyJob;
    #[pymodule_export]
    use crate::interface::exchange::Exchange;
    #[pymodule_export]
    use crate::interface::standards::{environ, scope};
    #[pymodule_export]
    use crate::interface::steps::Steps;
    #[pymodule_export]
    use crate::link::PyLink;
    #[pymodule_export]
    use crate::live::conn::Wire;
    #[pymodule_export]
    use crate::live::room::{close_room, publish, room_name};
    #[pymodule_export]
    use crate::log::log;
    #[pymodule_export]
    use crate::package::sources;
    #[pymodule_export]
    use crate::render::render;
    #[pymodule_export]
    use crate::suggest::nearest;
    #[pymodule_export]
    use crate::testing::Rehearsal;
    #[pymodule_export]
    use crate::worker::Worker;
    #[pymodule_export]
    use crate::worker::questions::{ask, evaluated};
    #[pymodule_export]
    use crate::worker::routes::RouteTable;

    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    #[pymodule_export]
    const CSRF_FIELD: &str = handler_core::sessions::csrf::FIELD;
    #[pymodule_export]
    const CSRF_HEADER: &str = handler_core::sessions::csrf::HEADER;
    #[pymodule_export]
    const CSRF_REFUSAL: &str = handler_core::sessions::csrf::REFUSAL;
}
