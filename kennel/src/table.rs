//! Listings for people: a header, and columns below each other.

use std::io::{self, Write};

/// Prints rows below their headers, each column as wide as its widest cell. Columns of numbers stand to
/// the right. What could disturb a terminal is escaped.
pub(crate) fn print(out: &mut impl Write, headers: &[String], rows: &[Vec<String>]) -> io::Result<()> {
    let clean = |text: &String| match text.chars().any(char::is_control) {
        true => text.escape_debug().to_string(),
        false => text.clone(),
    };
    let headers: Vec<String> = headers.iter().map(|header| clean(header).to_uppercase()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(clean).collect()).collect();
    let column = |at: usize| rows.iter().filter_map(move |row| row.get(at));
    let shape: Vec<(usize, bool)> = headers
        .iter()
        .enumerate()
        .map(|(at, header)| {
            let width = column(at).chain([header]).map(|text| text.chars().count()).max().unwrap_or(0);
            let is_number = |text: &String| text == "-" || text.parse::<f64>().is_ok();
            (width, !rows.is_empty() && column(at).all(is_number))
        })
        .collect();
    for row in [&headers].into_iter().chain(&rows) {
        let mut line = String::new();
        for (text, (width, to_the_right)) in row.iter().zip(&shape) {
            match to_the_right {
                true => line.push_str(&format!("{text:>width$}  ")),
                false => line.push_str(&format!("{text:width$}  ")),
            }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(headers: &[&str], rows: &[&[&str]]) -> String {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let rows: Vec<_> = rows.iter().map(|row| owned(row)).collect();
        let mut out = Vec::new();
        print(&mut out, &owned(headers), &rows).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let text = printed(&["id", "name"], &[&["7", "SERVER"], &["12", "a"]]);
        assert_eq!(text, "ID  NAME\n 7  SERVER\n12  a\n");
        assert_eq!(printed(&["id", "name"], &[]), "ID  NAME\n");
    }

    #[test]
    fn nothing_in_a_cell_reaches_the_terminal_as_a_command() {
        assert_eq!(printed(&["x"], &[&["a\u{1b}[2Jb\n"]]), "X\na\\u{1b}[2Jb\\n\n");
    }
}
