//! Flags, settings and variables that have no effect, in words: they are typed by mistake, or for another app.

use crate::apps;
use crate::args::{Args, Front, Python};
use crate::config::Config;
use crate::guard;
use crate::language::Language;
use crate::role::WORKER_UNABLE;
use clap::CommandFactory;
use handler_core::serve::App;
use handler_core::worker::process;

/// What is said of the apps' languages, and of servers that are not started. `front`: the server that Kennel starts, if it
/// starts one. `overridden`: the servers of kennel.toml are not used, since others were typed.
pub(crate) fn settings(
    apps: &[App],
    typed: &Python,
    config: &Config,
    front: Option<Front>,
    overridden: bool,
) -> Vec<String> {
    let mut found = Vec::new();
    // One that could not be read has no language.
    let is_readable = |app: &&App| app.command.arguments.first().is_none_or(|first| first != WORKER_UNABLE);
    let languages: Vec<_> = apps.iter().filter(is_readable).map(apps::language_of).collect();
    if !languages.is_empty() && !languages.contains(&Some(Language::Python)) {
        for (flag, is_set) in [
            ("--python", typed.python.is_some()),
            ("--interface", typed.interface.is_some()),
            ("--threads", typed.threads.is_some()),
        ] {
            if is_set {
                found.push(format!("{flag} has no effect: none of the apps is in Python"));
            }
        }
    }
    for app in apps.iter().filter(is_readable) {
        let Some(set) = config.app.iter().find(|set| set.source == app.spec.name) else { continue };
        let (name, language) = (&app.spec.name, apps::language_of(app));
        let of_python = [
            ("python", set.python.is_some()),
            ("interface", set.interface.is_some()),
            ("threads", set.threads.is_some()),
        ];
        let of_programs = [("processes", set.processes.is_some()), ("at_once", set.at_once.is_some())];
        let of_python = of_python.map(|(key, is_set)| (key, is_set && language != Some(Language::Python)));
        let of_programs = of_programs.map(|(key, is_set)| (key, is_set && language.is_some()));
        for (settings, kind) in [(&of_python[..], "apps in Python"), (&of_programs[..], "programs")] {
            for (key, _) in settings.iter().filter(|(_, is_unused)| *is_unused) {
                found.push(format!("`{key}` of `{name}` in kennel.toml has no effect: it is for {kind}"));
            }
        }
    }
    if !config.mongrel2.is_empty() && !overridden {
        for (key, is_set) in [
            ("front", config.front.is_some()),
            ("tls", config.tls.is_some()),
            ("listen", config.listen.is_some()),
            ("flow_control", config.flow_control.is_some()),
            ("uploads", config.uploads.is_some()),
        ] {
            if is_set {
                found.push(format!(
                    "`{key}` in kennel.toml has no effect: it is for a server that Kennel starts, and `[[mongrel2]]` names another"
                ));
            }
        }
    }
    if front == Some(Front::Kennel) && config.flow_control == Some(false) {
        found.push(
            "`flow_control = false` in kennel.toml has no effect: Kennel's front always counts what clients have not read"
                .to_owned(),
        );
    }
    let cgi = &config.cgi;
    if !cgi.enabled && (cgi.timeout.is_some() || cgi.at_once.is_some() || cgi.output.is_some()) {
        found.push(
            "`[cgi]` in kennel.toml has no effect: CGI is off; write `enabled = true` there".to_owned(),
        );
    }
    found.extend(variables(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())));
    found
}

/// Variables whose names are nearly those of Kennel's.
fn variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let known = known_variables();
    let mut found = Vec::new();
    for name in names.filter(|name| name.starts_with("KENNEL_") && !known.contains(name)) {
        let near = known.iter().map(|known| (strsim::damerau_levenshtein(&name, known), known)).min();
        if let Some((1..=2, near)) = near {
            found.push(format!("the variable {name} has no effect; did you mean {near}?"));
        }
    }
    found.sort_unstable();
    found
}

fn known_variables() -> Vec<String> {
    let mut known = vec![process::SECRET.to_owned(), guard::SWITCH.to_owned()];
    for command in Args::command().get_subcommands() {
        let names = command.get_arguments().filter_map(|argument| argument.get_env()?.to_str());
        known.extend(names.map(str::to_owned));
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_variable_is_told_and_one_of_somebody_else_is_not() {
        let found = |name: &str| variables([name.to_owned()].into_iter());
        assert_eq!(
            found("KENNEL_WORKRES"),
            ["the variable KENNEL_WORKRES has no effect; did you mean KENNEL_WORKERS?"]
        );
        for name in ["KENNEL_WORKERS", "KENNEL_SECRET", "KENNEL_OF_MY_DOGS", "PATH"] {
            assert_eq!(found(name), [""; 0], "{name}");
        }
    }
}
