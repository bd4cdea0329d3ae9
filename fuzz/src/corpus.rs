//! Inputs that are kept: `corpus/NAME` has those of a target, a netstring each.

use crate::Target;
use mongrel2_wire::netstring;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The file of a target's inputs, in this crate.
pub fn file(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// The inputs of a target: its seeds, and those that were kept.
///
/// # Errors
///
/// When the file cannot be read or is no sequence of netstrings. That there is none is no error.
pub fn read(target: &Target) -> io::Result<Vec<Vec<u8>>> {
    let mut inputs = (target.seeds)();
    let bytes = match fs::read(file(target)) {
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read?,
    };
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let broken = |_| io::Error::new(io::ErrorKind::InvalidData, "no sequence of netstrings");
        let (input, after) = netstring::parse(rest).map_err(broken)?;
        inputs.push(input.to_vec());
        rest = after;
    }
    Ok(inputs)
}

/// Writes the inputs of a target as files of a folder, for the search.
///
/// # Errors
///
/// When a file cannot be read or written.
pub fn unpack(target: &Target, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (number, input) in read(target)?.into_iter().enumerate() {
        fs::write(folder.join(format!("kept-{number:05}")), input)?;
    }
    Ok(())
}

/// Keeps the files of a folder as the inputs of a target: the small ones, smallest first. Returns how many.
///
/// # Errors
///
/// When a file cannot be read or written.
pub fn pack(target: &Target, folder: &Path) -> io::Result<usize> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder)? {
        inputs.push(fs::read(entry?.path())?);
    }
    inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    inputs.dedup();
    let mut packed = Vec::new();
    let mut count = 0;
    for input in inputs {
        if packed.len() + input.len() > MOST {
            break;
        }
        packed.extend(format!("{}:", input.len()).bytes());
        packed.extend(input);
        packed.push(b',');
        count += 1;
    }
    fs::write(file(target), packed)?;
    Ok(count)
}

/// Bytes of one target's corpus: enough for what leads somewhere, little enough for the repository.
const MOST: usize = 64 << 10;
