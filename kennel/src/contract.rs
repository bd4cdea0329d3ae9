//! What users type, as snapshots: keys of `kennel.toml` (`snapshots/kennel.toml.txt`) and help (`snapshots/help.txt`).

use crate::args::{Args, Front};
use crate::config::{App, Cgi, Config};
use crate::listen;
use clap::{Command, CommandFactory};
use handler_core::hub::Limits;
use std::fmt::Write;
use std::path::Path;

/// The widest that help is.
const WIDTH: usize = 100;

/// Turns a command and those below it into what does not depend on the test's terminal and environment.
fn fixed(command: Command) -> Command {
    command.term_width(WIDTH).mut_args(|argument| argument.hide_env_values(true)).mut_subcommands(fixed)
}

fn write_help(text: &mut String, command: &mut Command) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
    let hidden = if command.is_hide_set() { " (hidden)" } else { "" };
    let help = command.render_long_help().to_string();
    writeln!(text, "\n=== {name} --help{hidden}\n").expect("a string takes everything");
    help.lines().for_each(|line| _ = writeln!(text, "{}", line.trim_end()));
    for below in command.get_subcommands_mut().filter(|below| below.get_name() != "help") {
        write_help(text, below);
    }
}

#[test]
fn help_of_every_command_stays() {
    let mut command = fixed(Args::command());
    command.build();
    let mut text = format!("What `--help` says, {WIDTH} columns wide.\n");
    write_help(&mut text, &mut command);
    snapshot::check!("help.txt", &text);
}

#[test]
fn help_names_the_server_that_is_started_by_default() {
    let mut command = Args::command();
    command.build();
    let default = format!("[default: {:?}]", Front::DEFAULT).to_lowercase();
    for name in ["run", "dev", "check"] {
        let command = command.find_subcommand_mut(name).expect("a command");
        let front = command.get_arguments().find(|argument| argument.get_id() == "front");
        let help = front.and_then(|front| front.get_help()).expect("a flag with help").to_string();
        assert!(help.ends_with(&default), "{name}: {help}");
    }
}

/// The tables of the file, each with what makes it complete.
const TABLES: [(&str, &str); 8] = [
    ("", ""),
    ("mongrel2", "[[mongrel2]]\n"),
    ("app", "[[app]]\n"),
    ("console", "[console]\n"),
    ("metrics", "[metrics]\n"),
    ("sessions", "[sessions]\n"),
    ("cgi", "[cgi]\n"),
    ("limits", "[limits]\n"),
];

/// The keys that a table may have, as the reader of the file lists them for an unknown one.
fn keys(table: &str) -> Vec<String> {
    let problem = toml::from_str::<Config>(&format!("{table}zzz = 1\n")).expect_err("there is no such key");
    let names = problem.message().split('`').skip(1).step_by(2).map(str::to_owned);
    names.filter(|name| name != "zzz").collect()
}

/// What the file's reader says of these lines, without the place; empty when they are fine.
fn complaint(text: &str) -> String {
    let Err(problem) = Config::parse(Path::new("kennel.toml"), text) else { return String::new() };
    let problem = problem.to_string();
    let first = problem.lines().next().unwrap_or_default();
    first.splitn(4, ':').last().unwrap_or_default().trim().to_owned()
}

/// What the key takes: what the file's reader says of values that it does not take.
fn kinds(table: &str, key: &str) -> Vec<String> {
    let mut said = vec![complaint(&format!("{table}{key} = [[1]]\n"))];
    let text = complaint(&format!("{table}{key} = \"zzz\"\n"));
    if !text.is_empty() && text != said[0] && text != complaint(table) {
        said.push(text);
    }
    said
}

/// The default of a key, where the program has it in one place.
fn default(table: &str, key: &str) -> Option<String> {
    let cgi = handler_exec::cgi::Settings::default();
    let program = handler_exec::Settings::default();
    Some(match (table, key) {
        ("", "front") => format!("{:?}", Front::DEFAULT).to_lowercase(),
        ("", "listen") => listen::MONGREL2.to_owned(),
        ("app", "factory") => App::default().factory.to_string(),
        ("app", "processes") => program.processes.to_string(),
        ("app", "at_once") => program.at_once.to_string(),
        ("cgi", "enabled") => Cgi::default().enabled.to_string(),
        ("cgi", "timeout") => format!("{:?}", cgi.timeout),
        ("cgi", "at_once") => cgi.at_once.to_string(),
        ("cgi", "output") => format!("{} bytes", cgi.output),
        ("limits", _) => {
            let limits = Limits::default().described();
            let (_, value, means) = limits.into_iter().find(|(name, ..)| *name == key)?;
            format!("{value}: {means}")
        }
        _ => return None,
    })
}

#[test]
fn keys_of_the_configuration_stay() {
    let mut text = String::from("# The keys of kennel.toml: what they take, and their defaults.\n");
    for key in keys("") {
        let is_table = kinds("", &key)[0].ends_with("write a table, as in { key = \"value\" }");
        let is_listed = TABLES.iter().any(|(table, _)| *table == key);
        assert!(!is_table || is_listed, "add the table [{key}] to this test");
    }
    for (table, begin) in TABLES {
        writeln!(text, "\n{}\n", if table.is_empty() { "at the top" } else { begin.trim_end() })
            .expect("a string takes everything");
        for key in keys(begin) {
            let default =
                default(table, &key).map(|default| format!("\n    default {default}")).unwrap_or_default();
            let kinds = kinds(begin, &key).join("\n    ");
            writeln!(text, "{key}\n    {kinds}{default}").expect("a string takes everything");
        }
    }
    for (limit, ..) in Limits::default().described() {
        assert!(text.contains(&format!("\n{limit}\n")), "limits.{limit} cannot be set in kennel.toml");
    }
    snapshot::check!("kennel.toml.txt", &text);
}
