//! Where in the files each part of a configuration was written.
//!
//! The rules look at the model, which knows no files, and say which part is wrong as a
//! [`Place`]; this finds the text that the part came from. What an earlier error already
//! covers has no entry, so a rule's complaint about it is dropped.

use std::rc::Rc;

use crate::diagnostic::span::Span;

/// A part of a [`Config`](crate::model::Config), by its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// The list of servers.
    Servers,
    Server {
        server: usize,
        attribute: &'static str,
    },
    Host {
        server: usize,
        host: usize,
        attribute: &'static str,
    },
    /// The key of a route.
    Route {
        server: usize,
        host: usize,
        route: usize,
    },
    /// Whom a route leads to.
    Target {
        server: usize,
        host: usize,
        route: usize,
        attribute: &'static str,
    },
    Filter {
        server: usize,
        filter: usize,
    },
    Xrequest {
        server: usize,
        xrequest: usize,
    },
    SettingKey(usize),
    SettingValue(usize),
    MimetypeKey(usize),
    MimetypeValue(usize),
}

/// The texts that the parts came from.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// The variable `servers`.
    pub list: Option<Span>,
    pub servers: Vec<ServerPlaces>,
    /// Key and value.
    pub settings: Vec<(Span, Span)>,
    /// Key and value.
    pub mimetypes: Vec<(Span, Span)>,
}

#[derive(Debug)]
pub(crate) struct ServerPlaces {
    pub class: ClassPlaces,
    pub hosts: Vec<HostPlaces>,
    pub filters: Vec<ClassPlaces>,
    pub xrequests: Vec<ClassPlaces>,
}

#[derive(Debug)]
pub(crate) struct HostPlaces {
    pub class: ClassPlaces,
    /// The key, and the target that may be shared.
    pub routes: Vec<(Span, Rc<ClassPlaces>)>,
}

/// The values of a class's attributes, by name; of the sound ones only.
#[derive(Debug, Default)]
pub(crate) struct ClassPlaces {
    pub attributes: Vec<(&'static str, Span)>,
}

impl ClassPlaces {
    fn of(&self, attribute: &str) -> Option<Span> {
        self.attributes.iter().find(|(name, _)| *name == attribute).map(|(_, span)| *span)
    }
}

impl Places {
    /// The text of a part, unless there is an error about it.
    pub(crate) fn span(&self, place: Place) -> Option<Span> {
        match place {
            Place::Servers => self.list,
            Place::Server { server, attribute } => self.servers.get(server)?.class.of(attribute),
            Place::Host { server, host, attribute } => {
                self.servers.get(server)?.hosts.get(host)?.class.of(attribute)
            }
            Place::Route { server, host, route } => {
                Some(self.servers.get(server)?.hosts.get(host)?.routes.get(route)?.0)
            }
            Place::Target { server, host, route, attribute } => {
                self.servers.get(server)?.hosts.get(host)?.routes.get(route)?.1.of(attribute)
            }
            Place::Filter { server, filter } => self.servers.get(server)?.filters.get(filter)?.of("name"),
            Place::Xrequest { server, xrequest } => {
                self.servers.get(server)?.xrequests.get(xrequest)?.of("name")
            }
            Place::SettingKey(at) => self.settings.get(at).map(|(key, _)| *key),
            Place::SettingValue(at) => self.settings.get(at).map(|(_, value)| *value),
            Place::MimetypeKey(at) => self.mimetypes.get(at).map(|(key, _)| *key),
            Place::MimetypeValue(at) => self.mimetypes.get(at).map(|(_, value)| *value),
        }
    }
}
