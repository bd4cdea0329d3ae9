//! `kennel conf settings`: what holds for all servers of a database.

use super::{source, table};
use crate::args::conf::Listing;
use serde_json::json;
use std::process::ExitCode;

pub(super) fn run(args: &Listing) -> anyhow::Result<ExitCode> {
    let settings = source::database(&args.database.db)?.config.settings;
    let rows: Vec<_> = settings.iter().map(|(key, value)| [key.clone(), value.clone()]).collect();
    table::print(args.json, ["KEY", "VALUE"], &rows, || {
        settings.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect()
    })
}
