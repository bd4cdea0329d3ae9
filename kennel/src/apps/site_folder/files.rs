//! Which files in the folder of the handlers are handlers.

use crate::exit::{plain, wrong_input};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// How names of programs end, rather than those of data.
const PROGRAMS: [&str; 9] = ["sh", "js", "mjs", "ts", "pl", "rb", "php", "go", "rs"];

/// What a file in the folder of the handlers is.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Handler,
    /// Its owner knows that it is none.
    Other,
    /// It may have been meant to be one; why it is none.
    LeftOut(&'static str),
}

/// The files that are handlers, sorted, and the names of what may have been meant to be one.
pub(super) fn list(place: &Path) -> anyhow::Result<(Vec<PathBuf>, Vec<String>)> {
    let unreadable = |problem: std::io::Error| {
        wrong_input(format!("cannot read the folder {}: {}", place.display(), plain(&problem)))
    };
    let (mut files, mut left_out) = (Vec::new(), Vec::new());
    for entry in place.read_dir().map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        match kind(&path) {
            Kind::Handler => files.push(path),
            Kind::Other => {}
            Kind::LeftOut(why) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                left_out.push(format!("{name} ({why})"));
            }
        }
    }
    files.sort();
    left_out.sort();
    Ok((files, left_out))
}

fn kind(path: &Path) -> Kind {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (stem, extension) = name.rsplit_once('.').unwrap_or((&name, ""));
    let is_script = matches!(extension, "lua" | "py");
    let is_backup = name.ends_with('~')
        || (name.starts_with('#') && name.ends_with('#'))
        || matches!(extension, "bak" | "orig" | "rej" | "pyc");
    let is_test = is_script && (stem.starts_with("test_") || stem.ends_with("_test") || stem == "conftest");
    if name.starts_with('.') || is_backup || is_test || name == "__pycache__" || name == "__init__.py" {
        return Kind::Other;
    }
    match path.metadata() {
        Err(_) => Kind::LeftOut("it leads nowhere"),
        Ok(found) if found.is_dir() && matches!(&*name, "templates" | "tests") => Kind::Other,
        Ok(found) if found.is_dir() => Kind::LeftOut("a folder"),
        Ok(found) if !found.is_file() => Kind::LeftOut("no file"),
        Ok(_) if is_script => Kind::Handler,
        Ok(found) if found.permissions().mode() & 0o111 != 0 => Kind::Handler,
        Ok(_) if PROGRAMS.contains(&extension) || begins_like_a_program(path) => {
            Kind::LeftOut("not executable")
        }
        Ok(_) => Kind::Other,
    }
}

fn begins_like_a_program(path: &Path) -> bool {
    let mut begin = [0; 2];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut begin)).is_ok() && &begin == b"#!"
}
