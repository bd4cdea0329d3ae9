//! `kennel conf diff`: what differs between two databases or configuration files.

use super::source;
use super::table::visible;
use crate::args::conf::Diff;
use mongrel2_conf::diff::{self, Difference, Part};
use serde_json::json;
use std::io::{self, Write};
use std::process::ExitCode;

pub(super) fn run(args: &Diff) -> anyhow::Result<ExitCode> {
    let (old, new) = match args.files.as_slice() {
        [old, new] => (old, new),
        [new] => (&args.database.db, new),
        _ => anyhow::bail!("one or two files are compared"),
    };
    let differences = diff::diff(&source::either(old)?, &source::either(new)?);
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.json {
        let list: Vec<_> = differences.iter().map(json).collect();
        serde_json::to_writer_pretty(&mut out, &list)?;
        writeln!(out)?;
    } else if !differences.is_empty() {
        writeln!(out, "- {}\n+ {}", old.display(), new.display())?;
        write(&mut out, &differences)?;
    }
    out.flush()?;
    Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn json(difference: &Difference) -> serde_json::Value {
    let name = |kind| difference.place.iter().find(|part| part.kind == kind).map(|part| part.name.clone());
    let last = difference.place.last();
    json!({
        "kind": last.map(|part| part.kind), "name": last.map(|part| part.name.clone()),
        "server": name("server"), "host": name("host"), "route": name("route"),
        "field": difference.field, "old": difference.left, "new": difference.right,
    })
}

/// Each place once, what is in it below it.
fn write(out: &mut impl Write, differences: &[Difference]) -> io::Result<()> {
    let mut told: &[Part] = &[];
    for difference in differences {
        let Difference { place, field, left, right } = difference;
        // A thing as a whole is one line, so only what is around it becomes a heading.
        let around = match field {
            Some(_) => place.as_slice(),
            None => &place[..place.len().saturating_sub(1)],
        };
        let alike = around.iter().zip(told).take_while(|(one, other)| one == other).count();
        for (depth, part) in around.iter().enumerate().skip(alike) {
            writeln!(out, "{:1$}  {2} {3}", "", depth * 2, part.kind, visible(&part.name))?;
        }
        told = around;
        let indent = around.len() * 2;
        let name = match (field, place.last()) {
            (Some(field), _) => (*field).to_owned(),
            (None, Some(part)) => format!("{} {}", part.kind, visible(&part.name)),
            (None, None) => String::new(),
        };
        for (mark, side) in [('-', left), ('+', right)] {
            if let Some(side) = side {
                writeln!(out, "{mark} {:indent$}{name}: {}", "", visible(side))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(
        place: &[(&'static str, &str)],
        field: Option<&'static str>,
        sides: [Option<&str>; 2],
    ) -> Difference {
        let [left, right] = sides.map(|side| side.map(str::to_owned));
        let place = place.iter().map(|(kind, name)| Part { kind, name: (*name).to_owned() }).collect();
        Difference { place, field, left, right }
    }

    #[test]
    fn differences_are_grouped_by_their_place() {
        let host = [("server", "main"), ("host", "localhost")];
        let route = |path| [host[0], host[1], ("route", path)];
        let differences = [
            difference(&host[..1], Some("port"), [Some("80"), Some("81")]),
            difference(&route("/"), Some("base"), [Some("a/"), Some("")]),
            difference(&route("/x"), None, [None, Some("Dir x/")]),
            difference(&[("setting", "k")], None, [Some("1"), Some("2")]),
        ];
        let mut out = Vec::new();
        write(&mut out, &differences).unwrap();
        let expected = "  server main
-   port: 80
+   port: 81
    host localhost
      route /
-       base: a/
+       base: -
+     route /x: Dir x/
- setting k: 1
+ setting k: 2
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
