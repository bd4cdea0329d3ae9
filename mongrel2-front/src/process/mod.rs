//! The process around the server: pid file, chroot, privileges, log files, signals.
//!
//! A start goes through them in this order: [`pid_file::PidFile::create`], listening sockets and certificates, then
//! [`privileges::enter`], log files (with `give_to`), and last [`privileges::Owner::become_owner`], before any thread
//! exists.

pub(crate) mod access_log;
pub(crate) mod error_log;
pub(crate) mod log_file;
pub(crate) mod pid_file;
pub(crate) mod privileges;

#[cfg(test)]
mod test_folder;
