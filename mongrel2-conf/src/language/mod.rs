//! Configuration files: Mongrel2's language as m2sh reads it, and `include`.
//!
//! ```text
//! # comments go to the end of the line
//! app = Handler(send_spec='tcp://127.0.0.1:9997' send_ident='app-1'
//!               recv_spec='tcp://127.0.0.1:9996' recv_ident='app-')
//!
//! main = Server(uuid='main' name='main' port=6767 default_host='localhost'
//!               access_log='/logs/access.log' error_log='/logs/error.log'
//!               pid_file='/run/mongrel2.pid'
//!               hosts=[Host(name='localhost' routes={'/': app})])
//!
//! settings = {'limits.min_ping': 0}
//! include "more.conf"
//! servers = [main]
//! ```
//!
//! [`load`] is the one way in. It finds everything that is wrong, in all files, in one run:
//! what cannot be read, what m2sh would skip or crash on, and what Mongrel2 would punish.
//!
//! Only here, each noted as `extension` when it is used:
//!
//! * `include "FILE"` reads another file, whose path counts from the one that includes it. All
//!   share their variables; a file that is included twice is read once.
//! * Variables may lead to variables everywhere, `servers` too.
//! * `keep_order = 1` keeps the order of routes, settings and other hashes as they are written;
//!   `default_mimetypes = 0` leaves out m2sh's content types. [`crate::language::print`] needs them.

mod ast;
mod classes;
mod file_order;
mod parser;
pub mod print;
mod resolve;
mod token;
mod variables;

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::diagnostic::places::Places;
use crate::diagnostic::span::{Sources, Span};
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::model::Config;
use crate::model::mimetypes;
use ast::{Statement, Text, Tree};
use parser::parse;
use resolve::{Resolved, resolve};

/// Longest file in bytes. A route has some 50 to 200.
const MAX_FILE: u64 = 64 << 20;
/// More included files than this are a mistake.
const MAX_FILES: usize = 1000;
/// A file with more mistakes than this is no configuration.
const MAX_FOUND: usize = 1000;

/// The rule that says that a file is one at all.
const NO_TEXT: &str = "no-text";

/// A configuration that can be written to a database.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The model. Hashes are in the order in which m2sh writes them, which may decide between
    /// patterns of one prefix; content types are the file's own, without m2sh's 856.
    pub config: Config,
    /// Whether the database is to have m2sh's content types too.
    pub default_mimetypes: bool,
    /// Warnings and notes.
    pub diagnostics: Diagnostics,
}

impl Loaded {
    /// The configuration as it belongs into a database: with m2sh's content types, unless the file
    /// says otherwise.
    pub fn with_default_mimetypes(self) -> Config {
        let mut config = self.config;
        if self.default_mimetypes {
            config.mimetypes = mimetypes::of_m2sh_with(&config.mimetypes);
        }
        config
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file that was asked for; trouble with included ones is a diagnostic.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// At least one error is among these.
    #[error("{}", count(.0))]
    Wrong(Diagnostics),
}

fn count(found: &Diagnostics) -> String {
    match found.count(Severity::Error) {
        1 => "1 error in the configuration".into(),
        errors => format!("{errors} errors in the configuration"),
    }
}

/// Reads a configuration file and all that it includes.
///
/// # Errors
///
/// [`LoadError::Wrong`] has everything that was found, warnings too.
///
/// ```
/// use mongrel2_conf::language::{self, LoadError};
///
/// # let folder = std::env::temp_dir().join(format!("language-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("site.conf");
/// std::fs::write(&path, "servers = [main]\nmain = Serve(uuid='x')\n")?;
/// let Err(LoadError::Wrong(found)) = language::load(&path) else { panic!() };
/// assert_eq!(found.iter().next().unwrap().name, "unknown-class");
/// println!("{}", found.render(false));
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    let bytes = read(path).map_err(|source| LoadError::Read { path: path.into(), source })?;
    load_text(path, &bytes)
}

/// The same for a text that is already in memory; `path` is what diagnostics call it, and where
/// included files are looked for.
///
/// # Errors
///
/// [`LoadError::Wrong`].
pub fn load_text(path: &Path, text: &[u8]) -> Result<Loaded, LoadError> {
    let mut files = Files::default();
    let start = files.add(path, text);
    files.follow_includes(path);
    let Files { sources, trees, mut found, .. } = files;
    if found.iter().any(|one| one.name == NO_TEXT) {
        return Err(LoadError::Wrong(sorted(sources, found)));
    }
    let readable = found.iter().all(|one| one.severity < Severity::Error);
    let Resolved { config, places, default_mimetypes } = resolve(&trees, start, &mut found);
    apply_rules(&config, &places, &mut found);
    if !readable {
        // What nothing leads to may be led to by what could not be read.
        found.retain(|one| one.name != "unused-variable");
    }
    let diagnostics = sorted(sources, found);
    match diagnostics.has_errors() {
        true => Err(LoadError::Wrong(diagnostics)),
        false => Ok(Loaded { config, default_mimetypes, diagnostics }),
    }
}

/// What Mongrel2 would do with a model that may be incomplete.
fn apply_rules(config: &Config, places: &Places, found: &mut Vec<Diagnostic>) {
    for problem in config.problems() {
        let Some(span) = places.span(problem.place) else { continue };
        let text = problem.invalid.to_string();
        // What is named in a message may have line breaks itself.
        let parts = if problem.invalid.has_advice() { text.rsplit_once('\n') } else { None };
        let (message, advice) = parts.unwrap_or((&text, ""));
        let mut one = Diagnostic::new(problem.invalid.severity(), problem.invalid.name(), span, message);
        if let Some(at) = problem.at {
            // Texts are as they are written, so offsets are the file's, behind the quote.
            let start = (span.start + 1 + at as u32).min(span.end);
            one.span = Span { start, ..span }.first_byte();
        }
        let mut help = vec![advice, problem.invalid.consequence()];
        if advice.starts_with("did you mean") {
            one = one.label(advice);
            help.remove(0);
        }
        help.retain(|line| !line.is_empty());
        if !help.is_empty() {
            one = one.help(help.join("\n"));
        }
        if let Some((place, what)) = problem.other
            && let Some(other) = places.span(place).filter(|other| *other != span)
        {
            one = one.related(other, what);
        }
        found.push(one);
    }
}

/// In the order of the files, without what was found twice because two places use it.
fn sorted(sources: Sources, mut found: Vec<Diagnostic>) -> Diagnostics {
    found.sort_by_key(|one| (one.span.file, one.span.start, std::cmp::Reverse(one.severity)));
    let mut seen = HashSet::new();
    found.retain(|one| seen.insert((one.span, one.name, one.message.clone())));
    if found.len() > MAX_FOUND {
        let more = found.len() - MAX_FOUND;
        let worst = found[MAX_FOUND..].iter().map(|one| one.severity).max().unwrap_or(Severity::Note);
        found.truncate(MAX_FOUND);
        if let Some(last) = found.last() {
            let (span, message) = (last.span, format!("and {more} more"));
            found.push(Diagnostic::new(worst, "too-many", span, message));
        }
    }
    Diagnostics { sources, found }
}

/// All files of one configuration.
#[derive(Default)]
struct Files {
    sources: Sources,
    trees: Vec<Tree>,
    found: Vec<Diagnostic>,
    /// Which file has included which, by number; the first is included by none.
    parents: Vec<Option<usize>>,
    /// By real path.
    known: HashMap<PathBuf, usize>,
}

impl Files {
    /// Reads the text of a file; returns its first byte's place.
    fn add(&mut self, path: &Path, bytes: &[u8]) -> Span {
        let text = String::from_utf8_lossy(bytes);
        let lossy = matches!(text, std::borrow::Cow::Owned(_));
        let file = self.sources.add(path, text.into_owned());
        let text = self.sources.text(file);
        let start = Span { file, start: 0, end: 0 };
        if text.contains('\0') {
            self.found.push(no_text(start, text));
            self.trees.push(Tree::default());
            return start;
        }
        let tree = parse(file, text, &mut self.found);
        if lossy {
            report_not_utf8(file, text, &mut self.found);
        }
        self.trees.push(tree);
        start
    }

    fn follow_includes(&mut self, first: &Path) {
        self.parents.push(None);
        if let Ok(real) = first.canonicalize() {
            self.known.insert(real, 0);
        }
        let mut queue = VecDeque::from([0]);
        while let Some(file) = queue.pop_front() {
            let includes = self.trees[file].statements.iter().filter_map(|statement| match statement {
                Statement::Include(path) => Some(path.clone()),
                Statement::Assignment(_) => None,
            });
            for include in includes.collect::<Vec<_>>() {
                let message = "m2sh will not load this: it has no `include`";
                self.found.push(Diagnostic::new(Severity::Note, "extension", include.span, message));
                if self.include(file, &include) {
                    queue.push_back(self.trees.len() - 1);
                }
            }
        }
    }

    /// Whether there is a new file.
    fn include(&mut self, from: usize, include: &Text) -> bool {
        let path = self.sources.path(from as u32).with_file_name("").join(&include.text);
        let real = path.canonicalize();
        if let Some(&known) = real.as_ref().ok().and_then(|real| self.known.get(real)) {
            let mut outer = std::iter::successors(Some(from), |file| self.parents[*file]);
            if outer.any(|file| file == known) {
                let message = format!("`{}` includes itself", path.display());
                self.found.push(Diagnostic::error("include-cycle", include.span, message));
            }
            return false;
        }
        if self.trees.len() == MAX_FILES {
            let message = format!("more than {MAX_FILES} files");
            self.found.push(Diagnostic::error("include-failed", include.span, message));
            return false;
        }
        let bytes = real.and_then(|real| {
            // Opening a FIFO would wait for ever.
            if !fs::metadata(&real)?.is_file() {
                return Err(io::Error::other("it is not a file"));
            }
            Ok((read(&path)?, real))
        });
        match bytes {
            Ok((bytes, real)) => {
                self.known.insert(real, self.trees.len());
                self.parents.push(Some(from));
                self.add(&path, &bytes);
                true
            }
            Err(err) => {
                let reason = match err.kind() {
                    io::ErrorKind::NotFound => "there is no such file".into(),
                    io::ErrorKind::PermissionDenied => "this user may not read it".into(),
                    _ => err.to_string(),
                };
                let message = format!("cannot include `{}`: {reason}", path.display());
                let problem = Diagnostic::error("include-failed", include.span, message);
                self.found.push(problem.help("the path counts from the folder of this file"));
                false
            }
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > MAX_FILE {
        return Err(io::Error::other(format!("it has more than {} MiB", MAX_FILE >> 20)));
    }
    fs::read(path)
}

/// Of a program, a picture or a database each byte would be a mistake.
fn no_text(start: Span, text: &str) -> Diagnostic {
    match text.starts_with("SQLite format 3") {
        true => Diagnostic::error(NO_TEXT, start, "this is a database, not a configuration file")
            .help("`kennel conf print --db FILE` makes a configuration file of one"),
        false => Diagnostic::error(NO_TEXT, start, "this is no text file: it has bytes that are zero"),
    }
}

/// m2sh takes any bytes in comments and texts. In comments so do we.
fn report_not_utf8(file: u32, text: &str, found: &mut Vec<Diagnostic>) {
    let mut ignored = Vec::new();
    for token in token::tokens(file, text, &mut ignored) {
        if let Some(at) = text[token.span.bytes()].find(char::REPLACEMENT_CHARACTER) {
            let start = token.span.start + at as u32;
            let span = Span { file, start, end: start + char::REPLACEMENT_CHARACTER.len_utf8() as u32 };
            let problem = Diagnostic::error("not-utf8", span, "this text is not UTF-8");
            found.push(problem.help("save the file as UTF-8"));
        }
    }
}
