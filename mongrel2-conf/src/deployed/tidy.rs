//! Paths as people would write them.

use std::path::{Component, Path, PathBuf};

/// Without `.` and doubled slashes. `..` stays, since a symbolic link may be before it.
pub(super) fn tidy(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}
