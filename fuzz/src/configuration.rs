//! What operators write, and what the control port says.

use crate::Target;
use mongrel2_conf::control::Table;
use mongrel2_conf::language::{self, LoadError};
use mongrel2_conf::pattern::Pattern;
use mongrel2_conf::print::print_database;
use std::path::Path;

/// Configuration files: what loads is printed as a text that loads to the same.
pub(crate) const CONFIGURATION: Target = Target {
    name: "configuration",
    check: |text| {
        let path = Path::new("/nowhere/mongrel2.conf");
        let loaded = match language::load_text(path, text) {
            Ok(loaded) => loaded,
            Err(LoadError::Wrong(found)) => {
                assert!(found.has_errors() && !found.render(false).contains('\u{1b}'));
                return;
            }
            Err(other) => panic!("{other}"),
        };
        assert_eq!(loaded.config.check(), Ok(()), "what loads is fine");
        let config = loaded.with_default_mimetypes();
        let Ok(printed) = print_database(&config) else { return };
        let Ok(again) = language::load_text(path, printed.text.as_bytes()) else {
            panic!("what is printed does not load:\n{}", printed.text)
        };
        assert_eq!(again.with_default_mimetypes(), config, "{}", printed.text);
    },
    seeds: || {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mongrel2-conf/tests/valid");
        let entries = std::fs::read_dir(folder).expect("the valid files are there");
        let paths = entries.map(|entry| entry.expect("a file").path());
        let files = paths.filter(|path| path.extension().is_some_and(|end| end == "conf"));
        let texts = files.map(|path| std::fs::read(path).expect("it can be read"));
        let mut texts: Vec<_> = texts.filter(|text| text.len() < 2000).collect();
        texts.sort();
        texts
    },
};

/// Patterns of routes and hosts; the line break parts the pattern from what it is tried on.
pub(crate) const PATTERN: Target = Target {
    name: "pattern",
    check: |bytes| {
        let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let (text, subject) = bytes.split_at(at);
        let Ok(text) = std::str::from_utf8(text) else { return };
        for odd in Pattern::oddities(text) {
            assert!(odd.at < text.len() && text.is_char_boundary(odd.at), "{odd:?}");
        }
        match Pattern::parse(text) {
            // Like Mongrel2's, a pattern may go back so often that it takes for ever: few letters, then.
            Ok(pattern) if text.len() <= 12 && subject.len() <= 12 => {
                let matches = pattern.matches(subject);
                assert!(matches || !pattern.fits_everything(), "{text}: {subject:?}");
            }
            Ok(_) => {}
            Err(problem) => assert!(problem.at() < text.len(), "{problem:?}"),
        }
    },
    seeds: || {
        let texts = ["/a(.*)\n/abc", "[^a-z]+\\d?\nA1", "\\b()x\\f[a]\n(x)", "@chat\n@chat", ".*\\a%d\nz"];
        texts.map(|text| text.as_bytes().to_vec()).to_vec()
    },
};

/// Answers of the control port.
pub(crate) const CONTROL: Target = Target {
    name: "control",
    check: |bytes| {
        let address = "ipc://run/control".parse().expect("an address");
        match Table::parse(bytes, &address) {
            Ok(table) => assert!(table.rows.iter().all(|row| row.len() == table.headers.len())),
            Err(problem) => assert!(!problem.to_string().is_empty()),
        }
    },
    seeds: || {
        let texts = [
            "49:7:headers,7:4:time,]4:rows,18:14:10:1795290051,]]}",
            "40:7:headers,9:6:status,]4:rows,8:5:2:OK,]]}",
            "61:4:code,16:INVALID_ARGUMENT,5:error,22:Invalid argument type.,}",
            "51:5:error,39:Expected argument what=['net'|'tasks'].,}",
        ];
        texts.map(|text| text.as_bytes().to_vec()).to_vec()
    },
};
