//! Content types by the end of a file's name.

use std::collections::HashMap;

/// The content types of a site.
#[derive(Debug, Clone, Default)]
pub(crate) struct Types {
    /// By extension, in lower case, with its dot.
    by_extension: HashMap<Vec<u8>, String>,
}

impl Types {
    /// Takes `(extension, type)` as the configuration has them. Of two equal extensions the first counts.
    pub(crate) fn new(types: &[(String, String)]) -> Self {
        let mut by_extension = HashMap::with_capacity(types.len());
        for (extension, kind) in types {
            by_extension.entry(extension.to_ascii_lowercase().into_bytes()).or_insert_with(|| kind.clone());
        }
        Self { by_extension }
    }

    /// The type of a file by its name, of which the longest extension counts: `.tar.gz` before `.gz`.
    pub(super) fn of(&self, path: &[u8]) -> Option<&str> {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_ascii_lowercase();
        let dots = name.iter().enumerate().filter(|(_, byte)| **byte == b'.');
        dots.map(|(at, _)| &name[at..])
            .find_map(|extension| self.by_extension.get(extension))
            .map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_extension_counts_in_any_case() {
        let pairs = [(".gz", "x/gz"), (".tar.gz", "x/targz"), (".pcf.Z", "x/font"), (".gz", "x/second")];
        let types = Types::new(&pairs.map(|(extension, kind)| (extension.to_owned(), kind.to_owned())));
        assert_eq!(types.of(b"a/b.gz"), Some("x/gz"));
        assert_eq!(types.of(b"a/v1.2.TAR.GZ"), Some("x/targz"));
        assert_eq!(types.of(b"a.pcf.z"), Some("x/font"));
        assert_eq!(types.of(b".gz"), Some("x/gz"));
        assert_eq!(types.of(b"a.gz/b"), None);
        assert_eq!(types.of(b"gz"), None);
        assert_eq!(types.of(b"a.gz."), None);
    }
}
