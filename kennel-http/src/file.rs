//! What a request for a file is answered with: all of it, some of it, or nothing because the client has it.
//!
//! This is the calculation only; reading the file is the caller's part.

use super::compression::{LARGEST, THRESHOLD};
use super::preconditions::{self, State, Verdict};
use super::ranges::{self, Span, Wanted};
use super::validators::EntityTag;
use super::{dates, media_types};
use mongrel2_wire::Headers;

/// A file that was changed so few seconds ago may change again without a trace in its time.
const SETTLED_AFTER: u64 = 2;

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Its size, bytes.
    pub size: u64,
    /// When it was last changed: seconds since 1970, and nanoseconds. `None`: the file system does not know, or it was
    /// before.
    pub modified: Option<(u64, u32)>,
    /// The time now, seconds since 1970.
    pub now: u64,
    /// Its Content-Type.
    pub content_type: &'a [u8],
}

/// A part of the answer's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A part of the file.
    Span(Span),
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// 200, 206, 304, 412 or 416.
    pub status: u16,
    /// What its head says of the file; no Content-Length. Where Content-Type is missing there is none.
    pub head: Vec<(&'static str, Vec<u8>)>,
    /// The body, in order.
    pub parts: Vec<Part>,
    /// How long that is in all, bytes.
    pub length: u64,
}

impl Facts<'_> {
    fn is_settled(&self) -> bool {
        self.modified.is_some_and(|(seconds, _)| seconds.saturating_add(SETTLED_AFTER) <= self.now)
    }

    fn tag(&self) -> String {
        let (seconds, nanos) = self.modified.unwrap_or_default();
        format!("{seconds:x}.{nanos:x}-{:x}", self.size)
    }
}

/// Plans the answer to a request. Conditions and ranges are those of GET, and HEAD has the same conditions; with
/// another method, or when it is not `conditional`, the answer is the whole file. `boundary` stands between the parts of
/// an answer to several ranges, and must not be in the file.
pub fn plan(
    headers: &Headers<'_>,
    method: &[u8],
    conditional: bool,
    facts: &Facts<'_>,
    boundary: impl FnOnce() -> String,
) -> Plan {
    let settled = facts.is_settled();
    let opaque = facts.tag();
    let tag = EntityTag { weak: !settled, opaque: opaque.as_bytes() };
    // A date in the future is none (RFC 9110, 8.8.2.1).
    let modified = facts.modified.map(|(seconds, _)| seconds.min(facts.now));
    let mut head = vec![("ETag", tag.to_string().into_bytes())];
    if let Some(modified) = modified {
        head.push(("Last-Modified", dates::format(modified).into_bytes()));
    }
    if media_types::is_text(facts.content_type) && (THRESHOLD as u64..=LARGEST as u64).contains(&facts.size) {
        head.push(("Vary", b"Accept-Encoding".to_vec()));
    }
    let (is_get, is_head) = (method == b"GET", method == b"HEAD");
    let verdict = match conditional && (is_get || is_head) {
        true => preconditions::weigh(headers, &State { tag, modified, settled }),
        false => Verdict::Perform { ranges: false },
    };
    let wanted = match verdict {
        Verdict::NotModified => return Plan { status: 304, head, parts: Vec::new(), length: 0 },
        Verdict::Failed => return page(412, "412 Precondition Failed\n", Vec::new()),
        Verdict::Perform { ranges: true } if is_get => {
            let range = headers.get(b"range").and_then(|values| values.single());
            range.map_or(Wanted::Whole, |range| ranges::parse(&range.bytes(), facts.size))
        }
        Verdict::Perform { .. } => Wanted::Whole,
    };
    if conditional {
        head.push(("Accept-Ranges", b"bytes".to_vec()));
    }
    match wanted {
        Wanted::Nothing => {
            let range = format!("bytes */{}", facts.size).into_bytes();
            page(416, "416 Range Not Satisfiable\n", vec![("Content-Range", range)])
        }
        Wanted::Whole => {
            head.push(("Content-Type", facts.content_type.to_vec()));
            let whole = Span { start: 0, length: facts.size };
            let parts = if facts.size > 0 { vec![Part::Span(whole)] } else { Vec::new() };
            Plan { status: 200, head, parts, length: facts.size }
        }
        Wanted::Spans(spans) => match spans[..] {
            [span] => {
                head.push(("Content-Type", facts.content_type.to_vec()));
                head.push(("Content-Range", content_range(span, facts.size).into_bytes()));
                Plan { status: 206, head, parts: vec![Part::Span(span)], length: span.length }
            }
            _ => several(head, &spans, facts, &boundary()),
        },
    }
}

/// A page in place of the file.
fn page(status: u16, text: &str, mut head: Vec<(&'static str, Vec<u8>)>) -> Plan {
    head.push(("Content-Type", b"text/plain; charset=utf-8".to_vec()));
    Plan { status, head, parts: vec![Part::Bytes(text.into())], length: text.len() as u64 }
}

/// Several ranges in one answer (RFC 9110, 14.6).
fn several(
    mut head: Vec<(&'static str, Vec<u8>)>,
    spans: &[Span],
    facts: &Facts<'_>,
    boundary: &str,
) -> Plan {
    let mut parts = Vec::with_capacity(2 * spans.len() + 1);
    for span in spans {
        let mut between = format!("\r\n--{boundary}\r\nContent-Type: ").into_bytes();
        between.extend_from_slice(facts.content_type);
        let range = content_range(*span, facts.size);
        between.extend_from_slice(format!("\r\nContent-Range: {range}\r\n\r\n").as_bytes());
        parts.push(Part::Bytes(between));
        parts.push(Part::Span(*span));
    }
    parts.push(Part::Bytes(format!("\r\n--{boundary}--\r\n").into()));
    let length = parts.iter().map(Part::length).sum();
    head.push(("Content-Type", format!("multipart/byteranges; boundary={boundary}").into()));
    Plan { status: 206, head, parts, length }
}

impl Part {
    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Span(span) => span.length,
        }
    }
}

fn content_range(span: Span, size: u64) -> String {
    format!("bytes {}-{}/{size}", span.start, span.last())
}

/// The value of a Content-Disposition that has the client store the body under this name, UTF-8 (RFC 6266). Characters
/// that no name should have become `_`.
pub fn attachment(name: &str) -> String {
    let plain = |c: char| !c.is_control() && !matches!(c, '/' | '\\');
    let name: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    let simple: String = name.chars().map(|c| if c.is_ascii() && c != '"' { c } else { '_' }).collect();
    let mut value = format!("attachment; filename=\"{simple}\"");
    if simple != name {
        value.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                value.push(byte as char);
            } else {
                value.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongrel2_wire::Envelope;

    fn planned(method: &str, headers: &[(&str, &str)], size: u64) -> Plan {
        let facts =
            Facts { size, modified: Some((784_111_777, 5)), now: 784_111_800, content_type: b"text/plain" };
        planned_of(method, headers, &facts)
    }

    fn planned_of(method: &str, headers: &[(&str, &str)], facts: &Facts<'_>) -> Plan {
        let pairs =
            headers.iter().map(|(name, value)| format!(r#""{name}":"{}""#, value.replace('"', "\\\"")));
        let block = format!("{{{}}}", pairs.collect::<Vec<_>>().join(","));
        let message = format!("m2 1 / {}:{block},0:,", block.len());
        let envelope = Envelope::parse(message.as_bytes()).unwrap();
        plan(&envelope.headers, method.as_bytes(), true, facts, || "cut".into())
    }

    fn says(plan: &Plan, name: &str) -> Option<String> {
        let value = plan.head.iter().find(|(found, _)| *found == name);
        value.map(|(_, value)| String::from_utf8(value.clone()).unwrap())
    }

    #[test]
    fn the_whole_file_comes_with_what_names_its_state() {
        let plan = planned("GET", &[], 10);
        assert_eq!((plan.status, plan.length), (200, 10));
        assert_eq!(plan.parts, [Part::Span(Span { start: 0, length: 10 })]);
        assert_eq!(says(&plan, "ETag").as_deref(), Some("\"2ebc98a1.5-a\""));
        assert_eq!(says(&plan, "Last-Modified").as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(says(&plan, "Accept-Ranges").as_deref(), Some("bytes"));
        assert_eq!(says(&plan, "Vary"), None);
        assert_eq!(says(&planned("GET", &[], 5000), "Vary").as_deref(), Some("Accept-Encoding"));
        assert_eq!(planned("GET", &[], 0).parts, []);
    }

    #[test]
    fn a_part_says_which_one_it_is() {
        let plan = planned("GET", &[("range", "bytes=2-4")], 10);
        assert_eq!((plan.status, plan.length), (206, 3));
        assert_eq!(says(&plan, "Content-Range").as_deref(), Some("bytes 2-4/10"));
        let plan = planned("GET", &[("range", "bytes=10-")], 10);
        assert_eq!((plan.status, says(&plan, "Content-Range").as_deref()), (416, Some("bytes */10")));
        assert_eq!(planned("HEAD", &[("range", "bytes=2-4")], 10).status, 200, "ranges are GET's");
        assert_eq!(planned("POST", &[("range", "bytes=2-4"), ("if-match", "\"x\"")], 10).status, 200);
    }

    #[test]
    fn several_parts_come_in_one_body() {
        let plan = planned("GET", &[("range", "bytes=0-0,-2")], 10);
        assert_eq!(plan.status, 206);
        assert_eq!(says(&plan, "Content-Type").as_deref(), Some("multipart/byteranges; boundary=cut"));
        assert_eq!(says(&plan, "Content-Range"), None);
        let body: Vec<u8> = plan
            .parts
            .iter()
            .flat_map(|part| match part {
                Part::Bytes(bytes) => bytes.clone(),
                Part::Span(span) => b"0123456789"[span.start as usize..=span.last() as usize].to_vec(),
            })
            .collect();
        assert_eq!(body.len() as u64, plan.length);
        assert_eq!(
            String::from_utf8(body).unwrap(),
            "\r\n--cut\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-0/10\r\n\r\n0\
             \r\n--cut\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n--cut--\r\n"
        );
    }

    #[test]
    fn who_has_it_gets_nothing() {
        let plan = planned("GET", &[("if-none-match", "\"2ebc98a1.5-1388\"")], 5000);
        assert_eq!((plan.status, plan.parts.len()), (304, 0));
        assert!(says(&plan, "ETag").is_some() && says(&plan, "Vary").is_some());
        assert_eq!(says(&plan, "Content-Type"), None);
        assert_eq!(planned("HEAD", &[("if-none-match", "*")], 10).status, 304);
        assert_eq!(planned("GET", &[("if-match", "\"other\"")], 10).status, 412);
    }

    #[test]
    fn a_file_that_was_just_changed_has_a_weak_tag_and_one_from_the_future_is_of_now() {
        let facts = Facts { size: 1, modified: Some((99, 0)), now: 100, content_type: b"image/png" };
        assert_eq!(says(&planned_of("GET", &[], &facts), "ETag").as_deref(), Some("W/\"63.0-1\""));
        let facts = Facts { modified: Some((u64::MAX - 5, 0)), ..facts };
        let plan = planned_of("GET", &[], &facts);
        assert_eq!(says(&plan, "Last-Modified").as_deref(), Some("Thu, 01 Jan 1970 00:01:40 GMT"));
        let facts = Facts { modified: None, ..facts };
        assert_eq!(says(&planned_of("GET", &[], &facts), "Last-Modified"), None);
    }

    #[test]
    fn a_name_to_store_under_cannot_leave_its_line() {
        assert_eq!(attachment("a b.txt"), "attachment; filename=\"a b.txt\"");
        assert_eq!(
            attachment("é\"\r\n../x\0"),
            "attachment; filename=\"____.._x_\"; filename*=UTF-8''%C3%A9%22__.._x_"
        );
    }
}
