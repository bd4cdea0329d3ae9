//! Routes that let Mongrel2 serve the files of a folder at `/`, next to a Handler that owns
//! everything else.
//!
//! A Dir route of its own for `/style.css` would not do: Mongrel2 gives a path that ends
//! *inside* a key to that key's route, so `/s` would miss the Handler. Instead all routes have
//! the one prefix `/` and differ in their patterns, which Mongrel2 tries in this order: the
//! first of the host, then the **last** down to the second. So the Handler, which fits all, is
//! the second, and what must never reach a Dir frames the list:
//!
//! * paths with a part that begins with a dot: Mongrel2 does resolve `..`, but takes the
//!   folder `public-old` for a part of `public`;
//! * the same things encoded, and an encoded NUL, which cuts a path short.
//!
//! Files of the top level get a route each, folders one for all that is in them. What is added
//! to the top level later is found at the next start.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::{Dir, Handler, Route, Target};

/// Fits any part of a path that begins with a dot.
const DOT: &str = r"/(.*/\.)";
/// Fits an encoded dot or slash.
const ENCODED_DOT_OR_SLASH: &str = "/(.*%2[eEfF])";
/// Fits an encoded NUL.
const ENCODED_NUL: &str = "/(.*%00)";
/// Fits every path below the prefix `/`, so also `/` itself.
const ANYTHING: &str = "/()";

/// The routes of prefix `/` for a host whose Handler has all but the files of a folder.
///
/// `public` is the folder as this process finds it, `dir` says how Mongrel2 finds it and serves
/// it. Names that begin with a dot and whatever is neither a file nor a folder are left to the
/// handler, as is what this process may not read and what leads out of `public`. `/` is a file
/// only if there is an index file; `/docs` redirects to `/docs/` only if that has one.
///
/// The order matters: add routes with other prefixes before or after, none in between, and none
/// of prefix `/`.
///
/// # Errors
///
/// When `public` is no folder that can be listed.
///
/// ```
/// # use mongrel2_conf::model::{Dir, Handler, Protocol};
/// # let app = Handler {
/// #     send_spec: "ipc://run/requests".into(),
/// #     send_ident: "app-1".into(),
/// #     recv_spec: "ipc://run/replies".into(),
/// #     recv_ident: "app-".into(),
/// #     raw_payload: true,
/// #     protocol: Protocol::Tnetstring,
/// # };
/// # let public = std::env::temp_dir().join(format!("public-files-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(public.join("img"))?;
/// # std::fs::write(public.join("style.css"), "")?;
/// use mongrel2_conf::public_files;
///
/// let routes = public_files::routes(&public, &Dir::new("public/"), &app)?;
/// let keys: Vec<_> = routes.iter().map(|route| route.path.as_str()).collect();
/// assert_eq!(
///     keys,
///     [r"/(.*/\.)", "/()", "/(img/)", r"/(style\.css)$", "/(.*%00)", "/(.*%2[eEfF])"]
/// );
/// # std::fs::remove_dir_all(&public)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn routes(public: &Path, dir: &Dir, handler: &Handler) -> io::Result<Vec<Route>> {
    let to_handler = {
        let target = Arc::new(Target::Handler(handler.clone()));
        move |key: &str| Route::new(key, Arc::clone(&target))
    };
    let to_dir = {
        let target = Arc::new(Target::Dir(dir.clone()));
        move |key: String| Route::new(key, Arc::clone(&target))
    };

    let entries = top_level(public, &dir.index_file)?;
    let mut files = Vec::new();
    if let Some(Kind::File) = entries.get(OsStr::new(&dir.index_file)) {
        files.push("/()$".to_owned());
    }
    for (name, kind) in entries {
        for spelling in spellings(name.as_bytes()) {
            match kind {
                Kind::File => files.push(format!("/({spelling})$")),
                Kind::Folder { has_index } => {
                    files.push(format!("/({spelling}/)"));
                    if has_index {
                        files.push(format!("/({spelling})$"));
                    }
                }
            }
        }
    }
    if files.is_empty() {
        return Ok(vec![to_handler("/")]);
    }
    let mut routes = vec![to_handler(DOT), to_handler(ANYTHING)];
    routes.extend(files.into_iter().map(to_dir));
    routes.extend([to_handler(ENCODED_NUL), to_handler(ENCODED_DOT_OR_SLASH)]);
    Ok(routes)
}

/// Lets the handler have paths that fit one of these patterns, though they lie in a folder of `routes`, which
/// [`routes`] has made. A pattern begins with `/(`.
pub fn keep_for_handler(routes: &mut Vec<Route>, handler: &Handler, patterns: &[&str]) {
    // A single route has everything already. Behind the folders' routes is before them.
    if routes.len() > 1 {
        let target = Arc::new(Target::Handler(handler.clone()));
        routes.extend(patterns.iter().map(|pattern| Route::new(*pattern, Arc::clone(&target))));
    }
}

/// Finds what kills or freezes Mongrel2 when somebody asks for it, anywhere in the folders of
/// `public`: files that may not be read (it crashes) and FIFOs and the like (it waits for ever,
/// and for everybody).
///
/// [`routes`] keeps requests away from such things at the top level, but not inside folders.
/// This process is taken to have the rights of Mongrel2.
///
/// # Errors
///
/// When `public` is no folder that can be listed.
pub fn dangers(public: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for (name, kind) in top_level(public, "")? {
        if matches!(kind, Kind::Folder { .. }) {
            find_dangers(&public.join(name), &mut found);
        }
    }
    Ok(found)
}

fn find_dangers(folder: &Path, found: &mut Vec<PathBuf>) {
    // A folder that cannot be listed is harmless: Mongrel2 answers 404.
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| !is_hidden(&entry.file_name())) {
        let path = entry.path();
        // A dangling link is a 404.
        let Ok(kind) = fs::metadata(&path) else { continue };
        if kind.is_dir() {
            // What a link leads to is outside, so a 404, or is walked where it really is.
            if !path.is_symlink() {
                find_dangers(&path, found);
            }
        } else if !kind.is_file() || File::open(&path).is_err() {
            found.push(path);
        }
    }
}

enum Kind {
    File,
    Folder { has_index: bool },
}

/// What Mongrel2 can serve at the top level, by name.
fn top_level(public: &Path, index_file: &str) -> io::Result<BTreeMap<OsString, Kind>> {
    let real = public.canonicalize()?;
    let mut entries = BTreeMap::new();
    for entry in fs::read_dir(public)? {
        let name = entry?.file_name();
        let path = public.join(&name);
        let inside = path.canonicalize().is_ok_and(|target| target.starts_with(&real));
        if is_hidden(&name) || !inside {
            continue;
        }
        if path.is_dir() {
            if fs::read_dir(&path).is_ok() {
                let has_index = readable(&path.join(index_file));
                entries.insert(name, Kind::Folder { has_index });
            }
        } else if readable(&path) {
            entries.insert(name, Kind::File);
        }
    }
    Ok(entries)
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

/// The type comes first, since opening a FIFO waits for its other end.
fn readable(path: &Path) -> bool {
    path.is_file() && File::open(path).is_ok()
}

/// The patterns of the ways in which clients write a name: browsers encode what must be,
/// `encodeURIComponent` and the `quote` functions of other languages more. Mostly they agree.
fn spellings(name: &[u8]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for plain in ["!$&'()*+,;=:@~", "!'()*~", "~"] {
        let spelling = pattern(name, plain.as_bytes());
        if !found.contains(&spelling) {
            found.push(spelling);
        }
    }
    found
}

/// A pattern that fits `name` with all bytes encoded but `plain` ones, letters, digits, `-._`.
fn pattern(name: &[u8], plain: &[u8]) -> String {
    let mut pattern = String::new();
    for &byte in name {
        match byte {
            _ if byte.is_ascii_alphanumeric() || byte == b'_' => pattern.push(char::from(byte)),
            // The escape character makes any punctuation stand for itself.
            b'-' | b'.' => pattern.extend(['\\', char::from(byte)]),
            _ if plain.contains(&byte) => pattern.extend(['\\', char::from(byte)]),
            _ => {
                pattern.push('%');
                for digit in format!("{byte:02X}").chars() {
                    match digit {
                        'A'..='F' => pattern.extend(['[', digit.to_ascii_lowercase(), digit, ']']),
                        _ => pattern.push(digit),
                    }
                }
            }
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_matched_literally() {
        assert_eq!(spellings(b"style.css"), [r"style\.css"]);
        assert_eq!(spellings(b"a-b_c.d"), [r"a\-b_c\.d"]);
    }

    #[test]
    fn bytes_that_no_path_may_have_are_matched_encoded_in_either_case() {
        assert_eq!(spellings(b"my file"), ["my%20file"]);
        assert_eq!(spellings("caf\u{e9}".as_bytes()), ["caf%[cC]3%[aA]9"]);
        assert_eq!(spellings(b"100%"), ["100%25"]);
        assert_eq!(spellings(b"\xff"), ["%[fF][fF]"]);
    }

    #[test]
    fn bytes_that_may_be_plain_or_encoded_are_matched_in_the_usual_mixtures() {
        assert_eq!(spellings(b"a+b"), [r"a\+b", "a%2[bB]b"]);
        assert_eq!(spellings(b"a(1)"), [r"a\(1\)", "a%281%29"]);
        assert_eq!(spellings(b"+!"), [r"\+\!", r"%2[bB]\!", "%2[bB]%21"]);
    }
}
