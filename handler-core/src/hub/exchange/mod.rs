//! HTTP exchanges, from the head of a request to the end of its response.

pub mod answers;
pub(in crate::hub) mod calls;
pub(in crate::hub) mod client_library;
pub(in crate::hub) mod dispatch;
pub(in crate::hub) mod raw_clients;
pub(in crate::hub) mod receive;
pub(in crate::hub) mod streaming;

use crate::hub::ids::RequestId;
use crate::hub::request::Request;
use raw_clients::RawClients;
use slotmap::SlotMap;

/// All requests without an answer.
#[derive(Debug, Default)]
pub(in crate::hub) struct Exchange {
    pub requests: SlotMap<RequestId, Request>,
    pub raw_clients: RawClients,
    /// Buffers of finished jobs, to be used again.
    pub spare: Vec<Vec<u8>>,
    /// Where names of connections are written; always begins with the hub's `boot`.
    pub name: String,
}
