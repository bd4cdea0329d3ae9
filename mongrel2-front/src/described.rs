//! The bounds of a server for people to read: names, values and what they mean.

use crate::limits::Limits;
use mongrel2_conf::model::Config;
use std::time::Duration;

/// The value of a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// A time.
    Time(Duration),
    /// Bytes.
    Bytes(u64),
    /// A number of anything else.
    Count(u64),
}

/// The bounds of a server with this configuration. Names are those of its settings.
pub fn limits(config: &Config) -> Vec<(&'static str, Amount, &'static str)> {
    let limits = Limits::new(config);
    let size = |bytes: usize| Amount::Bytes(bytes as u64);
    let count = |number: usize| Amount::Count(number as u64);
    vec![
        (
            "limits.content_length",
            size(limits.content_length),
            "a body inside a message; a larger one goes another way",
        ),
        (
            "limits.buffer_size",
            size(limits.head),
            "the headers of a request, a message of a JSON or XML socket",
        ),
        ("limits.header_count", count(limits.header_count), "headers of a request"),
        ("limits.handler_targets", count(limits.targets), "connections that one reply addresses"),
        (
            "limits.min_ping",
            Amount::Time(limits.min_ping),
            "a connection may send nothing before it counts as slow",
        ),
        (
            "limits.min_read_rate",
            Amount::Bytes(limits.min_read_rate),
            "read per second; below, a connection counts as slow",
        ),
        ("limits.min_write_rate", Amount::Bytes(limits.min_write_rate), "the same for writing"),
        (
            "limits.kill_limit",
            Amount::Count(limits.kill_limit),
            "of these three that a connection may be without being closed",
        ),
        ("limits.tick_timer", Amount::Time(limits.tick), "between two looks for slow connections"),
        ("front.frame_bytes", size(limits.frames), "a WebSocket message"),
        (
            "front.output_bytes",
            Amount::Bytes(limits.output),
            "that wait for one client in more than 16 replies, then it is closed",
        ),
        (
            "front.head_seconds",
            Amount::Time(limits.head_time),
            "headers and a body inside a message may take to arrive",
        ),
        (
            "front.write_seconds",
            Amount::Time(limits.write_time),
            "a client may read nothing while output waits",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_change_what_is_described() {
        let settings = vec![("front.output_bytes".to_owned(), "7".to_owned())];
        let found = limits(&Config { settings, ..Config::default() });
        let value = |name| found.iter().find(|(other, ..)| *other == name).map(|(_, value, _)| *value);
        assert_eq!(value("front.output_bytes"), Some(Amount::Bytes(7)));
        assert_eq!(value("front.head_seconds"), Some(Amount::Time(Duration::from_secs(60))));
    }
}
