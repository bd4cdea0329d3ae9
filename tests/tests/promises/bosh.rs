use std::path::Path;
use std::time::{Duration, Instant};
use tests::browser::{Browser, Page, Screen};
use tests::client::{Client, Response, request};
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::npm;
use tests::site::{Plan, Site};

/// Echoes, but for `<nothing/>`; `count N` sends N numbers, a hundred every ten milliseconds.
const APP: Scripts<'_> = Scripts {
    lua: r#"
local function count(conn, last)
  for n = 1, last do
    conn:send(tostring(n))
    if n % 100 == 0 then kennel.sleep(0.01) end
  end
end
app:channel("/bosh", {
  open = function(conn) conn:join("all") conn:send("hello by " .. conn.transport) end,
  message = function(conn, msg)
    if msg == "close" then conn:send("last") conn:close(1008, "enough") return end
    if msg == "<nothing/>" then return end
    local last = not conn.binary and msg:match("^count (%d+)$")
    if last then kennel.spawn(function() count(conn, tonumber(last)) end)
    elseif conn.binary then conn:send_binary(msg)
    else kennel.room("all"):send(msg) end
  end,
  close = function(conn, code, reason) print("[close " .. conn.transport .. " " .. code .. " " .. reason .. "]") end,
})
"#,
    python: r#"
import asyncio
async def count(conn, last):
    for n in range(1, last + 1):
        conn.send(str(n))
        if n % 100 == 0:
            await asyncio.sleep(0.01)
@app.channel("/bosh")
class Bosh:
    def open(self, conn):
        conn.join("all")
        conn.send("hello by " + conn.transport)
    async def message(self, conn, msg):
        if msg == "close":
            conn.send("last")
            conn.close(1008, "enough")
        elif isinstance(msg, bytes):
            conn.send(msg)
        elif msg.startswith("count "):
            app.counting = asyncio.get_running_loop().create_task(count(conn, int(msg[6:])))
        elif msg != "<nothing/>":
            kennel.room("all").send(msg)
    def close(self, conn, code, reason): print(f"[close {conn.transport} {code} {reason}]")
"#,
};

const TEXT: &str = r#"<text xmlns="urn:kennel:channel">"#;

/// The `<text/>` around a message.
fn text(text: &str) -> String {
    format!("{TEXT}{text}</text>")
}

/// A session, with a connection for each request.
struct Session {
    port: u16,
    sid: String,
    /// The number of the last request.
    rid: u64,
}

impl Session {
    /// With one request that waits, and two at once.
    fn open(site: &Site) -> Self {
        let mut session = Self { port: site.port(), sid: String::new(), rid: 1_573_741_820 };
        let opened = session
            .ask(r#"to="localhost" wait="20" hold="1" ver="1.6" content="text/xml; charset=utf-8""#, "");
        assert_eq!(opened.header("content-type"), Some("text/xml; charset=utf-8"));
        assert_eq!(opened.header("cache-control"), Some("no-store"));
        let tag = opened.text();
        for term in [r#"wait="20""#, r#"hold="1""#, r#"requests="2""#, r#"ver="1.6""#, r#"from="localhost""#]
        {
            assert!(tag.contains(term), "no {term} in {tag}");
        }
        let (_, sid) = tag.split_once(r#"sid=""#).expect("a session has a name");
        session.sid = sid.split('"').next().expect("text before a quote").to_owned();
        // What the script sends when it hears of the session is in the first answer.
        assert_eq!(content(&opened), text("hello by bosh"));
        session
    }

    /// The bytes of a request.
    fn request(&self, rid: u64, attributes: &str, elements: &str) -> Vec<u8> {
        let sid = if self.sid.is_empty() { String::new() } else { format!(r#" sid="{}""#, self.sid) };
        let body = format!(
            r#"<body xmlns="http://jabber.org/protocol/httpbind" rid="{rid}"{sid} {attributes}>{elements}</body>"#
        );
        request("POST", "/bosh", &[("Content-Type", "text/xml; charset=utf-8")], body.as_bytes())
    }

    /// A request on a connection of its own, whose answer has not been read.
    fn send(&self, rid: u64, elements: &str) -> Client {
        let mut client = Client::connect(self.port);
        client.send(self.request(rid, "", elements));
        client
    }

    /// A new request, and its answer.
    fn ask(&mut self, attributes: &str, elements: &str) -> Response {
        self.rid += 1;
        let mut client = Client::connect(self.port);
        client.send(self.request(self.rid, attributes, elements));
        let answer = client.read();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }

    /// A new request, and what is in the answer's body.
    fn exchange(&mut self, elements: &str) -> String {
        content(&self.ask("", elements))
    }
}

/// The elements of an answer.
fn content(answer: &Response) -> String {
    let text = answer.text();
    assert!(answer.status == 200 && text.starts_with("<body ") && !text.contains("type="), "{answer:?}");
    let (_, elements) = text.split_once('>').expect("a tag ends");
    elements.strip_suffix("</body>").unwrap_or_default().to_owned()
}

/// The messages of an answer all of whose messages are texts.
fn texts(answer: &Response) -> Vec<String> {
    let content = content(answer);
    let texts: Vec<_> = content.split(TEXT).skip(1).filter_map(|part| part.strip_suffix("</text>")).collect();
    assert_eq!(texts.iter().map(|message| text(message)).collect::<String>(), content);
    texts.into_iter().map(str::to_owned).collect()
}

/// Numbers that look as if by chance, the same in each run.
struct Chance(u64);

impl Chance {
    fn one_in(&mut self, n: u64) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.is_multiple_of(n)
    }
}

in_each_language!(a_channel_serves_clients_that_speak_bosh);
fn a_channel_serves_clients_that_speak_bosh(language: Language) {
    let site = language.site(APP);
    let mut session = Session::open(&site);
    // An element is what it is; a prefix of the body's is declared by itself.
    assert_eq!(session.exchange("<a b='1'>&lt;<c/></a>"), "<a b='1'>&lt;<c/></a>");
    let answer = session.ask("xmlns:x='urn:x'", "<x:y/>");
    assert_eq!(content(&answer), "<x:y xmlns:x='urn:x'/>");
    let binary = r#"<binary xmlns="urn:kennel:channel">AP8=</binary>"#;
    assert_eq!(session.exchange(binary), binary);
    // Several elements in a request are as many messages, in order.
    let several: String = (1..=5).map(|n| format!("<n>{n}</n>")).collect();
    let mut echoed = session.exchange(&several);
    while echoed.len() < several.len() {
        echoed += &session.exchange("");
    }
    assert_eq!(echoed, several);
    // A request is held until somebody says something.
    session.rid += 1;
    let mut held = session.send(session.rid, "");
    let mut other = site.websocket("/bosh");
    assert_eq!(other.read_text(), "hello by websocket");
    other.send("1 < 2");
    assert_eq!(texts(&held.read()), ["1 &lt; 2"]);
    // What was answered is answered the same again.
    assert_eq!(texts(&session.send(session.rid, "").read()), ["1 &lt; 2"]);

    session.rid += 1;
    let mut held = session.send(session.rid, "");
    let last = session.ask("type='terminate'", "<bye/>");
    assert_eq!(other.read_text(), "1 < 2");
    assert_eq!(other.read_text(), "<bye/>");
    let answers = [held.read().text(), last.text()];
    assert!(answers.iter().any(|answer| answer.contains(r#"type="terminate""#)), "{answers:?}");
    site.log().expect("[close bosh 1000 ]");
    let gone = session.ask("", "").text();
    assert!(gone.contains(r#"condition="item-not-found""#), "{gone}");
}

in_each_language!(a_script_that_closes_is_heard_behind_its_last_message);
fn a_script_that_closes_is_heard_behind_its_last_message(language: Language) {
    let site = language.site(APP);
    let mut session = Session::open(&site);
    let last = session.ask("", &text("close")).text();
    assert!(last.contains(&text("last")), "{last}");
    let end = if last.contains("terminate") { last } else { session.ask("", "").text() };
    assert!(end.contains(r#"type="terminate""#) && end.contains(r#"condition="policy-violation""#), "{end}");
    site.log().expect("[close bosh 1008 enough]");
}

/// How many messages a session gets while its requests break.
const MANY: usize = 10_000;

in_each_language!(requests_that_break_lose_and_repeat_nothing);
fn requests_that_break_lose_and_repeat_nothing(language: Language) {
    let site = language.site(APP);
    let mut session = Session::open(&site);
    let mut all = texts(&session.ask("", &text(&format!("count {MANY}"))));
    let (mut chance, mut broken, mut early) = (Chance(7), 0, 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while all.len() < MANY {
        assert!(Instant::now() < deadline, "{} of {MANY}", all.len());
        session.rid += 1;
        let rid = session.rid;
        while chance.one_in(3) {
            // Gone before the answer, or without a look at it: the same request comes again.
            broken += 1;
            session.send(rid, "").vanish();
        }
        if chance.one_in(5) {
            // The later of two comes first.
            early += 1;
            session.rid += 1;
            let mut second = session.send(rid + 1, "<nothing/>");
            all.extend(texts(&session.send(rid, "").read()));
            all.extend(texts(&second.read()));
        } else {
            all.extend(texts(&session.send(rid, "").read()));
        }
    }
    let expected: Vec<String> = (1..=MANY).map(|n| n.to_string()).collect();
    assert!(all == expected, "out of order, lost or doubled");
    assert!(broken > 5 && early > 5, "{broken} requests were broken, {early} came early");
}

in_each_language!(what_a_client_repeats_reaches_the_script_once);
fn what_a_client_repeats_reaches_the_script_once(language: Language) {
    let site = language.site(APP);
    let mut session = Session::open(&site);
    let (mut chance, mut all) = (Chance(3), Vec::new());
    for n in 1..=500 {
        session.rid += 1;
        let message = text(&n.to_string());
        while chance.one_in(3) {
            // The answer is lost, perhaps the request as well.
            session.send(session.rid, &message).vanish();
        }
        all.extend(texts(&session.send(session.rid, &message).read()));
    }
    let expected: Vec<String> = (1..=500).map(|n| n.to_string()).collect();
    assert_eq!(all, expected);
}

/// The version of strophe.js with which the example is tried.
const STROPHE: &str = "5.0.0";

/// The example as it is, in a folder of the test's own.
fn example(language: Language) -> Site {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/bosh");
    let read =
        |path: &Path| std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let library = npm::package("strophe.js", STROPHE).join("dist/strophe.umd.min.js");
    Plan::new(language, "")
        .file(language.app(), &read(&folder.join(language.app())))
        .file("public/index.html", &read(&folder.join("public/index.html")))
        .file("public/strophe.umd.min.js", &read(&library))
        .start()
}

fn come_in(browser: &mut Browser, site: &Site, name: &str) -> Page {
    let mut page = browser.open(&format!("http://127.0.0.1:{}/", site.port()), Screen::Desktop);
    page.until("document.activeElement.id == 'name'");
    page.write(name);
    page.press_enter();
    page.sees("connected");
    page.sees(&format!("{name} is here"));
    page
}

fn say(page: &mut Page, words: &str) {
    page.click("#words");
    page.until("document.activeElement.id == 'words'");
    page.write(words);
    page.press_enter();
    page.until("document.getElementById('words').value == ''");
}

/// What was said, as the page shows it.
fn said(page: &mut Page) -> Vec<String> {
    let lines = page.evaluate("[...document.querySelectorAll('.said')].map(line => line.textContent)");
    serde_json::from_value(lines).expect("a list of lines")
}

in_each_language!(two_pages_with_strophe_talk_to_each_other);
fn two_pages_with_strophe_talk_to_each_other(language: Language) {
    let site = example(language);
    let mut browser = Browser::start();
    let mut ann = come_in(&mut browser, &site, "Ann");
    let mut ben = come_in(&mut browser, &site, "Ben \"<&'");
    ann.sees("Ben \"<&' is here");
    ben.sees("Ann is here");
    say(&mut ann, "Good morning");
    ben.sees("Ann: Good morning");
    say(&mut ben, "<img src=x onerror=alert(1)> & \"so\" 'on' \u{2713}");
    for page in [&mut ann, &mut ben] {
        page.sees("Ben \"<&': <img src=x onerror=alert(1)> & \"so\" 'on' \u{2713}");
        assert_eq!(said(page).len(), 2);
    }
    for n in 1..=20 {
        say(&mut ann, &format!("line {n}"));
    }
    ben.sees("line 20");
    let lines: Vec<_> = (1..=20).map(|n| format!("Ann: line {n}")).collect();
    assert_eq!(said(&mut ben)[2..], lines);
    for page in [&mut ann, &mut ben] {
        assert_eq!(page.complaints(), Vec::<String>::new());
    }
    ben.evaluate("connection.disconnect()");
    ann.sees("Ben \"<&' left");
}

in_each_language!(a_page_with_strophe_that_is_loaded_again_goes_on);
fn a_page_with_strophe_that_is_loaded_again_goes_on(language: Language) {
    let site = example(language);
    let mut browser = Browser::start();
    let (mut ann, mut ben) = (come_in(&mut browser, &site, "Ann"), come_in(&mut browser, &site, "Ben"));
    ann.sees("Ben is here");
    ben.evaluate("window.isOld = true; location.reload()");
    ben.until("!window.isOld && document.getElementById('state').textContent == 'attached'");
    say(&mut ann, "Still there?");
    ben.sees("Ann: Still there?");
    say(&mut ben, "Still here");
    ann.sees("Ben: Still here");
    assert_eq!(said(&mut ben), ["Ann: Still there?", "Ben: Still here"]);
    let notes = "[...document.querySelectorAll('.note')].map(line => line.textContent).join()";
    assert_eq!(ann.evaluate(notes), "Ann is here,Ben is here", "nobody left");
}

in_each_language!(a_page_with_strophe_that_was_cut_off_misses_nothing);
fn a_page_with_strophe_that_was_cut_off_misses_nothing(language: Language) {
    let site = example(language);
    let mut browser = Browser::start();
    let (mut ann, mut ben) = (come_in(&mut browser, &site, "Ann"), come_in(&mut browser, &site, "Ben"));
    ann.sees("Ben is here");
    // What is under way breaks, and nothing new gets through. It is not for long: strophe gives up after five failures.
    ben.be_offline(true);
    ben.evaluate("for (const request of connection._proto._requests) request.xhr.abort()");
    say(&mut ben, "from the tunnel");
    ben.until("connection._proto.errors >= 2");
    ann.evaluate(
        "for (const n of [1, 2, 3, 4, 5]) connection.send($msg({to: room, type: 'groupchat'}).c('body').t(`line ${n}`))",
    );
    ann.sees("Ann: line 5");
    assert_eq!(said(&mut ben), Vec::<String>::new(), "nothing reaches a page without a network");
    ben.be_offline(false);
    ben.sees("Ann: line 5");
    ann.sees("Ben: from the tunnel");
    ben.sees("Ben: from the tunnel");
    let mut lines: Vec<_> = (1..=5).map(|n| format!("Ann: line {n}")).collect();
    lines.push("Ben: from the tunnel".into());
    assert_eq!(said(&mut ann), lines);
    assert_eq!(said(&mut ben), lines);
}
