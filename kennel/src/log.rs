//! Where log lines go: standard error, one readable line each, or JSON.
//!
//! Everything goes through a bounded queue and a thread, so that the hub and its workers never wait for a terminal, a
//! disk or the reader of a pipe.

mod fields;
mod intake;
mod queue;
mod visible;

use crate::args::{LogFormat, LogLevel};
use crate::exit::takes_colours;
use anyhow::Context;
use intake::Intake;
use mongrel2_front::serve::ErrorLog;
use queue::LogQueue;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing::{Subscriber, info, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use visible::visible;

/// Changes how much is logged.
pub(crate) type SetLevel = Box<dyn Fn(LogLevel)>;

/// How long the end of the program waits for the reader of the log.
const FLUSH: Duration = Duration::from_secs(1);

/// The log. When it is dropped, what waits is written, if its reader takes it in time.
#[derive(Debug)]
pub(crate) struct Log {
    queue: LogQueue,
    format: LogFormat,
    intake: Intake,
    output: Arc<OwnedFd>,
    dropped: Arc<AtomicU64>,
}

/// Tells that everything is up.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    queue: LogQueue,
    format: LogFormat,
}

/// What the formatter writes its lines to.
#[derive(Debug, Clone)]
struct Lines {
    queue: LogQueue,
    format: LogFormat,
    colours: bool,
}

impl Write for Lines {
    /// Takes a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.format {
            LogFormat::Json => self.queue.push(line),
            LogFormat::Text => self.queue.push(&visible(line, self.colours)),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    }
}

/// Sets logging up; called once. `bound`: the most bytes of lines that wait to be written. Warnings and errors go to `errors`,
/// too.
pub(crate) fn start(
    format: LogFormat,
    level: LogLevel,
    bound: usize,
    errors: Option<ErrorLog>,
) -> anyhow::Result<(Log, SetLevel)> {
    let colours = takes_colours(io::stderr().is_terminal());
    let target = io::stderr().as_fd().try_clone_to_owned().context("cannot log to standard error")?;
    let dropped = Arc::default();
    let tell = |lines| warn!(lines, "log lines were dropped, since standard error did not take them in time");
    let queue = LogQueue::start(target, bound, Arc::clone(&dropped), tell).context("cannot start the log")?;

    let lines = Lines { queue: queue.clone(), format, colours };
    let all = layer(format, move || lines.clone(), colours);
    let errors = errors.map(|file| layer(format, move || file.clone(), false).with_filter(LevelFilter::WARN));
    let (level, handle) = reload::Layer::new(filter(level));
    tracing_subscriber::registry().with(level).with(all).with(errors).init();
    // It fails only when nothing is logged any more.
    let set_level = Box::new(move |level| drop(handle.reload(filter(level))));

    let sink = queue.clone();
    let (intake, output) =
        Intake::start(move |line| output_line(&sink, format, line)).context("cannot start the log")?;
    Ok((Log { queue, format, intake, output: Arc::new(output), dropped }, set_level))
}

/// Writes lines of this format to what `writer` makes.
fn layer<S, W>(format: LogFormat, writer: W, colours: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .log_internal_errors(false)
        .with_ansi(colours)
        .with_target(false);
    match format {
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
        LogFormat::Text => layer.compact().fmt_fields(fields::readable()).boxed(),
    }
}

/// A line that a worker wrote by itself.
fn output_line(queue: &LogQueue, format: LogFormat, line: &[u8]) {
    match format {
        LogFormat::Json => info!(target: "worker", "{}", String::from_utf8_lossy(line)),
        LogFormat::Text => queue.push(&[&*visible(line, false), b"\n"].concat()),
    }
}

impl Log {
    /// Where workers write what they do not give the hub.
    pub(crate) fn output(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.output)
    }

    /// How many lines were dropped.
    pub(crate) fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }

    /// To tell that everything is up.
    pub(crate) fn ready(&self) -> Ready {
        Ready { queue: self.queue.clone(), format: self.format }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let last = self.intake.drain(FLUSH / 4);
        if !last.is_empty() {
            output_line(&self.queue, self.format, &last);
        }
        self.queue.flush(FLUSH);
    }
}

impl Ready {
    /// A plain line for people who wait for a page, which shows an error.
    pub(crate) fn tell_of_error(&self, text: &str) {
        match self.format {
            LogFormat::Json => info!("not serving yet: {text}"),
            LogFormat::Text => self.queue.push(format!("not serving yet: {text}\n").as_bytes()),
        }
    }

    /// A plain line for people and for programs that wait for it.
    pub(crate) fn tell(&self, text: &str) {
        match self.format {
            LogFormat::Json => info!("ready: {text}"),
            LogFormat::Text => self.queue.push(format!("ready: {text}\n").as_bytes()),
        }
    }
}
