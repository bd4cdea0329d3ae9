//! Values by the longest prefix, with a pattern for what follows it: the rule of routes and, reversed, of hosts.

use mongrel2_conf::pattern::Pattern;
use std::collections::HashMap;

/// The values of one prefix with their patterns, in the order in which they were added.
type Group<T> = Vec<(Option<Pattern>, T)>;

/// Values by prefix and pattern.
#[derive(Debug)]
pub(crate) struct Prefixes<T> {
    groups: HashMap<Box<[u8]>, Group<T>>,
    /// The lengths of all prefixes, the longest first.
    lengths: Vec<usize>,
}

impl<T> Default for Prefixes<T> {
    fn default() -> Self {
        Self { groups: HashMap::new(), lengths: Vec::new() }
    }
}

impl<T> Prefixes<T> {
    /// Adds a value. An empty pattern fits everything.
    pub(crate) fn add(&mut self, prefix: &[u8], pattern: &str, value: T) -> Result<(), String> {
        let pattern = match pattern {
            "" => None,
            pattern => Some(Pattern::parse(pattern).map_err(|error| error.to_string())?),
        };
        if let Err(at) = self.lengths.binary_search_by(|length| prefix.len().cmp(length)) {
            self.lengths.insert(at, prefix.len());
        }
        self.groups.entry(prefix.into()).or_default().push((pattern, value));
        Ok(())
    }

    /// Finds the value of a key. Only those of the longest prefix are tried: `Some(None)` means that no pattern there fits.
    /// `read` makes of what follows the prefix what patterns are for.
    pub(crate) fn find(&self, key: &[u8], read: impl Fn(&[u8]) -> Vec<u8>) -> Option<Option<&T>> {
        let prefixes = self.lengths.iter().filter_map(|length| key.get(..*length));
        let (prefix, group) =
            prefixes.filter_map(|prefix| Some((prefix, self.groups.get(prefix)?))).next()?;
        let [(first, value), others @ ..] = &group[..] else { return None };
        // Mongrel2 looks at no pattern when the first of them has none.
        if first.is_none() {
            return Some(Some(value));
        }
        let rest = read(&key[prefix.len()..]);
        // The first, then the last, down to the second: each new one is put behind the first.
        let tried = std::iter::once(&group[0]).chain(others.iter().rev());
        let fits = |(pattern, _): &&(Option<Pattern>, T)| {
            pattern.as_ref().is_none_or(|pattern| pattern.matches(&rest))
        };
        Some(tried.into_iter().find(fits).map(|(_, value)| value))
    }
}
