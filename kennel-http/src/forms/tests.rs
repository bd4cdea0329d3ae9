use super::*;

fn limits() -> FormLimits {
    FormLimits { parts: 5, field: 100, header: 300, memory: 400 }
}

/// Reads a form from pieces of this size, as a file is read.
fn read_pieces(body: &[u8], content_type: &[u8], piece: usize) -> Result<Form, FormError> {
    let FormKind::Multipart(boundary) = kind(content_type)? else { panic!("no multipart") };
    let mut reader = MultipartReader::new(&boundary, &limits())?;
    let (mut held, mut rest) = (Vec::new(), body);
    while !reader.is_over() {
        let (now, later) = rest.split_at(piece.min(rest.len()));
        rest = later;
        held.extend_from_slice(now);
        let taken = reader.read(&held, rest.is_empty())?;
        held.drain(..taken);
        assert!(held.len() <= MultipartReader::window(&limits()));
    }
    reader.finish()
}

/// Reads a form with the boundary `B`, and checks that it does not matter how it is cut.
fn read(body: &[u8]) -> Result<Form, FormError> {
    let content_type = b"multipart/form-data; boundary=B";
    let whole = read_pieces(body, content_type, usize::MAX);
    for piece in [1, 2, 3, 7, 100] {
        assert_eq!(read_pieces(body, content_type, piece), whole, "in pieces of {piece}");
    }
    whole
}

fn texts(form: &Form) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    form.fields.iter().map(|(name, value)| (text(name), text(value))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A part with this disposition and content.
fn part(disposition: &str, content: &str) -> String {
    format!("--B\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{content}\r\n")
}

#[test]
fn a_content_type_says_which_form_it_is() {
    let multipart = |boundary: &str| Ok(FormKind::Multipart(boundary.into()));
    for (content_type, expected) in [
        ("application/x-www-form-urlencoded", Ok(FormKind::Urlencoded)),
        ("Application/X-WWW-Form-Urlencoded; charset=UTF-8", Ok(FormKind::Urlencoded)),
        ("multipart/form-data; boundary=abc", multipart("abc")),
        ("Multipart/Form-Data;charset=utf-8; Boundary=\"a b\"", multipart("a b")),
        ("application/json", Ok(FormKind::Other)),
        ("multipart/mixed; boundary=abc", Ok(FormKind::Other)),
        ("", Ok(FormKind::Other)),
        ("multipart/form-data", Err(MultipartError::BadBoundary.into())),
        ("multipart/form-data; boundary", Err(MultipartError::BadBoundary.into())),
        ("multipart/form-data; boundary=\"abc", Err(MultipartError::BadBoundary.into())),
        ("multipart/form-data; boundary=a; boundary=b", Err(MultipartError::BadBoundary.into())),
    ] {
        assert_eq!(kind(content_type.as_bytes()), expected, "{content_type}");
    }
}

#[test]
fn urlencoded_fields_come_decoded_and_in_order() {
    let read = |body: &str| read_urlencoded(body.as_bytes(), b"", &FormLimits::default()).unwrap();
    let form = read("a=1&b=x+y%26&a=2&c&=d&%C3%A4=%e2%82%ac");
    let expected = [("a", "1"), ("b", "x y&"), ("a", "2"), ("c", ""), ("", "d"), ("ä", "€")];
    assert_eq!(texts(&form), pairs(&expected));
    assert_eq!(read(""), Form::default());
    assert_eq!(read("a=%00%ff").fields, [(b"a".to_vec(), b"\0\xff".to_vec())], "bytes stay bytes");
}

#[test]
fn text_in_another_charset_becomes_utf8_if_it_is_declared() {
    let of = |body: &str, content_type: &str| {
        let content_type = format!("application/x-www-form-urlencoded{content_type}");
        read_urlencoded(body.as_bytes(), content_type.as_bytes(), &limits())
    };
    assert_eq!(texts(&of("%e4=%f6", "; charset=ISO-8859-1").unwrap()), pairs(&[("ä", "ö")]));
    let named = of("a=%e4&_charset_=windows-1252", "").unwrap();
    assert_eq!(texts(&named), pairs(&[("a", "ä"), ("_charset_", "windows-1252")]));
    assert_eq!(texts(&of("a=%c3%a4&_charset_=", "").unwrap()), pairs(&[("a", "ä"), ("_charset_", "")]));
    let problem = of("a=1", "; charset=klingon").unwrap_err();
    assert_eq!(problem.status(), 400);
    assert!(problem.to_string().contains("klingon"), "{problem}");
    assert!(matches!(of("a=%ff", "; charset=shift_jis"), Err(FormError::Charset(_))));

    let own = "--B\r\nContent-Disposition: form-data; name=\"b\"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nö\r\n";
    let mut body = part("name=\"_charset_\"", "iso-8859-1").into_bytes();
    body.extend_from_slice(b"--B\r\nContent-Disposition: form-data; name=\"\xe4\"\r\n\r\n\xf6\r\n");
    body.extend_from_slice(own.as_bytes());
    body.extend_from_slice(
        b"--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"\xfc.txt\"\r\n\r\n\xfc\r\n--B--",
    );
    let form = read(&body).unwrap();
    assert_eq!(texts(&form)[1..], pairs(&[("ä", "ö"), ("b", "ö")]));
    assert_eq!(form.files[0].filename, "ü.txt".as_bytes());
}

/// Bodies as programs send them, with the fields and files (name, file name, type, content) that are in them.
#[test]
fn forms_of_browsers_and_curl_are_read() {
    const WEBKIT: &str = "------WebKitFormBoundaryAbCdEf0123456789\r\n\
        Content-Disposition: form-data; name=\"text\"\r\n\r\ngr\u{fc}n\r\n\
        ------WebKitFormBoundaryAbCdEf0123456789\r\n\
        Content-Disposition: form-data; name=\"lines\"\r\n\r\na\r\nb\r\n\
        ------WebKitFormBoundaryAbCdEf0123456789\r\n\
        Content-Disposition: form-data; name=\"none\"; filename=\"\"\r\n\
        Content-Type: application/octet-stream\r\n\r\n\r\n\
        ------WebKitFormBoundaryAbCdEf0123456789\r\n\
        Content-Disposition: form-data; name=\"photo\"; filename=\"a %22b%22.png\"\r\n\
        Content-Type: image/png\r\n\r\n\u{89}PNG\r\n\r\n\
        ------WebKitFormBoundaryAbCdEf0123456789--\r\n";
    const FIREFOX: &str = "-----------------------------9051914041544843365972754266\r\n\
        Content-Disposition: form-data; name=\"pick\"\r\n\r\none\r\n\
        -----------------------------9051914041544843365972754266\r\n\
        Content-Disposition: form-data; name=\"pick\"\r\n\r\ntwo\r\n\
        -----------------------------9051914041544843365972754266\r\n\
        Content-Disposition: form-data; name=\"f\"; filename=\"empty.txt\"\r\n\
        Content-Type: text/plain\r\n\r\n\r\n\
        -----------------------------9051914041544843365972754266--\r\n";
    const CURL: &str = "--------------------------d74496d66958873e\r\n\
        Content-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n\
        --------------------------d74496d66958873e\r\n\
        Content-Disposition: form-data; name=\"j\"\r\n\
        Content-Type: application/json\r\n\r\n{}\r\n\
        --------------------------d74496d66958873e\r\n\
        Content-Disposition: form-data; name=\"f\"; filename=\"a\\\"b.bin\"\r\n\
        Content-Type: application/octet-stream\r\n\r\n\0\x01\r\n\
        --------------------------d74496d66958873e--\r\n";
    const PYTHON: &str = "--e5a1\r\nContent-Disposition: form-data; name=\"f\"; filename=\"../x/run.sh\"\r\n\r\n\
        #!\r\n--e5a1--\r\n";
    type Fields<'a> = &'a [(&'a str, &'a str)];
    type Files<'a> = &'a [(&'a str, &'a str, &'a str, &'a str)];
    let table: [(&str, &str, Fields<'_>, Files<'_>); 4] = [
        (
            "----WebKitFormBoundaryAbCdEf0123456789",
            WEBKIT,
            &[("text", "grün"), ("lines", "a\r\nb")],
            &[("photo", "a \"b\".png", "image/png", "\u{89}PNG\r\n")],
        ),
        (
            "---------------------------9051914041544843365972754266",
            FIREFOX,
            &[("pick", "one"), ("pick", "two")],
            &[("f", "empty.txt", "text/plain", "")],
        ),
        (
            "------------------------d74496d66958873e",
            CURL,
            &[("a", "1"), ("j", "{}")],
            &[("f", "a\"b.bin", "application/octet-stream", "\0\x01")],
        ),
        ("e5a1", PYTHON, &[], &[("f", "run.sh", "", "#!")]),
    ];
    for (boundary, body, fields, files) in table {
        let content_type = format!("multipart/form-data; boundary={boundary}");
        let whole = read_pieces(body.as_bytes(), content_type.as_bytes(), usize::MAX).unwrap();
        assert_eq!(texts(&whole), pairs(fields));
        let found: Vec<_> = whole
            .files
            .iter()
            .map(|file| {
                let content = &body[file.place.start as usize..file.place.end as usize];
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                (text(&file.name), text(&file.filename), text(&file.content_type), content.to_owned())
            })
            .collect();
        let owned = |(a, b, c, d): &(&str, &str, &str, &str)| {
            ((*a).to_owned(), (*b).to_owned(), (*c).to_owned(), (*d).to_owned())
        };
        assert_eq!(found, files.iter().map(owned).collect::<Vec<_>>());
        for piece in 1..50 {
            let pieces = read_pieces(body.as_bytes(), content_type.as_bytes(), piece).unwrap();
            assert_eq!(pieces, whole, "in pieces of {piece}");
        }
    }
}

#[test]
fn a_file_is_a_place_in_the_body_and_needs_no_memory() {
    let content = "x".repeat(1000);
    let body = part("name=\"f\"; filename=\"large\"", &content) + &part("name=\"a\"", "1") + "--B--";
    let form = read(body.as_bytes()).unwrap();
    let place = form.files[0].place.clone();
    assert_eq!(&body[place.start as usize..place.end as usize], content);
    assert_eq!(texts(&form), pairs(&[("a", "1")]));
    // A nested multipart is a content like others.
    let nested = "--C\r\nContent-Disposition: file; filename=\"x\"\r\n\r\ny\r\n--C--";
    let form = read((part("name=\"n\"", nested) + "--B--").as_bytes()).unwrap();
    assert_eq!(texts(&form), pairs(&[("n", nested)]));
}

#[test]
fn every_limit_is_kept_and_says_its_name() {
    let status = |result: Result<Form, FormError>, setting: &str| {
        let problem = result.unwrap_err();
        assert!(problem.to_string().contains(setting), "{problem}");
        problem.status()
    };
    let urlencoded = |body: &str| read_urlencoded(body.as_bytes(), b"", &limits());
    assert!(urlencoded("a=1&b=2&c=3&d=4&e=5").is_ok());
    assert_eq!(status(urlencoded(&"a=1&".repeat(6)), "limits.form_parts"), 413);
    assert_eq!(status(urlencoded(&"x".repeat(401)), "limits.form_memory"), 413);
    assert!(urlencoded(&format!("a={}", "x".repeat(100))).is_ok());
    assert_eq!(status(urlencoded(&format!("a={}", "x".repeat(101))), "limits.form_field"), 413);

    let fields = |count: usize, size: usize| {
        read((part("name=\"a\"", &"x".repeat(size)).repeat(count) + "--B--").as_bytes())
    };
    assert_eq!(fields(5, 1).unwrap().fields.len(), 5);
    assert_eq!(status(fields(6, 1), "limits.form_parts"), 413);
    assert_eq!(status(fields(10_000, 1), "limits.form_parts"), 413);
    assert!(fields(1, 100).is_ok());
    assert_eq!(status(fields(1, 101), "limits.form_field"), 413);
    assert_eq!(status(fields(4, 100), "limits.form_memory"), 413);
    let name = "x".repeat(1 << 20);
    assert_eq!(status(read(part(&format!("name=\"{name}\""), "").as_bytes()), "limits.form_header"), 413);
    let empty_inputs = read((part("name=\"f\"; filename=\"\"", "").repeat(6) + "--B--").as_bytes());
    assert_eq!(status(empty_inputs, "limits.form_parts"), 413);
}
