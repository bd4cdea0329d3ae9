//! Content types of the extensions that web sites serve.
//!
//! Mongrel2 knows none by itself: what is not in its database goes out as the `default_ctype`
//! of the Dir. It finds a type by the end of the file's name, in lower case.
//!
//! Kennel's own server has the types that Kennel's responses have, [`defaults`]. A configuration file that is loaded gets the list that `m2sh`
//! gives it, [`of_m2sh`], so that the database is the same.

use kennel_http::media_types::TYPES;
use std::collections::HashMap;

/// The types of Kennel's own table, as [`crate::model::Config`] holds them: extensions with their dot.
pub fn defaults() -> Vec<(String, String)> {
    TYPES.iter().map(|(extension, kind)| (format!(".{extension}"), (*kind).to_owned())).collect()
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
