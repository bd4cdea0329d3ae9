//! Lua's error messages and tracebacks, made fit to be read: the place apart from the message, the
//! runtime's own frames left out.

use handler_core::worker::protocol::LoadFailure;

/// The name that the runtime's own chunks carry.
pub(crate) const RUNTIME_CHUNK: &str = "[kennel]";

/// Takes `file:line: message` apart. Nested places (`a.lua:1: b.lua:2: x`) give the innermost file
/// that Lua names first.
pub(crate) fn failure(message: &str, traceback: &str) -> LoadFailure {
    let (place, text) = split_place(message);
    let (file, line) = match place {
        Some((file, line)) => (Some(file.to_owned()), Some(line)),
        None => (None, None),
    };
    LoadFailure { message: text.to_owned(), file, line, traceback: clean(traceback) }
}

/// Splits `file:line: ` off the front. What stands behind other words is a part of the message.
pub(crate) fn split_place(message: &str) -> (Option<(&str, u32)>, &str) {
    // LuaJIT shortens chunk names that are no files to `[string "..."]`.
    let split = message.lines().next().unwrap_or_default().split_once(": ");
    let place = split.and_then(|(place, _)| place.rsplit_once(':'));
    match place.and_then(|(file, line)| Some((file, line.parse().ok()?))) {
        Some((file, line)) => {
            (Some((file, line)), split.map_or("", |(place, _)| &message[place.len() + 2..]))
        }
        None => (None, message),
    }
}

/// Leaves out the runtime's frames and Lua's heading.
pub(crate) fn clean(traceback: &str) -> String {
    let mut out = String::new();
    for line in traceback.lines() {
        let line = line.trim();
        let own = line.is_empty()
            || line == "stack traceback:"
            || line.starts_with(RUNTIME_CHUNK)
            || line.starts_with("[C]: in function 'error'")
            || line.starts_with("[C]: in function 'xpcall'")
            || line.starts_with("[C]: in ?");
        if !own {
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(line);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_apart_from_its_place() {
        let failure = failure("dir/app.lua:12: no such thing: x", "");
        assert_eq!((failure.file.as_deref(), failure.line), (Some("dir/app.lua"), Some(12)));
        assert_eq!(failure.message, "no such thing: x");
    }

    #[test]
    fn a_message_without_a_place_stays_whole() {
        let failure = failure("error: just text", "");
        assert_eq!((failure.file, failure.message.as_str()), (None, "error: just text"));
        let failure = super::failure("the app did not load: app.lua:2: no such thing\nmore", "");
        assert_eq!(
            (failure.file, failure.message.as_str()),
            (None, "the app did not load: app.lua:2: no such thing\nmore")
        );
    }

    #[test]
    fn the_runtimes_frames_are_left_out() {
        let traceback = "\nstack traceback:\n\t[C]: in function 'error'\n\tapp.lua:3: in function 'f'\n\t\
                         [kennel]:10: in function <[kennel]:9>\n\t[C]: in function 'xpcall'";
        assert_eq!(clean(traceback), "app.lua:3: in function 'f'");
    }
}
