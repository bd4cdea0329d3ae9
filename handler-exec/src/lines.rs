//! Bytes of a pipe to lines, with a bound for each.

use memchr::memchr;

/// A line that is longer than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// What came of a line that is not whole yet.
#[derive(Debug)]
pub(crate) struct Lines {
    begun: Vec<u8>,
    /// The longest line, bytes.
    most: usize,
}

impl Lines {
    pub(crate) fn new(most: usize) -> Self {
        Self { begun: Vec::new(), most }
    }

    /// Takes the next bytes and gives each line that is whole now to `each`, without its end.
    ///
    /// # Errors
    ///
    /// [`TooLong`]: nothing that follows can be read as lines.
    pub(crate) fn take(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), TooLong> {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end);
            bytes = &rest[1..];
            if self.begun.len() + line.len() > self.most {
                return Err(TooLong);
            }
            if self.begun.is_empty() {
                each(without_return(line));
            } else {
                self.begun.extend_from_slice(line);
                each(without_return(&self.begun));
                self.begun.clear();
                self.begun.shrink_to(64 << 10);
            }
        }
        if self.begun.len() + bytes.len() > self.most {
            return Err(TooLong);
        }
        self.begun.extend_from_slice(bytes);
        Ok(())
    }

    /// The same for text that only people read: what is too long is cut into several lines.
    pub(crate) fn take_cut(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        for piece in bytes.chunks(self.most.max(1)) {
            if self.take(piece, &mut each) == Err(TooLong) {
                each(&self.begun);
                self.begun.clear();
                // It is no longer than a line may be, so it fits.
                let _ = self.take(piece, &mut each);
            }
        }
    }

    /// What there is of a line that never ended.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.begun
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lines: &mut Lines, bytes: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        lines.take(bytes, |line| found.push(String::from_utf8_lossy(line).into_owned())).unwrap();
        found
    }

    #[test]
    fn lines_are_the_same_however_they_are_cut() {
        let text = b"one\n\ntwo\r\nthree";
        for cut in 0..=text.len() {
            let mut lines = Lines::new(5);
            let mut found = all(&mut lines, &text[..cut]);
            found.extend(all(&mut lines, &text[cut..]));
            assert_eq!(found, ["one", "", "two"], "cut at {cut}");
            assert_eq!(lines.rest(), b"three");
        }
    }

    #[test]
    fn a_line_beyond_the_bound_is_an_error_whether_or_not_it_ends() {
        assert_eq!(Lines::new(3).take(b"four", |_| {}), Err(TooLong));
        assert_eq!(Lines::new(3).take(b"four\n", |_| {}), Err(TooLong));
        let mut lines = Lines::new(3);
        assert_eq!(lines.take(b"fo", |_| {}), Ok(()));
        assert_eq!(lines.take(b"ur\n", |_| {}), Err(TooLong));
    }

    #[test]
    fn long_text_for_people_is_cut() {
        let mut lines = Lines::new(4);
        let mut found = Vec::new();
        lines.take_cut(b"abcdefghij\nxy", |line| found.push(String::from_utf8_lossy(line).into_owned()));
        assert_eq!(found.concat(), "abcdefghij");
        assert!(found.iter().all(|line| line.len() <= 4));
        assert_eq!(lines.rest(), b"xy");
    }
}
