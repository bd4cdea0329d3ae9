//! Where a script stood when the time in which it has to load was over.
//!
//! Native code may hold the interpreter, so a worker says beforehand where it stands, in the page that outlives it. The
//! text is that of Python's `faulthandler`, which needs no interpreter to write it; Lua's worker writes lines of the same
//! form.

use super::protocol::LoadFailure;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// A worker that did not load its script in time: where the script stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The file, as one would type it here.
    pub file: String,
    /// The line in it, from 1.
    pub line: u32,
    /// The calls that led there, the outermost first; empty if there is one alone.
    pub traceback: String,
}

/// One line of the text.
struct Frame<'a> {
    file: &'a str,
    line: u32,
    function: &'a str,
}

impl Standing {
    /// Reads what a worker left in its page. `None`: nothing is known, such as when the interpreter itself had not started.
    pub fn read(text: &[u8], here: Option<&Path>) -> Option<Self> {
        let text = String::from_utf8_lossy(text);
        let mut frames: Vec<Frame<'_>> = Vec::new();
        for line in text.lines() {
            match Frame::read(line) {
                Some(frame) => frames.push(frame),
                // The main thread comes last.
                None if line.starts_with(['T', 'C']) => frames.clear(),
                None => {}
            }
        }
        // The innermost comes first. Kennel's own frames led to the script's.
        let outermost = frames.iter().position(Frame::is_kennels).unwrap_or(frames.len());
        frames.truncate(outermost);
        frames.retain(|frame| !frame.file.starts_with("<frozen"));
        let shown =
            |frame: &Frame<'_>| match here.and_then(|here| Path::new(frame.file).strip_prefix(here).ok()) {
                Some(below) => below.to_string_lossy().into_owned(),
                None => frame.file.to_owned(),
            };
        // The script's own line says more than the library's that it called.
        let inner = frames.iter().find(|frame| !frame.is_of_a_library()).or(frames.first())?;
        let mut traceback = String::new();
        if frames.len() > 1 {
            for frame in frames.iter().rev() {
                let _ = writeln!(traceback, "{}:{}: in {}", shown(frame), frame.line, frame.function);
            }
        }
        Some(Self { file: shown(inner), line: inner.line, traceback: traceback.trim_end().to_owned() })
    }
}

impl<'a> Frame<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (file, rest) = line.trim_start().strip_prefix("File \"")?.rsplit_once("\", line ")?;
        let (line, function) = rest.split_once(" in ").unwrap_or((rest, ""));
        Some(Self { file, line: line.trim().parse().ok()?, function })
    }

    fn is_kennels(&self) -> bool {
        // Those that lead to a script; a script calls others of the package.
        let leads = |file| file == "_serve/load.py" || file == "_worker.py";
        let file = self.file.rsplit_once("<kennel>/").or_else(|| self.file.rsplit_once("/kennel/"));
        file.is_some_and(|(_, file)| leads(file))
    }

    fn is_of_a_library(&self) -> bool {
        self.file.contains("site-packages") || self.file.starts_with('<') || self.file.contains("/lib/")
    }
}

/// What is said of a script that did not load within `patience`. `app` is the script where nothing else is known.
pub(crate) fn not_loaded(app: &str, patience: Duration, standing: Option<Standing>) -> LoadFailure {
    let message = format!("the script did not load within {patience:?} (limits.load_time)");
    match standing {
        Some(Standing { file, line, traceback }) => LoadFailure {
            message: format!("{message}: it was still at this line"),
            file: Some(file),
            line: Some(line),
            traceback,
        },
        None => LoadFailure { message, file: Some(app.to_owned()), ..LoadFailure::default() },
    }
}

/// What is said of a worker that died while it loaded its script. `status`: how its process ended.
pub(crate) fn died_while_loading(app: &str, status: Option<&str>, standing: Option<Standing>) -> LoadFailure {
    let status = status.map_or(String::new(), |status| format!(" ({status})"));
    let (file, line) = match standing {
        Some(Standing { file, line, .. }) => (file, Some(line)),
        None => (app.to_owned(), None),
    };
    LoadFailure {
        message: format!(
            "the worker died while it loaded the script{status}; does the script end its process?"
        ),
        file: Some(file),
        line,
        ..LoadFailure::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PYTHON: &str = r#"Timeout (0:00:01.500000)!
Thread 0x00007f0001 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 320 in wait
  File "/srv/site/background.py", line 3 in run

Thread 0x00007f0002 (most recent call first):
  File "/usr/lib/python3.11/socket.py", line 706 in readinto
  File "/srv/site/shop/db.py", line 9 in connect
  File "<frozen importlib._bootstrap>", line 241 in _call_with_frames_removed
  File "/srv/site/app.py", line 4 in <module>
  File "<kennel>/_serve/load.py", line 50 in load
  File "<kennel>/_worker.py", line 41 in main
"#;

    #[test]
    fn the_script_s_own_innermost_line_is_named_with_the_calls_that_led_there() {
        let standing = Standing::read(PYTHON.as_bytes(), Some(Path::new("/srv/site"))).unwrap();
        assert_eq!((standing.file.as_str(), standing.line), ("shop/db.py", 9));
        let calls =
            "app.py:4: in <module>\nshop/db.py:9: in connect\n/usr/lib/python3.11/socket.py:706: in readinto";
        assert_eq!(standing.traceback, calls);
    }

    #[test]
    fn a_line_alone_is_enough_and_none_is_none() {
        let standing = Standing::read(b"  File \"app.lua\", line 12\n", None).unwrap();
        assert_eq!(standing, Standing { file: "app.lua".into(), line: 12, traceback: String::new() });
        for text in [
            "",
            "Timeout (0:00:01)!\nThread 0x1 (most recent call first):\n  <no Python frame>\n",
            "  File \"a",
        ] {
            assert_eq!(Standing::read(text.as_bytes(), None), None, "{text}");
        }
        let before_the_script = "  File \"<kennel>/_worker.py\", line 41 in main\n";
        assert_eq!(Standing::read(before_the_script.as_bytes(), None), None);
    }

    #[test]
    fn the_limit_is_named_whether_or_not_the_place_is_known() {
        let standing = Standing { file: "db.lua".into(), line: 3, traceback: String::new() };
        let second = Duration::from_secs(1);
        let known = not_loaded("app.lua", second, Some(standing)).to_string();
        assert_eq!(
            known,
            "db.lua:3: the script did not load within 1s (limits.load_time): it was still at this line"
        );
        let died = died_while_loading("app.lua", Some("exit status: 3"), None).to_string();
        assert!(
            died.starts_with("app.lua: the worker died while it loaded the script (exit status: 3)"),
            "{died}"
        );
        let unknown = not_loaded("app.lua", second, None).to_string();
        assert_eq!(unknown, "app.lua: the script did not load within 1s (limits.load_time)");
    }
}
