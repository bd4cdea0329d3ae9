use tests::client::{Client, get};
use tests::process::own_memory;
use tests::site::Site;

const CONNECTIONS: usize = 10_000;

/// Ten thousand open connections, each with an answered request behind it.
#[test]
fn ten_thousand_open_connections_cost_the_hub_nearly_nothing() {
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let allowed = descriptors.current.unwrap_or(u64::MAX);
    assert!(
        allowed >= CONNECTIONS as u64 + 500,
        "this test needs {CONNECTIONS} descriptors and may have {allowed}: raise it with `ulimit -n 20000`"
    );
    let site = Site::plan(r#"app:get("/", function() return "hello" end)"#).start();
    assert_eq!(site.get("/").text(), "hello");
    // Without the program's file: what is read of it depends on how it was built. 6 or 7 pages of 2 MiB are usual.
    let idle = own_memory(site.hub());
    assert!(idle < 18 << 20, "the idle hub has {} KiB", idle >> 10);

    let mut clients: Vec<Client> = Vec::with_capacity(CONNECTIONS);
    while clients.len() < CONNECTIONS {
        let first = clients.len();
        clients.extend((0..100).map(|_| site.client()));
        for client in &mut clients[first..] {
            client.send(get("/"));
        }
        for client in &mut clients[first..] {
            assert_eq!(client.read().text(), "hello");
        }
        if clients.len().is_multiple_of(1000) {
            // The hub forgets an answered request within a second. A rush of ten thousand is not what is measured here.
            std::thread::sleep(std::time::Duration::from_millis(1100));
        }
    }
    let full = own_memory(site.hub());
    println!("idle {} KiB, with {CONNECTIONS} connections {} KiB", idle >> 10, full >> 10);
    assert!(full - idle.min(full) < 10 << 20, "{} KiB more than before", (full - idle) >> 10);
    // They are all still there.
    for client in clients.iter_mut().step_by(97) {
        assert_eq!(client.get("/").text(), "hello");
    }
}
