//! Mistakes that Mongrel2 would punish, each with what it would do.
//!
//! [`Config::check`](crate::model::Config::check) finds them, [`crate::store::write`] refuses
//! them. Messages name the place as the configuration does.

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
    /// Depending on the order, the patterns are never tried, or Mongrel2 reads memory that is
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
}
