//! The rules, tested. The crate's documentation says what they are.

use architecture::arrows::{Arrows, Target, circles};
use architecture::exceptions::{self, compare};
use architecture::rules::{CLOCKS, CRATES, LONGEST, ORDERED, OUTSIDE, TEST_TOOLS, sections};
use architecture::sources::{self, Crate, Module};
use architecture::{log, python};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::LazyLock;

/// All crates.
static ALL: LazyLock<Vec<Crate>> =
    LazyLock::new(|| CRATES.iter().map(|(name, _)| Crate::read(name)).collect());

fn named(name: &str) -> &'static Crate {
    ALL.iter().find(|read| read.name == name).unwrap_or_else(|| panic!("there is no crate {name}"))
}

#[test]
fn arrows_between_crates_point_down() {
    let members = sources::manifest(".")["workspace"]["members"].as_array().cloned();
    let members: BTreeSet<_> =
        members.iter().flatten().filter_map(|member| member.as_str()).map(str::to_owned).collect();
    let known: BTreeSet<_> = CRATES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(members, known, "list each crate in architecture/src/rules.rs, above those that it uses");
    for (at, (name, allowed)) in CRATES.iter().enumerate() {
        let lower: Vec<_> = CRATES[..at].iter().map(|(name, _)| *name).collect();
        for below in *allowed {
            assert!(lower.contains(below), "rules.rs: {name} may use {below} only if it stands below {name}");
        }
        let manifest = sources::manifest(name);
        for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
            let used = manifest.get(kind).and_then(|table| table.as_table()).into_iter().flatten();
            for (used, _) in used {
                let is_test_tool = kind == "dev-dependencies" && TEST_TOOLS.contains(&used.as_str());
                assert!(
                    !known.contains(used) || allowed.contains(&used.as_str()) || is_test_tool,
                    "{name}/Cargo.toml, {kind}: {name} must not use {used}. Move what both need into a crate below \
                     both. A new arrow is a decision about the design: it belongs into architecture/src/rules.rs"
                );
                assert!(
                    used != "anyhow" || *name == "kennel",
                    "{name}/Cargo.toml: only kennel uses anyhow; a library has error types of its own (thiserror)"
                );
            }
        }
    }
}

#[test]
fn modules_use_only_those_before_them() {
    let order = sections("order.txt");
    let mut upward = BTreeSet::new();
    for name in ORDERED {
        let order = &order[name];
        let place = |module: &str| order.iter().position(|known| known == module);
        let read = named(name);
        for module in read.modules.keys().filter(|module| module.len() == 1) {
            let what = format!("architecture/rules/order.txt does not list {name}'s module {}", module[0]);
            assert!(place(&module[0]).is_some(), "{what}: put it behind those that it uses");
        }
        for module in order {
            let is_there = read.modules.contains_key(&vec![module.clone()]);
            assert!(is_there, "architecture/rules/order.txt lists {module}, which {name} does not have");
        }
        let arrows = read.arrows().remove(&Vec::new()).unwrap_or_default();
        let wrong = arrows.iter().filter(|(from, to)| place(from) < place(to));
        upward.extend(wrong.map(|(from, to)| format!("{name}: {from} -> {to}")));
    }
    let advice = "A module uses only those before it in architecture/rules/order.txt. Move the type or function that both\n\
                  need into a module below both, or hand it in as an argument.";
    compare("upward.txt", &upward, advice);
}

#[test]
fn the_order_is_that_of_the_documentation() {
    let text = sources::text("handler-core/src/lib.rs");
    let listed = text.lines().filter_map(|line| line.strip_prefix("//! * [`")?.split('`').next());
    let documented: Vec<_> = listed.collect();
    let order = &sections("order.txt")["handler-core"];
    let order: Vec<_> = order.iter().filter(|module| documented.contains(&module.as_str())).collect();
    assert_eq!(order, documented, "handler-core/src/lib.rs and architecture/rules/order.txt have to agree");
}

/// The circles among these arrows, each with its place, and the modules in them as the lists name them.
fn in_circles(place: &str, arrows: &Arrows) -> Vec<(String, Vec<String>)> {
    let group = |group: Vec<String>| {
        let lines = group.iter().map(|module| format!("{place}: {module}")).collect();
        (format!("{place}: {}", group.join(" ")), lines)
    };
    circles(arrows).into_iter().map(group).collect()
}

/// Compares the modules in circles with a list. A failure shows whole circles, too.
#[track_caller]
fn compare_circles(list: &str, found: Vec<(String, Vec<String>)>, advice: &str) {
    let groups: Vec<_> = found.iter().map(|(group, _)| format!("    {group}\n")).collect();
    let advice = format!("All circles:\n\n{}\n{advice}", groups.concat());
    compare(list, &found.into_iter().flat_map(|(_, lines)| lines).collect(), &advice);
}

fn place(of: &Crate, parent: &[String]) -> String {
    std::iter::once(&of.name).chain(parent).map(String::as_str).collect::<Vec<_>>().join("/")
}

#[test]
fn siblings_do_not_use_each_other_in_a_circle() {
    let mut found = Vec::new();
    for read in ALL.iter() {
        for (parent, arrows) in read.arrows() {
            found.extend(in_circles(&place(read, &parent), &arrows));
        }
    }
    for (package, arrows) in python::arrows() {
        let place: Vec<_> =
            std::iter::once(python::PACKAGE).chain(package.iter().map(String::as_str)).collect();
        found.extend(in_circles(&place.join("/"), &arrows));
    }
    let advice = "Modules in a circle can be neither understood nor tested alone. Move what they share into a module below them.";
    compare_circles("circles.txt", found, advice);
}

#[test]
fn siblings_do_not_share_a_type_whose_methods_call_each_other_in_a_circle() {
    let mut found = Vec::new();
    for read in ALL.iter() {
        for (parent, arrows) in read.calls() {
            found.extend(in_circles(&place(read, &parent), &arrows));
        }
    }
    let advice = "A type whose methods stand in several modules and call each other back and forth is one large module in\n\
                  disguise. Give each module a type of its own with the state that it needs.";
    compare_circles("calls.txt", found, advice);
}

#[test]
fn the_hub_has_its_methods_in_few_files() {
    let read = named("handler-core");
    let hub = Target::Here(vec!["hub".to_owned(), "Hub".to_owned()]);
    let with = read.modules.iter().filter(|(module, contents)| {
        contents.impls.iter().any(|methods| read.resolve_type(module, &methods.of) == hub)
    });
    let wanted = ["hub/mod.rs", "hub/router/", "hub/operator/"];
    let files = with.map(|(_, contents)| contents.file.clone());
    let found = files.filter(|file| !wanted.iter().any(|wanted| file.contains(wanted))).collect();
    let advice = "A method of Hub may touch everything. Write a type that has the state which the new code needs, with methods\n\
                  that take `&mut self` and what they need besides, and call it from hub/mod.rs, hub/router or hub/operator.";
    compare("hub.txt", &found, advice);
}

#[test]
fn sans_io_modules_do_no_io() {
    let mut found = BTreeSet::new();
    for (name, roots) in sections("sans-io.txt") {
        let read = named(&name);
        let roots: Vec<Module> =
            roots.iter().map(|root| root.split("::").map(str::to_owned).collect()).collect();
        let is_sans_io = |module: &[String]| roots.iter().any(|root| module.starts_with(root));
        for root in &roots {
            let what = root.join("::");
            assert!(read.modules.contains_key(root), "architecture/rules/sans-io.txt: {name} has no {what}");
            for (module, contents) in read.modules.iter().filter(|(module, _)| module.starts_with(root)) {
                let used = contents.paths.iter().map(|path| read.resolve(module, path));
                found.extend(used.filter_map(|target| match target {
                    Target::Here(used) if !is_sans_io(&used) && !module.starts_with(&used) => {
                        Some(format!("{name}: {} -> {}", module.join("::"), used.join("::")))
                    }
                    _ => None,
                }));
                let file = &contents.file;
                for path in read.outside(module, contents) {
                    let path = path.join("::");
                    let is_below = |outside: &&&str| {
                        path.strip_prefix(**outside)
                            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
                    };
                    found.extend(OUTSIDE.iter().find(is_below).map(|outside| format!("{file}: {outside}")));
                }
                let clocks = CLOCKS.iter().filter(|method| contents.calls.iter().any(|call| call == *method));
                found.extend(clocks.map(|method| format!("{file}: .{method}()")));
            }
        }
    }
    let advice = "These modules take bytes and `now`, and return values, and use only modules that do the same. Take the time as\n\
                  an argument, and return an effect for what is to be read, written or sent: `serve` or the worker carries it\n\
                  out.";
    compare("outside.txt", &found, advice);
}

#[test]
fn files_are_short() {
    // In hundreds, so that a line more is not a failure.
    let listed = exceptions::lines("long.txt");
    let bound = |path: &str| {
        let line = listed.iter().find_map(|line| line.strip_prefix(path)?.strip_prefix(": up to "));
        line.map_or(0, |bound| bound.parse().expect("a bound is a number"))
    };
    let long = sources::files().into_iter().filter(|(_, lines)| *lines > LONGEST);
    let found =
        long.map(|(path, lines)| format!("{path}: up to {}", bound(&path).max(lines.div_ceil(100) * 100)));
    let found = found.collect();
    let advice = "A file has at most 600 lines, and better 100 to 400 with its tests: one concept each. Split it by what its parts\n\
                  are about. A listed file that has grown beyond the next hundred is to be split, too.";
    compare("long.txt", &found, advice);
}

#[test]
fn exceptions_are_in_order_and_listed_once() {
    for list in ["calls.txt", "circles.txt", "hub.txt", "long.txt", "outside.txt", "upward.txt"] {
        let lines = exceptions::lines(list);
        let sorted: BTreeSet<_> = lines.iter().cloned().collect();
        assert_eq!(lines, sorted.into_iter().collect::<Vec<_>>(), "sort architecture/rules/{list}");
    }
}

/// What operators' tools read: fields of warnings and errors.
#[test]
fn fields_of_the_log_are_those_that_operators_know() {
    let mut text = String::from("# Lines of the log at WARN and ERROR, and the names of their fields.\n");
    for line in log::lines(ORDERED.iter().map(|name| named(name))) {
        let fields = if line.fields.is_empty() { "-".to_owned() } else { line.fields.join(" ") };
        let _ = write!(text, "\n{} {}\n    {fields}\n", line.level, line.message.replace('\n', "\\n"));
    }
    snapshot::check!("log.txt", &text);
}
