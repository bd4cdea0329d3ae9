//! What people may see and do.

pub(in crate::hub) mod about;
pub(in crate::hub) mod execute;
pub mod inspect;
pub(in crate::hub) mod metrics;
