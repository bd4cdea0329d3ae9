use serde_json::{Value, json};
use tests::browser::{Browser, Page, Screen};
use tests::in_each_language;
use tests::language::{Language, Scripts};
use tests::proxy::Proxy;
use tests::server::{Mongrel2, Setup};
use tests::site::{Plan, Site};

/// Echoes, unless it is told to do something else.
const TALK: Scripts<'_> = Scripts {
    lua: r#"
app:get("/", function() return kennel.file("page.html") end)
app:get("/elsewhere", function() return kennel.html("elsewhere") end)
local talk = {
  open = function(conn) print("[open " .. conn.transport .. "]") end,
  message = function(conn, msg)
    local verb, number, rest = msg:match("^(%a+) ?(%d*) ?(.*)$")
    if conn.binary then conn:send_binary(msg)
    elseif verb == "close" then conn:close(tonumber(number), rest)
    elseif verb == "count" then for n = 1, tonumber(number) do conn:send(n) end
    elseif verb == "slowly" then for n = 1, tonumber(number) do conn:send(n) kennel.sleep(0.02) end
    elseif verb == "note" then print("[noted " .. msg .. "]")
    elseif verb == "transport" then conn:send(conn.transport)
    else conn:send(msg) end
  end,
  close = function(conn, code, reason) print("[close " .. conn.transport .. " " .. code .. " " .. reason .. "]") end,
}
app:channel("/talk", talk)
app:channel("/anybody", { origins = { "*" } }, talk)
"#,
    python: r#"
import asyncio
@app.get("/")
def page(req): return kennel.file("page.html")
@app.get("/elsewhere")
def elsewhere(req): return kennel.html("elsewhere")
@app.channel("/talk")
class Talk:
    def open(self, conn): print(f"[open {conn.transport}]")
    def message(self, conn, msg):
        verb, _, rest = "" , "", ""
        if isinstance(msg, str):
            verb, _, rest = msg.partition(" ")
        if verb == "close":
            code, _, reason = rest.partition(" ")
            conn.close(int(code), reason)
        elif verb == "count":
            for n in range(1, int(rest) + 1):
                conn.send(n)
        else:
            conn.send(msg)
    def close(self, conn, code, reason): print(f"[close {conn.transport} {code} {reason}]")
"#,
};

/// What comes from the channel is kept in lists.
const PAGE: &str = r#"<!doctype html><title>channel</title><link rel="icon" href="data:,"><script src="kennel.js"></script><script>
  const opens = [], got = [], errors = [], closes = [];
  let channel;
  function connect(options, url = "/talk") {
    channel = new KennelChannel(url, Object.assign({minDelay: 20, maxDelay: 200}, options));
    channel.binaryType = "arraybuffer";
    channel.onopen = (event) => opens.push(event.detail.transport + (event.detail.resumed ? " resumed" : ""));
    channel.onmessage = (event) => got.push(typeof event.data == "string" ? event.data : [...new Uint8Array(event.data)]);
    channel.onerror = (event) => errors.push(event.detail.message);
    channel.onclose = (event) => closes.push([event.code, event.reason, event.wasClean]);
  }
  const say = (from, to) => { for (let n = from; n <= to; n++) channel.send("message " + n); };
  const said = (from, to) => Array.from({length: to - from + 1}, (_, n) => "message " + (from + n)).join();
</script>"#;

const CARRIERS: [&str; 3] = ["websocket", "sse", "poll"];

fn plan(language: Language) -> Plan {
    language.plan(TALK).workers(1).file("page.html", PAGE)
}

fn open(browser: &mut Browser, port: u16) -> Page {
    browser.open(&format!("http://127.0.0.1:{port}/"), Screen::Desktop)
}

/// A page whose channel has opened, by this carrier alone.
fn connected(browser: &mut Browser, port: u16, carrier: &str) -> Page {
    let mut page = open(browser, port);
    page.evaluate(&format!("connect({{carriers: ['{carrier}']}})"));
    page.until("channel.readyState == 1");
    assert_eq!(page.evaluate("[opens, channel.transport]"), json!([[carrier], carrier]));
    page
}

in_each_language!(an_app_with_channels_serves_it);
fn an_app_with_channels_serves_it(language: Language) {
    let site = plan(language).behind_warm().start();
    let answer = site.get("/kennel.js");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/javascript; charset=utf-8")));
    assert!(answer.text().contains("KennelChannel"));
    let tag = answer.header("etag").expect("a tag").to_owned();
    let request = tests::client::request("GET", "/kennel.js", &[("If-None-Match", &tag)], b"");
    let again = site.send(request);
    assert_eq!((again.status, again.body.len()), (304, 0));
    let without = language.site(Scripts { lua: "app:get('/', function() return '' end)", python: "" });
    assert_eq!(without.get("/kennel.js").status, 404);
}

in_each_language!(each_carrier_takes_a_thousand_messages_each_way_in_order);
fn each_carrier_takes_a_thousand_messages_each_way_in_order(language: Language) {
    let site = plan(language).behind_warm().start();
    let mut browser = Browser::start();
    for carrier in CARRIERS {
        let mut page = connected(&mut browser, site.port(), carrier);
        page.evaluate("say(1, 1000)");
        until_a_thousand_came(&mut page);
        assert_eq!(
            page.evaluate("got.join() == said(1, 1000) && channel.bufferedAmount == 0"),
            true,
            "{carrier}"
        );
        page.evaluate("got.length = 0; channel.send('count 1000')");
        until_a_thousand_came(&mut page);
        assert_eq!(page.evaluate("got.every((text, at) => text == at + 1)"), true, "{carrier}");
        assert_eq!(page.complaints(), Vec::<String>::new());
        site.log().expect_exactly(&format!("[open {carrier}]"), 1);
        page.close();
    }
}

/// Each hundred has a deadline of its own: an event stream's client sends each message by a request.
fn until_a_thousand_came(page: &mut Page) {
    for count in (100..=1000).step_by(100) {
        page.until(&format!("got.length >= {count}"));
    }
}

in_each_language!(texts_and_bytes_arrive_as_they_are);
fn texts_and_bytes_arrive_as_they_are(language: Language) {
    let site = plan(language).behind_warm().start();
    let mut browser = Browser::start();
    let texts = r#"["", " ", "\n", "\r\n", "a\rb\r", "\n\n data: x\nid: 7\n", "\u0000", "\ufeffbom", "\u2028 \u{1f436}\u{1f3fd}", '{"base64": "AAE="}', "x".repeat(300000)]"#;
    for carrier in CARRIERS {
        let mut page = connected(&mut browser, site.port(), carrier);
        page.evaluate(&format!("texts = {texts}; texts.forEach((text) => channel.send(text))"));
        page.until("got.length == texts.length");
        assert_eq!(page.evaluate("got.findIndex((text, at) => text !== texts[at])"), -1, "{carrier}");
        page.evaluate(
            "got.length = 0; all = Uint8Array.from({length: 256}, (_, n) => n);
             channel.send(all); channel.send(all.buffer); channel.send(all.subarray(3, 5)); channel.send(new Blob([all]));
             channel.send(new ArrayBuffer(0)); all.fill(0); channel.send('a text')",
        );
        page.until("got.length == 6");
        let all: Value = (0..256).collect();
        assert_eq!(page.evaluate("got"), json!([all, all, [3, 4], all, [], "a text"]), "{carrier}");
        page.evaluate("got.length = 0; channel.binaryType = 'blob'; channel.onmessage = (event) => blob = event.data; channel.send(new Uint8Array([7]))");
        page.until("typeof blob == 'object'");
        assert_eq!(
            page.evaluate("blob.arrayBuffer().then((buffer) => [...new Uint8Array(buffer)])"),
            json!([7])
        );
        assert_eq!(page.complaints(), Vec::<String>::new());
        page.close();
    }
}

in_each_language!(close_codes_arrive_on_the_other_side);
fn close_codes_arrive_on_the_other_side(language: Language) {
    let site = plan(language).behind_warm().start();
    let mut browser = Browser::start();
    for carrier in CARRIERS {
        let mut page = connected(&mut browser, site.port(), carrier);
        page.evaluate("channel.send('close 4001 that is enough')");
        page.until("closes.length == 1");
        assert_eq!(page.evaluate("closes"), json!([[4001, "that is enough", true]]), "{carrier}");
        assert_eq!(
            page.evaluate("[channel.readyState, KennelChannel.CLOSED, channel.transport]"),
            json!([3, 3, ""])
        );
        site.log().expect(&format!("[close {carrier} 4001 that is enough]"));

        let mut page = connected(&mut browser, site.port(), carrier);
        let close =
            "say(1, 50); channel.close(4002, 'last words & \\u{e9}'); channel.close(); channel.readyState";
        assert_eq!(page.evaluate(close), 2, "closing");
        page.until("closes.length == 1");
        assert_eq!(page.evaluate("closes"), json!([[4002, "last words & \u{e9}", true]]), "{carrier}");
        site.log().expect_exactly(&format!("[close {carrier} 4002 last words & \u{e9}]"), 1);

        let mut page = connected(&mut browser, site.port(), carrier);
        page.evaluate("channel.close(); channel.send('too late')");
        page.until("closes.length == 1");
        assert_eq!(page.evaluate("closes"), json!([[1005, "", true]]), "{carrier}");
        site.log().expect(&format!("[close {carrier} 1005 ]"));
        for (arguments, name) in [("1001", "InvalidAccessError"), ("1000, 'x'.repeat(124)", "SyntaxError")] {
            let thrown =
                format!("(() => {{ try {{ channel.close({arguments}) }} catch (e) {{ return e.name }} }})()");
            assert_eq!(page.evaluate(&thrown), name);
        }
        assert_eq!(page.evaluate("errors"), json!([]));
    }
}

#[test]
fn connections_that_are_cut_lose_and_double_nothing_in_sessions() {
    let site = plan(Language::Lua).behind_warm().start();
    let proxy = Proxy::start(site.port());
    let mut browser = Browser::start();
    for carrier in CARRIERS {
        let mut page = connected(&mut browser, proxy.port(), carrier);
        page.evaluate("channel.send('slowly 100')");
        for round in 1..=10 {
            page.evaluate(&format!("say({}, {})", round * 10 - 9, round * 10));
            page.until(&format!("got.length >= {}", round * 5));
            proxy.cut();
            // Browsers ask again by themselves when a poll is cut off.
            page.until(&format!(
                "opens.length > {round} || got.length >= 150 || channel.transport == 'poll'"
            ));
        }
        page.until("got.length >= 200");
        let split =
            "[got.filter((text) => /^\\d/.test(text)), got.filter((text) => /^m/.test(text))].map(String)";
        let numbers: Vec<_> = (1..=100).map(|n| n.to_string()).collect();
        assert_eq!(
            page.evaluate(split),
            json!([numbers.join(","), page.evaluate("said(1, 100)")]),
            "{carrier}"
        );
        let first = json!(carrier);
        assert_eq!(page.evaluate("opens.filter((text) => !text.endsWith(' resumed'))"), json!([first]));
        site.log().expect_exactly(&format!("[open {carrier}]"), 1);
        page.evaluate("channel.close(1000)");
        site.log().expect_exactly(&format!("[close {carrier} 1000 ]"), 1);
    }
}

#[test]
fn what_got_lost_on_its_way_comes_again_and_what_arrived_does_not() {
    let site = plan(Language::Lua).behind_warm().start();
    let proxy = Proxy::start(site.port());
    let mut browser = Browser::start();
    for carrier in CARRIERS {
        let mut page = connected(&mut browser, proxy.port(), carrier);
        page.evaluate("channel.send('slowly 50')");
        page.until("got.length > 5");
        proxy.swallow(true);
        page.evaluate(&format!("channel.send('note {carrier}'); say(1, 3)"));
        // What the script says meanwhile is lost, and so is the answer to what has arrived.
        site.log().expect(&format!("[noted note {carrier}]"));
        assert_eq!(page.evaluate("got.length < 50 && channel.bufferedAmount > 0"), true);
        proxy.cut();
        proxy.swallow(false);
        page.until("got.length >= 53");
        let numbers: Vec<_> = (1..=50).map(|n| n.to_string()).collect();
        let expected = format!("'{},' + said(1, 3)", numbers.join(","));
        assert_eq!(page.evaluate(&format!("got.join() == {expected}")), true, "{carrier}");
        site.log().expect_exactly(&format!("[noted note {carrier}]"), 1);
        page.close();
    }
}

#[test]
fn a_script_that_does_not_keep_up_gets_everything_nevertheless() {
    let site = plan(Language::Lua).config("[limits]\nchannel_queue = 1000\n").behind_warm().start();
    let mut browser = Browser::start();
    for carrier in CARRIERS {
        let mut page = connected(&mut browser, site.port(), carrier);
        // It sleeps for two seconds, and behind that there is room for two of these.
        page.evaluate("channel.send('slowly 100'); long = 'x'.repeat(400); say(1, 2)");
        page.evaluate("for (let n = 1; n <= 5; n++) channel.send(long + n)");
        page.until("got.length == 107");
        let last =
            "got.slice(100).join() == said(1, 2) + [1, 2, 3, 4, 5].map((n) => ',' + long + n).join('')";
        assert_eq!(page.evaluate(last), true, "{carrier}");
        let is_refused = page.complaints().iter().any(|line| line.contains("503"));
        assert!(is_refused || carrier == "websocket", "it was refused at first");
    }
}

#[test]
fn a_module_may_import_it() {
    let site = plan(Language::Lua).behind_warm().start();
    let mut browser = Browser::start();
    let mut page = browser.open(&format!("http://127.0.0.1:{}/elsewhere", site.port()), Screen::Desktop);
    let talk = "import('/kennel.js').then(() => new Promise((done) => {
        const channel = new KennelChannel('/talk', 'v1');
        channel.addEventListener('open', () => channel.send('hello'));
        channel.addEventListener('message', (event) => done([event.data, event.origin, channel.url, channel.protocol]));
    }))";
    let url = format!("ws://127.0.0.1:{}", site.port());
    assert_eq!(page.evaluate(talk), json!(["hello", url, format!("{url}/talk"), ""]));
}

/// A Mongrel2 of the test's own, so that it can be ended, and a site behind it.
fn behind_own() -> (Mongrel2, Site) {
    let server = Mongrel2::start(Setup::default().flow_control());
    let site = plan(Language::Lua).behind(&server).start();
    (server, site)
}

#[test]
fn a_session_outlives_mongrel2_whatever_carries_it() {
    let (mut server, site) = behind_own();
    let mut browser = Browser::start();
    for carrier in CARRIERS {
        let mut page = connected(&mut browser, site.port(), carrier);
        page.evaluate("channel.send('slowly 30')");
        page.until("got.length > 3");
        server.kill();
        page.until("channel.readyState == 0 && errors.length > 0");
        page.evaluate("say(1, 20)");
        assert_eq!(page.evaluate("channel.bufferedAmount > 20"), true, "they wait");
        server.start_again();
        page.until("channel.readyState == 1 && got.filter((text) => /^m/.test(text)).length == 20");
        assert_eq!(
            page.evaluate("got.filter((text) => /^m/.test(text)).join() == said(1, 20)"),
            true,
            "{carrier}"
        );
        assert_eq!(
            page.evaluate("[closes, channel.transport, channel.bufferedAmount]"),
            json!([[], carrier, 0])
        );
        page.until("got.length == 50");
        assert_eq!(
            page.evaluate("got.filter((text) => /^\\d/.test(text)).every((text, at) => text == at + 1)"),
            true
        );
        assert_eq!(page.evaluate("opens"), json!([carrier, format!("{carrier} resumed")]));
        site.log().expect_exactly(&format!("[open {carrier}]"), 1);
        page.close();
    }
}

#[test]
fn an_event_stream_that_goes_astray_once_opens_once() {
    let site = plan(Language::Lua).behind_warm().start();
    let proxy = Proxy::start(site.port());
    let mut browser = Browser::start();
    let mut page = connected(&mut browser, proxy.port(), "sse");
    // As while Mongrel2 starts: the first stream does not reach it, a poll a moment later does.
    page.evaluate(
        "Real = EventSource; astray = 1;
         EventSource = function (url, options) { return new Real(astray-- > 0 ? '/nowhere' : url, options) };
         channel.send('slowly 30'); say(1, 3)",
    );
    page.until("got.length > 3");
    proxy.cut();
    page.until("got.length == 33");
    assert_eq!(page.evaluate("[opens, astray < 1]"), json!([["sse", "sse resumed"], true]));
    let numbers: Vec<_> = (1..=30).map(|n| n.to_string()).collect();
    assert_eq!(page.evaluate("got.filter((text) => /^\\d/.test(text)).join()"), numbers.join(","));
    assert_eq!(page.evaluate("got.filter((text) => /^m/.test(text)).join() == said(1, 3)"), true);
}

#[test]
fn a_connection_that_mongrel2_is_told_to_kill_comes_back() {
    let (server, site) = behind_own();
    let mut browser = Browser::start();
    for carrier in CARRIERS {
        let mut page = connected(&mut browser, site.port(), carrier);
        page.evaluate("setTimeout(() => channel.send('slowly 50'), 0)");
        page.until("got.length > 5");
        let address = format!("ipc://{}/control", server.folder().path().display());
        let listing = site.kennel(&["ctl", "status", "net", "--json", "--address", &address]);
        let connections: Value = serde_json::from_str(&listing.stdout).expect("a listing");
        let ids = connections.as_array().expect("a list").iter().filter_map(|row| row["id"].as_u64());
        for id in ids.filter(|id| *id > 0) {
            server.kill_connection(id as u32);
        }
        page.until("got.length == 50");
        page.evaluate("got.length = 0; say(1, 3)");
        page.until("got.join() == said(1, 3)");
        page.close();
    }
}

#[test]
fn a_new_kennel_gets_new_sessions_and_what_waited_is_sent_to_them() {
    let server = Mongrel2::start(Setup::default().flow_control());
    let mut browser = Browser::start();
    for carrier in CARRIERS {
        let site = plan(Language::Lua).behind(&server).start();
        let mut page = connected(&mut browser, site.port(), carrier);
        page.evaluate("say(1, 3)");
        page.until("got.length == 3");
        drop(site);
        let site = plan(Language::Lua).behind(&server).start();
        page.evaluate("proxied = channel.onopen; channel.onopen = (event) => { proxied(event); channel.send('first of all') }");
        // A stream whose hub has died stays open for as long as Mongrel2 leaves it; what is sent finds out.
        page.evaluate("say(4, 6)");
        page.until("opens.length == 2 && got.length >= 6");
        assert_eq!(page.evaluate("[opens, closes]"), json!([[carrier, carrier], []]));
        page.until("got.slice(3).join() == 'first of all,' + said(4, 6)");
        site.log().expect_exactly(&format!("[open {carrier}]"), 1);
        page.close();
    }
}

#[test]
fn where_websockets_are_refused_it_falls_back_and_stays_with_what_works() {
    let site = plan(Language::Lua).behind_warm().start();
    let proxy = Proxy::start(site.port());
    let mut browser = Browser::start();
    let mut page = open(&mut browser, proxy.port());
    page.evaluate("connect()");
    page.until("opens.join() == 'websocket'");
    page.evaluate("channel.send('transport')");
    page.until("got.join() == 'websocket'");

    proxy.refuse_upgrades(true);
    let mut page = open(&mut browser, proxy.port());
    page.evaluate("connect(); channel.send('transport')");
    page.until("got.join() == 'sse'");
    proxy.cut();
    page.until("opens.join() == 'sse,sse resumed'");
    assert_eq!(page.evaluate("errors.length"), 1, "the way is known");

    proxy.keep_events(true);
    let mut page = open(&mut browser, proxy.port());
    page.evaluate("connect({timeout: 300}); channel.send('transport')");
    page.until("got.join() == 'poll'");
    assert_eq!(page.evaluate("[opens, errors]"), json!([["poll"], []]));
    // A stream whose way is closed later goes on as polls: the same session.
    proxy.keep_events(false);
    let mut page = open(&mut browser, proxy.port());
    page.evaluate("connect({timeout: 300}); say(1, 3)");
    page.until("got.length == 3");
    proxy.keep_events(true);
    proxy.cut();
    page.until("opens.join() == 'sse,poll resumed'");
    page.evaluate("say(4, 6)");
    page.until("got.join() == said(1, 6)");
    assert_eq!(page.evaluate("opens.slice(1).every((text) => text.endsWith('resumed'))"), true);
}

#[test]
fn what_the_server_ends_for_the_time_being_begins_again() {
    let site = plan(Language::Lua).behind_warm().start();
    let mut browser = Browser::start();
    for carrier in CARRIERS {
        let mut page = connected(&mut browser, site.port(), carrier);
        page.evaluate("channel.send('close 1012 soon')");
        page.until("opens.length == 2 && channel.readyState == 1");
        assert_eq!(
            page.evaluate("[opens, closes, errors]"),
            json!([[carrier, carrier], [], ["closed with 1012 soon"]])
        );
        page.evaluate("say(1, 1)");
        page.until("got.length == 1");

        let mut page = open(&mut browser, site.port());
        page.evaluate(&format!(
            "connect({{carriers: ['{carrier}'], reconnect: false}}); channel.send('close 1012 soon')"
        ));
        page.until("closes.length == 1");
        assert_eq!(page.evaluate("closes"), json!([[1012, "soon", true]]), "{carrier}");
    }
}

#[test]
fn a_page_that_is_left_says_so() {
    let site = plan(Language::Lua).behind_warm().start();
    let mut browser = Browser::start();
    for carrier in CARRIERS {
        let mut page = connected(&mut browser, site.port(), carrier);
        page.evaluate("void (location.href = '/elsewhere')");
        page.sees("elsewhere");
        site.log().expect_exactly(&format!("[close {carrier} 1001 ]"), 1);
        // Whoever comes back has a page that works.
        page.evaluate("history.back()");
        page.until("typeof connect == 'function'");
        page.evaluate("if (!channel) connect()");
        page.until("channel.readyState == 1");
        page.close();
    }
}

#[test]
fn what_cannot_work_is_said_and_ends() {
    let site = plan(Language::Lua).behind_warm().start();
    let mut browser = Browser::start();
    let mut page = open(&mut browser, site.port());
    page.evaluate("connect({}, '/nothing')");
    page.until("closes.length == 1");
    let end = page.evaluate("closes[0]");
    assert_eq!((&end[0], &end[2]), (&json!(1006), &json!(false)));
    assert!(end[1].as_str().is_some_and(|reason| reason.contains("404")), "{end}");
    assert_eq!(page.evaluate("errors.length"), 1);

    for carrier in CARRIERS {
        let mut page = connected(&mut browser, site.port(), carrier);
        page.evaluate("channel.send('x'.repeat((1 << 20) + 1))");
        page.until("closes.length == 1");
        assert_eq!(page.evaluate("closes[0][0]"), 1009, "{carrier}");
    }

    let mut page = open(&mut browser, site.port());
    let thrown =
        |expression: &str| format!("(() => {{ try {{ {expression} }} catch (e) {{ return e.name }} }})()");
    assert_eq!(page.evaluate(&thrown("connect({carriers: ['pigeon']})")), "TypeError");
    let sends = "connect({maxQueue: 10}); channel.send('more than ten bytes'); channel.send('x')";
    assert_eq!(page.evaluate(&thrown(sends)), "QuotaExceededError");
    page.evaluate("channel.close(); connect(); channel.close()");
    page.until("closes.map(String).includes('1006,closed before it was open,false')");
}

#[test]
fn it_waits_longer_each_time_and_comes_at_once_when_the_network_is_back() {
    let site = plan(Language::Lua).behind_warm().start();
    let proxy = Proxy::start(site.port());
    let mut browser = Browser::start();
    for carrier in CARRIERS {
        let mut page = open(&mut browser, proxy.port());
        page.evaluate(&format!("connect({{carriers: ['{carrier}'], minDelay: 60000, maxDelay: 600000}})"));
        page.until("opens.length == 1");
        page.evaluate(
            "delays = []; channel.addEventListener('error', (event) => delays.push(event.detail.delay))",
        );
        proxy.refuse_all(true);
        proxy.cut();
        page.until("delays.length == 1 && channel.readyState == 0");
        proxy.refuse_all(false);
        assert_eq!(page.evaluate("delays[0] >= 60000 && delays[0] <= 120000"), true);
        page.evaluate("dispatchEvent(new Event('online'))");
        page.until("opens.length == 2");
        proxy.refuse_all(true);
        proxy.cut();
        page.until("delays.length == 2");
        page.evaluate("channel.retry()");
        page.until("delays.length == 3");
        assert_eq!(page.evaluate("delays[2] > 60000 && delays[2] <= 480000 && closes.length == 0"), true);
        proxy.refuse_all(false);
        page.evaluate("channel.retry()");
        page.until("opens.length == 3");
        page.close();
    }
}

#[test]
fn a_page_of_another_host_may_come_where_the_channel_lets_it() {
    let site = plan(Language::Lua).behind_warm().start();
    let mut browser = Browser::start();
    for carrier in CARRIERS {
        let mut page = open(&mut browser, site.port());
        page.evaluate(&format!(
            "connect({{carriers: ['{carrier}']}}, 'http://localhost:{}/anybody')",
            site.port()
        ));
        page.until("opens.length == 1");
        page.evaluate("say(1, 2); channel.send(new Uint8Array([1, 2]))");
        page.until("got.length == 3");
        assert_eq!(page.evaluate("got[2]"), json!([1, 2]));
        page.evaluate("channel.close(3000)");
        page.until("closes.length == 1");
        site.log().expect(&format!("[close {carrier} 3000 ]"));
    }
}
