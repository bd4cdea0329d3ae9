//! `kennel front`: a server that speaks Mongrel2's protocol, with Mongrel2's configuration.

use crate::args::FrontArgs as Args;
use crate::exit::{unreachable, wrong_input};
use crate::log;
use crate::mongrel2::existing;
use handler_core::hub::Limits;
use mongrel2_conf::deployed::{Deployment, Selection};
use mongrel2_conf::model::Server;
use mongrel2_front::serve::{self, Options, ServeError};
use std::path::Path;
use std::process::ExitCode;

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // As with Mongrel2, paths in the configuration count from the working directory.
    let deployment = existing::open(&args.config, Some(Path::new(".")))?;
    let server = chosen(&deployment, args.server.as_deref())?;
    let unsupported: Vec<_> = mongrel2_front::unsupported(server).iter().map(ToString::to_string).collect();
    if !unsupported.is_empty() {
        return Err(wrong_input(unsupported.join("\n")));
    }
    let tls = args.tls.clone().map(|files| (files.certificate, files.key));
    let options = Options { config: args.config.clone(), server: Some(server.uuid.clone()), tls };
    // The log has threads, and only a process with one thread can become another user. Dropped at the end, it writes
    // what waits.
    let started = serve::start(&options).map_err(in_words)?;
    let bound = Limits::default().log_queue;
    let (_log, _) = log::start(args.log_format, args.log_level, bound, started.error_log())?;
    started.run().map_err(in_words)?;
    Ok(ExitCode::SUCCESS)
}

fn in_words(problem: ServeError) -> anyhow::Error {
    match problem {
        ServeError::Choice(_) | ServeError::Configuration(_) => wrong_input(problem.to_string()),
        problem => unreachable(problem),
    }
}

/// The server with this uuid or name, or the only one. A uuid wins, as Mongrel2 takes nothing else.
fn chosen<'a>(deployment: &'a Deployment, named: Option<&str>) -> anyhow::Result<&'a Server> {
    let selection = match named {
        None => Selection::Only,
        Some(named) if deployment.servers().iter().any(|server| server.uuid == named) => {
            Selection::Uuid(named)
        }
        Some(named) => Selection::Name(named),
    };
    let found = deployment.select(selection).map_err(|problem| {
        let hint = if named.is_none() { "\n  by its name or uuid, behind the database" } else { "" };
        wrong_input(format!("{problem}{hint}"))
    })?;
    Ok(found[0])
}
