//! What people and programs read of tests.

use super::{Outcome, Verdict};
use crate::exit::takes_colours;
use crate::table;
use handler_core::rehearsal::report::Failure;
use serde_json::json;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Prints failures as they come, and the sum.
pub(super) struct Printer {
    json: bool,
    colours: bool,
}

impl Printer {
    pub(super) fn new(json: bool) -> Self {
        let colours = takes_colours(io::stdout().is_terminal());
        Self { json, colours }
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        match self.colours {
            true => format!("\u{1b}[{colour}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }

    /// A test has ended: one that failed is shown at once.
    pub(super) fn show(&self, outcome: &Outcome) -> anyhow::Result<()> {
        let Verdict::Failed(failure) = &outcome.result else { return Ok(()) };
        if self.json {
            return Ok(());
        }
        let word = self.paint("1;31", "FAILED");
        let mut out = io::stdout().lock();
        writeln!(out, "{word} {}: {}", place(outcome, failure), outcome.name)?;
        writeln!(out, "{}", indented(failure))?;
        Ok(())
    }

    /// All are run.
    pub(super) fn end(&self, outcomes: &[Outcome], took: Duration) -> anyhow::Result<()> {
        let count =
            |wanted: fn(&Verdict) -> bool| outcomes.iter().filter(|outcome| wanted(&outcome.result)).count();
        let passed = count(|verdict| matches!(verdict, Verdict::Passed));
        let failed = count(|verdict| matches!(verdict, Verdict::Failed(_)));
        let skipped = count(|verdict| matches!(verdict, Verdict::Skipped(_)));
        let seconds = took.as_secs_f64();
        if self.json {
            let tests: Vec<_> = outcomes.iter().map(Outcome::json).collect();
            let all = json!({
                "passed": passed, "failed": failed, "skipped": skipped, "seconds": seconds, "tests": tests,
            });
            return table::print_json(&mut io::stdout(), &all);
        }
        if outcomes.is_empty() {
            return Ok(());
        }
        let mut parts = vec![format!("{passed} passed")];
        if failed > 0 {
            parts.push(format!("{failed} failed"));
        }
        if skipped > 0 {
            parts.push(format!("{skipped} skipped"));
        }
        let line = format!("{} in {seconds:.1} s", parts.join(", "));
        writeln!(io::stdout(), "{}", self.paint(if failed > 0 { "1;31" } else { "1;32" }, &line))?;
        Ok(())
    }
}

/// Where it failed: the line in the test's own file, or in one that it called.
fn place(outcome: &Outcome, failure: &Failure) -> String {
    let file = failure.file.as_deref().filter(|file| !outcome.file.ends_with(file)).unwrap_or(&outcome.file);
    match failure.line {
        Some(line) => format!("{file}:{line}"),
        None => file.to_owned(),
    }
}

fn indented(failure: &Failure) -> String {
    let mut lines: Vec<String> = failure.message.lines().map(|line| format!("    {line}")).collect();
    lines.extend(failure.traceback.iter().map(|line| format!("      {line}")));
    if !failure.app_errors.is_empty() {
        lines.push("    the app logged:".to_owned());
        let app = failure.app_errors.iter().flat_map(|text| text.lines());
        lines.extend(app.map(|line| format!("      {line}")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_its_place_as_it_was_typed() {
        let failure = |file: &str| Failure { file: Some(file.into()), line: Some(3), ..Failure::default() };
        let outcome = |failure: Failure| Outcome {
            file: "my/app/tests/a_test.lua".into(),
            name: "x".into(),
            seconds: 0.0,
            result: Verdict::Failed(failure),
        };
        let own = failure("tests/a_test.lua");
        assert_eq!(place(&outcome(own.clone()), &own), "my/app/tests/a_test.lua:3");
        let other = failure("tests/shared.lua");
        assert_eq!(place(&outcome(other.clone()), &other), "tests/shared.lua:3");
    }

    #[test]
    fn what_the_app_logged_stands_below() {
        let failure = Failure {
            message: "not equal\n  expected: 1".into(),
            app_errors: vec!["GET / failed: x\n    app.lua:3".into()],
            ..Failure::default()
        };
        let text = "    not equal\n      expected: 1\n    the app logged:\n      GET / failed: x\n          app.lua:3";
        assert_eq!(indented(&failure), text);
    }
}
