//! The variables of all files of a configuration, and what they lead to.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use crate::diagnostic::span::Span;
use crate::diagnostic::suggest::nearest;
use crate::diagnostic::{Diagnostic, Severity};
use crate::language::ast::{Assignment, Expr, ExprKind, Statement, Tree};

/// How far m2sh follows a variable that is set to a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follows {
    /// Not at all: only `servers`.
    Nothing,
    /// To the value of the variable, which must not be a variable itself.
    Once,
    /// To the end, as inside the settings of Filters.
    Always,
}

/// Every variable, and whether something led to it.
pub(crate) struct Variables<'a> {
    known: HashMap<&'a str, Variable<'a>>,
    found: &'a RefCell<Vec<Diagnostic>>,
}

struct Variable<'a> {
    assignment: &'a Assignment,
    used: Cell<bool>,
}

impl<'a> Variables<'a> {
    /// Of the trees in the order of loading; m2sh would let the last of two win, silently.
    pub(crate) fn new(trees: &'a [Tree], found: &'a RefCell<Vec<Diagnostic>>) -> Self {
        let mut known: HashMap<&str, Variable<'_>> = HashMap::new();
        for assignment in trees.iter().flat_map(|tree| &tree.statements).filter_map(assignment) {
            let name = &assignment.name;
            if let Some(first) = known.get(name.text.as_str()) {
                let message = format!("the variable `{}` is set twice", name.text);
                let problem = Diagnostic::error("duplicate-variable", name.span, message)
                    .help("m2sh would silently take the last one")
                    .related(first.assignment.name.span, "the first one");
                found.borrow_mut().push(problem);
                continue;
            }
            known.insert(&name.text, Variable { assignment, used: Cell::new(false) });
        }
        Self { known, found }
    }

    /// A variable by name, from now on used.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Assignment> {
        let variable = self.known.get(name)?;
        variable.used.set(true);
        Some(variable.assignment)
    }

    /// All names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.known.keys().copied()
    }

    /// The value that an expression stands for. `None` after an error.
    pub(crate) fn follow(&self, expr: &'a Expr, m2sh: Follows) -> Option<&'a Expr> {
        let mut seen: Vec<&str> = Vec::new();
        let mut here = expr;
        loop {
            let name = match &here.kind {
                ExprKind::Broken => return None,
                ExprKind::Reference(name) => name,
                _ => break,
            };
            if seen.contains(&name.as_str()) {
                self.report_cycle(&seen, name, here.span);
                return None;
            }
            seen.push(name);
            let assignment = self.get(name).or_else(|| self.report_unknown(name, here.span));
            here = &assignment?.value;
        }
        let allowed = match m2sh {
            Follows::Nothing => 0,
            Follows::Once => 1,
            Follows::Always => usize::MAX,
        };
        if seen.len() > allowed {
            let (message, rule) = match m2sh {
                Follows::Nothing => {
                    ("m2sh will not load this: `servers` is a variable", "write the list here")
                }
                _ => (
                    "m2sh will not load this: it leads to another variable",
                    "m2sh follows one variable only",
                ),
            };
            let problem = Diagnostic::new(Severity::Note, "extension", expr.span, message).help(rule);
            self.found.borrow_mut().push(problem);
        }
        Some(here)
    }

    /// Returns the variable that was probably meant, to find mistakes in it too.
    fn report_unknown(&self, name: &str, span: Span) -> Option<&'a Assignment> {
        let message = format!("there is no variable `{name}`");
        let problem = Diagnostic::error("unknown-variable", span, message);
        let near = nearest(name, self.names());
        let problem = if near.is_none() { problem.help("texts need quotes") } else { problem.meant(near) };
        self.found.borrow_mut().push(problem);
        self.get(near?)
    }

    fn report_cycle(&self, seen: &[&str], name: &str, span: Span) {
        let start = seen.iter().position(|one| *one == name).unwrap_or(0);
        let names: Vec<_> = seen[start..].iter().chain([&name]).map(|name| format!("`{name}`")).collect();
        let message = format!("these variables lead to each other: {}", names.join(" = "));
        self.found.borrow_mut().push(Diagnostic::error("reference-cycle", span, message));
    }

    /// Warns of variables that nothing leads to, which may be misspelt.
    pub(crate) fn report_unused(&self) {
        for Variable { assignment: Assignment { name, .. }, used } in self.known.values() {
            if !used.get() {
                let message = format!("nothing uses the variable `{}`", name.text);
                let meant = nearest(&name.text, ["servers", "settings", "mimetypes"]);
                let meant = meant.filter(|meant| !self.known.contains_key(meant));
                let problem = Diagnostic::warning("unused-variable", name.span, message).meant(meant);
                self.found.borrow_mut().push(problem);
            }
        }
    }
}

fn assignment(statement: &Statement) -> Option<&Assignment> {
    match statement {
        Statement::Assignment(assignment) => Some(assignment),
        Statement::Include(_) => None,
    }
}
