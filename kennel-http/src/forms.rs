//! Forms as browsers send them: `application/x-www-form-urlencoded` and `multipart/form-data`.
//!
//! Fields come out as names and values. Files do not come out at all: what is known of one is its place in the body, and the
//! body is in memory or in a file already. So a form of any size needs the memory of its fields and nothing more, and leaves
//! nothing behind. What a form may have is bounded ([`FormLimits`]).

use super::charset::{self, CharsetError};
use super::multipart::{Event, MultipartError, Parser};
use super::part::{Part, base_name};
use super::{parameters, query};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use thiserror::Error;

/// The bounds of one form; `kennel.toml` has them under `[limits]` as `form_` and these names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormLimits {
    /// Fields and files together.
    pub parts: usize,
    /// The value of one field, bytes.
    pub field: usize,
    /// The headers of one part of a multipart form, bytes.
    pub header: usize,
    /// All names and values together, bytes. Contents of files do not count.
    pub memory: usize,
}

impl Default for FormLimits {
    fn default() -> Self {
        Self { parts: 1000, field: 1 << 20, header: 16 << 10, memory: 4 << 20 }
    }
}

/// A form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form {
    /// Names and values, in the order in which they came. UTF-8 unless their sender did otherwise and did not say so.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Its files, in the order in which they came.
    pub files: Vec<SentFile>,
}

/// A file within a form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SentFile {
    /// The name of its field.
    pub name: Vec<u8>,
    /// What it was called, without folders and control characters; may be empty.
    pub filename: Vec<u8>,
    /// What its sender says that it is, `image/png`; empty when it does not say.
    pub content_type: Vec<u8>,
    /// Its content's place in the body, bytes.
    pub place: Range<u64>,
}

/// Why a form is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FormError {
    /// It is malformed.
    #[error(transparent)]
    Multipart(#[from] MultipartError),
    /// A field is no text of the charset that its sender declares.
    #[error("a field of the form is not what it says: {0}")]
    Charset(#[from] CharsetError),
    /// It has too many fields and files.
    #[error("the form has more than {limit} fields and files, which `limits.form_parts` allows")]
    TooMany {
        /// What is allowed.
        limit: usize,
    },
    /// The value of a field is too large.
    #[error("the field `{name}` of the form has more than {limit} bytes, which `limits.form_field` allows")]
    FieldTooLarge {
        /// The field.
        name: String,
        /// What is allowed, bytes.
        limit: usize,
    },
    /// All fields together are too large.
    #[error("the fields of the form have more than {limit} bytes, which `limits.form_memory` allows")]
    TooLarge {
        /// What is allowed, bytes.
        limit: usize,
    },
}

impl FormError {
    /// The status of the answer: 413 when a limit was hit, 400 otherwise.
    pub fn status(&self) -> u16 {
        match self {
            Self::TooMany { .. } | Self::FieldTooLarge { .. } | Self::TooLarge { .. } => 413,
            Self::Multipart(MultipartError::HeaderTooLarge { .. }) => 413,
            Self::Multipart(_) | Self::Charset(_) => 400,
        }
    }
}

/// What a Content-Type says of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormKind {
    /// `application/x-www-form-urlencoded`.
    Urlencoded,
    /// `multipart/form-data` with this boundary.
    Multipart(Vec<u8>),
    /// No form.
    Other,
}

/// Which kind of form a body with this Content-Type is.
///
/// # Errors
///
/// When it is a multipart form and its boundary cannot be read.
pub fn kind(content_type: &[u8]) -> Result<FormKind, FormError> {
    let (kind, parameters) = parameters::split(content_type);
    if kind.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        return Ok(FormKind::Urlencoded);
    }
    if !kind.eq_ignore_ascii_case(b"multipart/form-data") {
        return Ok(FormKind::Other);
    }
    match parameters.only(b"boundary") {
        Ok(Some(boundary)) => Ok(FormKind::Multipart(boundary.into_owned())),
        Ok(None) | Err(parameters::Malformed) => Err(MultipartError::BadBoundary.into()),
    }
}

/// Reads a body of `application/x-www-form-urlencoded`. There is no malformed one: what is no escape stays what it is.
///
/// # Errors
///
/// [`FormError`] when a limit is hit, or the declared charset does not fit.
pub fn read_urlencoded(body: &[u8], content_type: &[u8], limits: &FormLimits) -> Result<Form, FormError> {
    if body.len() > limits.memory {
        return Err(FormError::TooLarge { limit: limits.memory });
    }
    let mut budget = Budget::new(limits);
    let mut form = Form::default();
    for (name, value) in query::pairs(body) {
        budget.part()?;
        budget.field(&name, value.len())?;
        budget.spend(name.len() + value.len())?;
        form.fields.push((name.into_owned(), value.into_owned()));
    }
    let declared = charset_of(content_type).or_else(|| form.charset());
    if let Some(declared) = declared {
        for (name, value) in &mut form.fields {
            transcode(name, &declared)?;
            transcode(value, &declared)?;
        }
    }
    Ok(form)
}

/// Reads a body of `multipart/form-data`, piece by piece.
#[derive(Debug)]
pub struct MultipartReader {
    parser: Parser,
    budget: Budget,
    form: Form,
    /// The charset that each field declares for itself.
    charsets: Vec<Option<Vec<u8>>>,
    part: Option<Open>,
    /// How many bytes of the body were taken.
    taken: u64,
    over: bool,
}

/// The part that is being read.
#[derive(Debug)]
struct Open {
    part: Part,
    value: Vec<u8>,
    /// Its content's place so far.
    place: Range<u64>,
}

impl MultipartReader {
    /// A reader for a body with this boundary.
    ///
    /// # Errors
    ///
    /// When the boundary cannot be one.
    pub fn new(boundary: &[u8], limits: &FormLimits) -> Result<Self, FormError> {
        Ok(Self {
            parser: Parser::new(boundary, limits.header)?,
            budget: Budget::new(limits),
            form: Form::default(),
            charsets: Vec::new(),
            part: None,
            taken: 0,
            over: false,
        })
    }

    /// The most that is left behind by [`read`](Self::read), bytes: an input of more makes it go on.
    pub fn window(limits: &FormLimits) -> usize {
        limits.header + 256
    }

    /// Takes what it can off the front of the body's next bytes and says how many that were; the others have to come again
    /// before what follows them. `last`: nothing follows.
    ///
    /// # Errors
    ///
    /// [`FormError`]; the reader is of no more use then.
    pub fn read(&mut self, bytes: &[u8], last: bool) -> Result<usize, FormError> {
        let mut input = bytes;
        while !self.over {
            let Some(event) = self.parser.read(&mut input, last)? else { break };
            let at = self.taken + (bytes.len() - input.len()) as u64;
            self.handle(event, at)?;
        }
        let taken = bytes.len() - input.len();
        self.taken += taken as u64;
        Ok(taken)
    }

    /// Whether the form's end was read; what may follow it needs no reading.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// The form, once its end was read.
    ///
    /// # Errors
    ///
    /// When a field is no text of the charset that was declared for it.
    pub fn finish(mut self) -> Result<Form, FormError> {
        let default = self.form.charset();
        for ((name, value), own) in self.form.fields.iter_mut().zip(&self.charsets) {
            if let Some(declared) = &default {
                transcode(name, declared)?;
            }
            if let Some(declared) = own.as_ref().or(default.as_ref()) {
                transcode(value, declared)?;
            }
        }
        for file in &mut self.form.files {
            if let Some(declared) = &default {
                transcode(&mut file.name, declared)?;
                transcode(&mut file.filename, declared)?;
            }
            // Only now is it text: in some charsets a slash's byte is half of another letter.
            file.filename = base_name(&file.filename).into_owned();
        }
        Ok(self.form)
    }

    /// `at` is the place in the body behind the event.
    fn handle(&mut self, event: Event<'_>, at: u64) -> Result<(), FormError> {
        match event {
            Event::Part(part) => {
                self.budget.part()?;
                let filename = part.filename.as_ref().map_or(0, Vec::len);
                self.budget.spend(part.name.len() + filename + part.content_type.len())?;
                self.part = Some(Open { part, value: Vec::new(), place: at..at });
            }
            Event::Data(data) => {
                let Some(open) = &mut self.part else { return Ok(()) };
                if open.place.is_empty() {
                    open.place.start = at - data.len() as u64;
                }
                open.place.end = at;
                if open.part.filename.is_none() {
                    self.budget.field(&open.part.name, open.value.len() + data.len())?;
                    self.budget.spend(data.len())?;
                    open.value.extend_from_slice(data);
                }
            }
            Event::PartEnd => {
                let Some(Open { part, value, place }) = self.part.take() else { return Ok(()) };
                match part.filename {
                    None => {
                        self.charsets.push(charset_of(&part.content_type));
                        self.form.fields.push((part.name, value));
                    }
                    // Nobody has chosen a file.
                    Some(filename) if filename.is_empty() && place.is_empty() => {}
                    Some(filename) => self.form.files.push(SentFile {
                        name: part.name,
                        filename,
                        content_type: part.content_type,
                        place,
                    }),
                }
            }
            Event::End => self.over = true,
        }
        Ok(())
    }
}

impl Form {
    /// What the field `_charset_` declares (RFC 7578, 4.6).
    fn charset(&self) -> Option<Vec<u8>> {
        let (_, value) = self.fields.iter().find(|(name, _)| name == b"_charset_")?;
        (!value.is_empty()).then(|| value.clone())
    }
}

/// The parameter `charset` of a Content-Type.
fn charset_of(content_type: &[u8]) -> Option<Vec<u8>> {
    let found = parameters::split(content_type).1.only(b"charset").ok()??;
    Some(found.into_owned())
}

fn transcode(bytes: &mut Vec<u8>, label: &[u8]) -> Result<(), FormError> {
    if let Some(text) = charset::to_utf8(bytes, label)? {
        *bytes = text.into_bytes();
    }
    Ok(())
}

/// What a form may still have.
#[derive(Debug)]
struct Budget {
    limits: FormLimits,
    parts: usize,
    spent: usize,
}

impl Budget {
    fn new(limits: &FormLimits) -> Self {
        Self { limits: limits.clone(), parts: 0, spent: 0 }
    }

    fn part(&mut self) -> Result<(), FormError> {
        self.parts += 1;
        match self.parts > self.limits.parts {
            true => Err(FormError::TooMany { limit: self.limits.parts }),
            false => Ok(()),
        }
    }

    fn field(&self, name: &[u8], size: usize) -> Result<(), FormError> {
        let limit = self.limits.field;
        match size > limit {
            true => {
                let name = name[..name.len().min(80)].escape_ascii().to_string();
                Err(FormError::FieldTooLarge { name, limit })
            }
            false => Ok(()),
        }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), FormError> {
        self.spent += bytes;
        match self.spent > self.limits.memory {
            true => Err(FormError::TooLarge { limit: self.limits.memory }),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
