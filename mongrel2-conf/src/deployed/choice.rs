//! Which server, which handler: from what somebody named to rows, or to the list of what there is.

use std::fmt::Write;

use super::Deployment;
use crate::model::{Handler, Server, Target};

/// Servers, as `m2sh` selects them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection<'a> {
    /// The only one; an error when there are several.
    Only,
    /// By its name.
    Name(&'a str),
    /// By its default host.
    Host(&'a str),
    /// By its uuid.
    Uuid(&'a str),
    /// All of them.
    Every,
}

/// A handler, by as much as somebody has said about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Name or uuid of its server.
    pub server: Option<&'a str>,
    /// Its send_ident.
    pub handler: Option<&'a str>,
    /// The key of a route that leads to it.
    pub route: Option<&'a str>,
}

/// Why there is no choice. The text ends with the candidates, one a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChoiceError {
    /// The database has none.
    #[error("`{database}` has no {what}")]
    Nothing {
        /// The database.
        database: String,
        /// What it should have.
        what: &'static str,
    },
    /// What was named is not there.
    #[error("`{database}` has no {what}; it has:{candidates}")]
    NoSuch {
        /// The database.
        database: String,
        /// What was named.
        what: String,
        /// What there is.
        candidates: String,
    },
    /// Several fit.
    #[error("`{database}` has several {what}; name one of:{candidates}")]
    Several {
        /// The database.
        database: String,
        /// Of what there are several.
        what: String,
        /// Those that fit.
        candidates: String,
    },
}

impl Deployment {
    /// The servers that are meant, at least one.
    ///
    /// # Errors
    ///
    /// [`ChoiceError`]; several of the same name or host are one too, unless every one is meant.
    pub fn select(&self, selection: Selection<'_>) -> Result<Vec<&Server>, ChoiceError> {
        let fits = |server: &&Server| match selection {
            Selection::Only | Selection::Every => true,
            Selection::Name(name) => server.name == name,
            Selection::Host(host) => server.default_host == host,
            Selection::Uuid(uuid) => server.uuid == uuid,
        };
        let found: Vec<_> = self.servers().iter().filter(fits).collect();
        let what = match selection {
            Selection::Only | Selection::Every => "server".to_owned(),
            Selection::Name(name) => format!("server with name `{name}`"),
            Selection::Host(host) => format!("server with default_host `{host}`"),
            Selection::Uuid(uuid) => format!("server with uuid `{uuid}`"),
        };
        match &found[..] {
            _ if self.servers().is_empty() => Err(self.nothing("server")),
            [] => Err(self.no_such(what, list_servers(self.servers().iter()))),
            [_, _, ..] if selection != Selection::Every => {
                let what = what.replacen("server", "servers", 1);
                Err(self.several(what, list_servers(found.into_iter())))
            }
            _ => Ok(found),
        }
    }

    /// The handler that is meant, and its server. Handlers that no route of the server leads to do not count.
    ///
    /// # Errors
    ///
    /// [`ChoiceError`].
    pub fn handler(&self, wanted: Wanted<'_>) -> Result<(&Server, &Handler), ChoiceError> {
        let is_server =
            |server: &Server| wanted.server.is_none_or(|named| server.name == named || server.uuid == named);
        if self.servers().is_empty() {
            return Err(self.nothing("server"));
        }
        if let Some(named) = wanted.server
            && !self.servers().iter().any(is_server)
        {
            return Err(self.no_such(format!("server `{named}`"), list_servers(self.servers().iter())));
        }
        let all = self.offers().into_iter().filter(|offer| is_server(offer.server)).collect::<Vec<_>>();
        if all.is_empty() {
            return Err(self.nothing("route to a handler"));
        }
        let fits = |offer: &&Offer<'_>| {
            wanted.handler.is_none_or(|ident| offer.handler.send_ident == ident)
                && wanted.route.is_none_or(|path| offer.routes.contains(&path))
        };
        let found: Vec<_> = all.iter().filter(fits).collect();
        match &found[..] {
            [] => {
                let what = match (wanted.handler, wanted.route) {
                    (Some(ident), Some(route)) => {
                        format!("handler with send_ident `{ident}` behind a route `{route}`")
                    }
                    (Some(ident), None) => format!("handler with send_ident `{ident}`"),
                    (None, Some(route)) => format!("handler behind a route `{route}`"),
                    (None, None) => "handler".to_owned(),
                };
                Err(self.no_such(what, list_offers(all.iter())))
            }
            [one] => Ok((one.server, one.handler)),
            _ => Err(self.several("handlers".to_owned(), list_offers(found.into_iter()))),
        }
    }

    /// Each handler of each server once, with the routes to it.
    fn offers(&self) -> Vec<Offer<'_>> {
        let mut offers: Vec<Offer<'_>> = Vec::new();
        for server in self.servers() {
            for route in server.hosts.iter().flat_map(|host| &host.routes) {
                let Target::Handler(handler) = &*route.target else { continue };
                // Two rows with the same addresses are one pair of sockets.
                let same = |offer: &&mut Offer<'_>| {
                    offer.server.uuid == server.uuid
                        && offer.handler.send_spec == handler.send_spec
                        && offer.handler.recv_spec == handler.recv_spec
                };
                match offers.iter_mut().find(same) {
                    Some(offer) => offer.routes.push(&route.path),
                    None => offers.push(Offer { server, handler, routes: vec![&route.path] }),
                }
            }
        }
        offers
    }

    fn nothing(&self, what: &'static str) -> ChoiceError {
        ChoiceError::Nothing { database: self.database.display().to_string(), what }
    }

    fn no_such(&self, what: String, candidates: String) -> ChoiceError {
        ChoiceError::NoSuch { database: self.database.display().to_string(), what, candidates }
    }

    fn several(&self, what: String, candidates: String) -> ChoiceError {
        ChoiceError::Several { database: self.database.display().to_string(), what, candidates }
    }
}

/// A handler of a server, and the routes that lead to it.
struct Offer<'a> {
    server: &'a Server,
    handler: &'a Handler,
    routes: Vec<&'a str>,
}

fn list_servers<'a>(servers: impl Iterator<Item = &'a Server>) -> String {
    let mut text = String::new();
    for Server { uuid, name, default_host, .. } in servers {
        let _ = write!(text, "\n  name `{name}`, host `{default_host}`, uuid `{uuid}`");
    }
    text
}

fn list_offers<'a, 'b: 'a>(offers: impl Iterator<Item = &'a Offer<'b>>) -> String {
    let mut text = String::new();
    for Offer { server, handler, routes } in offers {
        let _ = write!(
            text,
            "\n  server `{}`, handler `{}` ({}), routes {}",
            server.label(),
            handler.send_ident,
            handler.send_spec,
            routes.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(" ")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Config, Dir, Host, Protocol, Route};
    use crate::store::{Contents, Schema};
    use std::sync::Arc;

    fn handler(ident: &str) -> Handler {
        Handler {
            send_spec: format!("ipc://run/{ident}-in"),
            send_ident: ident.into(),
            recv_spec: format!("ipc://run/{ident}-out"),
            recv_ident: String::new(),
            raw_payload: false,
            protocol: Protocol::Json,
        }
    }

    /// Each server has these routes, to one of two handlers or to a Dir.
    fn deployment(servers: &[&str], routes: &[(&str, Option<usize>)]) -> Deployment {
        let handlers = ["chat", "shop"].map(|ident| Arc::new(Target::Handler(handler(ident))));
        let files = Arc::new(Target::Dir(Dir::new("public/")));
        let route = |(path, handler): &(&str, Option<usize>)| {
            Route::new(*path, Arc::clone(handler.map_or(&files, |at| &handlers[at])))
        };
        let server = |name: &&str| Server {
            uuid: format!("uuid-{name}"),
            name: (*name).into(),
            hosts: vec![Host::new("localhost", routes.iter().map(route).collect())],
            ..Server::default()
        };
        let config = Config { servers: servers.iter().map(server).collect(), ..Config::default() };
        let contents = Contents { config, host_ids: Vec::new(), schema: Schema::V1_12, flaws: Vec::new() };
        Deployment { database: "config.sqlite".into(), folder: "/srv".into(), contents }
    }

    #[test]
    fn one_server_needs_no_name_and_several_do() {
        assert_eq!(deployment(&["main"], &[]).select(Selection::Only).unwrap()[0].name, "main");
        let two = deployment(&["main", "admin"], &[]);
        assert_eq!(two.select(Selection::Name("admin")).unwrap().len(), 1);
        assert_eq!(two.select(Selection::Uuid("uuid-main")).unwrap().len(), 1);
        assert_eq!(two.select(Selection::Every).unwrap().len(), 2);
        let text = two.select(Selection::Only).unwrap_err().to_string();
        assert_eq!(
            text,
            "`config.sqlite` has several servers; name one of:\n  name `main`, host `localhost`, uuid \
             `uuid-main`\n  name `admin`, host `localhost`, uuid `uuid-admin`"
        );
        let text = two.select(Selection::Host("localhost")).unwrap_err().to_string();
        assert!(text.starts_with("`config.sqlite` has several servers with default_host `localhost`"));
        let text = two.select(Selection::Name("mian")).unwrap_err().to_string();
        assert!(text.starts_with("`config.sqlite` has no server with name `mian`; it has:\n"), "{text}");
        let text = deployment(&[], &[]).select(Selection::Every).unwrap_err().to_string();
        assert_eq!(text, "`config.sqlite` has no server");
    }

    #[test]
    fn a_handler_is_found_by_ident_and_by_route() {
        let routes = [("/", Some(1)), ("/chat", Some(0)), ("@chat", Some(0)), ("/files/", None)];
        let site = deployment(&["main"], &routes);
        let found = |wanted: Wanted<'_>| site.handler(wanted).map(|(_, handler)| handler.send_ident.clone());
        assert_eq!(found(Wanted { handler: Some("chat"), ..Wanted::default() }).unwrap(), "chat");
        assert_eq!(found(Wanted { route: Some("@chat"), ..Wanted::default() }).unwrap(), "chat");
        assert_eq!(
            found(Wanted { route: Some("/"), server: Some("main"), ..Wanted::default() }).unwrap(),
            "shop"
        );
        let text = found(Wanted::default()).unwrap_err().to_string();
        assert_eq!(
            text,
            "`config.sqlite` has several handlers; name one of:\n  server `main`, handler `shop` \
             (ipc://run/shop-in), routes `/`\n  server `main`, handler `chat` (ipc://run/chat-in), routes \
             `/chat` `@chat`"
        );
        let text = found(Wanted { route: Some("/files/"), ..Wanted::default() }).unwrap_err().to_string();
        assert!(text.starts_with("`config.sqlite` has no handler behind a route `/files/`; it has:\n"));
        let text = found(Wanted { server: Some("x"), ..Wanted::default() }).unwrap_err().to_string();
        assert!(text.starts_with("`config.sqlite` has no server `x`"), "{text}");
    }

    #[test]
    fn the_only_handler_needs_no_name() {
        let site = deployment(&["main"], &[("/", Some(0)), ("@x", Some(0))]);
        assert_eq!(site.handler(Wanted::default()).unwrap().1.send_ident, "chat");
        let none = deployment(&["main"], &[("/", None)]);
        assert!(matches!(none.handler(Wanted::default()), Err(ChoiceError::Nothing { .. })));
    }
}
