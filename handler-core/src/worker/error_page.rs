//! The page that a browser shows under `kennel dev` when a script fails: what, where, the lines
//! around it, and the traceback.

use super::protocol::LoadFailure;
use kennel_http::websocket::close::MAX_REASON;
use std::fmt::Write;

/// How many lines of source are shown before and after the failing one.
const AROUND: usize = 5;

/// Writes the page as HTML. `title` says what failed: `GET /users/7` or `loading app.lua`.
pub fn render(title: &str, failure: &LoadFailure) -> String {
    let mut page = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Kennel: script error</title><style>\
         body{font:16px/1.5 system-ui,sans-serif;margin:0;background:#f6f4f1;color:#222}\
         header{background:#8c1c13;color:#fff;padding:1.2rem 2rem}h1{font-size:1.3rem;margin:0}\
         header p{margin:.3rem 0 0;opacity:.85}main{padding:1.5rem 2rem;max-width:70rem}\
         h2{font-size:1rem;margin:1.5rem 0 .4rem}pre{background:#fff;border:1px solid #ddd;border-radius:6px;\
         padding:.8rem 0;overflow-x:auto;font:14px/1.5 ui-monospace,monospace}\
         pre span{display:block;padding:0 1rem}pre .here{background:#fde2df}\
         pre.trace{padding:.8rem 1rem}.n{display:inline;padding:0;color:#999;user-select:none}\
         footer{padding:0 2rem 2rem;color:#666;font-size:.9rem}</style>",
    );
    let _ =
        write!(page, "<header><h1>{}</h1><p>{}</p></header><main>", escape(&failure.message), escape(title));
    if let (Some(file), Some(line)) = (&failure.file, failure.line) {
        let _ = write!(page, "<h2>{}, line {line}</h2>", escape(file));
        page.push_str(&excerpt(file, line as usize));
    }
    if !failure.traceback.trim().is_empty() {
        let _ =
            write!(page, "<h2>Traceback</h2><pre class=\"trace\">{}</pre>", escape(failure.traceback.trim()));
    }
    page.push_str(
        "</main><footer>You see this because the app runs under <code>kennel dev</code>. Save the file and reload \
         this page.</footer></html>\n",
    );
    page
}

/// What a channel's error has before its words in the reason of a close; `kennel.js` knows it.
const CLOSED_BY: &str = "kennel dev: ";

/// The reason with which a channel's connection is closed after an error of its script. Under `kennel dev` it tells the
/// error, as far as that has room, so that `kennel.js` can show it in the page.
pub fn close_reason(dev: bool, error: &str) -> String {
    if !dev {
        return "internal error".to_owned();
    }
    let line = error.lines().next().unwrap_or_default();
    let mut end = line.len().min(MAX_REASON - CLOSED_BY.len());
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    format!("{CLOSED_BY}{}", &line[..end])
}

/// A page for everybody: that something is wrong, and nothing of what.
pub fn without_details() -> &'static str {
    "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>500 Internal Server Error</title>\
     <h1>500 Internal Server Error</h1><p>This part of the site does not work at the moment.</html>\n"
}

/// The lines around `line`, the line itself marked; nothing when the file cannot be read.
fn excerpt(file: &str, line: usize) -> String {
    let Ok(source) = std::fs::read(file) else { return String::new() };
    let source = String::from_utf8_lossy(&source);
    let mut out = String::from("<pre>");
    let first = line.saturating_sub(AROUND).max(1);
    for (number, text) in source.lines().enumerate().skip(first - 1).take(line + AROUND + 1 - first) {
        let number = number + 1;
        let class = if number == line { " class=\"here\"" } else { "" };
        let _ = write!(out, "<span{class}><i class=\"n\">{number:>4}  </i>{}</span>", escape(text));
    }
    out.push_str("</pre>");
    out
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_the_line_and_escapes_everything() {
        let file = std::env::temp_dir().join(format!("kennel-error-page-{}.lua", std::process::id()));
        std::fs::write(&file, "one\ntwo <b>\nthree\n").unwrap();
        let failure = LoadFailure {
            message: "no <script> here".into(),
            file: Some(file.to_string_lossy().into_owned()),
            line: Some(2),
            traceback: "stack".into(),
        };
        let page = render("GET /<x>", &failure);
        std::fs::remove_file(&file).unwrap();
        assert!(page.contains("no &lt;script&gt; here") && page.contains("GET /&lt;x&gt;"));
        assert!(page.contains("<span class=\"here\"><i class=\"n\">   2  </i>two &lt;b&gt;</span>"));
        assert!(page.contains("three") && page.contains("stack"));
    }

    #[test]
    fn the_reason_of_a_close_tells_the_error_under_dev_alone() {
        assert_eq!(close_reason(false, "app.lua:1: secret"), "internal error");
        assert_eq!(close_reason(true, "app.lua:1: no\nmore"), "kennel dev: app.lua:1: no");
        let long = close_reason(true, &"ä".repeat(100));
        assert!(long.len() <= 123 && long.ends_with('ä'), "{long}");
    }

    #[test]
    fn a_failure_without_a_place_is_shown_too() {
        let page = render("loading", &LoadFailure { message: "gone".into(), ..Default::default() });
        assert!(page.contains("gone") && !page.contains("Traceback"));
    }
}
