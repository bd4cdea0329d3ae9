//! The attributes of one class: which there are, and what each holds.

use std::collections::HashMap;

use super::Resolver;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::places::ClassPlaces;
use crate::diagnostic::suggest::nearest;
use crate::language::ast::{Class, Expr, ExprKind};
use crate::language::classes::{Attribute, ClassKind, Holds};
use crate::language::variables::Follows;
use crate::model::Protocol;

/// The attributes of one class.
pub(super) struct Reader<'a, 'r> {
    resolver: &'r Resolver<'a>,
    values: HashMap<&'static str, &'a Expr>,
    pub(super) places: ClassPlaces,
}

impl<'a, 'r> Reader<'a, 'r> {
    /// Looks at the names: unknown, twice, missing.
    pub(super) fn new(resolver: &'r Resolver<'a>, class: &'a Class, kind: ClassKind) -> Self {
        let known = kind.attributes();
        let mut values: HashMap<&'static str, &'a Expr> = HashMap::new();
        let mut first = HashMap::new();
        for attribute in &class.attributes {
            let name = &attribute.name;
            let Some(Attribute { name: word, .. }) = known.iter().find(|known| known.name == name.text)
            else {
                let message = format!("{} has no attribute `{}`", kind.a(), name.text);
                let free =
                    known.iter().filter(|known| !class.attributes.iter().any(|a| a.name.text == known.name));
                let near = nearest(&name.text, free.map(|known| known.name));
                let problem = Diagnostic::warning("unknown-attribute", name.span, message).meant(near);
                let names: Vec<_> = known.iter().map(|known| known.name).collect();
                resolver.report(problem.help(format!("it is ignored; there are: {}", names.join(", "))));
                continue;
            };
            if let Some(first) = first.insert(*word, name.span) {
                let message = format!("the attribute `{word}` is there twice");
                let problem = Diagnostic::error("duplicate-attribute", name.span, message)
                    .help("m2sh would silently take the last one")
                    .related(first, "the first one");
                resolver.report(problem);
                continue;
            }
            values.insert(*word, &attribute.value);
        }
        let missing: Vec<_> = known
            .iter()
            .filter(|known| known.required && !values.contains_key(known.name))
            .map(|known| format!("`{}`", known.name))
            .collect();
        if !missing.is_empty() {
            let message = format!("{} needs {}", kind.a(), missing.join(", "));
            resolver.report(Diagnostic::error("missing-attribute", class.name.span, message));
        }
        Self { resolver, values, places: ClassPlaces::default() }
    }

    /// The value of an attribute if it has one of this type, and its place then.
    pub(super) fn value(&mut self, name: &'static str, holds: Holds) -> Option<&'a Expr> {
        let written = *self.values.get(name)?;
        let value = self.resolver.variables.follow(written, Follows::Once)?;
        let fits = match holds {
            Holds::Text => matches!(value.kind, ExprKind::Text(_)),
            Holds::Number | Holds::Flag => matches!(value.kind, ExprKind::Number(_)),
            Holds::List => matches!(value.kind, ExprKind::List(_)),
            Holds::Hash => matches!(value.kind, ExprKind::Hash(_)),
        };
        if !fits {
            self.resolver.wrong_type(&format!("`{name}`"), holds.a(), value, written.span);
            return None;
        }
        self.places.attributes.push((name, written.span));
        Some(value)
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        match &self.value(name, Holds::Text)?.kind {
            ExprKind::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    fn digits(&mut self, name: &'static str, holds: Holds) -> Option<&'a str> {
        match &self.value(name, holds)?.kind {
            ExprKind::Number(digits) => Some(digits),
            _ => None,
        }
    }

    pub(super) fn number<T: std::str::FromStr + std::fmt::Display>(
        &mut self,
        name: &'static str,
        max: T,
    ) -> Option<T> {
        let digits = self.digits(name, Holds::Number)?;
        let number = digits.parse().ok();
        if number.is_none() {
            self.unfit(name, "number-range", format!("`{name}` is {digits}, and can be {max} at most"));
        }
        number
    }

    /// m2sh looks at the first digit only, Mongrel2 at the number.
    pub(super) fn flag(&mut self, name: &'static str) -> bool {
        match self.digits(name, Holds::Flag) {
            None | Some("0") => false,
            Some("1") => true,
            Some(digits) => {
                self.unfit(name, "number-range", format!("`{name}` is {digits}, and can be 0 or 1"));
                false
            }
        }
    }

    /// m2sh takes a number that begins with 0 for 0.
    pub(super) fn cache_ttl(&mut self) -> u32 {
        let seconds = self.number("cache_ttl", i32::MAX.cast_unsigned()).unwrap_or(0);
        let written = self.values.get("cache_ttl").map(|expr| &expr.kind);
        if seconds > 0 && matches!(written, Some(ExprKind::Number(digits)) if digits.starts_with('0')) {
            let message = format!("`cache_ttl` has a 0 before {seconds}, which m2sh takes for 0");
            self.unfit("cache_ttl", "number-range", message);
        }
        seconds
    }

    /// Mongrel2 takes any other word for `json`.
    pub(super) fn protocol(&mut self) -> Protocol {
        let Some(word) = self.text("protocol") else { return Protocol::Json };
        let known = [Protocol::Json, Protocol::Tnetstring].into_iter().find(|known| known.as_str() == word);
        known.unwrap_or_else(|| {
            if let Some(span) = self.places.attributes.pop().map(|(_, span)| span) {
                let message = format!("there is no protocol `{word}`");
                let problem = Diagnostic::error("unknown-protocol", span, message)
                    .meant(nearest(&word, ["json", "tnetstring"]))
                    .help("`json` or `tnetstring`; Mongrel2 would silently take it for `json`");
                self.resolver.report(problem);
            }
            Protocol::Json
        })
    }

    /// The last value that was read is none that fits.
    fn unfit(&mut self, name: &'static str, rule: &'static str, message: String) {
        let place = self.places.attributes.iter().position(|(known, _)| *known == name);
        if let Some((_, span)) = place.map(|at| self.places.attributes.swap_remove(at)) {
            self.resolver.report(Diagnostic::error(rule, span, message));
        }
    }
}
