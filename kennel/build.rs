//! Native Lua modules call the Lua functions of the program that loads them, so the program exports its symbols.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bins=-Wl,--export-dynamic");
}
