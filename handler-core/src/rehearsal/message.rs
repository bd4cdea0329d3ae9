//! Messages as a Mongrel2 with `protocol='tnetstring'` writes them.

use mongrel2_wire::netstring;

/// Names and values.
pub(super) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The ident of the made-up server, as that of Kennel's own Mongrel2.
pub(super) const SENDER: &str = "kennel";

/// A message: headers that come several times are lists.
pub(super) fn message(id: u32, path: &[u8], headers: &[(Vec<u8>, Vec<u8>)], body: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    for (at, (name, value)) in headers.iter().enumerate() {
        if headers[..at].iter().any(|(earlier, _)| earlier == name) {
            continue;
        }
        netstring::encode(&mut block, name);
        let same: Vec<_> = headers[at..].iter().filter(|(other, _)| other == name).collect();
        if same.len() == 1 {
            netstring::encode(&mut block, value);
            continue;
        }
        let mut list = Vec::new();
        same.iter().for_each(|(_, value)| netstring::encode(&mut list, value));
        block.extend_from_slice(format!("{}:", list.len()).as_bytes());
        block.extend_from_slice(&list);
        block.push(b']');
    }
    let mut out = format!("{SENDER} {id} ").into_bytes();
    out.extend_from_slice(path);
    out.extend_from_slice(format!(" {}:", block.len()).as_bytes());
    out.extend_from_slice(&block);
    out.push(b'}');
    netstring::encode(&mut out, body);
    out
}

/// A header of the server's own.
pub(super) fn own(name: &str, value: &str) -> (Vec<u8>, Vec<u8>) {
    (name.as_bytes().to_vec(), value.as_bytes().to_vec())
}

/// The notice that a connection is gone.
pub(super) fn disconnect(id: u32) -> Vec<u8> {
    message(id, b"@*", &[own("METHOD", "JSON")], br#"{"type":"disconnect"}"#)
}

/// The notice that so many bytes were written to a client, under flow control.
pub(super) fn credits(id: u32, bytes: usize) -> Vec<u8> {
    let headers = [own("METHOD", "JSON"), own("DOWNLOAD_CREDITS", &bytes.to_string())];
    message(id, b"@*", &headers, br#"{"type":"credits"}"#)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongrel2_wire::{Envelope, Head, Kind};

    #[test]
    fn headers_that_come_twice_are_a_list() {
        let headers = [own("METHOD", "GET"), own("x-a", "1"), own("VERSION", "HTTP/1.1"), own("x-a", "2")];
        let message = message(7, b"/a", &headers, b"hi");
        let envelope = Envelope::parse(&message).unwrap();
        let values = envelope.headers.get(b"x-a").unwrap();
        let values: Vec<_> = values.iter().map(|value| value.bytes().into_owned()).collect();
        assert_eq!(values, [b"1", b"2"]);
        assert_eq!((envelope.path, envelope.body), (&b"/a"[..], &b"hi"[..]));
    }

    #[test]
    fn notices_are_read_as_such() {
        let kind = |message: &[u8]| {
            let envelope = Envelope::parse(message).unwrap();
            Head::read(&envelope).unwrap().kind
        };
        assert!(matches!(kind(&disconnect(3)), Kind::Disconnect));
        assert!(matches!(kind(&credits(3, 40)), Kind::Credits { bytes: 40 }));
    }
}
