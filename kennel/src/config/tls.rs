//! `tls`: a certificate and its key, as a table or as on the command line.

use crate::args::TlsFiles;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::path::PathBuf;

/// The table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    cert: PathBuf,
    key: PathBuf,
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = TlsFiles;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{ cert = \"cert.pem\", key = \"key.pem\" } or \"CERT,KEY\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<TlsFiles, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TlsFiles, A::Error> {
        let Table { cert, key } = Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(TlsFiles { certificate: cert, key })
    }
}

/// `{ cert = "cert.pem", key = "key.pem" }`, or as on the command line: `"cert.pem,key.pem"`.
pub(super) fn files<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TlsFiles>, D::Error> {
    deserializer.deserialize_any(Written).map(Some)
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;
    use std::path::Path;

    #[test]
    fn both_forms_count_from_the_files_folder_and_mistakes_have_a_place() {
        let read = |text: &str| Config::parse(Path::new("site/kennel.toml"), text);
        let expected = TlsFiles { certificate: "site/a.pem".into(), key: "/etc/b.pem".into() };
        for text in [
            "tls = { cert = 'a.pem', key = '/etc/b.pem' }",
            "[tls]\ncert = 'a.pem'\nkey = '/etc/b.pem'",
            "tls = 'a.pem, /etc/b.pem'",
        ] {
            assert_eq!(read(text).unwrap().tls.as_ref(), Some(&expected), "{text}");
        }
        for (text, problem) in [
            ("tls = { cert = 'a.pem' }", "`key` is missing"),
            ("tls = { cert = 'a.pem', kee = 'b.pem' }", "unknown key `kee`"),
            ("tls = 'a.pem'", "write two PEM files: CERT,KEY"),
            ("tls = true", "write { cert = \"cert.pem\", key = \"key.pem\" } or \"CERT,KEY\""),
            ("tls = { cert = 1, key = 'b' }", "the number 1 is wrong here; write a text in quotes"),
        ] {
            let said = read(text).unwrap_err().to_string();
            assert!(said.starts_with("site/kennel.toml:1:") && said.contains(problem), "{text}: {said}");
        }
    }
}
