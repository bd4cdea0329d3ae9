use std::path::{Path, PathBuf};
use std::process::Command;
use tests::client::{get, request};
use tests::site::Site;
use tests::venv;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

/// A site that serves a file of a folder, with these packages.
fn site(folder: &Path, file: &str, requirements: &str) -> Site {
    let python = venv::python(&folder.join(requirements));
    let (app, argument) = (folder.join(file), format!("--python={}", python.display()));
    Site::plan_module("").serving(&[&app.display().to_string()]).argument(&argument).start()
}

#[test]
fn the_fastapi_example_tells_the_time() {
    let site = site(&example("fastapi"), "clock.py", "requirements.txt");
    assert!(site.get("/").text().contains("<option>tokyo"));
    assert_eq!(site.get("/time/tokyo").json()["city"], "tokyo");
    assert_eq!(site.get("/time/atlantis").status, 404);
    assert_eq!(site.get("/countdown/many").status, 422, "FastAPI checks the path's values");

    let mut client = site.client();
    client.send(get("/countdown/2"));
    assert_eq!(client.read_head().header("transfer-encoding"), Some("chunked"));
    let lines: Vec<String> = (0..4).map(|_| client.read_chunk()).collect();
    assert_eq!(lines, ["2\n", "1\n", "lift-off\n", ""]);

    let mut ws = site.websocket("/clock");
    ws.send("tokyo");
    let is_time = |text: &str| text.len() == 8 && text.split(':').count() == 3;
    assert!(is_time(&ws.read_text()) && is_time(&ws.read_text()), "it goes on by itself");
    ws.send("atlantis");
    assert_eq!(ws.read_text(), "?");
    ws.close(1000, "");
    assert_eq!(site.log().count("ERROR"), 0, "{}", site.log().text());
}

#[test]
fn the_django_example_keeps_what_guests_write() {
    let site = site(&example("django"), "guestbook.py", "requirements.txt");
    let page = site.get("/");
    assert!(page.text().contains("Nobody has written"), "{}", page.text());
    let cookie = page.header("set-cookie").and_then(|line| line.split(';').next()).expect("Django's token");
    let token = page.text();
    let token = token.split("name=\"csrfmiddlewaretoken\" value=\"").nth(1).expect("the form has the token");
    let token = token.split('"').next().unwrap_or_default();
    let form = |token: &str| format!("csrfmiddlewaretoken={token}&name=Ann&text=%3Cb%3E+caf%C3%A9");
    let headers = [("Cookie", cookie), ("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(site.send(request("POST", "/write", &headers, form("wrong").as_bytes())).status, 403);
    let written = site.send(request("POST", "/write", &headers, form(token).as_bytes()));
    assert_eq!((written.status, written.header("location")), (302, Some("/")));
    for _ in 0..4 {
        let page = site.get("/").text();
        assert!(page.contains("<b>Ann</b>: &lt;b&gt; café"), "in every worker: {page}");
    }
    assert_eq!(site.get("/nowhere").status, 404);
}

#[test]
fn starlette_keeps_its_promises_to_clients_that_are_nobodys_own() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/conformance");
    // On asyncio's own loop, and on the other one that people use.
    for requirements in ["requirements.txt", "requirements-uvloop.txt"] {
        let site = site(&folder, "app.py", requirements);
        let python = venv::python(&folder.join(requirements));
        let mut clients = Command::new(python);
        clients.arg(folder.join("clients.py")).arg(site.port().to_string());
        let output = clients.output().expect("the clients can be started");
        assert!(output.status.success(), "{requirements}: {}", String::from_utf8_lossy(&output.stdout));
    }
}
