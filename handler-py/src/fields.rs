//! The fields of classes that the cycle collector visits.

use std::ops::{Deref, DerefMut};

/// All fields of a class that has `__traverse__`; absent until PyO3 has written them.
///
/// Python allocates an object, tracks it for the collector, and only then does PyO3 write the Rust fields. The
/// collector may run between the two: CPython 3.11 allocates the `__dict__` of a `#[pyclass(dict)]` just there, and
/// another version of CPython or PyO3 may do more. `__traverse__` then sees memory that is all zeros, which `tp_alloc`
/// guarantees. Zeros are not a value of most types, and a zeroed `OnceLock` even counts as filled with a null pointer.
/// But zeros are a value of this type: `Option<Box<T>>` of zeros is `None`, as the documentation of [`Option`]
/// guarantees. So a class with `__traverse__` has this as its only field and asks [`written`](Self::written).
#[repr(transparent)]
pub(crate) struct Fields<T>(Option<Box<T>>);

impl<T> Fields<T> {
    pub(crate) fn new(fields: T) -> Self {
        Self(Some(Box::new(fields)))
    }

    /// The fields, for `__traverse__`.
    pub(crate) fn written(&self) -> Option<&T> {
        self.0.as_deref()
    }

    /// The fields, for `__clear__`.
    pub(crate) fn written_mut(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }
}

/// Why fields are missing. Python code can meet such an object only by `gc.get_objects()` in one of `gc.callbacks`; PyO3
/// turns the panic into an exception there.
const UNFINISHED: &str = "this object is still being made";

impl<T> Deref for Fields<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.0 {
            Some(fields) => fields,
            None => panic!("{UNFINISHED}"),
        }
    }
}

impl<T> DerefMut for Fields<T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.0 {
            Some(fields) => fields,
            None => panic!("{UNFINISHED}"),
        }
    }
}
