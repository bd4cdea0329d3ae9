//! Brings a script in: where `require` looks, how much memory it may use, what it registers.

pub(crate) mod progress;

use crate::traceback;
use handler_core::worker::protocol::{ChannelSpec, LoadFailure, Registration, RouteSpec, Slow, Start};
use mlua::{Function, Lua, Table};
use std::path::{Path, PathBuf};

/// Where Debian and luarocks put modules, behind everything else: below the home folder, then of the system.
const SHARED: &str = "share/lua/5.1";
const NATIVE: &str = "lib/lua/5.1";

/// Makes modules known to `require`: those in the script's folder and its `lua_modules`, then what `LUA_PATH` and
/// `LUA_CPATH` or LuaJIT itself say, then those of luarocks in the home folder, then Debian's.
pub(crate) fn set_search_path(lua: &Lua, source: &Path) -> mlua::Result<()> {
    let folder = match source.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let tree = folder.join("lua_modules");
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let home = home.map(|home| Path::new(&home).join(".luarocks"));
    let home = |below: &str| home.iter().map(|home| home.join(below)).collect::<Vec<_>>();

    let package: Table = lua.globals().get("package")?;
    let set = |key, patterns: &[&str], first: &[PathBuf], last: &[PathBuf]| {
        let old: String = package.get(key)?;
        package.set(key, search_path(patterns, first, &old, last))
    };
    let last = [home(SHARED), vec![Path::new("/usr").join(SHARED)]].concat();
    set("path", &["?.lua", "?/init.lua"], &[folder.clone(), tree.join(SHARED)], &last)?;
    let last = [home(NATIVE), system_folders(Path::new("/usr/lib"))].concat();
    set("cpath", &["?.so"], &[folder, tree.join(NATIVE)], &last)
}

/// The folders of native modules below `/usr/lib`: Debian has one for each architecture.
fn system_folders(lib: &Path) -> Vec<PathBuf> {
    let below = std::fs::read_dir(lib).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut folders: Vec<_> = below.map(|folder| folder.join("lua/5.1")).filter(|it| it.is_dir()).collect();
    folders.sort();
    folders.push(lib.join("lua/5.1"));
    folders
}

/// A search path of Lua's: `first`, then what is there already, then `last`, each place once.
fn search_path(patterns: &[&str], first: &[PathBuf], old: &str, last: &[PathBuf]) -> String {
    let in_folder = |folder: &PathBuf| -> Vec<String> {
        patterns.iter().map(|pattern| folder.join(pattern).to_string_lossy().into_owned()).collect()
    };
    let mut places: Vec<String> = Vec::new();
    let old = old.split(';').filter(|place| !place.is_empty()).map(str::to_owned);
    for place in first.iter().flat_map(in_folder).chain(old).chain(last.iter().flat_map(in_folder)) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places.join(";")
}

/// Runs the script, whose result must be its app.
pub(crate) fn run(lua: &Lua, load: &Function, start: &Start) -> Result<Registration, LoadFailure> {
    let failed = |error: mlua::Error| {
        let failure = from_error(&error);
        LoadFailure { file: failure.file.or_else(|| Some(start.source.clone())), ..failure }
    };
    let source = std::fs::read(&start.source).map_err(|problem| LoadFailure {
        message: format!("cannot read the script: {}", plain(&problem)),
        file: Some(start.source.clone()),
        ..LoadFailure::default()
    })?;
    // A first line for the shell, as in `#!/usr/bin/env kennel`, is no Lua.
    let text = if source.starts_with(b"#") {
        let end = source.iter().position(|b| *b == b'\n').unwrap_or(source.len());
        &source[end..]
    } else {
        &source[..]
    };
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let chunk = lua
        .load(text)
        .set_name(format!("@{}", start.source))
        .set_mode(mlua::chunk::ChunkMode::Text)
        .into_function()
        .map_err(failed)?;
    let registered: Table = load.call(chunk).map_err(failed)?;
    registration(&registered).map_err(failed)
}

fn registration(table: &Table) -> mlua::Result<Registration> {
    let mut routes = Vec::new();
    for route in table.get::<Table>("routes")?.sequence_values::<Table>() {
        let route = route?;
        routes.push(RouteSpec {
            methods: route.get::<Table>("methods")?.sequence_values().collect::<Result<_, _>>()?,
            path: route.get("path")?,
            handler: route.get("handler")?,
            place: route.get("place")?,
            streams: route.get::<Option<bool>>("streams")?.unwrap_or_default(),
        });
    }
    let channels: Table = table.get("channels")?;
    let channels = channels.sequence_values().map(|table| channel(&table?));
    Ok(Registration {
        routes,
        channels: channels.collect::<Result<_, _>>()?,
        hooks: table.get("hooks")?,
        not_found: table.get("not_found")?,
        raw: table.get("raw")?,
        ..Registration::default()
    })
}

/// One channel; the runtime has checked what the script said.
fn channel(table: &Table) -> mlua::Result<ChannelSpec> {
    let default = ChannelSpec::default();
    let options: Table = table.get("options")?;
    let slow: Option<String> = options.get("slow")?;
    Ok(ChannelSpec {
        path: table.get("path")?,
        handler: table.get("handler")?,
        place: table.get("place")?,
        straight: table.get("straight")?,
        origins: options.get::<Option<_>>("origins")?.unwrap_or_default(),
        protocols: options.get::<Option<_>>("protocols")?.unwrap_or_default(),
        max_message: options.get::<Option<_>>("max_message")?.unwrap_or(default.max_message),
        ping: options.get::<Option<_>>("ping")?.unwrap_or(default.ping),
        deflate: options.get::<Option<_>>("deflate")?.unwrap_or(default.deflate),
        slow: match slow.as_deref() {
            Some("drop_oldest") => Slow::DropOldest,
            Some("close") => Slow::Close,
            _ => Slow::Wait,
        },
        buffer: options.get::<Option<_>>("buffer")?.unwrap_or(default.buffer),
        asks: false,
    })
}

/// An error of mlua in the user's words: the innermost message, and Lua's traceback.
fn from_error(error: &mlua::Error) -> LoadFailure {
    match error {
        mlua::Error::SyntaxError { message, .. } => traceback::failure(message, ""),
        mlua::Error::CallbackError { traceback, cause } => {
            let inner = from_error(cause);
            LoadFailure { traceback: traceback::clean(traceback), ..inner }
        }
        mlua::Error::RuntimeError(text) => {
            let (message, trace) = text.split_once("\nstack traceback:").unwrap_or((text, ""));
            traceback::failure(message, trace)
        }
        mlua::Error::MemoryError(_) => LoadFailure {
            message: "not enough memory; limits.worker_memory says how much a worker may use".into(),
            ..LoadFailure::default()
        },
        other => traceback::failure(&other.to_string(), ""),
    }
}

/// An I/O problem without numbers.
fn plain(problem: &std::io::Error) -> String {
    match problem.kind() {
        std::io::ErrorKind::NotFound => "no such file".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        std::io::ErrorKind::IsADirectory => "it is a directory".into(),
        _ => problem.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_is_searched_once_and_the_script_s_own_first() {
        let folders = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let path = search_path(
            &["?.lua", "?/init.lua"],
            &folders(&[".", "./lua_modules/share/lua/5.1"]),
            "./?.lua;/usr/share/lua/5.1/?.lua;;",
            &folders(&["/usr/share/lua/5.1"]),
        );
        let expected = [
            "./?.lua",
            "./?/init.lua",
            "./lua_modules/share/lua/5.1/?.lua",
            "./lua_modules/share/lua/5.1/?/init.lua",
            "/usr/share/lua/5.1/?.lua",
            "/usr/share/lua/5.1/?/init.lua",
        ];
        assert_eq!(path.split(';').collect::<Vec<_>>(), expected);
    }
}
