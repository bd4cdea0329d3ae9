//! Content types of the extensions that web sites serve.
//!
//! Mongrel2 knows none by itself: what is not in its database goes out as the `default_ctype`
//! of the Dir. It finds a type by the end of the file's name, in lower case. Text is declared
//! as UTF-8, since without that browsers guess, and often wrongly.
//!
//! Kennel's own server has these. A configuration file that is loaded gets the list that `m2sh`
//! gives it, [`of_m2sh`], so that the database is the same.

use std::collections::HashMap;

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

/// What `m2sh load` of Mongrel2 1.12 puts into every database, in the order of its rows; one
/// `EXTENSION TYPE` a line.
const OF_M2SH: &str = include_str!("mimetypes_of_m2sh.txt");

/// The types that `m2sh load` puts into every database, in its order, as
/// [`crate::model::Config`] holds them.
///
/// `.pcf.Z` among them has an upper-case letter, so Mongrel2 never finds it.
pub fn of_m2sh() -> Vec<(String, String)> {
    let pairs = OF_M2SH.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(extension, kind)| (extension.to_owned(), kind.to_owned())).collect()
}

/// The types of [`of_m2sh`] with some of one's own: these replace what has their extension, and
/// the new ones follow. `m2sh` 1.12 loses all of them, and removes the ones that they replace.
pub fn of_m2sh_with(own: &[(String, String)]) -> Vec<(String, String)> {
    let mut all = of_m2sh();
    let mut at: HashMap<String, usize> =
        all.iter().enumerate().map(|(index, (extension, _))| (extension.clone(), index)).collect();
    for (extension, kind) in own {
        match at.get(extension) {
            Some(&index) => all[index].1.clone_from(kind),
            None => {
                at.insert(extension.clone(), all.len());
                all.push((extension.clone(), kind.clone()));
            }
        }
    }
    all
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
    fn the_list_of_m2sh_is_whole_and_has_no_extension_twice() {
        let all = of_m2sh();
        assert_eq!(all.len(), OF_M2SH.lines().count());
        assert_eq!(all.len(), 857);
        let extensions: std::collections::HashSet<_> = all.iter().map(|(extension, _)| extension).collect();
        assert_eq!(extensions.len(), all.len());
        assert!(all.iter().all(|(extension, kind)| extension.starts_with('.') && kind.contains('/')));
    }

    #[test]
    fn types_of_ones_own_replace_and_extend_it() {
        let own = [(".html", "text/html; charset=utf-8"), (".mine", "x/mine")];
        let own = own.map(|(extension, kind)| (extension.to_owned(), kind.to_owned()));
        let all = of_m2sh_with(&own);
        assert_eq!(all.len(), 858);
        assert!(all.contains(&own[0]));
        assert_eq!(all[857], own[1]);
    }

    #[test]
    fn mongrel2_would_accept_every_entry() {
        let config = Config { mimetypes: defaults(), ..Config::default() };
        assert_eq!(config.check(), Ok(()));
    }
}
