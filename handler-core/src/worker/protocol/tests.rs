use super::contract::full_actions;
use super::*;

#[test]
fn a_job_arrives_as_it_was_sent() {
    let mut bytes = Vec::new();
    let values = [&b"a%20b"[..], b""];
    encode_job(&mut bytes, 7, Handler::Route(3), "0.1.9", values.into_iter(), b"/spool/a", b"raw");
    let (kind, payload, rest) = split_frame(&bytes).unwrap();
    assert!(rest.is_empty());
    match Order::read(kind, payload).unwrap() {
        Order::Job { serial: 7, handler: Handler::Route(3), conn, params, spool, message } => {
            assert_eq!(params.collect::<Vec<_>>(), values);
            assert_eq!((conn, spool, message), (&b"0.1.9"[..], &b"/spool/a"[..], &b"raw"[..]));
        }
        other => panic!("{other:?}"),
    }
    for end in 0..payload.len() - 3 {
        assert!(Order::read(kind, &payload[..end]).is_err(), "{end}");
    }
}

#[test]
fn orders_about_live_connections_arrive_as_they_were_sent() {
    let rooms = [&b"lobby"[..], b"x"];
    let open = Open {
        serial: 4,
        conn: 9,
        handler: 2,
        fresh: true,
        resumed: false,
        asked: true,
        transport: "json",
        name: b"boot-0.1.9",
        data: b"{}",
        rooms: Params(b""),
        params: Params(b""),
        message: b"raw",
    };
    let mut bytes = Vec::new();
    encode_open(&mut bytes, &open, rooms.into_iter(), [].into_iter());
    let (kind, payload, _) = split_frame(&bytes).unwrap();
    let Ok(Order::Open(read)) = Order::read(kind, payload) else { panic!("no open") };
    assert_eq!(read.rooms.collect::<Vec<_>>(), rooms);
    assert_eq!(Open { rooms: open.rooms, ..read }, open);
    for end in 0..payload.len() - 3 {
        assert!(Order::read(kind, &payload[..end]).is_err(), "{end}");
    }

    let mut bytes = Vec::new();
    encode_message(&mut bytes, 5, 9, true, b"\xff");
    encode_close(&mut bytes, 6, 9, 1006, b"gone");
    encode_detach(&mut bytes, 9);
    encode_answer(&mut bytes, 1, b"[]");
    encode_taken(&mut bytes, 1 << 40, u32::MAX);
    encode_gone(&mut bytes, 7);
    encode_evaluate(&mut bytes, 3, b"1 + 1");
    encode_part(&mut bytes, 8, true, b"abc");
    encode_grown(&mut bytes, 9, false, 1 << 40);
    let mut rest = &bytes[..];
    let mut orders = Vec::new();
    while let Some((kind, payload, after)) = split_frame(rest) {
        orders.push(Order::read(kind, payload).unwrap());
        rest = after;
    }
    let expected = [
        Order::Message { serial: 5, conn: 9, binary: true, payload: b"\xff" },
        Order::Close { serial: 6, conn: 9, code: 1006, reason: b"gone" },
        Order::Detach { conn: 9 },
        Order::Answer { query: 1, json: b"[]" },
        Order::Taken { serial: 1 << 40, bytes: u32::MAX },
        Order::Gone { serial: 7 },
        Order::Evaluate { query: 3, code: b"1 + 1" },
        Order::Part { serial: 8, last: true, bytes: b"abc" },
        Order::Grown { serial: 9, whole: false, size: 1 << 40 },
    ];
    assert_eq!(orders, expected);
}

#[test]
fn every_action_survives_the_round_trip_and_no_prefix_panics() {
    let ids = encode_ids([1, -1, i64::MAX]);
    for action in full_actions(Ids::new(&ids)) {
        let mut bytes = Vec::new();
        encode_action(&mut bytes, &action);
        let (kind, payload, _) = split_frame(&bytes).unwrap();
        assert_eq!(Action::read(kind, payload), Ok(action));
        for end in 0..bytes.len() {
            assert!(split_frame(&bytes[..end]).is_none());
        }
        for end in 0..payload.len() {
            let _ = Action::read(kind, &payload[..end]);
        }
    }
}

#[test]
fn a_refusal_is_an_answer_and_no_upgrade() {
    for status in [0, 101, 199, 1000] {
        let mut bytes = Vec::new();
        encode_action(&mut bytes, &Action::Refuse { conn: 3, status, head: b"", body: b"" });
        let (kind, payload, _) = split_frame(&bytes).unwrap();
        let expected = ProtocolError::BadField { kind: 22, field: "status" };
        assert_eq!(Action::read(kind, payload), Err(expected), "{status}");
    }
}

#[test]
fn a_channel_that_says_nothing_about_handshakes_does_not_ask() {
    let mut spec = serde_json::to_value(ChannelSpec::default()).unwrap();
    spec.as_object_mut().unwrap().remove("asks");
    assert_eq!(serde_json::from_value::<ChannelSpec>(spec).unwrap(), ChannelSpec::default());
}

#[test]
fn a_batch_is_whole_or_not_there() {
    let bytes = [3, 0, 0, 0, 9, 0, 0, 0, 1, 2, 3, 4];
    assert_eq!(split_batch(&bytes), Ok(Some((9, &[1, 2, 3][..], &[4][..]))));
    assert_eq!(split_batch(&bytes[..10]), Ok(None));
    assert!(split_batch(&[0xff; 8]).is_err());
}
