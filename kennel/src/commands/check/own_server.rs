//! The server that Kennel would start: which one, its bounds, and its certificate.

use super::Found;
use crate::args::{Front, OwnFront};
use crate::config::Config;
use crate::mongrel2::own::front_limits;
use crate::mongrel2::tls::Tls;
use mongrel2_front::Certificate;
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// What is known of it.
#[derive(Debug)]
pub(super) struct OwnServer {
    front: Front,
    https: Option<(Tls, Certificate)>,
}

impl OwnServer {
    /// Looks at it, and tells what is wrong with its certificate.
    pub(super) fn look(found: &mut Found, typed: &OwnFront, front: Front, config: &Config) -> Self {
        let tls = Tls::chosen(typed, config, front);
        let looked =
            tls.and_then(|tls| tls.map(|tls| tls.look().map(|certificate| (tls, certificate))).transpose());
        let https = looked.unwrap_or_else(|problem| {
            found.errors.push(problem.to_string());
            None
        });
        if let Some((tls, Certificate { problem: Some(problem), .. })) = &https {
            let path = tls.files.certificate.display();
            found.warnings.push(format!(
                "the certificate in `{path}` {problem}; clients refuse it until you replace it"
            ));
        }
        Self { front, https }
    }

    /// A line about the certificate.
    pub(super) fn https(&self) -> Option<String> {
        let (tls, certificate) = self.https.as_ref()?;
        let path = tls.files.certificate.display();
        Some(format!("https with the certificate in {path}, valid until {}", certificate.until))
    }

    /// The bounds of Kennel's front. Those of a Mongrel2 are in its own documentation.
    pub(super) fn write_limits(&self, out: &mut impl Write) -> io::Result<()> {
        if self.front == Front::Kennel {
            writeln!(out, "\nlimits of Kennel's front:")?;
            for (name, value, meaning) in front_limits() {
                writeln!(out, "  {name:22} {:>8}  {meaning}", value.to_string())?;
            }
        }
        Ok(())
    }

    pub(super) fn as_json(&self) -> Value {
        let limits = match self.front {
            Front::Kennel => front_limits(),
            Front::Mongrel2 => Vec::new(),
        };
        let limits: Map<_, _> =
            limits.into_iter().map(|(name, value, _)| (name.to_owned(), value.as_json())).collect();
        let https = self.https.as_ref().map(|(tls, certificate)| {
            json!({
                "certificate": tls.files.certificate, "key": tls.files.key, "valid_until": certificate.until,
                "problem": certificate.problem,
            })
        });
        json!({ "name": self.front.name(), "limits": limits, "tls": https })
    }
}
