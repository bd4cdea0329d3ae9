//! Workers: what each has to do and how it fares, and the code that they run.

pub(in crate::hub) mod lifecycle;
pub(in crate::hub) mod pace;
pub(in crate::hub) mod worker;
