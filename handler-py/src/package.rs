//! The source of the package `kennel`, for interpreters in which it is not installed.

use pyo3::prelude::*;

/// Name and source of each file in `python/kennel`.
macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../python/kennel/", $name)))),*]
    };
}

const FILES: &[(&str, &str)] = &files![
    "__init__.py",
    "_app.py",
    "_app_server.py",
    "_asgi.py",
    "_asgi_dev.py",
    "_asgi_http.py",
    "_asgi_lifespan.py",
    "_asgi_websocket.py",
    "_asserts.py",
    "_body.py",
    "_channel.py",
    "_conn.py",
    "_error_page.py",
    "_evaluate.py",
    "_events.py",
    "_failure.py",
    "_file.py",
    "_found.py",
    "_json.py",
    "_live.py",
    "_log.py",
    "_raw.py",
    "_render.py",
    "_response.py",
    "_rehearsal.py",
    "_room.py",
    "_serve.py",
    "_server.py",
    "_session.py",
    "_settings.py",
    "_spool.py",
    "_state.py",
    "_still_loop.py",
    "_stream.py",
    "_tasks.py",
    "_test_file.py",
    "_test_plan.py",
    "_test_pytest.py",
    "_wsgi.py",
    "testing.py",
];

/// Names of the package's files and their source.
#[pyfunction]
pub(crate) fn sources() -> Vec<(&'static str, &'static str)> {
    FILES.to_vec()
}
