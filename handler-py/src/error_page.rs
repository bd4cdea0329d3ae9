//! The words for a script's failure that clients may see: a page, and the reason of a close.

use handler_core::worker::error_page;
use handler_core::worker::protocol::LoadFailure;
use pyo3::prelude::*;

/// What `kennel dev` shows in the browser for a failure.
#[pyfunction]
#[pyo3(signature = (title, message, file, line, traceback))]
pub(crate) fn error_html(
    title: &str,
    message: String,
    file: Option<String>,
    line: Option<u32>,
    traceback: String,
) -> String {
    error_page::render(title, &LoadFailure { message, file, line, traceback })
}

/// The reason with which a channel's connection is closed after an error.
#[pyfunction]
pub(crate) fn close_reason(dev: bool, error: &str) -> String {
    error_page::close_reason(dev, error)
}
