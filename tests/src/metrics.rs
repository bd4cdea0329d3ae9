//! A reader of Prometheus' text format that takes nothing but what the format allows, and metrics as a test asks for
//! them.

use crate::client::Client;
use crate::site::Site;
use std::collections::BTreeMap;

/// Everything that was read at once.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// The kind of each family.
    kinds: BTreeMap<String, String>,
    /// Each series, with its labels sorted.
    samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Reads them from a site that was started with `--metrics 127.0.0.1:0`.
    ///
    /// # Panics
    ///
    /// When they are not there, or not what they should be.
    pub fn of(site: &Site) -> Self {
        let response = Client::connect(port(site)).get("/metrics");
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        assert_eq!(response.header("connection"), Some("close"));
        Self::parse(std::str::from_utf8(&response.body).expect("metrics are UTF-8"))
    }

    /// Reads a text.
    ///
    /// # Panics
    ///
    /// At the first line that the format does not allow.
    pub fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no end");
        let mut metrics = Self::default();
        let mut family = (String::new(), String::new());
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, text) = help.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
                assert!(!text.is_empty() && !metrics.kinds.contains_key(name), "{line}");
                family = (name.to_owned(), String::new());
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(name, family.0, "{line} is not behind its help");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                family.1 = kind.to_owned();
                metrics.kinds.insert(name.to_owned(), kind.to_owned());
            } else {
                let sample = Sample::parse(line).unwrap_or_else(|| panic!("no series: {line}"));
                let suffixes = ["_bucket", "_sum", "_count"];
                let base = match &*family.1 {
                    "histogram" => suffixes.iter().find_map(|suffix| sample.name.strip_suffix(suffix)),
                    _ => Some(&*sample.name),
                };
                assert_eq!(base, Some(&*family.0), "{line} is not with its family");
                assert!(family.1 == "gauge" || sample.value >= 0.0, "{line}");
                let again = |other: &&Sample| other.name == sample.name && other.labels == sample.labels;
                assert!(!metrics.samples.iter().any(|other| again(&other)), "twice: {line}");
                metrics.samples.push(sample);
            }
        }
        metrics.check_histograms();
        metrics
    }

    /// Buckets grow with their bounds, and the last one has all.
    fn check_histograms(&self) {
        let is_histogram = |(_, kind): &(&String, &String)| *kind == "histogram";
        for (name, _) in self.kinds.iter().filter(is_histogram) {
            let counts = self.samples.iter().filter(|sample| sample.name == format!("{name}_count"));
            for count in counts {
                let bucket = |sample: &Sample| {
                    let mut labels = sample.labels.clone();
                    let bound = labels.remove("le")?;
                    (sample.name == format!("{name}_bucket") && labels == count.labels)
                        .then_some((bound, sample.value))
                };
                let buckets: Vec<_> = self.samples.iter().filter_map(bucket).collect();
                let bounds = buckets.iter().map(|(bound, _)| match &**bound {
                    "+Inf" => f64::INFINITY,
                    bound => bound.parse().expect("a bound is a number"),
                });
                assert!(bounds.is_sorted_by(|a, b| a < b), "{buckets:?}");
                assert!(buckets.iter().map(|(_, count)| count).is_sorted(), "{buckets:?}");
                assert_eq!(buckets.last(), Some(&("+Inf".to_owned(), count.value)));
                assert!(
                    self.samples.iter().any(|s| s.name == format!("{name}_sum") && s.labels == count.labels)
                );
            }
        }
    }

    /// The sum of a name's series that have these labels, whatever others they have.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&Sample| {
            let has = |(label, value): &(&str, &str)| sample.labels.get(*label).is_some_and(|v| v == value);
            sample.name == name && labels.iter().all(has)
        };
        self.samples.iter().filter(fits).map(|sample| sample.value).sum()
    }

    /// All values of a label.
    pub fn values(&self, label: &str) -> Vec<&str> {
        let mut values: Vec<_> =
            self.samples.iter().filter_map(|sample| sample.labels.get(label)).map(String::as_str).collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The names of all families.
    pub fn families(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }
}

/// The port of the metrics, as the log says it.
///
/// # Panics
///
/// When it does not.
pub fn port(site: &Site) -> u16 {
    let line = site.log().expect("metrics are at http://127.0.0.1:");
    let (_, rest) = line.rsplit_once("127.0.0.1:").expect("the address is in the line");
    rest.split('/').next().and_then(|port| port.parse().ok()).expect("a port")
}

impl Sample {
    /// `name{label="value",...} 1.5`; `None`: it is not so.
    fn parse(line: &str) -> Option<Self> {
        let is_name = |name: &str, more: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || more.contains(c);
            !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(fits)
        };
        let (name, mut rest) = line.split_at(line.find(['{', ' '])?);
        let mut labels = BTreeMap::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            loop {
                let (label, after) = rest.split_once("=\"")?;
                let (value, size) = unescape(after)?;
                if !is_name(label, "") || labels.insert(label.to_owned(), value).is_some() {
                    return None;
                }
                rest = &after[size..];
                match rest.strip_prefix(',') {
                    Some(after) => rest = after,
                    None => break,
                }
            }
            rest = rest.strip_prefix('}')?;
        }
        let value = rest.strip_prefix(' ')?.parse().ok()?;
        is_name(name, ":").then(|| Self { name: name.to_owned(), labels, value })
    }
}

/// A label's value up to its closing quotes, and how many bytes that took.
fn unescape(text: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, at + 1)),
            (_, '\\') => value.push(match chars.next()?.1 {
                'n' => '\n',
                plain @ ('\\' | '"') => plain,
                _ => return None,
            }),
            (_, plain) => value.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    #[test]
    fn what_the_format_allows_is_read() {
        let text = "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"a\\\"b\\\\\\n\",y=\"}, {\"} 3\na_total 0.5\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.sum("a_total", &[("x", "a\"b\\\n")]), 3.0);
        assert_eq!(metrics.sum("a_total", &[]), 3.5);
    }

    #[test]
    fn what_it_does_not_allow_is_not() {
        let head = "# HELP a A.\n# TYPE a gauge\n";
        for wrong in
            ["a{} 1", "a{x=\"1\" 1", "a{x=1} 1", "a  1", "a one", "1a 1", "a{x=\"\\t\"} 1", "b 1", "a 1\na 2"]
        {
            let text = format!("{head}{wrong}\n");
            assert!(catch_unwind(|| Metrics::parse(&text)).is_err(), "{wrong}");
        }
        let uneven = "# HELP t T.\n# TYPE t histogram\nt_bucket{le=\"1\"} 2\nt_bucket{le=\"+Inf\"} 1\nt_sum 1\nt_count 1\n";
        assert!(catch_unwind(|| Metrics::parse(uneven)).is_err());
    }
}
