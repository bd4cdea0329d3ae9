//! The folder that templates are in, and nothing outside of it, whatever a name says and wherever links lead.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The largest template, bytes.
const MAX_TEMPLATE: u64 = 4 << 20;

/// `templates/` beside an app.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Beside this file.
    pub(super) fn beside(source: &Path) -> Self {
        Self(source.parent().unwrap_or(Path::new("")).join("templates"))
    }

    /// The file of a template as it is named to people.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// As it is named to people.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The text of a template; `None`: there is none of this name.
    ///
    /// # Errors
    ///
    /// What is wrong with the name, or with the file.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, String> {
        let is_inside = |part: &str| !matches!(part, "" | "." | "..");
        if name.contains(['\\', '\0']) || !name.split('/').all(is_inside) {
            let name = name.escape_debug();
            return Err(format!(
                "`{name}` is no name of a template: it is a path below {}",
                self.0.display()
            ));
        }
        let absent = |problem: &std::io::Error| {
            // A name that is too long for a file names none.
            matches!(
                problem.kind(),
                ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename
            )
        };
        let found = self.0.canonicalize().and_then(|root| Ok((root, self.file(name).canonicalize()?)));
        let (root, file) = match found {
            Ok(found) => found,
            Err(problem) if absent(&problem) => return Ok(None),
            Err(problem) => return Err(format!("cannot read `{name}`: {problem}")),
        };
        if !file.starts_with(&root) {
            return Err(format!("`{name}` is a link that leads out of {}", self.0.display()));
        }
        let about = fs::metadata(&file).map_err(|problem| format!("cannot read `{name}`: {problem}"))?;
        if !about.is_file() {
            return Ok(None);
        }
        if about.len() > MAX_TEMPLATE {
            let size = about.len();
            return Err(format!("`{name}` has {size} bytes, a template has at most {MAX_TEMPLATE}"));
        }
        fs::read_to_string(&file).map(Some).map_err(|problem| match problem.kind() {
            ErrorKind::InvalidData => format!("`{name}` is no text of UTF-8"),
            _ => format!("cannot read `{name}`: {problem}"),
        })
    }
}
