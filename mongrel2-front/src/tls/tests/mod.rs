//! Real clients of the library against sessions, in memory, with certificates that `openssl` makes.

mod certificates;
mod client;
mod files;
mod sessions;
mod speed;
