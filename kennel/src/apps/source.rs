//! What was typed for an app, taken apart: a script, a module with a name in it, or a program.

use crate::exit::wrong_input;
use crate::language::Language;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The folder that makes a folder a directory of handlers.
const HANDLERS: &str = "handlers";

/// What was typed for an app, taken apart.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) typed: String,
    /// None: any other program.
    pub(super) language: Option<Language>,
    /// The script's path, or a module's name.
    pub(super) file: String,
    /// The name in it, perhaps with a call behind it; perhaps empty.
    pub(super) object: String,
}

impl Source {
    /// `app.lua`, `app.py`, `app.py:name`, `module`, `module:name`, `module:name()`, or any other file that can be
    /// executed.
    pub(super) fn read(typed: &str) -> anyhow::Result<Self> {
        let wrong = |problem: &str| Err(wrong_input(format!("cannot serve `{typed}`: {problem}")));
        let source = |language, file: &str, object: &str| {
            Ok(Self { typed: typed.to_owned(), language, file: file.to_owned(), object: object.to_owned() })
        };
        let (file, object) = match split_name(typed) {
            Some(split) if !Path::new(typed).exists() => split,
            _ => (typed, ""),
        };
        if means_module(file, !object.is_empty(), Path::new("")) {
            if let Some(problem) = misspelt(file, object, Path::new(".")) {
                return wrong(&problem);
            }
            return source(Some(Language::Python), file.trim_end_matches('/'), object);
        }
        let path = Path::new(file);
        let extension = path.extension().and_then(|extension| extension.to_str());
        match (path.metadata(), extension) {
            (Ok(found), _) if found.is_dir() => wrong("it is a directory; name a script in it"),
            (Ok(_), Some("lua")) if object.is_empty() => source(Some(Language::Lua), file, ""),
            (Ok(_), Some("lua")) => {
                wrong("a Lua script returns its app, which has no name; leave out what is behind the colon")
            }
            (Ok(_), Some("py")) => source(Some(Language::Python), file, object),
            (Err(_), _) => wrong(&missing(path)),
            (Ok(found), _) if !found.is_file() => wrong("it is not a regular file"),
            (Ok(found), _) if found.permissions().mode() & 0o111 == 0 => wrong(&format!(
                "it is not a script in Lua or Python (`.lua`, `.py`), and it is not executable; if it is a program that \
                 speaks JSON lines: chmod +x {file}"
            )),
            (Ok(_), _) if object.is_empty() => source(None, file, ""),
            (Ok(_), _) => wrong("a program has no names in it; leave out what is behind the colon"),
        }
    }
}

/// What ends a file's name and hardly a module's, slips of `.lua` and `.py` among them.
const SUFFIXES: [&str; 21] = [
    "lau", "ula", "lu", "luac", "luau", "yp", "pyc", "pyw", "pyx", "js", "mjs", "ts", "rb", "pl", "php",
    "cgi", "toml", "yaml", "yml", "html", "exe",
];

/// Why what would be a module is rather a file's name with a slip: a file with a similar name is there, or it ends as only
/// files do. Modules that Python finds elsewhere have other names.
fn misspelt(name: &str, object: &str, here: &Path) -> Option<String> {
    let name = name.trim_end_matches('/');
    let module = here.join(name.replace('.', "/"));
    if here.join(name).exists() || module.exists() || module.with_extension("py").exists() {
        return None;
    }
    let suffix = Path::new(name).extension().and_then(OsStr::to_str);
    let scripts = scripts(here).filter(|script| object.is_empty() || script.ends_with(".py"));
    let near = match suffix {
        Some(_) => nearest(name, scripts),
        None => scripts.into_iter().find(|script| script.strip_suffix(".lua") == Some(name)),
    };
    let object = if object.is_empty() { String::new() } else { format!(":{object}") };
    match near {
        Some(near) => Some(format!("there is no such file or module; did you mean `{near}{object}`?")),
        None if suffix.is_some_and(|suffix| SUFFIXES.contains(&suffix)) => {
            Some("there is no such file; scripts end in `.lua` or `.py`".to_owned())
        }
        None => None,
    }
}

/// The names of the scripts in a folder.
fn scripts(folder: &Path) -> impl Iterator<Item = String> {
    let names = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.file_name());
    let names = names.filter_map(|name| name.into_string().ok());
    names.filter(|name| name.ends_with(".lua") || name.ends_with(".py"))
}

/// The name that is most like the one that is wanted, if any is.
fn nearest(wanted: &str, names: impl Iterator<Item = String>) -> Option<String> {
    names
        .map(|name| (strsim::damerau_levenshtein(wanted, &name), name))
        .filter(|(distance, name)| *distance <= name.len().div_ceil(4))
        .min()
        .map(|(_, name)| name)
}

/// That a file does not exist, and which one with a similar name does.
pub(crate) fn missing(path: &Path) -> String {
    let wanted = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.is_dir() {
        return format!("there is no such file, nor a folder `{}`", parent.display());
    }
    let names = parent.read_dir().into_iter().flatten().flatten().map(|entry| entry.file_name());
    match nearest(wanted, names.filter_map(|name| name.into_string().ok())) {
        Some(name) => {
            format!("there is no such file; did you mean `{}`?", path.with_file_name(name).display())
        }
        None => "there is no such file".to_owned(),
    }
}

/// Whether what was typed is a module for Python to import, though a folder may have its name.
pub(crate) fn is_module(typed: &str) -> bool {
    means_module(typed, false, Path::new(""))
}

/// `file:name(...)` as the file, or module, and the call.
pub(crate) fn split_call(typed: &str) -> Option<(&str, &str)> {
    let (file, object) = typed.split_at(typed[..typed.find('(')?].rfind(':')?);
    let object = &object[1..];
    let name = &object[..object.find('(')?];
    (is_dotted_name(name) && object.ends_with(')')).then_some((file, object))
}

/// `file:name` or `file:name(...)`.
fn split_name(typed: &str) -> Option<(&str, &str)> {
    typed.rsplit_once(':').filter(|(_, name)| is_dotted_name(name)).or_else(|| split_call(typed))
}

/// Whether Python imports what has this name in the folder `here`. As for Python itself, a package or a `.py` file goes
/// before a plain folder; a name behind it can only be in a module.
fn means_module(typed: &str, has_object: bool, here: &Path) -> bool {
    let name = typed.trim_end_matches('/');
    if !is_dotted_name(name) {
        return false;
    }
    let path = here.join(name);
    let module = here.join(name.replace('.', "/"));
    let is_package = module.join("__init__.py").is_file();
    let is_module = is_package || here.join(format!("{}.py", name.replace('.', "/"))).is_file();
    match path.metadata() {
        Ok(found) if found.is_dir() && typed.ends_with('/') => {
            has_object || (is_package && !path.join(HANDLERS).is_dir())
        }
        Ok(found) if found.is_dir() => has_object || is_module,
        Ok(_) => has_object && is_module,
        Err(_) => !matches!(path.extension().and_then(|extension| extension.to_str()), Some("lua" | "py")),
    }
}

/// Whether Python would take it as `a.b.c`.
fn is_dotted_name(name: &str) -> bool {
    let is_word = |word: &str| {
        word.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_')
            && word.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
    };
    name.split('.').all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    /// A folder of the test's own, gone with it.
    struct Here(PathBuf);

    impl Here {
        fn new(name: &str, files: &[&str]) -> Self {
            let here =
                Self(std::env::temp_dir().join(format!("kennel-source-{}-{name}", std::process::id())));
            let _ = fs::remove_dir_all(&here.0);
            for file in files {
                let path = here.0.join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
            here
        }
    }

    impl Drop for Here {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn packages_and_files_go_before_folders_and_names_are_in_modules() {
        let here = Here::new(
            "pairs",
            &[
                "file.py",
                "package/__init__.py",
                "plain/x.txt",
                "site/handlers/a.lua",
                "both.py",
                "both/x.txt",
                "withsite.py",
                "withsite/handlers/a.lua",
                "inner/__init__.py",
                "inner/handlers/a.py",
                "shop/web.py",
                "shop.example/handlers/a.lua",
                "program",
            ],
        );
        let is = |typed: &str, has_object| means_module(typed, has_object, &here.0);
        for (typed, alone, named) in [
            ("file", true, true),
            ("package", true, true),
            ("plain", false, true),
            ("site", false, true),
            ("both", true, true),
            ("withsite", true, true),
            ("inner", true, true),
            ("shop.web", true, true),
            ("shop.example", false, true),
            ("nowhere", true, true),
            ("program", false, false),
            ("package/", true, true),
            ("inner/", false, true),
            ("site/", false, true),
            ("both/", false, true),
            ("./package", false, false),
            ("file.py", false, false),
            ("nowhere.lua", false, false),
        ] {
            assert_eq!((is(typed, false), is(typed, true)), (alone, named), "{typed}");
        }
    }

    #[test]
    fn a_slip_in_a_file_s_name_is_not_a_module() {
        let here = Here::new("slips", &["app.lua", "web.py", "shop/web.py", "lone/x.txt"]);
        for (typed, object, near) in [
            ("app.lau", "", Some("did you mean `app.lua`?")),
            ("ap.lu", "", Some("did you mean `app.lua`?")),
            ("app", "", Some("did you mean `app.lua`?")),
            ("web.ppy", "", Some("did you mean `web.py`?")),
            ("web.yp", "app", Some("did you mean `web.py:app`?")),
            ("other.lau", "", Some("scripts end in `.lua` or `.py`")),
            ("server.js", "", Some("there is no such file")),
            // Modules, here or wherever Python finds them.
            ("web", "", None),
            ("shop.web", "", None),
            ("shop", "", None),
            ("elsewhere", "", None),
            ("else.where", "app", None),
            ("mysite.wsgi", "application", None),
        ] {
            let said = misspelt(typed, object, &here.0);
            match near {
                Some(near) => {
                    assert!(said.as_ref().is_some_and(|said| said.contains(near)), "{typed}: {said:?}")
                }
                None => assert_eq!(said, None, "{typed}"),
            }
        }
    }

    #[test]
    fn names_and_calls_come_apart() {
        for (typed, split) in [
            ("web:app", Some(("web", "app"))),
            ("app.py:site.app", Some(("app.py", "site.app"))),
            ("web:create_app()", Some(("web", "create_app()"))),
            ("a/b.py:make('x:y', n=1.5)", Some(("a/b.py", "make('x:y', n=1.5)"))),
            ("web:create_app(", None),
            ("web", None),
            ("web:", None),
        ] {
            assert_eq!(split_name(typed), split, "{typed}");
        }
    }
}
