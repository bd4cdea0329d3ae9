//! Mistakes that Mongrel2 would punish, each with what it would do.
//!
//! [`Config::problems`](crate::model::Config::problems) finds them all. Those that are errors
//! [`Config::check`](crate::model::Config::check) and [`crate::store::write`] refuse; warnings
//! are what works, but hardly as it was meant. Messages name the place as the configuration does.

use crate::diagnostic::Severity;
use crate::diagnostic::places::Place;
use crate::routing::pattern::{Oddity, PatternError};

/// One mistake, and which part of the configuration it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub invalid: Invalid,
    pub(crate) place: Place,
    /// Offset in the text there, if it is about one character.
    pub(crate) at: Option<usize>,
    /// What else it has to do with, and what that is.
    pub(crate) other: Option<(Place, &'static str)>,
}

/// A mistake in a configuration, in the words of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// Mongrel2 needs text there, or does nonsense without.
    #[error("{what} is empty")]
    Empty {
        /// Which field, and of what.
        what: String,
    },
    /// A line break or another control character would end the text early or split a header.
    #[error("{what} has a control character: {text:?}")]
    ControlCharacter {
        /// Which field, and of what.
        what: String,
        /// All of it.
        text: String,
    },
    /// Ports are 1 to 65535.
    #[error("{what} has port 0")]
    NoPort {
        /// Server or proxy.
        what: String,
    },
    /// Mongrel2 would be the first of the two.
    #[error("two servers have the uuid `{uuid}`")]
    SameUuid {
        /// Of both.
        uuid: String,
    },
    /// Mongrel2 would stop at the start.
    #[error("server `{server}` has no host named `{default_host}`, its default_host")]
    NoDefaultHost {
        /// Its uuid.
        server: String,
        /// The name that no host has.
        default_host: String,
    },
    /// Requests would only ever reach the first.
    #[error("server `{server}` has two hosts matching `{matching}`")]
    SameHost {
        /// Its uuid.
        server: String,
        /// Of both.
        matching: String,
    },
    /// Mongrel2 would stop at the start.
    #[error("server `{server}` has use_ssl, but there is no setting `certdir` ending in `/`")]
    NoCertdir {
        /// Its uuid.
        server: String,
    },
    /// No request could match it.
    #[error("route `{path}` of host `{host}` does not begin with `/`, `@` or `<`")]
    RouteStart {
        /// Its name.
        host: String,
        /// The route's key.
        path: String,
    },
    /// JSON and XML sockets can only talk to handlers; with others Mongrel2 drops them.
    #[error("route `{path}` of host `{host}` is for message sockets, so it needs a Handler")]
    SocketRoute {
        /// Its name.
        host: String,
        /// The route's key.
        path: String,
    },
    /// The second would never be reached.
    #[error("host `{host}` has the route `{path}` twice")]
    SameRoute {
        /// Its name.
        host: String,
        /// The route's key.
        path: String,
    },
    /// Depending on the order, one of the two is never tried, or Mongrel2 reads memory that is
    /// not the key's.
    #[error(
        "host `{host}` has route `{path}` next to `{pattern}`\n\
         write `{path}()` to give it a pattern too, one that fits everything"
    )]
    PlainAmongPatterns {
        /// Its name.
        host: String,
        /// The key that is a prefix only.
        path: String,
        /// A key with the same prefix.
        pattern: String,
        /// Every request reaches a route that was meant for it all the same.
        is_served: bool,
    },
    /// Mongrel2 serves without it, which may be what was meant.
    #[error("the {attribute} of a Dir is empty")]
    EmptyInDir {
        /// `index_file` or `default_ctype`.
        attribute: &'static str,
    },
    /// Replies with any other character in it are thrown away, each with a stall.
    #[error("send_ident `{ident}` may only have letters, digits and `-`, at least one")]
    SendIdent {
        /// All of it.
        ident: String,
    },
    /// No reply would ever arrive, and nothing would say so.
    #[error("recv_ident `{recv_ident}` is no prefix of send_ident `{send_ident}`")]
    RecvIdent {
        /// What Mongrel2 subscribes to.
        recv_ident: String,
        /// What replies begin with.
        send_ident: String,
    },
    /// Mongrel2 binds each address once: the second handler would be dead, or be taken for the
    /// first.
    #[error("two different handlers of server `{server}` use the address `{spec}`")]
    SharedSpec {
        /// Its uuid.
        server: String,
        /// The address that both would bind.
        spec: String,
    },
    /// Mongrel2 binds an address once.
    #[error("send_spec and recv_spec of handler `{handler}` are the same address `{spec}`")]
    OneSpec {
        /// Its send_ident.
        handler: String,
        /// The address.
        spec: String,
    },
    /// ZeroMQ cannot bind it; Mongrel2 would run without the handler.
    #[error("the path in `{spec}` has {bytes} bytes, and a socket's may have {limit}")]
    LongIpcPath {
        /// The address.
        spec: String,
        /// Length of its path.
        bytes: usize,
        /// Set by the operating system.
        limit: usize,
    },
    /// Mongrel2 would stop at the start.
    #[error("the base `{base}` of a Dir does not end in `/`")]
    DirBaseEnd {
        /// The folder.
        base: String,
    },
    /// Mongrel2 would stop at the start.
    #[error("the base `{base}` of a Dir has {bytes} bytes; `limits.dir_max_path` is {limit}")]
    DirBaseLength {
        /// The folder.
        base: String,
        /// Its length.
        bytes: usize,
        /// A base must be shorter than this.
        limit: usize,
    },
    /// Mongrel2 decodes the base as if it were part of a URL, and looks in another folder.
    #[error("the base `{base}` of a Dir has `%` followed by two hexadecimal digits")]
    DirBasePercent {
        /// The folder.
        base: String,
    },
    /// SQLite would hand it to Mongrel2 as a negative number, which stops it at the start.
    #[error("cache_ttl {seconds} is more than {}", i32::MAX)]
    CacheTtl {
        /// As given.
        seconds: u32,
    },
    /// Mongrel2 would abort at the start.
    #[error("setting `{key}` is there twice")]
    SameSetting {
        /// Of both.
        key: String,
    },
    /// Mongrel2 would stop at the start.
    #[error("mimetype extension `{extension}` is there twice")]
    SameExtension {
        /// Of both.
        extension: String,
    },
    /// Mongrel2 would stop at the start, or never find it: it compares in lower case.
    #[error("mimetype extension `{extension}` must be `.` and lower case, below {limit} bytes")]
    Extension {
        /// As given.
        extension: String,
        /// The setting `limits.mime_ext_len`.
        limit: usize,
    },
    /// Mongrel2 cannot be any of them.
    #[error("there is no server")]
    NoServer,
    /// Every request is answered with 404.
    #[error("host `{host}` has no routes")]
    NoRoutes {
        /// Its name.
        host: String,
    },
    /// Mongrel2 would stop at the start.
    #[error("{what} has {bytes} bytes; `limits.host_name` is {limit}")]
    HostLength {
        /// Name or matching, and of which host.
        what: String,
        /// Its length.
        bytes: usize,
        /// It must be shorter than this.
        limit: usize,
    },
    /// Mongrel2 would read on behind the end of the pattern.
    #[error("{problem}")]
    Pattern {
        /// The route's key or the host's matching.
        text: String,
        /// What is wrong with it.
        problem: PatternError,
    },
    /// Another pattern language was meant.
    #[error("`{}` means the character in the pattern of `{text}`\n{}", odd.character, odd.advice)]
    OddPattern {
        /// The route's key or the host's matching.
        text: String,
        /// The character.
        odd: Oddity,
    },
    /// A key that looks like a pattern, but has none.
    #[error(
        "`{character}` means the character in `{path}`: it is before the first `(`\n\
         patterns are in parentheses, as in `/files/(.*)`"
    )]
    OddPrefix {
        /// The route's key.
        path: String,
        /// The first one.
        character: char,
    },
    /// The pattern is never tried.
    #[error("route `{path}` of host `{host}` is never reached: `{by}` is tried before and fits everything")]
    ShadowedRoute {
        /// Its name.
        host: String,
        /// The route's key.
        path: String,
        /// The key of the other.
        by: String,
    },
    /// Mongrel2 looks into one prefix only.
    #[error(
        "what begins with `{prefix}` and does not fit `{path}` gets 404, not `{shorter}`{}",
        more(*others)
    )]
    NoFallback {
        /// What the route's paths begin with.
        prefix: String,
        /// The route's key.
        path: String,
        /// The route that would be next.
        shorter: String,
        /// How many more keys of the host have this.
        others: usize,
    },
    /// Mongrel2 takes the beginning of a key for the key.
    #[error("a request for `{example}` goes to `{path}`, not `{shorter}`{}", more(*others))]
    PartialPath {
        /// A path that ends inside the key.
        example: String,
        /// The route's key.
        path: String,
        /// The route that it should reach.
        shorter: String,
        /// How many more keys of the host have this.
        others: usize,
    },
    /// Only one of them can run.
    #[error("servers `{one}` and `{other}` both listen on port {port}")]
    SamePort {
        /// Its uuid.
        one: String,
        /// Its uuid.
        other: String,
        /// Of both.
        port: u16,
    },
    /// Only one of them can run.
    #[error("servers `{one}` and `{other}` have the same pid_file `{pid_file}`")]
    SamePidFile {
        /// Its uuid.
        one: String,
        /// Its uuid.
        other: String,
        /// Of both.
        pid_file: String,
    },
    /// The server that starts second cannot bind it.
    #[error("servers `{one}` and `{other}` both have a handler on `{spec}`")]
    SameSpec {
        /// Its uuid.
        one: String,
        /// Its uuid.
        other: String,
        /// The address that both would bind.
        spec: String,
    },
    /// Mongrel2 does not look at it.
    #[error("Mongrel2 has no setting `{key}`{}", near.map_or(String::new(), |near| format!("\ndid you mean `{near}`?")))]
    UnknownSetting {
        /// As given.
        key: String,
        /// What was probably meant.
        near: Option<&'static str>,
    },
    /// Mongrel2 would take it for another one, mostly for 0.
    #[error("setting `{key}` must be a whole number, and is `{value}`")]
    SettingNumber {
        /// Its key.
        key: String,
        /// As given.
        value: String,
    },
    /// Mongrel2 would refuse every upload, or give the files other rights.
    #[error("setting `{key}` must be octal with a leading 0, as in `0600`, and is `{value}`")]
    SettingMode {
        /// Its key.
        key: String,
        /// As given.
        value: String,
    },
    /// Mongrel2 puts file names right behind it.
    #[error("setting `{key}` must end in `/`, and is `{value}`")]
    SettingFolder {
        /// Its key.
        key: String,
        /// As given.
        value: String,
    },
    /// Mongrel2 could not make a file for any upload.
    #[error("setting `{key}` must end in `XXXXXX`, and is `{value}`")]
    SettingTemplate {
        /// Its key.
        key: String,
        /// As given.
        value: String,
    },
}

/// For a message that stands for several.
fn more(others: usize) -> String {
    match others {
        0 => String::new(),
        1 => "; the same goes for 1 other route".into(),
        _ => format!("; the same goes for {others} other routes"),
    }
}

impl Invalid {
    /// The rule, in kebab-case; the same from version to version.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Empty { .. } => "empty",
            Self::ControlCharacter { .. } => "control-character",
            Self::NoPort { .. } => "port-zero",
            Self::SameUuid { .. } => "duplicate-uuid",
            Self::NoDefaultHost { .. } => "no-default-host",
            Self::SameHost { .. } => "duplicate-host",
            Self::NoCertdir { .. } => "no-certdir",
            Self::RouteStart { .. } => "route-start",
            Self::SocketRoute { .. } => "socket-route",
            Self::SameRoute { .. } => "duplicate-route",
            Self::PlainAmongPatterns { .. } => "plain-among-patterns",
            Self::EmptyInDir { .. } => "empty-in-dir",
            Self::SendIdent { .. } => "send-ident",
            Self::RecvIdent { .. } => "recv-ident",
            Self::SharedSpec { .. } | Self::OneSpec { .. } => "shared-address",
            Self::LongIpcPath { .. } => "long-ipc-path",
            Self::DirBaseEnd { .. } => "dir-base",
            Self::DirBaseLength { .. } => "dir-base-length",
            Self::DirBasePercent { .. } => "dir-base-percent",
            Self::CacheTtl { .. } => "number-range",
            Self::SameSetting { .. } => "duplicate-setting",
            Self::SameExtension { .. } => "duplicate-mimetype",
            Self::Extension { .. } => "mimetype-extension",
            Self::NoServer => "no-server",
            Self::NoRoutes { .. } => "no-routes",
            Self::HostLength { .. } => "host-length",
            Self::Pattern { .. } => "pattern",
            Self::OddPattern { .. } | Self::OddPrefix { .. } => "odd-pattern",
            Self::ShadowedRoute { .. } => "shadowed-route",
            Self::NoFallback { .. } => "no-fallback",
            Self::PartialPath { .. } => "partial-path",
            Self::SamePort { .. } => "same-port",
            Self::SamePidFile { .. } => "same-pid-file",
            Self::SameSpec { .. } => "same-address",
            Self::UnknownSetting { .. } => "unknown-setting",
            Self::SettingNumber { .. } => "setting-number",
            Self::SettingMode { .. } => "upload-mode",
            Self::SettingFolder { .. } => "certdir",
            Self::SettingTemplate { .. } => "upload-store",
        }
    }

    /// Whether the last line of its text says what to write instead.
    pub(crate) fn has_advice(&self) -> bool {
        matches!(
            self,
            Self::PlainAmongPatterns { .. }
                | Self::OddPattern { .. }
                | Self::OddPrefix { .. }
                | Self::UnknownSetting { near: Some(_), .. }
        )
    }

    /// Whether a database may have it.
    pub fn severity(&self) -> Severity {
        match self {
            Self::NoServer
            | Self::NoRoutes { .. }
            | Self::OddPattern { .. }
            | Self::OddPrefix { .. }
            | Self::ShadowedRoute { .. }
            | Self::NoFallback { .. }
            | Self::PartialPath { .. }
            | Self::SamePort { .. }
            | Self::SamePidFile { .. }
            | Self::SameSpec { .. }
            | Self::UnknownSetting { .. }
            | Self::EmptyInDir { .. }
            | Self::PlainAmongPatterns { is_served: true, .. } => Severity::Warning,
            _ => Severity::Error,
        }
    }

    /// What Mongrel2 would do, where the message does not say it. Empty for none.
    pub fn consequence(&self) -> &'static str {
        match self {
            Self::ControlCharacter { .. } => "it would end the text early, or split a header",
            Self::SameUuid { .. } => "Mongrel2 would be the first of the two",
            Self::NoDefaultHost { .. }
            | Self::NoCertdir { .. }
            | Self::DirBaseEnd { .. }
            | Self::DirBaseLength { .. }
            | Self::CacheTtl { .. }
            | Self::SameExtension { .. }
            | Self::HostLength { .. } => "Mongrel2 would stop at the start",
            Self::SameHost { .. } => "requests would only ever reach one of them",
            Self::RouteStart { .. } => "no request could match it",
            Self::SocketRoute { .. } => "Mongrel2 would drop what comes over such sockets",
            Self::PlainAmongPatterns { is_served: true, .. } => {
                "the one that Mongrel2 has first gets every request, and the other one none"
            }
            Self::PlainAmongPatterns { is_served: false, .. } => {
                "depending on the order, the patterns are never tried, or Mongrel2 reads foreign memory"
            }
            Self::EmptyInDir { attribute: "index_file" } => {
                "Mongrel2 redirects a request for a folder to itself, without end"
            }
            Self::EmptyInDir { .. } => "files of unknown types have an empty Content-Type",
            Self::SendIdent { .. } => "Mongrel2 would throw every reply away",
            Self::RecvIdent { .. } => "no reply would ever arrive, and nothing would say so",
            Self::SharedSpec { .. } => "Mongrel2 binds an address once: the second handler would be dead",
            Self::OneSpec { .. } => "Mongrel2 binds an address once: give each of the two its own",
            Self::LongIpcPath { .. } => "Mongrel2 would run without the handler",
            Self::DirBasePercent { .. } => "Mongrel2 decodes it, and looks in another folder",
            Self::SameSetting { .. } => "Mongrel2 would abort at the start",
            Self::Extension { .. } => "Mongrel2 would stop at the start, or never find it",
            Self::Pattern { .. } => "Mongrel2 would read on in memory",
            Self::NoRoutes { .. } => "every request gets 404",
            Self::NoFallback { .. } => "Mongrel2 tries the routes of the longest prefix only",
            Self::PartialPath { .. } => "Mongrel2 gives a path that ends inside a key to that key's route",
            Self::SamePort { .. } | Self::SamePidFile { .. } => "only one of them can run at a time",
            Self::SameSpec { .. } => "only one of them can bind it; give each server its own",
            Self::UnknownSetting { .. } => "it is ignored, unless a module reads it",
            Self::SettingNumber { .. } => "Mongrel2 would use the digits that it begins with, or 0",
            Self::SettingFolder { .. } => "Mongrel2 puts the names of files right behind it",
            Self::SettingTemplate { .. } => "Mongrel2 could not store any upload",
            Self::SettingMode { .. } => "Mongrel2 would refuse uploads, or give their files other rights",
            _ => "",
        }
    }
}
