//! The languages of apps.

/// What an app, or a test of one, is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Lua,
    Python,
}
