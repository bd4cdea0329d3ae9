//! `kennel conf hosts`: the sites of a server, or of all.

use super::{choice, source};
use crate::args::conf::Hosts;
use crate::table;
use serde_json::json;
use std::process::ExitCode;

pub(super) fn run(args: &Hosts) -> anyhow::Result<ExitCode> {
    let db = &args.listing.database.db;
    let contents = source::database(db)?;
    let servers = choice::servers(&contents.config, db, args.server.as_deref())?;
    let hosts = choice::hosts(&servers, db, None)?;
    let id = |server: usize, host: usize| contents.host_ids[server][host];
    let rows: Vec<_> = hosts
        .iter()
        .map(|&(number, server, at, host)| {
            let (name, matching) = (host.name.clone(), host.matching.clone());
            let routes = host.routes.len().to_string();
            [id(number, at).to_string(), server.label().to_owned(), name, matching, routes]
        })
        .collect();
    table::listing(args.listing.json, &["id", "server", "host", "matching", "routes"], &rows, || {
        let list = hosts.iter().map(|&(number, server, at, host)| {
            json!({
                "id": id(number, at), "server": server.name, "server_uuid": server.uuid, "name": host.name,
                "matching": host.matching, "is_default": host.name == server.default_host,
                "routes": host.routes.len(),
            })
        });
        list.collect()
    })
}
