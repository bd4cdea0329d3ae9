//! The hub by simulation.
