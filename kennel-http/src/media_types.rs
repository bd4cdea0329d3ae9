//! Which media type a file has, by the end of its name. Kennel and the Mongrel2 that it starts have the same table.

/// `(extension, type)`, sorted. Extensions are lower case, without their dot. Text is declared as UTF-8, since without that
/// browsers guess, and often wrongly.
pub const TYPES: &[(&str, &str)] = &[
    ("7z", "application/x-7z-compressed"),
    ("aac", "audio/aac"),
    ("apng", "image/apng"),
    ("atom", "application/atom+xml"),
    ("avi", "video/x-msvideo"),
    ("avif", "image/avif"),
    ("bin", "application/octet-stream"),
    ("bmp", "image/bmp"),
    ("bz2", "application/x-bzip2"),
    ("cjs", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("eot", "application/vnd.ms-fontobject"),
    ("epub", "application/epub+zip"),
    ("flac", "audio/flac"),
    ("geojson", "application/geo+json"),
    ("gif", "image/gif"),
    ("glb", "model/gltf-binary"),
    ("gltf", "model/gltf+json"),
    ("gz", "application/gzip"),
    ("heic", "image/heic"),
    ("heif", "image/heif"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/vnd.microsoft.icon"),
    ("ics", "text/calendar; charset=utf-8"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("jsonld", "application/ld+json"),
    ("jxl", "image/jxl"),
    ("log", "text/plain; charset=utf-8"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4a", "audio/mp4"),
    ("m4v", "video/mp4"),
    ("map", "application/json"),
    ("md", "text/markdown; charset=utf-8"),
    ("mid", "audio/midi"),
    ("midi", "audio/midi"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mkv", "video/matroska"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("mpd", "application/dash+xml"),
    ("mpeg", "video/mpeg"),
    ("mpg", "video/mpeg"),
    ("ndjson", "application/x-ndjson"),
    ("odp", "application/vnd.oasis.opendocument.presentation"),
    ("ods", "application/vnd.oasis.opendocument.spreadsheet"),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("opus", "audio/ogg"),
    ("otf", "font/otf"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("ps", "application/postscript"),
    ("rar", "application/vnd.rar"),
    ("rss", "application/rss+xml"),
    ("rtf", "application/rtf"),
    ("sqlite", "application/vnd.sqlite3"),
    ("srt", "application/x-subrip"),
    ("svg", "image/svg+xml"),
    ("svgz", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("tgz", "application/gzip"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("toml", "application/toml"),
    ("ts", "video/mp2t"),
    ("ttf", "font/ttf"),
    ("txt", "text/plain; charset=utf-8"),
    ("vcf", "text/vcard; charset=utf-8"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("weba", "audio/webm"),
    ("webm", "video/webm"),
    ("webmanifest", "application/manifest+json"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xhtml", "application/xhtml+xml"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("xml", "application/xml"),
    ("xz", "application/x-xz"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

/// What is said of a file whose type nobody knows: bytes.
pub const UNKNOWN: &str = "application/octet-stream";

/// The type of a file with this name, [`UNKNOWN`] for an end that is not listed.
pub fn of_name(name: &[u8]) -> &'static str {
    let name = name.rsplit(|b| *b == b'/').next().unwrap_or(name);
    let Some(dot) = memchr::memrchr(b'.', name).filter(|dot| *dot > 0) else { return UNKNOWN };
    let end = name[dot + 1..].to_ascii_lowercase();
    match TYPES.binary_search_by(|(known, _)| known.as_bytes().cmp(&end)) {
        Ok(at) => TYPES[at].1,
        Err(_) => UNKNOWN,
    }
}

/// Whether a body of this Content-Type is text, which gets much smaller when it is compressed.
pub fn is_text(content_type: &[u8]) -> bool {
    let end = memchr::memchr(b';', content_type).unwrap_or(content_type.len());
    let name = content_type[..end].trim_ascii().to_ascii_lowercase();
    // An event stream is to arrive at once; fonts and images but SVG are compressed already.
    (name.starts_with(b"text/") && name != b"text/event-stream")
        || name.ends_with(b"+json")
        || name.ends_with(b"+xml")
        || matches!(
            &name[..],
            b"application/json"
                | b"application/javascript"
                | b"application/xml"
                | b"application/yaml"
                | b"application/toml"
                | b"application/x-ndjson"
                | b"application/wasm"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(TYPES.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn the_end_of_a_name_says_its_type() {
        for (name, expected) in [
            ("a.html", "text/html; charset=utf-8"),
            ("folder.d/A.PNG", "image/png"),
            ("archive.tar.gz", "application/gzip"),
            ("README", UNKNOWN),
            (".css", UNKNOWN),
            ("folder.css/file", UNKNOWN),
            ("a.", UNKNOWN),
            ("a.unheard", UNKNOWN),
            ("", UNKNOWN),
        ] {
            assert_eq!(of_name(name.as_bytes()), expected, "{name}");
        }
        assert_eq!(of_name(b"\xff.css"), "text/css; charset=utf-8");
    }

    #[test]
    fn text_is_known_by_its_type() {
        for text in ["text/plain", "Text/HTML; charset=x", "application/problem+json", "image/svg+xml"] {
            assert!(is_text(text.as_bytes()), "{text}");
        }
        for other in ["", "image/png", "text/event-stream", "application/gzip", "font/woff2", "textual/x"] {
            assert!(!is_text(other.as_bytes()), "{other}");
        }
    }
}
