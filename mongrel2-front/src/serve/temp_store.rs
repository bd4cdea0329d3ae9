//! Names for uploads: `upload.temp_store` is a template that ends in `XXXXXX`, as for C's `mkstemp`.

use rustix::fs::{Mode, OFlags, fchmod, open};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use std::fs::File;
use std::io::{self, ErrorKind};

const PLACE: &str = "XXXXXX";
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Names that are tried; each is taken with a chance of one in 57 billion.
const TRIES: usize = 100;
const DEFAULT_MODE: u32 = 0o600;

/// Where files of uploads are made, and who may read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TempStore {
    /// The template without the `XXXXXX`. Relative to the working directory, which handlers are told as it is.
    prefix: String,
    mode: Mode,
}

impl TempStore {
    /// `mode`: the setting `upload.temp_store_mode`, a number as C writes it.
    pub(super) fn new(template: &str, mode: Option<&str>) -> io::Result<Self> {
        let prefix = template.strip_suffix(PLACE).ok_or_else(|| {
            let text = format!("`upload.temp_store` must end in `{PLACE}`, and is `{template}`");
            io::Error::new(ErrorKind::InvalidInput, text)
        })?;
        let mode = match mode {
            None => DEFAULT_MODE,
            Some(text) => c_number(text).filter(|mode| *mode <= 0o777).ok_or_else(|| {
                let text =
                    format!("`upload.temp_store_mode` is `{text}`, which is not a mode such as `0600`");
                io::Error::new(ErrorKind::InvalidInput, text)
            })?,
        };
        Ok(Self { prefix: prefix.to_owned(), mode: Mode::from_bits_truncate(mode) })
    }

    /// Makes a new file. Returns its name as handlers are told it.
    pub(super) fn create(&self) -> io::Result<(String, File)> {
        for _ in 0..TRIES {
            let name = format!("{}{}", self.prefix, suffix()?);
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match open(&name, flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => {
                    if let Err(problem) = fchmod(&file, self.mode) {
                        let _ = std::fs::remove_file(&name);
                        return Err(problem.into());
                    }
                    return Ok((name, File::from(file)));
                }
                Err(Errno::EXIST) => {}
                Err(problem) => return Err(problem.into()),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }
}

fn suffix() -> io::Result<String> {
    let mut bytes = [0_u8; 8];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    let mut number = u64::from_ne_bytes(bytes);
    let letter = |_| {
        let letter = LETTERS[(number % LETTERS.len() as u64) as usize];
        number /= LETTERS.len() as u64;
        char::from(letter)
    };
    Ok((0..PLACE.len()).map(letter).collect())
}

/// A number as C writes it: `0x` for 16, `0` for 8, otherwise 10.
fn c_number(text: &str) -> Option<u32> {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    match (lower.strip_prefix("0x"), text.strip_prefix('0')) {
        (Some(digits), _) => u32::from_str_radix(digits, 16).ok(),
        (None, Some("")) => Some(0),
        (None, Some(digits)) => u32::from_str_radix(digits, 8).ok(),
        (None, None) => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn modes_are_numbers_of_c() {
        assert_eq!(["0666", "0x1b6", "438", "0", "rw", "08"].map(c_number), {
            [Some(0o666), Some(0o666), Some(0o666), Some(0), None, None]
        });
    }

    #[test]
    fn each_file_has_a_name_of_its_own_and_the_mode_of_the_setting() {
        let folder = std::env::temp_dir().join(format!("front-temp-store-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let template = format!("{}/up.XXXXXX", folder.display());
        let mode = |name: &str| std::fs::metadata(name).unwrap().permissions().mode() & 0o7777;
        let (first, mut file) = TempStore::new(&template, None).unwrap().create().unwrap();
        let (second, _) = TempStore::new(&template, Some("0664")).unwrap().create().unwrap();
        assert_ne!(first, second);
        assert!(first.starts_with(&template[..template.len() - 6]) && first.len() == template.len());
        assert_eq!((mode(&first), mode(&second)), (0o600, 0o664));
        file.write_all(b"x").unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let problem = TempStore::new(&template, None).unwrap().create().unwrap_err();
        assert_eq!(problem.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn wrong_settings_are_named() {
        let text = |template, mode| TempStore::new(template, mode).unwrap_err().to_string();
        assert_eq!(text("/tmp/up", None), "`upload.temp_store` must end in `XXXXXX`, and is `/tmp/up`");
        assert_eq!(
            text("/tmp/up.XXXXXX", Some("rw")),
            "`upload.temp_store_mode` is `rw`, which is not a mode such as `0600`"
        );
    }
}
