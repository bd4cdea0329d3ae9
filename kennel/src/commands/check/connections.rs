//! How many live connections each Mongrel2 gets from the hub.

use crate::args::{Database, Front};
use crate::config::{Config, Place};
use crate::mongrel2::capacity::{OWN_DIVIDEND, Places};
use crate::mongrel2::existing;
use handler_core::hub::{Capacity, Limits};
use serde_json::{Value, json};

/// One Mongrel2 and its bound.
#[derive(Debug)]
pub(super) struct Bound {
    server: String,
    /// What decides how many it holds, when known.
    places: Option<Places>,
    live: usize,
}

impl Bound {
    fn new(server: String, places: Option<Places>, limits: &Limits) -> Self {
        let most = places.map_or(usize::MAX, |places| places.capacity().live());
        Self { server, places, live: most.min(limits.connections) }
    }

    pub(super) fn text(&self) -> String {
        let Self { server, places, live } = self;
        let Some(places) = places else {
            return format!("{live:>8}  {server}: unknown what it holds, so `connections` alone counts");
        };
        let capacity = places.capacity();
        let why = match *live < capacity.live() {
            true => "as `connections` says".to_owned(),
            false if places.dividend < OWN_DIVIDEND => {
                format!("{} descriptors, less {} for plain HTTP", capacity.places(), capacity.room())
            }
            false => format!(
                "{} descriptors / superpoll.hot_dividend {}, less {} for plain HTTP",
                places.descriptors.min(places.dividend * Capacity::MAX as u64),
                places.dividend,
                capacity.room()
            ),
        };
        format!("{live:>8}  {server}: {why}")
    }

    pub(super) fn as_json(&self) -> Value {
        let places = self.places.map(|places| places.capacity().places());
        json!({ "server": self.server, "live": self.live, "places": places })
    }
}

/// The bound of each Mongrel2 that was named, or of the server that Kennel starts (`front`) if none was.
pub(super) fn bounds(
    typed: &Database,
    front: Front,
    config: &Config,
    limits: &Limits,
) -> anyhow::Result<Vec<Bound>> {
    let in_database = |database: &Database| {
        let Some(path) = &database.mongrel2 else { return Ok(None) };
        let deployment = existing::open(path, database.workdir.as_deref())?;
        let (server, _) = existing::find(&deployment, database)?;
        let name = format!("server `{}` of {}", server.label(), path.display());
        Ok::<_, anyhow::Error>(Some(Bound::new(name, Some(Places::of(&deployment, server)), limits)))
    };
    if let Some(bound) = in_database(typed)? {
        return Ok(vec![bound]);
    }
    let mut bounds = Vec::new();
    for server in &config.mongrel2 {
        match &server.place {
            Place::Database(database) => bounds.extend(in_database(database)?),
            Place::Addresses { send_spec, .. } => {
                bounds.push(Bound::new(format!("the mongrel2 at {send_spec}"), None, limits));
            }
        }
    }
    if bounds.is_empty() {
        let name = match front {
            Front::Kennel => "Kennel's front",
            Front::Mongrel2 => "Kennel's own mongrel2",
        };
        bounds.push(Bound::new(name.to_owned(), Some(Places::own(front)), limits));
    }
    Ok(bounds)
}
