//! `kennel.js` on lines that die without a word: it is back within two intervals of the line's return, and nothing is lost or
//! doubled, in either direction.

use serde_json::json;
use std::time::{Duration, Instant};
use tests::browser::{Browser, Page, Screen};
use tests::site::Site;
use tests::slow_network::{self, Line, SlowNetwork};

/// Seconds between two signs of life.
const PING: f64 = 2.0;
/// What a busy machine and the browser may take besides: it tries requests on connections that it has kept, which are dead
/// as well.
fn slack(carrier: &str) -> Duration {
    Duration::from_secs(if carrier == "websocket" { 2 } else { 12 })
}
const LINE: Line = Line { delay_ms: 50.0, loss_percent: 0.5, mbit_per_s: 10.0 };

/// Counts each client's messages, says each back, and says some more by itself.
const APP: &str = r#"
app:get("/", function() return kennel.file("page.html") end)
local heard = {}
app:channel("/talk", { ping = 2 }, {
  open = function(conn) print("[open " .. conn.transport .. "]") heard[conn.id] = 0 end,
  message = function(conn, msg)
    local later = msg:match("^later (%d+)$")
    if later then
      kennel.spawn(function() for n = 1, tonumber(later) do kennel.sleep(0.1) conn:send("later " .. n) end end)
      return
    end
    local number = tonumber(msg)
    if number ~= heard[conn.id] + 1 then print("[out of order: " .. msg .. " behind " .. heard[conn.id] .. "]") end
    heard[conn.id] = number
    conn:send(msg)
  end,
  close = function(conn, code) print("[close " .. code .. "]") end,
})
"#;

const PAGE: &str = r#"<!doctype html><title>channel</title><link rel="icon" href="data:,"><script src="kennel.js"></script><script>
  const opens = [], echoes = [], later = [];
  let channel, said = 0, talking;
  function connect(carrier) {
    channel = new KennelChannel("/talk", {carriers: [carrier], timeout: 1500, minDelay: 50, maxDelay: 300});
    channel.onopen = (event) => opens.push(event.detail.transport + (event.detail.resumed ? " resumed" : ""));
    channel.onmessage = ({data}) => data.startsWith("later ") ? later.push(Number(data.slice(6))) : echoes.push(Number(data));
  }
  // A request with a body takes three round trips.
  const talk = (every) => { talking = setInterval(() => channel.send(String(++said)), every); };
  const counts = (list) => list.every((number, at) => number == at + 1);
</script>"#;

struct Talk {
    network: SlowNetwork,
    site: Site,
    browser: Browser,
    page: Page,
    carrier: &'static str,
}

impl Talk {
    /// A page that talks over a slow line; `None`: this machine has no such lines.
    fn begin(carrier: &'static str) -> Option<Self> {
        let network = match SlowNetwork::new(LINE) {
            Ok(network) => network,
            Err(why) => {
                slow_network::say_not_run(&format!("dead_lines, {carrier}"), &why);
                return None;
            }
        };
        network.come_from(1);
        let site = Site::plan(APP).workers(1).file("page.html", PAGE).in_network(&network).start();
        let mut browser = Browser::start_far_away(&network);
        let url = format!("http://{}:{}/", SlowNetwork::SERVER, site.port());
        let mut page = browser.open(&url, Screen::Desktop);
        page.evaluate(&format!("connect('{carrier}')"));
        page.until("channel.readyState == 1");
        page.evaluate(if carrier == "websocket" { "talk(100)" } else { "talk(700)" });
        page.until("echoes.length > 3");
        Some(Self { network, site, browser, page, carrier })
    }

    /// Waits until messages go both ways again. How long that took, and then until all is there that was said meanwhile.
    fn time_to_recover(&mut self) -> (Duration, Duration) {
        let begun = Instant::now();
        self.page.evaluate("void (mark = said, had = echoes.length)");
        self.page.until("echoes.length > had && channel.readyState == 1");
        let resumed = begun.elapsed();
        self.page.until("echoes.length > mark");
        (resumed, begun.elapsed())
    }

    fn check_recovery(&mut self, what: &str) {
        let (taken, whole) = self.time_to_recover();
        println!("{} {what}: back after {taken:.1?}, and up to date after {whole:.1?}", self.carrier);
        assert!(
            taken < Duration::from_secs_f64(2.0 * PING) + slack(self.carrier),
            "{} {what}: {taken:?}",
            self.carrier
        );
    }

    /// Everything that was said has come, once and in order, both ways, and the script has seen one connection.
    fn check_and_end(mut self, later: usize) {
        self.page.evaluate("clearInterval(talking)");
        self.page.until(&format!("echoes.length == said && later.length == {later}"));
        assert_eq!(self.page.evaluate("counts(echoes) && counts(later)"), json!(true), "{}", self.carrier);
        assert_eq!(
            self.page.evaluate("opens.filter((text) => !text.endsWith(' resumed'))"),
            json!([self.carrier])
        );
        self.page.until("channel.bufferedAmount == 0");
        println!(
            "{}: {} messages, {}",
            self.carrier,
            self.page.evaluate("said"),
            self.page.evaluate("opens")
        );
        self.page.evaluate("channel.close(4000)");
        self.site.log().expect_exactly("[close 4000]", 1);
        self.site.log().expect_exactly(&format!("[open {}]", self.carrier), 1);
        assert!(!self.site.log().text().contains("out of order"), "{}", self.site.log().text());
    }
}

/// Seconds of a cut.
fn cuts() -> &'static [u64] {
    if std::env::var_os("KENNEL_LONG").is_some() { &[5, 40] } else { &[5] }
}

fn survives(carrier: &'static str) {
    let Some(mut talk) = Talk::begin(carrier) else { return };
    for seconds in cuts() {
        talk.network.cut(1);
        std::thread::sleep(Duration::from_secs(*seconds));
        talk.network.mend(1);
        talk.check_recovery(&format!("after a cut of {seconds} s"));
    }
    talk.network.cut(1);
    talk.network.come_from(2);
    talk.check_recovery("with a new address");
    // The page sleeps while the script speaks.
    talk.page.evaluate("channel.send('later 20')");
    talk.page.until("later.length > 0");
    talk.browser.freeze_pages(true);
    std::thread::sleep(Duration::from_secs(*cuts().last().expect("there is a cut")));
    talk.browser.freeze_pages(false);
    talk.check_recovery("after sleep");
    // It sleeps, and wakes up elsewhere.
    talk.browser.freeze_pages(true);
    talk.network.cut(2);
    talk.network.come_from(3);
    std::thread::sleep(Duration::from_secs(3));
    talk.browser.freeze_pages(false);
    talk.check_recovery("after sleep, with a new address");
    talk.check_and_end(20);
}

#[test]
fn a_websocket_of_the_library_survives_cuts_new_addresses_and_sleep() {
    survives("websocket");
}

#[test]
fn an_event_stream_survives_cuts_new_addresses_and_sleep() {
    survives("sse");
}

#[test]
fn long_polls_survive_cuts_new_addresses_and_sleep() {
    survives("poll");
}
