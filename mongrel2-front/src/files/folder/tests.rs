//! Requests for files of a temporary folder.

use super::super::Answer;
use super::*;
use std::fs::{self, FileTimes};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// 1994-11-06 08:49:37.
const THEN: Duration = Duration::from_secs(784_111_777);

/// A temporary folder, removed when dropped.
pub(in crate::files) struct Scratch(PathBuf);

impl Scratch {
    pub(in crate::files) fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("front-files-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }

    pub(in crate::files) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Site {
    _scratch: Scratch,
    folder: Folder,
}

fn site() -> Site {
    let scratch = Scratch::new();
    let base = scratch.path().join("public");
    fs::create_dir_all(base.join("d")).unwrap();
    fs::create_dir_all(base.join("odd/index.html")).unwrap();
    for (name, content) in [
        ("index.html", "INDEX"),
        ("d/index.html", "D"),
        ("a.TXT", "0123456789"),
        ("a b", "blank"),
        ("empty", ""),
        ("large.txt", &"x".repeat(5000)),
        ("../secret.txt", "secret"),
    ] {
        fs::write(base.join(name), content).unwrap();
        let file = File::options().write(true).open(base.join(name)).unwrap();
        file.set_times(FileTimes::new().set_modified(UNIX_EPOCH + THEN)).unwrap();
    }
    let types = [(".txt", "text/plain"), (".html", "text/html")];
    let types = Types::new(&types.map(|(extension, kind)| (extension.to_owned(), kind.to_owned())));
    let dir = Dir { default_ctype: "x/default".into(), ..Dir::new("public/") };
    let folder = Folder::new(&dir, Arc::new(types), scratch.path());
    Site { _scratch: scratch, folder }
}

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.extend_from_slice(format!("{}:{name},{}:{value},", name.len(), value.len()).as_bytes());
    }
    Request {
        dir: 0,
        method: method.into(),
        path: path.into(),
        prefix: 1,
        headers: block,
        is_http_11: true,
        keeps_alive: true,
    }
}

fn text(answer: &Answer) -> String {
    let mut bytes = answer.head.clone();
    let before = bytes.len();
    for piece in &answer.body {
        match piece {
            Piece::Bytes(piece) => bytes.extend_from_slice(piece),
            Piece::File { file, offset, length } => {
                let mut piece = vec![0; *length as usize];
                file.read_exact_at(&mut piece, *offset).unwrap();
                bytes.extend_from_slice(&piece);
            }
        }
    }
    assert_eq!((bytes.len() - before) as u64, answer.size);
    String::from_utf8(bytes).unwrap()
}

impl Site {
    fn answer(&self, request: &Request) -> Answer {
        self.folder.answer(request, UNIX_EPOCH + THEN + Duration::from_secs(60))
    }

    fn says(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        text(&self.answer(&request(method, path, headers)))
    }

    fn status(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
        self.answer(&request(method, path, headers)).status
    }
}

#[test]
fn a_file_comes_with_its_head_in_mongrel2s_order() {
    let site = site();
    let head = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:50:37 GMT\r\nContent-Type: text/plain\r\n\
                Content-Length: 10\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nETag: \"2ebc98a1.0-a\"\r\n\
                Accept-Ranges: bytes\r\n\r\n";
    assert_eq!(site.says("GET", "/a.TXT", &[]), format!("{head}0123456789"));
    assert_eq!(site.says("HEAD", "/a.TXT", &[]), head);
    assert!(site.says("GET", "/a%20b", &[]).contains("\r\nContent-Type: x/default\r\n"));
    assert!(site.says("GET", "/empty", &[]).contains("\r\nContent-Length: 0\r\n"));
    assert!(!site.says("HEAD", "/large.txt", &[]).contains("Vary"));
}

#[test]
fn the_client_is_told_what_becomes_of_its_connection() {
    let site = site();
    for (is_http_11, keeps_alive, line) in [
        (true, true, None),
        (true, false, Some("close")),
        (false, true, Some("keep-alive")),
        (false, false, Some("close")),
    ] {
        for path in ["/a.TXT", "/d"] {
            let answer = site.answer(&Request { is_http_11, keeps_alive, ..request("GET", path, &[]) });
            let text = text(&answer);
            let found = text.lines().find_map(|line| line.strip_prefix("Connection: "));
            assert_eq!((found, answer.closes), (line, !keeps_alive), "{path}");
        }
    }
}

#[test]
fn folders_have_an_index_and_a_slash() {
    let site = site();
    assert!(site.says("GET", "/", &[]).ends_with("\r\n\r\nINDEX"));
    assert!(site.says("GET", "/d/", &[]).ends_with("\r\n\r\nD"));
    let moved = "HTTP/1.1 301 Moved Permanently\r\nDate: Sun, 06 Nov 1994 08:50:37 GMT\r\n\
                 Location: /d/?x=1\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(site.says("GET", "/d", &[("QUERY", "x=1")]), moved);
    assert_eq!(site.says("HEAD", "/d", &[("QUERY", "x=1")]), moved);
    assert_eq!(site.says("GET", "//d", &[("QUERY", "x=1")]), moved);
    assert_eq!(site.status("GET", "/odd", &[]), 301);
    for path in ["/odd/", "/d/none/", "/a.TXT/", "/missing"] {
        assert_eq!(site.status("GET", path, &[]), 404, "{path}");
    }
}

#[test]
fn what_is_not_there_or_outside_is_404() {
    let site = site();
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/a.TXT%00",
        "/d/../../secret.txt",
        "/..",
    ] {
        let answer = site.answer(&request("GET", path, &[]));
        assert_eq!((answer.status, answer.closes), (404, true), "{path}");
    }
    assert!(site.says("GET", "/missing", &[]).ends_with("\r\n\r\nNot Found"));
    assert!(site.says("HEAD", "/missing", &[]).ends_with("Content-Length: 9\r\nConnection: close\r\n\r\n"));
    assert_eq!(site.status("GET", "/d/../a.TXT", &[]), 200);
    assert_eq!(site.answer(&Request { prefix: 9, ..request("GET", "/a.TXT", &[]) }).status, 404);
}

#[test]
fn other_methods_are_told_which_ones_there_are() {
    let site = site();
    for method in ["POST", "OPTIONS", "PUT", "get"] {
        let said = site.says(method, "/a.TXT", &[]);
        assert!(said.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{said}");
        assert!(
            said.contains("\r\nAllow: GET, HEAD\r\n") && said.contains("\r\nConnection: close\r\n"),
            "{said}"
        );
    }
}

#[test]
fn conditions_and_ranges_count() {
    let site = site();
    let tag = "\"2ebc98a1.0-a\"";
    let unchanged = site.says("GET", "/a.TXT", &[("if-none-match", tag)]);
    assert!(unchanged.starts_with("HTTP/1.1 304 Not Modified\r\n") && unchanged.contains(tag), "{unchanged}");
    assert!(!unchanged.contains("Content-Length") && unchanged.ends_with("\r\n\r\n"), "{unchanged}");
    let since = ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(site.status("HEAD", "/a.TXT", &[since]), 304);
    assert_eq!(site.status("GET", "/a.TXT", &[("if-match", "\"x\"")]), 412);
    assert!(site.says("HEAD", "/a.TXT", &[("if-match", "\"x\"")]).ends_with("\r\n\r\n"));
    assert_eq!(site.status("GET", "/a.TXT", &[("range", "bytes=10-")]), 416);
    let part = site.says("GET", "/a.TXT", &[("range", "bytes=2-4")]);
    assert!(
        part.starts_with("HTTP/1.1 206 ") && part.contains("\r\nContent-Range: bytes 2-4/10\r\n"),
        "{part}"
    );
    assert!(part.contains("\r\nContent-Length: 3\r\n") && part.ends_with("\r\n\r\n234"), "{part}");
    let parts = site.says("GET", "/a.TXT", &[("range", "bytes=0-0,8-")]);
    assert!(
        parts.contains("multipart/byteranges; boundary=") && parts.contains("bytes 8-9/10\r\n\r\n89\r\n"),
        "{parts}"
    );
}
