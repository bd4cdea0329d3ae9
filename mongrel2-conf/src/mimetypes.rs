//! Content types of the extensions that web sites serve.
//!
//! Mongrel2 knows none by itself: what is not in its database goes out as the `default_ctype`
//! of the Dir. It finds a type by the end of the file's name, in lower case. Text is declared
//! as UTF-8, since without that browsers guess, and often wrongly.

/// `(extension, type)`, sorted by extension. Extensions are lower case with their dot, as
/// Mongrel2 demands.
pub const MIMETYPES: &[(&str, &str)] = &[
    (".7z", "application/x-7z-compressed"),
    (".aac", "audio/aac"),
    (".apng", "image/apng"),
    (".atom", "application/atom+xml"),
    (".avi", "video/x-msvideo"),
    (".avif", "image/avif"),
    (".bin", "application/octet-stream"),
    (".bmp", "image/bmp"),
    (".bz2", "application/x-bzip2"),
    (".cjs", "text/javascript; charset=utf-8"),
    (".css", "text/css; charset=utf-8"),
    (".csv", "text/csv; charset=utf-8"),
    (".doc", "application/msword"),
    (".docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    (".eot", "application/vnd.ms-fontobject"),
    (".epub", "application/epub+zip"),
    (".flac", "audio/flac"),
    (".geojson", "application/geo+json"),
    (".gif", "image/gif"),
    (".glb", "model/gltf-binary"),
    (".gltf", "model/gltf+json"),
    (".gz", "application/gzip"),
    (".heic", "image/heic"),
    (".heif", "image/heif"),
    (".htm", "text/html; charset=utf-8"),
    (".html", "text/html; charset=utf-8"),
    (".ico", "image/vnd.microsoft.icon"),
    (".ics", "text/calendar; charset=utf-8"),
    (".jpeg", "image/jpeg"),
    (".jpg", "image/jpeg"),
    (".js", "text/javascript; charset=utf-8"),
    (".json", "application/json"),
    (".jsonld", "application/ld+json"),
    (".jxl", "image/jxl"),
    (".log", "text/plain; charset=utf-8"),
    (".m3u8", "application/vnd.apple.mpegurl"),
    (".m4a", "audio/mp4"),
    (".m4v", "video/mp4"),
    (".map", "application/json"),
    (".md", "text/markdown; charset=utf-8"),
    (".mid", "audio/midi"),
    (".midi", "audio/midi"),
    (".mjs", "text/javascript; charset=utf-8"),
    (".mkv", "video/matroska"),
    (".mov", "video/quicktime"),
    (".mp3", "audio/mpeg"),
    (".mp4", "video/mp4"),
    (".mpd", "application/dash+xml"),
    (".mpeg", "video/mpeg"),
    (".mpg", "video/mpeg"),
    (".ndjson", "application/x-ndjson"),
    (".odp", "application/vnd.oasis.opendocument.presentation"),
    (".ods", "application/vnd.oasis.opendocument.spreadsheet"),
    (".odt", "application/vnd.oasis.opendocument.text"),
    (".oga", "audio/ogg"),
    (".ogg", "audio/ogg"),
    (".ogv", "video/ogg"),
    (".opus", "audio/ogg"),
    (".otf", "font/otf"),
    (".pdf", "application/pdf"),
    (".png", "image/png"),
    (".ppt", "application/vnd.ms-powerpoint"),
    (".pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    (".ps", "application/postscript"),
    (".rar", "application/vnd.rar"),
    (".rss", "application/rss+xml"),
    (".rtf", "application/rtf"),
    (".sqlite", "application/vnd.sqlite3"),
    (".srt", "application/x-subrip"),
    (".svg", "image/svg+xml"),
    (".svgz", "image/svg+xml"),
    (".tar", "application/x-tar"),
    (".tgz", "application/gzip"),
    (".tif", "image/tiff"),
    (".tiff", "image/tiff"),
    (".toml", "application/toml"),
    (".ts", "video/mp2t"),
    (".ttf", "font/ttf"),
    (".txt", "text/plain; charset=utf-8"),
    (".vtt", "text/vtt; charset=utf-8"),
    (".wasm", "application/wasm"),
    (".wav", "audio/wav"),
    (".weba", "audio/webm"),
    (".webm", "video/webm"),
    (".webmanifest", "application/manifest+json"),
    (".webp", "image/webp"),
    (".woff", "font/woff"),
    (".woff2", "font/woff2"),
    (".xhtml", "application/xhtml+xml"),
    (".xls", "application/vnd.ms-excel"),
    (".xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    (".xml", "application/xml"),
    (".xz", "application/x-xz"),
    (".yaml", "application/yaml"),
    (".yml", "application/yaml"),
    (".zip", "application/zip"),
    (".zst", "application/zstd"),
];

/// The table as [`crate::model::Config`] holds it.
pub fn defaults() -> Vec<(String, String)> {
    MIMETYPES.iter().map(|&(extension, kind)| (extension.into(), kind.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Config;

    #[test]
    fn the_table_is_sorted_without_duplicates() {
        assert!(MIMETYPES.is_sorted_by(|one, next| one.0 < next.0));
    }

    #[test]
    fn mongrel2_would_accept_every_entry() {
        let config = Config { mimetypes: defaults(), ..Config::default() };
        assert_eq!(config.check(), Ok(()));
    }
}
