//! The secret that sessions are signed with: given by the operator, or made once and kept beside the app.

use crate::config::{OneOrMore, Sessions};
use crate::exit::{plain, wrong_input};
use crate::run_files::FOLDER;
use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use handler_core::sessions::{Keys, Secret};
/// Secrets, separated by commas: the first signs, all verify. It wins over kennel.toml.
use handler_core::worker::process::SECRET as VARIABLE;
use handler_core::worker::surroundings::entropy;
use rustix::fs::{Mode, OFlags};
use std::env::VarError;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The file in `.kennel`, when nothing is given: a secret a line.
const FILE: &str = "secret";

/// Bytes that are read of it.
const MAX_FILE: u64 = 64 << 10;

/// Where the secrets come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The environment.
    Variable,
    /// kennel.toml.
    Config,
    /// The file, which is there.
    File(PathBuf),
    /// The file, which will be made by the first start.
    NoFile(PathBuf),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable => write!(f, "{VARIABLE}"),
            Self::Config => f.write_str("[sessions] of kennel.toml"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::NoFile(path) => write!(f, "{}, which `kennel run` will make", path.display()),
        }
    }
}

/// The keys for workers, and where they come from; nothing is made.
pub(crate) fn look(config: &Sessions) -> anyhow::Result<(Keys, Origin)> {
    let variable = match std::env::var(VARIABLE) {
        Err(VarError::NotUnicode(_)) => return Err(wrong_input(format!("{VARIABLE} is no text of UTF-8"))),
        found => found.ok(),
    };
    if let Some((secrets, origin)) = given(variable.as_deref(), config)? {
        return Ok((Keys::of(&secrets), origin));
    }
    let path = Path::new(FOLDER).join(FILE);
    match read(&path)? {
        Some(secrets) => Ok((Keys::of(&secrets), Origin::File(path))),
        None => Ok((Keys::default(), Origin::NoFile(path))),
    }
}

/// The same for a kennel that serves: the file is made if nothing is given.
pub(crate) fn keys(config: &Sessions) -> anyhow::Result<Keys> {
    match look(config)? {
        (_, Origin::NoFile(path)) => Ok(Keys::of(&make(&path)?)),
        (keys, _) => Ok(keys),
    }
}

/// What the operator gives.
fn given(variable: Option<&str>, config: &Sessions) -> anyhow::Result<Option<(Vec<Secret>, Origin)>> {
    if let Some(text) = variable.filter(|text| !text.is_empty()) {
        return Ok(Some((secrets(text.split(','), VARIABLE)?, Origin::Variable)));
    }
    let texts = match &config.secret {
        None => return Ok(None),
        Some(OneOrMore::One(text)) => std::slice::from_ref(text),
        Some(OneOrMore::More(texts)) => texts,
    };
    if texts.is_empty() {
        return Err(wrong_input("`secret` in [sessions] of kennel.toml is an empty list"));
    }
    let place = "`secret` in [sessions] of kennel.toml";
    Ok(Some((secrets(texts.iter().map(String::as_str), place)?, Origin::Config)))
}

fn secrets<'a>(texts: impl Iterator<Item = &'a str>, place: &str) -> anyhow::Result<Vec<Secret>> {
    let secret = |(at, text): (usize, &str)| {
        Secret::new(text.as_bytes()).map_err(|problem| {
            wrong_input(format!("{place} cannot be used: secret number {} is too short: {problem}", at + 1))
        })
    };
    texts.enumerate().map(secret).collect()
}

/// The secrets of the file, if it is there.
fn read(path: &Path) -> anyhow::Result<Option<Vec<Secret>>> {
    let shown = path.display();
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => {
            return Err(wrong_input(format!("{shown} is a link; the secret has to be a file of its own")));
        }
        Err(problem) => {
            return Err(wrong_input(format!("{shown} cannot be read: {}", plain(&problem.into()))));
        }
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(wrong_input(format!("{shown} is no file; remove it, and a secret is made in its place")));
    }
    if found.mode() & 0o077 != 0 {
        return Err(wrong_input(format!(
            "{shown} can be read by others (mode {:03o}): `chmod 600 {shown}` if nobody has, or remove it, which ends all \
             sessions and makes another",
            found.mode() & 0o777
        )));
    }
    let mut text = String::new();
    (&file).take(MAX_FILE).read_to_string(&mut text).with_context(|| format!("cannot read {shown}"))?;
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.is_empty() {
        return Err(wrong_input(format!("{shown} is empty; remove it, and a secret is made in its place")));
    }
    secrets(lines.into_iter(), &shown.to_string()).map(Some)
}

/// Makes the file, unless another kennel has just done that.
fn make(path: &Path) -> anyhow::Result<Vec<Secret>> {
    let failed = || format!("cannot write {}; {VARIABLE} gives a secret without it", path.display());
    let bytes: [u8; 32] = entropy()?;
    // The file gets its name when it is whole, and only if nobody has that name.
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let _ = fs::remove_file(&draft);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(&draft, flags, Mode::RUSR | Mode::WUSR).with_context(failed)?;
    let written = writeln!(File::from(file), "{}", STANDARD.encode(bytes));
    let named = written.and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);
    match named {
        Err(problem) if problem.kind() != ErrorKind::AlreadyExists => Err(problem).with_context(failed),
        _ => read(path)?.with_context(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn config(text: &str) -> Sessions {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_environment_wins_and_the_first_of_several_signs() {
        let (a, b) = ("aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb");
        let of = |variable, text: &str| given(variable, &config(text)).unwrap();
        let secrets = |texts: &[&str]| -> Vec<_> {
            texts.iter().map(|text| Secret::new(text.as_bytes()).unwrap()).collect()
        };
        let both = format!("{a}, {b}");
        assert_eq!(of(Some(&both), "secret = 'x'"), Some((secrets(&[a, b]), Origin::Variable)));
        let listed = format!("secrets = ['{b}', '{a}']");
        assert_eq!(of(None, &listed), Some((secrets(&[b, a]), Origin::Config)));
        assert_eq!(of(Some(""), &format!("secret = '{a}'")), Some((secrets(&[a]), Origin::Config)));
        assert_eq!(of(None, ""), None);
    }

    #[test]
    fn a_short_secret_is_refused_and_not_repeated() {
        let problem = |variable, text: &str| given(variable, &config(text)).unwrap_err().to_string();
        let text = problem(Some("aaaaaaaaaaaaaaaa,hunter2"), "");
        assert!(
            text.starts_with("KENNEL_SECRET cannot be used: secret number 2 is too short: it has 7 bytes"),
            "{text}"
        );
        assert!(text.contains("openssl rand") && !text.contains("hunter2"), "{text}");
        assert!(problem(None, "secret = 'hunter2'").starts_with("`secret` in [sessions] of kennel.toml"));
        assert!(problem(None, "secret = []").contains("empty list"));
    }

    #[test]
    fn the_file_is_made_once_for_its_owner_alone() {
        let folder = std::env::temp_dir().join(format!("kennel-secret-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(FILE);
        assert!(read(&path).unwrap().is_none());
        let made = make(&path).unwrap();
        assert_eq!(make(&path).unwrap(), made, "somebody else was faster");
        assert_eq!(read(&path).unwrap(), Some(made));
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let problem = read(&path).unwrap_err().to_string();
        assert!(problem.contains("can be read by others (mode 644): `chmod 600"), "{problem}");
        fs::remove_file(&path).unwrap();
        symlink("/etc/passwd", &path).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("is a link"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("is no file"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
