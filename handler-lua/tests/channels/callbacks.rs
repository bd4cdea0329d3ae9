//! open, message and close as callbacks.

use crate::hub::{FRESH, Hub, RESUMED};

const CHAT: &str = r#"
app:channel("/chat/{name}", {
  open = function(conn) conn:send("welcome " .. conn.request.params.name .. " " .. conn.transport) end,
  message = function(conn, msg)
    if msg == "slow" then kennel.sleep(0.05) end
    if msg == "boom" then
      error("no such thing")
    end
    conn:send((conn.binary and #msg or msg))
  end,
  close = function(conn, code, reason) kennel.room("log"):send(conn.id .. " " .. code .. " " .. reason) end,
})"#;

#[test]
fn callbacks_run_and_each_order_is_done_behind_what_it_did() {
    let mut hub = Hub::new(CHAT);
    let open = hub.open(0, 9, &crate::hub::Opening { params: &["a%20b"], ..FRESH });
    hub.expect(&["send 9 welcome a b websocket", &format!("done {open}")]);
    hub.message(9, "hi");
    hub.binary(9, b"\xff\0");
    hub.expect(&["send 9 hi", "done 2", "send 9 2", "done 3"]);
    hub.close(9, 1001, "bye");
    hub.expect(&["publish log but 0 id-9 1001 bye", "done 4"]);
    hub.message(9, "late");
    hub.close(9, 1000, "twice");
    hub.expect(&["done 5", "done 6"]);
    hub.stop();
}

#[test]
fn a_callback_that_fails_is_logged_with_its_line_and_closes_its_connection_only() {
    let mut hub = Hub::new(CHAT);
    hub.open(0, 1, &RESUMED);
    hub.open(0, 2, &RESUMED);
    hub.expect(&["done 1", "done 2"]);
    hub.message(1, "boom");
    hub.message(1, "after");
    hub.message(2, "hi");
    let log = hub.next();
    assert!(log.starts_with("log the message callback of channel `/chat/{name}` ("), "{log}");
    assert!(log.contains("app.lua:2) failed: ") && log.contains("app.lua:7: no such thing"), "{log}");
    assert!(log.contains("\n    ") && !log.contains("[kennel]"), "{log}");
    hub.expect(&["close 1 1011 internal error", "done 3", "done 4", "send 2 hi", "done 5"]);
    hub.close(1, 1011, "internal error");
    hub.expect(&["publish log but 0 id-1 1011 internal error", "done 6"]);
}

#[test]
fn failures_in_open_and_close_are_logged_too() {
    let mut hub = Hub::new(
        r#"app:channel("@x", {
        open = function(conn) return error("in open") end,
        close = function(conn) return conn.request.nothing.here end,
    })"#,
    );
    hub.open(0, 1, &FRESH);
    let log = hub.next();
    assert!(log.contains("the open callback of channel `@x`") && log.contains("in open"), "{log}");
    hub.expect(&["close 1 1011 internal error", "done 1"]);
    hub.close(1, 1011, "");
    assert!(hub.next().contains("app.lua:3: attempt to index"));
    hub.expect(&["done 2"]);
}

#[test]
fn a_coroutine_that_is_lost_costs_its_connection_only() {
    let mut hub = Hub::new(
        r#"app:channel("/", {
        message = function(conn, msg) if msg == "lose" then coroutine.yield() end conn:send(msg) end,
        close = function(conn) kennel.room("r"):send("closed") end,
    })"#,
    );
    hub.open(0, 1, &FRESH);
    hub.open(0, 2, &FRESH);
    hub.message(1, "lose");
    hub.message(1, "x");
    hub.message(2, "y");
    hub.close(1, 1011, "");
    hub.expect(&["done 1", "done 2"]);
    assert!(hub.next().contains("coroutine.yield"));
    hub.expect(&["close 1 1011 internal error", "done 3", "done 4", "send 2 y", "done 5"]);
    hub.expect(&["publish r but 0 closed", "done 6"]);
    hub.stop();
}

#[test]
fn a_connection_that_comes_from_another_worker_does_not_open_again() {
    let mut hub = Hub::new(
        r#"app:channel("/", {
        open = function(conn) conn:send("opened") end,
        message = function(conn) conn:send(tostring(conn.resumed)) end,
    })"#,
    );
    hub.open(0, 1, &RESUMED);
    hub.message(1, "");
    hub.open(0, 2, &FRESH);
    hub.message(2, "");
    hub.expect(&["done 1", "send 1 true", "done 2", "send 2 opened", "done 3", "send 2 false", "done 4"]);
}

#[test]
fn what_the_hub_took_back_is_skipped() {
    let mut hub = Hub::new(CHAT);
    hub.open(0, 1, &RESUMED);
    hub.expect(&["done 1"]);
    hub.revoke(4);
    hub.message(1, "a");
    hub.open(0, 2, &FRESH);
    hub.close(1, 1000, "");
    hub.message(1, "b");
    hub.expect(&["skipped 2", "skipped 3", "skipped 4", "send 1 b", "done 5"]);
    let pulse = hub.pulse();
    assert_eq!((pulse.started, pulse.running, pulse.turn % 2), (5, 0, 0));
}

#[test]
fn a_detached_connection_is_forgotten_without_a_word() {
    let mut hub = Hub::new(CHAT);
    hub.open(0, 1, &RESUMED);
    hub.message(1, "slow");
    hub.message(1, "waits");
    hub.detach(1);
    hub.expect(&["done 1", "skipped 3", "send 1 slow", "done 2"]);
    hub.message(1, "x");
    hub.close(1, 1000, "");
    hub.expect(&["done 4", "done 5"]);
    hub.stop();
}

#[test]
fn a_worker_that_stops_waits_for_callbacks_that_run() {
    let mut hub = Hub::new(CHAT);
    hub.open(0, 1, &RESUMED);
    hub.message(1, "slow");
    hub.message(1, "next");
    hub.expect(&["done 1"]);
    hub.order_stop();
    hub.expect(&["send 1 slow", "done 2", "send 1 next", "done 3"]);
    hub.ended();
}

#[test]
fn the_page_says_which_message_runs() {
    let mut hub = Hub::new(
        r#"app:channel("/", { message = function(conn, msg)
        if msg == "sleep" then kennel.sleep(0.02) return end
        local enough = os.clock() + 0.3
        while os.clock() < enough do end
    end })"#,
    );
    hub.open(0, 1, &FRESH);
    hub.message(1, "sleep");
    hub.message(1, "work");
    hub.expect(&["done 1"]);
    std::thread::sleep(std::time::Duration::from_millis(150));
    let pulse = hub.pulse();
    assert_eq!((pulse.started, pulse.running, pulse.turn % 2), (3, 3, 1));
    hub.expect(&["done 2", "done 3"]);
    hub.expect_silence();
    assert_eq!(hub.pulse().turn % 2, 0);
}

#[test]
fn a_connection_that_takes_all_memory_is_closed_and_others_live_on() {
    let script = r#"
    local function eat()
        local all = {}
        while true do all[#all + 1] = ("x"):rep(1e5) .. #all end
    end
    app:channel("/a", { message = function(conn, msg) if msg == "eat" then eat() end conn:send(msg) end })
    app:channel("/b", function(conn) for msg in conn:messages() do if msg == "eat" then eat() end end end)"#;
    let mut hub = Hub::with_memory(script, 16 << 20);
    hub.open(0, 1, &FRESH);
    hub.open(1, 2, &FRESH);
    hub.open(0, 3, &FRESH);
    hub.expect(&["done 1", "done 2", "done 3"]);
    for (conn, serial) in [(1, 4), (2, 6)] {
        hub.message(conn, "eat");
        let log = hub.next();
        assert!(log.contains("not enough memory"), "{log}");
        hub.expect(&[&format!("close {conn} 1011 internal error"), &format!("done {serial}")]);
        hub.message(3, "alive");
        hub.expect(&["send 3 alive", &format!("done {}", serial + 1)]);
    }
    for conn in 1..=3 {
        hub.close(conn, 1000, "");
    }
    hub.expect(&["done 8", "done 9", "done 10"]);
    hub.stop();
}
