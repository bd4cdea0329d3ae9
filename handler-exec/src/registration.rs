//! What a program answers to, as the hub is told.

use crate::output::{ChannelOptions, Declared, DeclaredChannel};
use handler_core::worker::protocol::{ChannelSpec, Handler, LoadFailure, Registration, RouteSpec};

/// The methods of a route that names none. HEAD and OPTIONS are the hub's.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// A program's registration, and the names of the values in its paths.
#[derive(Debug, Default)]
pub(crate) struct Registered {
    pub registration: Registration,
    routes: Vec<Vec<String>>,
    channels: Vec<Vec<String>>,
}

impl Registered {
    /// For a program that has declared nothing: all that comes under its mount.
    pub(crate) fn everything() -> Self {
        let registration = Registration { hooks: true, not_found: true, ..Registration::default() };
        Self { registration, ..Self::default() }
    }

    /// For one that has declared nothing yet.
    pub(crate) fn undeclared() -> Self {
        let mut everything = Self::everything();
        everything.registration.provisional = true;
        everything
    }

    /// For one that has. `source` names it.
    ///
    /// # Errors
    ///
    /// [`LoadFailure`] for what is no route.
    pub(crate) fn declared(declared: &Declared, source: &str) -> Result<Self, LoadFailure> {
        let mut registered = match declared.routes {
            Some(_) => Self::default(),
            None => Self::everything(),
        };
        for (at, text) in declared.routes.iter().flatten().enumerate() {
            let (methods, path) = read_route(text).map_err(|message| LoadFailure {
                message,
                file: Some(source.to_owned()),
                ..LoadFailure::default()
            })?;
            registered.routes.push(names(path));
            registered.registration.routes.push(RouteSpec {
                methods,
                path: path.to_owned(),
                handler: at as u32,
                place: source.to_owned(),
                streams: false,
            });
        }
        for (at, channel) in declared.channels.iter().enumerate() {
            let spec = channel_spec(channel, at as u32, source);
            registered.channels.push(names(&spec.path));
            registered.registration.channels.push(spec);
        }
        Ok(registered)
    }

    /// The names of the values of a job's path.
    pub(crate) fn names_of(&self, handler: Handler) -> &[String] {
        match handler {
            Handler::Route(number) => self.routes.get(number as usize).map_or(&[], Vec::as_slice),
            _ => &[],
        }
    }

    /// The names of the values of a channel's path.
    pub(crate) fn names_of_channel(&self, handler: u32) -> &[String] {
        self.channels.get(handler as usize).map_or(&[], Vec::as_slice)
    }
}

/// `GET /path`, `GET,POST /path` or `/path`.
fn read_route(text: &str) -> Result<(Vec<String>, &str), String> {
    let wrong = || format!("`{text}` is no route; write \"GET /path\", or \"/path\" for every method");
    let text = text.trim();
    let (methods, path) = match text.split_once(char::is_whitespace) {
        Some((methods, path)) => (methods.split(',').map(str::to_owned).collect(), path.trim_start()),
        None => (METHODS.map(str::to_owned).to_vec(), text),
    };
    let is_method = |method: &String| !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
    if !path.starts_with('/') || !methods.iter().all(is_method) {
        return Err(wrong());
    }
    Ok((methods, path))
}

fn channel_spec(channel: &DeclaredChannel, handler: u32, source: &str) -> ChannelSpec {
    // A new process of the program knows nothing of the connections: they are opened for it at once.
    let spec = |path: &str| ChannelSpec {
        path: path.to_owned(),
        handler,
        place: source.to_owned(),
        straight: true,
        ..ChannelSpec::default()
    };
    match channel {
        DeclaredChannel::Path(path) => spec(path),
        DeclaredChannel::Options(ChannelOptions { path, origins, protocols, max_message, ping, deflate }) => {
            let spec = spec(path);
            ChannelSpec {
                origins: origins.clone().unwrap_or_default(),
                protocols: protocols.clone().unwrap_or_default(),
                max_message: max_message.unwrap_or(spec.max_message),
                // Below zero and beyond a year nobody means.
                ping: ping.filter(|ping| (0.0..=1e7).contains(ping)).unwrap_or(spec.ping),
                deflate: deflate.unwrap_or(spec.deflate),
                ..spec
            }
        }
    }
}

/// The names in a path, in their order: `{name}` and `{*rest}`.
fn names(path: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = path;
    while let Some((_, after)) = rest.split_once('{') {
        // Two of them stand for the character itself.
        if let Some(after) = after.strip_prefix('{') {
            rest = after;
            continue;
        }
        let Some((name, after)) = after.split_once('}') else { break };
        names.push(name.trim_start_matches('*').to_owned());
        rest = after;
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(routes: &[&str], channels: &[&str]) -> Declared {
        Declared {
            routes: Some(routes.iter().map(|route| (*route).to_owned()).collect()),
            channels: channels.iter().map(|path| DeclaredChannel::Path((*path).to_owned())).collect(),
        }
    }

    #[test]
    fn routes_have_methods_paths_and_names() {
        let found =
            Registered::declared(&declared(&["GET /a/{id}/{*rest}", "/b", "PUT,POST /c"], &["/ws/{x}"]), "p")
                .unwrap();
        let routes = &found.registration.routes;
        assert_eq!((&routes[0].methods[..], &*routes[0].path), (&["GET".to_owned()][..], "/a/{id}/{*rest}"));
        assert_eq!(routes[1].methods, METHODS);
        assert_eq!(routes[2].methods, ["PUT", "POST"]);
        assert_eq!(found.names_of(Handler::Route(0)), ["id", "rest"]);
        assert!(found.names_of(Handler::Route(9)).is_empty());
        assert_eq!(found.names_of_channel(0), ["x"]);
        assert!(!found.registration.not_found && !found.registration.is_all_page());
    }

    #[test]
    fn without_a_word_about_routes_everything_is_taken() {
        assert!(Registered::everything().registration.is_all_page());
        let only = Declared { routes: None, channels: vec![DeclaredChannel::Path("/ws".into())] };
        let found = Registered::declared(&only, "p").unwrap().registration;
        assert!(found.not_found && found.channels.len() == 1);
    }

    #[test]
    fn what_is_no_route_is_named() {
        for text in ["", "GET", "get /x", "GET x", "GET, /x"] {
            let failure = Registered::declared(&declared(&[text], &[]), "p.sh").unwrap_err();
            assert!(failure.to_string().contains(&format!("p.sh: `{text}` is no route")), "{failure}");
        }
    }
}
