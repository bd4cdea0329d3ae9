//! Bodies of requests that do not come whole in one message.

pub(in crate::hub) mod spooled;
pub(in crate::hub) mod stored;
pub(in crate::hub) mod streamed;

use spooled::Uploads;
use stored::Stored;
use streamed::Arriving;

/// All bodies of which more is to come, or that are in files.
#[derive(Debug, Default)]
pub(in crate::hub) struct Bodies {
    pub spooled: Uploads,
    pub streamed: Arriving,
    pub stored: Stored,
}
