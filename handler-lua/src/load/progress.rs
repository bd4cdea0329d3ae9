//! Says while a script loads where it stands, for the message that it did not load in time.
//!
//! Native code and compiled loops cannot be asked, so each line that the interpreter comes to is written down before it
//! runs. After [`EXACT`] lines only samples are taken: a script that computes much is not slowed down.

use handler_core::worker::link::Actions;
use mlua::debug::Debug;
use mlua::{HookTriggers, Lua, Result, VmState};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Lines that are written down one by one. Until then loops are not compiled, so it is soon over.
const EXACT: u32 = 100_000;

/// Instructions between two samples after that.
const SAMPLE: u32 = 1_000;

/// Begins to write down where the script stands.
pub(crate) fn watch(lua: &Lua, actions: &Rc<RefCell<Actions>>) -> Result<()> {
    let left = Cell::new(EXACT);
    let lines = Rc::clone(actions);
    lua.set_global_hook(HookTriggers::EVERY_LINE, move |lua, debug| {
        note(&lines, debug);
        left.set(left.get() - 1);
        if left.get() == 0 {
            let samples = Rc::clone(&lines);
            let every = HookTriggers::new().every_nth_instruction(SAMPLE);
            lua.set_global_hook(every, move |_, debug| {
                note(&samples, debug);
                Ok(VmState::Continue)
            })?;
        }
        Ok(VmState::Continue)
    })
}

fn note(actions: &RefCell<Actions>, debug: &Debug<'_>) {
    let source = debug.source();
    // Kennel's own code has other names, and a script's line called it.
    let file = source.source.as_deref().and_then(|source| source.strip_prefix('@'));
    if let (Some(file), Some(line), Ok(actions)) = (file, debug.current_line(), actions.try_borrow()) {
        actions.page().stand_at(file, line);
    }
}

/// The script is loaded, or has failed.
pub(crate) fn end(lua: &Lua, actions: &RefCell<Actions>) {
    lua.remove_global_hook();
    actions.borrow().page().stand_nowhere();
}
