//! Reads a crate's modules and what each of them mentions.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, Meta, UseTree};

/// A path as the source writes it: `["super", "ids", "AppId"]`.
pub type Written = Vec<String>;

/// A module of a crate: its names from the crate's root, `["hub", "live"]`. The root itself is empty.
pub type Module = Vec<String>;

/// What one module mentions. Code under `#[cfg(test)]` is left out.
#[derive(Debug, Default)]
pub struct Contents {
    /// Its file, relative to the workspace.
    pub file: String,
    /// Imports by the name that they have here.
    pub imports: Vec<(String, Written)>,
    /// Every path with more than one part, imports among them.
    pub paths: Vec<Written>,
    /// Blocks of a type's own methods.
    pub impls: Vec<Methods>,
    /// Names of called methods.
    pub calls: Vec<String>,
    /// Calls of macros: name and arguments.
    pub macros: Vec<(String, String)>,
    /// Macros defined here: name and rules.
    pub defined: Vec<(String, String)>,
}

/// A block of a type's own methods: `impl Hub { ... }`.
#[derive(Debug, Default)]
pub struct Methods {
    /// The type, as the source writes it.
    pub of: Written,
    /// The methods that the block defines.
    pub defined: Vec<String>,
    /// The methods of the same type that it calls: by `self.`, `Self::`, or a variable named like the type.
    pub called: Vec<String>,
}

/// A crate of the workspace.
#[derive(Debug)]
pub struct Crate {
    /// Its name, as in `Cargo.toml`.
    pub name: String,
    /// All modules outside of tests.
    pub modules: BTreeMap<Module, Contents>,
}

/// The workspace's folder.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("crates are in the workspace").to_owned()
}

/// The text of a file in the workspace.
///
/// # Panics
///
/// When it cannot be read.
pub fn text(path: &str) -> String {
    std::fs::read_to_string(workspace().join(path)).unwrap_or_else(|e| panic!("cannot read {path}: {e}"))
}

/// The `Cargo.toml` in a folder of the workspace.
///
/// # Panics
///
/// When there is none.
pub fn manifest(folder: &str) -> toml::Table {
    let path = format!("{folder}/Cargo.toml");
    text(&path).parse().unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Ends of the names of source files.
const SOURCES: [&str; 5] = ["rs", "py", "lua", "c", "js"];
/// Folders whose files are made or brought by others.
const LEFT_OUT: [&str; 3] = ["target", "node_modules", "corpus"];

/// All source files of the workspace in any language, tests among them, with how many lines each has.
///
/// # Panics
///
/// When the folders cannot be read.
pub fn files() -> Vec<(String, usize)> {
    let (mut found, mut left) = (Vec::new(), vec![workspace()]);
    while let Some(folder) = left.pop() {
        let entries = std::fs::read_dir(&folder);
        let entries = entries.unwrap_or_else(|e| panic!("cannot read {}: {e}", folder.display()));
        for path in entries.map(|entry| entry.expect("the folder can be read").path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let end = path.extension().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && !LEFT_OUT.contains(&&*name) {
                    left.push(path);
                }
            } else if SOURCES.contains(&&*end) {
                let path = path.strip_prefix(workspace()).expect("the file is in the workspace");
                let path = path.display().to_string();
                let lines = text(&path).lines().count();
                found.push((path, lines));
            }
        }
    }
    found
}

impl Crate {
    /// Reads the crate in this folder of the workspace.
    ///
    /// # Panics
    ///
    /// When a file is missing or not Rust.
    pub fn read(name: &str) -> Self {
        let root = workspace().join(name).join("src");
        let file = ["lib.rs", "main.rs"].map(|file| root.join(file)).into_iter().find(|file| file.exists());
        let file = file.unwrap_or_else(|| panic!("{name} has neither src/lib.rs nor src/main.rs"));
        let mut read = Self { name: name.to_owned(), modules: BTreeMap::new() };
        read.add(Vec::new(), &file, &root);
        read
    }

    /// Adds the module in a file, whose child modules are in `folder`.
    fn add(&mut self, module: Module, file: &Path, folder: &Path) {
        let text =
            std::fs::read_to_string(file).unwrap_or_else(|e| panic!("cannot read {}: {e}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let relative = file.strip_prefix(workspace()).expect("the file is in the workspace");
        self.add_items(module, &relative.display().to_string(), folder, &parsed.items);
    }

    fn add_items(&mut self, module: Module, file: &str, folder: &Path, items: &[Item]) {
        let mut found = Finder { contents: Contents { file: file.to_owned(), ..Contents::default() } };
        items.iter().for_each(|item| found.visit_item(item));
        self.modules.insert(module.clone(), found.contents);
        let children = items.iter().filter_map(|item| match item {
            Item::Mod(child) if !is_left_out(&child.attrs) => Some(child),
            _ => None,
        });
        for child in children {
            let name = child.ident.to_string();
            let path: Module = module.iter().cloned().chain([name.clone()]).collect();
            let inside = folder.join(&name);
            match &child.content {
                Some((_, items)) => self.add_items(path, file, &inside, items),
                None => {
                    let files = [folder.join(format!("{name}.rs")), inside.join("mod.rs")];
                    let there = files.iter().find(|file| file.exists());
                    let there = there.unwrap_or_else(|| panic!("no file for `mod {name}` of {file}"));
                    self.add(path, there, &inside);
                }
            }
        }
    }
}

/// Whether the item is only there for tests or for documentation.
fn is_left_out(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            ["test", "doc"].contains(&list.tokens.to_string().as_str())
        }
        _ => false,
    })
}

struct Finder {
    contents: Contents,
}

impl Finder {
    /// Takes in an import; the names of a list are imports of their own.
    fn import(&mut self, mut before: Written, tree: &UseTree) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.import(before, &path.tree);
            }
            UseTree::Name(name) if name.ident == "self" => {
                let known_as = before.last().cloned().unwrap_or_default();
                self.add_import(known_as, before);
            }
            UseTree::Name(name) => {
                before.push(name.ident.to_string());
                self.add_import(name.ident.to_string(), before);
            }
            UseTree::Rename(rename) => {
                if rename.ident != "self" {
                    before.push(rename.ident.to_string());
                }
                self.add_import(rename.rename.to_string(), before);
            }
            UseTree::Glob(_) => self.add_import("*".to_owned(), before),
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import(before.clone(), tree));
            }
        }
    }

    fn add_import(&mut self, known_as: String, path: Written) {
        self.contents.paths.push(path.clone());
        self.contents.imports.push((known_as, path));
    }

    /// Finds paths in what a macro was given.
    fn scan(&mut self, tokens: TokenStream) {
        let mut path: Written = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.add_path(std::mem::take(&mut path));
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => colons += 1,
                TokenTree::Group(group) => {
                    self.add_path(std::mem::take(&mut path));
                    colons = 0;
                    self.scan(group.stream());
                }
                _ => {
                    self.add_path(std::mem::take(&mut path));
                    colons = 0;
                }
            }
        }
        self.add_path(path);
    }

    fn add_path(&mut self, path: Written) {
        if path.len() > 1 {
            self.contents.paths.push(path);
        }
    }
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Const(item) => &item.attrs,
            Item::Enum(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Trait(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Macro(item) => &item.attrs,
            Item::Static(item) => &item.attrs,
            Item::Type(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_left_out(attributes) {
            visit::visit_item(self, item);
        }
    }

    // Modules are read on their own.
    fn visit_item_mod(&mut self, _: &'ast ItemMod) {}

    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.import(Vec::new(), &item.tree);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let (None, syn::Type::Path(of)) = (&item.trait_, &*item.self_ty) {
            let of: Written = of.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            let name = of.last().cloned().unwrap_or_default().to_lowercase();
            let mut calls = Calls { receivers: ["self".to_owned(), name], called: Vec::new() };
            calls.visit_item_impl(item);
            let defined = item.items.iter().filter_map(|item| match item {
                syn::ImplItem::Fn(method) => Some(method.sig.ident.to_string()),
                _ => None,
            });
            let methods = Methods { of, defined: defined.collect(), called: calls.called };
            self.contents.impls.push(methods);
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        match item {
            syn::ImplItem::Fn(method) if is_left_out(&method.attrs) => {}
            _ => visit::visit_impl_item(self, item),
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.add_path(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.contents.calls.push(call.method.to_string());
        visit::visit_expr_method_call(self, call);
    }

    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        match &item.ident {
            Some(name) => self.contents.defined.push((name.to_string(), item.mac.tokens.to_string())),
            None => self.visit_macro(&item.mac),
        }
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.visit_path(&called.path);
        if let Some(name) = called.path.segments.last() {
            self.contents.macros.push((name.ident.to_string(), called.tokens.to_string()));
        }
        self.scan(called.tokens.clone());
    }
}

/// Finds calls of a type's own methods.
struct Calls {
    receivers: [String; 2],
    called: Vec<String>,
}

impl<'ast> Visit<'ast> for Calls {
    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        match item {
            syn::ImplItem::Fn(method) if is_left_out(&method.attrs) => {}
            _ => visit::visit_impl_item(self, item),
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if let syn::Expr::Path(receiver) = &*call.receiver
            && self.receivers.iter().any(|name| receiver.path.is_ident(name))
        {
            self.called.push(call.method.to_string());
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let [first, method] = &names[..]
            && first == "Self"
        {
            self.called.push(method.clone());
        }
        visit::visit_path(self, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(text: &str) -> Contents {
        let mut found = Finder { contents: Contents::default() };
        let parsed = syn::parse_file(text).expect("it is Rust");
        parsed.items.iter().for_each(|item| found.visit_item(item));
        found.contents
    }

    #[test]
    fn imports_and_paths_are_found_outside_of_tests() {
        let found = contents(
            "use super::{a::{self, B}, c as d};
             #[cfg(test)] use crate::only::tests;
             fn f() { crate::e::g(); warn!(x = crate::h::I, \"{}\", self::j()); std::fs::read(k) }
             #[cfg(test)] mod tests { use crate::nothing; }",
        );
        let written: Vec<_> = found.paths.iter().map(|path| path.join("::")).collect();
        let expected =
            ["super::a", "super::a::B", "super::c", "crate::e::g", "crate::h::I", "self::j", "std::fs::read"];
        assert_eq!(written, expected);
        let names: Vec<_> = found.imports.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "B", "d"]);
    }

    #[test]
    fn blocks_of_methods_and_calls_are_found() {
        let found = contents(
            "impl super::Hub { fn f(&self) { since.elapsed(); self.g(other.h()); Self::i() } fn j(hub: &Self) { hub.k() } }
             impl Drop for Hub {}",
        );
        assert!(found.calls.contains(&"elapsed".to_owned()));
        let [methods] = &found.impls[..] else { panic!("{:?}", found.impls) };
        assert_eq!(methods.of, ["super", "Hub"]);
        assert_eq!(methods.defined, ["f", "j"]);
        assert_eq!(methods.called, ["g", "i", "k"]);
    }
}
