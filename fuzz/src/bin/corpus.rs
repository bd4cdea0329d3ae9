//! Between `fuzz/corpus` and the folder that a search works in: `corpus list`, `corpus unpack NAME FOLDER`,
//! `corpus pack NAME FOLDER`.

use fuzz::{TARGETS, corpus};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["list"] => {
            TARGETS.iter().for_each(|target| println!("{}", target.name));
            Ok(())
        }
        [what @ ("pack" | "unpack"), name, folder] => {
            let Some(target) = fuzz::target(name) else {
                eprintln!("error: there is no target `{name}`; `corpus list` has them all");
                return ExitCode::from(2);
            };
            match what {
                "unpack" => corpus::unpack(target, Path::new(folder)),
                _ => corpus::pack(target, Path::new(folder))
                    .map(|count| println!("{name}: {count} inputs are kept")),
            }
        }
        _ => {
            eprintln!("error: say `list`, `unpack NAME FOLDER` or `pack NAME FOLDER`");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}
