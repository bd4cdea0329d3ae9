//! What a configuration asks for that this server does not have.
//!
//! The server refuses to start with such a configuration, and `kennel check` reports the same texts.

use mongrel2_conf::model::{Server, Target};
use thiserror::Error;

/// A part of a server's configuration that Mongrel2 has and this server does not.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// A shared library that sees every request before its route does.
    #[error("server `{server}` has the filter `{module}`: {LIBRARIES}; remove it from `filters`")]
    Filter {
        /// The server's name, or its uuid.
        server: String,
        /// The file of the library.
        module: String,
    },
    /// A shared library that makes the bodies of extended replies.
    #[error("server `{server}` has the xrequest `{module}`: {LIBRARIES}; remove it from `xrequests`")]
    Xrequest {
        /// The server's name, or its uuid.
        server: String,
        /// The file of the library.
        module: String,
    },
    /// A route to another HTTP server.
    #[error(
        "route `{route}` of host `{host}` of server `{server}` leads to the proxy {target}: kennel front does not have \
         Proxy routes; serve this route with another proxy in front of both servers, or keep mongrel2"
    )]
    Proxy {
        /// The server's name, or its uuid.
        server: String,
        /// The host's name.
        host: String,
        /// The route's key.
        route: String,
        /// Address and port of the other server.
        target: String,
    },
}

/// Why no library of Mongrel2 can be loaded.
const LIBRARIES: &str = "kennel front cannot load libraries that were built for mongrel2";

/// Lists what a server's configuration has that this server does not support, in the order of the configuration.
pub fn unsupported(server: &Server) -> Vec<Unsupported> {
    let label = || server.label().to_owned();
    let filters = server.filters.iter();
    let filters = filters.map(|module| Unsupported::Filter { server: label(), module: module.name.clone() });
    let xrequests = server.xrequests.iter();
    let xrequests =
        xrequests.map(|module| Unsupported::Xrequest { server: label(), module: module.name.clone() });
    let routes = server.hosts.iter().flat_map(|host| host.routes.iter().map(move |route| (host, route)));
    let proxies = routes.filter_map(|(host, route)| match &*route.target {
        Target::Proxy(proxy) => Some(Unsupported::Proxy {
            server: label(),
            host: host.name.clone(),
            route: route.path.clone(),
            target: format!("{}:{}", proxy.addr, proxy.port),
        }),
        Target::Handler(_) | Target::Dir(_) => None,
    });
    filters.chain(xrequests).chain(proxies).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongrel2_conf::model::{Dir, Host, Module, Proxy, Route};

    fn server() -> Server {
        let routes = vec![Route::new("/", Target::Dir(Dir::new("public/")))];
        let hosts = vec![Host::new("example.com", routes)];
        Server { uuid: "u-1".into(), name: "main".into(), hosts, ..Server::default() }
    }

    fn module(name: &str) -> Module {
        Module { name: name.into(), settings: Vec::new() }
    }

    #[test]
    fn a_server_with_folders_and_handlers_alone_is_supported() {
        assert_eq!(unsupported(&server()), []);
    }

    #[test]
    fn libraries_and_proxies_are_named_with_server_host_and_route() {
        let mut server = server();
        server.filters.push(module("/usr/lib/mongrel2/filters/null.so"));
        server.xrequests.push(module("sendfile.so"));
        let proxy = Proxy { addr: "127.0.0.1".into(), port: 8080 };
        server.hosts[0].routes.push(Route::new("/old/(.*)", Target::Proxy(proxy)));
        let texts: Vec<_> = unsupported(&server).iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 3, "{texts:?}");
        for (text, words) in texts.iter().zip([
            &["server `main` has the filter `/usr/lib/mongrel2/filters/null.so`", "remove it from `filters`"]
                [..],
            &["server `main` has the xrequest `sendfile.so`", "remove it from `xrequests`"],
            &["route `/old/(.*)` of host `example.com` of server `main`", "127.0.0.1:8080", "keep mongrel2"],
        ]) {
            assert!(words.iter().all(|word| text.contains(word)), "{text}: {words:?}");
        }
    }

    #[test]
    fn a_server_without_a_name_is_called_by_its_uuid() {
        let mut server = Server { name: String::new(), ..server() };
        server.filters.push(module("rewrite.so"));
        assert!(unsupported(&server)[0].to_string().starts_with("server `u-1` "));
    }
}
