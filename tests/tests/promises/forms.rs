use serde_json::json;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::time::Instant;
use tests::client::{Client, Response, request};
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::process::{self, peak_memory};
use tests::site::Site;
use tests::wait;

const APP: Scripts<'_> = Scripts {
    lua: r#"
        app:post("/form", function(req)
          local fields, files = kennel.array(), kennel.array()
          for name, value in pairs(req.form) do table.insert(fields, { name, value }) end
          for name, file in req.files:pairs() do
            table.insert(files, { name, file.name, file.filename, file.content_type, file.size })
          end
          return { fields = fields, files = files, a = req.form.a or kennel.null, all_a = kennel.array(req.form:all("a")) }
        end)
        app:post("/nothing", function(req)
          return { #req.form:all("a") + #req.files:all("a"), req.form.a == nil and req.files.f == nil and 1 or 0 }
        end)
        app:post("/read", function(req) return req.files.f:read() .. #req.files:all("f") end)
        app:post("/save", function(req)
          local file = req.files.f
          file:save("saved/" .. file.filename)
          return file.filename
        end)
        app:post("/save-as", function(req) req.files.f:save(req.form.name) return "saved" end)
        app:post("/path", function(req)
          local file = req.files.f
          local opened = io.open(file.path, "rb")
          local content = opened:read("*a")
          opened:close()
          return { path = file.path, same = content == file:read() and file.path == file.path }
        end)
        app:post("/fail", function(req) error("oops " .. req.files.f.path) end)
        app:post("/slow", function(req) print("path " .. req.files.f.path) kennel.sleep(30) return "" end)
        local kept
        app:post("/keep", function(req) kept = req.files.f return kept.path end)
        app:post("/change", function(req) req.form.a = 1 return "" end)
    "#,
    python: r#"
        import os
        @app.post("/form")
        def form(req):
            files = [[name, f.name, f.filename, f.content_type, f.size] for name, f in req.files.items()]
            fields = req.form.items()
            return {"fields": fields, "files": files, "a": req.form.get("a"), "all_a": req.form.getall("a")}
        @app.post("/nothing")
        def nothing(req):
            return [len(req.form.getall("a") + req.files.getall("a")), int("a" not in req.form and "f" not in req.files)]
        @app.post("/read")
        async def read(req):
            return req.files["f"].read() + str(len(req.files.getall("f"))).encode()
        @app.post("/save")
        async def save(req):
            req.files["f"].save(os.path.join("saved", req.files["f"].filename))
            return req.files["f"].filename
        @app.post("/save-as")
        def save_as(req):
            req.files["f"].save(req.form["name"])
            return "saved"
        @app.post("/path")
        def path(req):
            with open(req.files["f"].path, "rb") as opened:
                content = opened.read()
            return {"path": req.files["f"].path, "same": content == req.files["f"].read()}
        @app.post("/fail")
        def fail(req):
            raise ValueError("oops " + req.files["f"].path)
        @app.post("/slow")
        async def slow(req):
            import asyncio
            print("path", req.files["f"].path)
            await asyncio.sleep(30)
        kept = []
        @app.post("/keep")
        def keep(req):
            kept.append(req.files["f"])
            return kept[0].path
        @app.post("/change")
        def change(req):
            req.form["a"] = 1
    "#,
};

const MULTIPART: &str = "multipart/form-data; boundary=----Bound";
const URLENCODED: &str = "application/x-www-form-urlencoded";

/// Above what Mongrel2 hands over in memory.
const LARGE: usize = 5 << 20;

fn field(name: &str, value: &str) -> Vec<u8> {
    format!("------Bound\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").into_bytes()
}

fn file(name: &str, filename: &str, content: &[u8]) -> Vec<u8> {
    let head = format!(
        "------Bound\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{filename}\"\r\n\
         Content-Type: image/png\r\n\r\n"
    );
    [head.as_bytes(), content, b"\r\n"].concat()
}

/// The bytes of a POST with these parts.
fn multipart(path: &str, parts: &[Vec<u8>]) -> Vec<u8> {
    request(
        "POST",
        path,
        &[("Content-Type", MULTIPART)],
        &[&parts.concat()[..], b"------Bound--\r\n"].concat(),
    )
}

fn post(site: &Site, path: &str, content_type: &str, body: &[u8]) -> Response {
    site.send(request("POST", path, &[("Content-Type", content_type)], body))
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

/// The files that a running kennel keeps on behalf of requests, spooled bodies and what scripts asked a path for.
fn kept(site: &Site) -> Vec<PathBuf> {
    let of = |folder: PathBuf| {
        fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("an entry").path())
    };
    let own = site.folder().path().join(format!(".kennel/{}", site.hub()));
    let spooled = of(own.join("uploads"));
    spooled.chain(of(own.join("scratch")).flat_map(of)).collect()
}

in_each_language!(a_form_is_read_as_browsers_send_it);
fn a_form_is_read_as_browsers_send_it(language: Language) {
    let site = language.site(APP);
    let answer = post(&site, "/form", URLENCODED, "a=1&b=x+y%26&a=2&gr%C3%BCn=%e2%82%ac".as_bytes());
    let expected = json!({
        "fields": [["a", "1"], ["b", "x y&"], ["a", "2"], ["grün", "€"]], "files": [], "a": "1", "all_a": ["1", "2"]
    });
    assert_eq!(answer.json(), expected);
    let latin1 = post(&site, "/form", "application/x-www-form-urlencoded; charset=ISO-8859-1", b"%e4=%f6");
    assert_eq!(latin1.json()["fields"], json!([["ä", "ö"]]));

    let parts = [
        field("a", "1"),
        file("f", "C:\\\\dir\\\\a %22b%22.png", b"\x89PNG\r\n\0"),
        file("none", "", b""),
        field("a", "gr\u{fc}n\r\n--"),
        file("f", "../../up", b""),
        field("x%22y", ""),
    ];
    let expected = json!({
        "fields": [["a", "1"], ["a", "grün\r\n--"], ["x\"y", ""]],
        "files": [["f", "f", "a \"b\".png", "image/png", 7], ["f", "f", "up", "image/png", 0]],
        "a": "1", "all_a": ["1", "grün\r\n--"],
    });
    assert_eq!(site.send(multipart("/form", &parts)).json(), expected);
    assert_eq!(site.send(multipart("/read", &parts)).body, b"\x89PNG\r\n\x002");
    for (content_type, body) in [("text/plain", "a=1"), ("application/json", "{}"), (MULTIPART, "")] {
        assert_eq!(post(&site, "/nothing", content_type, body.as_bytes()).json(), json!([0, 1]));
    }
    assert_eq!(post(&site, "/change", URLENCODED, b"a=2").status, 500, "what was sent stays what it is");
}

in_each_language!(a_form_that_is_malformed_or_too_large_is_refused_without_the_script);
fn a_form_that_is_malformed_or_too_large_is_refused_without_the_script(language: Language) {
    let site =
        language.plan(APP).config("[limits]\nform_parts = 50\nform_field = 2000\n").behind_warm().start();
    let refused = |content_type: &str, body: &[u8]| {
        let answer = post(&site, "/form", content_type, body);
        let text = answer.text();
        assert!(text.starts_with(&format!("{} ", answer.status)), "{text}");
        (answer.status, text)
    };
    for (content_type, body) in [
        ("multipart/form-data", &b"x"[..]),
        ("multipart/form-data; boundary=\"a", b"x"),
        (MULTIPART, b"nothing"),
        (MULTIPART, &field("a", "1")),
        (MULTIPART, b"------Bound\r\n\r\nx\r\n------Bound--"),
        (MULTIPART, b"------Bound\nContent-Disposition: form-data; name=a\n\nx\n------Bound--"),
    ] {
        assert_eq!(refused(content_type, body).0, 400, "{content_type} {}", body.escape_ascii());
    }
    for (content_type, body, setting) in [
        (URLENCODED, "a=1&".repeat(51).into_bytes(), "form_parts"),
        (URLENCODED, format!("a={}", "x".repeat(2001)).into_bytes(), "form_field"),
        (MULTIPART, field("a", "1").repeat(51), "form_parts"),
        (MULTIPART, field("a", &"x".repeat(3000)), "form_field"),
        (MULTIPART, field(&"x".repeat(20_000), ""), "form_header"),
    ] {
        let (status, text) = refused(content_type, &body);
        assert!(status == 413 && text.contains(setting), "{text}");
    }
    assert_eq!(site.send(multipart("/form", &vec![field("a", "1"); 50])).status, 200);
}

in_each_language!(a_large_form_is_the_same_form);
fn a_large_form_is_the_same_form(language: Language) {
    let site = language.plan(APP).start();
    fs::create_dir(site.folder().path().join("saved")).expect("a folder");
    let large = content(LARGE);
    let parts = [field("a", "1"), file("f", "x.bin", &large), file("g", "y", b"2"), field("b", "3")];
    let expected = json!({
        "fields": [["a", "1"], ["b", "3"]],
        "files": [["f", "f", "x.bin", "image/png", LARGE], ["g", "g", "y", "image/png", 1]],
        "a": "1", "all_a": ["1"],
    });
    assert_eq!(site.send(multipart("/form", &parts)).json(), expected);
    assert!(site.send(multipart("/read", &parts)).body == [&large[..], b"1"].concat());
    assert_eq!(site.send(multipart("/save", &parts)).text(), "x.bin");
    assert!(fs::read(site.folder().path().join("saved/x.bin")).expect("it is there") == large);
    assert_eq!(site.send(multipart("/path", &parts)).json()["same"], true);
    let many = site.send(multipart("/form", &vec![file("f", "x", &large[..500]); 10_000]));
    assert_eq!(many.status, 413);
    assert_eq!(site.send(multipart("/form", &[field("a", &"x".repeat(LARGE))])).status, 413);
    assert_eq!(site.send(request("POST", "/form", &[("Content-Type", MULTIPART)], &large)).status, 400);
    let urlencoded = site.send(request("POST", "/form", &[("Content-Type", URLENCODED)], &large));
    assert_eq!(urlencoded.status, 413);
    wait::until("nothing is left", || kept(&site).is_empty());
}

in_each_language!(saving_replaces_files_and_follows_no_link);
fn saving_replaces_files_and_follows_no_link(language: Language) {
    let site = language.site(APP);
    let folder = site.folder().path().join("saved");
    fs::create_dir(&folder).expect("a folder");
    let save = |filename: &str, content: &str| {
        site.send(multipart("/save", &[file("f", filename, content.as_bytes())]))
    };
    // Whatever a client calls it, it stays in its folder.
    for (sent, saved) in
        [("a.txt", "a.txt"), ("../../b.txt", "b.txt"), ("/etc/c.txt", "c.txt"), ("a.txt", "a.txt")]
    {
        assert_eq!(save(sent, sent).text(), saved);
        assert_eq!(fs::read_to_string(folder.join(saved)).expect("it is there"), sent);
    }
    let victim = site.folder().path().join("victim");
    fs::write(&victim, "precious").expect("a file");
    std::os::unix::fs::symlink(&victim, folder.join("link")).expect("a link");
    assert_eq!(save("link", "mine").status, 200);
    assert_eq!(fs::read_to_string(&victim).expect("it is there"), "precious");
    assert_eq!(fs::read_to_string(folder.join("link")).expect("it is there"), "mine");
    for nowhere in ["..", ".", "", "dir/"] {
        assert_eq!(save(nowhere, "x").status, 500, "{nowhere:?} names no file");
    }
    site.log().expect("cannot save a file as `saved/`");
    let elsewhere = |name: &str| {
        let parts = [file("f", "x", b"content"), field("name", name)];
        site.send(multipart("/save-as", &parts)).status
    };
    assert_eq!((elsewhere("none/x"), elsewhere("saved"), elsewhere("new")), (500, 500, 200));
    assert_eq!(fs::read_to_string(site.folder().path().join("new")).expect("it is there"), "content");
    assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 4, "nothing else is left");
}

in_each_language!(a_file_with_a_path_is_gone_when_its_request_ends);
fn a_file_with_a_path_is_gone_when_its_request_ends(language: Language) {
    let site = language.plan(APP).workers(1).start();
    for size in [0, 100, LARGE] {
        let parts = [file("f", "x", &content(size))];
        let answer = site.send(multipart("/path", &parts)).json();
        assert_eq!(answer["same"], true);
        wait::until("the file is deleted", || kept(&site).is_empty());
        assert!(!PathBuf::from(answer["path"].as_str().expect("a text")).exists());
        assert_eq!(site.send(multipart("/fail", &parts)).status, 500);
        wait::until("the file is deleted after an error", || kept(&site).is_empty());
    }
    // A script that keeps one finds it gone.
    let path = PathBuf::from(site.send(multipart("/keep", &[file("f", "x", b"1")])).text());
    assert!(path.is_absolute() && !path.exists());
    let parts = [file("f", "x", &content(LARGE))];
    // A worker that is killed while it has some.
    let worker = site.workers()[0];
    let mut client = site.client();
    client.send(multipart("/slow", &parts));
    site.log().expect("path /");
    assert_eq!(kept(&site).len(), 2, "the body and the file");
    process::signal(worker, process::Signal::KILL);
    assert_eq!(client.read().status, 502);
    wait::until("what it had is deleted", || kept(&site).is_empty());
    // A client that leaves ends nothing: the script may still want the file. The end of all does.
    let mut client: Client = site.client();
    client.send(multipart("/slow", &parts));
    wait::until("it runs", || kept(&site).len() == 2);
    drop(client);
    let own = site.folder().path().join(".kennel");
    let mut site = site;
    site.signal(process::Signal::INT);
    site.signal(process::Signal::INT);
    site.exit_code();
    // Only what signs sessions stays.
    let left: Vec<_> =
        fs::read_dir(own).expect("the folder").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(left, ["secret"]);
}

in_each_language!(an_upload_of_any_size_needs_hardly_any_memory);
/// 1 GiB with `KENNEL_LONG`, of which the figure in `docs/benchmarks.md` is.
fn an_upload_of_any_size_needs_hardly_any_memory(language: Language) {
    let long = std::env::var_os("KENNEL_LONG").is_some();
    let size: usize = if long { (1 << 30) - (1 << 20) } else { 64 << 20 };
    let site = language.plan(APP).workers(1).start();
    fs::create_dir(site.folder().path().join("saved")).expect("a folder");
    let small = multipart("/save", &[file("f", "small", b"content")]);
    assert_eq!(site.send(small).text(), "small");
    let (hub, worker) = (site.hub(), site.workers()[0]);
    let before = (peak_memory(hub), peak_memory(worker));

    let (begin, end) = (file("f", "large", b""), "\r\n------Bound--\r\n");
    let begin = &begin[..begin.len() - 2];
    let mut client = site.client();
    let total = begin.len() + size + end.len();
    client.send(format!(
        "POST /save HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\nContent-Length: {total}\r\n\r\n"
    ));
    client.send(begin);
    let piece = content(1 << 20);
    (0..size >> 20).for_each(|_| client.send(&piece));
    let sent = Instant::now();
    client.send(end);
    assert_eq!(client.read().text(), "large");
    let after = (peak_memory(hub), peak_memory(worker));
    println!("{language:?}: {} MiB saved {:?} after they were sent", size >> 20, sent.elapsed());
    for (who, before, after) in [("hub", before.0, after.0), ("worker", before.1, after.1)] {
        println!("{who}: at most {} KiB, {} KiB more than before", after >> 10, (after - before) >> 10);
        assert!(after - before < 8 << 20, "{who}: {} KiB more", (after - before) >> 10);
    }
    let saved = site.folder().path().join("saved/large");
    assert_eq!(saved.metadata().expect("it is saved").len(), size as u64);
    let mut saved = fs::File::open(saved).expect("it is saved");
    let mut found = vec![0; piece.len()];
    for _ in 0..size >> 20 {
        saved.read_exact(&mut found).expect("so many bytes");
        assert!(found == piece);
    }
    wait::until("the body is deleted", || kept(&site).is_empty());
}
