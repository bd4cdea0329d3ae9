//! Replies of handlers: whom they reach, and what becomes of wrong ones.

use super::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn one_reply_reaches_all_its_targets_and_unknown_ones_bring_a_notice() {
    let mut run = Run::plain(&[]);
    let clients: Vec<_> = (0..3).map(|_| run.accept()).collect();
    clients.iter().for_each(|client| run.receive(*client, GET));
    run.messages();
    run.reply(b"m2cap-t 7:1 9 3 1, hi");
    assert_eq!(
        clients.iter().map(|client| run.written(*client)).collect::<Vec<_>>(),
        [&b"hihi"[..], b"", b"hi"]
    );
    assert_eq!(run.messages(), ["m2cap-t 9 @* 16:6:METHOD,4:JSON,}21:{\\\"type\\\":\\\"disconnect\\\"},"]);
}

#[test]
fn a_reply_that_cannot_be_read_is_counted_and_holds_nothing_up() {
    let mut run = Run::plain(&[("limits.handler_targets", "2")]);
    let client = run.accept();
    run.receive(client, GET);
    for reply in [&b"nonsense"[..], b"m2 1:1,x", b"m2 5:1 1 1, x", b"m2 3:X 1, x", b""] {
        run.reply(reply);
    }
    assert_eq!((run.front.counters().malformed, run.written(client)), (5, Vec::new()));
    run.reply(b"m2 1:1, x");
    assert_eq!(run.written(client), b"x");
}

#[test]
fn a_client_that_reads_nothing_is_cut_off_by_bytes_and_the_others_are_not() {
    let mut run = Run::plain(&[]);
    let (reader, stuck) = (run.accept(), run.accept());
    run.receive(reader, GET);
    run.receive(stuck, GET);
    run.messages();
    let reply = [&b"m2 3:1 2, "[..], &[b'x'; 1024]].concat();
    for _ in 0..1026 {
        run.reply(&reply);
        run.written(reader);
    }
    assert_eq!((run.front.counters().overflowed, &run.closed[..]), (1, &[stuck][..]));
    assert!(run.messages()[0].starts_with("m2cap-t 2 @*"));
}

#[test]
fn sixteen_replies_of_any_size_may_wait() {
    let mut run = Run::plain(&[]);
    let client = run.accept();
    run.receive(client, GET);
    let reply = [&b"m2 1:1, "[..], &[b'x'; 1 << 20]].concat();
    (0..17).for_each(|_| run.reply(&reply));
    assert_eq!((run.closed.len(), run.written(client).len()), (0, 17 << 20));
}

#[test]
fn one_reply_of_any_size_goes_out_whole() {
    let mut run = Run::plain(&[]);
    let client = run.accept();
    run.receive(client, GET);
    run.reply(&[&b"m2 1:1, "[..], &[b'x'; 5 << 20]].concat());
    run.reply(b"m2 1:1, ");
    assert_eq!((run.written(client).len(), run.closed.len()), (5 << 20, 1));
}

#[test]
fn credits_follow_what_was_written() {
    let mut run = Run::new(Protocol::Json, &[("download.flow_control", "1")]);
    let client = run.accept();
    run.receive(client, GET);
    run.receive(client, b"@chat {}\0");
    let messages = run.messages();
    assert!(messages[0].contains("DOWNLOAD_CREDITS\\\":\\\"102400") && !messages[1].contains("CREDITS"));
    run.reply(b"m2 1:1, abc");
    assert_eq!(run.messages().len(), 0);
    // Bytes as the client gets them: base64.
    assert_eq!(run.written(client), b"YWJj");
    let credits = "m2cap-j 1 @* 40:{\\\"METHOD\\\":\\\"JSON\\\",\\\"DOWNLOAD_CREDITS\\\":\\\"4\\\"},18:{\\\"type\\\":\\\"credits\\\"},";
    assert_eq!(run.messages(), [credits]);
}

#[test]
fn sockets_get_base64_from_handlers_without_raw_payload() {
    let mut run = Run::plain(&[]);
    let client = run.accept();
    run.receive(client, b"@chat {}\0@raw {}\0");
    assert_eq!(run.messages().len(), 2);
    run.front.handle_reply(HandlerId(1), b"m2 1:1, raw\0", run.now);
    run.reply(b"m2 1:1, abc\0");
    assert_eq!(run.written(client), b"raw\0YWJj");
}

#[test]
fn a_handler_without_room_holds_its_requests_and_no_others() {
    let mut run = Run::plain(&[]);
    let (client, other) = (run.accept(), run.accept());
    run.front.set_congested(HandlerId(0), true, run.now);
    run.receive(client, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    run.receive(other, b"GET /raw HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(run.messages().len(), 1);
    // The client's request waits, and it may even shut its side down.
    run.receive(client, &[b'x'; 65_536]);
    assert!(!run.front.wants_input(client));
    run.front.end_of_input(client, run.now);
    run.front.set_congested(HandlerId(0), false, run.now);
    run.settle();
    assert_eq!(run.messages().len(), 1);
}

#[test]
fn cancel_drops_what_is_queued() {
    let mut run = Run::plain(&[]);
    let client = run.accept();
    run.receive(client, GET);
    run.messages();
    run.reply(b"m2 1:1, abc");
    run.reply(b"m2 3:X 1, 26:3:ctl,16:6:cancel,4:true!}]");
    assert_eq!((run.closed.len(), run.messages().len(), run.front.len()), (1, 0, 0));
}
