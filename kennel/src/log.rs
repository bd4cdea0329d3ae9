//! Where log lines go: standard error, one readable line each, or JSON.

use crate::args::{LogFormat, LogLevel};
use std::io::IsTerminal;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::prelude::*;
use tracing_subscriber::reload;

/// Changes how much is logged.
pub(crate) type SetLevel = Box<dyn Fn(LogLevel)>;

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    }
}

/// Sets logging up; called once.
pub(crate) fn start(format: LogFormat, level: LogLevel) -> SetLevel {
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours).with_target(false);
    let lines = match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.compact().boxed(),
    };
    let (level, handle) = reload::Layer::new(filter(level));
    tracing_subscriber::registry().with(level).with(lines).init();
    // It fails only when nothing is logged any more.
    Box::new(move |level| drop(handle.reload(filter(level))))
}

/// Tells that everything is up: a plain line for people and for what waits for it.
pub(crate) fn ready(format: LogFormat, text: &str) {
    match format {
        LogFormat::Json => tracing::info!("ready: {text}"),
        LogFormat::Text => eprintln!("ready: {text}"),
    }
}
