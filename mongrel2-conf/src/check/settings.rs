//! The settings that Mongrel2 knows, and what it makes of their values.

use crate::diagnostic::suggest::nearest;

/// What Mongrel2 makes of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `atoi`: what does not begin with a number is 0.
    Number,
    Text,
    /// A folder with its closing slash, since file names are put right behind.
    Folder,
    /// For `mkstemp`, so it ends in `XXXXXX`.
    Template,
    /// Read with `strtoul`: octal only if it begins with 0, and 0 stops the upload.
    Mode,
}

const KNOWN: &[(&str, Kind)] = &[
    ("certdir", Kind::Folder),
    ("control_port", Kind::Text),
    ("disable.access_logging", Kind::Number),
    ("download.flow_control", Kind::Number),
    ("limits.buffer_size", Kind::Number),
    ("limits.client_read_retries", Kind::Number),
    ("limits.connection_stack_size", Kind::Number),
    ("limits.content_length", Kind::Number),
    ("limits.dir_max_path", Kind::Number),
    ("limits.dir_send_buffer", Kind::Number),
    ("limits.fdtask_stack", Kind::Number),
    ("limits.handler_stack", Kind::Number),
    ("limits.handler_targets", Kind::Number),
    ("limits.header_count", Kind::Number),
    ("limits.host_name", Kind::Number),
    ("limits.kill_limit", Kind::Number),
    ("limits.mime_ext_len", Kind::Number),
    ("limits.min_ping", Kind::Number),
    ("limits.min_read_rate", Kind::Number),
    ("limits.min_write_rate", Kind::Number),
    ("limits.proxy_read_retries", Kind::Number),
    ("limits.proxy_read_retry_warn", Kind::Number),
    ("limits.tick_timer", Kind::Number),
    ("limits.url_path", Kind::Number),
    ("net.tcp_keepalive", Kind::Number),
    ("no_clobber_xff", Kind::Number),
    ("request.relaxed", Kind::Number),
    ("server.daemonize", Kind::Number),
    ("ssl.ca_chain", Kind::Text),
    ("ssl.verify_optional", Kind::Number),
    ("ssl.verify_required", Kind::Number),
    ("ssl_ciphers", Kind::Text),
    ("superpoll.hot_dividend", Kind::Number),
    ("superpoll.max_fd", Kind::Number),
    ("upload.stream", Kind::Number),
    ("upload.temp_store", Kind::Template),
    ("upload.temp_store_mode", Kind::Mode),
    ("zeromq.threads", Kind::Number),
];

/// What is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Mongrel2 has none of this name; perhaps this one was meant.
    Unknown { near: Option<&'static str> },
    /// Mongrel2 would take it for another number.
    NotANumber,
    /// No closing slash.
    Folder,
    /// No closing `XXXXXX`.
    Template,
    /// No octal number that begins with 0, or 0.
    Mode,
}

/// Looks at one setting.
pub(crate) fn look_at(key: &str, value: &str) -> Option<Wrong> {
    let Ok(at) = KNOWN.binary_search_by_key(&key, |(known, _)| known) else {
        return Some(Wrong::Unknown { near: nearest(key, KNOWN.iter().map(|(known, _)| *known)) });
    };
    match KNOWN[at].1 {
        Kind::Number => (!is_number(value)).then_some(Wrong::NotANumber),
        Kind::Mode => {
            let mode = value.strip_prefix('0').and_then(|octal| u32::from_str_radix(octal, 8).ok());
            mode.is_none_or(|mode| mode == 0 || mode > 0o7777).then_some(Wrong::Mode)
        }
        Kind::Folder => (!value.ends_with('/')).then_some(Wrong::Folder),
        Kind::Template => (!value.ends_with("XXXXXX")).then_some(Wrong::Template),
        Kind::Text => None,
    }
}

/// A number that `atoi` reads to its end, in the range of C's `int`.
fn is_number(value: &str) -> bool {
    value.parse::<i32>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_for_the_search() {
        assert!(KNOWN.is_sorted_by_key(|(key, _)| *key));
    }

    #[test]
    fn values_are_what_mongrel2_can_use() {
        assert_eq!(look_at("limits.min_ping", "30"), None);
        assert_eq!(look_at("zeromq.threads", "01"), None);
        assert_eq!(look_at("limits.min_ping", "30s"), Some(Wrong::NotANumber));
        assert_eq!(look_at("limits.min_ping", ""), Some(Wrong::NotANumber));
        assert_eq!(look_at("limits.min_ping", "4294967296"), Some(Wrong::NotANumber));
        assert_eq!(look_at("upload.temp_store_mode", "0666"), None);
        assert_eq!(look_at("upload.temp_store_mode", "600"), Some(Wrong::Mode));
        assert_eq!(look_at("upload.temp_store_mode", "0"), Some(Wrong::Mode));
        assert_eq!(look_at("upload.temp_store", "/tmp/x"), Some(Wrong::Template));
        assert_eq!(look_at("certdir", "/certs"), Some(Wrong::Folder));
        assert_eq!(look_at("limits.minping", "1"), Some(Wrong::Unknown { near: Some("limits.min_ping") }));
        assert_eq!(look_at("my.module", "x"), Some(Wrong::Unknown { near: None }));
    }
}
