//! Requests that two servers could take for different ones: refused and closed, and nothing behind them is a request.

use super::*;

/// What would be the smuggled request.
const SECOND: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
const LAST: &str = "0\r\n\r\n";

/// What came of some bytes that a client sends in these pieces: the paths that handlers got, with the sizes of their
/// bodies, and the status of the server's own answer.
fn sent(bytes: &[u8], piece: usize, settings: &[(&str, &str)]) -> (Vec<String>, Option<String>) {
    let mut run = Run::plain(settings);
    let client = run.accept();
    for piece in bytes.chunks(piece) {
        run.receive(client, piece);
        if !run.messages.is_empty()
            && run.front.has(client)
            && settings.iter().any(|(key, _)| *key == "upload.stream")
        {
            run.reply(b"m2 3:X 1, 28:3:ctl,18:7:credits,5:99999#}]");
        }
    }
    let path = |message: &String| message.split(' ').nth(2).unwrap().to_owned();
    let mut paths: Vec<_> = run.messages().iter().map(path).collect();
    // How many parts a body has depends on the pieces.
    paths.dedup();
    // Whatever handlers were told of is answered.
    for _ in 0..4 {
        run.reply(b"m2 1:1, HTTP/1.1 204 No Content\r\n\r\n");
    }
    let written = run.written(client).escape_ascii().to_string();
    let own = written.split("HTTP/1.1 ").find(|part| !part.is_empty() && !part.starts_with("204"));
    let status = own.map(|part| part[..3].to_owned());
    assert_eq!(status.is_some(), run.closed.len() == 1 && !written.is_empty(), "{written}");
    (paths, status)
}

fn in_pieces(bytes: &[u8], settings: &[(&str, &str)]) -> (Vec<String>, Option<String>) {
    let whole = sent(bytes, bytes.len(), settings);
    for piece in [1, 2, 3, 7, 16, 61] {
        let cut = sent(bytes, piece, settings);
        assert_eq!(cut, whole, "in pieces of {piece}: {}", bytes.escape_ascii());
    }
    whole
}

/// Heads that are refused, without their blank line.
fn broken_heads() -> Vec<String> {
    let post = |lines: &str| format!("POST /first HTTP/1.1\r\nHost: a\r\n{lines}");
    let mut heads: Vec<String> = [
        // CL.TE and TE.CL.
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 6\r\nTransfer-Encoding: identity\r\n",
        "Content-Length: 6\r\nTransfer-Encoding: cow\r\n",
        // TE.TE.
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\ntransfer-encoding: x\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: 'chunked'\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunkedx\r\n",
        "Transfer-Encoding: chunk\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding: chunked\x0b\r\n",
        "Transfer-Encoding: \x0cchunked\r\n",
        "Transfer-Encoding: chunked\0\r\n",
        "Transfer-Encoding:\x00chunked\r\n",
        "Transfer-Encoding: \u{a0}chunked\r\n",
        "Transfer-Encoding: \x7fchunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Transfer-Encoding:\r\n\tchunked\r\n",
        "Transfer-Encoding: x\r\n chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        "Transfer-Encoding\x0b: chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "\tTransfer-Encoding: chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
        "X: y\r\n\rTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\n",
        "Transfer-Encoding: chunked\r\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding\r\n",
        // Lengths.
        "Content-Length: 6\r\nContent-Length: 6\r\n",
        "Content-Length: 6\r\nContent-Length: 5\r\n",
        "Content-Length: 0\r\ncontent-length: 6\r\n",
        "Content-Length: 6, 6\r\n",
        "Content-Length: 6,\r\n",
        "Content-Length: +6\r\n",
        "Content-Length: -6\r\n",
        "Content-Length: -0\r\n",
        "Content-Length: 0x6\r\n",
        "Content-Length: 6x\r\n",
        "Content-Length: 6 6\r\n",
        "Content-Length: 6.0\r\n",
        "Content-Length: 6e0\r\n",
        "Content-Length: 1_0\r\n",
        "Content-Length: \"6\"\r\n",
        "Content-Length: \u{0666}\r\n",
        "Content-Length: 4294967302000000000000\r\n",
        "Content-Length: 18446744073709551622\r\n",
        "Content-Length: 9223372036854775808\r\n",
        "Content-Length:\r\n",
        "Content-Length: \r\n",
        "Content-Length\r\n",
        "Content-Length : 6\r\n",
        "Content-Length:\r\n 6\r\n",
        "Content-Length: 6\r\n 0\r\n",
        "Content-Length: \x0b6\r\n",
        "Content-Length: 6\0\r\n",
        "\0Content-Length: 6\r\n",
        // Lines.
        "A: b\rc\r\n",
        "A: b\0c\r\n",
        "A: b\n",
        "A\r\n",
        ": b\r\n",
        "A b: c\r\n",
        "A(: c\r\n",
        "\u{e9}: c\r\n",
        // Hosts.
        "Host: b\r\n",
        "host: a\r\n",
    ]
    .map(post)
    .into();
    for host in ["a b", "a,\tb", "a/b", "b@a", "a\\b", "a?b", "a#b", "\u{e9}", "<a>", "a\0"] {
        heads.push(format!("POST /first HTTP/1.1\r\nHost: {host}\r\n"));
    }
    for first in [
        "POST /first HTTP/1.0\r\nTransfer-Encoding: chunked",
        "POST /first HTTP/0.9",
        "POST /first HTTP/2.0",
        "POST /first HTTP/1.2",
        "POST /first HTTP/1.10",
        "POST /first HTTP/01.1",
        "POST /first HTTP/1.1 ",
        "POST /first http/1.1",
        "POST /first",
        "GET /first",
        "POST  /first HTTP/1.1",
        "POST /first  HTTP/1.1",
        "POST\t/first HTTP/1.1",
        "POST\x0b/first HTTP/1.1",
        " POST /first HTTP/1.1",
        "POST /first /second HTTP/1.1",
        "post /first HTTP/1.1",
        "POST /first HTTP/1.1\rA: b",
        "POST http:///first\x01 HTTP/1.1",
        "POST 1http://a/first HTTP/1.1",
        "POST first HTTP/1.1",
        "POST \\first HTTP/1.1",
        "\n\nPOST /first HTTP/1.1",
        "\rPOST /first HTTP/1.1",
        "\0POST /first HTTP/1.1",
        "\u{feff}POST /first HTTP/1.1",
    ] {
        heads.push(format!("{first}\r\n"));
    }
    heads
}

#[test]
fn heads_that_could_be_read_in_two_ways_are_refused_and_nothing_follows_them() {
    for settings in [&[][..], &[("upload.stream", "1")]] {
        for head in broken_heads() {
            for body in ["", LAST, "6\r\nabcdef\r\n0\r\n\r\n", "abcdef"] {
                let bytes = format!("{head}\r\n{body}{SECOND}{SECOND}");
                let (paths, status) = in_pieces(bytes.as_bytes(), settings);
                assert_eq!((paths, status.as_deref()), (Vec::new(), Some("400")), "{bytes:?}");
            }
        }
    }
}

#[test]
fn requests_before_a_broken_one_are_kept_and_none_behind_it() {
    for head in broken_heads() {
        let bytes = format!("GET /before HTTP/1.1\r\nHost: a\r\n\r\n{head}\r\n{LAST}{SECOND}");
        let (paths, status) = in_pieces(bytes.as_bytes(), &[]);
        assert_eq!((paths, status.as_deref()), (vec!["/before".to_owned()], Some("400")), "{bytes:?}");
    }
}

#[test]
fn chunks_that_could_be_read_in_two_ways_end_the_connection_and_nothing_follows_them() {
    for body in [
        "6;a=b\r\nabcdef\r\n",
        "6;\r\nabcdef\r\n",
        "6;a=\"\r\n\"\r\nabcdef\r\n",
        "6\nabcdef\r\n",
        "6\rabcdef\r\n",
        "6\r\nabcdef\n",
        "6\r\nabcdef\r",
        "6\r\nabcdefg\r\n",
        "6\r\nabcdef",
        "6\r\nabcde\r\n",
        "6 \r\nabcdef\r\n",
        " 6\r\nabcdef\r\n",
        "\t6\r\nabcdef\r\n",
        "+6\r\nabcdef\r\n",
        "-6\r\nabcdef\r\n",
        "0x6\r\nabcdef\r\n",
        "6g\r\nabcdef\r\n",
        "\r\n6\r\nabcdef\r\n",
        "10000000000000006\r\nabcdef\r\n",
        "fffffffffffffffa\r\nabcdef\r\n",
        "6\0\r\nabcdef\r\n",
        "\u{ff16}\r\nabcdef\r\n",
        "0\r\nGET /smuggled HTTP/1.1\r\n\r\n",
        "0\r\n\n",
        "0\n\r\n",
        "0\r\r\n\r\n",
        "0\r\nA : b\r\n\r\n",
        "0\r\nA: b\n\r\n",
        "0\r\n A: b\r\n\r\n",
        "00;\r\n\r\n",
    ] {
        let bytes = format!("POST /first HTTP/1.1\r\nHost: a\r\n{CHUNKED}\r\n{body}{LAST}{SECOND}");
        let (paths, _) = in_pieces(bytes.as_bytes(), &[("upload.stream", "1")]);
        assert!(!paths.iter().any(|path| path.contains("smuggled")), "{body:?}: {paths:?}");
        assert!(paths.iter().any(|path| path == "@*"), "{body:?}: the handler hears of the end: {paths:?}");
    }
}

#[test]
fn what_has_one_meaning_only_is_taken() {
    let get = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for (lines, body) in [
        ("Content-Length: 6\r\n", "abcdef"),
        ("Content-Length:6\r\n", "abcdef"),
        ("content-length: \t6 \t\r\n", "GET / "),
        ("Content-Length: 00006\r\n", "abcdef"),
        ("Content-Length: 35\r\n", get),
        ("Content-Length: 0\r\n", ""),
        ("", ""),
        ("Content_Length: 6\r\nTransfer_Encoding: chunked\r\n", ""),
        ("Transfer-Encoding: chunked\r\n", "6\r\nabcdef\r\n0\r\n\r\n"),
        ("transfer-ENCODING:\tCHUNKED\t\r\n", "0\r\n\r\n"),
        (
            "Transfer-Encoding: chunked\r\n",
            "23\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n\r\n00\r\nX: y\r\n\r\n",
        ),
    ] {
        for first in ["POST /first", "GET /first", "POST http://b/first", "DELETE /first"] {
            let bytes = format!(
                "\r\n{first} HTTP/1.1\r\nHost: a\r\n{lines}\r\n{body}\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n"
            );
            let (paths, status) = in_pieces(bytes.as_bytes(), &[("upload.stream", "1")]);
            let first = if first.contains("://") { "//b/first" } else { "/first" };
            assert_eq!((paths, status), (vec![first.to_owned(), "/next".to_owned()], None), "{bytes:?}");
        }
    }
}
