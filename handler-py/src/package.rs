//! The source of the package `kennel`, for interpreters in which it is not installed.

use pyo3::prelude::*;

/// Path and source of each file in `python/kennel`.
macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../python/kennel/", $name)))),*]
    };
}

const FILES: &[(&str, &str)] = &files![
    "__init__.py",
    "_app/__init__.py",
    "_app/app.py",
    "_app/channel.py",
    "_asgi/__init__.py",
    "_asgi/dev.py",
    "_asgi/http.py",
    "_asgi/lifespan.py",
    "_asgi/server.py",
    "_asgi/websocket.py",
    "_http/__init__.py",
    "_http/body.py",
    "_http/events.py",
    "_http/files.py",
    "_http/raw.py",
    "_http/render.py",
    "_http/response.py",
    "_http/session.py",
    "_http/stream.py",
    "_live/__init__.py",
    "_live/conn.py",
    "_live/orders.py",
    "_live/room.py",
    "_runtime/__init__.py",
    "_runtime/json.py",
    "_runtime/log.py",
    "_runtime/state.py",
    "_runtime/tasks.py",
    "_runtime/traceback.py",
    "_serve/__init__.py",
    "_serve/app.py",
    "_serve/error_page.py",
    "_serve/evaluate.py",
    "_serve/load.py",
    "_serve/server.py",
    "_testing/__init__.py",
    "_testing/asserts.py",
    "_testing/file.py",
    "_testing/outcome.py",
    "_testing/plan.py",
    "_testing/pytest.py",
    "_testing/settings.py",
    "_testing/still_loop.py",
    "_testing/workers.py",
    "_worker.py",
    "_wsgi/__init__.py",
    "_wsgi/server.py",
    "_wsgi/spool.py",
    "testing.py",
];

/// The paths of the package's files, and their source.
#[pyfunction]
pub(crate) fn sources() -> Vec<(&'static str, &'static str)> {
    FILES.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn files(folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                found.extend(files(&path));
            } else if path.extension().is_some_and(|end| end == "py") {
                found.push(path.to_str().unwrap().to_owned());
            }
        }
        found
    }

    #[test]
    fn every_file_of_the_package_is_carried() {
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/kennel");
        let mut there = files(&package);
        there.sort();
        let carried: Vec<_> =
            sources().iter().map(|(file, _)| package.join(file).to_str().unwrap().to_owned()).collect();
        assert_eq!(there, carried, "list each file of the package in package.rs, in order");
    }
}
