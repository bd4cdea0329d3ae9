//! Bodies: inside their message, in files, and in parts.

use super::*;

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /up HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}").into_bytes()
}

/// The body of a message, and what the server says of an upload.
fn short(messages: Vec<String>) -> Vec<String> {
    let short = |message: String| {
        let told = ["UPLOAD_STREAM_DONE", "x-mongrel2-upload-done", "x-mongrel2-upload-start"];
        let told: Vec<_> = told.into_iter().filter(|name| message.contains(name)).collect();
        let body = message.rsplit_once('}').map_or("", |(_, body)| body);
        format!("{body} {}", told.join(" ")).trim_end().to_owned()
    };
    messages.into_iter().map(short).collect()
}

fn grant(id: u32, bytes: u32) -> Vec<u8> {
    use mongrel2_wire::{ConnId, Sender, Targets, reply};
    let (mut out, id) = (Vec::new(), ConnId::try_from(i64::from(id)).unwrap());
    let order = reply::Control::UploadCredits(bytes);
    reply::encode_control(&mut out, &Sender::new("m2cap-t").unwrap(), Targets::one(&id), order);
    out
}

#[test]
fn a_body_inside_its_message_may_arrive_in_any_pieces() {
    let request = post("Content-Length: 5\r\n", "hello");
    for size in 1..request.len() {
        let mut run = Run::plain(&[]);
        let client = run.accept();
        request.chunks(size).for_each(|piece| run.receive(client, piece));
        assert_eq!(short(run.messages()), ["5:hello,"], "{size}");
    }
}

#[test]
fn a_larger_body_goes_to_a_file_and_the_handler_hears_of_its_begin_and_end() {
    let mut run = Run::plain(&[("limits.content_length", "4"), ("upload.temp_store", "/tmp/m.XXXXXX")]);
    let client = run.accept();
    run.receive(client, &post("Content-Length: 5\r\n", "hel"));
    assert_eq!((run.effects(), run.messages().len()), (vec!["create".to_owned()], 0));
    run.front.upload_created(client, Ok("/tmp/m.1".into()), run.now);
    run.settle();
    assert_eq!(short(run.messages()), ["0:, x-mongrel2-upload-start"]);
    assert_eq!(run.effects(), ["append hel"]);
    run.receive(client, b"loGET /next HTTP/1.1\r\n\r\n");
    assert_eq!((run.effects(), run.messages().len()), (vec!["append lo".to_owned(), "finish".to_owned()], 0));
    run.front.upload_finished(client, Ok(()), run.now);
    run.settle();
    assert_eq!(short(run.messages()), ["0:, x-mongrel2-upload-done x-mongrel2-upload-start", "0:,"]);
}

#[test]
fn a_file_that_cannot_be_made_or_written_is_a_503_and_the_handler_hears_of_it() {
    let mut run = Run::plain(&[("limits.content_length", "4"), ("upload.temp_store", "/tmp/m.XXXXXX")]);
    let client = run.accept();
    run.receive(client, &post("Content-Length: 5\r\n", "hello"));
    run.front.upload_created(client, Err(io::ErrorKind::StorageFull.into()), run.now);
    assert!(run.written(client).starts_with(b"HTTP/1.1 503 "));
    assert_eq!((run.messages().len(), run.closed.len()), (0, 1));

    let client = run.accept();
    run.receive(client, &post("Content-Length: 5\r\n", "hello"));
    run.front.upload_created(client, Ok("/tmp/m.1".into()), run.now);
    run.settle();
    run.effects();
    run.front.upload_failed(client, io::ErrorKind::StorageFull.into(), run.now);
    assert!(run.written(client).starts_with(b"HTTP/1.1 503 "));
    assert_eq!(run.effects(), ["remove"]);
    assert!(run.messages()[1].contains("disconnect"));
}

#[test]
fn a_client_that_leaves_or_a_handler_that_closes_during_an_upload_removes_the_file() {
    for is_client in [true, false] {
        let mut run = Run::plain(&[("limits.content_length", "4"), ("upload.temp_store", "/tmp/m.XXXXXX")]);
        let client = run.accept();
        run.receive(client, &post("Content-Length: 5\r\n", "hel"));
        run.front.upload_created(client, Ok("/tmp/m.1".into()), run.now);
        run.settle();
        run.effects();
        run.messages();
        if is_client {
            run.front.end_of_input(client, run.now);
        } else {
            run.reply(b"m2cap-t 1:1, ");
        }
        run.settle();
        assert_eq!(run.effects(), ["remove"]);
        // The handler that closes knows.
        assert_eq!((run.messages().len(), run.closed.len()), (usize::from(is_client), 1));
    }
}

#[test]
fn an_upload_that_came_whole_reaches_its_handler_although_its_client_has_left() {
    let mut run = Run::plain(&[("limits.content_length", "4"), ("upload.temp_store", "/tmp/m.XXXXXX")]);
    let client = run.accept();
    run.receive(client, &post("Content-Length: 5\r\n", "hello"));
    run.front.end_of_input(client, run.now);
    run.front.upload_created(client, Ok("/tmp/m.1".into()), run.now);
    run.settle();
    run.front.upload_finished(client, Ok(()), run.now);
    run.settle();
    assert!(!run.effects().contains(&"remove".into()));
    let messages = run.messages();
    assert!(
        messages[1].contains("x-mongrel2-upload-done") && messages[2].contains("disconnect"),
        "{messages:?}"
    );
    assert_eq!((messages.len(), run.closed.len()), (3, 1));
}

#[test]
fn without_a_place_for_it_a_larger_body_is_refused() {
    for headers in ["Content-Length: 20481\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut run = Run::plain(&[]);
        let client = run.accept();
        run.receive(client, &post(headers, ""));
        assert!(run.written(client).starts_with(b"HTTP/1.1 413 "), "{headers}");
    }
}

#[test]
fn a_streamed_body_goes_out_as_it_is_granted() {
    let mut run = Run::plain(&[("limits.content_length", "4"), ("upload.stream", "1")]);
    let client = run.accept();
    run.receive(client, &post("Content-Length: 11\r\n", "hello"));
    assert_eq!(short(run.messages()), ["4:hell,"]);
    run.reply(&grant(1, 3));
    assert_eq!(short(run.messages()), ["1:o,"]);
    run.receive(client, b", world GET");
    assert_eq!(short(run.messages()), ["2:, ,"]);
    run.reply(&grant(1, 100));
    assert_eq!(short(run.messages()), ["4:worl, UPLOAD_STREAM_DONE"]);
}

#[test]
fn a_streamed_body_that_nobody_grants_stops_the_client_and_its_end_is_noticed() {
    let mut run = Run::plain(&[("upload.stream", "1")]);
    let client = run.accept();
    run.receive(client, &post("Content-Length: 1000000\r\n", ""));
    assert!(run.front.wants_input(client));
    run.receive(client, &[b'x'; 65_536]);
    assert!(!run.front.wants_input(client));
    run.messages();
    run.reply(&grant(1, 60_000));
    assert_eq!((run.messages().len(), run.effects()), (3, vec!["read again".to_owned()]));
    run.front.lost(client);
    run.settle();
    assert!(run.messages()[0].contains("disconnect"));
}

#[test]
fn a_client_that_expects_it_is_told_to_go_on() {
    let mut run = Run::plain(&[]);
    let client = run.accept();
    run.receive(client, &post("Content-Length: 2\r\nExpect: 100-Continue\r\n", ""));
    assert_eq!(run.written(client), b"HTTP/1.1 100 Continue\r\n\r\n");
    run.receive(client, b"ok");
    assert_eq!(short(run.messages()), ["2:ok,"]);
    let client = run.accept();
    run.receive(client, &post("Content-Length: 2\r\nExpect: more\r\n", ""));
    assert!(run.written(client).starts_with(b"HTTP/1.1 417 "));
}
