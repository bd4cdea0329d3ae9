//! Trouble by the hundred, with clients that count: code is replaced; workers, hubs and servers are killed; clients
//! stall.
//!
//! These run one after the other, since their figures are about time. Each prints what it counted
//! (`cargo test -p tests --test chaos -- --nocapture`), which is what the README says.

mod crowd;
mod front_kills;
mod memory;
mod overload;
mod reloads;
mod server_pauses;
mod server_restarts;
mod stalled;
mod visitors;
mod worker_kills;

use std::io::ErrorKind;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tests::language::{Language, Scripts};
use tests::site::Site;
use tests::websocket::{FIN, PING, PONG, TEXT, WebSocket};

/// What the crowd and the visitors talk to; `/tell` says something to all in the room,
/// `/tap` a megabyte to those of `/flood`.
const APP: Scripts<'_> = Scripts {
    lua: r#"
app:channel("/live", {
  open = function(conn) conn.data = { name = conn.request.args.name } conn:join("all") end,
  message = function(conn, text) conn:send(conn.data.name .. " " .. text) end,
  close = function(conn, code) print("[close " .. conn.data.name .. " " .. code .. "]") end,
})
app:channel("/tell", {
  message = function(conn, text) kennel.room("all"):send("said " .. text) conn:send("told " .. text) end,
})
app:channel("/flood", { open = function(conn) conn:join("flood") end })
app:channel("/tap", {
  message = function(conn) kennel.room("flood"):send(("x"):rep(1000000)) conn:send("ran") end,
})
app:get("/page/{number}", function(req, number) return number end)
app:get("/slow/{number}", function(req, number)
  local e = os.clock() + 0.01
  while os.clock() < e do end
  return number
end)
"#,
    python: r#"
@app.channel("/live")
class Live:
    def open(self, conn):
        conn.data = {"name": conn.request.args["name"]}
        conn.join("all")
    def message(self, conn, text):
        conn.send(conn.data["name"] + " " + text)
    def close(self, conn, code, reason):
        print(f"[close {conn.data['name']} {code}]")
@app.channel("/tell")
class Tell:
    def message(self, conn, text):
        kennel.room("all").send("said " + text)
        conn.send("told " + text)
@app.channel("/flood")
class Flood:
    def open(self, conn):
        conn.join("flood")
@app.channel("/tap")
class Tap:
    def message(self, conn, text):
        kennel.room("flood").send("x" * 1000000)
        conn.send("ran")
@app.get("/page/{number}")
def page(req, number):
    return number
@app.get("/slow/{number}")
def slow(req, number):
    import time
    end = time.process_time() + 0.01
    while time.process_time() < end:
        pass
    return number
"#,
};

/// Whether these are to last as long as the promises say.
fn is_long() -> bool {
    std::env::var_os("KENNEL_LONG").is_some()
}

/// How often the same is done: 100 times, in Python only with `KENNEL_LONG`, since its workers take long to start.
fn times(language: Language) -> usize {
    match language {
        Language::Python if !is_long() => 25,
        _ => 100,
    }
}

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Keeps the others from running meanwhile.
fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who says something to all members of the room, and whether it is certain that it was said.
struct Teller {
    socket: WebSocket,
    said: Vec<(u32, bool)>,
}

impl Teller {
    fn new(site: &Site) -> Self {
        let mut socket = site.websocket("/tell");
        socket.set_patience(Duration::from_secs(2));
        Self { socket, said: Vec::new() }
    }

    /// How many were said for certain.
    fn certain(&self) -> usize {
        self.said.iter().filter(|(_, is_certain)| *is_certain).count()
    }

    /// Says the next number. Without an answer the worker may have died before it said it, or after.
    fn tell(&mut self) {
        let number = self.said.len() as u32 + 1;
        self.socket.send(number.to_string());
        let told = format!("told {number}").into_bytes();
        let is_certain = loop {
            match self.socket.try_read_frame() {
                Ok(frame) if frame.opcode() == PING => self.socket.send_frame(FIN | PONG, frame.payload),
                Ok(frame) if frame.payload == told => break true,
                // The answer to one that was given up.
                Ok(frame) => assert_eq!(frame.opcode(), TEXT, "{frame:?}"),
                Err(problem) => {
                    assert_eq!(problem.kind(), ErrorKind::WouldBlock, "the teller's connection ended");
                    break false;
                }
            }
        };
        self.said.push((number, is_certain));
    }
}
