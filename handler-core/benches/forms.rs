//! How fast forms are read: from memory, and from a file as a worker reads a large one.
//!
//! ```text
//! cargo bench -p handler-core --bench forms
//! ```
//!
//! The figures are the best of some rounds, since other load only adds to them.

use handler_core::worker::form;
use handler_core::worker::protocol::{FRAME_HEAD, Handler, encode_job};
use kennel_http::forms::{self, FormLimits, MultipartReader};
use std::hint::black_box;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

const ROUNDS: usize = 10;
const SIZE: usize = 256 << 20;

/// Prints the best time of some rounds, and what that is per byte.
fn measure(what: &str, bytes: usize, mut run: impl FnMut()) {
    let mut time = || {
        let begun = Instant::now();
        run();
        begun.elapsed()
    };
    let best = (0..ROUNDS).map(|_| time()).min().unwrap_or_default();
    let rate = bytes as f64 / 1e6 / best.as_secs_f64();
    println!("{what:<48} {:>10.3} ms {rate:>10.0} MB/s", best.as_secs_f64() * 1e3);
}

fn part(name: &str, filename: Option<&str>, content: &[u8]) -> Vec<u8> {
    let filename = filename.map_or(String::new(), |name| format!("; filename=\"{name}\""));
    let head = format!(
        "------WebKitFormBoundaryAbCdEf0123456789\r\nContent-Disposition: form-data; name=\"{name}\"{filename}\r\n\r\n"
    );
    [head.as_bytes(), content, b"\r\n"].concat()
}

fn multipart(parts: &[Vec<u8>]) -> Vec<u8> {
    [&parts.concat()[..], b"------WebKitFormBoundaryAbCdEf0123456789--\r\n"].concat()
}

fn read(body: &[u8], limits: &FormLimits) {
    let mut reader = MultipartReader::new(b"----WebKitFormBoundaryAbCdEf0123456789", limits)
        .expect("a boundary of a browser");
    reader.read(body, true).expect("a form of a browser");
    black_box(reader.finish().expect("a form of a browser"));
}

/// As a worker reads a body that Mongrel2 has put into a file.
fn read_file(file: &Path, body: &[u8], limits: &FormLimits) {
    std::fs::write(file, body).expect("a file in the folder for such");
    let headers =
        r#"{"content-type":"multipart/form-data; boundary=----WebKitFormBoundaryAbCdEf0123456789"}"#;
    let message = format!("m2 1 / {}:{headers},0:,", headers.len());
    let (mut job, spool) = (Vec::new(), file.as_os_str().as_bytes());
    encode_job(&mut job, 1, Handler::Route(0), "", [].into_iter(), spool, message.as_bytes());
    measure("a file of 256 MiB in a file of the cache", body.len(), || {
        black_box(form::read(&job[FRAME_HEAD..], limits, || {}).expect("a form of a browser"));
    });
    let _ = std::fs::remove_file(file);
}

fn main() {
    let limits = FormLimits::default();
    let random: Vec<u8> =
        (0..SIZE as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    let large = multipart(&[part("a", None, b"1"), part("f", Some("large.bin"), &random)]);
    measure("a file of 256 MiB in memory", large.len(), || read(&large, &limits));
    let path = std::env::temp_dir().join(format!("kennel-bench-form-{}", std::process::id()));
    read_file(&path, &large, &limits);
    drop(large);
    let nearly = b"\r\n------WebKitFormBoundaryAbCdEf012345678".repeat(SIZE / 43);
    let nearly = multipart(&[part("f", Some("nearly.bin"), &nearly)]);
    measure("the same, full of boundaries but for a byte", nearly.len(), || read(&nearly, &limits));
    let fields: Vec<_> = (0..1000).map(|n| part(&format!("field{n}"), None, b"some value")).collect();
    let fields = multipart(&fields);
    measure("1,000 fields, multipart", fields.len(), || read(&fields, &limits));
    let small = multipart(&[part("user", None, b"somebody"), part("password", None, b"secret")]);
    measure("2 fields, multipart", small.len(), || read(&small, &limits));
    let encoded: String = (0..1000).map(|n| format!("field{n}=some+value%21&")).collect();
    measure("1,000 fields, urlencoded", encoded.len(), || {
        black_box(forms::read_urlencoded(encoded.as_bytes(), b"", &limits).expect("a form of a browser"));
    });
    let encoded = b"user=somebody&password=secret";
    measure("2 fields, urlencoded", encoded.len(), || {
        black_box(forms::read_urlencoded(encoded, b"", &limits).expect("a form of a browser"));
    });
}
