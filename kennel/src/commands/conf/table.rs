//! Tables for people: a header, and columns as wide as what is in them.

use serde_json::Value;
use std::io::{self, Write};
use std::process::ExitCode;

/// Prints rows below a header, or `list` as JSON if that is wanted.
pub(super) fn print<const N: usize>(
    json: bool,
    header: [&str; N],
    rows: &[[String; N]],
    list: impl FnOnce() -> Vec<Value>,
) -> anyhow::Result<ExitCode> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if json {
        serde_json::to_writer_pretty(&mut out, &list())?;
        writeln!(out)?;
    } else {
        write(&mut out, header, rows)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn write<const N: usize>(out: &mut impl Write, header: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    let header = header.map(str::to_owned);
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| visible(cell))).collect();
    let mut widths = header.each_ref().map(|cell| cell.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in std::iter::once(&header).chain(&rows) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// Text that does nothing to a terminal: control characters as escapes, nothing as `-`.
pub(super) fn visible(text: &str) -> String {
    match text {
        "" => "-".to_owned(),
        _ if text.contains(char::is_control) => {
            let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
            text.chars().map(shown).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let mut out = Vec::new();
        let rows = [["a".to_owned(), "x".to_owned()], ["long".to_owned(), String::new()]];
        write(&mut out, ["N", "VALUE"], &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "N     VALUE\na     x\nlong  -\n");
    }

    #[test]
    fn control_characters_do_nothing_to_a_terminal() {
        assert_eq!(visible("a\u{1b}[1mb\n"), "a\\u{1b}[1mb\\n");
    }
}
