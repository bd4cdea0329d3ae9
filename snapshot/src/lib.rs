//! Snapshots: a test compares a text with a file in the repository.
//!
//! A snapshot records what users rely on: bytes of a protocol, names of metrics, help texts. The test fails when the text
//! differs from the file, and its message shows the lines that differ. If the change is intended, run the test again with
//! `UPDATE_SNAPSHOTS=1`: it rewrites the file, and the change shows up in the review.
//!
//! ```ignore
//! snapshot::check!("metrics.txt", &text); // compares with snapshots/metrics.txt in the crate's folder
//! ```
//!
//! This crate has no dependencies, since the tests of `handler-core` link it. `expect-test` and `insta` do more than we need,
//! with dependencies of their own, and neither can name the command that accepts a change.

use std::fmt::Write;
use std::path::Path;

/// The environment variable that makes tests rewrite snapshots.
pub const UPDATE: &str = "UPDATE_SNAPSHOTS";

/// Lines shown before and after a difference.
const CONTEXT: usize = 2;
/// Differing lines shown of one snapshot.
const SHOWN: usize = 60;

/// Compares a text with the file of this name in `snapshots/` in the folder of the crate that calls it.
#[macro_export]
macro_rules! check {
    ($name:expr, $found:expr) => {
        $crate::compare(env!("CARGO_MANIFEST_DIR"), env!("CARGO_PKG_NAME"), $name, $found)
    };
}

/// Whether tests are to rewrite snapshots.
pub fn is_updating() -> bool {
    std::env::var_os(UPDATE).is_some_and(|value| value == "1")
}

/// Compares `found` with `snapshots/NAME` in the folder of a crate. [`check!`] fills in the crate.
///
/// # Panics
///
/// When they differ, with the difference and how to accept it.
#[track_caller]
pub fn compare(folder: &str, package: &str, name: &str, found: &str) {
    let path = Path::new(folder).join("snapshots").join(name);
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if expected == found {
        return;
    }
    if is_updating() {
        let parent = path.parent().expect("the path has a folder");
        std::fs::create_dir_all(parent).unwrap_or_else(|e| panic!("cannot create {}: {e}", parent.display()));
        std::fs::write(&path, found).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
        return;
    }
    panic!("{}", failure(package, name, &expected, found));
}

/// What the developer reads when a snapshot differs.
fn failure(package: &str, name: &str, expected: &str, found: &str) -> String {
    let shown = difference(expected, found);
    format!(
        "{package}/snapshots/{name} differs from what the code does now (- file, + code):\n\n{shown}\n\
         Users rely on this. If the change is intended, say so in CHANGELOG.md and run\n\n    \
         {UPDATE}=1 cargo test -p {package}\n"
    )
}

/// The lines that differ, with some lines around them.
fn difference(expected: &str, found: &str) -> String {
    let lines = edits(&expected.lines().collect::<Vec<_>>(), &found.lines().collect::<Vec<_>>());
    let differs = |at: usize| lines.get(at).is_some_and(|(mark, _)| *mark != ' ');
    let near = |at: usize| (at.saturating_sub(CONTEXT)..=at + CONTEXT).any(differs);
    let (mut out, mut shown, mut skips) = (String::new(), 0, false);
    for (at, (mark, line)) in lines.iter().enumerate() {
        if !near(at) {
            skips = true;
            continue;
        }
        if std::mem::take(&mut skips) {
            out.push_str("  ...\n");
        }
        if shown == SHOWN {
            out.push_str("  ... and more\n");
            break;
        }
        shown += usize::from(*mark != ' ');
        // Writing into a string cannot fail.
        let _ = writeln!(out, "{mark} {line}");
    }
    if out.is_empty() {
        out.push_str("only the ends of lines differ\n");
    }
    out
}

/// All lines of both texts, each with `-`, `+`, or a blank for a line that both have.
fn edits<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(char, &'a str)> {
    let same = |(a, b): &(&&str, &&str)| a == b;
    let begin = old.iter().zip(new).take_while(same).count();
    let (old_rest, new_rest) = (&old[begin..], &new[begin..]);
    let end = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(same).count();
    let (a, b) = (&old_rest[..old_rest.len() - end], &new_rest[..new_rest.len() - end]);
    // longest[i][j]: the longest common subsequence of a[i..] and b[j..].
    let mut longest = vec![vec![0_u32; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i][j] = match a[i] == b[j] {
                true => longest[i + 1][j + 1] + 1,
                false => longest[i + 1][j].max(longest[i][j + 1]),
            };
        }
    }
    let mut lines: Vec<_> = old[..begin].iter().map(|line| (' ', *line)).collect();
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            lines.push((' ', a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || i < a.len() && longest[i + 1][j] >= longest[i][j + 1] {
            lines.push(('-', a[i]));
            i += 1;
        } else {
            lines.push(('+', b[j]));
            j += 1;
        }
    }
    lines.extend(old[old.len() - end..].iter().map(|line| (' ', *line)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_the_lines_around_it() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n";
        let new = "1\n2\n3\n4\nfive\n6\n7\n8\nnine\n";
        assert_eq!(difference(old, new), "  ...\n  3\n  4\n- 5\n+ five\n  6\n  7\n  8\n+ nine\n");
        assert_eq!(difference("", "a\n"), "+ a\n");
        assert_eq!(difference("a", "a\n"), "only the ends of lines differ\n");
    }

    #[test]
    fn a_text_that_differs_fails_with_the_way_to_accept_it() {
        let message = failure("kennel", "x.txt", "", "a\n");
        assert!(message.contains("kennel/snapshots/x.txt differs") && message.contains("+ a\n"), "{message}");
        assert!(message.contains("UPDATE_SNAPSHOTS=1 cargo test -p kennel"), "{message}");
    }
}
