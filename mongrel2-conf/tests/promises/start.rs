use mongrel2_conf::model::{Dir, Route, Target};

use crate::server::{Folder, Mongrel2, needs_mongrel2};

#[test]
fn mongrel2_serves_a_dir_from_a_database_that_we_wrote() {
    if !needs_mongrel2() {
        return;
    }
    let folder = Folder::new();
    folder.write("public/hello.txt", "hello");
    folder.write("public/index.html", "<p>index");
    folder.write("public/data.unknown", "?");
    let mongrel2 = Mongrel2::start(&folder, &[Route::new("/", Target::Dir(Dir::new("public/")))]);

    let (status, header, body) = mongrel2.ask_with("GET", "/hello.txt", "");
    assert_eq!((status, body.as_str()), (200, "hello"));
    assert!(header.contains("Content-Type: text/plain; charset=utf-8\r\n"), "{header}");

    assert_eq!(mongrel2.ask("GET", "/"), (200, "<p>index".into()));
    assert_eq!(mongrel2.ask("GET", "/missing").0, 404);

    let (_, header, _) = mongrel2.ask_with("GET", "/data.unknown", "");
    assert!(header.contains("Content-Type: application/octet-stream\r\n"), "{header}");
}
