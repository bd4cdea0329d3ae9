//! `kennel conf routes`: what leads where, in the order in which Mongrel2 reads it.

use super::{choice, source};
use crate::args::conf::Routes;
use crate::exit::wrong_input;
use crate::table;
use mongrel2_conf::diff;
use mongrel2_conf::model::{Host, Server, Target};
use serde_json::{Value, json};
use std::process::ExitCode;

pub(super) fn run(args: &Routes) -> anyhow::Result<ExitCode> {
    let db = &args.listing.database.db;
    let contents = source::database(db)?;
    let servers = choice::servers(&contents.config, db, args.server.as_deref())?;
    let mut hosts = choice::hosts(&servers, db, args.host.as_deref())?;
    if let Some(id) = args.id {
        hosts.retain(|(server, _, host, _)| contents.host_ids[*server][*host] == id);
        if hosts.is_empty() {
            let hint = "`kennel conf hosts` shows the numbers";
            return Err(wrong_input(format!("no host has the number {id} in `{}`: {hint}", db.display())));
        }
    }
    let routes: Vec<_> = hosts
        .iter()
        .flat_map(|&(_, server, _, host)| host.routes.iter().map(move |route| (server, host, route)))
        .collect();
    let rows: Vec<_> = routes
        .iter()
        .map(|(server, host, route)| {
            let server = server.label().to_owned();
            [server, host.name.clone(), route.path.clone(), diff::about(&route.target)]
        })
        .collect();
    table::listing(args.listing.json, &["server", "host", "route", "target"], &rows, || {
        routes.iter().map(|(server, host, route)| json(server, host, &route.path, &route.target)).collect()
    })
}

/// A route and all that is known of its target.
pub(super) fn json(server: &Server, host: &Host, path: &str, target: &Target) -> Value {
    let target = match target {
        Target::Handler(handler) => json!({
            "type": "handler", "send_spec": handler.send_spec, "send_ident": handler.send_ident,
            "recv_spec": handler.recv_spec, "recv_ident": handler.recv_ident,
            "raw_payload": handler.raw_payload, "protocol": handler.protocol.as_str(),
        }),
        Target::Dir(dir) => json!({
            "type": "dir", "base": dir.base, "index_file": dir.index_file,
            "default_ctype": dir.default_ctype, "cache_ttl": dir.cache_ttl,
        }),
        Target::Proxy(proxy) => json!({ "type": "proxy", "addr": proxy.addr, "port": proxy.port }),
    };
    json!({
        "server": server.name, "server_uuid": server.uuid, "host": host.name, "path": path, "target": target,
    })
}
