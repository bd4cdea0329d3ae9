//! What tests ask of a connection.

use super::Connection;

impl Connection {
    /// Bytes of input that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.input.len()
    }
}
