//! A folder that lives as long as its test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of its own, removed when dropped. Its name is short: addresses of Unix sockets are
/// limited to 107 bytes.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Folder {
    /// Makes an empty one.
    ///
    /// # Panics
    ///
    /// When the system's folder for such things cannot be written.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kennel-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder for temporary files");
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of what a kennel keeps in it while it runs, and leaves behind if it does not clear up. The secret that sessions
    /// are signed with is to stay.
    pub fn run_files(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path.join(".kennel")) else { return Vec::new() };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name != "secret").collect()
    }

    /// The same, and it may be executed.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn write_program(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        // Beside under another name, so that nobody sees it without its mode.
        let draft = self.write(&format!("{name}.new"), content);
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).expect("a file of the test");
        fs::rename(&draft, &path).expect("a file of the test");
        path
    }

    /// Writes a file below it, as editors do: beside, then renamed over the old one.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        let parent = path.parent().expect("a name below the folder");
        fs::create_dir_all(parent).expect("a folder below the folder");
        let draft = parent.join(".draft");
        fs::write(&draft, content).expect("a file of the test");
        fs::rename(&draft, &path).expect("a file of the test");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
