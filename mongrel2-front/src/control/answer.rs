//! From a request to its answer.

use super::request::{Refusal, Request};
use super::table::{refusal, single, table};
use super::{ConnectionRow, Order, Running};
use mongrel2_conf::model::Server;
use mongrel2_wire::tnetstring::Value;

/// What can be asked, and what it does, in Mongrel2's order and words.
const HELP: [(&str, &str); 10] = [
    ("stop", "stop the server (SIGINT)"),
    ("reload", "reload the server"),
    ("help", "this command"),
    ("control_stop", "stop control port"),
    ("kill", "kill a connection"),
    ("status", "status, what=['net'|'tasks']"),
    ("terminate", "terminate the server (SIGTERM)"),
    ("time", "the server's time"),
    ("uuid", "the server's uuid"),
    ("info", "information about this server"),
];

const INFO: [&str; 8] =
    ["port", "bind_addr", "uuid", "chroot", "access_log", "error_log", "pid_file", "default_hostname"];

const NET: [&str; 8] =
    ["id", "fd", "type", "last_ping", "last_read", "last_write", "bytes_read", "bytes_written"];

const TASKS: [&str; 5] = ["id", "system", "name", "state", "status"];

const SIGNALLED: &str = "signal sent to server";

/// The reply to a request, and what the server is to do once it has sent it. `now`: seconds since 1970.
pub(crate) fn answer(request: &[u8], running: &mut dyn Running, now: i64) -> (Vec<u8>, Option<Order>) {
    match answered(request, running, now) {
        Ok(answer) => answer,
        Err(why) => (refusal(why), None),
    }
}

fn answered(
    request: &[u8],
    running: &mut dyn Running,
    now: i64,
) -> Result<(Vec<u8>, Option<Order>), Refusal> {
    let request = Request::parse(request)?;
    let ordered = |text, order| Ok((single("msg", text), Some(order)));
    let reply = match request.name {
        b"stop" => return ordered(SIGNALLED, Order::Stop),
        b"reload" => return ordered(SIGNALLED, Order::Reload),
        b"terminate" => return ordered(SIGNALLED, Order::Terminate),
        b"control_stop" => return ordered("stopping the control port", Order::CloseControlPort),
        b"help" => help(),
        b"kill" => match running.kill(request.id("id")?) {
            true => single("status", "OK"),
            false => return Err(Refusal::InvalidArgument),
        },
        b"status" => match request.text("what")? {
            b"net" => net(&running.connections()),
            b"tasks" => tasks(),
            _ => return Err(Refusal::UnknownStatus),
        },
        b"time" => single("time", &now.to_string()),
        b"uuid" => single("uuid", &running.server().uuid),
        b"info" => info(running.server()),
        _ => return Err(Refusal::NotFound),
    };
    Ok((reply, None))
}

fn text(text: &str) -> Value<'_> {
    Value::Bytes(text.as_bytes())
}

/// What is beyond the protocol's numbers is the largest of them.
fn number(number: u64) -> Value<'static> {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn help() -> Vec<u8> {
    table(&["name", "help"], HELP.iter().map(|(name, help)| vec![text(name), text(help)]).collect())
}

fn info(server: &Server) -> Vec<u8> {
    let row = vec![
        Value::Int(server.port.into()),
        text(&server.bind_addr),
        text(&server.uuid),
        text(&server.chroot),
        text(&server.access_log),
        text(&server.error_log),
        text(&server.pid_file),
        text(&server.default_host),
    ];
    table(&INFO, vec![row])
}

/// Mongrel2's tasks are coroutines, several for each connection. Here one loop does everything: the rows say for what.
fn tasks() -> Vec<u8> {
    let row = |(id, name): (i64, &'static str)| {
        vec![Value::Int(id), Value::Bool(true), text(name), text("one loop for all"), text("runs")]
    };
    table(&TASKS, [(1, "server"), (2, "control")].map(row).to_vec())
}

fn net(connections: &[ConnectionRow]) -> Vec<u8> {
    let row = |row: &ConnectionRow| {
        vec![
            Value::Int(row.id),
            Value::Int(row.fd),
            Value::Int(row.kind.into()),
            number(row.last_ping),
            number(row.last_read),
            number(row.last_write),
            number(row.bytes_read),
            number(row.bytes_written),
        ]
    };
    table(&NET, connections.iter().map(row).collect())
}
