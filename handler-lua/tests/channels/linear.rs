//! Linear channels: straight-line code.

use crate::hub::{FRESH, Hub, RESUMED};

const ECHO: &str = r#"
app:channel("/echo", function(conn)
  if conn.resumed then conn:send("again") end
  for msg in conn:messages() do
    if msg == "slow" then kennel.sleep(0.05) end
    if msg == "boom" then error("no such thing") end
    if msg == "return" then return end
    conn:send(msg .. (conn.binary and "!" or ""))
  end
  kennel.room("log"):send(conn.id .. " " .. conn.close_code .. " " .. conn.close_reason)
end)"#;

#[test]
fn a_loop_over_messages_ends_with_the_connection() {
    let mut hub = Hub::new(ECHO);
    assert!(hub.registration().channels[0].straight);
    hub.open(0, 1, &FRESH);
    hub.message(1, "a");
    hub.binary(1, b"b");
    hub.expect(&["done 1", "send 1 a", "done 2", "send 1 b!", "done 3"]);
    hub.close(1, 1001, "bye");
    hub.expect(&["publish log but 0 id-1 1001 bye", "done 4"]);
    hub.message(1, "late");
    hub.expect(&["done 5"]);
    hub.stop();
}

#[test]
fn code_that_returns_closes_and_code_that_fails_does_with_1011() {
    let mut hub = Hub::new(ECHO);
    hub.open(0, 1, &FRESH);
    hub.open(0, 2, &FRESH);
    hub.message(1, "return");
    hub.expect(&["done 1", "done 2", "close 1 1000 ", "done 3"]);
    hub.message(2, "boom");
    let log = hub.next();
    assert!(
        log.contains("the code of channel `/echo` (") && log.contains("app.lua:6: no such thing"),
        "{log}"
    );
    hub.expect(&["close 2 1011 internal error", "done 4"]);
    hub.message(1, "ignored");
    hub.close(1, 1000, "");
    hub.close(2, 1011, "");
    hub.expect(&["done 5", "done 6", "done 7"]);
    hub.stop();
}

#[test]
fn code_starts_again_from_its_top_in_another_worker() {
    let mut hub = Hub::new(ECHO);
    hub.open(0, 1, &RESUMED);
    hub.expect(&["send 1 again", "done 1"]);
    hub.detach(1);
    hub.message(1, "x");
    hub.expect(&["done 2"]);
    hub.open(0, 1, &RESUMED);
    hub.message(1, "slow");
    hub.message(1, "b");
    hub.detach(1);
    hub.expect(&["send 1 again", "done 3", "skipped 5", "send 1 slow", "done 4"]);
    hub.expect_silence();
    hub.stop();
}

#[test]
fn opening_is_done_at_the_first_pause_and_waiting_holds_no_worker() {
    let mut hub = Hub::new(
        r#"app:channel("/", function(conn)
        conn:send("first")
        kennel.sleep(0.02)
        conn:send("second")
        conn:receive()
    end)"#,
    );
    hub.open(0, 1, &FRESH);
    hub.expect(&["send 1 first", "done 1", "send 1 second"]);
    hub.stop();
}

#[test]
fn receive_gives_up_after_its_time() {
    let mut hub = Hub::new(
        r#"app:channel("/", function(conn)
        while true do
            local msg, why = conn:receive(0.03)
            if not msg then
                conn:send(tostring(why))
                if not why then return end
                break
            end
            conn:send(msg)
        end
        conn:send(tostring(conn:receive(60)))
        kennel.room("r"):send(tostring(conn:receive()))
    end)"#,
    );
    hub.open(0, 1, &FRESH);
    hub.message(1, "a");
    hub.expect(&["done 1", "send 1 a", "done 2", "send 1 timeout"]);
    hub.message(1, "b");
    hub.expect(&["send 1 b", "done 3"]);
    hub.close(1, 1000, "");
    hub.expect(&["publish r but 0 nil", "done 4"]);
    hub.stop();
}

#[test]
fn code_that_only_sends_notices_the_end_and_a_stop_waits_for_it() {
    let mut hub = Hub::new(
        r#"app:channel("/", function(conn)
        while conn:send("tick") do kennel.sleep(0.05) end
        kennel.room("r"):send("over")
    end)"#,
    );
    hub.open(0, 1, &FRESH);
    hub.expect(&["send 1 tick", "done 1", "send 1 tick"]);
    hub.close(1, 1006, "");
    hub.order_stop();
    hub.expect(&["publish r but 0 over", "done 2"]);
    hub.ended();
}

#[test]
fn a_task_may_send_and_its_own_coroutines_may_read() {
    let mut hub = Hub::new(
        r#"app:channel("/", function(conn)
        kennel.spawn(function() conn:send("from a task") end)
        local read = coroutine.wrap(function() while true do coroutine.yield(conn:receive()) end end)
        conn:send(read() .. read())
    end)"#,
    );
    hub.open(0, 1, &FRESH);
    hub.expect(&["done 1", "send 1 from a task"]);
    hub.message(1, "a");
    hub.message(1, "b");
    hub.expect(&["done 2", "send 1 ab", "close 1 1000 ", "done 3"]);
}

#[test]
fn only_one_waits_for_messages_and_what_a_task_waits_for_ends_with_the_code() {
    let mut hub = Hub::new(
        r#"app:channel("/", function(conn)
        kennel.spawn(function() conn:send(tostring(conn:receive())) end)
        kennel.sleep(0.02)
        local ok, problem = pcall(function() local msg = conn:receive() end)
        conn:send(problem)
    end)"#,
    );
    hub.open(0, 1, &FRESH);
    hub.expect(&["done 1"]);
    let error = hub.next();
    let expected = "app.lua:4: conn:receive: something else waits for this connection's messages already";
    assert!(error.ends_with(expected), "{error}");
    hub.expect(&["close 1 1000 "]);
    hub.close(1, 1000, "");
    hub.expect(&["done 2"]);
    hub.stop();
}
