//! What a visitor carries between requests: sessions in signed cookies, tokens for links, and tokens that tell one's
//! own forms from those of other sites.
//!
//! All of it is signed with HMAC-SHA256 and nothing is hidden: who has a cookie can read it, and cannot change it. Nothing is
//! kept here, so any worker of any machine with the same [`Keys`] goes on where another one was. Time (seconds since
//! 1970) and entropy are arguments.

pub mod csrf;
mod id;
mod jar;
mod keys;
mod options;
mod privacy;
mod token;
mod visit;

pub use jar::{Jar, MAX_COOKIE, SessionError};
pub use keys::{Keys, MIN_SECRET, Secret, SecretError};
pub use options::{Options, OptionsError};
pub use privacy::{cache_control, vary};
pub use token::TokenError;
pub use visit::{ENTROPY, Visit};
