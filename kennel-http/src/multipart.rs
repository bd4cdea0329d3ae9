//! `multipart/form-data` (RFC 7578, RFC 2046 5.1) piece by piece: bytes in, events out.
//!
//! The parser keeps no bytes. Its caller does, and never more than a block of headers and a boundary: what
//! [`Parser::read`] leaves in the input is to be there again, with more behind it, at the next call. Lines end in CRLF and
//! nothing else, as every browser writes them; nested multiparts are contents like others. Our own, because those
//! that there are for Rust want an asynchronous stream.

use super::part::{Part, PartError};
use memchr::memmem::{self, Finder};
use thiserror::Error;

/// RFC 2046 allows a boundary no more, bytes.
pub const MAX_BOUNDARY: usize = 70;

/// Why a body is no form.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MultipartError {
    /// The Content-Type has no boundary, two of them, or one that cannot be.
    #[error("the form's Content-Type has no usable boundary")]
    BadBoundary,
    /// The boundary is longer than [`MAX_BOUNDARY`].
    #[error("the form's boundary has {size} bytes, at most {MAX_BOUNDARY} are allowed")]
    LongBoundary {
        /// Its size, bytes.
        size: usize,
    },
    /// No part begins anywhere.
    #[error("the form's boundary is nowhere in the body")]
    NoParts,
    /// Something else stands behind a boundary in its line.
    #[error("a boundary of the form is not alone in its line")]
    BadLine,
    /// The body ends before its last boundary.
    #[error("the form ends before its last boundary")]
    Truncated,
    /// The headers of a part are larger than allowed.
    #[error(
        "the headers of a part of the form have more than {limit} bytes, which `limits.form_header` allows"
    )]
    HeaderTooLarge {
        /// What is allowed, bytes.
        limit: usize,
    },
    /// The headers of a part cannot be used.
    #[error(transparent)]
    Part(#[from] PartError),
}

/// What comes next in a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// A part begins.
    Part(Part),
    /// A piece of its content.
    Data(&'a [u8]),
    /// It is whole.
    PartEnd,
    /// That was the last part. What may follow is no business of ours.
    End,
}

/// Where in a form one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the body's first byte.
    Start,
    /// Before the first boundary, in what nobody reads.
    Preamble,
    /// Behind a boundary, in its line.
    Line,
    /// At a part's headers.
    Headers,
    /// At the empty line behind them. A boundary right behind it ends a part without content.
    EmptyLine,
    /// In its content.
    Content,
    /// Behind the last boundary.
    End,
}

/// Reads a form.
#[derive(Debug, Clone)]
pub struct Parser {
    /// CRLF, two dashes, and the boundary.
    delimiter: Finder<'static>,
    header_limit: usize,
    state: State,
}

impl Parser {
    /// A parser for a body with this boundary, whose parts have headers of at most `header_limit` bytes.
    ///
    /// # Errors
    ///
    /// [`MultipartError::BadBoundary`] and [`MultipartError::LongBoundary`].
    pub fn new(boundary: &[u8], header_limit: usize) -> Result<Self, MultipartError> {
        if boundary.len() > MAX_BOUNDARY {
            return Err(MultipartError::LongBoundary { size: boundary.len() });
        }
        let fits = boundary.iter().all(|b| b.is_ascii_graphic() || *b == b' ');
        if boundary.is_empty() || boundary.ends_with(b" ") || !fits {
            return Err(MultipartError::BadBoundary);
        }
        let delimiter = Finder::new(&[b"\r\n--", boundary].concat()).into_owned();
        Ok(Self { delimiter, header_limit, state: State::Start })
    }

    /// Takes the next event off the front of `input`; `last` says that nothing follows it. `None`: more is needed, and
    /// what is left in `input` has to come again before it.
    ///
    /// # Errors
    ///
    /// [`MultipartError`]; the parser is of no more use then.
    pub fn read<'a>(
        &mut self,
        input: &mut &'a [u8],
        last: bool,
    ) -> Result<Option<Event<'a>>, MultipartError> {
        loop {
            let before = self.state;
            let event = match before {
                State::Start => self.start(input, last),
                State::Preamble => self.preamble(input, last)?,
                State::Line => self.line(input)?,
                State::Headers => self.headers(input)?,
                State::EmptyLine => self.empty_line(input, last),
                State::Content => self.content(input),
                State::End => return Ok(Some(Event::End)),
            };
            if event.is_some() {
                return Ok(event);
            }
            if self.state == before {
                return if last { Err(MultipartError::Truncated) } else { Ok(None) };
            }
        }
    }

    /// The first boundary needs no line's end before it.
    fn start<'a>(&mut self, input: &mut &'a [u8], last: bool) -> Option<Event<'a>> {
        let first = &self.delimiter.needle()[2..];
        if let Some(rest) = input.strip_prefix(first) {
            (*input, self.state) = (rest, State::Line);
        } else if last || !first.starts_with(input) {
            self.state = State::Preamble;
        }
        None
    }

    fn preamble<'a>(
        &mut self,
        input: &mut &'a [u8],
        last: bool,
    ) -> Result<Option<Event<'a>>, MultipartError> {
        match self.delimiter.find(input) {
            Some(at) => {
                *input = &input[at + self.delimiter.needle().len()..];
                self.state = State::Line;
            }
            None if last => return Err(MultipartError::NoParts),
            None => *input = &input[self.certain(input)..],
        }
        Ok(None)
    }

    /// Two dashes end the form; blanks may stand before the line's end.
    fn line<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, MultipartError> {
        if input.starts_with(b"--") {
            self.state = State::End;
            return Ok(Some(Event::End));
        }
        let blanks = input.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let behind = &input[blanks..];
        if let Some(rest) = behind.strip_prefix(b"\r\n") {
            (*input, self.state) = (rest, State::Headers);
        } else if !(b"\r\n".starts_with(behind) || *input == b"-") || blanks > self.header_limit {
            return Err(MultipartError::BadLine);
        }
        Ok(None)
    }

    fn headers<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, MultipartError> {
        // A part without any has no empty line of its own behind them.
        if input.starts_with(b"\r\n") {
            return Err(PartError::NoFormData.into());
        }
        let most = input.len().min(self.header_limit + 4);
        match memmem::find(&input[..most], b"\r\n\r\n") {
            Some(end) => {
                let part = Part::parse(&input[..end])?;
                (*input, self.state) = (&input[end + 2..], State::EmptyLine);
                Ok(Some(Event::Part(part)))
            }
            None if input.len() >= self.header_limit + 4 => {
                Err(MultipartError::HeaderTooLarge { limit: self.header_limit })
            }
            None => Ok(None),
        }
    }

    fn empty_line<'a>(&mut self, input: &mut &'a [u8], last: bool) -> Option<Event<'a>> {
        let delimiter = self.delimiter.needle();
        if let Some(rest) = input.strip_prefix(delimiter) {
            (*input, self.state) = (rest, State::Line);
            return Some(Event::PartEnd);
        }
        if last || !delimiter.starts_with(input) {
            (*input, self.state) = (&input[2..], State::Content);
        }
        None
    }

    fn content<'a>(&mut self, input: &mut &'a [u8]) -> Option<Event<'a>> {
        let size = match self.delimiter.find(input) {
            Some(0) => {
                *input = &input[self.delimiter.needle().len()..];
                self.state = State::Line;
                return Some(Event::PartEnd);
            }
            Some(at) => at,
            None => self.certain(input),
        };
        let (data, rest) = input.split_at(size);
        *input = rest;
        (size > 0).then_some(Event::Data(data))
    }

    /// How many bytes of an input without delimiter cannot belong to one that goes on behind it.
    fn certain(&self, input: &[u8]) -> usize {
        input.len().saturating_sub(self.delimiter.needle().len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Content-Disposition: form-data; name=\"a\"\r\n";

    /// What comes of a body that is read in pieces of this size: parts as `name(filename)=content`, and how it ends.
    fn read(body: &[u8], piece: usize) -> (Vec<String>, Result<(), MultipartError>) {
        let mut parser = Parser::new(b"B", 200).unwrap();
        let (mut held, mut found) = (Vec::new(), Vec::new());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut pieces = body.chunks(piece).peekable();
        loop {
            held.extend_from_slice(pieces.next().unwrap_or_default());
            let (mut input, last) = (&held[..], pieces.peek().is_none());
            loop {
                match parser.read(&mut input, last) {
                    Ok(None) => break,
                    Ok(Some(Event::Part(part))) => {
                        let name =
                            text(&part.filename.map_or(part.name.clone(), |f| [part.name, f].concat()));
                        found.push(name + "=");
                    }
                    Ok(Some(Event::Data(data))) => found.last_mut().unwrap().push_str(&text(data)),
                    Ok(Some(Event::PartEnd)) => found.last_mut().unwrap().push('.'),
                    Ok(Some(Event::End)) => return (found, Ok(())),
                    Err(problem) => return (found, Err(problem)),
                }
            }
            held = input.to_vec();
            assert!(held.len() < 204 + piece, "{} bytes are held", held.len());
        }
    }

    fn read_in_any_pieces(body: &str) -> (Vec<String>, Result<(), MultipartError>) {
        let whole = read(body.as_bytes(), usize::MAX);
        for piece in 1..=body.len().min(80) {
            assert_eq!(read(body.as_bytes(), piece), whole, "in pieces of {piece}: {body:?}");
        }
        whole
    }

    #[test]
    fn parts_come_apart_wherever_the_pieces_are_cut() {
        for (body, expected) in [
            (format!("--B\r\n{HEAD}\r\nx\r\n--B--\r\n"), vec!["a=x."]),
            (format!("--B\r\n{HEAD}\r\n\r\n--B\r\n{HEAD}\r\ny\r\n--B--"), vec!["a=.", "a=y."]),
            ("--B--".to_owned(), vec![]),
            ("--B--\r\nepilogue\r\n--B\r\n".to_owned(), vec![]),
            (format!("preamble --B\r\n--B \t \r\n{HEAD}\r\nx\r\n--B--more"), vec!["a=x."]),
            (format!("\r\n--B\r\n{HEAD}\r\nx\r\n--B--"), vec!["a=x."]),
            // What only looks like a boundary.
            (
                format!("--B\r\n{HEAD}\r\nx--B\n--B\r\n--\r\r\n--\r\n\r\n--B--"),
                vec!["a=x--B\n--B\r\n--\r\r\n--\r\n."],
            ),
            // Without any content.
            (format!("--B\r\n{HEAD}\r\n--B\r\n{HEAD}\r\n--B--"), vec!["a=.", "a=."]),
            // A multipart inside is a content like others.
            (
                format!("--B\r\n{HEAD}\r\n--C\r\n\r\nx\r\n--C--\r\n\r\n--B--"),
                vec!["a=--C\r\n\r\nx\r\n--C--\r\n."],
            ),
        ] {
            let (found, end) = read_in_any_pieces(&body);
            assert_eq!((found, end), (expected.into_iter().map(str::to_owned).collect(), Ok(())), "{body:?}");
        }
    }

    #[test]
    fn what_is_malformed_says_so_wherever_the_pieces_are_cut() {
        let long = "x".repeat(300);
        for (body, problem) in [
            (String::new(), MultipartError::NoParts),
            ("nothing".to_owned(), MultipartError::NoParts),
            (format!("--B\n{HEAD}\nx\n--B--\n"), MultipartError::BadLine),
            (format!("--Bx\r\n{HEAD}\r\nx\r\n--B--"), MultipartError::BadLine),
            (format!("--B\r\n{HEAD}\r\nx\r\n--Boundary"), MultipartError::BadLine),
            (format!("--B\r\n{HEAD}\r\nx\r\n--B-\r\n"), MultipartError::BadLine),
            (format!("--B\r\n{HEAD}\r\n--B\nx\r\n--B--"), MultipartError::BadLine),
            (format!("--B\r\n{HEAD}\r\nx"), MultipartError::Truncated),
            (format!("--B\r\n{HEAD}\r\nx\r\n--B"), MultipartError::Truncated),
            (format!("--B\r\n{HEAD}\r\nx\r\n--B-"), MultipartError::Truncated),
            (format!("--B\r\n{HEAD}"), MultipartError::Truncated),
            ("--B\r\n\r\nx\r\n--B--".to_owned(), PartError::NoFormData.into()),
            (
                format!("--B\r\n{HEAD}X: {long}\r\n\r\nx\r\n--B--"),
                MultipartError::HeaderTooLarge { limit: 200 },
            ),
            (format!("--B\r\n{long}"), MultipartError::HeaderTooLarge { limit: 200 }),
            (format!("--B{}", " ".repeat(300)), MultipartError::BadLine),
        ] {
            assert_eq!(read_in_any_pieces(&body).1, Err(problem), "{body:?}");
        }
    }

    #[test]
    fn a_boundary_is_text_of_at_most_70_bytes() {
        for boundary in ["x", "----WebKitFormBoundaryAbc", "a b", "'()+_,-./:=?", &"x".repeat(70)] {
            assert!(Parser::new(boundary.as_bytes(), 1).is_ok(), "{boundary}");
        }
        let long = Parser::new(&[b'x'; 71], 1).unwrap_err();
        assert_eq!(long.to_string(), "the form's boundary has 71 bytes, at most 70 are allowed");
        for boundary in [&b""[..], b"a ", b"a\r\n", b"a\0", b"\xff"] {
            assert_eq!(Parser::new(boundary, 1).unwrap_err(), MultipartError::BadBoundary);
        }
    }
}
