//! Orders and actions to bytes.

use super::{Action, Handler, Open, Start};
use serde::Serialize;
use std::time::Duration;

/// Appends one frame, whose payload `fill` writes.
fn frame(out: &mut Vec<u8>, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    let size_at = out.len();
    out.extend_from_slice(&[0; 4]);
    fill(out);
    let size = u32::try_from(out.len() - size_at - 4).expect("frames are far below 4 GiB");
    out[size_at..size_at + 4].copy_from_slice(&size.to_le_bytes());
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    let size = u32::try_from(bytes.len()).expect("fields are far below 4 GiB");
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(bytes);
}

fn json(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("these types are always JSON");
}

/// Appends a [`Order::Start`](super::Order::Start).
pub fn encode_start(out: &mut Vec<u8>, start: &Start) {
    frame(out, 1, |out| json(out, start));
}

/// Appends a [`Order::Job`](super::Order::Job).
pub fn encode_job<'p>(
    out: &mut Vec<u8>,
    serial: u64,
    handler: Handler,
    conn: &str,
    params: impl Iterator<Item = &'p [u8]>,
    spool: &[u8],
    message: &[u8],
) {
    frame(out, 2, |out| {
        out.extend_from_slice(&serial.to_le_bytes());
        out.extend_from_slice(&handler.to_number().to_le_bytes());
        field(out, conn.as_bytes());
        list(out, params);
        field(out, spool);
        out.extend_from_slice(message);
    });
}

/// Appends a [`Order::Lead`](super::Order::Lead).
pub fn encode_lead(out: &mut Vec<u8>) {
    frame(out, 3, |_| {});
}

/// Appends a [`Order::Stop`](super::Order::Stop): how long work may take from now on, and stop hooks after that.
pub fn encode_stop(out: &mut Vec<u8>, work: Duration, hooks: Duration) {
    frame(out, 4, |out| {
        for time in [work, hooks] {
            let milliseconds = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
            out.extend_from_slice(&milliseconds.to_le_bytes());
        }
    });
}

/// Appends fields in a row, preceded by their size.
fn list<'p>(out: &mut Vec<u8>, values: impl Iterator<Item = &'p [u8]>) {
    let size_at = out.len();
    out.extend_from_slice(&[0; 4]);
    values.for_each(|value| field(out, value));
    let size = (out.len() - size_at - 4) as u32;
    out[size_at..size_at + 4].copy_from_slice(&size.to_le_bytes());
}

/// Appends an [`Order::Open`](super::Order::Open), with `rooms` and `params` in place of those of `open`.
pub fn encode_open<'p>(
    out: &mut Vec<u8>,
    open: &Open<'_>,
    rooms: impl Iterator<Item = &'p [u8]>,
    params: impl Iterator<Item = &'p [u8]>,
) {
    frame(out, 5, |out| {
        out.extend_from_slice(&open.serial.to_le_bytes());
        out.extend_from_slice(&open.conn.to_le_bytes());
        out.extend_from_slice(&open.handler.to_le_bytes());
        out.push(u8::from(open.fresh) | u8::from(open.resumed) << 1 | u8::from(open.asked) << 2);
        field(out, open.transport.as_bytes());
        field(out, open.name);
        field(out, open.data);
        list(out, rooms);
        list(out, params);
        out.extend_from_slice(open.message);
    });
}

/// Appends an [`Order::Message`](super::Order::Message).
pub fn encode_message(out: &mut Vec<u8>, serial: u64, conn: u64, binary: bool, payload: &[u8]) {
    frame(out, 6, |out| {
        out.extend_from_slice(&serial.to_le_bytes());
        out.extend_from_slice(&conn.to_le_bytes());
        out.push(u8::from(binary));
        out.extend_from_slice(payload);
    });
}

/// Appends an [`Order::Close`](super::Order::Close).
pub fn encode_close(out: &mut Vec<u8>, serial: u64, conn: u64, code: u16, reason: &[u8]) {
    frame(out, 7, |out| {
        out.extend_from_slice(&serial.to_le_bytes());
        out.extend_from_slice(&conn.to_le_bytes());
        out.extend_from_slice(&code.to_le_bytes());
        out.extend_from_slice(reason);
    });
}

/// Appends an [`Order::Detach`](super::Order::Detach).
pub fn encode_detach(out: &mut Vec<u8>, conn: u64) {
    frame(out, 8, |out| out.extend_from_slice(&conn.to_le_bytes()));
}

/// Appends an [`Order::Answer`](super::Order::Answer).
pub fn encode_answer(out: &mut Vec<u8>, query: u64, json: &[u8]) {
    frame(out, 9, |out| {
        out.extend_from_slice(&query.to_le_bytes());
        out.extend_from_slice(json);
    });
}

/// Appends an [`Order::Evaluate`](super::Order::Evaluate).
pub fn encode_evaluate(out: &mut Vec<u8>, query: u64, code: &[u8]) {
    frame(out, 12, |out| {
        out.extend_from_slice(&query.to_le_bytes());
        out.extend_from_slice(code);
    });
}

/// Appends an [`Order::Taken`](super::Order::Taken).
pub fn encode_taken(out: &mut Vec<u8>, serial: u64, bytes: u32) {
    frame(out, 10, |out| {
        out.extend_from_slice(&serial.to_le_bytes());
        out.extend_from_slice(&bytes.to_le_bytes());
    });
}

/// Appends an [`Order::Gone`](super::Order::Gone).
pub fn encode_gone(out: &mut Vec<u8>, serial: u64) {
    frame(out, 11, |out| out.extend_from_slice(&serial.to_le_bytes()));
}

/// Appends a [`Order::Part`](super::Order::Part).
pub fn encode_part(out: &mut Vec<u8>, serial: u64, last: bool, bytes: &[u8]) {
    frame(out, 13, |out| {
        out.extend_from_slice(&serial.to_le_bytes());
        out.push(u8::from(last));
        out.extend_from_slice(bytes);
    });
}

/// Appends a [`Order::Grown`](super::Order::Grown).
pub fn encode_grown(out: &mut Vec<u8>, serial: u64, whole: bool, size: u64) {
    frame(out, 14, |out| {
        out.extend_from_slice(&serial.to_le_bytes());
        out.push(u8::from(whole));
        out.extend_from_slice(&size.to_le_bytes());
    });
}

/// Appends an action's frame.
pub fn encode_action(out: &mut Vec<u8>, action: &Action<'_>) {
    match action {
        Action::Ready(registration) => frame(out, 1, |out| json(out, registration)),
        Action::Failed(failure) => frame(out, 2, |out| json(out, failure)),
        Action::Respond { serial, status, head, body } => frame(out, 3, |out| {
            out.extend_from_slice(&serial.to_le_bytes());
            out.extend_from_slice(&status.to_le_bytes());
            field(out, head);
            out.extend_from_slice(body);
        }),
        Action::Done { serial } => frame(out, 4, |out| out.extend_from_slice(&serial.to_le_bytes())),
        Action::Skipped { serial } => frame(out, 5, |out| out.extend_from_slice(&serial.to_le_bytes())),
        Action::Pass { serial, worker, status, head, body } => frame(out, 25, |out| {
            out.extend_from_slice(&serial.to_le_bytes());
            out.extend_from_slice(&worker.to_le_bytes());
            out.extend_from_slice(&status.to_le_bytes());
            field(out, head);
            out.extend_from_slice(body);
        }),
        Action::Deliver { sender, ids, payload } => frame(out, 6, |out| {
            field(out, sender.as_bytes());
            field(out, ids.0);
            out.extend_from_slice(payload);
        }),
        Action::Disconnect { sender, ids } => frame(out, 7, |out| {
            field(out, sender.as_bytes());
            out.extend_from_slice(ids.0);
        }),
        Action::Log { level, serial, text, fields } => frame(out, 8, |out| {
            out.push(*level as u8);
            out.extend_from_slice(&serial.to_le_bytes());
            field(out, text);
            out.extend_from_slice(fields);
        }),
        Action::Send { conn, binary, payload } => frame(out, 9, |out| {
            out.extend_from_slice(&conn.to_le_bytes());
            out.push(u8::from(*binary));
            out.extend_from_slice(payload);
        }),
        Action::CloseConn { conn, code, reason } => frame(out, 10, |out| {
            out.extend_from_slice(&conn.to_le_bytes());
            out.extend_from_slice(&code.to_le_bytes());
            out.extend_from_slice(reason);
        }),
        Action::Join { conn, room } => frame(out, 11, |out| {
            out.extend_from_slice(&conn.to_le_bytes());
            out.extend_from_slice(room);
        }),
        Action::Leave { conn, room } => frame(out, 12, |out| {
            out.extend_from_slice(&conn.to_le_bytes());
            out.extend_from_slice(room);
        }),
        Action::Publish { except, binary, room, payload } => frame(out, 13, |out| {
            out.extend_from_slice(&except.to_le_bytes());
            out.push(u8::from(*binary));
            field(out, room);
            out.extend_from_slice(payload);
        }),
        Action::CloseRoom { code, room, reason } => frame(out, 14, |out| {
            out.extend_from_slice(&code.to_le_bytes());
            field(out, room);
            out.extend_from_slice(reason);
        }),
        Action::SetData { conn, json } => frame(out, 15, |out| {
            out.extend_from_slice(&conn.to_le_bytes());
            out.extend_from_slice(json);
        }),
        Action::Query { query, question, subject } => frame(out, 16, |out| {
            out.extend_from_slice(&query.to_le_bytes());
            out.push(*question as u8);
            out.extend_from_slice(subject);
        }),
        Action::Evaluated { query, ok, text } => frame(out, 23, |out| {
            out.extend_from_slice(&query.to_le_bytes());
            out.push(u8::from(*ok));
            out.extend_from_slice(text);
        }),
        Action::Begin { serial, status, head } => frame(out, 17, |out| {
            out.extend_from_slice(&serial.to_le_bytes());
            out.extend_from_slice(&status.to_le_bytes());
            out.extend_from_slice(head);
        }),
        Action::Piece { serial, bytes } => frame(out, 18, |out| {
            out.extend_from_slice(&serial.to_le_bytes());
            out.extend_from_slice(bytes);
        }),
        Action::Want { serial, bytes } => frame(out, 24, |out| {
            out.extend_from_slice(&serial.to_le_bytes());
            out.extend_from_slice(&bytes.to_le_bytes());
        }),
        Action::End { serial } => frame(out, 19, |out| out.extend_from_slice(&serial.to_le_bytes())),
        Action::Abort { serial } => frame(out, 20, |out| out.extend_from_slice(&serial.to_le_bytes())),
        Action::Accept { conn, protocol, head } => frame(out, 21, |out| {
            out.extend_from_slice(&conn.to_le_bytes());
            field(out, protocol.as_bytes());
            out.extend_from_slice(head);
        }),
        Action::Refuse { conn, status, head, body } => frame(out, 22, |out| {
            out.extend_from_slice(&conn.to_le_bytes());
            out.extend_from_slice(&status.to_le_bytes());
            field(out, head);
            out.extend_from_slice(body);
        }),
    }
}

/// Conn ids as the bytes of [`Ids`](super::Ids).
pub fn encode_ids(ids: impl IntoIterator<Item = i64>) -> Vec<u8> {
    ids.into_iter().flat_map(i64::to_le_bytes).collect()
}
