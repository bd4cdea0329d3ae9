//! Servers and hosts by the names that were typed.

use crate::exit::wrong_input;
use mongrel2_conf::model::{Config, Host, Server};
use std::path::Path;

/// The server of this name or uuid; all of them if none was typed. A name may fit several.
pub(super) fn servers<'a>(
    config: &'a Config,
    db: &Path,
    name: Option<&str>,
) -> anyhow::Result<Vec<(usize, &'a Server)>> {
    let all = config.servers.iter().enumerate();
    let Some(name) = name else { return Ok(all.collect()) };
    let found: Vec<_> = all.filter(|(_, server)| server.name == name || server.uuid == name).collect();
    if found.is_empty() {
        let names = config.servers.iter().map(Server::label);
        return Err(unknown("server", name, &db.display().to_string(), names));
    }
    Ok(found)
}

/// The host of this name in any of the servers; all of them if none was typed.
pub(super) fn hosts<'a>(
    servers: &[(usize, &'a Server)],
    db: &Path,
    name: Option<&str>,
) -> anyhow::Result<Vec<(usize, &'a Server, usize, &'a Host)>> {
    let all = servers.iter().flat_map(|&(number, server)| {
        server.hosts.iter().enumerate().map(move |(at, host)| (number, server, at, host))
    });
    let all: Vec<_> = all.collect();
    let Some(name) = name else { return Ok(all) };
    let found: Vec<_> = all.iter().copied().filter(|(.., host)| host.name == name).collect();
    if found.is_empty() {
        let names = all.iter().map(|(.., host)| host.name.as_str());
        return Err(unknown("host", name, &db.display().to_string(), names));
    }
    Ok(found)
}

/// An error that says which names there are.
fn unknown<'a>(kind: &str, name: &str, place: &str, names: impl Iterator<Item = &'a str>) -> anyhow::Error {
    let mut names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    names.dedup();
    let rest = names.len().saturating_sub(10);
    names.truncate(10);
    let mut there = names.join(", ");
    if rest > 0 {
        there.push_str(&format!(" and {rest} more"));
    }
    let there = if there.is_empty() { "it has none".to_owned() } else { format!("there is {there}") };
    wrong_input(format!("no {kind} `{name}` in `{place}`: {there}"))
}
