//! `kennel conf settings`: what holds for all servers of a database.

use super::source;
use crate::args::conf::Listing;
use crate::table;
use serde_json::json;
use std::process::ExitCode;

pub(super) fn run(args: &Listing) -> anyhow::Result<ExitCode> {
    let settings = source::database(&args.database.db)?.config.settings;
    let rows: Vec<_> = settings.iter().map(|(key, value)| [key.clone(), value.clone()]).collect();
    table::listing(args.json, &["key", "value"], &rows, || {
        settings.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect()
    })
}
