//! What is valid in a pattern, and a sure sign that another pattern language was meant.

use super::{Pattern, class};

/// A character that has no meaning where it stands, though it has in other pattern languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Oddity {
    /// Its offset in bytes.
    pub at: usize,
    /// The character.
    pub character: char,
    /// What to write instead.
    pub advice: &'static str,
}

impl Pattern {
    /// What has another meaning elsewhere, in the order of the pattern.
    pub fn oddities(pattern: &str) -> Vec<Oddity> {
        let bytes = pattern.as_bytes();
        let mut found = Vec::new();
        let mut odd = |at: usize, advice| {
            found.push(Oddity { at, character: char::from(bytes[at]), advice });
        };
        // Whether what stands before can be repeated.
        let (mut repeatable, mut depth, mut at) = (false, 0_usize, 0);
        while let Some(&byte) = bytes.get(at) {
            let last = at + 1 == bytes.len();
            let mut end = at + 1;
            match byte {
                b'\\' => {
                    end = match bytes.get(at + 1) {
                        Some(b'b') => at + 4,
                        Some(b'f') if at + 2 < bytes.len() => {
                            class(bytes, at + 2).map_or(bytes.len(), |(_, end)| end)
                        }
                        _ => at + 2,
                    };
                    repeatable = !matches!(bytes.get(at + 1), Some(b'b' | b'f'));
                }
                b'[' => {
                    end = class(bytes, at).map_or(bytes.len(), |(_, end)| end);
                    repeatable = true;
                }
                b'(' => {
                    depth += 1;
                    repeatable = false;
                }
                b')' => {
                    if depth == 0 {
                        odd(at, "parentheses come in pairs; write `\\)` for the character");
                    }
                    depth = depth.saturating_sub(1);
                    repeatable = false;
                    if let Some(b'*' | b'+' | b'?') = bytes.get(at + 1) {
                        odd(at + 1, "groups cannot be repeated: parentheses mean nothing");
                        end += 1;
                    }
                }
                b'|' => {
                    odd(at, "there are no alternatives; make a route for each");
                    repeatable = true;
                }
                b'^' if at == 0 || bytes[..at].iter().all(|byte| *byte == b'(') => {
                    odd(at, "patterns begin at the beginning anyway; leave it out");
                    repeatable = true;
                }
                b'$' if !last && bytes[at + 1..].iter().all(|byte| *byte == b')') => {
                    odd(at, "it means the end only as the very last character, behind the `)`");
                }
                b'%' if bytes
                    .get(at + 1)
                    .is_some_and(|byte| b"acdlpsuwxz.bf".contains(&byte.to_ascii_lowercase()))
                    && !bytes
                        .get(at + 1..at + 3)
                        .is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)) =>
                {
                    odd(at, "character classes begin with `\\`");
                    repeatable = true;
                }
                b'*' | b'+' | b'?' if !repeatable => {
                    odd(at, "there is nothing before it to repeat; `.*` stands for anything");
                    repeatable = true;
                }
                b'*' | b'+' | b'?' | b'-' if repeatable => repeatable = false,
                b'{' if bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => {
                    odd(at, "there are no counts; write the item as often as it is to be there");
                    repeatable = true;
                }
                _ => repeatable = true,
            }
            at = end;
        }
        found
    }
}
