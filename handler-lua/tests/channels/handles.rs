//! What a handle offers.

use crate::hub::{FRESH, Hub, Opening};

/// A channel whose message callback runs what it is sent, with `conn` and its results sent back.
const RUN: &str = r#"
app:channel("/", { message = function(conn, msg)
  local code = assert(loadstring("local conn, kennel = ... " .. msg, "=line"))
  local ok, value = pcall(code, conn, kennel)
  conn:send(tostring(value))
end })"#;

fn run(hub: &mut Hub, code: &str, expected: &[&str]) {
    let serial = hub.message(1, code);
    for expected in expected {
        assert_eq!(hub.next(), *expected, "{code}");
    }
    assert_eq!(hub.next(), format!("done {serial}"), "{code}");
}

#[test]
fn messages_are_texts_numbers_tables_and_bytes() {
    let mut hub = Hub::new(RUN);
    hub.open(0, 1, &FRESH);
    hub.expect(&["done 1"]);
    run(&mut hub, "return conn:send('é')", &["send 1 é", "send 1 true"]);
    run(&mut hub, "return conn:send(1.5)", &["send 1 1.5", "send 1 true"]);
    run(&mut hub, "return conn:send({ a = { 1 } })", &[r#"send 1 {"a":[1]}"#, "send 1 true"]);
    run(&mut hub, "return conn:send_binary('\\255')", &["send 1 bytes [255]", "send 1 true"]);
    let errors = [
        ("conn:send('\\255')", "conn:send: this string is not UTF-8; send_binary sends any bytes"),
        ("conn:send(nil)", "conn:send: a message is a string, a number or a table, not a nil"),
        ("conn:send(print)", "conn:send: a message is a string, a number or a table, not a function"),
        ("conn:send({ f = print })", "conn:send: cannot write JSON: a function has no JSON form at `f`"),
        ("conn:send_binary(1)", "conn:send_binary: bytes are a string"),
        ("conn.send('x')", "conn:send: write it with a colon, as in conn:send(message)"),
        ("conn.join('x')", "write conn:join(...), with a colon"),
        ("conn:close(1005)", close_code("1005").as_str()),
        ("conn:close(1010)", close_code("1010").as_str()),
        ("conn:close(1015)", close_code("1015").as_str()),
        ("conn:close(5000)", close_code("5000").as_str()),
        ("conn:close('x')", close_code("x").as_str()),
        ("conn:close(1000, ('x'):rep(124))", "conn:close: a reason has at most 123 bytes, not 124"),
        ("conn:join('')", "conn:join: a room's name has 1 to 255 bytes, not 0"),
        ("conn:leave(7)", "conn:leave: a room's name is a string, not a number"),
        ("kennel.room(('x'):rep(256))", "kennel.room: a room's name has 1 to 255 bytes, not 256"),
        (
            "kennel.room('x'):send('\\255')",
            "room:send: this string is not UTF-8; send_binary sends any bytes",
        ),
        (
            "kennel.room('x'):send('', { but = conn })",
            "room:send: there is no option `but`; there is `except`",
        ),
        ("kennel.room('x'):send('', { except = 1 })", "room:send: `except` is a connection, not a number"),
        (
            "conn:receive()",
            "conn:receive is for channels with straight-line code; here messages come to `message`",
        ),
        ("conn.id = 'x'", "conn.id belongs to Kennel and cannot be assigned"),
        ("conn.send = 'x'", "conn.send belongs to Kennel and cannot be assigned"),
        ("conn.data = print", "conn.data: cannot write JSON: a function has no JSON form"),
        ("conn.data = ('x'):rep(4095)", "conn.data holds at most 4096 bytes of JSON, and this is 4097"),
    ]
    .map(|(code, error)| (code.to_owned(), format!("send 1 line:1: {error}")));
    for (code, error) in &errors {
        run(&mut hub, &format!("{code} return nil"), &[error]);
    }
}

fn close_code(wrong: &str) -> String {
    format!(
        "conn:close: a close code is 1000 to 1003, 1007 to 1014 but not 1010, or 3000 to 4999, not {wrong}"
    )
}

#[test]
fn a_handle_knows_its_connection() {
    let mut hub = Hub::new(RUN);
    hub.open(0, 1, &Opening { rooms: &["b", "a"], ..FRESH });
    hub.expect(&["done 1"]);
    run(
        &mut hub,
        "return conn.id .. conn.transport .. tostring(conn.resumed)",
        &["send 1 id-1websocketfalse"],
    );
    run(&mut hub, "return conn.request.headers['X-One'] .. conn.request.path", &["send 1 two/chat/a%20b"]);
    run(&mut hub, "return conn.request.conn == conn and kennel.connection('id-1') == conn", &["send 1 true"]);
    run(&mut hub, "conn.mine = 7 return tostring(conn) .. conn.mine", &["send 1 connection id-17"]);
    run(&mut hub, "return conn.mine", &["send 1 7"]);
    run(&mut hub, "return conn:join('c'), conn:leave('a')", &["join 1 c", "leave 1 a", "send 1 true"]);
    run(&mut hub, "return table.concat(conn:rooms(), ' ')", &["send 1 b c"]);
}

#[test]
fn data_is_read_when_asked_for_and_sent_when_assigned() {
    let mut hub = Hub::new(RUN);
    hub.open(0, 1, &Opening { data: r#"{"name":"Ann","list":[1,2]}"#, ..FRESH });
    hub.expect(&["done 1"]);
    run(&mut hub, "return conn.data.name .. conn.data.list[2]", &["send 1 Ann2"]);
    run(&mut hub, "conn.data.name = 'Bob' return conn.data.name", &["send 1 Bob"]);
    run(&mut hub, "conn.data = conn.data return 1", &[r#"data 1 {"list":[1,2],"name":"Bob"}"#, "send 1 1"]);
    run(&mut hub, "conn.data = { 1 } return conn.data[1]", &["data 1 [1]", "send 1 1"]);
    run(&mut hub, "conn.data = nil return next(conn.data)", &["data 1 null", "send 1 nil"]);
    hub.open(0, 2, &FRESH);
    hub.expect(&["done 7"]);
    let serial = hub.message(2, "return type(conn.data) .. tostring(next(conn.data))");
    hub.expect(&["send 2 tablenil", &format!("done {serial}")]);
}

#[test]
fn nothing_is_sent_to_a_connection_that_was_closed_here() {
    let mut hub = Hub::new(RUN);
    hub.open(0, 1, &FRESH);
    hub.expect(&["done 1"]);
    hub.message(
        1,
        "kennel.room('r'):send({ conn:close(4000, 'bye'), conn:close(), conn:send('x'), conn:join('x') })",
    );
    hub.expect(&["close 1 4000 bye", "publish r but 0 [true,false,false,false]", "done 2"]);
    hub.message(1, "on its way");
    hub.close(1, 4000, "bye");
    hub.expect(&["done 3", "done 4"]);
}
