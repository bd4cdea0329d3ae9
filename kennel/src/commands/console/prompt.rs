//! The prompt: history, completion, ^C ends a command and ^D leaves.

use super::{Connection, obey_or_say};
use crate::exit::{say, takes_colours};
use handler_core::console::COMMANDS;
use reedline::{
    ColumnarMenu, DefaultPrompt, DefaultPromptSegment, Emacs, FileBackedHistory, KeyCode, KeyModifiers,
    MenuBuilder, Reedline, ReedlineEvent, ReedlineMenu, Signal, Span, Suggestion, default_emacs_keybindings,
};
use std::path::PathBuf;
use std::process::ExitCode;

/// Lines of the history.
const LINES: usize = 1000;

pub(super) fn run(connection: &mut Connection, json: bool) -> anyhow::Result<ExitCode> {
    say!("`help` lists the commands; ^D leaves.");
    let mut keys = default_emacs_keybindings();
    let complete =
        ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu("commands".into()), ReedlineEvent::MenuNext]);
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, complete);
    let menu = ReedlineMenu::EngineCompleter(Box::new(ColumnarMenu::default().with_name("commands")));
    let mut editor = Reedline::create()
        .with_completer(Box::new(Completer))
        .with_menu(menu)
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_ansi_colors(takes_colours(true));
    if let Some(file) = history()
        && let Ok(kept) = FileBackedHistory::with_file(LINES, file)
    {
        editor = editor.with_history(Box::new(kept));
    }
    let prompt =
        DefaultPrompt::new(DefaultPromptSegment::Basic("kennel".into()), DefaultPromptSegment::Empty);
    loop {
        match editor.read_line(&prompt)? {
            Signal::Success(line) if matches!(line.trim(), "exit" | "quit") => return Ok(ExitCode::SUCCESS),
            Signal::Success(line) => obey_or_say(connection, &line, json)?,
            Signal::CtrlD => return Ok(ExitCode::SUCCESS),
            _ => {}
        }
    }
}

/// Where the prompt's history is kept.
fn history() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    Some(base.join("kennel/console-history"))
}

/// Completes the names of commands and of their arguments.
struct Completer;

impl reedline::Completer for Completer {
    fn complete(&mut self, line: &str, at: usize) -> Vec<Suggestion> {
        let typed = &line[..at];
        let begin = typed.rfind(' ').map_or(0, |blank| blank + 1);
        let word = &typed[begin..];
        let name = typed.split(' ').next().unwrap_or_default();
        let candidates: Vec<(String, &str)> = if begin == 0 || name == "help" {
            COMMANDS.iter().map(|command| (command.name.to_owned(), command.does)).collect()
        } else {
            let command = COMMANDS.iter().find(|command| command.name == name);
            let arguments = command.map_or(&[][..], |command| command.arguments);
            let named = |argument: &&str| {
                Some((format!("{}=", argument.trim_start_matches('[').split_once('=')?.0), ""))
            };
            arguments.iter().filter_map(named).collect()
        };
        let fits = candidates.into_iter().filter(|(value, _)| value.starts_with(word));
        fits.map(|(value, does)| Suggestion {
            append_whitespace: !value.ends_with('='),
            value,
            description: (!does.is_empty()).then(|| does.to_owned()),
            span: Span::new(begin, at),
            ..Suggestion::default()
        })
        .collect()
    }
}
