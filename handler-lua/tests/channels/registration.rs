//! What a script may register, and what it is told about the rest.

use crate::hub::Hub;
use handler_core::worker::protocol::{ChannelSpec, Slow};

#[test]
fn channels_are_numbered_by_their_paths_and_have_their_options() {
    let hub = Hub::new(
        r#"
app:channel("@json", {
  origins = { "https://a.example" }, protocols = { "v1", "v2" }, max_message = 100, ping = 0, deflate = true,
  slow = "drop_oldest", buffer = 5,
}, function(conn) end)
app:channel("<xml", {})
app:channel("/chat/{name}", { slow = "close" }, { open = function() end })"#,
    );
    let mut channels = hub.registration().channels.clone();
    for channel in &mut channels {
        let (_, line) = channel.place.rsplit_once("app.lua:").unwrap();
        channel.place = line.to_owned();
    }
    let spec = |path: &str, handler, line: &str| ChannelSpec {
        path: path.to_owned(),
        handler,
        place: line.to_owned(),
        ..ChannelSpec::default()
    };
    let json = ChannelSpec {
        straight: true,
        origins: vec!["https://a.example".to_owned()],
        protocols: vec!["v1".to_owned(), "v2".to_owned()],
        max_message: 100,
        ping: 0.0,
        deflate: true,
        slow: Slow::DropOldest,
        buffer: 5,
        ..spec("@json", 2, "2")
    };
    let chat = ChannelSpec { slow: Slow::Close, ..spec("/chat/{name}", 0, "7") };
    assert_eq!(channels, [chat, spec("<xml", 1, "6"), json]);
}

#[test]
fn what_cannot_be_registered_is_refused_at_its_line() {
    let path = "a path is `/path` for WebSockets, `@name` for JSON sockets or `<tag` for XML sockets";
    let options = "there are buffer, deflate, max_message, origins, ping, protocols, slow";
    let cases = [
        ("7, {}", "a channel's path must be a string, not a number".to_owned()),
        ("'chat', {}", format!("channel `chat`: {path}")),
        ("'@', {}", format!("channel `@`: {path}")),
        ("'<a b', {}", format!("channel `<a b`: {path}")),
        ("'/{*a}/b', {}", "channel `/{*a}/b`: ".to_owned()),
        ("'/x'", "channel `/x`: it takes a table of callbacks or a function, not a nil".to_owned()),
        (
            "'/x', { mesage = print }",
            "channel `/x`: there is no callback `mesage`; there are open, message, close; did you mean `message`?"
                .to_owned(),
        ),
        ("'/x', { open = 7 }", "channel `/x`: callback `open` is a function, not a number".to_owned()),
        ("'/x', 7, {}", "channel `/x`: its options are a table, not a number".to_owned()),
        (
            "'/x', { pings = 1 }, {}",
            format!("channel `/x`: there is no option `pings`; {options}; did you mean `ping`?"),
        ),
        ("'/x', { zzz = 1 }, {}", format!("channel `/x`: there is no option `zzz`; {options}")),
        ("'/x', { ping = -1 }, {}", "channel `/x`: option `ping` is a number of seconds; 0 means none".to_owned()),
        (
            "'/x', { max_message = 0 }, {}",
            "channel `/x`: option `max_message` is a number of bytes, 1 or more".to_owned(),
        ),
        (
            "'/x', { origins = 'a' }, {}",
            "channel `/x`: option `origins` is a list of strings, not a string".to_owned(),
        ),
        ("'/x', { protocols = { 1 } }, {}", "channel `/x`: option `protocols` is a list of strings".to_owned()),
        ("'/x', { deflate = 1 }, {}", "channel `/x`: option `deflate` is true or false".to_owned()),
        (
            "'/x', { slow = 'x' }, {}",
            "channel `/x`: option `slow` is one of \"wait\", \"drop_oldest\", \"close\"".to_owned(),
        ),
    ];
    for (arguments, expected) in cases {
        let hub = Hub::new(&format!("\n\napp:channel({arguments})"));
        let failure = hub.failure();
        assert!(failure.message.contains(&expected), "{arguments}: {}", failure.message);
        assert_eq!(failure.line, Some(3), "{arguments}");
    }
}

#[test]
fn a_path_is_taken_once() {
    for (first, second, expected) in [
        ("/a", "/a", "channel `/a` is registered already ("),
        ("@a", "@a", "channel `@a` is registered already ("),
        ("/caf%c3%a9", "/café", "channel `/café` is registered already ("),
        ("/{x}", "/{y}", "channel `/{y}` conflicts with `/{x}` ("),
    ] {
        let hub = Hub::new(&format!("\napp:channel('{first}', {{}})\napp:channel('{second}', {{}})"));
        let failure = hub.failure();
        assert!(failure.message.starts_with(expected), "{}", failure.message);
        assert!(failure.message.contains("app.lua:2)"), "{}", failure.message);
        assert_eq!(failure.line, Some(3));
    }
    // A channel and a route may share theirs.
    let hub = Hub::new("app:get('/a', function() end) app:channel('/a', {})");
    assert_eq!(hub.registration().channels[0].path, "/a");
}

#[test]
fn nothing_is_asked_while_the_script_loads() {
    for (code, what) in [
        ("kennel.room('x'):count()", "room:count"),
        ("kennel.room('x'):members()", "room:members"),
        ("kennel.connection('x')", "kennel.connection"),
    ] {
        let hub = Hub::new(&format!("\nlocal _ = {code}"));
        let expected = format!("{what} works in handlers and tasks, not while the script loads");
        assert_eq!((hub.failure().message.as_str(), hub.failure().line), (expected.as_str(), Some(2)));
    }
}
