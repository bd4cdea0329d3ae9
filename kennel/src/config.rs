//! `kennel.toml`: what it may say, and errors with the place and the nearest known key.

use crate::args::{self, Interface};
use crate::exit::plain;
use crate::listen::{self, METRICS};
use crate::toml_words::{self, Worded};
use handler_core::hub::{Affinity, HostPattern, Limits};
use handler_core::object;
use handler_core::worker::protocol::MAX_BATCH;
use kennel_http::proxies::TrustedProxies;
use mongrel2_wire::address::Address;
use serde::{Deserialize, Deserializer};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// The file that is read when none is named.
pub(crate) const DEFAULT_FILE: &str = "kennel.toml";

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where Kennel's own Mongrel2 listens.
    #[serde(default, deserialize_with = "own_address")]
    pub(crate) listen: Option<String>,
    /// Whether that Mongrel2 counts what its clients have not read yet.
    pub(crate) flow_control: Option<bool>,
    /// How that Mongrel2 hands large bodies over.
    pub(crate) uploads: Option<Uploads>,
    /// Proxies that name the client of a request.
    #[serde(default, deserialize_with = "networks")]
    pub(crate) trusted_proxies: Option<TrustedProxies>,
    /// The only hosts that requests may name.
    #[serde(default, deserialize_with = "hosts")]
    pub(crate) hosts: Option<Vec<HostPattern>>,
    /// Existing Mongrel2 handlers.
    #[serde(default, deserialize_with = "object::list")]
    pub(crate) mongrel2: Vec<Mongrel2>,
    /// The apps.
    #[serde(default, deserialize_with = "object::list")]
    pub(crate) app: Vec<App>,
    /// Where operators connect.
    #[serde(default, deserialize_with = "object::only")]
    pub(crate) console: Console,
    /// Where numbers are read.
    #[serde(default, deserialize_with = "object::only")]
    pub(crate) metrics: Metrics,
    /// What sessions are signed with.
    #[serde(default, deserialize_with = "object::only")]
    pub(crate) sessions: Sessions,
    /// The CGI scripts among public files.
    #[serde(default, deserialize_with = "object::only")]
    pub(crate) cgi: Cgi,
    /// Bounds that differ from their defaults.
    #[serde(default, deserialize_with = "object::only")]
    limits: LimitSettings,
    /// Where the sources of apps stand in the file.
    #[serde(skip)]
    sources: Vec<(String, Mistake)>,
}

/// The sessions.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sessions {
    /// The secret, or several, of which the first signs.
    #[serde(alias = "secrets")]
    pub(crate) secret: Option<OneOrMore>,
}

/// A text or a list of texts.
#[derive(Deserialize)]
#[serde(untagged, expecting = "write a text in quotes, or a list of texts")]
pub(crate) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// It is never shown.
impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sessions(..)")
    }
}

/// How Kennel's own Mongrel2 hands over bodies that are large or come in chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Uploads {
    /// In files.
    File,
    /// In parts.
    Stream,
}

/// The CGI scripts.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cgi {
    /// Whether they are run.
    #[serde(default)]
    pub(crate) enabled: bool,
    /// How long one may run.
    #[serde(default, deserialize_with = "duration")]
    pub(crate) timeout: Option<Duration>,
    /// How many run at once.
    #[serde(default, deserialize_with = "positive")]
    pub(crate) at_once: Option<u32>,
    /// What one may write, bytes.
    #[serde(default, deserialize_with = "answer_size")]
    pub(crate) output: Option<usize>,
}

/// The console.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Console {
    /// Its socket.
    pub(crate) socket: Option<PathBuf>,
}

/// The metrics.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Metrics {
    /// The address of their HTTP.
    #[serde(default, deserialize_with = "metrics_address")]
    pub(crate) listen: Option<String>,
}

/// An existing Mongrel2 handler.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Mongrel2Table")]
pub(crate) struct Mongrel2 {
    pub(crate) place: Place,
    /// Where its `upload.temp_store` puts bodies, as seen from here.
    pub(crate) upload_store: Option<PathBuf>,
}

/// How a handler is found.
#[derive(Debug)]
pub(crate) enum Place {
    /// By its addresses.
    Addresses { send_spec: String, recv_spec: String, recv_ident: Option<String> },
    /// In Mongrel2's database.
    Database(args::Database),
}

/// `[[mongrel2]]` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mongrel2Table {
    #[serde(default, deserialize_with = "spec")]
    send_spec: Option<String>,
    #[serde(default, deserialize_with = "spec")]
    recv_spec: Option<String>,
    recv_ident: Option<String>,
    config: Option<PathBuf>,
    server: Option<String>,
    handler: Option<String>,
    route: Option<String>,
    workdir: Option<PathBuf>,
    upload_store: Option<PathBuf>,
}

impl TryFrom<Mongrel2Table> for Mongrel2 {
    type Error = &'static str;

    fn try_from(table: Mongrel2Table) -> Result<Self, &'static str> {
        let Mongrel2Table {
            send_spec, recv_spec, recv_ident, config, server, handler, route, workdir, ..
        } = table;
        let place = match (config, send_spec, recv_spec) {
            (None, Some(send_spec), Some(recv_spec)) => {
                if server.is_some() || handler.is_some() || route.is_some() || workdir.is_some() {
                    return Err(
                        "`server`, `handler`, `route` and `workdir` need `config`, Mongrel2's database",
                    );
                }
                Place::Addresses { send_spec, recv_spec, recv_ident }
            }
            (None, Some(_), None) => return Err("`recv_spec` is missing"),
            (None, None, Some(_)) => return Err("`send_spec` is missing"),
            (None, None, None) => {
                return Err("write `send_spec` and `recv_spec`, or `config`, Mongrel2's database");
            }
            (Some(_), _, _) if handler.is_some() && route.is_some() => {
                return Err("name the handler by `handler` or by `route`, not by both");
            }
            (Some(config), None, None) if recv_ident.is_none() => {
                Place::Database(args::Database { mongrel2: Some(config), server, handler, route, workdir })
            }
            (Some(_), ..) => return Err("`config` says what `send_spec`, `recv_spec` and `recv_ident` are"),
        };
        Ok(Self { place, upload_store: table.upload_store })
    }
}

/// An app.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct App {
    pub(crate) source: String,
    #[serde(default, deserialize_with = "positive")]
    pub(crate) workers: Option<u32>,
    #[serde(default, deserialize_with = "mount")]
    pub(crate) mount: Option<String>,
    /// The interpreter of an app in Python.
    pub(crate) python: Option<String>,
    /// What an app in Python is.
    pub(crate) interface: Option<Interface>,
    /// What is named makes the app.
    #[serde(default)]
    pub(crate) factory: bool,
    /// Which requests belong to one worker.
    #[serde(default, deserialize_with = "affinity")]
    pub(crate) affinity: Option<Affinity>,
    /// Copies of a program in each of its workers.
    #[serde(default, deserialize_with = "positive")]
    pub(crate) processes: Option<u32>,
    /// Requests that each copy of a program is given at once.
    #[serde(default, deserialize_with = "positive")]
    pub(crate) at_once: Option<u32>,
    /// Threads of each worker of an app in Python.
    #[serde(default, deserialize_with = "positive")]
    pub(crate) threads: Option<u32>,
    #[serde(default)]
    pub(crate) config: toml::Table,
}

/// `[limits]`: the names are those of [`Limits`].
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitSettings {
    #[serde(default, deserialize_with = "duration")]
    request_timeout: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    script_time: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    load_time: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    stop_time: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    hook_time: Option<Duration>,
    #[serde(default, deserialize_with = "size")]
    queue: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    worker_jobs: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    pipeline: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    spill: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    server_output: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    connection_output: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    channel_queue: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    upload: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    upload_total: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    upload_total_per_address: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    upload_rate: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    rooms: Option<usize>,
    #[serde(default, deserialize_with = "duration")]
    keep_alive: Option<Duration>,
    #[serde(default, deserialize_with = "size")]
    connections: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    sessions: Option<usize>,
    #[serde(default, deserialize_with = "duration")]
    poll_wait: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    inactivity: Option<Duration>,
    #[serde(default, deserialize_with = "size")]
    mailbox: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    resume: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    handler_targets: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    conversations: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    conversations_per_address: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    sessions_per_address: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    bodies_per_address: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    worker_memory: Option<usize>,
    #[serde(default, deserialize_with = "answer_size")]
    exec_line: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    log_queue: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    form_parts: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    form_field: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    form_header: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    form_memory: Option<usize>,
}

/// Why the file cannot be used.
#[derive(Debug, Error)]
pub(crate) enum ConfigError {
    /// It is not there, or may not be read.
    #[error("cannot read `{}`: {}", path.display(), plain(cause))]
    Unreadable { path: PathBuf, cause: std::io::Error },
    /// It says something wrong.
    #[error("{0}")]
    Wrong(Box<Mistake>),
}

/// A mistake in the file, and where it is.
#[derive(Debug, Clone, Error)]
#[error("{}:{line}:{column}: {message}\n  {text}\n  {marker}{hint}", path.display())]
pub(crate) struct Mistake {
    path: PathBuf,
    line: usize,
    column: usize,
    message: String,
    /// The line itself.
    text: String,
    /// Carets below the place.
    marker: String,
    hint: String,
}

impl Config {
    /// Reads the file that was named, or the default one if it is there.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text),
            Err(problem) if named.is_none() && problem.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(cause) => Err(ConfigError::Unreadable { path: path.to_owned(), cause }),
        }
    }

    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text).map_err(|problem| describe(path, text, &problem))?;
        let sources: Sources = toml::from_str(text).unwrap_or_default();
        let place = |app: SourceOfApp| {
            let span = app.source.span();
            (app.source.into_inner(), Mistake::new(path, text, span, Worded::default()))
        };
        config.sources = sources.app.into_iter().map(place).collect();
        Ok(config)
    }

    /// A problem with the source of an app, with its place if the file lists it.
    pub(crate) fn about_source(&self, source: &str, problem: &anyhow::Error) -> String {
        match self.sources.iter().find(|(listed, _)| listed == source) {
            Some((_, place)) => Mistake { message: problem.to_string(), ..place.clone() }.to_string(),
            None => problem.to_string(),
        }
    }

    /// The bounds in force.
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        let set = &self.limits;
        let assign = [
            (&mut limits.request_timeout, set.request_timeout),
            (&mut limits.script_time, set.script_time),
            (&mut limits.load_time, set.load_time),
            (&mut limits.stop_time, set.stop_time),
            (&mut limits.hook_time, set.hook_time),
            (&mut limits.keep_alive, set.keep_alive),
            (&mut limits.poll_wait, set.poll_wait),
            (&mut limits.inactivity, set.inactivity),
        ];
        assign.into_iter().for_each(|(limit, value)| *limit = value.unwrap_or(*limit));
        let defaults = Limits::default();
        // One body of the size that is allowed may come.
        let at_least_one = |total: usize| set.upload.map(|upload| upload.max(total));
        let assign = [
            (&mut limits.queue, set.queue),
            (&mut limits.worker_jobs, set.worker_jobs),
            (&mut limits.pipeline, set.pipeline),
            (&mut limits.spill, set.spill),
            (&mut limits.server_output, set.server_output),
            (&mut limits.connection_output, set.connection_output),
            (&mut limits.channel_queue, set.channel_queue),
            (&mut limits.upload, set.upload),
            (&mut limits.upload_total, set.upload_total.or(at_least_one(defaults.upload_total))),
            (
                &mut limits.upload_total_per_address,
                set.upload_total_per_address.or(at_least_one(defaults.upload_total_per_address)),
            ),
            (&mut limits.upload_rate, set.upload_rate),
            (&mut limits.rooms, set.rooms),
            (&mut limits.handler_targets, set.handler_targets),
            (&mut limits.connections, set.connections),
            (&mut limits.sessions, set.sessions),
            (&mut limits.mailbox, set.mailbox),
            (&mut limits.resume, set.resume),
            (&mut limits.conversations, set.conversations),
            (&mut limits.conversations_per_address, set.conversations_per_address),
            (&mut limits.sessions_per_address, set.sessions_per_address),
            (&mut limits.bodies_per_address, set.bodies_per_address),
            (&mut limits.worker_memory, set.worker_memory),
            (&mut limits.exec_line, set.exec_line),
            (&mut limits.log_queue, set.log_queue),
            (&mut limits.form.parts, set.form_parts),
            (&mut limits.form.field, set.form_field),
            (&mut limits.form.header, set.form_header),
            (&mut limits.form.memory, set.form_memory),
        ];
        assign.into_iter().for_each(|(limit, value)| *limit = value.unwrap_or(*limit));
        limits
    }
}

/// The sources of apps, with their places.
#[derive(Default, Deserialize)]
struct Sources {
    #[serde(default)]
    app: Vec<SourceOfApp>,
}

#[derive(Deserialize)]
struct SourceOfApp {
    source: toml::Spanned<String>,
}

/// Turns toml's error into one in our words, with place, line and carets.
fn describe(path: &Path, text: &str, problem: &toml::de::Error) -> ConfigError {
    let span = problem.span().unwrap_or(0..0);
    let place = Mistake::new(path, text, span, Worded::default());
    let worded = toml_words::reword(problem.message(), place.text.trim());
    ConfigError::Wrong(Box::new(Mistake { message: worded.message, hint: worded.hint, ..place }))
}

impl Mistake {
    fn new(path: &Path, text: &str, span: Range<usize>, Worded { message, hint }: Worded) -> Self {
        let start = span.start.min(text.len());
        let before = &text[..start];
        let line = before.matches('\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = text[line_start..start].chars().count() + 1;
        let mut shown = text[line_start..].lines().next().unwrap_or_default();
        if shown.trim_start().starts_with("secret") {
            shown = &shown[..shown.find('=').unwrap_or(shown.len())];
        }
        let room = shown.chars().count().saturating_sub(column - 1).max(1);
        let width = text.get(span.start..span.end).map_or(1, |t| t.chars().count()).clamp(1, room);
        Self {
            path: path.to_owned(),
            line,
            column,
            message,
            text: shown.to_owned(),
            marker: " ".repeat(column - 1) + &"^".repeat(width),
            hint,
        }
    }
}

/// A text that `check` finds right, or what it says is wrong with it.
fn checked<'de, D: Deserializer<'de>>(
    deserializer: D,
    check: impl FnOnce(&str) -> Result<(), String>,
) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    check(&text).map_err(serde::de::Error::custom)?;
    Ok(Some(text))
}

fn own_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, listen::spelled_for_mongrel2)
}

fn metrics_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, |text| listen::spelled(text, METRICS))
}

fn spec<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, |text| text.parse::<Address>().map(drop).map_err(|problem| problem.to_string()))
}

fn mount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, |text| match text.starts_with('/') {
        true => Ok(()),
        false => Err(format!("the mount `{text}` must begin with `/`; write \"/{text}\"")),
    })
}

/// `"30s"`, `"500ms"`, `"1m 30s"`, or a number of seconds; above 0.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "not a duration; write \"30s\", \"5m\" or a number of seconds")]
    enum Written {
        Text(String),
        Seconds(f64),
    }
    let wrong = |text: &str| {
        serde::de::Error::custom(format!(
            "`{text}` is not a duration; write \"30s\", \"5m\" or a number of seconds"
        ))
    };
    let time = match Written::deserialize(deserializer)? {
        Written::Text(text) => humantime::parse_duration(&text).map_err(|_| wrong(&text))?,
        Written::Seconds(seconds) => {
            Duration::try_from_secs_f64(seconds).map_err(|_| wrong(&seconds.to_string()))?
        }
    };
    if time.is_zero() || time > Duration::from_secs(366 * 86_400) {
        return Err(serde::de::Error::custom("a duration must be above 0 and below a year"));
    }
    Ok(Some(time))
}

/// A list of addresses and networks.
fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TrustedProxies>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    TrustedProxies::parse(texts.iter().map(String::as_str)).map(Some).map_err(serde::de::Error::custom)
}

/// A list of host names.
fn hosts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<HostPattern>>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    if texts.is_empty() {
        return Err(serde::de::Error::custom("name at least one host, or leave `hosts` out to answer all"));
    }
    let patterns: Result<_, _> = texts.iter().map(|text| text.parse()).collect();
    patterns.map(Some).map_err(serde::de::Error::custom)
}

/// A whole number above 0, or `"64KiB"`, `"256MiB"`, `"1GiB"`.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "not a size; write a whole number, or \"64KiB\", \"256MiB\", \"1GiB\"")]
    enum Written {
        Number(i64),
        Text(String),
    }
    let value = match Written::deserialize(deserializer)? {
        Written::Number(number) => usize::try_from(number).ok(),
        Written::Text(text) => {
            let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
            let unit = match text[digits.len()..].trim() {
                "" | "B" => Some(1),
                "KiB" | "K" | "k" => Some(1 << 10),
                "MiB" | "M" => Some(1 << 20),
                "GiB" | "G" => Some(1 << 30),
                _ => None,
            };
            digits.parse::<usize>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit))
        }
    };
    match value.filter(|value| *value > 0) {
        Some(value) => Ok(Some(value)),
        None => {
            let text = "not a size; write a whole number above 0, or \"64KiB\", \"256MiB\", \"1GiB\"";
            Err(serde::de::Error::custom(text))
        }
    }
}

/// The same for what has to go to the hub in one piece.
fn answer_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    // Beside the answer itself there is its head.
    const MOST: usize = MAX_BATCH - (1 << 20);
    match size(deserializer)? {
        Some(value) if value > MOST => {
            Err(serde::de::Error::custom(format!("too large; write at most \"{}MiB\"", MOST >> 20)))
        }
        value => Ok(value),
    }
}

fn affinity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Affinity>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let number = i64::deserialize(deserializer)?;
    match u32::try_from(number) {
        Ok(number @ 1..=256) => Ok(Some(number)),
        _ => Err(serde::de::Error::custom("write a whole number from 1 to 256")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        Config::parse(Path::new("kennel.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn each_limit_can_be_set_as_it_is_shown() {
        for (name, value, _) in Limits::default().described() {
            let is_number = value.parse::<u64>().is_ok();
            let value = if is_number { value } else { format!("\"{value}\"") };
            let text = format!("[limits]\n{name} = {value}\n");
            let config = Config::parse(Path::new("kennel.toml"), &text);
            assert!(config.is_ok(), "{text}: {}", config.unwrap_err());
        }
    }

    #[test]
    fn a_full_file_is_understood() {
        let text = r#"
            listen = "127.0.0.1:8080"
            [[mongrel2]]
            send_spec = "tcp://127.0.0.1:9999"
            recv_spec = "tcp://127.0.0.1:9998"
            upload_store = "/srv/mongrel2/tmp"
            [[app]]
            source = "chat.lua"
            workers = 2
            mount = "/chat"
            [app.config]
            greeting = "hi"
            [metrics]
            listen = "127.0.0.1:9464"
            [limits]
            request_timeout = "1m 30s"
            script_time = 2.5
            upload = "3GiB"
            worker_memory = "64MiB"
            form_parts = 50
        "#;
        let config = Config::parse(Path::new("kennel.toml"), text).unwrap();
        assert_eq!(config.app[0].config["greeting"].as_str(), Some("hi"));
        assert_eq!(config.metrics.listen.as_deref(), Some("127.0.0.1:9464"));
        let limits = config.limits();
        assert_eq!(limits.request_timeout, Duration::from_secs(90));
        assert_eq!(limits.script_time, Duration::from_millis(2500));
        assert_eq!((limits.worker_memory, limits.upload), (64 << 20, 3 << 30));
        assert_eq!(
            (limits.upload_total, limits.upload_total_per_address),
            (8 << 30, 3 << 30),
            "one body fits"
        );
        assert_eq!((limits.form.parts, limits.form.field), (50, Limits::default().form.field));
        assert!(matches!(&config.mongrel2[0].place, Place::Addresses { recv_ident: None, .. }));
        assert_eq!(config.mongrel2[0].upload_store.as_deref(), Some(Path::new("/srv/mongrel2/tmp")));
        assert_eq!(limits.queue, Limits::default().queue);
    }

    #[test]
    fn a_mongrel2_is_named_by_its_addresses_or_by_its_database() {
        let of = |text: &str| Config::parse(Path::new("kennel.toml"), &format!("[[mongrel2]]\n{text}"));
        let config = of("config = \"m2/config.sqlite\"\nserver = \"main\"\nroute = \"/chat\"\n").unwrap();
        let Place::Database(database) = &config.mongrel2[0].place else { panic!("{config:?}") };
        assert_eq!(database.mongrel2.as_deref(), Some(Path::new("m2/config.sqlite")));
        assert_eq!((database.server.as_deref(), database.route.as_deref()), (Some("main"), Some("/chat")));
        for (text, problem) in [
            ("", "or `config`"),
            ("send_spec = \"ipc://x\"\n", "`recv_spec` is missing"),
            ("config = \"x\"\nrecv_ident = \"y\"\n", "`config` says what"),
            ("send_spec = \"ipc://x\"\nrecv_spec = \"ipc://y\"\nroute = \"/\"\n", "need `config`"),
            ("config = \"x\"\nroute = \"/\"\nhandler = \"h\"\n", "not by both"),
            ("config = \"x\"\nrout = \"/\"\n", "did you mean `route`?"),
        ] {
            let complaint = of(text).unwrap_err().to_string();
            assert!(complaint.starts_with("kennel.toml:") && complaint.contains(problem), "{complaint}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let config =
            Config::parse(Path::new("kennel.toml"), "[sessions]\nsecret = \"hush hush hush hush\"\n");
        assert!(!format!("{:?}", config.unwrap()).contains("hush"));
        for text in
            ["secret = 4711", "secret = [4711]", "secret = \"4711", "secrets = 4711", "secretz = \"4711\""]
        {
            let complaint = problem(&format!("[sessions]\n{text}\n"));
            assert!(!complaint.contains("4711") && complaint.starts_with("kennel.toml:"), "{complaint}");
        }
    }

    #[test]
    fn an_unknown_key_is_shown_with_its_place_and_the_nearest_known_one() {
        let text = problem("listen = \"x\"\n[limits]\nrequest_timeuot = 1\n");
        assert!(text.starts_with("kennel.toml:3:1: unknown key `request_timeuot`"), "{text}");
        assert!(
            text.contains("\n  request_timeuot = 1\n  ^^^^^^^^^^^^^^^ did you mean `request_timeout`?"),
            "{text}"
        );
    }

    #[test]
    fn wrong_types_and_impossible_values_are_shown_with_their_place() {
        assert!(problem("[[app]]\nsource = 1\n").starts_with("kennel.toml:2:10: "));
        assert!(problem("[[app]]\nsource = \"a\"\nworkers = 0\n").contains("from 1 to 256"));
        for list in ["cgi = [true]", "limits = [\"1s\"]", "console = [\"x\"]", "app = [[\"a.lua\"]]"] {
            assert!(
                problem(list).contains("a list is wrong here; write a table"),
                "{list}: {}",
                problem(list)
            );
        }
        let text = problem("[[app]]\nsource = \"a\"\naffinity = \"cookies\"\n");
        assert!(text.starts_with("kennel.toml:3:12: `cookies` is not an affinity"), "{text}");
        let text = problem("hosts = [\"example.com\", \"http://a.example\"]\n");
        assert!(
            text.starts_with("kennel.toml:1:") && text.contains("`http://a.example` is not a host name"),
            "{text}"
        );
        assert!(problem("hosts = []\n").contains("name at least one host"));
        assert!(problem("[limits]\nqueue = -1\n").contains("above 0"));
        assert!(problem("[limits]\nscript_time = \"soon\"\n").contains("`soon` is not a duration"));
        assert!(problem("[limits]\nexec_line = \"1GiB\"\n").contains("at most \"255MiB\""));
        assert!(problem("[cgi]\noutput = \"1GiB\"\n").contains("at most \"255MiB\""));
        assert!(problem("[cgi]\nenable = true\n").contains("did you mean `enabled`?"));
        assert!(problem("[limits\n").starts_with("kennel.toml:1:"));
    }
}
