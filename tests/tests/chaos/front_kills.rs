//! The front outlives its hub, and nothing of a killed front reaches the clients of the next one.

use crate::crowd::Crowd;
use crate::visitors::Visitors;
use crate::{alone, is_long};
use std::time::{Duration, Instant};
use tests::client::{Client, get};
use tests::process;
use tests::server::{Front, Mongrel2, Setup};
use tests::site::Site;
use tests::wait;
use tests::websocket::WebSocket;

/// `/late` answers when the server that asked is gone, and `/drip` is a response that still goes on then.
const APP: &str = r#"
app:channel("/live", {
  open = function(conn) conn.data = { name = conn.request.args.name } conn:join("all") end,
  message = function(conn, text) conn:send(conn.data.name .. " " .. text) end,
  close = function(conn, code) print("[close " .. conn.data.name .. " " .. code .. "]") end,
})
app:get("/page/{number}", function(req, number) return number end)
app:get("/late/{number}", function(req, number) kennel.sleep(0.3) return number end)
app:get("/drip/{name}", function(req, name)
  return kennel.stream(function(send) for _ = 1, 100 do send(name .. ";") kennel.sleep(0.01) end end)
end)
"#;

fn front() -> Mongrel2 {
    Mongrel2::start(Setup::default().by(Front::Kennel).tnetstring().flow_control())
}

/// Reads what a WebSocket is sent, up to the answer to `last`. Everything has to be its own.
fn hear(socket: &mut WebSocket, name: &str, last: &str) -> Result<(), String> {
    let last = format!("{name} {last}");
    loop {
        let frame = socket.try_read_frame().map_err(|problem| format!("{name}: {problem}"))?;
        let text = String::from_utf8_lossy(&frame.payload).into_owned();
        match () {
            () if text == last => return Ok(()),
            () if text.starts_with(&format!("{name} ")) => {}
            () => return Err(format!("{name} got {frame:?}")),
        }
    }
}

#[test]
fn a_killed_hub_disconnects_no_websocket_from_the_front() {
    let _alone = alone();
    let (kills, count) = if is_long() { (100, 500) } else { (5, 100) };
    let server = front();
    let start = || Site::plan(APP).behind(&server).start();
    let mut site = start();
    let mut sockets: Vec<_> =
        (0..count).map(|number| site.websocket(&format!("/live?name=m{number}"))).collect();
    let mut longest = Duration::ZERO;
    for kill in 1..=kills {
        // What is under way when the hub dies may be lost, nothing else.
        for socket in &mut sockets {
            socket.send(format!("before {kill}"));
        }
        let workers = site.workers();
        process::kill(site.hub());
        let begin = Instant::now();
        drop(site);
        for socket in &mut sockets {
            socket.send(format!("while {kill}"));
        }
        site = start();
        for (number, socket) in sockets.iter_mut().enumerate() {
            socket.send(format!("after {kill}"));
            hear(socket, &format!("m{number}"), &format!("after {kill}"))
                .unwrap_or_else(|problem| panic!("kill {kill}: {problem}"));
        }
        longest = longest.max(begin.elapsed());
        wait::until("the workers are gone", || !workers.iter().any(|pid| process::is_alive(*pid)));
    }
    assert_eq!(site.log().count("[close "), 0);
    println!(
        "{kills} kills of the hub with {count} WebSockets: 0 disconnected by the front, 0 misdelivered; all served again \
         within {longest:.0?}"
    );
}

/// How each connection of one run began: its number among the others is its id in the front.
struct Run {
    sockets: Vec<WebSocket>,
    drips: Vec<Client>,
    lates: Vec<Client>,
}

impl Run {
    /// All of them wait for something, in this run or the next one.
    fn begin(site: &Site, run: usize, each: usize) -> Self {
        let sockets =
            (0..each).map(|number| site.websocket(&format!("/live?name=s{run}x{number}"))).collect();
        let ask = |path: &str, number: usize| {
            let mut client = site.client();
            client.send(get(&format!("/{path}/{run}x{number}")));
            client
        };
        let mut drips: Vec<_> = (0..each).map(|number| ask("drip", number)).collect();
        let lates = (0..each).map(|number| ask("late", number)).collect();
        for (number, client) in drips.iter_mut().enumerate() {
            assert_eq!(client.read_head().status, 200);
            assert_eq!(client.read_chunk(), format!("{run}x{number};"));
        }
        Self { sockets, drips, lates }
    }

    /// Reads to the end of all that was asked: all of it belongs to this run.
    fn end(mut self, run: usize) {
        for (number, socket) in self.sockets.iter_mut().enumerate() {
            socket.send("end");
            hear(socket, &format!("s{run}x{number}"), "end").unwrap_or_else(|problem| panic!("{problem}"));
        }
        for (number, client) in self.lates.iter_mut().enumerate() {
            assert_eq!(client.read().text(), format!("{run}x{number}"));
        }
        for (number, client) in self.drips.iter_mut().enumerate() {
            let mut seen = 1;
            loop {
                let text = client.read_chunk();
                if text.is_empty() {
                    break;
                }
                // Several may come in one chunk.
                let own = format!("{run}x{number};");
                assert_eq!(text, own.repeat(text.len() / own.len()), "{run}x{number}");
                seen += text.len() / own.len();
            }
            assert_eq!(seen, 100);
        }
    }

    /// Reads what is left of connections whose server was killed: only their own.
    fn cut_off(self, run: usize) {
        for (number, mut client) in self.drips.into_iter().enumerate() {
            while let Ok(chunk) = client.try_read_chunk() {
                let text = String::from_utf8_lossy(&chunk).into_owned();
                let own = format!("{run}x{number};");
                assert_eq!(text, own.repeat(text.len() / own.len()), "{run}x{number}");
            }
        }
        for (number, mut client) in self.lates.into_iter().enumerate() {
            if let Ok(response) = client.try_read() {
                assert_eq!(response.text(), format!("{run}x{number}"));
            }
        }
        for (number, mut socket) in self.sockets.into_iter().enumerate() {
            while let Ok(frame) = socket.try_read_frame() {
                let text = String::from_utf8_lossy(&frame.payload).into_owned();
                assert!(text.starts_with(&format!("s{run}x{number} ")), "s{run}x{number} got {frame:?}");
            }
        }
    }
}

#[test]
fn nothing_of_a_killed_front_reaches_the_clients_of_the_next_one() {
    let _alone = alone();
    let kills = if is_long() { 20 } else { 4 };
    const EACH: usize = 30;
    let mut server = front();
    let site = Site::plan(APP).behind(&server).start();
    let (mut answered, mut visited, mut cut) = (0, 0, 0);
    let mut back = Duration::ZERO;
    let mut run = Run::begin(&site, 0, EACH);
    for kill in 1..=kills {
        let crowd = Crowd::gather(site.port(), 100, Duration::from_millis(20));
        let visitors = Visitors::come_to("late", site.port(), 16);
        wait::until("the crowd talks", || crowd.answered() > 300);
        server.kill();
        let begin = Instant::now();
        server.start_again();
        assert_eq!(site.get("/page/0").text(), "0");
        back = back.max(begin.elapsed());
        // Ids begin at 1 again: these have the ids of those for which the hub has replies.
        let next = Run::begin(&site, kill, EACH);
        std::mem::replace(&mut run, next).cut_off(kill - 1);
        let tally = crowd.part(0);
        let visits = visitors.go();
        assert_eq!(
            (tally.ended.len(), tally.twice, &tally.misdelivered),
            (100, 0, &Vec::new()),
            "kill {kill}"
        );
        assert!(visits.wrong.is_empty() && visits.died == 0, "kill {kill}: {:?}", visits.wrong);
        answered += tally.answered;
        visited += visits.right.len();
        cut += visits.cut;
    }
    run.end(kills);
    println!(
        "{kills} kills of the front: {answered} questions and {visited} requests answered, {cut} requests cut off, 0 \
         misdelivered; served again within {back:.0?}"
    );
}
