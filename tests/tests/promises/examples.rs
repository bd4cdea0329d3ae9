use std::path::{Path, PathBuf};
use std::process::Stdio;
use tests::client::Client;
use tests::command;
use tests::log::Log;
use tests::port::Port;

fn scripts() -> Vec<PathBuf> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let folders =
        std::fs::read_dir(examples).expect("the examples").filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<PathBuf> = folders
        .filter(|folder| folder.is_dir())
        .flat_map(|folder| {
            std::fs::read_dir(folder).expect("an example").filter_map(|entry| Some(entry.ok()?.path()))
        })
        .filter(|file| file.extension().is_some_and(|extension| extension == "lua" || extension == "py"))
        .filter(|file| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            text.contains("kennel.app()") || text.contains("kennel.App()")
        })
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

#[test]
fn every_example_starts_and_answers() {
    for script in scripts() {
        // Beside it lie its modules and files, but what kennel keeps while it runs goes elsewhere.
        let folder = tests::folder::Folder::new();
        let port = Port::free();
        let name = script.display().to_string();
        let arguments = ["run", "--workers=1", "--listen", &port.address(), &name];
        let mut command = command::command(folder.path(), arguments);
        let mut kennel =
            command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("kennel can be started");
        let log = Log::collect(kennel.stderr.take().expect("stderr is a pipe"));
        log.expect("ready:");
        let status = Client::connect(port.number()).get("/").status;
        let _ = kennel.kill();
        let _ = kennel.wait();
        assert!(matches!(status, 200 | 303), "{name}: {status}\n{}", log.text());
    }
}

/// All files below a folder whose text is or has a page.
fn pages(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in folder.read_dir().expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            pages(&path, found);
        } else if let Ok(text) = std::fs::read_to_string(&path)
            && text.contains("<!doctype html")
        {
            found.push((path, text));
        }
    }
}

#[test]
fn every_page_fits_a_phone_has_an_icon_and_works_without_https() {
    let mut found = Vec::new();
    for folder in ["../examples", "../kennel/starter"] {
        pages(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut found);
    }
    assert!(found.len() >= 10, "{found:?}");
    for (path, text) in found {
        for part in ["viewport", "rel=\"icon\""] {
            assert!(text.contains(part), "{path:?}: no `{part}`");
        }
        // It exists only where the page came by https or from this machine.
        assert!(!text.contains("crypto.randomUUID("), "{path:?}");
    }
}

#[test]
fn every_example_passes_the_check() {
    for script in scripts() {
        let folder = tests::folder::Folder::new();
        let finished = command::run(folder.path(), ["check", &script.display().to_string()]);
        assert_eq!(finished.code, Some(0), "{script:?}: {}", finished.stderr);
    }
}

#[test]
fn every_example_with_tests_passes_them() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let folders =
        std::fs::read_dir(&examples).expect("the examples").filter_map(|entry| Some(entry.ok()?.path()));
    let tested: Vec<_> = folders.filter(|folder| folder.join("tests").is_dir()).collect();
    assert!(!tested.is_empty());
    for folder in tested {
        let finished = command::run(&folder, ["test"]);
        assert_eq!(finished.code, Some(0), "{}: {}{}", folder.display(), finished.stdout, finished.stderr);
    }
}
