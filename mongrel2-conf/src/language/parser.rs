//! From tokens to the tree, by m2sh's grammar, and on after every error.
//!
//! ```text
//! file      = statement+
//! statement = NAME "=" value | "include" TEXT       (the latter is ours)
//! value     = TEXT | NUMBER | NAME | class | list | hash
//! class     = CLASS "(" items of NAME "=" value ")"
//! list      = "[" items of value "]"
//! hash      = "{" items of TEXT ":" value "}"
//! ```
//!
//! Commas between items may be left out. m2sh takes one before the first item, none behind the
//! last, none between statements.
//!
//! When a bracket is never closed, everything behind it would be inside. So the file is read
//! again, and `name =` at the left margin then begins a statement whatever is open.

use crate::diagnostic::Diagnostic;
use crate::diagnostic::span::Span;
use crate::language::ast::{Assignment, Class, Entry, Expr, ExprKind, Statement, Text, Tree};
use crate::language::token::{Bracket, Kind, Token, tokens};

/// Brackets in brackets. m2sh gives up at about 40.
const MAX_DEPTH: usize = 100;

/// Reads a file; `file` is its number in the sources.
pub(crate) fn parse(file: u32, text: &str, found: &mut Vec<Diagnostic>) -> Tree {
    let tokens = tokens(file, text, found);
    let mut parser = Parser::new(text, &tokens, false);
    let mut tree = parser.file();
    if parser.ended_open {
        parser = Parser::new(text, &tokens, true);
        tree = parser.file();
    }
    found.append(&mut parser.found);
    tree
}

struct Parser<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
    /// What is open at this point, outermost first.
    open: Vec<(Bracket, Span)>,
    /// Whether `name =` at the left margin closes everything.
    margin: bool,
    /// Whether the file ended inside brackets.
    ended_open: bool,
    found: Vec<Diagnostic>,
}

/// What follows an item.
enum Next {
    Item,
    Closed(Span),
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, tokens: &'a [Token], margin: bool) -> Self {
        Self { text, tokens, at: 0, open: Vec::new(), margin, ended_open: false, found: Vec::new() }
    }

    fn file(&mut self) -> Tree {
        let mut statements = Vec::new();
        while self.kind() != Kind::End {
            let before = self.at;
            if let Some(statement) = self.statement() {
                statements.push(statement);
            } else {
                if self.at == before {
                    self.at += 1;
                }
                self.skip_to_statement();
            }
        }
        Tree { statements }
    }

    fn statement(&mut self) -> Option<Statement> {
        let first = self.token();
        match (first.kind, self.kind_after()) {
            (Kind::Name, Kind::Text) if self.snippet(first.span) == "include" => {
                self.at += 1;
                let path = self.quoted();
                return Some(Statement::Include(path));
            }
            (Kind::Name | Kind::Class, _) if self.kind_after() == Kind::Equals => {}
            (Kind::Name | Kind::Class, Kind::Colon) => {
                self.complain(self.tokens[self.at + 1], "statements are `name = value`", "`=`");
                self.tokens.get(self.at + 1)?;
            }
            (Kind::Name, Kind::Text | Kind::Number | Kind::Class | Kind::Open(_)) => {
                let problem = Diagnostic::error("syntax", first.span.behind(), "`=` is missing");
                self.found.push(problem.help("statements are `name = value`"));
                let name = self.name();
                let value = self.value();
                return Some(Statement::Assignment(Assignment { name, value }));
            }
            (Kind::Comma, _) => {
                let problem = Diagnostic::error("syntax", first.span, "a comma between statements");
                self.found.push(problem.help("commas are only for what is in brackets"));
                return None;
            }
            (Kind::Close(bracket), _) => {
                let message = format!("this `{}` closes nothing", bracket.close());
                self.found.push(Diagnostic::error("stray-bracket", first.span, message));
                return None;
            }
            _ => {
                let message = format!("{} where a statement should begin", first.kind.describe());
                let problem = Diagnostic::error("syntax", first.span, message);
                self.found.push(problem.help("statements are `name = value`"));
                return None;
            }
        }
        Some(Statement::Assignment(self.assignment("variable")))
    }

    /// At `name =`, or `name :` after a complaint.
    fn assignment(&mut self, what: &str) -> Assignment {
        let first = self.token();
        if first.kind == Kind::Class {
            let word = self.snippet(first.span);
            let message = format!("`{word}` cannot be the name of a {what}");
            let problem = Diagnostic::error("class-as-name", first.span, message);
            let mut lower = word.to_owned();
            lower[..1].make_ascii_lowercase();
            let rule = "letters only, the first upper-case: that is a class";
            self.found.push(problem.label(format!("write `{lower}`")).help(rule));
        }
        let name = self.name();
        self.at += 1;
        let value = self.value();
        Assignment { name, value }
    }

    fn value(&mut self) -> Expr {
        let Token { kind, span } = self.token();
        let kind = match kind {
            Kind::Text => {
                let text = self.quoted();
                return Expr { kind: ExprKind::Text(text.text), span };
            }
            Kind::Number => {
                self.at += 1;
                ExprKind::Number(self.snippet(span).to_owned())
            }
            Kind::Name => {
                self.at += 1;
                if self.kind() == Kind::Open(Bracket::Round) {
                    return self.lower_case_class(span);
                }
                ExprKind::Reference(self.snippet(span).to_owned())
            }
            Kind::Class => return self.class(),
            Kind::Open(Bracket::Square) => return self.list(),
            Kind::Open(Bracket::Curly) => return self.hash(),
            _ => {
                let message = format!("a value is missing before {}", kind.describe());
                let rule = "a value is a text, a number, a variable, Class(...), [...] or {...}";
                let last = self.tokens[self.at.saturating_sub(1)].span.behind();
                let span = if kind == Kind::End { last } else { span };
                self.found.push(Diagnostic::error("syntax", span, message).help(rule));
                if kind == Kind::Open(Bracket::Round) {
                    self.skip_brackets();
                }
                ExprKind::Broken
            }
        };
        Expr { kind, span }
    }

    /// `dir(...)`: read as the class that was meant, so that its attributes are looked at too.
    fn lower_case_class(&mut self, span: Span) -> Expr {
        let word = self.snippet(span);
        let mut class = word.to_owned();
        class[..1].make_ascii_uppercase();
        let message = format!("`{word}` cannot be a class");
        let problem = Diagnostic::error("syntax", span, message);
        let rule = "classes have letters only, at least two, the first upper-case";
        self.found.push(problem.label(format!("write `{class}`")).help(rule));
        self.at -= 1;
        let mut expr = self.class();
        if let ExprKind::Class(made) = &mut expr.kind {
            made.name.text = class;
        }
        expr
    }

    fn class(&mut self) -> Expr {
        let name = self.name();
        let start = name.span;
        if self.kind() != Kind::Open(Bracket::Round) {
            let message = format!("`(` is missing behind the class `{}`", name.text);
            let problem = Diagnostic::error("syntax", start, message);
            self.found.push(problem.help("`Class(...)` makes one; variables begin in lower case"));
            return Expr { kind: ExprKind::Broken, span: start };
        }
        let mut attributes = Vec::new();
        let end = self.items(Bracket::Round, |parser| {
            let first = parser.token();
            match (first.kind, parser.kind_after()) {
                (Kind::Name | Kind::Class, Kind::Equals) => {}
                (Kind::Name | Kind::Class, Kind::Colon) => {
                    parser.complain(parser.tokens[parser.at + 1], "attributes are `name=value`", "`=`");
                }
                (Kind::Name, Kind::Text | Kind::Number | Kind::Class | Kind::Open(_)) => {
                    let problem = Diagnostic::error("syntax", first.span.behind(), "`=` is missing");
                    parser.found.push(problem.help("attributes are `name=value`"));
                    let name = parser.name();
                    let value = parser.value();
                    attributes.push(Assignment { name, value });
                    return true;
                }
                _ => {
                    parser.complain(first, "attributes are `name=value`", "an attribute");
                    return false;
                }
            }
            attributes.push(parser.assignment("attribute"));
            true
        });
        Expr { kind: ExprKind::Class(Class { name, attributes }), span: start.to(end) }
    }

    fn list(&mut self) -> Expr {
        let start = self.token().span;
        let mut values = Vec::new();
        let end = self.items(Bracket::Square, |parser| {
            let first = parser.token();
            let before = parser.at;
            if matches!(first.kind, Kind::Equals | Kind::Colon | Kind::Open(Bracket::Round)) {
                parser.complain(first, "a list has values only", "a value");
                return false;
            }
            values.push(parser.value());
            parser.at > before
        });
        Expr { kind: ExprKind::List(values), span: start.to(end) }
    }

    fn hash(&mut self) -> Expr {
        let start = self.token().span;
        let mut entries = Vec::new();
        let end = self.items(Bracket::Curly, |parser| {
            const RULE: &str = "a hash has pairs: 'key': value";
            let first = parser.token();
            match (first.kind, parser.kind_after()) {
                (Kind::Text, Kind::Colon) => {}
                (Kind::Name | Kind::Number | Kind::Class, Kind::Colon) => {
                    let word = parser.snippet(first.span);
                    let message = format!("the key `{word}` needs quotes");
                    let problem = Diagnostic::error("syntax", first.span, message);
                    parser.found.push(problem.label(format!("write '{word}'")).help(RULE));
                }
                (Kind::Text, Kind::Equals) => {
                    parser.complain(parser.tokens[parser.at + 1], RULE, "`:`");
                }
                _ => {
                    parser.complain(first, RULE, "a pair");
                    return false;
                }
            }
            let key = if first.kind == Kind::Text { parser.quoted() } else { parser.name() };
            parser.at += 1;
            let value = parser.value();
            entries.push(Entry { key, value });
            true
        });
        Expr { kind: ExprKind::Hash(entries), span: start.to(end) }
    }

    /// From an opening bracket over all items, each read by `item`, which says whether it could
    /// make something of what is there. Returns the place of the end.
    fn items(&mut self, bracket: Bracket, mut item: impl FnMut(&mut Self) -> bool) -> Span {
        let opening = self.token().span;
        if self.open.len() == MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} brackets inside each other");
            self.found.push(Diagnostic::error("too-deep", opening, message));
            return self.skip_brackets();
        }
        self.at += 1;
        self.open.push((bracket, opening));
        let end = loop {
            match self.next(bracket, opening) {
                Next::Closed(end) => break end,
                Next::Item => {
                    if !item(self) {
                        self.skip_to_item();
                    }
                }
            }
        };
        self.open.pop();
        end
    }

    /// Goes over commas and the closing bracket, or what stands in place of it.
    fn next(&mut self, bracket: Bracket, opening: Span) -> Next {
        let token = self.token();
        match token.kind {
            Kind::Comma => {
                self.at += 1;
                match self.kind() {
                    Kind::Close(_) => {
                        let problem =
                            Diagnostic::error("trailing-comma", token.span, "a comma behind the last item");
                        self.found.push(problem.help("m2sh takes none there; leave it out"));
                    }
                    Kind::Comma => {
                        let problem =
                            Diagnostic::error("syntax", self.token().span, "nothing between two commas");
                        self.found.push(problem);
                    }
                    _ => {}
                }
                self.next_or_end(bracket, opening)
            }
            _ => self.next_or_end(bracket, opening),
        }
    }

    fn next_or_end(&mut self, bracket: Bracket, opening: Span) -> Next {
        let token = self.token();
        match token.kind {
            Kind::Close(close) if close == bracket => {
                self.at += 1;
                Next::Closed(token.span)
            }
            Kind::Close(close) => {
                let outer = &self.open[..self.open.len() - 1];
                if outer.iter().any(|(open, _)| *open == close) {
                    // It belongs to an outer one, so this one's is missing.
                    self.unclosed(bracket, opening, token.span, "the next closing bracket");
                    return Next::Closed(token.span.first_byte());
                }
                let message = format!("`{}` cannot close this", close.close());
                let problem = Diagnostic::error("stray-bracket", token.span, message);
                let what = format!("what was opened here ends with `{}`", bracket.close());
                self.found.push(problem.related(opening, what));
                self.at += 1;
                // Instead of the right one, or too many? Instead, if the right one is not next.
                match self.kind() {
                    Kind::Close(close) if close == bracket => self.next_or_end(bracket, opening),
                    _ => Next::Closed(token.span),
                }
            }
            Kind::Comma => self.next(bracket, opening),
            Kind::End => {
                self.ended_open = true;
                self.unclosed(bracket, opening, token.span, "the end of the file");
                Next::Closed(token.span)
            }
            _ if self.margin && self.at_margin() => {
                self.unclosed(bracket, opening, token.span, "the next statement");
                Next::Closed(token.span.first_byte())
            }
            _ => Next::Item,
        }
    }

    fn unclosed(&mut self, bracket: Bracket, opening: Span, end: Span, what: &str) {
        let message = format!("this bracket is not closed; a `{}` is missing", bracket.close());
        let problem = Diagnostic::error("unclosed-bracket", opening, message);
        self.found.push(problem.related(end, format!("it should be before this, {what}")));
    }

    /// Whether a statement begins here, judged by the left margin.
    fn at_margin(&self) -> bool {
        let start = self.token().span.start as usize;
        matches!(self.kind(), Kind::Name | Kind::Class)
            && self.kind_after() == Kind::Equals
            && (start == 0 || self.text.as_bytes()[start - 1] == b'\n')
    }

    fn complain(&mut self, token: Token, rule: &str, expected: &str) {
        let message = format!("{} instead of {expected}", token.kind.describe());
        self.found.push(Diagnostic::error("syntax", token.span, message).help(rule));
    }

    /// Goes on to where something can begin again inside brackets: behind a comma, at a closing
    /// bracket, at `name =` or `'key' :`. At least one token is left out.
    fn skip_to_item(&mut self) {
        loop {
            match self.kind() {
                Kind::Open(_) => {
                    self.skip_brackets();
                }
                Kind::End | Kind::Close(_) => return,
                _ => self.at += 1,
            }
            match (self.kind(), self.kind_after()) {
                (Kind::Comma | Kind::Close(_) | Kind::End, _) => return,
                (Kind::Name | Kind::Class, Kind::Equals) | (Kind::Text, Kind::Colon) => return,
                _ => {}
            }
        }
    }

    fn skip_to_statement(&mut self) {
        loop {
            match (self.kind(), self.kind_after()) {
                (Kind::End, _) | (Kind::Name | Kind::Class, Kind::Equals) => return,
                (Kind::Name, Kind::Text) if self.snippet(self.token().span) == "include" => return,
                (Kind::Open(_), _) => {
                    self.skip_brackets();
                }
                _ => self.at += 1,
            }
        }
    }

    /// From an opening bracket behind the one that closes it, whatever is inside.
    fn skip_brackets(&mut self) -> Span {
        let mut depth = 0_usize;
        loop {
            let token = self.token();
            match token.kind {
                Kind::Open(_) => depth += 1,
                Kind::Close(_) => depth = depth.saturating_sub(1),
                Kind::End => return token.span,
                _ if self.margin && self.at_margin() => return token.span.first_byte(),
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return token.span;
            }
        }
    }

    /// The token here as a word.
    fn name(&mut self) -> Text {
        let span = self.token().span;
        self.at += 1;
        Text { text: self.snippet(span).to_owned(), span }
    }

    /// The token here as a text without its quotes, of which the second may be missing.
    fn quoted(&mut self) -> Text {
        let span = self.token().span;
        self.at += 1;
        let snippet = self.snippet(span);
        let mut text = snippet.chars();
        let quote = text.next();
        // Curly quotes, which are an error, differ at both ends.
        if snippet.chars().count() > 1 && (text.clone().next_back() == quote || !snippet.is_char_boundary(1))
        {
            text.next_back();
        }
        Text { text: text.as_str().to_owned(), span }
    }

    /// The token here; at the end of the file that one, for ever.
    fn token(&self) -> Token {
        self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn kind(&self) -> Kind {
        self.token().kind
    }

    fn kind_after(&self) -> Kind {
        self.tokens[(self.at + 1).min(self.tokens.len() - 1)].kind
    }

    fn snippet(&self, span: Span) -> &'a str {
        &self.text[span.bytes()]
    }
}

#[cfg(test)]
mod tests;
