//! The word that a script probably meant.

use mlua::{Lua, LuaString, Table};

pub(super) fn register(lua: &Lua, native: &Table) -> mlua::Result<()> {
    // (word, known words): the one that was probably meant, or nil
    let nearest = |_: &Lua, (word, known): (LuaString, Vec<String>)| {
        let word = word.to_string_lossy();
        let distances = known.into_iter().map(|known| (strsim::damerau_levenshtein(&word, &known), known));
        let near = distances.filter(|(distance, known)| *distance <= known.len().div_ceil(3)).min();
        Ok(near.map(|(_, known)| known))
    };
    native.set("nearest", lua.create_function(nearest)?)
}
