//! What connections and handlers are called inside the server.

slotmap::new_key_type! {
    /// One client's connection. Never used again within one run, so an old key finds nothing.
    pub(crate) struct ClientKey;
}

/// A handler: its place among the handlers of the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct HandlerId(pub(crate) usize);
