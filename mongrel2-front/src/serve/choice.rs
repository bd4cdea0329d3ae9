//! The configuration: read from the database, and which of its servers to be.

use mongrel2_conf::model::{Config, Server};
use mongrel2_conf::store::{self, StoreError};
use std::path::{Path, PathBuf};
use thiserror::Error;
use tracing::warn;

/// Why there is no server to be.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ChoiceError {
    /// The database cannot be read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The database is valid and empty.
    #[error("`{}` has no servers", path.display())]
    NoServers {
        /// The database.
        path: PathBuf,
    },
    /// No server has the uuid.
    #[error("`{}` has no server `{uuid}`; it has {known}", path.display())]
    Unknown {
        /// The database.
        path: PathBuf,
        /// What was asked for.
        uuid: String,
        /// The servers that there are.
        known: String,
    },
    /// No uuid was given, and there is more than one.
    #[error("`{}` has {count} servers; name the uuid of one: {known}", path.display())]
    Several {
        /// The database.
        path: PathBuf,
        /// How many servers there are.
        count: usize,
        /// The servers that there are.
        known: String,
    },
}

/// A configuration and the place of the chosen server in it.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    pub(super) config: Config,
    place: usize,
}

impl Choice {
    /// Reads the database at `path` and chooses the server with this uuid, or the only one.
    ///
    /// Wrong rows that the rest does not need are logged.
    pub(super) fn read(path: &Path, uuid: Option<&str>) -> Result<Self, ChoiceError> {
        let contents = store::read(path)?;
        for flaw in &contents.flaws {
            warn!("configuration `{}`: {flaw}", path.display());
        }
        Self::of(contents.config, path, uuid)
    }

    pub(super) fn of(config: Config, path: &Path, uuid: Option<&str>) -> Result<Self, ChoiceError> {
        let servers = &config.servers;
        let place = match uuid {
            Some(uuid) => servers.iter().position(|server| server.uuid == uuid),
            None if servers.len() == 1 => Some(0),
            None => None,
        };
        if let Some(place) = place {
            return Ok(Self { config, place });
        }
        let path = path.to_owned();
        let known = known(servers);
        Err(match uuid {
            _ if servers.is_empty() => ChoiceError::NoServers { path },
            Some(uuid) => ChoiceError::Unknown { path, uuid: uuid.to_owned(), known },
            None => ChoiceError::Several { path, count: servers.len(), known },
        })
    }

    pub(super) fn server(&self) -> &Server {
        &self.config.servers[self.place]
    }
}

/// The servers' uuids, with their names.
fn known(servers: &[Server]) -> String {
    let one = |server: &Server| match server.name.is_empty() || server.name == server.uuid {
        true => format!("`{}`", server.uuid),
        false => format!("`{}` ({})", server.uuid, server.name),
    };
    servers.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(servers: &[(&str, &str)]) -> Config {
        let server = |(uuid, name): &(&str, &str)| Server {
            uuid: (*uuid).into(),
            name: (*name).into(),
            ..Server::default()
        };
        Config { servers: servers.iter().map(server).collect(), ..Config::default() }
    }

    fn choose(servers: &[(&str, &str)], uuid: Option<&str>) -> Result<String, String> {
        let choice = Choice::of(config(servers), Path::new("a.sqlite"), uuid);
        choice.map(|choice| choice.server().uuid.clone()).map_err(|problem| problem.to_string())
    }

    #[test]
    fn the_only_server_needs_no_uuid() {
        assert_eq!(choose(&[("a", "")], None), Ok("a".into()));
        assert_eq!(choose(&[("a", ""), ("b", "")], Some("b")), Ok("b".into()));
    }

    #[test]
    fn errors_name_the_servers_that_there_are() {
        let several = [("a", "main"), ("b", "")];
        assert_eq!(
            choose(&several, None),
            Err("`a.sqlite` has 2 servers; name the uuid of one: `a` (main), `b`".into())
        );
        assert_eq!(
            choose(&several, Some("main")),
            Err("`a.sqlite` has no server `main`; it has `a` (main), `b`".into())
        );
        assert_eq!(choose(&[], None), Err("`a.sqlite` has no servers".into()));
        assert_eq!(choose(&[], Some("a")), Err("`a.sqlite` has no servers".into()));
    }
}
