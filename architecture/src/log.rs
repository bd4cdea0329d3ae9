//! The lines of the log that say that something is wrong: their texts and fields, from the sources.

use crate::sources::Crate;
use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};

/// One line of code that logs at WARN or ERROR.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogLine {
    /// `WARN` or `ERROR`.
    pub level: String,
    /// The text, with what is filled in between braces; empty when the line has none.
    pub message: String,
    /// Names of fields, in the order of the source.
    pub fields: Vec<String>,
}

/// All such lines of some crates.
pub fn lines<'a>(crates: impl Iterator<Item = &'a Crate> + Clone) -> BTreeSet<LogLine> {
    let contents = || crates.clone().flat_map(|one| one.modules.values());
    // Macros of ours that log, with the fields that they add.
    let ours: BTreeMap<&str, Vec<String>> = contents()
        .flat_map(|contents| &contents.defined)
        .filter_map(|(name, rules)| Some((name.as_str(), added_fields(tokens(rules))?)))
        .collect();
    let mut found = BTreeSet::new();
    for (name, arguments) in contents().flat_map(|contents| &contents.macros) {
        match (name.as_str(), ours.get(name.as_str())) {
            ("warn" | "error", _) => _ = found.insert(read(name, &[], &split(tokens(arguments)))),
            // `log_about!(level, about, ...)`
            (_, Some(added)) => {
                let arguments = split(tokens(arguments));
                let level = arguments.first().and_then(|level| level.first()).map(ToString::to_string);
                let level = level.filter(|level| level == "warn" || level == "error");
                found.extend(level.map(|level| read(&level, added, arguments.get(2..).unwrap_or_default())));
            }
            _ => {}
        }
    }
    found
}

fn tokens(text: &str) -> TokenStream {
    text.parse().expect("these were tokens")
}

/// The arguments of a macro.
fn split(tokens: TokenStream) -> Vec<Vec<TokenTree>> {
    let mut arguments = vec![Vec::new()];
    for token in tokens {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == ',' => arguments.push(Vec::new()),
            token => arguments.last_mut().expect("there is a first one").push(token),
        }
    }
    arguments
}

fn read(level: &str, added: &[String], arguments: &[Vec<TokenTree>]) -> LogLine {
    let mut fields = added.to_vec();
    let mut message = String::new();
    for argument in arguments {
        match &argument[..] {
            [TokenTree::Literal(text)] => {
                let tokens = TokenStream::from(TokenTree::Literal(text.clone()));
                message =
                    syn::parse2::<syn::LitStr>(tokens).map_or_else(|_| text.to_string(), |text| text.value());
                // What follows is filled into it.
                break;
            }
            [] => {}
            argument => fields.extend(field(argument)),
        }
    }
    LogLine { level: level.to_uppercase(), message, fields }
}

/// The name of `name = value`, `name`, `%name`, `?name` or `self.name`, dots included.
fn field(argument: &[TokenTree]) -> Option<String> {
    let name =
        argument.iter().take_while(|token| !matches!(token, TokenTree::Punct(p) if p.as_char() == '='));
    let name: String = name.map(ToString::to_string).collect();
    let name = name.trim_start_matches(['%', '?']);
    (!name.is_empty()).then(|| name.to_owned())
}

/// The fields of `tracing::$level!(name = value, ..., $($rest)+)` in the rules of a macro.
fn added_fields(rules: TokenStream) -> Option<Vec<String>> {
    let tokens: Vec<TokenTree> = rules.into_iter().collect();
    let text = |at: usize| tokens.get(at).map(ToString::to_string).unwrap_or_default();
    for (at, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        let begin = at.saturating_sub(6);
        let before: String = (begin..at).map(text).collect();
        if before.starts_with("tracing::$") && before.ends_with('!') {
            let named = split(group.stream()).into_iter().filter(
                |argument| matches!(argument.get(1), Some(TokenTree::Punct(p)) if p.as_char() == '='),
            );
            return Some(named.filter_map(|argument| field(&argument)).collect());
        }
        if let Some(found) = added_fields(group.stream()) {
            return Some(found);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(arguments: &str) -> LogLine {
        read("warn", &[], &split(arguments.parse().expect("these are tokens")))
    }

    #[test]
    fn fields_stand_before_the_text_and_values_behind_it() {
        let read = line("app = name, worker, %error, ?state, \"a {} of {x}\", f(1, 2), y = 3");
        assert_eq!((read.level.as_str(), read.message.as_str()), ("WARN", "a {} of {x}"));
        assert_eq!(read.fields, ["app", "worker", "error", "state"]);
    }

    #[test]
    fn a_macro_of_ours_adds_its_fields() {
        let rules = "($l:ident, $a:expr, $($rest:tt)+) => {{ tracing::$l!(app = $a.app, link = $a.link, $($rest)+) }};";
        let rules = rules.parse().expect("these are tokens");
        assert_eq!(added_fields(rules), Some(vec!["app".to_owned(), "link".to_owned()]));
    }
}
