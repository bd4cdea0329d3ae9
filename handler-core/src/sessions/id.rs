//! What a session is known by, never by its values.

/// Bytes by chance, made with the session and kept as long as it lives.
pub(super) type Id = [u8; 16];
