//! A library to preload into Mongrel2, so that no client receives bytes of another client.
//!
//! Mongrel2 writes the rest of a message to the next client that gets the same descriptor number. The library, which
//! `src/guard.c` explains, keeps numbers unused for a long time. This crate holds the built library, finds the file
//! beside the program, and tells whether a running process has it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The name of the library's file. It appears in `/proc/PID/maps` of a guarded process.
pub const FILE_NAME: &str = "libmongrel2-guard.so";

/// The variable by which the dynamic linker learns what to preload.
pub const VARIABLE: &str = "LD_PRELOAD";

/// The content of the library's file.
const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libmongrel2-guard.so"));

/// Finds the library's file beside the running program, or in `../lib/kennel` from there.
pub fn find() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    find_near(program.parent()?)
}

fn find_near(folder: &Path) -> Option<PathBuf> {
    let installed = folder.parent().map(|parent| parent.join("lib/kennel").join(FILE_NAME));
    [Some(folder.join(FILE_NAME)), installed].into_iter().flatten().find(|file| file.is_file())
}

/// Writes the library to a file. A process that has an older file of this name loaded keeps that one.
///
/// # Errors
///
/// When the file cannot be written.
pub fn write(file: &Path) -> io::Result<()> {
    let mut draft = file.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let written = fs::write(&draft, LIBRARY).and_then(|()| fs::rename(&draft, file));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

/// Whether the dynamic linker can be told to preload a file of this path. It takes blanks and colons for separators, and a
/// path without a slash for the name of a system library.
pub fn can_preload(file: &Path) -> bool {
    let bytes = file.as_os_str().as_bytes();
    bytes.contains(&b'/') && !bytes.iter().any(|byte| matches!(byte, b':' | b' ' | b'\t' | b'\n'))
}

/// The value of [`VARIABLE`] that adds `file` to what is preloaded already.
pub fn preload(file: &Path, already: Option<&OsStr>) -> OsString {
    let mut value = file.as_os_str().to_owned();
    if let Some(already) = already.filter(|text| !text.is_empty()) {
        value.push(":");
        value.push(already);
    }
    value
}

/// Whether a process has the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// The library is loaded.
    Loaded,
    /// The library is not loaded.
    Absent,
    /// The system does not tell, for this reason.
    Unknown(io::ErrorKind),
}

/// Looks into a running process.
pub fn presence(pid: u32) -> Presence {
    match fs::read(format!("/proc/{pid}/maps")) {
        // A process without any mapping is ending, or a zombie.
        Ok(maps) if maps.is_empty() => Presence::Unknown(io::ErrorKind::NotFound),
        Ok(maps) if has_library(&maps) => Presence::Loaded,
        Ok(_) => Presence::Absent,
        Err(problem) => Presence::Unknown(problem.kind()),
    }
}

fn has_library(maps: &[u8]) -> bool {
    // Each line ends with the file's path; ` (deleted)` follows it when the file was removed or replaced.
    maps.split(|byte| *byte == b'\n').any(|line| {
        let path = line.strip_suffix(b" (deleted)").unwrap_or(line);
        path.rsplit(|byte| *byte == b'/').next() == Some(FILE_NAME.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_beside_the_program_or_in_lib_kennel() {
        let root = std::env::temp_dir().join(format!("kennel-guard-{}", std::process::id()));
        let (bin, lib) = (root.join("bin"), root.join("lib/kennel"));
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(&lib).unwrap();
        assert_eq!(find_near(&bin), None);
        write(&lib.join(FILE_NAME)).unwrap();
        assert_eq!(find_near(&bin), Some(lib.join(FILE_NAME)));
        write(&bin.join(FILE_NAME)).unwrap();
        assert_eq!(find_near(&bin), Some(bin.join(FILE_NAME)));
        assert_eq!(fs::read(bin.join(FILE_NAME)).unwrap(), LIBRARY);
        assert!(write(&root.join("none/x.so")).is_err());
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn what_was_preloaded_before_stays() {
        let file = Path::new("/a/guard.so");
        assert_eq!(preload(file, None), "/a/guard.so");
        assert_eq!(preload(file, Some(OsStr::new(""))), "/a/guard.so");
        assert_eq!(preload(file, Some(OsStr::new("/b.so c.so"))), "/a/guard.so:/b.so c.so");
    }

    #[test]
    fn paths_that_the_linker_would_split_are_not_preloaded() {
        assert!(can_preload(Path::new("/opt/lib/guard.so")));
        assert!(can_preload(Path::new(".kennel/7/guard.so")));
        for path in ["/opt/my lib/guard.so", "/opt/a:b/guard.so", "guard.so"] {
            assert!(!can_preload(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn the_library_is_recognized_among_the_mappings() {
        let line = |path: &str| format!("7f10-7f20 r-xp 00000000 fe:00 99      {path}\n").into_bytes();
        assert!(has_library(&line("/opt/my lib/libmongrel2-guard.so")));
        assert!(has_library(&line("/opt/libmongrel2-guard.so (deleted)")));
        assert!(!has_library(&line("/opt/libmongrel2-guard.so.old")));
        assert!(!has_library(&line("/usr/lib/libc.so.6")));
    }

    #[test]
    fn a_process_that_is_not_there_is_unknown() {
        assert_eq!(presence(std::process::id()), Presence::Absent);
        assert_eq!(presence(u32::MAX), Presence::Unknown(io::ErrorKind::NotFound));
    }
}
