//! Links a test program with Python's shared library.
//!
//! `handler-py` is a module that an interpreter loads, and takes Python's functions from it: it must not be linked with any.
//! Its tests are programs of their own, which have no such interpreter. They name this crate, and so have one inside:
//!
//! ```ignore
//! #[cfg(test)]
//! extern crate libpython as _;
//! ```
//!
//! The build script finds the library: that of the interpreter which `PYO3_PYTHON` names, of `python3`, or of the system's
//! Python. Not every Python has one; Debian's comes with the package `libpython3-dev`.
