//! Numbers by which the loop tells sockets apart.

/// How many tokens the sockets of one owner take at most, from its base on.
pub(crate) const TOKENS: u64 = 1 << 24;

/// The tokens from `base` on, each with what it stands for.
#[derive(Debug)]
pub(super) struct Tokens<T> {
    base: u64,
    places: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T: Copy> Tokens<T> {
    pub(super) fn new(base: u64) -> Self {
        Self { base, places: Vec::new(), free: Vec::new() }
    }

    /// Takes a token. One that was given back may come again: an old event then finds nothing to do.
    pub(super) fn take(&mut self, meaning: T) -> u64 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[place] = Some(meaning);
        self.base + place as u64
    }

    pub(super) fn give_back(&mut self, token: u64) {
        let place = self.place(token);
        if self.places[place].take().is_some() {
            self.free.push(place);
        }
    }

    /// Changes what a token in use stands for.
    pub(super) fn set(&mut self, token: u64, meaning: T) {
        let place = self.place(token);
        self.places[place] = Some(meaning);
    }

    pub(super) fn get(&self, token: u64) -> Option<T> {
        self.owns(token).then(|| self.places.get(self.place(token)).copied().flatten())?
    }

    /// Whether a token is one of these, in use or not.
    pub(super) fn owns(&self, token: u64) -> bool {
        (self.base..self.base + TOKENS).contains(&token)
    }

    fn place(&self, token: u64) -> usize {
        (token - self.base) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_was_given_back_means_nothing_until_it_is_taken_again() {
        let mut tokens = Tokens::new(100);
        let (first, second) = (tokens.take('a'), tokens.take('b'));
        assert_eq!((first, second), (100, 101));
        tokens.give_back(first);
        tokens.give_back(first);
        assert_eq!((tokens.get(first), tokens.get(second), tokens.get(99)), (None, Some('b'), None));
        assert_eq!(tokens.take('c'), first);
        assert_eq!(tokens.take('d'), 102);
        assert!(tokens.owns(100 + TOKENS - 1) && !tokens.owns(99) && !tokens.owns(100 + TOKENS));
    }
}
