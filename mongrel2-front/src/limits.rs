//! Every bound of the server, with its name and its default. Those without `front.` are settings of Mongrel2.

use mongrel2_conf::model::Config;
use std::time::Duration;

/// The bounds of one server.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// `limits.content_length`: the largest body that travels inside a message, bytes.
    pub(crate) content_length: usize,
    /// `limits.buffer_size`, at least 64 KiB: the largest head of a request, and the largest message of a JSON or XML
    /// socket, bytes.
    pub(crate) head: usize,
    /// `limits.header_count`: the most header lines of a request.
    pub(crate) header_count: usize,
    /// `limits.handler_targets`: the most connections that one reply addresses.
    pub(crate) targets: usize,
    /// `front.frame_bytes`: the largest WebSocket message, bytes, fragments together.
    pub(crate) frames: usize,
    /// `front.output_bytes`: a connection with so much unsent output, in more than [`REPLIES`](Self::REPLIES) replies, is
    /// closed when more is to be queued, bytes.
    pub(crate) output: u64,
    /// `front.head_seconds`: how long a request's head and a body inside a message may take to arrive.
    pub(crate) head_time: Duration,
    /// `front.write_seconds`: how long a client may read nothing while output waits.
    pub(crate) write_time: Duration,
    /// `limits.tick_timer`: how often slow connections are looked for.
    pub(crate) tick: Duration,
    /// `limits.min_ping`: a connection that sent nothing for so long is idle. Zero: none is.
    pub(crate) min_ping: Duration,
    /// `limits.min_read_rate`: bytes in a second below which reading counts as slow. 0: it never does.
    pub(crate) min_read_rate: u64,
    /// `limits.min_write_rate`: the same for writing.
    pub(crate) min_write_rate: u64,
    /// `limits.kill_limit`: how many of the three a connection may be without being closed.
    pub(crate) kill_limit: u64,
    /// `upload.temp_store`: the template of names for larger bodies.
    pub(crate) temp_store: Option<String>,
    /// `upload.stream`: larger bodies go to the handler in parts.
    pub(crate) stream: bool,
    /// `download.flow_control`: handlers hear how much was written.
    pub(crate) flow_control: bool,
    /// `request.relaxed`: `{`, `}` and `^` may stand in paths and queries.
    pub(crate) relaxed: bool,
    /// `no_clobber_xff`: `X-Forwarded-For` stays as the client sent it.
    pub(crate) keeps_forwarded_for: bool,
    /// Not `disable.access_logging`: requests leave lines in the access log.
    pub(crate) logs_access: bool,
}

impl Limits {
    /// So many replies of any size may always wait for a connection, as with Mongrel2.
    pub(crate) const REPLIES: usize = 16;
    /// A client that shuts its side down later than this after the last byte of its last request has left. Earlier: it
    /// waits for its responses, as `printf ... | nc -N` does.
    pub(crate) const HALF_CLOSE: Duration = Duration::from_millis(10);
    /// The smallest bound on a head: browsers send cookies of this size.
    const HEAD: usize = 64 << 10;

    /// Reads the settings of a configuration.
    pub(crate) fn new(config: &Config) -> Self {
        let number = |key: &str, default: u64| config.setting(key).map_or(default, atoi);
        let seconds = |key: &str, default: u64| Duration::from_secs(number(key, default));
        let is_on = |key: &str| number(key, 0) != 0;
        Self {
            content_length: size(number("limits.content_length", 20_480)),
            head: size(number("limits.buffer_size", 4_096)).max(Self::HEAD),
            header_count: size(number("limits.header_count", 1_280)),
            targets: size(number("limits.handler_targets", 128)),
            frames: size(number("front.frame_bytes", 64 << 20)),
            output: number("front.output_bytes", 1 << 20),
            head_time: seconds("front.head_seconds", 60),
            write_time: seconds("front.write_seconds", 120),
            tick: seconds("limits.tick_timer", 10).max(Duration::from_secs(1)),
            min_ping: seconds("limits.min_ping", 120),
            min_read_rate: number("limits.min_read_rate", 300),
            min_write_rate: number("limits.min_write_rate", 300),
            kill_limit: number("limits.kill_limit", 2),
            temp_store: config.setting("upload.temp_store").filter(|name| !name.is_empty()).map(Into::into),
            stream: is_on("upload.stream"),
            flow_control: is_on("download.flow_control"),
            relaxed: is_on("request.relaxed"),
            keeps_forwarded_for: is_on("no_clobber_xff"),
            logs_access: !is_on("disable.access_logging"),
        }
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Reads a number as Mongrel2 does, with C's `atoi`: blanks, then digits as far as they go; anything else is 0.
fn atoi(text: &str) -> u64 {
    let text = text.trim_start();
    let digits = text.find(|c: char| !c.is_ascii_digit()).map_or(text, |end| &text[..end]);
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_mongrel2_reads_them() {
        assert_eq!(["12", " 7x", "x", "", "-3"].map(atoi), [12, 7, 0, 0, 0]);
        let settings =
            [("limits.content_length", "100"), ("limits.buffer_size", "70000"), ("upload.stream", "1")];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let limits = Limits::new(&Config { settings, ..Config::default() });
        assert_eq!((limits.content_length, limits.head, limits.stream), (100, 70_000, true));
        let defaults = Limits::new(&Config::default());
        assert_eq!((defaults.content_length, defaults.head, defaults.targets), (20_480, 65_536, 128));
    }
}
