//! `<body/>`: the element that each request and each answer is.

use super::element;
use super::markup::{Fault, Piece, Walk, decode, is_blank, local, prefix};
use super::{Condition, NAMESPACE};
use std::borrow::Cow;
use std::ops::Range;

/// The largest `rid`, 2^53 - 1: what every language counts exactly (XEP-0124, 14.1).
pub const MAX_RID: u64 = (1 << 53) - 1;

/// Elements that one body may carry.
const MAX_ELEMENTS: usize = 30_000;

/// Why bytes are no body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// More than the limit.
    #[error("{size} bytes, and at most {max} are taken")]
    TooLarge {
        /// Bytes that came.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// Something else than UTF-8.
    #[error("byte {at}: no UTF-8")]
    NotUtf8 {
        /// Where it ends to be.
        at: usize,
    },
    /// Not well-formed, or of XML's parts one that BOSH does not take.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// An element of another name or namespace.
    #[error("the element is no `body` of `{NAMESPACE}`")]
    NotBody,
    /// More elements in it than any client sends.
    #[error("more than {MAX_ELEMENTS} elements")]
    TooMany,
}

/// Bytes that are no body, and whose they were as far as that can be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no BOSH body: {why}")]
pub struct BodyError {
    /// What is wrong.
    pub why: Unreadable,
    /// The session that it was meant for, when the start tag could be read.
    pub sid: Option<Box<str>>,
}

/// A request that was read: what its start tag says, and where its elements are.
#[derive(Debug, Clone)]
pub struct Body<'a> {
    input: &'a str,
    /// Those without prefix, and `xml:lang`; decoded.
    attributes: Vec<(&'a str, Cow<'a, str>)>,
    /// `xmlns` attributes that elements may need when they stand alone, as they are written.
    declarations: Vec<(&'a str, &'a str)>,
    elements: Vec<Element>,
}

/// One element of a body.
#[derive(Debug, Clone)]
struct Element {
    place: Range<usize>,
    /// Offset behind its name.
    name_end: usize,
    /// Which of the body's declarations it makes use of, a bit each.
    uses: u64,
}

impl<'a> Body<'a> {
    /// Reads the body of a request, of at most `max` bytes.
    ///
    /// # Errors
    ///
    /// [`BodyError`] for whatever is no `<body/>` of this protocol: to be answered by [`Session::refuse`] when it
    /// names a session, and by [`Refusal::unreadable`] otherwise.
    ///
    /// [`Refusal::unreadable`]: super::Refusal::unreadable
    /// [`Session::refuse`]: super::Session::refuse
    pub fn parse(bytes: &'a [u8], max: usize) -> Result<Self, BodyError> {
        let fail = |why| Err(BodyError { why, sid: None });
        if bytes.len() > max {
            return fail(Unreadable::TooLarge { size: bytes.len(), max });
        }
        let input = match std::str::from_utf8(bytes) {
            Ok(input) => input.strip_prefix('\u{feff}').unwrap_or(input),
            Err(problem) => return fail(Unreadable::NotUtf8 { at: problem.valid_up_to() }),
        };
        let mut body = Self { input, attributes: Vec::new(), declarations: Vec::new(), elements: Vec::new() };
        match body.read() {
            Ok(()) => Ok(body),
            Err(why) => Err(BodyError { why, sid: body.sid().map(Box::from) }),
        }
    }

    fn read(&mut self) -> Result<(), Unreadable> {
        let mut walk = Walk::new(self.input)?;
        while let Some(piece) = walk.next()? {
            match piece {
                Piece::Open { name, attributes, .. } if walk.depth() == 1 => {
                    let space = walk.namespace(prefix(name).unwrap_or_default());
                    if local(name) != "body" || space.is_none_or(|(_, space)| space != NAMESPACE) {
                        return Err(Unreadable::NotBody);
                    }
                    for attribute in attributes {
                        let value = decode(attribute.value).unwrap_or_default();
                        if let Some(declared) = attribute.declares() {
                            // The namespace of the wrapper itself is no concern of what is in it.
                            if !declared.is_empty() || (value != NAMESPACE && !value.is_empty()) {
                                self.declarations.push((declared, attribute.text));
                            }
                        } else if !attribute.name.contains(':') || attribute.name == "xml:lang" {
                            self.attributes.push((attribute.name, value));
                        }
                    }
                }
                Piece::Open { name, attributes, at } => {
                    if walk.depth() == 2 {
                        if self.elements.len() == MAX_ELEMENTS {
                            return Err(Unreadable::TooMany);
                        }
                        let name_end = at + 1 + name.len();
                        self.elements.push(Element { place: at..at, name_end, uses: 0 });
                    }
                    self.mark(&walk, prefix(name).unwrap_or_default());
                    for attribute in attributes {
                        match prefix(attribute.name) {
                            Some("" | "xmlns") | None => {}
                            Some(prefix) => self.mark(&walk, prefix),
                        }
                    }
                }
                Piece::Close { end } => {
                    if let (1, Some(element)) = (walk.depth(), self.elements.last_mut()) {
                        element.place.end = end;
                    }
                }
                Piece::Text { .. } | Piece::Character(_) if walk.depth() > 1 => {}
                Piece::Text { text, cdata: false } if is_blank(text) => {}
                Piece::Text { .. } | Piece::Character(_) => {
                    let at = self.elements.last().map_or(0, |element| element.place.end);
                    return Err(Fault { at, what: "text between the elements" }.into());
                }
            }
        }
        Ok(())
    }

    /// Notes that the last element makes use of a declaration of the body's.
    fn mark(&mut self, walk: &Walk<'_>, prefix: &str) {
        if !matches!(walk.namespace(prefix), Some((1, _))) {
            return;
        }
        let number = self.declarations.iter().position(|(declared, _)| *declared == prefix);
        if let (Some(number), Some(element)) = (number, self.elements.last_mut()) {
            element.uses |= 1 << number;
        }
    }

    /// An attribute of the wrapper, decoded.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value)
    }

    /// The session that it belongs to.
    pub fn sid(&self) -> Option<&str> {
        self.attribute("sid")
    }

    /// Whether it asks for a new session.
    pub fn is_opening(&self) -> bool {
        self.sid().is_none()
    }

    /// Whether the client names the version that it speaks. One that does not is of the time when errors were HTTP
    /// status codes.
    pub fn has_version(&self) -> bool {
        self.attribute("ver").is_some()
    }

    /// The domain that a session is asked for with.
    pub fn to(&self) -> Option<&str> {
        self.attribute("to")
    }

    /// Who says to ask for a session.
    pub fn from(&self) -> Option<&str> {
        self.attribute("from")
    }

    /// The server that a proxy is asked to connect to, `proto:host:port`. It is no URI.
    pub fn route(&self) -> Option<&str> {
        self.attribute("route")
    }

    /// The language of texts.
    pub fn lang(&self) -> Option<&str> {
        self.attribute("xml:lang")
    }

    /// How many elements it carries.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether it carries none.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// Its elements as messages, in order: what our own elements wrap is unwrapped ([`element::unwrap`]), others are
    /// texts that stand alone: a namespace that the body declares for them is declared by themselves. The
    /// wrapper's own namespace as default is not.
    pub fn messages(&self) -> impl Iterator<Item = (bool, Vec<u8>)> {
        self.elements.iter().map(|element| {
            let text = self.standing_alone(element);
            element::unwrap(&text).unwrap_or_else(|| (false, text.into_owned().into_bytes()))
        })
    }

    fn standing_alone(&self, element: &Element) -> Cow<'a, str> {
        if element.uses == 0 {
            return Cow::Borrowed(&self.input[element.place.clone()]);
        }
        let mut text = self.input[element.place.start..element.name_end].to_owned();
        for (number, (_, declaration)) in self.declarations.iter().enumerate() {
            if element.uses & (1 << number) != 0 {
                text.push(' ');
                text.push_str(declaration);
            }
        }
        text.push_str(&self.input[element.name_end..element.place.end]);
        Cow::Owned(text)
    }

    /// The bytes that it was read from.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.input.as_bytes()
    }

    /// A number among the attributes, at most 2^53 - 1.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Condition> {
        let Some(text) = self.attribute(name) else { return Ok(None) };
        let digits = text.trim_matches([' ', '\t', '\n', '\r']);
        let digits = digits.strip_prefix('+').unwrap_or(digits);
        let number = digits.bytes().try_fold(0_u64, |number, digit| {
            let digit = digit.is_ascii_digit().then_some(u64::from(digit.wrapping_sub(b'0')))?;
            Some(number * 10 + digit).filter(|number| *number <= MAX_RID)
        });
        match number {
            Some(number) if !digits.is_empty() => Ok(Some(number)),
            _ => Err(Condition::BadRequest),
        }
    }

    /// The request's number: there must be one, and it is positive.
    pub(super) fn rid(&self) -> Result<u64, Condition> {
        self.number("rid")?.filter(|rid| *rid > 0).ok_or(Condition::BadRequest)
    }
}
