//! How the workers of an app share its requests: how many there are, and which of them gets which.

use crate::worker::protocol::Interface;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// How the workers of an app share its requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sharing {
    /// Start one worker if the script is an ASGI or WSGI application, whatever [`AppSpec::workers`](crate::hub::AppSpec) says.
    /// Such applications often keep in memory what their next request needs.
    pub one_if_standard: bool,
    /// Which requests belong to one worker; none: each goes to the least loaded worker.
    pub affinity: Option<Affinity>,
}

impl Sharing {
    /// How many workers run a script of this kind, where `wanted` run one of Kennel's own.
    pub fn workers(&self, wanted: u32, interface: Interface) -> u32 {
        if self.one_if_standard && interface != Interface::Kennel { 1 } else { wanted }
    }
}

/// What makes requests belong to one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Affinity {
    /// A cookie of the hub's own, which names the worker of a visitor's first request.
    Cookie,
    /// The value of this parameter of the query string.
    Query(String),
}

/// Why a text does not say what makes requests belong to one worker.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{typed}` is not an affinity; write `cookie`, or `query:NAME` with the name of a parameter")]
pub struct AffinityError {
    typed: String,
}

impl FromStr for Affinity {
    type Err = AffinityError;

    fn from_str(typed: &str) -> Result<Self, AffinityError> {
        match typed.split_once(':') {
            None if typed == "cookie" => Ok(Self::Cookie),
            Some(("query", name)) if !name.is_empty() => Ok(Self::Query(name.to_owned())),
            _ => Err(AffinityError { typed: typed.to_owned() }),
        }
    }
}

impl fmt::Display for Affinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cookie => f.write_str("cookie"),
            Self::Query(name) => write!(f, "query:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_affinity_is_a_cookie_or_a_parameter() {
        for typed in ["cookie", "query:sid", "query:a:b"] {
            assert_eq!(typed.parse::<Affinity>().unwrap().to_string(), typed);
        }
        for typed in ["", "cookies", "query", "query:", "cookie:x"] {
            let problem = typed.parse::<Affinity>().unwrap_err().to_string();
            assert!(
                problem.starts_with(&format!("`{typed}` is not an affinity; write `cookie`")),
                "{problem}"
            );
        }
    }

    #[test]
    fn standards_have_one_worker_only_where_no_number_was_given() {
        let (given, default) = (Sharing::default(), Sharing { one_if_standard: true, affinity: None });
        for interface in [Interface::Asgi, Interface::Wsgi] {
            assert_eq!((given.workers(4, interface), default.workers(4, interface)), (4, 1));
        }
        assert_eq!(default.workers(4, Interface::Kennel), 4);
    }
}
