//! Rooms, and connections of other workers.

use crate::hub::{FRESH, Hub};

#[test]
fn actions_on_rooms_leave_in_their_order() {
    let mut hub = Hub::new(
        r#"app:channel("/", { open = function(conn)
        local room = kennel.room("lobby")
        conn:join("lobby")
        room:send("hi", { except = conn })
        room:send({ a = 1 })
        room:send_binary("\255", { except = conn })
        conn:leave("lobby")
        room:close(1001, "night")
        room:close()
    end })"#,
    );
    hub.open(0, 3, &FRESH);
    hub.expect(&[
        "join 3 lobby",
        "publish lobby but 3 hi",
        r#"publish lobby but 0 {"a":1}"#,
        "publish lobby but 3 bytes [255]",
        "leave 3 lobby",
        "close room lobby 1001 night",
        "close room lobby 1000 ",
        "done 1",
    ]);
}

#[test]
fn questions_pause_the_handler_until_the_answer_comes() {
    let mut hub = Hub::new(
        r#"app:get("/", function() return "now " .. kennel.room("lobby"):count() end)
    app:channel("/", { message = function(conn, msg) conn:send(kennel.room(msg):count()) end })"#,
    );
    let job = hub.job();
    hub.expect(&["query 1 Count lobby"]);
    hub.open(0, 1, &FRESH);
    hub.message(1, "a");
    hub.message(1, "b");
    hub.expect(&["done 2", "query 2 Count a"]);
    hub.answer(2, "7");
    hub.expect(&["send 1 7", "done 3", "query 3 Count b"]);
    hub.answer(99, "nobody asked");
    hub.answer(1, "3");
    hub.expect(&[&format!("respond {job} 200 now 3")]);
    hub.answer(3, "0");
    hub.expect(&["send 1 0", "done 4"]);
    hub.stop();
}

#[test]
fn members_are_the_very_handles_or_handles_from_afar() {
    let mut hub = Hub::new(
        r#"app:channel("/", { message = function(conn)
        local near, far = unpack(kennel.room("lobby"):members())
        conn:send({ near == conn, far == conn, far.id, far.transport, tostring(far.request) })
        far:send("hello")
        far:send_binary("\1")
        far:join("x")
        far.data = { seen = true }
        conn:send({ far.data.name, far.data.name, unpack(far:rooms()) })
        kennel.room("lobby"):send("all", { except = far })
        far:close()
    end })"#,
    );
    hub.open(0, 1, &FRESH);
    hub.message(1, "");
    hub.expect(&["done 1", "query 1 Members lobby"]);
    hub.answer(1, r#"[[1,"id-1","websocket"],[4503599627370497,"far-1","json"]]"#);
    let far = "4503599627370497";
    hub.expect(&[
        r#"send 1 [true,false,"far-1","json","nil"]"#,
        &format!("send {far} hello"),
        &format!("send {far} bytes [1]"),
        &format!("join {far} x"),
        &format!(r#"data {far} {{"seen":true}}"#),
        &format!("query 2 Data {far}"),
    ]);
    hub.answer(2, r#"{"name":"Ann"}"#);
    hub.expect(&[&format!("query 3 Data {far}")]);
    hub.answer(3, r#"{"name":"Bob"}"#);
    hub.expect(&[&format!("query 4 Rooms {far}")]);
    hub.answer(4, r#"["y","x"]"#);
    hub.expect(&[
        r#"send 1 ["Ann","Bob","x","y"]"#,
        &format!("publish lobby but {far} all"),
        &format!("close {far} 1000 "),
        "done 2",
    ]);
}

#[test]
fn a_connection_is_found_by_its_id_wherever_it_is() {
    let mut hub = Hub::new(
        r#"app:get("/", function()
        local near, far, none = kennel.connection("id-1"), kennel.connection("far"), kennel.connection("none")
        near:send("near")
        far:send(tostring(next(far.data)))
        return tostring(none)
    end)
    app:channel("/", {})"#,
    );
    hub.open(0, 1, &FRESH);
    hub.job();
    hub.expect(&["done 1", "query 1 Connection far"]);
    hub.answer(1, r#"[8,"far","websocket"]"#);
    hub.expect(&["query 2 Connection none"]);
    hub.answer(2, "null");
    hub.expect(&["send 1 near", "query 3 Data 8"]);
    hub.answer(3, "null");
    hub.expect(&["send 8 nil", "respond 2 200 nil"]);
}

#[test]
fn questions_work_in_tasks_and_straight_line_code_and_at_the_end() {
    let mut hub = Hub::new(
        r#"app:channel("/", function(conn)
        conn:send(kennel.room("a"):count())
        conn:receive()
    end)
    app:stop(function() kennel.room("b"):send(kennel.room("b"):count()) end)"#,
    );
    hub.open(0, 1, &FRESH);
    hub.expect(&["done 1", "query 1 Count a"]);
    hub.answer(1, "5");
    hub.expect(&["send 1 5"]);
    hub.order_stop();
    hub.expect(&["query 2 Count b"]);
    hub.answer(2, "6");
    hub.expect(&["publish b but 0 6"]);
    hub.ended();
}
