//! `kennel new`: an app to begin with, which runs and passes its tests. Its files are in `starter/`.

use crate::args::New as Args;
use crate::exit::{plain, wrong_input};
use crate::language::Language;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What all starters have: name, content.
const SHARED: [(&str, &str); 5] = [
    ("README.md", include_str!("../../starter/README.md")),
    ("kennel.toml", include_str!("../../starter/kennel.toml")),
    (".gitignore", include_str!("../../starter/gitignore")),
    ("public/style.css", include_str!("../../starter/public/style.css")),
    ("public/chat.js", include_str!("../../starter/public/chat.js")),
];
const LUA: [(&str, &str); 2] = [
    ("app.lua", include_str!("../../starter/lua/app.lua")),
    ("tests/app_test.lua", include_str!("../../starter/lua/app_test.lua")),
];
const PYTHON: [(&str, &str); 2] = [
    ("app.py", include_str!("../../starter/python/app.py")),
    ("tests/test_app.py", include_str!("../../starter/python/test_app.py")),
];

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let folder = &args.folder;
    refuse_full(folder)?;
    let own = match args.lang.into() {
        Language::Lua => LUA,
        Language::Python => PYTHON,
    };
    let (app, name) = (own[0].0, title(folder));
    let was_there = folder.exists();
    let mut begun = Vec::new();
    for (file, text) in own.into_iter().chain(SHARED) {
        begun.push(folder.join(file));
        if let Err(problem) = write(&folder.join(file), &text.replace("NAME", &name).replace("APP", app)) {
            // Half an app is none, and would be in the way of the next attempt.
            clear(folder, &begun, was_there);
            return Err(problem);
        }
    }
    let shown = folder.display().to_string();
    let mut out = std::io::stdout().lock();
    writeln!(out, "created in {shown}: {app}, {}, public/, kennel.toml and README.md. Next:\n", own[1].0)?;
    if folder.components().any(|part| part != std::path::Component::CurDir) {
        writeln!(out, "  cd {}", quoted(&shown))?;
    }
    writeln!(out, "  kennel test        run its tests")?;
    writeln!(out, "  kennel dev         then open http://127.0.0.1:6767")?;
    Ok(ExitCode::SUCCESS)
}

/// Nothing that is there already is touched.
fn refuse_full(folder: &Path) -> anyhow::Result<()> {
    let shown = folder.display();
    match fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(wrong_input(format!(
                "`{shown}` is not empty, and nothing in it is touched; name a new folder, as in `kennel new {shown}/app`"
            ))),
        },
        Err(problem) if problem.kind() == ErrorKind::NotFound => Ok(()),
        Err(problem) if problem.kind() == ErrorKind::NotADirectory => {
            Err(wrong_input(format!("`{shown}` is a file; name a new folder")))
        }
        Err(problem) => Err(wrong_input(format!("cannot look into `{shown}`: {}", plain(&problem)))),
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let wrong = |problem: std::io::Error| {
        let text = format!("cannot write `{}`: {}", path.display(), plain(&problem));
        match problem.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => anyhow::Error::msg(text),
            _ => wrong_input(text),
        }
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(wrong)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(wrong)?;
    file.write_all(text.as_bytes()).map_err(wrong)
}

/// Removes what was made in a folder that was empty, or was not there.
fn clear(folder: &Path, files: &[PathBuf], was_there: bool) {
    for file in files.iter().rev() {
        let _ = fs::remove_file(file);
        // Folders go when they are empty.
        let within = file.ancestors().skip(1).take_while(|above| *above != folder);
        within.for_each(|above| drop(fs::remove_dir(above)));
    }
    if !was_there {
        let _ = fs::remove_dir(folder);
    }
}

/// A word as a shell takes it.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-+".contains(letter);
    match word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// The folder's own name, as far as it can stand in a page, a script and a heading alike.
fn title(folder: &Path) -> String {
    let whole = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let name = whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name: String =
        name.chars().filter(|letter| letter.is_alphanumeric() || " -_.".contains(*letter)).collect();
    if name.trim().is_empty() { "app".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_made_whole_leaves_nothing() {
        let folder = std::env::temp_dir().join(format!("kennel-new-{}", std::process::id()));
        for was_there in [false, true] {
            let files = [
                folder.join("app.lua"),
                folder.join("tests/app_test.lua"),
                folder.join("public/a/style.css"),
            ];
            fs::create_dir_all(&folder).unwrap();
            files[..2].iter().for_each(|file| write(file, "x").unwrap());
            fs::create_dir_all(folder.join("public/a")).unwrap();
            clear(&folder, &files, was_there);
            assert_eq!(folder.exists(), was_there);
            assert!(!was_there || folder.read_dir().unwrap().next().is_none());
        }
        fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn a_folder_is_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted("shop/new-1"), "shop/new-1");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("Ann's"), r"'Ann'\''s'");
    }

    #[test]
    fn a_name_breaks_neither_page_nor_script() {
        assert_eq!(title(Path::new("no/such/my shop")), "my shop");
        assert_eq!(title(Path::new("no/such/<b>\"]]\\")), "b");
        assert_eq!(title(Path::new("no/such/]]")), "app");
    }
}
