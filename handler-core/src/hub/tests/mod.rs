//! The hub's rules, each with made-up time, and all of them together in a simulation.
//!
//! `site` is a hub with a Mongrel2 and workers that do what a test says; `mongrel2` writes the
//! server's messages and reads replies as strictly as it does.

mod answers;
mod arriving;
mod bosh;
mod capacity;
mod client_library;
mod clients;
mod code;
mod control_frames;
mod crowds;
mod decisions;
mod fairness;
mod handshakes;
mod hosts;
mod lines;
mod live;
mod log;
mod metrics;
mod mongrel2;
mod operator;
mod order;
mod orphans;
mod raw;
mod sending;
mod servers;
mod sessions;
mod sessions_by_chance;
mod several;
mod sharing;
mod simulation;
mod site;
mod standards;
mod stopping;
mod stored;
mod streams;
mod uploads;
mod workers;
