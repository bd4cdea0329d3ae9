//! The classes of the language and their attributes, as m2sh reads them.

/// What a file can make with `Class(...)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClassKind {
    Server,
    Host,
    Handler,
    Dir,
    Proxy,
    Filter,
    Xrequest,
}

/// What an attribute holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    Text,
    Number,
    /// 0 or 1.
    Flag,
    List,
    Hash,
}

/// An attribute of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attribute {
    pub name: &'static str,
    pub holds: Holds,
    pub required: bool,
}

const fn required(name: &'static str, holds: Holds) -> Attribute {
    Attribute { name, holds, required: true }
}

const fn optional(name: &'static str, holds: Holds) -> Attribute {
    Attribute { name, holds, required: false }
}

const SERVER: &[Attribute] = &[
    required("uuid", Holds::Text),
    required("name", Holds::Text),
    required("port", Holds::Number),
    required("default_host", Holds::Text),
    required("access_log", Holds::Text),
    required("error_log", Holds::Text),
    required("pid_file", Holds::Text),
    required("hosts", Holds::List),
    optional("bind_addr", Holds::Text),
    optional("chroot", Holds::Text),
    optional("control_port", Holds::Text),
    optional("use_ssl", Holds::Flag),
    // Mongrel2 1.13; m2sh 1.12 passes over it.
    optional("error_log_level", Holds::Number),
    optional("filters", Holds::List),
    optional("xrequests", Holds::List),
];

const HOST: &[Attribute] =
    &[required("name", Holds::Text), required("routes", Holds::Hash), optional("matching", Holds::Text)];

const HANDLER: &[Attribute] = &[
    required("send_spec", Holds::Text),
    required("send_ident", Holds::Text),
    required("recv_spec", Holds::Text),
    required("recv_ident", Holds::Text),
    optional("raw_payload", Holds::Flag),
    optional("protocol", Holds::Text),
];

const DIR: &[Attribute] = &[
    required("base", Holds::Text),
    required("index_file", Holds::Text),
    required("default_ctype", Holds::Text),
    optional("cache_ttl", Holds::Number),
];

const PROXY: &[Attribute] = &[required("addr", Holds::Text), required("port", Holds::Number)];

const MODULE: &[Attribute] = &[required("name", Holds::Text), required("settings", Holds::Hash)];

impl ClassKind {
    pub(crate) const ALL: [Self; 7] =
        [Self::Server, Self::Host, Self::Handler, Self::Dir, Self::Proxy, Self::Filter, Self::Xrequest];
    /// What a route can lead to.
    pub(crate) const TARGETS: [Self; 3] = [Self::Handler, Self::Dir, Self::Proxy];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Server => "Server",
            Self::Host => "Host",
            Self::Handler => "Handler",
            Self::Dir => "Dir",
            Self::Proxy => "Proxy",
            Self::Filter => "Filter",
            Self::Xrequest => "Xrequest",
        }
    }

    /// With its article.
    pub(crate) fn a(self) -> &'static str {
        match self {
            Self::Server => "a Server",
            Self::Host => "a Host",
            Self::Handler => "a Handler",
            Self::Dir => "a Dir",
            Self::Proxy => "a Proxy",
            Self::Filter => "a Filter",
            Self::Xrequest => "an Xrequest",
        }
    }

    /// By its name. m2sh takes targets of routes in any case: `DIR(...)` is a Dir.
    pub(crate) fn named(word: &str) -> Option<Self> {
        let exact = Self::ALL.into_iter().find(|kind| kind.name() == word);
        exact.or_else(|| Self::TARGETS.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(word)))
    }

    pub(crate) fn attributes(self) -> &'static [Attribute] {
        match self {
            Self::Server => SERVER,
            Self::Host => HOST,
            Self::Handler => HANDLER,
            Self::Dir => DIR,
            Self::Proxy => PROXY,
            Self::Filter | Self::Xrequest => MODULE,
        }
    }
}

impl Holds {
    /// With its article, as [`crate::language::ast::ExprKind::describe`] calls it.
    pub(crate) fn a(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Number => "a number",
            Self::Flag => "0 or 1",
            Self::List => "a list",
            Self::Hash => "a hash",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_targets_are_known_in_any_case() {
        assert_eq!(ClassKind::named("DIR"), Some(ClassKind::Dir));
        assert_eq!(ClassKind::named("Server"), Some(ClassKind::Server));
        assert_eq!(ClassKind::named("SERVER"), None);
        assert_eq!(ClassKind::named("Serve"), None);
    }
}
