//! A configuration file as it is written: statements and expressions, each with its place.
//!
//! Nothing here knows what a Server is; the module `resolve` does.

use crate::diagnostic::span::Span;

/// One file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    /// In the order of the file.
    pub statements: Vec<Statement>,
}

/// What a file consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Statement {
    /// `name = value`.
    Assignment(Assignment),
    /// `include "other.conf"`; m2sh does not know it.
    Include(Text),
}

/// `name = value`, as a statement or as an attribute of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// Left of the `=`.
    pub name: Text,
    /// Right of it.
    pub value: Expr,
}

/// A word or a quoted text, without its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    /// As written: a backslash stays where it is, and so does what follows it.
    pub text: String,
    /// With the quotes, if it has any.
    pub span: Span,
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// All of it.
    pub span: Span,
}

/// Everything that can stand right of `=` and `:`, and in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ExprKind {
    /// `'text'` or `"text"`.
    Text(String),
    /// Digits, as written: leading zeros reach the database in settings.
    Number(String),
    /// `Class(name = value ...)`.
    Class(Class),
    /// `[value ...]`.
    List(Vec<Expr>),
    /// `{'key': value ...}`.
    Hash(Vec<Entry>),
    /// The name of a variable, which may be assigned later.
    Reference(String),
    /// Something that cannot be read; an error says so.
    Broken,
}

impl ExprKind {
    /// What it is called in messages, with its article.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Number(_) => "a number",
            Self::Class(_) => "a class",
            Self::List(_) => "a list",
            Self::Hash(_) => "a hash",
            Self::Reference(_) => "a variable",
            Self::Broken => "an error",
        }
    }
}

/// `Class(name = value ...)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Class {
    /// `Server`, `Host` ...
    pub name: Text,
    /// In the order of the file.
    pub attributes: Vec<Assignment>,
}

/// `'key': value` in a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Left of the `:`.
    pub key: Text,
    /// Right of it.
    pub value: Expr,
}
