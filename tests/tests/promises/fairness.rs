use std::time::{Duration, Instant};
use tests::in_each_language;
use tests::language::{Language, Scripts};

in_each_language!(requests_take_turns_with_the_messages_of_a_busy_connection);
fn requests_take_turns_with_the_messages_of_a_busy_connection(language: Language) {
    let site = language
        .plan(Scripts {
            lua: r#"
local ffi = require "ffi"
ffi.cdef "int usleep(unsigned int)"
app:channel("/ws", { message = function(conn, msg) ffi.C.usleep(150000) conn:send(msg) end })
app:get("/fine", function() return "fine" end)
"#,
            python: r#"
            import time
            @app.channel("/ws")
            class Slow:
                def message(self, conn, msg):
                    time.sleep(0.15)
                    conn.send(msg)
            @app.get("/fine")
            def fine(req): return "fine"
            "#,
        })
        .behind_warm()
        .workers(1)
        .start();
    let (mut busy, mut other) = (site.websocket("/ws"), site.websocket("/ws"));
    for n in 0..1000 {
        busy.send(n.to_string());
    }
    assert_eq!(busy.read_text(), "0");
    let mut client = site.client();
    for _ in 0..4 {
        let begin = Instant::now();
        assert_eq!(client.get("/fine").text(), "fine");
        // One message, and those that the worker was given already; it took 30 s and was 504.
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    }
    let begin = Instant::now();
    assert_eq!(other.ask("turn"), "turn");
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert_eq!(busy.read_text(), "1", "its own messages stay in order");
}
