//! `kennel conf load`: a configuration file becomes a database, whole or not at all.

use super::{source, who};
use crate::args::conf::{Load, SchemaVersion};
use crate::mongrel2::existing;
use mongrel2_conf::store::{self, Entry, Schema};
use std::io::Write;
use std::process::ExitCode;

pub(super) fn run(args: &Load) -> anyhow::Result<ExitCode> {
    let config = source::file(&args.file, args.strict)?;
    let schema = args.schema.map(|version| match version {
        SchemaVersion::V1_12 => Schema::V1_12,
        SchemaVersion::V1_13 => Schema::V1_13,
    });
    let entry = Entry {
        who: who::login_name(),
        what: "load".into(),
        location: who::machine(),
        how: args.file.display().to_string(),
        why: Some(args.why.clone()),
    };
    let db = &args.database.db;
    let saved = store::save(&config, db, schema, &entry).map_err(existing::refused)?;
    let done = if saved.replaced { "replaced" } else { "made" };
    writeln!(std::io::stdout(), "{done} {}: {}", db.display(), source::size(&config))?;
    if saved.replaced {
        writeln!(std::io::stdout(), "a mongrel2 that runs with it reads it when it is started again")?;
    }
    Ok(ExitCode::SUCCESS)
}
