//! Forms, and what clients ask about files.

use crate::chance::{anything, change, try_all};
use fuzz::web::{check_conditions, check_fields, check_form, check_value};
use kennel_http::file::Facts;
use kennel_http::forms::FormLimits;
use kennel_http::validators::EntityTag;

#[test]
fn forms_are_the_same_in_whatever_pieces_they_come() {
    const PARTS: [&[u8]; 6] = [
        b"--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n",
        b"--B\r\ncontent-disposition:form-data;name=f; filename=\"a\\\\b%22.png\"\r\nContent-Type: image/png\r\n\r\n\x89\r\n--\r\n",
        b"--B\r\nContent-Disposition: form-data; name=\"_charset_\"\r\n\r\niso-8859-1\r\n",
        b"--B\r\nContent-Disposition: form-data; name=\"none\"; filename=\"\"\r\n\r\n\r\n",
        b"--B \t\r\nContent-Disposition: form-data; name=e\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n--B",
        b"\r\n--B--\r\n",
    ];
    let limits = FormLimits { parts: 6, field: 40, header: 120, memory: 100 };
    let mut good = 0;
    try_all(20_000, |rng| {
        let mut body: Vec<u8> = (0..rng.u8(1..6)).flat_map(|_| PARTS[rng.usize(..6)].to_vec()).collect();
        body.extend_from_slice(PARTS[5]);
        if rng.bool() {
            change(rng, &mut body);
        }
        good += usize::from(check_form(&body, &limits, || 1));
        check_form(&body, &limits, || rng.usize(1..30));
    });
    assert!(good > 1000, "{good} forms");
}

#[test]
fn fields_and_headers_of_forms_of_any_bytes_are_read_or_refused() {
    let limits = FormLimits { parts: 20, field: 50, header: 120, memory: 150 };
    try_all(20_000, |rng| check_fields(&anything(rng, 200), &limits));
}

#[test]
fn what_clients_ask_about_files_is_read_or_passed_over() {
    const VALUES: [&[u8]; 10] = [
        b"bytes=0-99, 200-,-5",
        b"bytes=18446744073709551615-18446744073709551616",
        b"W/\"a\", \"b,c\" , *",
        b"*",
        b"Sun, 06 Nov 1994 08:49:37 GMT",
        b"Sunday, 06-Nov-94 08:49:37 GMT",
        b"Sun Nov  6 08:49:37 1994",
        b"gzip;q=0.5, br;q=1.0, *;q=0, identity",
        b"text/html; charset=utf-8",
        b"folder/page.tar.gz",
    ];
    try_all(20_000, |rng| {
        let mut value = VALUES[rng.usize(..VALUES.len())].to_vec();
        change(rng, &mut value);
        let size = if rng.bool() { rng.u64(..300) } else { rng.u64(..) };
        check_value(&value, size);
        let mut block = Vec::new();
        for name in
            ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range"]
        {
            if rng.bool() {
                let mut value = VALUES[rng.usize(..VALUES.len())].to_vec();
                change(rng, &mut value);
                block.extend_from_slice(format!("{}:{name},{}:", name.len(), value.len()).as_bytes());
                block.extend_from_slice(&value);
                block.push(b',');
            }
        }
        let tag = EntityTag { weak: rng.bool(), opaque: b"a" };
        let facts = Facts { size, modified: Some((rng.u64(..), 0)), now: 800_000_000, content_type: &value };
        check_conditions(&block, tag, rng.bool(), &facts);
    });
}
