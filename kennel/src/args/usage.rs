//! What was typed and is not understood, in words of ours: what is wrong, and what to write instead.

use super::Args;
use crate::toml_words::nearest;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, Error};
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

/// What is wrong with the command line, in one sentence; `None`: it asks for help or the version, which is not wrong.
pub(crate) fn words(problem: &Error, arguments: &[OsString]) -> Option<String> {
    if !problem.use_stderr() || problem.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return None;
    }
    let chosen = Chosen::find(arguments);
    let help = format!("`{} --help`", chosen.path);
    let invalid = text(problem, ContextKind::InvalidArg);
    Some(match problem.kind() {
        ErrorKind::UnknownArgument => {
            let typed = whole(&invalid, arguments);
            if !typed.starts_with('-') {
                return Some(format!(
                    "`{typed}` is more than `{}` takes; {help} shows what it takes",
                    chosen.path
                ));
            }
            let flags = chosen.flags();
            let flags: Vec<_> = flags.iter().map(String::as_str).collect();
            let step = match advice(&typed) {
                Some(advice) => advice,
                None => match nearest(&typed, &flags) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("{help} lists them"),
                },
            };
            format!("`{typed}` is not a flag of `{}`; {step}", chosen.path)
        }
        ErrorKind::InvalidSubcommand => {
            let typed = text(problem, ContextKind::InvalidSubcommand);
            let other = OTHERS.iter().find(|(other, _)| chosen.path == "kennel" && *other == typed);
            let known: Vec<_> = chosen.command.get_subcommands().map(Command::get_name).collect();
            let step = match (other, nearest(&typed, &known)) {
                (Some((_, command)), _) => format!("did you mean `{command}`?"),
                (None, Some(near)) => format!("did you mean `{} {near}`?", chosen.path),
                (None, None) => format!("{help} lists them"),
            };
            format!("`{typed}` is not a command of `{}`; {step}", chosen.path)
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let value = text(problem, ContextKind::InvalidValue);
            let known = list(problem, ContextKind::ValidValue);
            let one_of = |known: &[String]| match known {
                [] => String::new(),
                known => format!(": {}", known.join(", ")),
            };
            match (value.is_empty(), std::error::Error::source(problem)) {
                (true, _) => format!("`{invalid}` needs a value{}; {help} says which", one_of(&known)),
                (false, Some(cause)) => format!("`{value}` for `{invalid}`: {cause}"),
                (false, None) => {
                    format!("`{value}` is not a value of `{invalid}`; write {}", known.join(" or "))
                }
            }
        }
        ErrorKind::MissingRequiredArgument => {
            format!(
                "`{}` needs {} as well; {help} has examples",
                chosen.path,
                ticked(&list(problem, ContextKind::InvalidArg))
            )
        }
        ErrorKind::MissingSubcommand => format!("`{}` needs a command; {help} lists them", chosen.path),
        ErrorKind::TooManyValues | ErrorKind::WrongNumberOfValues | ErrorKind::TooFewValues => {
            let value = text(problem, ContextKind::InvalidValue);
            match value.is_empty() {
                true => format!("`{invalid}` has not as many values as it takes; {help} says how many"),
                false => format!("`{invalid}` takes no value, and has `{value}`; write `{invalid}` alone"),
            }
        }
        ErrorKind::ArgumentConflict => {
            let others = list(problem, ContextKind::PriorArg);
            match others.iter().all(|other| *other == invalid) {
                true => format!("`{invalid}` is there twice; write it once"),
                false => format!("`{invalid}` and {} exclude each other; write one of them", ticked(&others)),
            }
        }
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8 text".to_owned(),
        _ => format!("the command line is not understood; {help} shows what `{}` takes", chosen.path),
    })
}

/// The command that was chosen, as far as it is known.
struct Chosen {
    path: String,
    command: Command,
    /// Flags of the commands above that hold here, too.
    inherited: Vec<String>,
}

impl Chosen {
    fn find(arguments: &[OsString]) -> Self {
        let mut chosen = Self { path: "kennel".to_owned(), command: Args::command(), inherited: Vec::new() };
        for argument in arguments.iter().skip(1).filter_map(|argument| argument.to_str()) {
            if let Some(below) = chosen.command.find_subcommand(argument).cloned() {
                let globals = chosen.command.get_arguments().filter(|flag| flag.is_global_set());
                chosen.inherited.extend(globals.filter_map(|flag| Some(format!("--{}", flag.get_long()?))));
                chosen.path = format!("{} {}", chosen.path, below.get_name());
                chosen.command = below;
            }
        }
        chosen
    }

    /// All its long flags.
    fn flags(&self) -> Vec<String> {
        let own = self.command.get_arguments().filter_map(|flag| Some(format!("--{}", flag.get_long()?)));
        own.chain(self.inherited.iter().cloned()).chain(["--help".to_owned()]).collect()
    }
}

fn text(problem: &Error, kind: ContextKind) -> String {
    list(problem, kind).into_iter().next().unwrap_or_default()
}

fn list(problem: &Error, kind: ContextKind) -> Vec<String> {
    match problem.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

fn ticked(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(" and ")
}

/// A flag as it was typed. With one dash, `-db` is read as `-d`: it is the way of m2sh.
fn whole(read: &str, arguments: &[OsString]) -> String {
    let typed = arguments.iter().filter_map(|argument| argument.to_str()).find(|argument| {
        let is_long = argument.len() > 2 && argument.starts_with('-') && !argument.starts_with("--");
        is_long && argument[1..].bytes().all(|byte| byte.is_ascii_lowercase()) && argument.starts_with(read)
    });
    typed.filter(|_| read.len() == 2 && read.starts_with('-')).unwrap_or(read).to_owned()
}

/// What to write instead of a flag of another program.
fn advice(typed: &str) -> Option<String> {
    if typed == "-config" {
        return Some("the file stands by itself, as in `kennel conf load site.conf`".to_owned());
    }
    if typed.len() > 2 && !typed.starts_with("--") {
        return Some(format!("long flags have two dashes: -{typed}"));
    }
    let (_, advice) = OTHER_FLAGS.iter().find(|(flag, _)| *flag == typed)?;
    Some((*advice).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn said(line: &str) -> String {
        let arguments: Vec<OsString> =
            std::iter::once("kennel").chain(line.split_whitespace()).map(Into::into).collect();
        let problem = Args::try_parse_from(&arguments).expect_err(line);
        words(&problem, &arguments).unwrap_or_else(|| "help".to_owned())
    }

    #[test]
    fn what_is_not_understood_is_named_with_what_to_write() {
        for (line, expected) in [
            ("rnu", "`rnu` is not a command of `kennel`; did you mean `kennel run`?"),
            ("serve app.lua", "`serve` is not a command of `kennel`; did you mean `kennel run`?"),
            ("version", "`version` is not a command of `kennel`; did you mean `kennel --version`?"),
            ("frobnicate", "`frobnicate` is not a command of `kennel`; `kennel --help` lists them"),
            ("conf chek", "`chek` is not a command of `kennel conf`; did you mean `kennel conf check`?"),
            ("help rnu", "`rnu` is not a command of `kennel`; did you mean `kennel run`?"),
            (
                "run --wrokers 3 app.lua",
                "`--wrokers` is not a flag of `kennel run`; did you mean `--workers`?",
            ),
            (
                "run -p 8080 app.lua",
                "`-p` is not a flag of `kennel run`; write --listen 127.0.0.1:8080 for this machine alone, or --listen \
                 0.0.0.0:8080",
            ),
            ("run -x", "`-x` is not a flag of `kennel run`; `kennel run --help` lists them"),
            (
                "conf load -config x.conf -db y",
                "`-config` is not a flag of `kennel conf load`; the file stands by itself, as in `kennel conf load \
                 site.conf`",
            ),
            (
                "ctl status net --nmae x",
                "`--nmae` is not a flag of `kennel ctl status`; did you mean `--name`?",
            ),
            ("start x", "`x` is more than `kennel start` takes; `kennel start --help` shows what it takes"),
            ("run --listen", "`--listen <ADDR:PORT>` needs a value; `kennel run --help` says which"),
            (
                "run --log-level",
                "`--log-level <LOG_LEVEL>` needs a value: debug, info, warn, error; `kennel run --help` says which",
            ),
            ("run --workers 0 app.lua", "`0` for `--workers <N>`: write a whole number from 1 to 256"),
            (
                "run --log-level x app.lua",
                "`x` is not a value of `--log-level <LOG_LEVEL>`; write debug or info or warn or error",
            ),
            (
                "run --interface wsig app.py",
                "`wsig` is not a value of `--interface <INTERFACE>`; write kennel or asgi or wsgi",
            ),
            ("new", "`kennel new` needs `<DIR>` as well; `kennel new --help` has examples"),
            ("front", "`kennel front` needs `<CONFIG.sqlite>` as well; `kennel front --help` has examples"),
            (
                "run --front nginx app.lua",
                "`nginx` is not a value of `--front <kennel|mongrel2>`; write kennel or mongrel2",
            ),
            ("check --strict=x app.lua", "`--strict` takes no value, and has `x`; write `--strict` alone"),
            ("guard --path --json", "`--path` and `--json` exclude each other; write one of them"),
            ("run --listen a:1 --listen b:1", "`--listen <ADDR:PORT>` is there twice; write it once"),
            ("ctl", "help"),
            ("--version", "help"),
            ("run --help", "help"),
        ] {
            assert_eq!(said(line), expected, "kennel {line}");
        }
    }
}
