//! The hub's own files for bodies that are not read as they come.

use super::request::Body;
use std::path::{Path, PathBuf};

/// Where they are, and how many there were.
#[derive(Debug, Default)]
pub(super) struct BodyFiles {
    /// The hub's own folder; none: there is no place for such bodies.
    pub folder: Option<PathBuf>,
    last: u64,
}

impl BodyFiles {
    /// A new file, whose name begins with `boot`; `None`: there is no folder.
    pub fn next(&mut self, boot: &str) -> Option<PathBuf> {
        let folder = self.folder.as_ref()?;
        self.last += 1;
        Some(folder.join(format!("{boot}-{}", self.last)))
    }

    /// Where a body will be for whoever answers, which arrives as `arrives` says, and the file that is the hub's to delete.
    /// `streams`: it is read as it comes. `None`: there is no place for it.
    pub fn place(
        &mut self,
        boot: &str,
        streams: bool,
        (arrives, spool): (Body, Option<&Path>),
    ) -> Option<(Body, Option<PathBuf>)> {
        Some(match arrives {
            Body::Parts if streams => (Body::Parts, None),
            Body::Parts => (Body::Collected, Some(self.next(boot)?)),
            Body::Growing if streams => (Body::Growing, None),
            // It comes again when the file is whole.
            Body::Growing => (Body::Whole, None),
            body => (body, spool.map(Path::to_owned)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_body_that_is_collected_gets_a_file_of_its_own() {
        let mut files = BodyFiles::default();
        assert_eq!(files.place("b", false, (Body::Parts, None)), None, "there is no folder");
        assert_eq!(files.place("b", true, (Body::Parts, None)), Some((Body::Parts, None)));
        files.folder = Some("/bodies".into());
        for path in ["/bodies/b-1", "/bodies/b-2"] {
            let placed = files.place("b", false, (Body::Parts, None));
            assert_eq!(placed, Some((Body::Collected, Some(path.into()))));
        }
        let path = Path::new("/store/x");
        let placed = files.place("b", true, (Body::Whole, Some(path)));
        assert_eq!(placed, Some((Body::Whole, Some(path.to_owned()))));
    }
}
