//! Handlers of Mongrel2s that are not Kennel's own: from what was typed, or what kennel.toml says, to the
//! addresses where they are.

use super::capacity::Places;
use crate::args::{Addresses, Database};
use crate::config::{self, Config, Place};
use crate::exit::{plain, unreachable, wrong_input};
use anyhow::anyhow;
use handler_core::transport::Endpoint;
use mongrel2_conf::deployed::{ChoiceError, Deployment, Wanted};
use mongrel2_conf::model::{Handler, Server, Target};
use mongrel2_conf::store::StoreError;
use mongrel2_wire::address::Address;
use std::path::{Path, PathBuf};
use tracing::warn;

/// The handlers that were named, on the command line or else in kennel.toml.
pub(crate) fn endpoints(
    addresses: &Addresses,
    database: &Database,
    config: &Config,
) -> anyhow::Result<Vec<Endpoint>> {
    if addresses.send_spec.len() != addresses.recv_spec.len() {
        return Err(wrong_input(format!(
            "--send-spec and --recv-spec come in pairs; there are {} and {}",
            addresses.send_spec.len(),
            addresses.recv_spec.len()
        )));
    }
    // With a database there is one handler, of which a recv_ident may be expected.
    if addresses.recv_ident.len() > addresses.send_spec.len() + usize::from(database.mongrel2.is_some()) {
        return Err(wrong_input("there are more --recv-ident than --send-spec"));
    }
    if database.mongrel2.is_some() {
        let found = in_database(database, None, config)?;
        let recv_ident = addresses.recv_ident.first().cloned().or(found.recv_ident);
        return Ok(vec![Endpoint { recv_ident, ..found }]);
    }
    let mut endpoints = Vec::new();
    for (number, (send_spec, recv_spec)) in addresses.send_spec.iter().zip(&addresses.recv_spec).enumerate() {
        endpoints.push(at(send_spec, recv_spec, addresses.recv_ident.get(number).cloned())?);
    }
    if endpoints.is_empty() && addresses.listen.is_none() {
        for server in &config.mongrel2 {
            let upload_store = server.upload_store.as_deref().map(store_folder).transpose()?;
            endpoints.push(match &server.place {
                Place::Addresses { send_spec, recv_spec, recv_ident } => {
                    Endpoint { upload_store, ..at(send_spec, recv_spec, recv_ident.clone())? }
                }
                Place::Database(database) => in_database(database, upload_store, config)?,
            });
        }
    }
    for (number, endpoint) in endpoints.iter().enumerate() {
        if endpoints[..number].iter().any(|earlier| earlier.send_spec == endpoint.send_spec) {
            return Err(wrong_input(format!(
                "{} is named twice; mongrel2 would deal its messages to the two in turn",
                endpoint.send_spec
            )));
        }
    }
    Ok(endpoints)
}

/// Opens the database that was named.
pub(crate) fn open(database: &Path, workdir: Option<&Path>) -> anyhow::Result<Deployment> {
    Deployment::open(database, workdir).map_err(refused)
}

/// What a refusal to use a database means for the exit code.
pub(crate) fn refused(problem: StoreError) -> anyhow::Error {
    match problem {
        StoreError::NotThere { ref path } => {
            let path = path.display();
            wrong_input(format!("{problem}; `kennel conf load --db {path} FILE.conf` makes it of a file"))
        }
        StoreError::NoFolder { .. }
        | StoreError::Folder { .. }
        | StoreError::DeadLink { .. }
        | StoreError::NotADatabase { .. }
        | StoreError::Foreign { .. }
        | StoreError::Damaged { .. }
        | StoreError::Leftover { .. }
        | StoreError::Flawed { .. }
        | StoreError::Invalid(_) => wrong_input(problem),
        StoreError::Locked { .. } | StoreError::Protected { .. } | StoreError::Denied { .. } => {
            unreachable(problem)
        }
        StoreError::Replace { ref source, .. } | StoreError::System { ref source, .. } => {
            anyhow!("{problem}: {}", plain(source))
        }
        other => other.into(),
    }
}

/// The handler of an open database that was named, and its server.
pub(crate) fn find<'a>(
    deployment: &'a Deployment,
    database: &Database,
) -> anyhow::Result<(&'a Server, &'a Handler)> {
    let Database { server, handler, route, .. } = database;
    let wanted = Wanted { server: server.as_deref(), handler: handler.as_deref(), route: route.as_deref() };
    deployment.handler(wanted).map_err(|problem| match problem {
        ChoiceError::Several { .. } => wrong_input(format!(
            "{problem}\n--handler SEND_IDENT or --route PATTERN names a handler, --server NAME a server"
        )),
        other => wrong_input(other),
    })
}

/// Whether the addresses of a handler are ones.
///
/// # Errors
///
/// When one is not.
pub(crate) fn check(server: &config::Mongrel2) -> anyhow::Result<()> {
    match &server.place {
        Place::Addresses { send_spec, recv_spec, .. } => at(send_spec, recv_spec, None).map(drop),
        Place::Database(_) => Ok(()),
    }
}

fn at(send_spec: &str, recv_spec: &str, recv_ident: Option<String>) -> anyhow::Result<Endpoint> {
    let parse = |spec: &str| spec.parse::<Address>().map_err(wrong_input);
    let (send_spec, recv_spec) = (parse(send_spec)?, parse(recv_spec)?);
    Ok(Endpoint {
        send_spec,
        recv_spec,
        recv_ident,
        upload_store: None,
        control_port: None,
        is_sole: false,
        places: None,
    })
}

fn in_database(
    database: &Database,
    upload_store: Option<PathBuf>,
    config: &Config,
) -> anyhow::Result<Endpoint> {
    let Some(path) = &database.mongrel2 else { return Err(wrong_input("no database was named")) };
    let deployment = open(path, database.workdir.as_deref())?;
    let (server, handler) = find(&deployment, database)?;
    if !handler.send_ident.starts_with(&handler.recv_ident) {
        return Err(wrong_input(format!(
            "no response would ever arrive: recv_ident `{}` is not a prefix of send_ident `{}` in `{}`",
            handler.recv_ident,
            handler.send_ident,
            path.display()
        )));
    }
    let address = |spec| deployment.address(server, spec).map_err(wrong_input);
    let upload_store = upload_store.or_else(|| known_store(&deployment, server));
    if !has_flow_control(&deployment) {
        warn!("server `{}` of {} has no download.flow_control: {CUTS}", server.label(), path.display());
    }
    if config.trusted_proxies.is_some() && !keeps_forwarded(&deployment) {
        warn!("server `{}` of {}: {OVERWRITES}", server.label(), path.display());
    }
    Ok(Endpoint {
        send_spec: address(&handler.send_spec)?,
        recv_spec: address(&handler.recv_spec)?,
        recv_ident: Some(handler.recv_ident.clone()),
        upload_store,
        control_port: deployment.control_port(server).ok(),
        is_sole: is_sole(server, handler),
        places: Some(Places::of(&deployment, server).capacity().places()),
    })
}

/// Whether all requests of a server come to this handler, except for files that the server itself sends.
fn is_sole(server: &Server, handler: &Handler) -> bool {
    let mut targets = server.hosts.iter().flat_map(|host| &host.routes).map(|route| &*route.target);
    targets.all(|target| match target {
        Target::Handler(other) => other.send_spec == handler.send_spec,
        Target::Dir(_) => true,
        Target::Proxy(_) => false,
    })
}

/// What a Mongrel2 without `no_clobber_xff` does to what `trusted_proxies` say.
pub(crate) const OVERWRITES: &str = "mongrel2 overwrites X-Forwarded-For, so of `trusted_proxies` only Forwarded counts; \
                                     set no_clobber_xff to 1";

/// Whether a Mongrel2 with these settings hands over the X-Forwarded-For of its peers.
pub(crate) fn keeps_forwarded(deployment: &Deployment) -> bool {
    is_on(deployment, "no_clobber_xff")
}

/// What a Mongrel2 without `download.flow_control` does.
pub(crate) const CUTS: &str =
    "mongrel2 cuts off clients that read slowly while they are sent long responses; see docs/deploying.md";

/// Whether a Mongrel2 with these settings counts undelivered bytes.
pub(crate) fn has_flow_control(deployment: &Deployment) -> bool {
    is_on(deployment, "download.flow_control")
}

fn is_on(deployment: &Deployment, setting: &str) -> bool {
    let value = deployment.setting(setting).map(str::trim);
    value.and_then(|value| value.parse().ok()).is_some_and(|value: i64| value != 0)
}

/// The folder of `upload.temp_store`, if it is there from here.
fn known_store(deployment: &Deployment, server: &Server) -> Option<PathBuf> {
    let folder = deployment.upload_store(server)?;
    match folder.canonicalize() {
        Ok(path) if path.is_dir() => Some(path),
        _ => {
            warn!("upload.temp_store `{}` is no folder here, so uploads are refused", folder.display());
            None
        }
    }
}

/// A store as workers will find it, wherever they are.
fn store_folder(folder: &Path) -> anyhow::Result<PathBuf> {
    match folder.canonicalize() {
        Ok(path) if path.is_dir() => Ok(path),
        Ok(_) => Err(wrong_input(format!("upload_store `{}` is no folder", folder.display()))),
        Err(problem) => Err(wrong_input(format!("upload_store `{}`: {problem}", folder.display()))),
    }
}
