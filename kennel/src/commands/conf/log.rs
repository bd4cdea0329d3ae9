//! `kennel conf log`: who changed the configuration, when and why.

use crate::args::conf::Listing;
use crate::mongrel2::existing;
use crate::table;
use mongrel2_conf::store;
use serde_json::json;
use std::process::ExitCode;

pub(super) fn run(args: &Listing) -> anyhow::Result<ExitCode> {
    let log = store::log(&args.database.db).map_err(existing::refused)?;
    let rows: Vec<_> = log
        .iter()
        .map(|row| {
            [&row.happened_at, &row.who, &row.location, &row.what, &row.how, &row.why].map(String::clone)
        })
        .collect();
    table::listing(args.json, &["when (utc)", "who", "where", "what", "how", "why"], &rows, || {
        let list = log.iter().map(|row| {
            json!({
                "id": row.id, "happened_at": row.happened_at, "who": row.who, "location": row.location,
                "what": row.what, "how": row.how, "why": row.why,
            })
        });
        list.collect()
    })
}
