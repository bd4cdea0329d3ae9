//! Applications of Python's own standards, ASGI and WSGI.
//!
//! [`standards`] makes what both are called with, [`steps`] runs an application of ASGI, [`exchange`] takes what it sends.

pub(crate) mod exchange;
pub(crate) mod standards;
pub(crate) mod steps;
