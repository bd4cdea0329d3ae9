//! CGI scripts among public files, as an app of Kennel's own.

use crate::config::Cgi;
use crate::role::WORKER_CGI;
use anyhow::Context;
use handler_core::hub::{AppSpec, Limits, Sharing};
use handler_core::serve::App;
use handler_core::worker::process::WorkerCommand;
use handler_core::worker::protocol::Start;
use handler_exec::cgi::{self, Settings};
use std::path::Path;
use tracing::warn;

/// The app that runs the scripts of a folder, if kennel.toml wants that. A script that is not run is no file either, and
/// the log says so.
pub(crate) fn app(settings: &Cgi, public: &Path, limits: &Limits) -> anyhow::Result<Option<App>> {
    let shown = public.display();
    if !settings.enabled {
        let found = cgi::find(public).unwrap_or_default();
        if let Some(first) = found.first() {
            warn!(
                scripts = found.len(),
                "{shown}{} is a CGI script: it is not run unless kennel.toml says `enabled = true` under [cgi], and not \
                 handed out as a file",
                first.name
            );
        }
        return Ok(None);
    }
    let default = Settings::default();
    let settings = Settings {
        timeout: settings.timeout.unwrap_or(default.timeout),
        at_once: settings.at_once.unwrap_or(default.at_once),
        output: settings.output.unwrap_or(default.output),
    };
    let program = std::env::current_exe()?.into_os_string();
    let arguments = vec![WORKER_CGI.into(), serde_json::to_string(&settings)?.into()];
    let source = std::path::absolute(public)?.into_os_string().into_string().ok();
    Ok(Some(App {
        spec: AppSpec { name: format!("{shown} (CGI)"), mount: "/".to_owned(), workers: 1 },
        sharing: Sharing::default(),
        command: WorkerCommand { program, arguments },
        start: Start {
            source: source.context("the folder of public files has a name that is not UTF-8")?,
            mount: "/".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            memory: limits.worker_memory,
            ..Start::default()
        },
    }))
}
