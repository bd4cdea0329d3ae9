//! `kennel conf mimetypes`: content types by file name extension.

use super::source;
use crate::args::conf::Listing;
use crate::table;
use serde_json::json;
use std::process::ExitCode;

pub(super) fn run(args: &Listing) -> anyhow::Result<ExitCode> {
    let mut types = source::database(&args.database.db)?.config.mimetypes;
    // m2sh writes them in no order at all, and Mongrel2 does not care.
    types.sort();
    let rows: Vec<_> = types.iter().map(|(extension, kind)| [extension.clone(), kind.clone()]).collect();
    table::listing(args.json, &["extension", "type"], &rows, || {
        types.iter().map(|(extension, kind)| json!({ "extension": extension, "mimetype": kind })).collect()
    })
}
