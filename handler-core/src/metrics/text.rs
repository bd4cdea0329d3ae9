//! The text format of Prometheus, version 0.0.4.

use super::{Family, Kind, Sample, Value};
use std::borrow::Cow;
use std::fmt::Write;

/// What an answer in this form says of itself.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes families, each with what it means and its kind in front.
pub fn text(families: &[Family<'_>]) -> String {
    let mut out = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(out, "# HELP {0} {help}\n# TYPE {0} {kind}", family.name);
        for sample in &family.samples {
            write_sample(&mut out, family.name, sample);
        }
    }
    out
}

fn write_sample(out: &mut String, name: &str, sample: &Sample<'_>) {
    // Writing into a string cannot fail.
    let _ = match sample.value {
        Value::Count(count) => {
            write_series(out, name, "", sample, None);
            writeln!(out, " {count}")
        }
        Value::Real(value) => {
            write_series(out, name, "", sample, None);
            writeln!(out, " {value}")
        }
        Value::Times(times) => {
            for (bound, count) in times.cumulative() {
                write_series(out, name, "_bucket", sample, Some(bound));
                let _ = writeln!(out, " {count}");
            }
            write_series(out, name, "_sum", sample, None);
            let _ = writeln!(out, " {}", times.sum());
            write_series(out, name, "_count", sample, None);
            writeln!(out, " {}", times.count())
        }
    };
}

/// `name{label="value"}`.
fn write_series(out: &mut String, name: &str, suffix: &str, sample: &Sample<'_>, bound: Option<&str>) {
    out.push_str(name);
    out.push_str(suffix);
    let labels = sample.labels.iter().map(|(label, value)| (*label, &**value));
    let mut mark = '{';
    for (label, value) in labels.chain(bound.map(|bound| ("le", bound))) {
        out.push(mark);
        mark = ',';
        out.push_str(label);
        out.push_str("=\"");
        out.push_str(&escaped(value));
        out.push('"');
    }
    if mark == ',' {
        out.push('}');
    }
}

fn escaped(value: &str) -> Cow<'_, str> {
    if !value.contains(['\\', '"', '\n']) {
        return value.into();
    }
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Histogram;
    use std::time::Duration;

    #[test]
    fn a_family_is_its_meaning_its_kind_and_its_series() {
        let mut family = Family::counter("kennel_requests_total", "Requests.");
        family.add([("app", "a.lua"), ("status", "200")], Value::Count(7));
        family.add([("app", "a.lua"), ("status", "404")], Value::Count(1));
        let gauge = Family::gauge("kennel_rooms", "Rooms.").only(Value::Count(0));
        assert_eq!(
            text(&[family, gauge]),
            "# HELP kennel_requests_total Requests.\n# TYPE kennel_requests_total counter\n\
             kennel_requests_total{app=\"a.lua\",status=\"200\"} 7\n\
             kennel_requests_total{app=\"a.lua\",status=\"404\"} 1\n\
             # HELP kennel_rooms Rooms.\n# TYPE kennel_rooms gauge\nkennel_rooms 0\n"
        );
    }

    #[test]
    fn nothing_in_a_label_breaks_its_line() {
        let mut family = Family::gauge("x", "a \\ and\na line");
        family.add([("app", "a\"b\\c\nd")], Value::Real(0.5));
        assert_eq!(
            text(&[family]),
            "# HELP x a \\\\ and\\na line\n# TYPE x gauge\nx{app=\"a\\\"b\\\\c\\nd\"} 0.5\n"
        );
    }

    #[test]
    fn a_histogram_has_its_bounds_behind_its_labels() {
        let mut times = Histogram::default();
        times.observe(Duration::from_millis(3));
        times.observe(Duration::from_secs(60));
        let mut family = Family::new(Kind::Histogram, "t_seconds", "Times.");
        family.add([("route", "/")], Value::Times(&times));
        let written = text(&[family]);
        assert!(written.contains("t_seconds_bucket{route=\"/\",le=\"0.0025\"} 0\n"), "{written}");
        assert!(written.contains("t_seconds_bucket{route=\"/\",le=\"0.005\"} 1\n"), "{written}");
        assert!(written.ends_with(
            "t_seconds_bucket{route=\"/\",le=\"+Inf\"} 2\nt_seconds_sum{route=\"/\"} 60.003\nt_seconds_count{route=\"/\"} 2\n"
        ));
    }

    #[test]
    fn a_family_without_series_is_not_mentioned() {
        assert_eq!(text(&[Family::counter("x_total", "X.")]), "");
    }
}
