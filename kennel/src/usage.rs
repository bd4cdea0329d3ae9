//! What was typed and is not understood: clap's words, with advice of ours.

use crate::toml_words::nearest;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Error};
use std::ffi::OsString;

/// Commands of other programs, and what they are here.
const OTHERS: [(&str, &str); 14] = [
    ("serve", "kennel run"),
    ("server", "kennel run"),
    ("up", "kennel run"),
    ("watch", "kennel dev"),
    ("init", "kennel new"),
    ("create", "kennel new"),
    ("restart", "kennel reload"),
    ("status", "kennel console -c stats"),
    ("stats", "kennel console -c stats"),
    ("shell", "kennel console"),
    ("version", "kennel --version"),
    ("load", "kennel conf load"),
    ("config", "kennel conf"),
    ("lint", "kennel check"),
];

/// Flags of other programs, and what they are here.
const OTHER_FLAGS: [(&str, &str); 8] = [
    ("--port", "write --listen 127.0.0.1:8080 for this machine alone, or --listen 0.0.0.0:8080"),
    ("-p", "write --listen 127.0.0.1:8080 for this machine alone, or --listen 0.0.0.0:8080"),
    ("--host", "write --listen ADDRESS:PORT, as in --listen 0.0.0.0:8080"),
    ("--bind", "write --listen ADDRESS:PORT, as in --listen 0.0.0.0:8080"),
    ("-b", "write --listen ADDRESS:PORT, as in --listen 0.0.0.0:8080"),
    ("--reload", "`kennel dev` loads code again whenever it changes"),
    ("-w", "write --workers N"),
    ("--debug", "write --log-level debug, or use `kennel dev`"),
];

/// The same error with advice for whoever typed `arguments`.
pub(crate) fn advise(mut problem: Error, arguments: &[OsString]) -> Error {
    match problem.kind() {
        ErrorKind::UnknownArgument => {
            let Some(ContextValue::String(typed)) = problem.get(ContextKind::InvalidArg) else {
                return problem;
            };
            match advice(typed, arguments) {
                Some(advice) => tip(&mut problem, advice),
                // That it may be a value is hardly ever what was meant.
                None => drop(problem.remove(ContextKind::Suggested)),
            }
        }
        ErrorKind::InvalidSubcommand => {
            let Some(ContextValue::String(typed)) = problem.get(ContextKind::InvalidSubcommand) else {
                return problem;
            };
            let typed = typed.clone();
            let is_first = arguments.get(1).is_some_and(|first| *first == *typed);
            let other = OTHERS.iter().find(|(other, _)| is_first && *other == typed);
            if let Some((_, command)) = other {
                problem.remove(ContextKind::SuggestedSubcommand);
                tip(&mut problem, format!("write `{command}`"));
            } else if problem.get(ContextKind::SuggestedSubcommand).is_none() && is_first {
                let commands = crate::args::Args::command();
                let known: Vec<_> = commands.get_subcommands().map(clap::Command::get_name).collect();
                let near = nearest(&typed, &known);
                if let Some(near) = near {
                    let near = ContextValue::Strings(vec![near.to_owned()]);
                    problem.insert(ContextKind::SuggestedSubcommand, near);
                } else {
                    tip(&mut problem, "`kennel --help` lists the commands".to_owned());
                }
            }
        }
        _ => {}
    }
    problem
}

fn tip(problem: &mut Error, advice: String) {
    problem.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(advice)]));
}

/// What to write instead of a flag that is not known.
fn advice(typed: &str, arguments: &[OsString]) -> Option<String> {
    // With one dash, `-db` is read as `-d`: it is the way of m2sh.
    let whole = arguments.iter().filter_map(|argument| argument.to_str()).find(|argument| {
        let is_long = argument.len() > 2 && argument.starts_with('-') && !argument.starts_with("--");
        is_long && argument[1..].bytes().all(|byte| byte.is_ascii_lowercase())
    });
    if let Some(whole) = whole.filter(|whole| typed.len() == 2 && whole.starts_with(typed)) {
        return Some(match whole {
            "-config" => "the file stands by itself, as in `kennel conf load site.conf`".to_owned(),
            _ => format!("long flags have two dashes: -{whole}"),
        });
    }
    let (_, advice) = OTHER_FLAGS.iter().find(|(flag, _)| *flag == typed)?;
    Some((*advice).to_owned())
}
