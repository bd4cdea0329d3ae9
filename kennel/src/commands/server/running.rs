//! `kennel running`: which servers of a database run.

use super::in_words;
use crate::args::Running as Args;
use crate::table;
use mongrel2_conf::deployed::{Process, Selection};
use serde_json::json;
use std::process::ExitCode;

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let deployment = args.servers.open()?;
    let servers = args.servers.select(&deployment, Selection::Every)?;
    let found: Vec<_> = servers.iter().map(|server| (*server, deployment.process(server))).collect();
    let rows: Vec<_> = found
        .iter()
        .map(|(server, process)| {
            let pid = process.pid().map_or(String::new(), |pid| pid.to_string());
            let state = match process {
                Process::Running { .. } => "running".to_owned(),
                other => in_words(other),
            };
            [server.name.clone(), server.uuid.clone(), pid, state]
        })
        .collect();
    table::listing(args.json, &["server", "uuid", "process", "state"], &rows, || {
        let list = found.iter().map(|(server, process)| {
            let (state, pid_file) = match process {
                Process::Running { pid_file, .. } => ("running", pid_file),
                Process::Absent { pid_file } => ("absent", pid_file),
                Process::Stale { pid_file, .. } => ("stale", pid_file),
                Process::Unreadable { pid_file, .. } => ("unreadable", pid_file),
            };
            json!({
                "name": server.name, "uuid": server.uuid, "state": state, "pid": process.pid(),
                "pid_file": pid_file.display().to_string(), "says": in_words(process),
            })
        });
        list.collect()
    })?;
    let all_run = found.iter().all(|(_, process)| process.pid().is_some());
    Ok(if all_run { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
