//! Which module uses which: an arrow for each import and each path.

use crate::sources::{Contents, Crate, Module};
use std::collections::{BTreeMap, BTreeSet};

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// To this module of the same crate, or something in it.
    Here(Module),
    /// To another crate, by its whole path.
    Elsewhere(Vec<String>),
}

/// Arrows among the modules of one folder: from, to.
pub type Arrows = BTreeSet<(String, String)>;

/// The most steps for which imports of imports are followed.
const STEPS: usize = 8;

impl Crate {
    /// Where a path leads that is written in this module. Names that a module imports lead to where they come from.
    pub fn resolve(&self, from: &[String], path: &[String]) -> Target {
        self.follow(from, path, STEPS)
    }

    fn follow(&self, from: &[String], path: &[String], steps: usize) -> Target {
        let (mut at, rest) = match path.first().map(String::as_str) {
            Some("crate") => (Vec::new(), &path[1..]),
            Some("self") => (from.to_vec(), &path[1..]),
            Some("super") => {
                let above = path.iter().take_while(|part| *part == "super").count();
                (from[..from.len().saturating_sub(above)].to_vec(), &path[above..])
            }
            Some("Self") | None => return Target::Here(from.to_vec()),
            Some(first) if self.knows(from, first) => (from.to_vec(), path),
            Some(_) => return Target::Elsewhere(path.to_vec()),
        };
        for (done, name) in rest.iter().enumerate() {
            let child: Module = at.iter().cloned().chain([name.clone()]).collect();
            if self.modules.contains_key(&child) {
                at = child;
            } else if let Some(import) = self.import(&at, name).filter(|_| steps > 0) {
                let onward: Vec<_> = import.iter().chain(&rest[done + 1..]).cloned().collect();
                return self.follow(&at, &onward, steps - 1);
            } else {
                break;
            }
        }
        Target::Here(at)
    }

    fn import(&self, module: &[String], name: &str) -> Option<&Vec<String>> {
        let imports = &self.modules.get(module)?.imports;
        // `use rustix::fs` makes a name of its own first part known: that is not a step.
        let found = imports.iter().find(|(known_as, path)| known_as == name && path[0] != *name);
        found.map(|(_, path)| path)
    }

    /// Whether the name is that of a child module or an import.
    fn knows(&self, module: &[String], name: &str) -> bool {
        let child: Module = module.iter().cloned().chain([name.to_owned()]).collect();
        self.modules.contains_key(&child) || self.import(module, name).is_some()
    }

    /// The arrows among sibling modules, by the module that they are in. An arrow between parent and child is none, and one
    /// between modules further apart is one between those of their ancestors that are siblings.
    pub fn arrows(&self) -> BTreeMap<Module, Arrows> {
        let used = self.modules.iter().flat_map(|(from, contents)| {
            contents.paths.iter().filter_map(move |path| match self.resolve(from, path) {
                Target::Here(to) => Some((from.clone(), to)),
                Target::Elsewhere(_) => None,
            })
        });
        among_siblings(used)
    }

    /// The arrows among sibling modules that are calls, not imports: a method calls another one of the same type, which
    /// stands in another module.
    pub fn calls(&self) -> BTreeMap<Module, Arrows> {
        let mut homes: BTreeMap<(Target, &str), Vec<&Module>> = BTreeMap::new();
        let blocks = || {
            self.modules.iter().flat_map(|(module, contents)| {
                contents
                    .impls
                    .iter()
                    .map(move |methods| (module, self.resolve_type(module, &methods.of), methods))
            })
        };
        for (module, of, methods) in blocks() {
            for name in &methods.defined {
                homes.entry((of.clone(), name)).or_default().push(module);
            }
        }
        let called = blocks().flat_map(|(module, of, methods)| {
            let homes = &homes;
            methods.called.iter().filter_map(move |name| match homes.get(&(of.clone(), name))?[..] {
                [home] => Some((module.clone(), home.clone())),
                _ => None,
            })
        });
        among_siblings(called.collect::<Vec<_>>())
    }

    /// The module where a type comes from, and its name.
    pub fn resolve_type(&self, from: &[String], path: &[String]) -> Target {
        let name = path.last().cloned().unwrap_or_default();
        match self.resolve(from, path) {
            Target::Here(mut module) => {
                module.push(name);
                Target::Here(module)
            }
            // A type of this very module.
            Target::Elsewhere(_) if path.len() == 1 => {
                Target::Here(from.iter().cloned().chain([name]).collect())
            }
            elsewhere => elsewhere,
        }
    }

    /// What a module uses of other crates, by whole paths.
    pub fn outside(&self, module: &[String], contents: &Contents) -> BTreeSet<Vec<String>> {
        let paths = contents.paths.iter().map(|path| self.resolve(module, path));
        let elsewhere = paths.filter_map(|target| match target {
            Target::Elsewhere(path) => Some(path),
            Target::Here(_) => None,
        });
        elsewhere.collect()
    }
}

/// Of each arrow what it means for siblings, by their parent: an arrow between parent and child is none.
pub(crate) fn among_siblings(arrows: impl IntoIterator<Item = (Module, Module)>) -> BTreeMap<Module, Arrows> {
    let mut found: BTreeMap<Module, Arrows> = BTreeMap::new();
    for (from, to) in arrows {
        let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
        if let (Some(a), Some(b)) = (from.get(common), to.get(common)) {
            found.entry(from[..common].to_vec()).or_default().insert((a.clone(), b.clone()));
        }
    }
    found
}

/// Groups of modules that use each other in a circle: strongly connected components with more than one member, each sorted.
pub fn circles(arrows: &Arrows) -> Vec<Vec<String>> {
    let reached = |from: &str| {
        let (mut seen, mut left) = (BTreeSet::new(), vec![from]);
        while let Some(at) = left.pop() {
            for (_, to) in arrows.iter().filter(|(from, _)| from == at) {
                if seen.insert(to.as_str()) {
                    left.push(to);
                }
            }
        }
        seen
    };
    let names: BTreeSet<&str> = arrows.iter().flat_map(|(a, b)| [a.as_str(), b.as_str()]).collect();
    let reach: BTreeMap<&str, BTreeSet<&str>> = names.iter().map(|name| (*name, reached(name))).collect();
    let mut found = BTreeSet::new();
    for name in &names {
        let both = |other: &&&str| reach[*name].contains(**other) && reach[**other].contains(*name);
        let group: Vec<String> = names.iter().filter(both).map(|name| (*name).to_owned()).collect();
        if group.len() > 1 {
            found.insert(group);
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::Methods;

    fn words(text: &str) -> Vec<String> {
        text.split("::").filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    /// `a` imports from `b::c`, which `b` re-exports; `b::c` imports from `b::d`.
    fn example() -> Crate {
        let module = |imports: &[(&str, &str)]| {
            let imports: Vec<_> = imports.iter().map(|(name, path)| ((*name).into(), words(path))).collect();
            let paths = imports.iter().map(|(_, path): &(String, _)| path.clone()).collect();
            Contents { imports, paths, ..Contents::default() }
        };
        let modules = [
            ("", module(&[])),
            ("a", module(&[("Thing", "crate::b::Thing"), ("fs", "std::fs")])),
            ("b", module(&[("Thing", "c::Thing")])),
            ("b::c", module(&[("D", "super::d::D")])),
            ("b::d", module(&[("Thing", "super::Thing")])),
        ];
        let modules = modules.map(|(name, contents)| (words(name), contents)).into();
        Crate { name: "example".into(), modules }
    }

    #[test]
    fn a_path_leads_to_where_the_name_comes_from() {
        let example = example();
        let lead = |from, path| example.resolve(&words(from), &words(path));
        assert_eq!(lead("a", "Thing::new"), Target::Here(words("b::c")));
        assert_eq!(lead("a", "crate::b::other"), Target::Here(words("b")));
        assert_eq!(lead("a", "fs::read"), Target::Elsewhere(words("std::fs::read")));
        assert_eq!(lead("b::c", "super::super::a::f"), Target::Here(words("a")));
    }

    #[test]
    fn a_method_that_calls_one_in_another_module_is_an_arrow() {
        let mut example = example();
        let methods = |of: &str, defined: &str, called: &str| Methods {
            of: words(of),
            defined: vec![defined.into()],
            called: vec![called.into()],
        };
        example.modules.get_mut(&words("b::c")).unwrap().impls.push(methods("Thing", "f", "g"));
        example.modules.get_mut(&words("b::d")).unwrap().impls.push(methods("Thing", "g", "h"));
        let calls = example.calls();
        assert_eq!(calls[&words("b")], Arrows::from([("c".to_owned(), "d".to_owned())]));
    }

    #[test]
    fn arrows_go_between_siblings_and_circles_are_found() {
        let arrows = example().arrows();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(arrows[&words("")], Arrows::from([pair("a", "b")]));
        assert_eq!(arrows[&words("b")], Arrows::from([pair("c", "d"), pair("d", "c")]));
        assert_eq!(circles(&arrows[&words("b")]), [["c", "d"]]);
        assert_eq!(circles(&arrows[&words("")]), Vec::<Vec<String>>::new());
    }
}
