//! Where a head ends, found without reading a byte twice.

/// What a search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Search {
    /// The head is so long, with its blank line.
    Ends(usize),
    /// Not yet; the next search begins here.
    Goes(usize),
    /// A line ends in LF alone.
    Bad,
}

/// Looks for the blank line. `from` is where the last search ended, 0 at first.
pub(crate) fn find_end(input: &[u8], from: usize) -> Search {
    for at in memchr::memchr_iter(b'\n', &input[from..]) {
        let line = &input[..from + at];
        if !line.ends_with(b"\r") {
            return Search::Bad;
        }
        if line.ends_with(b"\r\n\r") {
            return Search::Ends(line.len() + 1);
        }
    }
    Search::Goes(input.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_however_the_head_arrives() {
        let head = b"GET / HTTP/1.1\r\nA: b\r\n\r\nbody";
        let end = head.len() - 4;
        let mut from = 0;
        for size in 0..end {
            let Search::Goes(next) = find_end(&head[..size], from) else { panic!("{size}") };
            from = next;
        }
        assert_eq!(find_end(head, from), Search::Ends(end));
        assert_eq!(find_end(head, 0), Search::Ends(end));
    }

    #[test]
    fn a_line_feed_alone_ends_no_line() {
        assert_eq!(find_end(b"GET / HTTP/1.1\n", 0), Search::Bad);
        assert_eq!(find_end(b"GET / HTTP/1.1\r\nA: b\n\r\n", 0), Search::Bad);
    }
}
