//! Where log lines go: standard error, one readable line each, or JSON.

use crate::args::{LogFormat, LogLevel};
use std::io::IsTerminal;
use tracing::level_filters::LevelFilter;

/// Sets logging up; called once.
pub(crate) fn start(format: LogFormat, level: LogLevel) {
    let level = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(false);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.compact().init(),
    }
}

/// Tells that everything is up: a plain line for people and for what waits for it.
pub(crate) fn ready(format: LogFormat, text: &str) {
    match format {
        LogFormat::Json => tracing::info!("ready: {text}"),
        LogFormat::Text => eprintln!("ready: {text}"),
    }
}
