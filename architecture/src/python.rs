//! Which modules of the Python package import which.

use crate::arrows::{Arrows, among_siblings};
use crate::sources::{Module, workspace};
use std::collections::BTreeMap;
use std::path::Path;

/// The folder of the package, in the workspace.
pub const PACKAGE: &str = "handler-py/python/kennel";

/// The arrows among sibling modules of the package, by the subpackage that they are in. Imports in functions count; those
/// under `if TYPE_CHECKING:` do not, since Python does not run them.
///
/// # Panics
///
/// When the package cannot be read.
pub fn arrows() -> BTreeMap<Module, Arrows> {
    let mut texts = BTreeMap::new();
    read(&workspace().join(PACKAGE), &[], &mut texts);
    let is_there = |module: &[String]| texts.contains_key(module);
    let used = texts.iter().flat_map(|(module, (package, text))| {
        imports(text, package).into_iter().map(move |mut imported| {
            // A path that does not name a module names something inside one.
            while !is_there(&imported) {
                imported.pop();
            }
            (module.clone(), imported)
        })
    });
    among_siblings(used)
}

/// Reads all files in a folder, by their modules: each with the package that its imports are relative to, and its text.
fn read(folder: &Path, package: &[String], texts: &mut BTreeMap<Module, (Module, String)>) {
    let entries =
        std::fs::read_dir(folder).unwrap_or_else(|e| panic!("cannot read {}: {e}", folder.display()));
    for path in entries.map(|entry| entry.expect("the folder can be read").path()) {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let module: Module = package.iter().cloned().chain([name.clone()]).collect();
        if path.join("__init__.py").exists() {
            read(&path, &module, texts);
        } else if path.extension().is_some_and(|end| end == "py") {
            let text =
                std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {name}.py: {e}"));
            let module = if name == "__init__" { package.to_vec() } else { module };
            texts.insert(module, (package.to_vec(), text));
        }
    }
}

/// What a file imports from its own package: `from . import a, b`, `from .a import x`, `from ..b.c import x`,
/// `from kennel.a import x`; each with the name behind `import`. `package`: where the file is.
fn imports(text: &str, package: &[String]) -> Vec<Module> {
    let mut found = Vec::new();
    let mut types_only = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        if types_only.is_some_and(|depth| !line.is_empty() && indent <= depth) {
            types_only = None;
        }
        if line == "if TYPE_CHECKING:" {
            types_only = Some(indent);
        }
        let Some((from, names)) = line.strip_prefix("from ").and_then(|rest| rest.split_once(" import "))
        else {
            continue;
        };
        let mut names = names.split('#').next().unwrap_or_default().to_owned();
        while names.contains('(') && !names.contains(')') {
            let Some(more) = lines.next() else { break };
            names.push_str(more.split('#').next().unwrap_or_default());
        }
        if types_only.is_some() {
            continue;
        }
        let below = from.trim_start_matches('.');
        let base = match (from.len() - below.len(), below.strip_prefix("kennel")) {
            (0, Some(below)) if below.is_empty() || below.starts_with('.') => Vec::new(),
            (0, _) => continue,
            (dots, _) => package[..(package.len() + 1).saturating_sub(dots)].to_vec(),
        };
        let below = if below.len() < from.len() { below } else { &below["kennel".len()..] };
        let steps = below.split('.').filter(|step| !step.is_empty()).map(str::to_owned);
        let from: Module = base.into_iter().chain(steps).collect();
        let names = names.split([',', '(', ')']).filter_map(|name| name.split_whitespace().next());
        found.extend(names.map(|name| from.iter().cloned().chain([name.to_owned()]).collect()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, package: &[&str]) -> Vec<String> {
        let package: Module = package.iter().map(|step| (*step).to_owned()).collect();
        imports(text, &package).iter().map(|module| module.join(".")).collect()
    }

    #[test]
    fn imports_of_the_package_are_found_and_those_for_types_are_not() {
        let text = "from typing import Any\nfrom . import _a, _b as b\nfrom ._c import (\n    X,\n    Y,\n)\n\
                    if TYPE_CHECKING:\n    from ._d import Z\n\ndef f():\n    from ._e import g  # late\n\
                    from . import (_f,\n    _g)\nfrom kennel._h import X\nfrom kennel import testing\n\
                    from kennels import Y\n";
        assert_eq!(found(text, &[]), ["_a", "_b", "_c.X", "_c.Y", "_e.g", "_f", "_g", "_h.X", "testing"]);
    }

    #[test]
    fn imports_in_a_subpackage_are_relative_to_it() {
        let text = "from .. import _native\nfrom .._b import c\nfrom . import d\nfrom .e import X\n\
                    from kennel._f.g import Y\n";
        assert_eq!(found(text, &["_a"]), ["_native", "_b.c", "_a.d", "_a.e.X", "_f.g.Y"]);
    }

    #[test]
    fn the_package_has_arrows_between_its_subpackages_and_within_them() {
        let arrows = arrows();
        let at = |place: &[&str], from: &str, to: &str| {
            let place: Module = place.iter().map(|step| (*step).to_owned()).collect();
            arrows[&place].contains(&(from.to_owned(), to.to_owned()))
        };
        assert!(at(&[], "_asgi", "_serve") && at(&["_asgi"], "server", "http"));
        assert!(!at(&[], "_serve", "_asgi"));
    }
}
