//! Which files of a folder are CGI scripts, and the addresses that they answer at.

use handler_core::worker::protocol::{Registration, RouteSpec};
use kennel_http::percent::normal_path;
use rustix::fs::{Access, access};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder whose files all are scripts, at the top.
pub const FOLDER: &str = "cgi-bin";
/// How the names of scripts end elsewhere.
pub const EXTENSION: &str = "cgi";

/// How deep scripts may lie.
const MAX_DEPTH: u32 = 16;
/// The methods that scripts are run for; HEAD comes with GET.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// A script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Its address: `/cgi-bin/name`.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
}

/// Finds the scripts of a folder, in the order of their addresses: executable files in `cgi-bin`, and those whose name ends in
/// `.cgi`. Names that begin with a dot or have braces, names that are not UTF-8 and links that lead out of the folder are none.
///
/// # Errors
///
/// When the folder cannot be listed.
pub fn find(public: &Path) -> io::Result<Vec<Script>> {
    let public = public.canonicalize()?;
    let mut found = Vec::new();
    collect(&public, &public, "", 0, &mut found)?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn collect(
    public: &Path,
    folder: &Path,
    address: &str,
    depth: u32,
    found: &mut Vec<Script>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        // Braces mean something in routes.
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.') && !name.contains(['{', '}']))
        else {
            continue;
        };
        let (file, address) = (folder.join(name), format!("{address}/{name}"));
        if !is_inside(public, &file) {
            continue;
        }
        if file.is_dir() {
            // A link to a folder might lead round in a circle. What cannot be listed has nothing for us.
            if depth < MAX_DEPTH && !file.is_symlink() {
                let _ = collect(public, &file, &address, depth + 1, found);
            }
        } else if is_named_as_script(&address) && is_executable(&file) {
            found.push(Script { name: address, file });
        }
    }
    Ok(())
}

/// Whether a file is where it seems to be.
pub(super) fn is_inside(public: &Path, file: &Path) -> bool {
    file.canonicalize().is_ok_and(|real| real.starts_with(public))
}

/// Whether a file can be run.
pub(super) fn is_executable(file: &Path) -> bool {
    file.is_file() && access(file, Access::EXEC_OK).is_ok()
}

fn is_named_as_script(address: &str) -> bool {
    let extension = Path::new(address).extension().and_then(|extension| extension.to_str());
    address.strip_prefix('/').is_some_and(|rest| rest.starts_with(&format!("{FOLDER}/")))
        || extension == Some(EXTENSION)
}

/// What scripts answer to: each at its address and at all below, which it gets as PATH_INFO. Handlers are numbered in
/// their order, three for each.
pub(super) fn registration(scripts: &[Script]) -> Registration {
    let mut routes = Vec::new();
    for script in scripts {
        // As a name a `%` escapes nothing.
        let address = normal_path(script.name.replace('%', "%25").as_bytes()).into_owned();
        for path in [address.clone(), format!("{address}/"), format!("{address}/{{*rest}}")] {
            routes.push(RouteSpec {
                methods: METHODS.map(str::to_owned).to_vec(),
                path,
                handler: routes.len() as u32,
                place: script.file.display().to_string(),
                streams: false,
            });
        }
    }
    Registration { routes, ..Registration::default() }
}

/// The script of a handler, and what of the path is behind it, not decoded.
pub(super) fn script_of<'a>(
    scripts: &'a [Script],
    handler: u32,
    rest: &[u8],
) -> Option<(&'a Script, Vec<u8>)> {
    let script = scripts.get(handler as usize / 3)?;
    let rest = match handler % 3 {
        0 => Vec::new(),
        1 => b"/".to_vec(),
        _ => [b"/", rest].concat(),
    };
    Some((script, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use handler_core::hub::routes::{Routes, Target};
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn scripts_are_executable_files_in_cgi_bin_or_of_their_name() {
        let folder = std::env::temp_dir().join(format!("kennel-cgi-{}", std::process::id()));
        let file = |name: &str, mode: u32| {
            let path = folder.join("public").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        for name in ["a.cgi", "cgi-bin/b", "cgi-bin/deep/c x.sh", "docs/d.cgi"] {
            file(name, 0o755);
        }
        for name in
            ["e.sh", "cgi-bin/{x}", "docs/cgi-bin/f", "cgi-bin/.hidden", ".git/g.cgi", "../outside.cgi"]
        {
            file(name, 0o755);
        }
        file("h.cgi", 0o644);
        symlink(folder.join("outside.cgi"), folder.join("public/link.cgi")).unwrap();
        symlink(folder.join("public"), folder.join("public/docs/round")).unwrap();
        let found = find(&folder.join("public")).unwrap();
        let names: Vec<_> = found.iter().map(|script| script.name.as_str()).collect();
        let expected = ["/a.cgi", "/cgi-bin/b", "/cgi-bin/deep/c x.sh", "/docs/d.cgi"];
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(names, expected);
        let routes = Routes::new("/", &registration(&found).routes).unwrap();
        for (path, handler) in
            [("/cgi-bin/deep/c%20x.sh", 6), ("/cgi-bin/deep/%63%20x.sh/a", 8), ("/a.cgi", 0)]
        {
            let path = normal_path(path.as_bytes());
            assert!(
                matches!(routes.find(b"GET", &path), Target::Handler(found, _) if found == handler),
                "{path}"
            );
        }
        let percent = Script { name: "/a%20b.cgi".into(), file: "a%20b.cgi".into() };
        assert_eq!(registration(&[percent]).routes[0].path, "/a%2520b.cgi");
        let of = |handler| script_of(&found, handler, b"x/y").map(|(script, rest)| (&*script.name, rest));
        assert_eq!(of(0), Some(("/a.cgi", b"".to_vec())));
        assert_eq!(of(4), Some(("/cgi-bin/b", b"/".to_vec())));
        assert_eq!(of(5), Some(("/cgi-bin/b", b"/x/y".to_vec())));
        assert_eq!(of(99), None);
    }
}
