//! Messages: one element each.
//!
//! A script's message that is one well-formed element goes to the client as it is. Whatever else a script sends is
//! put into an element of our own, `<text xmlns="urn:kennel:channel">` or `<binary xmlns="urn:kennel:channel">`
//! with base64 in it, and what a client sends in one of these is taken out of it.

use super::markup::{Fault, Piece, Walk, is_blank, is_character, local, prefix};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The namespace of `<text/>` and `<binary/>`.
pub const NAMESPACE: &str = "urn:kennel:channel";

/// Whether a text is one well-formed element and nothing else, all of whose prefixes are declared in it.
///
/// # Errors
///
/// [`Fault`] with the first thing that it is not.
pub fn check(text: &str) -> Result<(), Fault> {
    if !text.starts_with('<') || text.starts_with("<?") {
        return Err(Fault { at: 0, what: "no element" });
    }
    let mut walk = Walk::new(text)?;
    let mut over = 0;
    while let Some(piece) = walk.next()? {
        if let (Piece::Close { end }, 0) = (piece, walk.depth()) {
            over = end;
        }
    }
    if over < text.len() { Err(Fault { at: over, what: "something behind the element" }) } else { Ok(()) }
}

/// The element that a message of a script is sent as: itself, when it is one, white space around it aside, and
/// [wrapped](wrap) otherwise.
pub fn of_message(binary: bool, payload: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(payload).map(|text| text.trim_matches([' ', '\t', '\n', '\r'])) {
        Ok(text) if !binary && check(text).is_ok() => text.as_bytes().to_vec(),
        _ => wrap(binary, payload),
    }
}

/// Puts any bytes into an element: a text escaped, or in base64 with `encoding="base64"` when it has characters that
/// XML does not have, such as NUL; anything else as `<binary/>`.
pub fn wrap(binary: bool, payload: &[u8]) -> Vec<u8> {
    let text = if binary { None } else { std::str::from_utf8(payload).ok() };
    let (name, more) = match text {
        Some(text) if text.chars().all(is_character) => ("text", ""),
        Some(_) => ("text", " encoding=\"base64\""),
        None => ("binary", ""),
    };
    let mut out = format!("<{name} xmlns=\"{NAMESPACE}\"{more}>");
    match text.filter(|_| more.is_empty()) {
        Some(text) => escape(text, &mut out),
        None => STANDARD.encode_string(payload, &mut out),
    }
    out.push_str("</");
    out.push_str(name);
    out.push('>');
    out.into_bytes()
}

/// Appends text as content of an element or value of an attribute in double quotes.
pub(super) fn escape(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find(['<', '>', '&', '"', '\r']) {
        out.push_str(&rest[..at]);
        out.push_str(match rest.as_bytes()[at] {
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'&' => "&amp;",
            b'"' => "&quot;",
            // As it is, the client's parser would take it for an end of line.
            _ => "&#13;",
        });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

/// What one of our own elements has in it, and whether that is binary. `None` for any other element, and for one
/// of ours that holds elements or no base64 where it should.
pub fn unwrap(element: &str) -> Option<(bool, Vec<u8>)> {
    // Few elements are ours, so the others are not walked over a second time.
    if !element.contains(NAMESPACE) {
        return None;
    }
    let mut walk = Walk::new(element).ok()?;
    let (mut binary, mut encoded, mut content) = (false, false, String::new());
    while let Some(piece) = walk.next().ok()? {
        match piece {
            Piece::Open { name, attributes, .. } if walk.depth() == 1 => {
                let (_, namespace) = walk.namespace(prefix(name)?)?;
                binary = local(name) == "binary";
                if namespace != NAMESPACE || !(binary || local(name) == "text") {
                    return None;
                }
                encoded = binary || attributes.iter().any(|it| it.name == "encoding" && it.value == "base64");
            }
            Piece::Open { .. } => return None,
            Piece::Text { text, .. } => ends_of_lines(text, &mut content),
            Piece::Character(letter) => content.push(letter),
            Piece::Close { .. } => {}
        }
    }
    if !encoded {
        return Some((false, content.into_bytes()));
    }
    content.retain(|letter| !is_blank(letter.encode_utf8(&mut [0; 4])));
    let payload = STANDARD.decode(content).ok()?;
    (binary || std::str::from_utf8(&payload).is_ok()).then_some((binary, payload))
}

/// Appends text with every end of line as a line feed, as XML has it.
fn ends_of_lines(text: &str, out: &mut String) {
    let mut lines = text.split('\r');
    out.push_str(lines.next().unwrap_or_default());
    for line in lines {
        out.push('\n');
        out.push_str(line.strip_prefix('\n').unwrap_or(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrapped_comes_out_as_it_was() {
        let payloads: [&[u8]; 7] = [
            b"",
            b"hello",
            b"a<b>&\"'c]]>",
            b"\r\n\r a\tb\n",
            b"nul\0",
            "gr\u{fc}\u{df}e".as_bytes(),
            b"\xff\xfe",
        ];
        for payload in payloads {
            for binary in [false, true] {
                let element = String::from_utf8(wrap(binary, payload)).unwrap();
                check(&element).unwrap();
                let is_text = std::str::from_utf8(payload).is_ok();
                assert_eq!(unwrap(&element), Some((binary || !is_text, payload.to_vec())), "{element}");
            }
        }
    }

    #[test]
    fn an_element_is_sent_as_it_is_and_anything_else_wrapped() {
        let sent = |binary, payload: &str| String::from_utf8(of_message(binary, payload.as_bytes())).unwrap();
        assert_eq!(sent(false, "<a b='1'><c/>x</a>\n"), "<a b='1'><c/>x</a>");
        assert_eq!(sent(false, "a < b"), "<text xmlns=\"urn:kennel:channel\">a &lt; b</text>");
        assert_eq!(sent(true, "<a/>"), "<binary xmlns=\"urn:kennel:channel\">PGEvPg==</binary>");
        for none in ["", "<a>", "<a/><b/>", "<a/>x", "<p:a/>", "<?xml version='1.0'?><a/>", "<!-- x --><a/>"]
        {
            assert!(sent(false, none).starts_with("<text "), "{none}");
        }
    }

    #[test]
    fn what_a_client_wraps_is_unwrapped_however_it_is_written() {
        let text = |text: &str| Some((false, text.as_bytes().to_vec()));
        assert_eq!(unwrap("<text xmlns='urn:kennel:channel'/>"), text(""));
        assert_eq!(unwrap("<k:text xmlns:k='urn:kennel:channel'>a&#x41;<![CDATA[<]]></k:text>"), text("aA<"));
        assert_eq!(unwrap("<text xmlns='urn:kennel:channel'>a\r\nb\rc&#13;</text>"), text("a\nb\nc\r"));
        assert_eq!(unwrap("<binary xmlns='urn:kennel:channel'> /w\n== </binary>"), Some((true, vec![255])));
        for other in [
            "<text>urn:kennel:channel</text>",
            "<other xmlns='urn:kennel:channel'/>",
            "<text xmlns='urn:kennel:channel'><b/></text>",
            "<binary xmlns='urn:kennel:channel'>!</binary>",
            "<text xmlns='urn:kennel:channel' encoding='base64'>/w==</text>",
        ] {
            assert_eq!(unwrap(other), None, "{other}");
        }
    }
}
