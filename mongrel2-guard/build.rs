//! Builds the library from `src/guard.c` and puts a copy beside the programs that cargo builds.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

const SOURCE: &str = "src/guard.c";
const FILE_NAME: &str = "libmongrel2-guard.so";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={SOURCE}");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let library = out.join(FILE_NAME);
    let compiler = cc::Build::new().debug(false).opt_level(2).pic(true).warnings(true).try_get_compiler()?;
    let mut command = compiler.to_command();
    command.args(["-shared", "-fvisibility=hidden", "-pthread", "-o"]).arg(&library).args([SOURCE, "-ldl"]);
    let status = command.status()?;
    if !status.success() {
        return Err(format!("{command:?}: {status}").into());
    }
    if let Some(folder) = folder_of_programs(&out) {
        let copy = folder.join(FILE_NAME);
        // A copy that somebody removed comes back with the next build.
        println!("cargo::rerun-if-changed={}", copy.display());
        put(&library, &copy)?;
    }
    Ok(())
}

/// `target/PROFILE`, if `out` is `target/PROFILE/build/NAME/out`.
fn folder_of_programs(out: &Path) -> Option<&Path> {
    let build = out.ancestors().nth(2)?;
    if build.ends_with("build") { build.parent() } else { None }
}

/// A running Mongrel2 has the file mapped, so a new one takes its place. The same one stays, with its date.
fn put(library: &Path, copy: &Path) -> Result<(), Box<dyn Error>> {
    let content = fs::read(library)?;
    if fs::read(copy).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let draft = copy.with_extension(format!("so.{}", std::process::id()));
    fs::write(&draft, content)?;
    fs::rename(&draft, copy)?;
    Ok(())
}
