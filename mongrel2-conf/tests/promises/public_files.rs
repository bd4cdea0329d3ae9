use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::thread;

use mongrel2_conf::model::{Dir, Handler, Protocol, Proxy, Route, Target};
use mongrel2_conf::public_files::{dangers, routes};

use crate::server::{Folder, Mongrel2, needs_mongrel2};

fn handler() -> Handler {
    Handler {
        send_spec: "ipc://run/requests".into(),
        send_ident: "app-1".into(),
        recv_spec: "ipc://run/replies".into(),
        recv_ident: "app-".into(),
        raw_payload: true,
        protocol: Protocol::Tnetstring,
    }
}

fn routes_of(folder: &Folder) -> Vec<Route> {
    routes(&folder.path().join("public"), &Dir::new("public/"), &handler()).unwrap()
}

/// The keys that lead to files.
fn keys_of(folder: &Folder) -> Vec<String> {
    let to_files = |route: &Route| matches!(*route.target, Target::Dir(_));
    routes_of(folder).into_iter().filter(to_files).map(|route| route.path).collect()
}

/// Starts Mongrel2 with an HTTP server of ours where the Handler would be: which route a request
/// takes does not depend on what is behind it, and this needs no ZeroMQ. It answers `handler`.
fn start(folder: &Folder) -> Mongrel2 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nhandler");
        }
    });
    let mut routes = routes_of(folder);
    for route in &mut routes {
        if matches!(*route.target, Target::Handler(_)) {
            route.target = Target::Proxy(Proxy { addr: "127.0.0.1".into(), port }).into();
        }
    }
    Mongrel2::start(folder, &routes)
}

#[test]
fn files_come_from_mongrel2_and_everything_else_from_the_handler() {
    if !needs_mongrel2() {
        return;
    }
    let folder = Folder::new();
    folder.write("public/style.css", "css");
    folder.write("public/favicon.ico", "icon");
    folder.write("public/img/logo.png", "logo");
    folder.write("public/img/deep/er.png", "deeper");
    folder.write("public/docs/index.html", "docs");
    let mongrel2 = start(&folder);

    for (path, body) in [
        ("/style.css", "css"),
        ("/style.css?v=2", "css"),
        ("/favicon.ico", "icon"),
        ("/img/logo.png", "logo"),
        ("/img/deep/er.png", "deeper"),
        ("/docs/", "docs"),
    ] {
        assert_eq!(mongrel2.ask("GET", path), (200, body.into()), "{path}");
    }
    // The first four end inside a name: with keys such as `/style.css` these would get lost.
    for path in [
        "/s",
        "/style",
        "/im",
        "/img",
        "/",
        "/other",
        "/style.cssx",
        "/style.css/",
        "/styleXcss",
        "/imgx",
        "//style.css",
        "/api/users/7?page=2",
    ] {
        assert_eq!(mongrel2.ask("GET", path), (200, "handler".into()), "{path}");
    }
    assert_eq!(mongrel2.ask("GET", "/img/missing.png").0, 404);
    assert_eq!(mongrel2.ask("HEAD", "/style.css"), (200, String::new()));
    assert_eq!(mongrel2.ask("POST", "/style.css").0, 405);
    let (status, header, _) = mongrel2.ask_with("GET", "/docs", "");
    assert_eq!(status, 301);
    assert!(header.contains("Location: //localhost/docs/\r\n"), "{header}");
}

#[test]
fn a_file_that_is_known_to_the_client_is_not_sent_again() {
    if !needs_mongrel2() {
        return;
    }
    let folder = Folder::new();
    folder.write("public/style.css", "css");
    let mongrel2 = start(&folder);

    let (_, header, _) = mongrel2.ask_with("GET", "/style.css", "");
    let tag = header.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
    let known = format!("If-None-Match: {tag}\r\n");
    assert_eq!(mongrel2.ask_with("GET", "/style.css", &known).0, 304);
}

#[test]
fn the_index_file_takes_the_root_if_there_is_one() {
    if !needs_mongrel2() {
        return;
    }
    let folder = Folder::new();
    folder.write("public/index.html", "index");
    let mongrel2 = start(&folder);

    assert_eq!(mongrel2.ask("GET", "/"), (200, "index".into()));
    assert_eq!(mongrel2.ask("GET", "/?from=here"), (200, "index".into()));
    assert_eq!(mongrel2.ask("GET", "/index.html"), (200, "index".into()));
    assert_eq!(mongrel2.ask("GET", "/other"), (200, "handler".into()));
}

#[test]
fn no_path_leads_out_of_the_folder_or_to_hidden_files() {
    if !needs_mongrel2() {
        return;
    }
    let folder = Folder::new();
    folder.write("public/img/logo.png", "logo");
    folder.write("public/img/.secret", "secret");
    folder.write("public/.env", "secret");
    folder.write("secret.txt", "secret");
    // Mongrel2 compares the beginning of the resolved path only.
    folder.write("public-old/secret.txt", "secret");
    symlink("../../secret.txt", folder.path().join("public/img/out.txt")).unwrap();
    let mongrel2 = start(&folder);

    for path in [
        "/.env",
        "/img/.secret",
        "/img/%2esecret",
        "/img/%2Esecret",
        "/img/../../secret.txt",
        "/img/../../public-old/secret.txt",
        "/img/%2e%2e/%2e./public-old/secret.txt",
        "/img/x%2f..%2f..%2f..%2fpublic-old/secret.txt",
        "/img/..%2F..%2Fpublic-old/secret.txt",
        "/../secret.txt",
        "/img/logo.png%00.html",
    ] {
        assert_eq!(mongrel2.ask("GET", path), (200, "handler".into()), "{path}");
    }
    assert_eq!(mongrel2.ask("GET", "/img/out.txt").0, 404);
}

#[test]
fn names_may_have_any_characters() {
    if !needs_mongrel2() {
        return;
    }
    let folder = Folder::new();
    let names = [
        ("my file.txt", &["/my%20file.txt"][..]),
        ("caf\u{e9}.txt", &["/caf%C3%A9.txt", "/caf%c3%a9.txt"]),
        ("a+b (1).txt", &["/a+b%20(1).txt", "/a%2Bb%20(1).txt", "/a%2Bb%20%281%29.txt"]),
        ("100%.txt", &["/100%25.txt"]),
        ("%2e.txt", &["/%252e.txt"]),
        ("[x]^$*-?.txt", &["/%5Bx%5D%5E$*-%3F.txt", "/%5Bx%5D%5E%24%2A-%3F.txt"]),
        ("back\\slash.txt", &["/back%5Cslash.txt"]),
        ("new\nline.txt", &["/new%0Aline.txt"]),
        ("a folder/x.txt", &["/a%20folder/x.txt"]),
        ("a folder/y z.txt", &["/a%20folder/y%20z.txt"]),
    ];
    for (name, _) in names {
        folder.write(&format!("public/{name}"), name);
    }
    let mongrel2 = start(&folder);

    for (name, paths) in names {
        for path in paths {
            assert_eq!(mongrel2.ask("GET", path), (200, name.into()), "{path}");
        }
    }
}

#[test]
fn hundreds_of_files_are_all_found() {
    if !needs_mongrel2() {
        return;
    }
    let folder = Folder::new();
    for number in 0..300 {
        folder.write(&format!("public/file-{number}.txt"), &number.to_string());
    }
    let mongrel2 = start(&folder);

    for number in [0, 1, 99, 299] {
        let path = format!("/file-{number}.txt");
        assert_eq!(mongrel2.ask("GET", &path), (200, number.to_string()));
    }
    assert_eq!(mongrel2.ask("GET", "/file-300.txt"), (200, "handler".into()));
}

#[test]
fn without_files_the_handler_has_the_plain_root() {
    let folder = Folder::new();
    folder.write("public/.hidden", "");
    assert_eq!(routes_of(&folder), [Route::new("/", Target::Handler(handler()))]);
}

#[test]
fn only_what_mongrel2_can_serve_gets_a_route() {
    let folder = Folder::new();
    folder.write("public/b.txt", "");
    folder.write("public/a.txt", "");
    folder.write("outside.txt", "");
    let public = folder.path().join("public");
    symlink("a.txt", public.join("inside.txt")).unwrap();
    symlink("../outside.txt", public.join("outside.txt")).unwrap();
    symlink("nowhere", public.join("dangling.txt")).unwrap();
    let made = Command::new("mkfifo").arg(public.join("fifo")).status().unwrap();
    assert!(made.success());

    assert_eq!(keys_of(&folder), [r"/(a\.txt)$", r"/(b\.txt)$", r"/(inside\.txt)$"]);
}

#[test]
fn what_would_freeze_mongrel2_is_found_in_folders() {
    let folder = Folder::new();
    folder.write("public/img/deep/logo.png", "");
    let fifo = folder.path().join("public/img/deep/fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    symlink("..", folder.path().join("public/img/deep/loop")).unwrap();

    assert_eq!(dangers(&folder.path().join("public")).unwrap(), [fifo]);
}

#[test]
fn a_missing_folder_is_an_error() {
    let folder = Folder::new();
    let public = folder.path().join("public");
    assert!(routes(&public, &Dir::new("public/"), &handler()).is_err());
    fs::write(&public, "a file").unwrap();
    assert!(routes(&public, &Dir::new("public/"), &handler()).is_err());
}
