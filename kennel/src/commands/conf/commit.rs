//! `kennel conf commit`: a row in the log, for what was changed by other means.

use super::who;
use crate::args::conf::Commit;
use crate::mongrel2::existing;
use mongrel2_conf::store::{self, Entry};
use std::process::ExitCode;

pub(super) fn run(args: &Commit) -> anyhow::Result<ExitCode> {
    let entry = Entry {
        who: who::login_name(),
        what: args.what.clone(),
        location: args.location.clone().unwrap_or_else(who::machine),
        how: args.how.clone(),
        why: args.why.clone(),
    };
    store::commit(&args.database.db, &entry).map_err(existing::refused)?;
    Ok(ExitCode::SUCCESS)
}
