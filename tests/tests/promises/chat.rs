use serde_json::{Value, json};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use tests::browser::{Browser, Colours, Page, Screen};
use tests::in_each_language;
use tests::language::Language;
use tests::process;
use tests::proxy::Proxy;
use tests::site::{Plan, Site};
use tests::wait::{self, PATIENCE};
use tungstenite::{Message, WebSocket};

/// The example as it is, in a folder of the test's own.
fn chat(language: Language) -> Site {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/chat");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a file of the example");
    let mut plan = Plan::new(language, "").workers(1).file(language.app(), &read(&language.file("chat")));
    for name in ["public/index.html", "public/style.css", "public/chat.js"] {
        plan = plan.file(name, &read(name));
    }
    plan.start()
}

in_each_language!(two_windows_talk_to_each_other);
fn two_windows_talk_to_each_other(language: Language) {
    let site = chat(language);
    let mut browser = Browser::start();
    let url = format!("http://127.0.0.1:{}/", site.port());
    let mut ann = come_in(&mut browser, &url, "Ann", Screen::Desktop);
    ann.until("document.title == '#lobby \\u00b7 Kennel chat'");
    assert_eq!(people(&mut ann), ["Ann"]);
    let mut ben = come_in(&mut browser, &format!("{url}#lobby"), "Ben", Screen::Phone);
    ann.sees("Ben joined");
    assert_eq!(people(&mut ann), ["Ann", "Ben"]);
    assert_eq!(people(&mut ben), ["Ben", "Ann"], "oneself first");

    say(&mut ann, "Good morning. Did the new build survive the night?");
    ben.sees("survive the night?");
    ben.click("#words");
    ben.write("It did");
    ann.sees("Ben is typing");
    ben.write("! I killed its worker four times.");
    ben.press_enter();
    ann.sees("It did! I killed its worker four times.");
    ann.until("document.getElementById('typing').textContent == ''");
    say(&mut ben, "<img src=x onerror=alert(1)> See http://example.org/a, please.");
    ann.sees("<img src=x onerror=alert(1)> See http://example.org/a, please.");
    assert_eq!(ann.evaluate("document.querySelectorAll('#lines img').length"), 0, "text is no HTML");
    let links = "[...document.querySelectorAll('#lines a')].map(a => a.href + ' ' + a.rel)";
    assert_eq!(ann.evaluate(links), json!(["http://example.org/a noopener noreferrer nofollow"]));
    assert_eq!(ann.evaluate("document.querySelectorAll('.mine').length"), 1);
    assert_eq!(ben.evaluate("document.querySelectorAll('.mine').length"), 2);
    for page in [&mut ann, &mut ben] {
        let wide = page.evaluate("document.documentElement.scrollWidth > innerWidth");
        assert_eq!(wide, false, "nothing is cut off at the side");
        let low = page
            .evaluate("document.getElementById('composer').getBoundingClientRect().bottom <= innerHeight");
        assert_eq!(low, true, "the line to write in is in sight");
    }
    picture(&mut ann, "desktop");
    picture(&mut ben, "phone");

    // Another room, by a click in the drawer, and back by the address.
    ben.click("#menu");
    ben.click("#rooms a[href='#lua']");
    ann.sees("Ben left");
    ben.until(
        "location.hash == '#lua' && document.getElementById('summary').textContent == 'Only you are here'",
    );
    assert_eq!(ben.evaluate("document.querySelectorAll('.said').length"), 0);
    ben.evaluate("void (location.hash = '#lobby')");
    ben.sees("survive the night?");
    assert_eq!(people(&mut ben), ["Ben", "Ann"]);

    // Whoever comes back sees what was said; whoever goes is seen to go.
    assert_eq!(ben.evaluate("document.querySelectorAll('.said').length"), 3);
    for page in [&mut ann, &mut ben] {
        assert_eq!(page.complaints(), Vec::<String>::new());
    }
    ben.close();
    ann.until("document.querySelectorAll('#people li').length == 1");
    let last = "document.getElementById('lines').lastElementChild.textContent";
    assert_eq!(ann.evaluate(last), "Ben left");
}

in_each_language!(a_page_that_lost_its_connection_comes_back);
fn a_page_that_lost_its_connection_comes_back(language: Language) {
    let site = chat(language);
    let proxy = Proxy::start(site.port());
    let mut browser = Browser::start();
    let mut ann =
        come_in(&mut browser, &format!("http://127.0.0.1:{}/", proxy.port()), "Ann", Screen::Desktop);
    say(&mut ann, "Is anybody here?");
    ann.sees("Is anybody here?");
    ann.click("#words");
    ann.write("Still here");
    ann.evaluate(
        "window.seen = [];
        new MutationObserver(() => seen.push(document.body.dataset.state + ' ' + $('state').textContent))
            .observe(document.body, {attributes: true})",
    );
    proxy.cut();
    ann.until("seen[0] == 'offline Offline' && seen[seen.length - 1] == 'online Online'");
    assert_eq!(people(&mut ann), ["Ann"], "she has the room and the name that she had");
    assert_eq!(ann.evaluate("document.querySelectorAll('.said').length"), 1, "no line stands there twice");
    ann.press_enter();
    ann.until("document.querySelectorAll('.said').length == 2");
    assert_eq!(ann.complaints(), Vec::<String>::new());
}

in_each_language!(the_page_talks_by_whatever_gets_through);
fn the_page_talks_by_whatever_gets_through(language: Language) {
    let site = chat(language);
    let proxy = Proxy::start(site.port());
    let mut browser = Browser::start();
    let url = |port: u16| format!("http://127.0.0.1:{port}/");
    let mut ann = come_in(&mut browser, &url(site.port()), "Ann", Screen::Desktop);
    proxy.refuse_upgrades(true);
    let mut ben = come_in(&mut browser, &url(proxy.port()), "Ben", Screen::Phone);
    ann.sees("Ben joined");
    assert_eq!(ben.evaluate("channel.transport"), "sse");
    say(&mut ben, "The proxy here lets no WebSocket through.");
    ann.sees("lets no WebSocket through.");
    proxy.cut();
    ben.until("document.body.dataset.state == 'offline'");
    say(&mut ann, "And what do you miss?");
    ben.sees("And what do you miss?");
    assert_eq!(people(&mut ben), ["Ben", "Ann"], "he has never left");
    assert_eq!(ann.evaluate("document.body.innerText.includes('Ben left')"), false);
}

in_each_language!(the_script_keeps_to_its_rules_whatever_a_client_sends);
fn the_script_keeps_to_its_rules_whatever_a_client_sends(language: Language) {
    let site = chat(language);
    let mut ann = Socket::connect(&site);
    for nonsense in ["", "nonsense", "5", "[]", "null", r#"{"type":5}"#, r#"{"type":"close"}"#] {
        ann.send_text(nonsense);
    }
    ann.send(json!({"type": "say", "text": "not in a room yet"}));
    for name in [json!(""), json!(" \t "), json!("x".repeat(25)), json!(7), Value::Null] {
        ann.send(json!({"type": "hello", "name": name, "room": "lobby"}));
        assert_eq!(ann.read()["type"], "sorry");
    }
    ann.send(json!({"type": "hello", "name": "  Ann ", "room": "lobby"}));
    let welcome = ann.read();
    assert_eq!(
        (&welcome["name"], &welcome["here"], &welcome["history"]),
        (&json!("Ann"), &json!(["Ann"]), &json!([]))
    );

    let mut other = Socket::connect(&site);
    other.send(json!({"type": "hello", "name": "ann", "room": "lobby"}));
    let welcome = other.read();
    assert_eq!((&welcome["name"], &welcome["here"]), (&json!("ann 2"), &json!(["Ann", "ann 2"])));
    assert_eq!(ann.read()["name"], "ann 2");

    ann.send(json!({"type": "say", "text": "\u{e9}".repeat(1001)}));
    ann.send(json!({"type": "say", "text": "  "}));
    ann.send(json!({"type": "say", "text": "\u{e9}".repeat(1000)}));
    assert_eq!(other.read()["text"], "\u{e9}".repeat(1000));
    for number in 1..=60 {
        ann.send(json!({"type": "say", "text": format!(" line {number} ")}));
    }
    wait::until("the last line", || other.read()["text"] == "line 60");
    let mut late = Socket::connect(&site);
    late.send(json!({"type": "hello", "name": "Late", "room": "lobby"}));
    let history = late.read()["history"].take();
    let texts: Vec<_> = history.as_array().expect("a list").iter().map(|line| &line["text"]).collect();
    assert_eq!((texts.len(), texts[0], texts[49]), (50, &json!("line 11"), &json!("line 60")));

    // Another room is another world.
    late.send(json!({"type": "hello", "name": "Ann", "room": "lua"}));
    assert_eq!(late.read()["here"], json!(["Ann"]));
    assert_eq!(other.read()["type"], "joined");
    assert_eq!(other.read(), json!({"type": "left", "name": "Late"}));
}

in_each_language!(the_talk_survives_its_worker);
fn the_talk_survives_its_worker(language: Language) {
    let site = chat(language);
    let (mut ann, mut ben) = (Socket::connect(&site), Socket::connect(&site));
    ann.send(json!({"type": "hello", "name": "Ann", "room": "lobby"}));
    assert_eq!(ann.read()["type"], "welcome");
    ben.send(json!({"type": "hello", "name": "Ben", "room": "lobby"}));
    assert_eq!(ben.read()["type"], "welcome");
    assert_eq!(ann.read()["type"], "joined");
    let worker = site.workers()[0];
    process::kill(worker);
    wait::until("another worker", || site.workers().first().is_some_and(|pid| *pid != worker));
    ann.send(json!({"type": "say", "text": "Was that a crash?"}));
    for socket in [&mut ann, &mut ben] {
        let line = socket.read();
        assert_eq!((&line["name"], &line["text"]), (&json!("Ann"), &json!("Was that a crash?")));
    }
    let mut chris = Socket::connect(&site);
    chris.send(json!({"type": "hello", "name": "Ben", "room": "lobby"}));
    let mut here = chris.read()["here"].take();
    here.as_array_mut().expect("a list").sort_by_key(ToString::to_string);
    assert_eq!(here, json!(["Ann", "Ben 2", "Ben"]), "they are still in the room, under their names");
}

/// Opens the page and gives a name at its door.
fn come_in(browser: &mut Browser, url: &str, name: &str, screen: Screen) -> Page {
    let mut page = browser.open(url, screen);
    page.until("document.activeElement.id == 'name'");
    page.write(name);
    page.press_enter();
    page.until("document.body.dataset.state == 'online'");
    page
}

fn say(page: &mut Page, text: &str) {
    page.click("#words");
    page.write(text);
    page.press_enter();
    page.until("document.getElementById('words').value == ''");
}

/// The list of who is here.
fn people(page: &mut Page) -> Vec<String> {
    let names = page.evaluate("[...document.querySelectorAll('#people bdi')].map(name => name.textContent)");
    serde_json::from_value(names).expect("a list of names")
}

/// Leaves pictures of a page for people to look at.
fn picture(page: &mut Page, name: &str) {
    for (colours, suffix) in [(Colours::Light, "light"), (Colours::Dark, "dark")] {
        page.prefer(colours);
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("chat-{name}-{suffix}.png"));
        page.screenshot(&file);
        println!("{}", file.display());
    }
}

/// The page's side of the protocol, without a page.
struct Socket(WebSocket<TcpStream>);

impl Socket {
    fn connect(site: &Site) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", site.port())).expect("mongrel2 accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit can be set");
        let url = format!("ws://127.0.0.1:{}/chat", site.port());
        Self(tungstenite::client(url, stream).expect("the script takes WebSockets").0)
    }

    fn send(&mut self, message: Value) {
        self.send_text(&message.to_string());
    }

    fn send_text(&mut self, text: &str) {
        self.0.send(Message::text(text)).expect("the connection lives");
    }

    /// The next message, without its time.
    fn read(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.0.read().expect("a message") {
                let mut message: Value = serde_json::from_str(&text).expect("messages are JSON");
                message.as_object_mut().expect("messages are objects").remove("at");
                return message;
            }
        }
    }
}
