//! The same numbers for the console: an object for each series.

use super::{Family, Sample, Value};
use serde_json::{Map, Value as Json, json};

/// All series whose family's name has `part` in it. Of times there is the count, the mean, and how many were within
/// each bound.
pub fn rows(families: &[Family<'_>], part: &str) -> Json {
    let chosen = families.iter().filter(|family| family.name.contains(part));
    chosen.flat_map(|family| family.samples.iter().map(|sample| row(family.name, sample))).collect()
}

fn row(name: &str, sample: &Sample<'_>) -> Json {
    let labels: Map<String, Json> =
        sample.labels.iter().map(|(label, value)| ((*label).to_owned(), Json::from(&**value))).collect();
    let mut row = json!({ "metric": name, "labels": labels });
    match sample.value {
        Value::Count(count) => row["value"] = count.into(),
        Value::Real(value) => row["value"] = value.into(),
        Value::Times(times) => {
            let count = times.count();
            row["value"] = count.into();
            if count > 0 {
                row["mean"] = (times.sum() / count as f64).into();
            }
            row["sum"] = times.sum().into();
            row["buckets"] = times.cumulative().map(|(le, count)| json!([le, count])).collect();
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Histogram, Kind};
    use std::time::Duration;

    #[test]
    fn a_series_is_an_object() {
        let mut times = Histogram::default();
        times.observe(Duration::from_millis(2));
        times.observe(Duration::from_millis(4));
        let mut seconds = Family::new(Kind::Histogram, "t_seconds", "Times.");
        seconds.add([("app", "a.lua")], Value::Times(&times));
        let rooms = Family::gauge("rooms", "Rooms.").only(Value::Count(3));
        let all = rows(&[seconds, rooms], "");
        assert_eq!(all[1], json!({ "metric": "rooms", "labels": {}, "value": 3 }));
        assert_eq!((&all[0]["value"], &all[0]["mean"]), (&json!(2), &json!(0.003)));
        assert_eq!(all[0]["buckets"][4], json!(["0.0025", 1]));
    }

    #[test]
    fn a_part_of_the_name_is_enough() {
        let families = [
            Family::gauge("kennel_rooms", "R.").only(Value::Count(3)),
            Family::gauge("kennel_workers", "W.").only(Value::Count(1)),
        ];
        assert_eq!(rows(&families, "room").as_array().map(Vec::len), Some(1));
        assert_eq!(rows(&families, "none"), json!([]));
    }
}
