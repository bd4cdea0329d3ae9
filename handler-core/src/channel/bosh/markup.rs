//! XML as this protocol takes it: tags, text and the five entities, and nothing that expands.
//!
//! quick-xml finds the tags, and it is lenient: it asks no name and no value whether XML allows it. What it leaves
//! open is checked here, so that what passes is well-formed for every other parser too, with every prefix declared.
//! Comments, processing instructions, document types and other entities are refused, not skipped.

use quick_xml::Reader;
use quick_xml::events::Event;
use quick_xml::events::attributes::Attributes;
use std::borrow::Cow;

/// Elements within each other.
const MAX_DEPTH: usize = 100;
/// Attributes of one element.
const MAX_ATTRIBUTES: usize = 100;
/// Namespaces that are declared at one place of a document.
const MAX_NAMESPACES: usize = 64;

/// What is wrong with a document, and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {what}")]
pub struct Fault {
    /// Offset in the document.
    pub at: usize,
    /// What it may not be.
    pub what: &'static str,
}

/// An attribute as it stands in its tag.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attribute<'a> {
    pub name: &'a str,
    /// Between the quotes, not decoded.
    pub value: &'a str,
    /// All of it, quotes included.
    pub text: &'a str,
}

impl<'a> Attribute<'a> {
    /// The prefix that it declares a namespace for, the empty one for the default.
    pub(super) fn declares(&self) -> Option<&'a str> {
        match self.name.strip_prefix("xmlns")? {
            "" => Some(""),
            rest => rest.strip_prefix(':'),
        }
    }
}

/// What a document consists of.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    /// An element begins.
    Open {
        name: &'a str,
        attributes: Vec<Attribute<'a>>,
        /// Offset of its `<`.
        at: usize,
    },
    /// An element ends; so does one without content.
    Close {
        /// Offset behind its `>`.
        end: usize,
    },
    /// Characters: as they stand, or out of a CDATA section.
    Text { text: &'a str, cdata: bool },
    /// A reference, and what it stands for.
    Character(char),
}

/// Walks over a document of one element.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    input: &'a str,
    reader: Reader<&'a [u8]>,
    depth: usize,
    /// The root was there.
    rooted: bool,
    /// Prefixes, the depth at which each was declared, and the name of the namespace.
    scope: Vec<(usize, &'a str, Cow<'a, str>)>,
}

impl<'a> Walk<'a> {
    /// Begins at the start of a document without byte order mark.
    pub(super) fn new(input: &'a str) -> Result<Self, Fault> {
        if let Some((at, _)) = input.char_indices().find(|(_, letter)| !is_character(*letter)) {
            return Err(Fault { at, what: "a character that XML does not have" });
        }
        let mut reader = Reader::from_str(input);
        reader.config_mut().expand_empty_elements = true;
        Ok(Self { input, reader, depth: 0, rooted: false, scope: Vec::new() })
    }

    /// How many elements are open.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// The namespace of a prefix and the depth at which it was declared. The empty prefix has one only when it
    /// was declared and not taken back.
    pub(super) fn namespace(&self, prefix: &str) -> Option<(usize, &str)> {
        if prefix == "xml" {
            return Some((0, XML));
        }
        let (depth, _, name) = self.scope.iter().rev().find(|(_, declared, _)| *declared == prefix)?;
        (!name.is_empty()).then_some((*depth, name))
    }

    /// What comes next, `None` at the end of a whole document.
    pub(super) fn next(&mut self) -> Result<Option<Piece<'a>>, Fault> {
        loop {
            let at = self.position();
            let fault = |what| Err(Fault { at, what });
            let Ok(event) = self.reader.read_event() else { return fault("not well-formed") };
            let end = self.position();
            match event {
                Event::Start(_) => return self.open(at, end).map(Some),
                Event::End(_) => {
                    self.scope.retain(|(depth, ..)| *depth < self.depth);
                    self.depth -= 1;
                    return Ok(Some(Piece::Close { end }));
                }
                Event::Text(_) => {
                    let text = &self.input[at..end];
                    if text.contains("]]>") {
                        return fault("`]]>` in text");
                    }
                    if self.depth > 0 {
                        return Ok(Some(Piece::Text { text, cdata: false }));
                    }
                    if !is_blank(text) {
                        return fault("text outside of the element");
                    }
                }
                Event::CData(_) if self.depth > 0 => {
                    // `<![CDATA[` and `]]>` were there, or it were another event.
                    let text = &self.input[at + 9..end - 3];
                    return Ok(Some(Piece::Text { text, cdata: true }));
                }
                Event::GeneralRef(_) if self.depth > 0 => {
                    let Some(letter) = referred(&self.input[at + 1..end - 1]) else {
                        return fault("a reference that is none of XML's own");
                    };
                    return Ok(Some(Piece::Character(letter)));
                }
                Event::Decl(_) if at == 0 => {
                    if !is_declaration(&self.input[..end]) {
                        return fault("an XML declaration of another version or encoding");
                    }
                }
                Event::Eof if self.depth > 0 => return fault("the end is missing"),
                Event::Eof if !self.rooted => return fault("there is no element"),
                Event::Eof => return Ok(None),
                Event::CData(_) | Event::GeneralRef(_) => return fault("text outside of the element"),
                Event::Comment(_) => return fault("a comment"),
                Event::Decl(_) | Event::PI(_) => return fault("a processing instruction"),
                Event::DocType(_) => return fault("a document type"),
                Event::Empty(_) => return fault("not well-formed"),
            }
        }
    }

    fn position(&self) -> usize {
        // The input is in memory, so its offsets fit.
        self.reader.buffer_position() as usize
    }

    fn open(&mut self, at: usize, end: usize) -> Result<Piece<'a>, Fault> {
        let fault = |what| Err(Fault { at, what });
        if self.depth == 0 && self.rooted {
            return fault("a second element");
        }
        if self.depth == MAX_DEPTH {
            return fault("too many elements within each other");
        }
        self.rooted = true;
        self.depth += 1;
        let text = &self.input[at + 1..end - 1];
        let text = text.strip_suffix('/').unwrap_or(text);
        let size = text.bytes().take_while(|byte| !is_space(*byte)).count();
        let name = &text[..size];
        let Some(prefix) = prefix(name) else { return fault("no name of an element") };
        let mut attributes = Vec::new();
        let mut after = size;
        for attribute in Attributes::new(text, size) {
            let Ok(attribute) = attribute else { return fault("no attributes, or one of them twice") };
            let name = attribute.key.into_inner();
            let start = name.as_ptr() as usize - text.as_ptr() as usize;
            if start == after || attributes.len() == MAX_ATTRIBUTES {
                return fault("attributes without space between, or too many");
            }
            // The value begins behind the equals sign and its quote, of which the name has none.
            let Some(size) = text[start..].find(['"', '\'']) else {
                return fault("no value of an attribute");
            };
            let opening = start + size;
            let quote = &text[opening..=opening];
            let Some(length) = text[opening + 1..].find(quote) else { return fault("a quote without end") };
            let value = &text[opening + 1..][..length];
            after = opening + length + 2;
            attributes.push(Attribute { name, value, text: &text[start..after] });
        }
        for attribute in &attributes {
            if self::prefix(attribute.name).is_none() {
                return fault("no name of an attribute");
            }
            let Some(value) = decode(attribute.value) else { return fault("no value of an attribute") };
            if let Some(prefix) = attribute.declares() {
                let reserved = prefix == "xmlns" || (prefix == "xml") != (value == XML);
                let taken_back = !prefix.is_empty() && value.is_empty();
                if reserved || taken_back || value == XMLNS || self.scope.len() == MAX_NAMESPACES {
                    return fault("a namespace that cannot be declared, or too many");
                }
                self.scope.push((self.depth, prefix, value));
            }
        }
        if !self.knows(prefix) {
            return fault("a prefix without namespace");
        }
        let mut known: Vec<(&str, &str)> = Vec::new();
        for Attribute { name, .. } in attributes.iter().filter(|attribute| attribute.declares().is_none()) {
            let Some((prefix, local)) = name.split_once(':') else { continue };
            let Some((_, namespace)) = self.namespace(prefix) else {
                return fault("a prefix without namespace");
            };
            // Two prefixes may stand for one namespace: some clients would read none of the answer then.
            if known.contains(&(namespace, local)) {
                return fault("no attributes, or one of them twice");
            }
            known.push((namespace, local));
        }
        Ok(Piece::Open { name, attributes, at })
    }

    fn knows(&self, prefix: &str) -> bool {
        prefix.is_empty() || self.namespace(prefix).is_some()
    }
}

const XML: &str = "http://www.w3.org/XML/1998/namespace";
const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

/// The prefix of a name, the empty one without; `None` for what is no name.
pub(super) fn prefix(name: &str) -> Option<&str> {
    match name.split_once(':') {
        None => is_name(name).then_some(""),
        Some((prefix, local)) => (is_name(prefix) && is_name(local)).then_some(prefix),
    }
}

/// A name without its prefix.
pub(super) fn local(name: &str) -> &str {
    name.split_once(':').map_or(name, |(_, local)| local)
}

/// The value of an attribute: references stand for their characters, white space for a space. `None` when it has
/// what a value may not have.
pub(super) fn decode(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.bytes().any(|byte| matches!(byte, b'&' | b'<' | b'\t' | b'\n' | b'\r')) {
        return Some(Cow::Borrowed(raw));
    }
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find(['&', '<', '\t', '\n', '\r']) {
        value.push_str(&rest[..at]);
        let found = &rest[at..];
        let taken = match found.as_bytes()[0] {
            b'<' => return None,
            b'&' => {
                let end = found.find(';')?;
                value.push(referred(&found[1..end])?);
                end + 1
            }
            _ => {
                value.push(' ');
                if found.starts_with("\r\n") { 2 } else { 1 }
            }
        };
        rest = &found[taken..];
    }
    value.push_str(rest);
    Some(Cow::Owned(value))
}

/// The character that `&name;` stands for.
fn referred(name: &str) -> Option<char> {
    let (digits, radix) = match name {
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "amp" => return Some('&'),
        "apos" => return Some('\''),
        "quot" => return Some('"'),
        _ => match name.strip_prefix("#x") {
            Some(digits) => (digits, 16),
            None => (name.strip_prefix('#')?, 10),
        },
    };
    // A sign is no digit, though Rust's numbers may have one.
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let letter = char::from_u32(u32::from_str_radix(digits, radix).ok()?)?;
    is_character(letter).then_some(letter)
}

/// Whether an XML declaration says what holds here: version 1.0 (or another 1), UTF-8.
fn is_declaration(text: &str) -> bool {
    let Some(inside) = text.strip_prefix("<?xml").and_then(|text| text.strip_suffix("?>")) else {
        return false;
    };
    let mut expected = ["version", "encoding", "standalone"].iter();
    let mut first = true;
    for attribute in Attributes::new(inside, 0) {
        let Ok(attribute) = attribute else { return false };
        let name = attribute.key.into_inner();
        let sound = match name {
            "version" => attribute.value.starts_with("1."),
            "encoding" => ["utf-8", "us-ascii"].iter().any(|name| attribute.value.eq_ignore_ascii_case(name)),
            _ => attribute.value == "yes" || attribute.value == "no",
        };
        if !sound || !expected.any(|expected| *expected == name) || (first && name != "version") {
            return false;
        }
        first = false;
    }
    !first
}

/// Whether text is white space alone.
pub(super) fn is_blank(text: &str) -> bool {
    text.bytes().all(is_space)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// XML's `Char`.
pub(super) fn is_character(letter: char) -> bool {
    matches!(letter, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// A name without colon.
fn is_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(begins_a_name) && letters.all(is_in_a_name)
}

fn begins_a_name(letter: char) -> bool {
    matches!(letter, 'A'..='Z' | 'a'..='z' | '_' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
        | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}'
        | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}'
        | '\u{10000}'..='\u{effff}')
}

fn is_in_a_name(letter: char) -> bool {
    begins_a_name(letter)
        || matches!(letter, '0'..='9' | '-' | '.' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a document is refused for, `None` when it is not.
    fn refused(document: &str) -> Option<Fault> {
        let mut walk = match Walk::new(document) {
            Ok(walk) => walk,
            Err(fault) => return Some(fault),
        };
        loop {
            match walk.next() {
                Ok(None) => return None,
                Ok(Some(_)) => {}
                Err(fault) => return Some(fault),
            }
        }
    }

    #[test]
    fn what_is_well_formed_is_taken() {
        for document in [
            "<a/>",
            " \n<a></a >\n",
            "<?xml version='1.0'?><a/>",
            "<?xml version=\"1.0\" encoding='UTF-8' standalone='yes'?>\n<a/>",
            "<a b='1' c = \"it's > 2\"\n d=''/>",
            "<a>x &lt;&amp;&gt;&apos;&quot;&#65;&#x10FFFF; ]] ></a>",
            "<a><![CDATA[<x>&y;]]>]]&gt;</a>",
            "<p:a xmlns:p='urn:p' p:b='1'><p:c xmlns='urn:q'/></p:a>",
            "<a xml:lang='en' xmlns:xml='http://www.w3.org/XML/1998/namespace'/>",
            "<a xmlns='urn:a'><b xmlns=''/></a>",
            "<\u{e9}l\u{e9}ment \u{b7}='1'/>".replace('\u{b7}', "a\u{b7}").as_str(),
        ] {
            assert_eq!(refused(document), None, "{document}");
        }
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for document in [
            "",
            " ",
            "x",
            "<",
            "<a",
            "<a>",
            "<a/",
            "</a>",
            "<a></b>",
            "<a/><b/>",
            "<a/>x",
            "x<a/>",
            "<a/></a>",
            "< a/>",
            "<>",
            "<1/>",
            "<a:/>",
            "<:a/>",
            "<a:b:c/>",
            "<a b/>",
            "<a b=1/>",
            "<a b='1/>",
            "<a b='1'c='2'/>",
            "<a b='1' b='2'/>",
            "<a b='<'/>",
            "<a b='&'/>",
            "<a b='&x;'/>",
            "<a b='&#0;'/>",
            "<a 1='1'/>",
            "<a 'b'='1'/>",
            "<a b\"c='1'/>",
            "<a>&</a>",
            "<a>& b;</a>",
            "<a>&nbsp;</a>",
            "<a>&#x0;</a>",
            "<a>&#xD800;</a>",
            "<a>&#+65;</a>",
            "<a>&#;</a>",
            "<a>&#x;</a>",
            "<a>&#99999999999;</a>",
            "<a>]]></a>",
            "<a>\u{1}</a>",
            "<a>\u{ffff}</a>",
            "<a>\0</a>",
            "<a><![CDATA[x</a>",
            "<a><![cdata[x]]></a>",
            "<![CDATA[x]]><a/>",
            "&lt;<a/>",
            "<a/ >",
            "<a b='1'/ >",
            "<a\u{a0}b='1'/>",
        ] {
            assert!(refused(document).is_some(), "{document}");
        }
    }

    #[test]
    fn what_expands_or_is_no_element_is_refused() {
        for (document, what) in [
            ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "a document type"),
            ("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", "a document type"),
            ("<a>&b;</a>", "a reference that is none of XML's own"),
            ("<a><!-- b --></a>", "a comment"),
            ("<!-- b --><a/>", "a comment"),
            ("<a><?b c?></a>", "a processing instruction"),
            ("<?b c?><a/>", "a processing instruction"),
            (" <?xml version='1.0'?><a/>", "a processing instruction"),
            ("<a><?xml version='1.0'?></a>", "a processing instruction"),
            (
                "<?xml version='1.0' encoding='utf-16'?><a/>",
                "an XML declaration of another version or encoding",
            ),
            ("<?xml encoding='utf-8'?><a/>", "an XML declaration of another version or encoding"),
        ] {
            assert_eq!(refused(document).map(|fault| fault.what), Some(what), "{document}");
        }
    }

    #[test]
    fn prefixes_are_declared_where_they_are_used() {
        for document in [
            "<p:a/>",
            "<a p:b='1'/>",
            "<a><b xmlns:p='urn:p'/><p:c/></a>",
            "<a xmlns:p=''/>",
            "<a xmlns:xmlns='urn:p'/>",
            "<a xmlns:xml='urn:p'/>",
            "<a xmlns='http://www.w3.org/2000/xmlns/'/>",
            "<xmlns:a/>",
            "<a xmlns:b='urn:b' xmlns:c='urn:b' b:d='1' c:d='1'/>",
            "<a xmlns:='urn:p'/>",
        ] {
            assert!(refused(document).is_some(), "{document}");
        }
    }

    #[test]
    fn depth_and_attributes_and_namespaces_are_bounded() {
        let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert_eq!(refused(&nested(MAX_DEPTH)), None);
        assert!(refused(&nested(MAX_DEPTH + 1)).is_some());
        let many = |name: &str, count: usize| {
            format!("<a{}/>", (0..count).map(|n| format!(" {name}{n}='x'")).collect::<String>())
        };
        assert_eq!(refused(&many("b", MAX_ATTRIBUTES)), None);
        assert!(refused(&many("b", MAX_ATTRIBUTES + 1)).is_some());
        assert_eq!(refused(&many("xmlns:b", MAX_NAMESPACES)), None);
        assert!(refused(&many("xmlns:b", MAX_NAMESPACES + 1)).is_some());
    }

    #[test]
    fn values_are_decoded() {
        assert_eq!(decode("a&#65;&amp;\t\r\n\n'").as_deref(), Some("aA&   '"));
        assert_eq!(decode("&#10;").as_deref(), Some("\n"));
        assert_eq!(decode("a<b"), None);
    }
}
