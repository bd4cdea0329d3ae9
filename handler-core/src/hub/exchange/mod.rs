//! HTTP exchanges, from the head of a request to the end of its response.
//!
//! * `receive`: a request arrives and gets its entry; `plan`: who answers it; `calls`, `client_library`: what is for a
//!   channel, or for its client library
//! * `table`: all requests without a response, and how one leaves
//! * `respond`: responses, whole or ended, and raw jobs that are done; `streaming`: responses in pieces
//! * `dispatch`: which worker gets which request, what waits, what comes back
//! * `pipeline`: the requests of one connection, in their order
//! * `raw`: messages for the raw handler; `raw_clients`: whom that knows
//!
//! Each uses those that are further down in this order only: `raw`, `receive`, `pipeline`, `plan`, `calls`, `dispatch`,
//! `streaming`, `respond`, `table`. So no response begins the next request by itself: it says that its connection may go on
//! ([`Event::Ready`](super::event::Event)), and the hub asks the pipeline when the response is written.
//!
//! Where a request may be, and what moves it:
//!
//! | place | what happens | then |
//! | --- | --- | --- |
//! | pipeline | it is its turn, and a worker has room | worker |
//! | pipeline | it is its turn, and no worker has room | queue |
//! | pipeline | it is its turn, and the queue is full or no worker is left | 503 |
//! | pipeline | it is its turn, and the hub itself answers, or a channel does | answered, or held |
//! | pipeline, queue | its client leaves (raw messages stay) | forgotten |
//! | queue | a worker has room | worker |
//! | queue, worker | its time is over | 504 |
//! | worker | the worker answers, or ends the response that it began | answered |
//! | worker | the worker dies | 502, or cut short |
//! | worker | the worker gives it back unbegun | queue, at its head |
//! | worker | its client leaves | worker, until that ends; the response is dropped |

mod calls;
mod client_library;
mod dispatch;
mod pipeline;
mod plan;
mod raw;
pub(in crate::hub) mod raw_clients;
mod receive;
mod respond;
mod streaming;
mod table;
#[cfg(test)]
mod tests;

pub(in crate::hub) use respond::complain_of_overload;

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

impl Exchange {
    /// Without requests; `boot` as the hub has it.
    pub fn new(boot: &str) -> Self {
        Self { name: boot.to_owned(), ..Self::default() }
    }
}
