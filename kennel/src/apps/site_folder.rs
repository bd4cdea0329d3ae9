//! A directory of handlers: every script and executable in `handlers/` is an app of its own, mounted at its name.
//!
//! [`read`] comes before [`apps::resolve`]: it replaces the directory that was
//! typed, and says in the configuration where each is mounted. From there on they are apps like others.

pub(crate) mod addresses;
mod files;

use crate::apps;
use crate::config::{App, Config};
use crate::exit::wrong_input;
use handler_core::mount;
use kennel_http::percent::normal_path;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use tracing::{info, warn};

/// The folder of the handlers in that of the site.
const HANDLERS: &str = "handlers";
/// The folder of what Mongrel2 serves itself.
const PUBLIC: &str = "public";
/// The site's own settings.
const CONFIG: &str = crate::config::DEFAULT_FILE;
/// The interpreter of the site's virtual environment.
const INTERPRETER: &str = ".venv/bin/python";

/// What was typed, with a directory taken apart.
#[derive(Debug)]
pub(crate) struct Typed {
    /// The apps, handlers among them.
    pub(crate) apps: Vec<String>,
    /// The settings in force, with a mount for each handler.
    pub(crate) config: Config,
    /// The directory, if one was typed.
    pub(crate) site: Option<SiteFolder>,
}

/// A directory of handlers.
#[derive(Debug)]
pub(crate) struct SiteFolder {
    folder: PathBuf,
    /// In the order of their names.
    pub(crate) handlers: Vec<Handler>,
    /// What else is in the folder of the handlers and may have been meant to be one.
    left_out: Vec<String>,
}

/// A handler of a site.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Handler {
    /// The file's name without its extension.
    pub(crate) name: String,
    /// Its file, perhaps with the name of an object in it: the name of its app.
    pub(crate) source: String,
    mount: String,
}

impl Handler {
    fn file(&self) -> &Path {
        Path::new(split(&self.source).0)
    }
}

/// Reads what was typed and the settings: those of the file that was named, else of the site's own, else of the working directory's.
///
/// # Errors
///
/// Settings that say something wrong, a directory without handlers, two directories, names and mounts that cannot be or clash.
pub(crate) fn read(typed: &[String], config: Option<&Path>) -> anyhow::Result<Typed> {
    if typed.is_empty() {
        return read_listed(Config::load(config).map_err(wrong_input)?);
    }
    let folder = match typed.iter().filter(|typed| is_folder(typed)).collect::<Vec<_>>()[..] {
        [] => {
            let config = Config::load(config).map_err(wrong_input)?;
            return Ok(Typed { apps: typed.to_vec(), config, site: None });
        }
        [folder] => folder,
        [one, other, ..] => {
            return Err(wrong_input(format!(
                "`{one}` and `{other}` are both directories: kennel serves one directory of handlers at a time"
            )));
        }
    };
    let shown = Path::new(folder);
    let shown = shown.strip_prefix(".").unwrap_or(shown);
    let own = shown.join(CONFIG);
    let is_own = config.is_none() && own.is_file();
    let mut config = Config::load(if is_own { Some(&own) } else { config }).map_err(wrong_input)?;
    let site = SiteFolder::open(folder, shown, &mut config.app, is_own.then_some(&own))?;
    let apps = site.in_place_of(folder, typed.iter());
    Ok(Typed { apps, config, site: Some(site) })
}

/// The same of the apps that the settings list: one may be a directory.
fn read_listed(mut config: Config) -> anyhow::Result<Typed> {
    let Some(at) = config.app.iter().position(|app| is_folder(&app.source)) else {
        return Ok(Typed { apps: Vec::new(), config, site: None });
    };
    let sources: Vec<_> = config.app.iter().map(|app| app.source.clone()).collect();
    let folder = config.app.remove(at);
    if folder != (App { source: folder.source.clone(), ..App::default() }) {
        return Err(wrong_input(format!(
            "`{}` is a directory of handlers: what is said of it is said of each, in an `[[app]]` with its file as `source`",
            folder.source
        )));
    }
    let shown = Path::new(&folder.source);
    let shown = shown.strip_prefix(".").unwrap_or(shown);
    let site = SiteFolder::open(&folder.source, shown, &mut config.app, None)?;
    // Those that have settings of their own are listed twice.
    let is_handler =
        |source: &&String| !site.handlers.iter().any(|handler| site.is_about(source, handler.file()));
    let apps = site.in_place_of(&folder.source, sources.iter().filter(is_handler));
    Ok(Typed { apps, config, site: Some(site) })
}

fn is_folder(source: &str) -> bool {
    Path::new(source).is_dir() && !apps::is_module(source)
}

impl SiteFolder {
    /// Finds the handlers of the folder `shown`, which was typed as `typed`, and completes their settings among `settings`. In
    /// settings of the site's own everything has to be about the site.
    fn open(typed: &str, shown: &Path, settings: &mut Vec<App>, own: Option<&Path>) -> anyhow::Result<Self> {
        let place = shown.join(HANDLERS);
        if !place.is_dir() {
            return Err(wrong_input(format!(
                "cannot serve `{typed}`: it is a directory without a folder `{HANDLERS}`; put scripts into \
                 {}, or name a script",
                place.display()
            )));
        }
        let (files, left_out) = files::list(&place)?;
        if files.is_empty() {
            let mut text = format!(
                "cannot serve `{typed}`: no handler is in {}; put a script there (`.lua`, `.py`, or anything executable)",
                place.display()
            );
            if !left_out.is_empty() {
                text.push_str(&format!("\n  not taken for one: {}", left_out.join(", ")));
            }
            return Err(wrong_input(text));
        }
        let mut site = Self { folder: shown.to_owned(), handlers: Vec::new(), left_out };
        let mut unused: Vec<App> = std::mem::take(settings);
        for file in files {
            let known = unused.iter().position(|app| site.is_about(&app.source, &file));
            let app = known.map(|at| unused.remove(at)).unwrap_or_default();
            settings.push(site.admit(&file, app)?);
        }
        for app in unused {
            let (file, _) = split(&app.source);
            let file = site.folder.join(file);
            match own {
                Some(_) if file.is_file() => settings.push(site.admit(&file, app)?),
                Some(own) => {
                    return Err(wrong_input(format!(
                        "{}: there is no handler `{}`; a `source` is a file of the site, like `{HANDLERS}/chat.lua`",
                        own.display(),
                        app.source
                    )));
                }
                None => settings.push(app),
            }
        }
        site.check_clashes()?;
        Ok(site)
    }

    /// Sources, with those of the handlers in the place of the folder.
    fn in_place_of<'a>(&self, folder: &str, sources: impl Iterator<Item = &'a String>) -> Vec<String> {
        let handlers = || self.handlers.iter().map(|handler| handler.source.clone()).collect();
        sources.flat_map(|one| if one == folder { handlers() } else { vec![one.clone()] }).collect()
    }

    /// Whether a `source` of the settings means this file: as seen from the site, or from the working directory.
    fn is_about(&self, source: &str, file: &Path) -> bool {
        let Ok(file) = file.canonicalize() else { return false };
        let (named, _) = split(source);
        [self.folder.join(named), PathBuf::from(named)]
            .iter()
            .any(|candidate| candidate.canonicalize().is_ok_and(|candidate| candidate == file))
    }

    /// Takes a handler in, and completes its settings.
    fn admit(&mut self, file: &Path, app: App) -> anyhow::Result<App> {
        let Some((name, path)) = file.file_stem().and_then(OsStr::to_str).zip(file.to_str()) else {
            return Err(wrong_input(format!("the name of {} is no UTF-8: rename it", file.display())));
        };
        let source = match split(&app.source) {
            (_, Some(object)) => format!("{path}:{object}"),
            _ => path.to_owned(),
        };
        let mount = match app.mount {
            Some(mount) => mount,
            None if name.bytes().all(is_plain) => format!("/{name}"),
            None => {
                return Err(wrong_input(format!(
                    "{path} cannot be mounted at its name, which is no part of a path as it is: rename it to letters, digits \
                     and `-._~`, or give it a `mount` in {}",
                    self.folder.join(CONFIG).display()
                )));
            }
        };
        let site_python = || {
            let found = self.folder.join(INTERPRETER);
            let is_meant = file.extension().is_some_and(|extension| extension == "py")
                && std::env::var_os("VIRTUAL_ENV").is_none()
                && !file.with_file_name(INTERPRETER).exists();
            (is_meant && found.exists()).then(|| found.to_str().map(str::to_owned)).flatten()
        };
        let python = app.python.clone().or_else(site_python);
        let app = App {
            source: source.clone(),
            mount: Some(mount.clone()),
            workers: app.workers.or(Some(1)),
            python,
            ..app
        };
        self.handlers.push(Handler { name: name.to_owned(), source, mount });
        Ok(app)
    }

    /// No two may be at the same place, neither for browsers nor for shells.
    fn check_clashes(&self) -> anyhow::Result<()> {
        let (mut mounts, mut names) = (BTreeMap::new(), BTreeMap::new());
        for Handler { name, source, mount } in &self.handlers {
            let place = normal_path(mount::prefix(mount).as_bytes());
            if let Some(other) = mounts.insert(place.clone(), source) {
                let place = if place.is_empty() { "/" } else { &*place };
                return Err(wrong_input(format!(
                    "`{other}` and `{source}` would both be mounted at `{place}`: rename one, or give one another `mount` in {}",
                    self.folder.join(CONFIG).display()
                )));
            }
            if let Some(other) = names.insert(name, source) {
                return Err(wrong_input(format!(
                    "`{other}` and `{source}` would both have the address {}: rename one",
                    self.address(name).display()
                )));
            }
        }
        Ok(())
    }

    /// The folder itself, from the working directory.
    pub(crate) fn folder(&self) -> &Path {
        if self.folder.as_os_str().is_empty() { Path::new(".") } else { &self.folder }
    }

    /// The folder of the handlers' addresses.
    pub(crate) fn run(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// Where the handler of this name is spoken to.
    pub(crate) fn address(&self, name: &str) -> PathBuf {
        self.run().join(name)
    }

    /// What Mongrel2 serves itself, if it is there.
    pub(crate) fn public(&self) -> Option<PathBuf> {
        Some(self.folder.join(PUBLIC)).filter(|folder| folder.is_dir())
    }

    /// What was seen and not taken for a handler, if something may have been meant to be one.
    pub(crate) fn left_out(&self) -> Option<String> {
        let place = self.folder.join(HANDLERS);
        (!self.left_out.is_empty()).then(|| {
            let names = self.left_out.join(", ");
            format!("not taken for handlers in {}: {names}", place.display())
        })
    }

    /// Says in the log what the folder's owner may not have meant.
    pub(crate) fn warn(&self) {
        if let Some(text) = self.left_out() {
            info!("{text}");
        }
        for Handler { source, mount, .. } in &self.handlers {
            let Some(first) = mount.split('/').find(|part| !part.is_empty()) else { continue };
            let hiding = self.folder.join(PUBLIC).join(first);
            if hiding.exists() {
                warn!("{} hides {source}, which is mounted at {mount}: files come first", hiding.display());
            }
        }
    }
}

/// A letter that a path has as it is (RFC 3986, 2.3).
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// A source as file and name of an object in it.
fn split(source: &str) -> (&str, Option<&str>) {
    if let Some((file, call)) = apps::split_call(source) {
        return (file, Some(call));
    }
    match source.rsplit_once(':') {
        Some((file, object)) if !object.contains(['/', '.']) => (file, Some(object)),
        _ => (source, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// A folder of a test's own, gone with it.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str, files: &[&str]) -> Self {
            let folder = std::env::temp_dir().join(format!("kennel-site-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&folder);
            let place = Self(folder);
            files.iter().for_each(|file| place.write(file, ""));
            place
        }

        fn write(&self, file: &str, text: &str) {
            let path = self.0.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            if !file.contains('.') {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }

        fn read(&self) -> anyhow::Result<Typed> {
            read(&[self.0.to_str().unwrap().to_owned()], None)
        }

        fn problem(&self) -> String {
            self.read().unwrap_err().to_string().replace(self.0.to_str().unwrap(), "site")
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mounts(typed: &Typed) -> Vec<(&str, &str)> {
        let site = typed.site.as_ref().unwrap();
        site.handlers.iter().map(|handler| (handler.name.as_str(), handler.mount.as_str())).collect()
    }

    #[test]
    fn scripts_and_executables_are_handlers_and_other_files_are_said() {
        let place = Place::new(
            "files",
            &[
                "handlers/b.py",
                "handlers/a.lua",
                "handlers/ten",
                "handlers/notes.txt",
                "handlers/ten.sh",
                "handlers/templates/page.html",
                "handlers/lib/x.lua",
                "handlers/.hidden.lua",
                "handlers/a.lua~",
                "handlers/a_test.lua",
                "handlers/test_b.py",
                "handlers/__pycache__/b.pyc",
                "handlers/__init__.py",
            ],
        );
        let typed = place.read().unwrap();
        assert_eq!(mounts(&typed), [("a", "/a"), ("b", "/b"), ("ten", "/ten")]);
        let site = typed.site.as_ref().unwrap();
        assert!(site.left_out().unwrap().ends_with(": lib (a folder), ten.sh (not executable)"));
        assert_eq!(typed.apps[0], place.0.join("handlers/a.lua").to_str().unwrap());
        let settings: Vec<_> =
            typed.config.app.iter().map(|app| (app.mount.as_deref(), app.workers)).collect();
        assert_eq!(settings, [(Some("/a"), Some(1)), (Some("/b"), Some(1)), (Some("/ten"), Some(1))]);
    }

    #[test]
    fn the_sites_settings_say_more_of_its_handlers() {
        let place = Place::new("settings", &["handlers/a.lua", "handlers/b c.py", "more/d.lua"]);
        place.write(
            "kennel.toml",
            "[[app]]\nsource = \"handlers/b c.py:main\"\nmount = \"/\"\nworkers = 3\n[[app]]\nsource = \"more/d.lua\"\n",
        );
        let typed = place.read().unwrap();
        assert_eq!(mounts(&typed), [("a", "/a"), ("b c", "/"), ("d", "/d")]);
        assert!(typed.apps[1].ends_with("handlers/b c.py:main"), "{:?}", typed.apps);
        assert_eq!(typed.config.app[1].workers, Some(3));
        let wrong =
            "[[app]]\nsource = \"handlers/b c.py\"\nmount = \"/\"\n[[app]]\nsource = \"handlers/aa.lua\"\n";
        place.write("kennel.toml", wrong);
        assert!(place.problem().starts_with("site/kennel.toml: there is no handler `handlers/aa.lua`"));
    }

    #[test]
    fn what_cannot_be_is_said_with_the_next_step() {
        let none = Place::new("none", &["app.lua"]);
        assert!(
            none.problem().starts_with("cannot serve `site`: it is a directory without a folder `handlers`")
        );
        let empty = Place::new("empty", &["handlers/ten.sh"]);
        let problem = empty.problem();
        assert!(
            problem.starts_with("cannot serve `site`: no handler is in site/handlers; put a script"),
            "{problem}"
        );
        assert!(problem.ends_with("not taken for one: ten.sh (not executable)"), "{problem}");
        let twice = Place::new("twice", &["handlers/a.lua", "handlers/a.py"]);
        let both = "`site/handlers/a.lua` and `site/handlers/a.py` would both ";
        let problem = twice.problem();
        assert!(problem.starts_with(&format!("{both}be mounted at `/a`")), "{problem}");
        twice.write("kennel.toml", "[[app]]\nsource = \"handlers/a.py\"\nmount = \"/b\"\n");
        assert_eq!(twice.problem(), format!("{both}have the address site/run/a: rename one"));
        let odd = Place::new("odd", &["handlers/a b.lua"]);
        assert!(odd.problem().starts_with("site/handlers/a b.lua cannot be mounted at its name"));
        let two = [odd.0.to_str().unwrap().to_owned(), twice.0.to_str().unwrap().to_owned()];
        assert!(read(&two, None).unwrap_err().to_string().contains("one directory of handlers at a time"));
    }

    #[test]
    fn scripts_alone_are_as_they_were() {
        let typed = read(&["app.lua".to_owned()], None).unwrap();
        assert_eq!((typed.apps, typed.site.is_none()), (vec!["app.lua".to_owned()], true));
    }
}
