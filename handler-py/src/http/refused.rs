//! The exception that says what is wrong with what a client sent.

use pyo3::create_exception;
use pyo3::exceptions::PyException;

create_exception!(
    kennel,
    Refused,
    PyException,
    "What the client sent cannot be used: raised in a handler, it is the answer, `Refused(status, message)`."
);
