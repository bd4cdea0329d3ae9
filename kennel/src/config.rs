//! `kennel.toml`: what it may say.
//!
//! `mongrel2`, `limits` and `tls` are tables of their own, `values` reads single values, and `mistake` shows what is wrong where,
//! with the nearest known key.

mod limits;
mod mistake;
mod mongrel2;
mod tls;
mod values;

pub(crate) use mistake::{ConfigError, Mistake};
pub(crate) use mongrel2::{Mongrel2, Place};

use crate::args::{Front, Interface, TlsFiles};
use crate::toml_words::Worded;
use handler_core::hub::{Affinity, HostPattern, Limits};
use handler_core::object;
use kennel_http::proxies::TrustedProxies;
use limits::LimitSettings;
use mistake::describe;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file that is read when none is named.
pub(crate) const DEFAULT_FILE: &str = "kennel.toml";

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Which server Kennel starts.
    pub(crate) front: Option<Front>,
    /// Where the server that Kennel starts listens.
    #[serde(default, deserialize_with = "values::own_address")]
    pub(crate) listen: Option<String>,
    /// With what Kennel's front speaks https. Relative paths count from the file's folder.
    #[serde(default, deserialize_with = "tls::files")]
    pub(crate) tls: Option<TlsFiles>,
    /// Whether a Mongrel2 that Kennel starts counts what its clients have not read yet.
    pub(crate) flow_control: Option<bool>,
    /// How that server hands large bodies over.
    pub(crate) uploads: Option<Uploads>,
    /// Proxies that name the client of a request.
    #[serde(default, deserialize_with = "values::networks")]
    pub(crate) trusted_proxies: Option<TrustedProxies>,
    /// The only hosts that requests may name.
    #[serde(default, deserialize_with = "values::hosts")]
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
    #[serde(default, deserialize_with = "values::duration")]
    pub(crate) timeout: Option<Duration>,
    /// How many run at once.
    #[serde(default, deserialize_with = "values::positive")]
    pub(crate) at_once: Option<u32>,
    /// What one may write, bytes.
    #[serde(default, deserialize_with = "values::answer_size")]
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
    #[serde(default, deserialize_with = "values::metrics_address")]
    pub(crate) listen: Option<String>,
}

/// An app.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct App {
    pub(crate) source: String,
    #[serde(default, deserialize_with = "values::positive")]
    pub(crate) workers: Option<u32>,
    #[serde(default, deserialize_with = "values::mount")]
    pub(crate) mount: Option<String>,
    /// The interpreter of an app in Python.
    pub(crate) python: Option<String>,
    /// What an app in Python is.
    pub(crate) interface: Option<Interface>,
    /// What is named makes the app.
    #[serde(default)]
    pub(crate) factory: bool,
    /// Which requests belong to one worker.
    #[serde(default, deserialize_with = "values::affinity")]
    pub(crate) affinity: Option<Affinity>,
    /// Copies of a program in each of its workers.
    #[serde(default, deserialize_with = "values::positive")]
    pub(crate) processes: Option<u32>,
    /// Requests that each copy of a program is given at once.
    #[serde(default, deserialize_with = "values::positive")]
    pub(crate) at_once: Option<u32>,
    /// Threads of each worker of an app in Python.
    #[serde(default, deserialize_with = "values::positive")]
    pub(crate) threads: Option<u32>,
    #[serde(default)]
    pub(crate) config: toml::Table,
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
        if let (Some(tls), Some(folder)) = (&mut config.tls, path.parent()) {
            tls.certificate = folder.join(&tls.certificate);
            tls.key = folder.join(&tls.key);
        }
        Ok(config)
    }

    /// A problem with the source of an app, with its place if the file lists it.
    pub(crate) fn about_source(&self, source: &str, problem: &anyhow::Error) -> String {
        match self.sources.iter().find(|(listed, _)| listed == source) {
            Some((_, place)) => place.saying(problem.to_string()).to_string(),
            None => problem.to_string(),
        }
    }

    /// The bounds in force.
    pub(crate) fn limits(&self) -> Limits {
        self.limits.in_force()
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
