//! The routes of one host.

use super::prefixes::Prefixes;
use super::{Goal, Reached};
use mongrel2_conf::model::Route;

/// Routes by path.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    prefixes: Prefixes<Reached>,
}

impl Routes {
    /// Adds a route.
    pub(super) fn add(&mut self, route: &Route, goal: Goal) -> Result<(), String> {
        let prefix = route.prefix().len();
        let reached = Reached { goal, pattern: route.path.as_str().into(), prefix };
        self.prefixes.add(route.prefix().as_bytes(), &route.path[prefix..], reached)
    }

    /// The route of a path. As with Mongrel2, the longest prefix decides, and there is no way back from it. Other than
    /// there, a path that ends inside a route's key is not of that route.
    pub(super) fn reach(&self, path: &[u8]) -> Option<Reached> {
        self.prefixes.find(path, <[u8]>::to_vec)?.cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongrel2_conf::model::{Dir, Target};

    fn reach(keys: &[&str], path: &str) -> Option<usize> {
        let mut routes = Routes::default();
        for (number, key) in keys.iter().enumerate() {
            routes.add(&Route::new(*key, Target::Dir(Dir::new("public/"))), Goal::Dir(number)).unwrap();
        }
        match routes.reach(path.as_bytes())?.goal {
            Goal::Dir(number) => Some(number),
            Goal::Handler(_) => None,
        }
    }

    #[test]
    fn the_longest_prefix_decides_and_there_is_no_way_back() {
        let keys = ["/", "/pat/([0-9]+)", "/a", "/abc"];
        let reach = |path| reach(&keys, path);
        assert_eq!(["/x", "/pat/12a", "/ab", "/abcd"].map(reach), [Some(0), Some(1), Some(2), Some(3)]);
        assert_eq!([reach("/pat/x"), reach("@chat")], [None, None]);
    }

    #[test]
    fn a_path_that_ends_inside_a_key_is_not_of_that_route() {
        assert_eq!(reach(&["/", "/raw"], "/ra"), Some(0));
        assert_eq!(reach(&["/raw"], "/ra"), None);
        assert_eq!(reach(&["/pat/(x)", "/"], "/pa"), Some(1));
    }

    #[test]
    fn patterns_of_one_prefix_are_tried_from_the_first_to_the_last_and_back_to_the_second() {
        let reach = |path| reach(&["/(a)", "/()", "/(b)", "/(ab)"], path);
        assert_eq!(["/ab", "/b", "/c"].map(reach), [Some(0), Some(2), Some(1)]);
    }
}
