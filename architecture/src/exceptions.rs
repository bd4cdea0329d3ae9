//! Lists of exceptions, which only shrink.

use crate::sources::workspace;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

fn path(list: &str) -> PathBuf {
    workspace().join("architecture/rules").join(list)
}

/// The lines of a list in `rules/`, without comments and empty lines.
///
/// # Panics
///
/// When the list does not exist.
pub fn lines(list: &str) -> Vec<String> {
    let text =
        std::fs::read_to_string(path(list)).unwrap_or_else(|e| panic!("cannot read rules/{list}: {e}"));
    let kept = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    kept.map(str::to_owned).collect()
}

/// Compares what breaks a rule now with the list of exceptions.
///
/// # Panics
///
/// When something breaks the rule that is not listed, or something is listed that does not break it any more. `advice` says
/// what to do in the first case.
#[track_caller]
pub fn compare(list: &str, found: &BTreeSet<String>, advice: &str) {
    let listed: BTreeSet<String> = lines(list).into_iter().collect();
    let needless: Vec<_> = listed.difference(found).collect();
    if snapshot::is_updating() && !needless.is_empty() {
        remove(list, &needless);
    }
    let message = failure(list, &listed, found, advice, snapshot::is_updating());
    assert!(message.is_empty(), "{message}");
}

fn failure(
    list: &str,
    listed: &BTreeSet<String>,
    found: &BTreeSet<String>,
    advice: &str,
    removed: bool,
) -> String {
    let mut message = String::new();
    let new: Vec<_> = found.difference(listed).collect();
    // Writing into a string cannot fail.
    if !new.is_empty() {
        let _ = writeln!(message, "this breaks a rule, and is not in architecture/rules/{list}:\n");
        new.iter().for_each(|line| _ = writeln!(message, "    {line}"));
        let _ = writeln!(message, "\n{advice}\n");
    }
    let needless: Vec<_> = listed.difference(found).collect();
    if !needless.is_empty() && !removed {
        let _ = writeln!(message, "architecture/rules/{list} lists exceptions that are no longer needed:\n");
        needless.iter().for_each(|line| _ = writeln!(message, "    {line}"));
        let _ = writeln!(
            message,
            "\nWell done. Delete these lines, or let `{}=1 cargo test -p architecture` do it.",
            snapshot::UPDATE
        );
    }
    message
}

fn remove(list: &str, needless: &[&String]) {
    let text = std::fs::read_to_string(path(list)).unwrap_or_default();
    let kept = text.lines().filter(|line| !needless.iter().any(|needless| *needless == line.trim()));
    let kept: String = kept.flat_map(|line| [line, "\n"]).collect();
    std::fs::write(path(list), kept).unwrap_or_else(|e| panic!("cannot write rules/{list}: {e}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_may_neither_grow_nor_keep_what_is_not_needed() {
        let set = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<BTreeSet<_>>();
        let said =
            |listed: &[&str], found: &[&str]| failure("x.txt", &set(listed), &set(found), "Do so.", false);
        assert_eq!(said(&["a", "b"], &["a", "b"]), "");
        let new = said(&["a"], &["a", "b"]);
        assert!(new.contains("not in architecture/rules/x.txt:\n\n    b\n\nDo so."), "{new}");
        let needless = said(&["a", "b"], &["b"]);
        assert!(needless.contains("no longer needed:\n\n    a\n"), "{needless}");
    }
}
