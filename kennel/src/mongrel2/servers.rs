//! Which servers of which database a command is about.

use super::existing;
use crate::args::Servers as Args;
use crate::exit::wrong_input;
use mongrel2_conf::deployed::{Deployment, Selection};
use mongrel2_conf::model::Server;
use std::path::Path;

/// The database that is meant when none is named, as with m2sh.
pub(crate) const DEFAULT_DATABASE: &str = "config.sqlite";

impl Args {
    /// Whether a database or a server was named at all.
    pub(crate) fn is_named(&self) -> bool {
        let Self { db, name, host, uuid, every, workdir } = self;
        db.is_some() || name.is_some() || host.is_some() || uuid.is_some() || *every || workdir.is_some()
    }

    /// Reads the database.
    pub(crate) fn open(&self) -> anyhow::Result<Deployment> {
        existing::open(self.db.as_deref().unwrap_or(Path::new(DEFAULT_DATABASE)), self.workdir.as_deref())
    }

    /// The servers that are meant; without any word about it, `unnamed`.
    pub(crate) fn select<'a>(
        &self,
        deployment: &'a Deployment,
        unnamed: Selection<'_>,
    ) -> anyhow::Result<Vec<&'a Server>> {
        let selection = match (&self.name, &self.host, &self.uuid, self.every) {
            (Some(name), ..) => Selection::Name(name),
            (_, Some(host), ..) => Selection::Host(host),
            (_, _, Some(uuid), _) => Selection::Uuid(uuid),
            (.., true) => Selection::Every,
            _ => unnamed,
        };
        deployment.select(selection).map_err(|problem| {
            let hint = match selection {
                Selection::Only => "\n  by --name, --host or --uuid, or take all with --every",
                _ => "",
            };
            wrong_input(format!("{problem}{hint}"))
        })
    }
}
