//! Pages from templates, in the language of Jinja, by `minijinja`: what `kennel.render` of both languages stands on.
//!
//! An app's templates are the files below `templates/` beside it, and never others. Under `kennel dev` they are read anew for
//! each page; otherwise each is read once in a worker's life.

mod failure;
mod folder;
mod page;

pub use failure::TemplateError;
/// The values that templates know.
pub use minijinja;
pub use page::Page;

use folder::Folder;
use minijinja::{AutoEscape, Environment, ErrorKind, Output, State, Value};
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;
use std::sync::OnceLock;

/// Steps that a page may take, about a second.
const FUEL: u64 = 20_000_000;
/// How deep templates may include each other, and macros call each other.
const RECURSION: usize = 100;
/// The largest page, bytes.
const MAX_PAGE: usize = 64 << 20;

/// The templates of an app.
#[derive(Debug)]
pub struct Templates {
    folder: Folder,
    is_dev: bool,
    kept: OnceLock<Environment<'static>>,
}

/// A page.
#[derive(Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub body: String,
    /// What it is, by the template's name.
    pub content_type: &'static str,
}

impl Templates {
    /// Those of the app whose code is this file, or a module of the working directory when it is the name of one.
    /// Nothing is read before the first page.
    pub fn beside(source: &str, is_dev: bool) -> Self {
        Self { folder: Folder::beside(Path::new(source)), is_dev, kept: OnceLock::new() }
    }

    /// Makes a page with these values, a map; `page` has what belongs to the request.
    ///
    /// # Errors
    ///
    /// [`TemplateError`], with the template's file and line where they are known.
    pub fn render(
        &self,
        name: &str,
        values: Value,
        page: Option<Rc<dyn Page>>,
    ) -> Result<Rendered, TemplateError> {
        let fresh;
        let environment = if self.is_dev {
            fresh = self.environment();
            &fresh
        } else {
            self.kept.get_or_init(|| self.environment())
        };
        let mut out = Bounded(Vec::new());
        let result = page::with(page, || {
            let template = environment.get_template(name)?;
            template.render_captured_to(values, &mut out).map(drop)
        });
        result.map_err(|problem| self.failure(name, &problem))?;
        let body = String::from_utf8(out.0).expect("templates write text");
        Ok(Rendered { body, content_type: content_type(name) })
    }

    fn environment(&self) -> Environment<'static> {
        let mut environment = Environment::new();
        let folder = self.folder.clone();
        environment.set_loader(move |name| {
            folder.read(name).map_err(|problem| minijinja::Error::new(ErrorKind::InvalidOperation, problem))
        });
        environment.set_auto_escape_callback(auto_escape);
        environment.set_formatter(format);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(RECURSION);
        page::add_globals(&mut environment);
        environment
    }

    fn failure(&self, asked: &str, problem: &minijinja::Error) -> TemplateError {
        TemplateError::of(problem, asked, &self.folder, self.is_dev)
    }
}

/// The end of a template's name, in lower case.
fn ending(whole: &str) -> String {
    let name = ["jinja", "jinja2", "j2"]
        .iter()
        .find_map(|end| whole.strip_suffix(end)?.strip_suffix('.').filter(|rest| rest.contains('.')));
    name.unwrap_or(whole).rsplit('.').next().unwrap_or_default().to_ascii_lowercase()
}

/// Everything is escaped for HTML but what cannot be HTML.
fn auto_escape(name: &str) -> AutoEscape {
    match ending(name).as_str() {
        "txt" | "text" | "md" | "csv" | "css" => AutoEscape::None,
        "json" | "js" => AutoEscape::Json,
        _ => AutoEscape::Html,
    }
}

/// Writes a value. As minijinja does, but a slash stays a slash, as in Jinja.
fn format(out: &mut Output<'_>, state: &State<'_, '_>, value: &Value) -> Result<(), minijinja::Error> {
    let Some(text) = value.as_str().filter(|_| state.auto_escape() == AutoEscape::Html && !value.is_safe())
    else {
        return minijinja::escape_formatter(out, state, value);
    };
    let mut rest = text;
    while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
        let escaped = match rest.as_bytes()[at] {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            _ => "&#39;",
        };
        out.write_str(&rest[..at])?;
        out.write_str(escaped)?;
        rest = &rest[at + 1..];
    }
    Ok(out.write_str(rest)?)
}

fn content_type(name: &str) -> &'static str {
    match ending(name).as_str() {
        "txt" | "text" | "md" => "text/plain; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "js" => "text/javascript; charset=utf-8",
        "xml" => "application/xml; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "text/html; charset=utf-8",
    }
}

/// Takes so much and no more.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_PAGE {
            return Err(io::Error::other("too large"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
