//! Listings: a table for people, JSON for programs.

use serde_json::Value;
use std::io::{self, Write};
use std::process::ExitCode;

/// Prints rows below their headers, or `list` as JSON if that is wanted.
pub(crate) fn listing(
    json: bool,
    headers: &[impl AsRef<str>],
    rows: &[impl AsRef<[String]>],
    list: impl FnOnce() -> Value,
) -> anyhow::Result<ExitCode> {
    match json {
        true => print_json(&mut io::stdout(), &list())?,
        false => io::stdout().write_all(table(headers, rows).as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what `--json` asks for: indented, since people read it too.
pub(crate) fn print_json(out: &mut impl Write, value: &Value) -> anyhow::Result<()> {
    crate::exit::has_answered();
    writeln!(out, "{value:#}")?;
    Ok(())
}

/// Headers in capitals, and columns as wide as their widest cell. Columns of numbers stand to the right.
/// What is empty is `-`.
pub(crate) fn table(headers: &[impl AsRef<str>], rows: &[impl AsRef<[String]>]) -> String {
    let headers: Vec<_> = headers.iter().map(|header| visible(header.as_ref()).to_uppercase()).collect();
    let cell = |cell: &String| if cell.is_empty() { "-".to_owned() } else { visible(cell) };
    let rows: Vec<Vec<_>> = rows.iter().map(|row| row.as_ref().iter().map(cell).collect()).collect();
    let column = |at: usize| rows.iter().filter_map(move |row| row.get(at));
    let shape: Vec<(usize, bool)> = headers
        .iter()
        .enumerate()
        .map(|(at, header)| {
            let width = column(at).chain([header]).map(|text| text.chars().count()).max().unwrap_or(0);
            let numbers = column(at).all(|text| text == "-" || is_number(text));
            (width, numbers && column(at).any(|text| text != "-"))
        })
        .collect();
    let mut table = String::new();
    for row in [&headers].into_iter().chain(&rows) {
        let mut line = String::new();
        for (text, (width, to_the_right)) in row.iter().zip(&shape) {
            match to_the_right {
                true => line.push_str(&format!("{text:>width$}  ")),
                false => line.push_str(&format!("{text:width$}  ")),
            }
        }
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

/// Not all that Rust can read as a number: a host may be called `inf`.
fn is_number(text: &str) -> bool {
    text.ends_with(|c: char| c.is_ascii_digit()) && text.parse::<f64>().is_ok()
}

/// Text that does nothing to a terminal: control characters are escaped.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => shown.extend(c.escape_debug()),
            false => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown<const N: usize>(headers: [&str; N], rows: &[[&str; N]]) -> String {
        let rows: Vec<_> = rows.iter().map(|row| row.map(str::to_owned)).collect();
        table(&headers, &rows)
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let text = shown(["id", "name"], &[["7", "SERVER"], ["12", "a"]]);
        assert_eq!(text, "ID  NAME\n 7  SERVER\n12  a\n");
        assert_eq!(shown(["id", "name"], &[]), "ID  NAME\n");
    }

    #[test]
    fn only_numbers_stand_to_the_right() {
        assert_eq!(
            shown(["host", "n"], &[["inf", "-1.5"], ["7", ""]]),
            "HOST     N\ninf   -1.5\n7        -\n"
        );
        assert_eq!(shown(["empty", "x"], &[["", "a"]]), "EMPTY  X\n-      a\n");
    }

    #[test]
    fn nothing_in_a_cell_reaches_the_terminal_as_a_command() {
        assert_eq!(shown(["x"], &[["a\u{1b}[2J\"b\"\t\n"]]), "X\na\\u{1b}[2J\"b\"\\t\\n\n");
    }
}
