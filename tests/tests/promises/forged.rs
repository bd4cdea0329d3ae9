use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use tests::client::{Response, request};
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::site::Site;
use tests::wait;

const APP: Scripts<'static> = Scripts {
    lua: r#"
        app:post("/echo", function(req) return req.body end)
        app:post("/form", function(req) return (req.form.a or "none") .. " " .. (req.files.f and "file" or "no file") end)
        app:post("/stream", { body = "stream" }, function(req) return req:read() or "" end)
        app:get("/echo", function(req) return "got " .. req.body end)
    "#,
    python: r#"
        @app.post("/echo")
        def echo(req): return req.body
        @app.post("/form")
        def form(req): return req.form.get("a", "none") + (" file" if req.files.get("f") else " no file")
        @app.post("/stream", body="stream")
        async def stream(req): return await req.receive()
        @app.get("/echo")
        def get(req): return b"got " + req.body
    "#,
};

const SECRET: &str = "what no client may read";

/// Files that nobody may touch, and a watch on each.
struct Watched {
    files: Vec<PathBuf>,
    watch: OwnedFd,
}

impl Watched {
    fn new(files: &[&Path]) -> Self {
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).expect("a watch");
        for file in files {
            fs::write(file, SECRET).expect("a file");
            let all = WatchFlags::ALL_EVENTS;
            inotify::add_watch(&watch, *file, all).expect("the file is there");
        }
        Self { files: files.iter().map(|file| (*file).to_owned()).collect(), watch }
    }

    /// Nobody opened, read, changed, renamed or deleted one.
    fn expect_untouched(&self) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        if let Ok(event) = Reader::new(&self.watch, &mut buffer).next() {
            panic!("somebody did {:?} to a file", event.events());
        }
        for file in &self.files {
            assert_eq!(fs::read_to_string(file).expect("it is there"), SECRET);
        }
    }
}

fn store(site: &Site) -> PathBuf {
    site.folder().path().join(format!(".kennel/{}/uploads", site.hub()))
}

fn send(site: &Site, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Response> {
    let mut client = site.client();
    client.send(request(method, path, headers, body));
    let answer = client.try_read().ok();
    if let Some(answer) = &answer {
        assert!(!answer.text().contains(SECRET), "{headers:?}: {}", answer.text());
    }
    answer
}

in_each_language!(forged_upload_headers_open_nothing_and_delete_nothing);
fn forged_upload_headers_open_nothing_and_delete_nothing(language: Language) {
    const START: &str = "X-Mongrel2-Upload-Start";
    const DONE: &str = "X-Mongrel2-Upload-Done";
    for way in ["file", "stream"] {
        let site = language.plan(APP).config(&format!("uploads = \"{way}\"\n")).start();
        let store = store(&site);
        fs::create_dir_all(&store).expect("a folder");
        let (outside, inside) = (site.folder().path().join("secret.txt"), store.join("victim"));
        let watched = Watched::new(&[&outside, &inside]);
        std::os::unix::fs::symlink(&outside, store.join("link")).expect("a link");
        let relative = format!(".kennel/{}/uploads/victim", site.hub());
        let (outside, inside) = (outside.display().to_string(), inside.display().to_string());
        let link = store.join("link").display().to_string();
        let names = [
            &outside,
            &inside,
            &link,
            &relative,
            "victim",
            "./victim",
            "link",
            "../uploads/victim",
            "uploads/../victim",
            "../../../secret.txt",
            "",
            ".",
            "..",
            "/",
            "/dev/zero",
            "/etc/passwd",
            "victim\u{e9}",
            "+victim",
            "+",
            " victim",
        ];
        let large = vec![b'x'; 3 << 20];
        let text = "a=1";
        for name in names {
            let both = [(START, name), (DONE, name)];
            for headers in [&both[..], &both[..1], &both[1..], &[(DONE, name), (DONE, name), (START, name)]] {
                let answer = send(&site, "POST", "/echo", headers, b"mine").expect("an answer");
                assert_eq!(answer.text(), "mine", "{headers:?}");
                assert_eq!(
                    send(&site, "POST", "/stream", headers, b"mine").expect("an answer").text(),
                    "mine"
                );
            }
            assert_eq!(send(&site, "POST", "/echo", &both, b"").expect("an answer").text(), "");
            assert_eq!(send(&site, "GET", "/echo", &both, b"").expect("an answer").text(), "got ");
            let form = [&both[..], &[("Content-Type", "application/x-www-form-urlencoded")]].concat();
            assert_eq!(
                send(&site, "POST", "/form", &form, text.as_bytes()).expect("an answer").text(),
                "1 no file"
            );
            // These two are uploads in truth: their own bytes arrive, whatever the headers say.
            let chunks = [&both[..], &[("Transfer-Encoding", "chunked")]].concat();
            let mut client = site.client();
            let lines: String = chunks.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            client.send(format!("POST /echo HTTP/1.1\r\nHost: x\r\n{lines}\r\n4\r\nmine\r\n0\r\n\r\n"));
            if let Ok(answer) = client.try_read() {
                assert!(answer.text() == "mine" || answer.status >= 400, "{name}: {answer:?}");
            }
            // A length that is none is Mongrel2's to refuse, and nobody's to believe.
            for length in ["-1", "abc", "0x4", "+4", "4294967297", "99999999999999999999"] {
                let mut client = site.client();
                client.send(format!(
                    "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{lines}\r\n"
                ));
                client.shut_down_sending();
                if let Ok(answer) = client.try_read() {
                    assert!(!answer.text().contains(SECRET), "{name}: {length}");
                }
            }
        }
        for name in [&outside, &inside, &link, "victim"] {
            for headers in [&[(START, name), (DONE, name)][..], &[(DONE, name)]] {
                let answer = send(&site, "POST", "/echo", headers, &large);
                let right = |answer: Response| answer.body == large || answer.status >= 400;
                assert!(answer.is_none_or(right), "{headers:?}");
            }
        }
        watched.expect_untouched();
        // Of what was made on the way nothing is left, and what was there is.
        wait::until("only what was there is left", || {
            let mut left: Vec<_> = fs::read_dir(&store)
                .expect("the store")
                .map(|entry| entry.expect("an entry").file_name())
                .collect();
            left.sort();
            left == ["link", "victim"]
        });
    }
}

in_each_language!(the_name_of_another_upload_under_way_helps_nobody);
fn the_name_of_another_upload_under_way_helps_nobody(language: Language) {
    let site = language.plan(APP).start();
    let store = store(&site);
    let body = SECRET.repeat(200_000);
    let whole = request("POST", "/echo", &[], body.as_bytes());
    let mut client = site.client();
    client.send(&whole[..whole.len() / 2]);
    let first =
        || fs::read_dir(&store).expect("the store").next().map(|entry| entry.expect("an entry").path());
    wait::until("the upload has begun", || first().is_some());
    let name = first().expect("it has").display().to_string();
    let relative = format!(".kennel/{}/uploads/{}", site.hub(), name.rsplit('/').next().unwrap_or_default());
    for name in [&name, &relative] {
        for headers in [
            &[("X-Mongrel2-Upload-Start", name.as_str()), ("X-Mongrel2-Upload-Done", name)][..],
            &[("X-Mongrel2-Upload-Done", name)],
        ] {
            assert_eq!(send(&site, "POST", "/echo", headers, b"mine").expect("an answer").text(), "mine");
            assert_eq!(send(&site, "POST", "/echo", headers, b"").expect("an answer").text(), "");
        }
    }
    client.send(&whole[whole.len() / 2..]);
    assert!(client.read().body == body.as_bytes());
    wait::until("the file is deleted", || first().is_none());
}
