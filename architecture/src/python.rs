//! Which modules of the Python package import which.

use crate::arrows::Arrows;
use crate::sources::workspace;

/// The folder of the package, in the workspace.
pub const PACKAGE: &str = "handler-py/python/kennel";

/// The arrows among the modules of the package. Imports in functions count; those under `if TYPE_CHECKING:` do not, since
/// Python does not run them.
///
/// # Panics
///
/// When the package cannot be read.
pub fn arrows() -> Arrows {
    let folder = workspace().join(PACKAGE);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("cannot read {PACKAGE}: {e}"));
    let mut found = Arrows::new();
    for file in files.map(|file| file.expect("the folder can be read").path()) {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        // The package itself is the parent of all.
        if file.extension().is_none_or(|end| end != "py") || name == "__init__" {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("cannot read {name}.py: {e}"));
        let imported = imports(&text)
            .into_iter()
            .filter(|module| *module != name && folder.join(format!("{module}.py")).exists());
        found.extend(imported.map(|module| (name.clone(), module)));
    }
    found
}

/// What a file imports from its own package: `from . import a, b`, `from .a import x`, `from kennel.a import x`.
fn imports(text: &str) -> Vec<String> {
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
        match from.strip_prefix("kennel").unwrap_or(from) {
            "" | "." => {
                let names = names.split([',', '(', ')']).filter_map(|name| name.split_whitespace().next());
                found.extend(names.map(str::to_owned));
            }
            module => found.extend(module.strip_prefix('.').map(str::to_owned)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_of_the_package_are_found_and_those_for_types_are_not() {
        let text = "from typing import Any\nfrom . import _a, _b as b\nfrom ._c import (\n    X,\n    Y,\n)\n\
                    if TYPE_CHECKING:\n    from ._d import Z\n\ndef f():\n    from ._e import g  # late\n\
                    from . import (_f,\n    _g)\nfrom kennel._h import X\nfrom kennel import testing\n";
        assert_eq!(imports(text), ["_a", "_b", "_c", "_e", "_f", "_g", "_h", "testing"]);
    }
}
