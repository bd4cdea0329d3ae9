//! Much at once: whatever sleeps, fails or goes elsewhere, each order ends once and messages keep their order.

use crate::hub::{FRESH, Hub};
use std::collections::HashMap;

const SCRIPT: &str = r#"
local function act(conn, msg)
  local what, number = msg:match("^(%a+) (%d+)$")
  if what == "sleep" then kennel.sleep(number % 3 / 1000) end
  if what == "ask" then kennel.room("r"):count() end
  if what == "fail" then error("as ordered", 0) end
  conn:send(number)
end
app:channel("/a", { open = function() kennel.sleep(0.002) end, message = act, close = function() kennel.sleep(0.001) end })
app:channel("/b", function(conn)
  for msg in conn:messages() do act(conn, msg) end
  kennel.sleep(0.001)
end)"#;

#[test]
fn each_order_ends_once_and_in_its_connections_order() {
    let mut hub = Hub::new(SCRIPT);
    let mut random = 7_u64;
    let mut draw = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut connections = HashMap::new();
    // Serials that have not ended, with their connections.
    let mut open = HashMap::new();
    let mut last = 0;
    let mut sent: HashMap<u64, u64> = HashMap::new();
    let mut take = |hub: &mut Hub, open: &mut HashMap<u64, u64>| {
        let action = hub.next();
        let words: Vec<&str> = action.split(' ').collect();
        match words[0] {
            "done" | "skipped" => {
                let serial = words[1].parse().unwrap();
                assert!(open.remove(&serial).is_some(), "{action}");
            }
            "send" => {
                let (conn, number) = (words[1].parse().unwrap(), words[2].parse().unwrap());
                let before = sent.insert(conn, number).unwrap_or(0);
                assert!(before < number, "{action} after {before}");
            }
            "query" => hub.answer(words[1].parse().unwrap(), "1"),
            "close" | "log" => {}
            other => panic!("{other}"),
        }
    };
    for _ in 0..3000 {
        let conn = draw(30) + 1;
        let generation = connections.entry(conn).or_insert(conn);
        let number = *generation;
        if !open.values().any(|known| *known == number) && draw(20) == 0 || number < 100 {
            // What was there is replaced by the next connection.
            *generation += 100;
            last = hub.open(draw(2) as u32, *generation, &FRESH);
            open.insert(last, *generation);
            continue;
        }
        match draw(100) {
            0..3 => {
                last = hub.close(number, 1000, "");
                open.insert(last, number);
                *generation += 100;
                last = hub.open(draw(2) as u32, *generation, &FRESH);
                open.insert(last, *generation);
            }
            3..5 => hub.detach(number),
            kind => {
                let what = match kind {
                    5..25 => "sleep",
                    25..35 => "ask",
                    35..36 => "fail",
                    _ => "plain",
                };
                last = hub.message(number, &format!("{what} {}", last + 1));
                open.insert(last, number);
            }
        }
        while open.len() > 60 {
            take(&mut hub, &mut open);
        }
    }
    while !open.is_empty() {
        take(&mut hub, &mut open);
    }
    assert_eq!((hub.pulse().started, hub.pulse().running, hub.pulse().turn % 2), (last, 0, 0));
}
