//! `[[mongrel2]]`: an existing handler of a Mongrel2, by its addresses or by that server's database.

use super::values;
use crate::args;
use serde::Deserialize;
use std::path::PathBuf;

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
    #[serde(default, deserialize_with = "values::spec")]
    send_spec: Option<String>,
    #[serde(default, deserialize_with = "values::spec")]
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

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;
    use std::path::Path;

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
}
