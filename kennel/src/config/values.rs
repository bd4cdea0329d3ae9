//! Values of `kennel.toml`, each with what is wrong with it in words.

use crate::listen::{self, METRICS};
use handler_core::hub::{Affinity, HostPattern};
use handler_core::worker::protocol::MAX_BATCH;
use kennel_http::proxies::TrustedProxies;
use mongrel2_wire::address::Address;
use serde::{Deserialize, Deserializer};
use std::time::Duration;

/// A text that `check` finds right, or what it says is wrong with it.
fn checked<'de, D: Deserializer<'de>>(
    deserializer: D,
    check: impl FnOnce(&str) -> Result<(), String>,
) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    check(&text).map_err(serde::de::Error::custom)?;
    Ok(Some(text))
}

pub(super) fn own_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, listen::spelled_for_mongrel2)
}

pub(super) fn metrics_address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    checked(deserializer, |text| listen::spelled(text, METRICS))
}

pub(super) fn spec<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, |text| text.parse::<Address>().map(drop).map_err(|problem| problem.to_string()))
}

pub(super) fn mount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, |text| match text.starts_with('/') {
        true => Ok(()),
        false => Err(format!("the mount `{text}` must begin with `/`; write \"/{text}\"")),
    })
}

/// `"30s"`, `"500ms"`, `"1m 30s"`, or a number of seconds; above 0.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "not a duration; write \"30s\", \"5m\" or a number of seconds")]
    enum Written {
        Text(String),
        Seconds(f64),
    }
    let wrong = |text: &str| {
        serde::de::Error::custom(format!(
            "`{text}` is not a duration; write \"30s\", \"5m\" or a number of seconds"
        ))
    };
    let time = match Written::deserialize(deserializer)? {
        Written::Text(text) => humantime::parse_duration(&text).map_err(|_| wrong(&text))?,
        Written::Seconds(seconds) => {
            Duration::try_from_secs_f64(seconds).map_err(|_| wrong(&seconds.to_string()))?
        }
    };
    if time.is_zero() || time > Duration::from_secs(366 * 86_400) {
        return Err(serde::de::Error::custom("a duration must be above 0 and below a year"));
    }
    Ok(Some(time))
}

/// A list of addresses and networks.
pub(super) fn networks<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<TrustedProxies>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    TrustedProxies::parse(texts.iter().map(String::as_str)).map(Some).map_err(serde::de::Error::custom)
}

/// A list of host names.
pub(super) fn hosts<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<HostPattern>>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    if texts.is_empty() {
        return Err(serde::de::Error::custom("name at least one host, or leave `hosts` out to answer all"));
    }
    let patterns: Result<_, _> = texts.iter().map(|text| text.parse()).collect();
    patterns.map(Some).map_err(serde::de::Error::custom)
}

/// A whole number above 0, or `"64KiB"`, `"256MiB"`, `"1GiB"`.
pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "not a size; write a whole number, or \"64KiB\", \"256MiB\", \"1GiB\"")]
    enum Written {
        Number(i64),
        Text(String),
    }
    let value = match Written::deserialize(deserializer)? {
        Written::Number(number) => usize::try_from(number).ok(),
        Written::Text(text) => {
            let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
            let unit = match text[digits.len()..].trim() {
                "" | "B" => Some(1),
                "KiB" | "K" | "k" => Some(1 << 10),
                "MiB" | "M" => Some(1 << 20),
                "GiB" | "G" => Some(1 << 30),
                _ => None,
            };
            digits.parse::<usize>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit))
        }
    };
    match value.filter(|value| *value > 0) {
        Some(value) => Ok(Some(value)),
        None => {
            let text = "not a size; write a whole number above 0, or \"64KiB\", \"256MiB\", \"1GiB\"";
            Err(serde::de::Error::custom(text))
        }
    }
}

/// The same for what has to go to the hub in one piece.
pub(super) fn answer_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    // Beside the answer itself there is its head.
    const MOST: usize = MAX_BATCH - (1 << 20);
    match size(deserializer)? {
        Some(value) if value > MOST => {
            Err(serde::de::Error::custom(format!("too large; write at most \"{}MiB\"", MOST >> 20)))
        }
        value => Ok(value),
    }
}

pub(super) fn affinity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Affinity>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

pub(super) fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let number = i64::deserialize(deserializer)?;
    match u32::try_from(number) {
        Ok(number @ 1..=256) => Ok(Some(number)),
        _ => Err(serde::de::Error::custom("write a whole number from 1 to 256")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use std::path::Path;

    fn problem(text: &str) -> String {
        Config::parse(Path::new("kennel.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn wrong_types_and_impossible_values_are_shown_with_their_place() {
        assert!(problem("[[app]]\nsource = 1\n").starts_with("kennel.toml:2:10: "));
        assert!(problem("[[app]]\nsource = \"a\"\nworkers = 0\n").contains("from 1 to 256"));
        for list in ["cgi = [true]", "limits = [\"1s\"]", "console = [\"x\"]", "app = [[\"a.lua\"]]"] {
            assert!(
                problem(list).contains("a list is wrong here; write a table"),
                "{list}: {}",
                problem(list)
            );
        }
        let text = problem("[[app]]\nsource = \"a\"\naffinity = \"cookies\"\n");
        assert!(text.starts_with("kennel.toml:3:12: `cookies` is not an affinity"), "{text}");
        let text = problem("hosts = [\"example.com\", \"http://a.example\"]\n");
        assert!(
            text.starts_with("kennel.toml:1:") && text.contains("`http://a.example` is not a host name"),
            "{text}"
        );
        assert!(problem("hosts = []\n").contains("name at least one host"));
        assert!(problem("[limits]\nqueue = -1\n").contains("above 0"));
        assert!(problem("[limits]\nscript_time = \"soon\"\n").contains("`soon` is not a duration"));
        assert!(problem("[limits]\nexec_line = \"1GiB\"\n").contains("at most \"255MiB\""));
        assert!(problem("[cgi]\noutput = \"1GiB\"\n").contains("at most \"255MiB\""));
        assert!(problem("[cgi]\nenable = true\n").contains("did you mean `enabled`?"));
        assert!(problem("[limits\n").starts_with("kennel.toml:1:"));
    }
}
