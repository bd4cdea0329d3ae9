//! Mongrel2's patterns: Lua's, with `\` for `%`.
//!
//! They stand behind the first `(` of a route's key and in front of the last `)` of a host's.
//! Parentheses mean nothing at all, so there are no alternatives and no groups; the end is open
//! unless there is a `$`. Mongrel2 checks nothing: a pattern that is cut short makes it read on
//! in memory. [`Pattern::parse`] refuses such ones, and [`Pattern::oddities`] finds what is
//! valid but a sure sign that another pattern language was meant.

mod oddities;

pub use oddities::Oddity;

/// A pattern that Mongrel2 can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    items: Vec<Item>,
}

/// What Mongrel2 would read past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// A backslash with nothing behind it.
    #[error("the pattern ends with a `\\`")]
    Backslash {
        /// Its offset in bytes.
        at: usize,
    },
    /// A set with no end.
    #[error("the `[` in the pattern has no `]`")]
    Set {
        /// Its offset in bytes.
        at: usize,
    },
    /// `\b` needs the two characters that it balances.
    #[error("`\\b` in the pattern needs two characters, as in `\\b()`")]
    Balance {
        /// Its offset in bytes.
        at: usize,
    },
    /// `\f` needs a set.
    #[error("`\\f` in the pattern needs a set, as in `\\f[a]`")]
    Frontier {
        /// Its offset in bytes.
        at: usize,
    },
}

impl PatternError {
    /// Where in the pattern, in bytes.
    pub fn at(&self) -> usize {
        match self {
            Self::Backslash { at } | Self::Set { at } | Self::Balance { at } | Self::Frontier { at } => *at,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    /// One byte of a class, so many times.
    Single { class: Class, repeat: Repeat },
    /// `\b()`: from the first to the one that balances it.
    Balance { open: u8, close: u8 },
    /// `\f[set]`: nothing, between a byte outside of the set and one in it.
    Frontier(Class),
    /// `$` as the last character.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    One,
    /// `?`
    Optional,
    /// `*`, and `-`, which differs only in what it tries first.
    Any,
    /// `+`
    Many,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Class {
    Any,
    Byte(u8),
    /// The letter behind a backslash.
    Letter(u8),
    Set {
        members: Vec<Member>,
        negated: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Member {
    Letter(u8),
    Range(u8, u8),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// [`PatternError`] for what would make Mongrel2 read past its end.
    ///
    /// ```
    /// use mongrel2_conf::pattern::Pattern;
    ///
    /// let digits = Pattern::parse("([0-9]+)")?;
    /// assert!(digits.matches(b"12a"));
    /// assert!(!digits.matches(b"a12"));
    /// assert!(!Pattern::parse(r"\d+$")?.matches(b"12a"));
    /// # Ok::<(), mongrel2_conf::pattern::PatternError>(())
    /// ```
    pub fn parse(pattern: &str) -> Result<Self, PatternError> {
        let bytes = pattern.as_bytes();
        let mut items = Vec::new();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let next = bytes.get(at + 1).copied();
            match (byte, next) {
                (b'(' | b')', _) => at += 1,
                (b'$', None) => {
                    items.push(Item::End);
                    at += 1;
                }
                (b'\\', Some(b'b')) => {
                    let (Some(&open), Some(&close)) = (bytes.get(at + 2), bytes.get(at + 3)) else {
                        return Err(PatternError::Balance { at });
                    };
                    items.push(Item::Balance { open, close });
                    at += 4;
                }
                (b'\\', Some(b'f')) => {
                    if bytes.get(at + 2) != Some(&b'[') {
                        return Err(PatternError::Frontier { at });
                    }
                    let (class, end) = class(bytes, at + 2)?;
                    items.push(Item::Frontier(class));
                    at = end;
                }
                _ => {
                    let (class, end) = class(bytes, at)?;
                    let (repeat, end) = match bytes.get(end) {
                        Some(b'?') => (Repeat::Optional, end + 1),
                        Some(b'*' | b'-') => (Repeat::Any, end + 1),
                        Some(b'+') => (Repeat::Many, end + 1),
                        _ => (Repeat::One, end),
                    };
                    items.push(Item::Single { class, repeat });
                    at = end;
                }
            }
        }
        Ok(Self { items })
    }

    /// Whether the pattern fits the beginning of `subject`.
    ///
    /// Takes time in the length of the pattern times that of the subject, where Mongrel2 may
    /// take exponential time; the answer is the same.
    pub fn matches(&self, subject: &[u8]) -> bool {
        // Whether the items so far can have used this many bytes.
        let mut reached = vec![false; subject.len() + 1];
        reached[0] = true;
        for item in &self.items {
            reached = item.step(&reached, subject);
            if !reached.contains(&true) {
                return false;
            }
        }
        true
    }

    /// Whether it fits everything, so that no pattern behind it is ever tried.
    pub fn fits_everything(&self) -> bool {
        let (last, others) = match self.items.split_last() {
            Some((Item::End, others)) => {
                let all = Item::Single { class: Class::Any, repeat: Repeat::Any };
                return others.last() == Some(&all) && Self { items: others.to_vec() }.fits_everything();
            }
            Some((last, others)) => (last, others),
            None => return true,
        };
        let skippable =
            |item: &Item| matches!(item, Item::Single { repeat: Repeat::Any | Repeat::Optional, .. });
        skippable(last) && others.iter().all(skippable)
    }
}

/// The class that begins at `at`, and the offset behind it.
fn class(bytes: &[u8], at: usize) -> Result<(Class, usize), PatternError> {
    match bytes[at] {
        b'\\' => match bytes.get(at + 1) {
            Some(&letter) => Ok((Class::Letter(letter), at + 2)),
            None => Err(PatternError::Backslash { at }),
        },
        b'[' => set(bytes, at),
        b'.' => Ok((Class::Any, at + 1)),
        byte => Ok((Class::Byte(byte), at + 1)),
    }
}

/// The first character of a set is a member even if it is `]`.
fn set(bytes: &[u8], open: usize) -> Result<(Class, usize), PatternError> {
    let unclosed = PatternError::Set { at: open };
    let negated = bytes.get(open + 1) == Some(&b'^');
    let start = open + 1 + usize::from(negated);
    let mut end = start;
    loop {
        let step = if *bytes.get(end).ok_or(unclosed)? == b'\\' { 2 } else { 1 };
        end += step;
        if *bytes.get(end).ok_or(unclosed)? == b']' {
            break;
        }
    }
    let (mut members, mut at) = (Vec::new(), start);
    while at < end {
        if bytes[at] == b'\\' {
            members.push(Member::Letter(bytes[at + 1]));
            at += 2;
        } else if bytes[at + 1] == b'-' && at + 2 < end {
            members.push(Member::Range(bytes[at], bytes[at + 2]));
            at += 3;
        } else {
            members.push(Member::Range(bytes[at], bytes[at]));
            at += 1;
        }
    }
    Ok((Class::Set { members, negated }, end + 1))
}

impl Class {
    fn has(&self, byte: u8) -> bool {
        match self {
            Self::Any => true,
            Self::Byte(own) => *own == byte,
            Self::Letter(letter) => letter_has(*letter, byte),
            Self::Set { members, negated } => {
                let inside = members.iter().any(|member| match member {
                    Member::Letter(letter) => letter_has(*letter, byte),
                    Member::Range(first, last) => (*first..=*last).contains(&byte),
                });
                inside != *negated
            }
        }
    }
}

/// The classes of C's `ctype.h`; an upper-case letter has all the others. What is no class is
/// itself.
fn letter_has(letter: u8, byte: u8) -> bool {
    let has = match letter.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        // A vertical tab is a space to C, and none to Rust.
        b's' => byte.is_ascii_whitespace() || byte == 0x0b,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return letter == byte,
    };
    has == letter.is_ascii_lowercase()
}

impl Item {
    /// From where the items before it may end to where this one may.
    fn step(&self, reached: &[bool], subject: &[u8]) -> Vec<bool> {
        let mut next = vec![false; reached.len()];
        for (at, _) in reached.iter().enumerate().filter(|(_, reached)| **reached) {
            match self {
                Self::Single { class, repeat } => {
                    let fits = subject.get(at).is_some_and(|byte| class.has(*byte));
                    next[at] |= matches!(repeat, Repeat::Optional | Repeat::Any);
                    if fits {
                        next[at + 1] = true;
                    }
                }
                Self::Balance { open, close } => {
                    if let Some(end) = balanced(subject, at, *open, *close) {
                        next[end] = true;
                    }
                }
                Self::Frontier(class) => {
                    // There is a NUL on either side of the subject.
                    let before = if at == 0 { 0 } else { subject[at - 1] };
                    let here = subject.get(at).copied().unwrap_or(0);
                    next[at] = !class.has(before) && class.has(here);
                }
                Self::End => next[at] = at == subject.len(),
            }
        }
        if let Self::Single { class, repeat: Repeat::Any | Repeat::Many } = self {
            for (at, byte) in subject.iter().enumerate() {
                if next[at] && class.has(*byte) {
                    // With `+`, the place before the first is not in `next`, so this is a repetition.
                    next[at + 1] = true;
                }
            }
        }
        next
    }
}

fn balanced(subject: &[u8], at: usize, open: u8, close: u8) -> Option<usize> {
    if *subject.get(at)? != open {
        return None;
    }
    let mut depth = 1_usize;
    for (i, byte) in subject.iter().enumerate().skip(at + 1) {
        if *byte == close {
            depth -= 1;
            if depth == 0 {
                return Some(i + 1);
            }
        } else if *byte == open {
            depth += 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, subject: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(subject.as_bytes())
    }

    #[test]
    fn patterns_are_open_at_the_end_and_parentheses_mean_nothing() {
        assert!(matches("([0-9]+)", "12a"));
        assert!(!matches("([0-9]+)", "a"));
        assert!(matches("(a)(b)", "ab"));
        assert!(matches("()", ""));
        assert!(matches("(a$)", "a$"));
        assert!(matches("(a)$", "a"));
        assert!(!matches("(a)$", "ab"));
        assert!(matches("a|b", "a|b"));
        assert!(!matches("a|b", "b"));
    }

    #[test]
    fn items_repeat() {
        assert!(matches("a?b$", "b") && matches("a?b$", "ab") && !matches("a?b$", "aab"));
        assert!(matches("a*b$", "b") && matches("a*b$", "aaab"));
        assert!(matches("a-b$", "b") && matches("a-b$", "aaab"));
        assert!(matches("a+b$", "ab") && !matches("a+b$", "b"));
        assert!(matches(r".*\.json$", "a.b.json") && !matches(r".*\.json$", "a.jsonx"));
        assert!(matches("*a", "*a"));
    }

    #[test]
    fn classes_are_those_of_c() {
        assert!(matches(r"\d\D\w\W\x\X$", "1aa_fg"));
        assert!(matches(r"\a\l\u\p\s$", "aaA! "));
        assert!(matches(r"[\d.a-c]+$", "1.b") && !matches(r"[\d.a-c]+$", "1d"));
        assert!(matches("[^a-c]$", "d") && !matches("[^a-c]$", "a"));
        assert!(matches("[]a]+$", "]a") && matches("[^]]$", "a"));
        assert!(matches("[a-]+$", "a-") && matches(r"[\]]$", "]"));
        assert!(matches(r"\.", ".") && !matches(r"\.", "x"));
        assert!(matches(r"\B", "B"));
    }

    #[test]
    fn balances_and_frontiers() {
        assert!(matches(r"f\b()$", "f(a(b)c)") && !matches(r"f\b()$", "f(a(b)"));
        assert!(matches(r"\f[a]a", "a") && matches(r"b\f[a]a", "ba") && !matches(r"a\f[a]a", "aa"));
    }

    #[test]
    fn what_mongrel2_would_read_past_is_an_error() {
        use PatternError::{Backslash, Balance, Frontier, Set};
        let error = |pattern| Pattern::parse(pattern).unwrap_err();
        assert_eq!(error(r"(a\"), Backslash { at: 2 });
        assert_eq!(error("(a[bc)"), Set { at: 2 });
        assert_eq!(error("(a[])"), Set { at: 2 });
        assert_eq!(error("(a[^"), Set { at: 2 });
        assert_eq!(error(r"(a[b\"), Set { at: 2 });
        assert_eq!(error(r"\b("), Balance { at: 0 });
        assert_eq!(error(r"a\fa"), Frontier { at: 1 });
    }

    #[test]
    fn a_pattern_that_fits_everything_is_known() {
        let all = |pattern| Pattern::parse(pattern).unwrap().fits_everything();
        assert!(all("()") && all("(.*)") && all("(a*)") && all("(.-)") && all("(.*)$"));
        assert!(!all("(.+)") && !all("(a*)$") && !all(r"(\f[a])") && !all("()$"));
    }

    #[test]
    fn signs_of_other_pattern_languages_are_found() {
        let odd =
            |pattern: &str| -> Vec<usize> { Pattern::oddities(pattern).iter().map(|odd| odd.at).collect() };
        assert!(odd(r"(.*\.json)").is_empty());
        assert!(odd(r"([0-9]+)(x)$").is_empty());
        assert!(odd(r"(a-b)").is_empty());
        assert!(odd(r"(style\.css)$").is_empty());
        assert!(odd("(.*%2[eEfF])").is_empty());
        assert!(odd("(.*%00)").is_empty());
        assert_eq!(odd("(a|b)"), [2]);
        assert_eq!(odd("(ab)*"), [4]);
        assert_eq!(odd("(*.json)"), [1]);
        assert_eq!(odd("(a.css$)"), [6]);
        assert_eq!(odd("(^a)"), [1]);
        assert_eq!(odd("(%d+)"), [1]);
        assert_eq!(odd(r"(\d{4})"), [3]);
        assert_eq!(odd("(a))"), [3]);
    }

    #[test]
    fn a_hostile_pattern_takes_no_longer_than_another() {
        let pattern = "(".to_owned() + &".*".repeat(200) + "x)";
        assert!(!matches(&pattern, &"y".repeat(2000)));
    }
}
