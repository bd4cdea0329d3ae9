//! Every bound of the loop, with its default. Those of connections and messages are in [`limits`](crate::limits).

use std::time::Duration;

/// Bytes read from a client at a time; all clients share one buffer of this size.
pub(super) const READ_SIZE: usize = 64 << 10;
/// Reads of one client in a turn. A client that sends more continues in the next turn, behind the others.
pub(super) const READS: usize = 4;
/// Bytes written to one client in a turn, unless one call takes more.
pub(super) const WRITE_SIZE: usize = 2 << 20;
/// Pieces of output that one call to the system writes.
pub(super) const SLICES: usize = 64;
/// Events that one call to the system returns.
pub(super) const EVENTS: usize = 512;
/// Connections accepted in a turn.
pub(super) const ACCEPTS: usize = 128;
/// Connections that wait in the kernel to be accepted, if the system's own bound allows it.
pub(super) const BACKLOG: i32 = 4096;
/// How long the server accepts no connections after the system ran out of memory or of descriptors.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often a shortage of descriptors is logged.
pub(super) const SHORTAGE_NOTICE: Duration = Duration::from_secs(60);
/// How long a connection that the server has closed stays, for a client that still sends.
pub(super) const LINGER_TIME: Duration = Duration::from_secs(5);
/// How much a client may send after the server has closed the connection, before the connection is reset.
pub(super) const LINGER_SIZE: usize = 16 << 20;
/// How long the server finishes responses after SIGTERM or SIGINT.
pub(super) const STOP_TIME: Duration = Duration::from_secs(10);
/// Bytes of messages that may wait for a handler before clients must wait, and when they may send again.
pub(super) const HANDLER_QUEUE: usize = 16 << 20;
pub(super) const HANDLER_QUEUE_LOW: usize = 4 << 20;
/// Bytes of a client's body that may wait for the disk before the client has to wait, too.
pub(super) const UPLOAD_QUEUE: usize = 1 << 20;
/// How long a stopping server waits for clients to read the last bytes once every response is written.
pub(super) const STOP_LINGER: Duration = Duration::from_secs(1);
/// How long lines of the access log may wait to be written.
pub(super) const LOG_DELAY: Duration = Duration::from_millis(100);
/// How long a TLS handshake may take.
pub(super) const HANDSHAKE_TIME: Duration = Duration::from_secs(30);
/// How long a client may take for the last bytes of a TLS session.
pub(super) const DRAIN_TIME: Duration = Duration::from_secs(120);
/// How often the server looks whether certificates have changed.
pub(super) const CERTIFICATE_CHECK: Duration = Duration::from_secs(10);
