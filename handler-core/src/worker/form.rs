//! The form of a request, for workers of any language: its body is read once, in pieces if it is in a file.

use super::body::{BodyError, is_arriving, open_spool};
use super::protocol::Order;
use kennel_http::forms::{self, Form, FormError, FormKind, FormLimits, MultipartReader};
use mongrel2_wire::{Envelope, Text};
use std::fs::File;
use std::io::{self, Read};
use thiserror::Error;

/// How much of a file is read at once, bytes.
const PIECE: usize = 256 << 10;

/// Why a form cannot be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FormFailure {
    /// The client's fault, answered with [`FormError::status`].
    #[error(transparent)]
    Refused(#[from] FormError),
    /// Ours: the file that has the body.
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl From<io::Error> for FormFailure {
    fn from(problem: io::Error) -> Self {
        Self::Body(problem.into())
    }
}

/// The form that a job's body is; one without fields when there is no body, or it is something else. `beat` is called
/// while a large one is read: its reader is at work and does not hang.
///
/// # Errors
///
/// [`FormFailure`].
pub fn read(job: &[u8], limits: &FormLimits, beat: impl FnMut()) -> Result<Form, FormFailure> {
    let Ok(Order::Job { message, .. }) = Order::read_job(job) else { return Ok(Form::default()) };
    let Ok(envelope) = Envelope::parse(message) else { return Ok(Form::default()) };
    let content_type = envelope.headers.get(b"content-type").and_then(|values| values.first());
    let content_type = content_type.map(Text::bytes).unwrap_or_default();
    if is_arriving(job) {
        return Err(BodyError::Arriving.into());
    }
    let spool = open_spool(job)?;
    if spool.is_none() && envelope.body.is_empty() {
        return Ok(Form::default());
    }
    match (forms::kind(&content_type)?, spool) {
        (FormKind::Other, _) => Ok(Form::default()),
        (FormKind::Urlencoded, None) => Ok(forms::read_urlencoded(envelope.body, &content_type, limits)?),
        (FormKind::Urlencoded, Some((_, size))) if size > limits.memory as u64 => {
            Err(FormError::TooLarge { limit: limits.memory }.into())
        }
        (FormKind::Urlencoded, Some((file, size))) => {
            let mut body = Vec::with_capacity(size as usize);
            file.take(size).read_to_end(&mut body)?;
            Ok(forms::read_urlencoded(&body, &content_type, limits)?)
        }
        (FormKind::Multipart(boundary), None) => {
            let mut reader = MultipartReader::new(&boundary, limits)?;
            reader.read(envelope.body, true)?;
            Ok(reader.finish()?)
        }
        (FormKind::Multipart(boundary), Some((file, size))) => {
            let mut reader = MultipartReader::new(&boundary, limits)?;
            read_file(&mut reader, file.take(size), limits, beat)?;
            Ok(reader.finish()?)
        }
    }
}

/// Reads until the form's end, with a buffer that always has room for more than the reader leaves behind.
fn read_file(
    reader: &mut MultipartReader,
    mut file: io::Take<File>,
    limits: &FormLimits,
    mut beat: impl FnMut(),
) -> Result<(), FormFailure> {
    let mut buffer = vec![0; PIECE.max(2 * MultipartReader::window(limits))];
    let mut have = 0;
    while !reader.is_over() {
        let count = match file.read(&mut buffer[have..]) {
            Err(problem) if problem.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        have += count;
        let taken = reader.read(&buffer[..have], count == 0)?;
        buffer.copy_within(taken..have, 0);
        have -= taken;
        beat();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::protocol::{FRAME_HEAD, Handler, encode_job};
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    const MULTIPART: &str = "multipart/form-data; boundary=B";
    const URLENCODED: &str = "application/x-www-form-urlencoded";

    /// The form of a job whose body is in its message, or in a file.
    fn read_job(content_type: &str, body: &[u8], spool: Option<&Path>) -> Result<Form, FormFailure> {
        let headers = format!(r#"{{"content-type":"{content_type}"}}"#);
        let in_message = if spool.is_some() { &b""[..] } else { body };
        let mut message = format!("m2 1 / {}:{headers},{}:", headers.len(), in_message.len()).into_bytes();
        message.extend_from_slice(in_message);
        message.push(b',');
        let spool = spool.map_or(&b""[..], |path| {
            std::fs::write(path, body).unwrap();
            path.as_os_str().as_bytes()
        });
        let mut job = Vec::new();
        encode_job(&mut job, 1, Handler::Route(0), "", [].into_iter(), spool, &message);
        read(&job[FRAME_HEAD..], &FormLimits::default(), || {})
    }

    #[test]
    fn a_form_is_the_same_in_memory_and_in_a_file() {
        let file = std::env::temp_dir().join(format!("kennel-form-{}", std::process::id()));
        let content = "x\r\n--".repeat(200_000);
        let head = "--B\r\nContent-Disposition: form-data; name=";
        let multipart = format!("{head}a\r\n\r\n1\r\n{head}f; filename=x\r\n\r\n{content}\r\n--B--\r\n");
        for (content_type, body) in [(MULTIPART, multipart.as_str()), (URLENCODED, "a=1")] {
            let form = read_job(content_type, body.as_bytes(), None).unwrap();
            assert_eq!(read_job(content_type, body.as_bytes(), Some(&file)).unwrap(), form);
            assert_eq!(form.fields, [(b"a".to_vec(), b"1".to_vec())]);
            for found in form.files {
                assert_eq!(&body[found.place.start as usize..found.place.end as usize], content);
            }
        }
        for (content_type, size) in [(URLENCODED, 5 << 20), (MULTIPART, 100)] {
            let refused = read_job(content_type, &vec![b'x'; size], Some(&file)).unwrap_err();
            assert!(matches!(refused, FormFailure::Refused(_)), "{refused}");
        }
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn what_is_no_form_has_no_fields() {
        for (content_type, body) in [("text/plain", "a=1"), ("", "a=1"), (MULTIPART, ""), (URLENCODED, "")] {
            assert_eq!(read_job(content_type, body.as_bytes(), None).unwrap(), Form::default());
        }
    }
}
