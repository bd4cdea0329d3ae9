//! `kennel guard`: where the library is that guards a Mongrel2, and how to preload it.

use crate::args::Guard as Args;
use crate::exit::{plain, unreachable, wrong_input};
use crate::table::print_json;
use anyhow::anyhow;
use mongrel2_guard::{FILE_NAME, VARIABLE, can_preload, find, write};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let file = match &args.write {
        Some(file) => written(file)?,
        None => find().ok_or_else(|| {
            unreachable(format!(
                "there is no {FILE_NAME} beside the program or in ../lib/kennel\n  \
                 write one: kennel guard --write /usr/local/lib/kennel/{FILE_NAME}"
            ))
        })?,
    };
    let path = file.display();
    let shell = format!("{VARIABLE}={path} mongrel2 config.sqlite UUID");
    let systemd = format!("Environment={VARIABLE}={path}");
    let mut out = std::io::stdout().lock();
    if args.path {
        writeln!(out, "{path}")?;
    } else if args.json {
        print_json(&mut out, &json!({ "library": path.to_string(), "shell": shell, "systemd": systemd }))?;
    } else {
        writeln!(out, "{path}\n")?;
        writeln!(out, "in a shell:         {shell}")?;
        writeln!(out, "in a systemd unit:  {systemd}")?;
    }
    out.flush()?;
    if !can_preload(&file) {
        return Err(wrong_input(format!(
            "the dynamic linker cannot preload `{path}`: the path has a blank or a colon\n  \
             write the library elsewhere: kennel guard --write /usr/local/lib/kennel/{FILE_NAME}"
        )));
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the library to a file, or into a folder, and returns its absolute path.
fn written(typed: &Path) -> anyhow::Result<PathBuf> {
    let file = if typed.is_dir() { typed.join(FILE_NAME) } else { typed.to_owned() };
    // By another name, `kennel check` would not find it among the mappings of a process.
    if !file.ends_with(FILE_NAME) {
        return Err(wrong_input(format!("the file must be named {FILE_NAME}, not `{}`", file.display())));
    }
    write(&file).map_err(|problem| anyhow!("cannot write {}: {}", file.display(), plain(&problem)))?;
    Ok(std::path::absolute(file)?)
}
