//! The handler that a stranger writes in Rust on `mongrel2-wire` alone: that crate's first example.

use std::path::Path;
use std::thread;
use tests::client::Client;
use tests::server::{Mongrel2, Setup};
use tests::wait;

#[allow(dead_code, unreachable_pub, reason = "its main is for the program")]
#[path = "../../../mongrel2-wire/examples/hello.rs"]
mod hello;

fn says_hello(setup: Setup) {
    let mut server = Mongrel2::start(setup);
    let (requests, replies) = server.specs()[0].clone();
    let path = |spec: &str| spec.strip_prefix("ipc://").expect("an ipc address").to_owned();
    let (requests, replies) = (path(&requests), path(&replies));
    wait::until("both of its sockets are there", || {
        Path::new(&requests).exists() && Path::new(&replies).exists()
    });
    let handler =
        thread::spawn(move || hello::serve(&requests, &replies).map_err(|problem| problem.to_string()));
    let mut client = Client::connect(server.port());
    for path in ["/", "/any?x=1"] {
        let response = client.get(path);
        assert_eq!((response.status, response.text().as_str()), (200, "hello\n"), "{path}");
    }
    server.kill();
    handler.join().expect("it does not panic").expect_err("it ends with the server");
}

#[test]
fn the_first_example_answers_behind_a_real_server() {
    says_hello(Setup::default());
    says_hello(Setup::default().tnetstring());
}
