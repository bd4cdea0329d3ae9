//! `kennel conf servers`: who listens where.

use super::source;
use crate::args::conf::Listing;
use crate::table;
use serde_json::json;
use std::process::ExitCode;

pub(super) fn run(args: &Listing) -> anyhow::Result<ExitCode> {
    let config = source::database(&args.database.db)?.config;
    let rows: Vec<_> = config
        .servers
        .iter()
        .map(|server| {
            let address = match server.bind_addr.contains(':') {
                true => format!("[{}]:{}", server.bind_addr, server.port),
                false => format!("{}:{}", server.bind_addr, server.port),
            };
            let (name, default_host, uuid) =
                (server.name.clone(), server.default_host.clone(), server.uuid.clone());
            [name, default_host, uuid, address, if server.use_ssl { "yes" } else { "no" }.to_owned()]
        })
        .collect();
    table::listing(args.json, &["name", "default host", "uuid", "address", "tls"], &rows, || {
        let list = config.servers.iter().map(|server| {
            json!({
                "name": server.name, "default_host": server.default_host, "uuid": server.uuid,
                "bind_addr": server.bind_addr, "port": server.port, "use_ssl": server.use_ssl,
                "chroot": server.chroot, "access_log": server.access_log, "error_log": server.error_log,
                "error_log_level": server.error_log_level, "pid_file": server.pid_file,
                "control_port": server.control_port, "hosts": server.hosts.len(),
                "filters": server.filters.iter().map(|module| &module.name).collect::<Vec<_>>(),
                "xrequests": server.xrequests.iter().map(|module| &module.name).collect::<Vec<_>>(),
            })
        });
        list.collect()
    })
}
