//! Reloads whose outcome somebody waits for.
//!
//! An app's newest code loads while everything else goes on. What became of it is told to all consoles that have asked for
//! it; a reload that begins while another one loads takes its place, and its outcome counts for both.

use crate::console::Loaded;
use crate::hub::AppId;
use serde_json::Value;

/// How many workers run the newest code; or why it did not load.
type Outcome = Result<usize, String>;

/// Who waits, and for which apps.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    token: u64,
    reference: Option<Value>,
    /// In the order of the apps: its name, and what became of its code once that is known.
    apps: Vec<(AppId, String, Option<Outcome>)>,
}

/// All that one has waited for.
#[derive(Debug, PartialEq)]
pub(super) struct Settled {
    pub token: u64,
    pub reference: Option<Value>,
    pub loaded: Vec<Loaded>,
}

impl Reloads {
    /// A console waits for the newest code of these apps.
    pub(super) fn wait(&mut self, token: u64, reference: Option<Value>, apps: Vec<(AppId, String)>) {
        let apps = apps.into_iter().map(|(app, name)| (app, name, None)).collect();
        self.waiting.push(Waiting { token, reference, apps });
    }

    /// The newest code of an app serves with this number of workers, or does not.
    pub(super) fn settle(&mut self, app: AppId, outcome: &Outcome) -> Vec<Settled> {
        self.settle_where(|known| known == app, outcome)
    }

    /// Nothing loads any more.
    pub(super) fn give_up(&mut self, why: &str) -> Vec<Settled> {
        self.settle_where(|_| true, &Err(why.to_owned()))
    }

    /// A console has gone.
    pub(super) fn forget(&mut self, token: u64) {
        self.waiting.retain(|waiting| waiting.token != token);
    }

    fn settle_where(&mut self, is_meant: impl Fn(AppId) -> bool, outcome: &Outcome) -> Vec<Settled> {
        for waiting in &mut self.waiting {
            let open = waiting.apps.iter_mut().filter(|(app, _, known)| is_meant(*app) && known.is_none());
            open.for_each(|(_, _, known)| *known = Some(outcome.clone()));
        }
        let is_settled = |waiting: &mut Waiting| waiting.apps.iter().all(|(_, _, known)| known.is_some());
        let settled = self.waiting.extract_if(.., is_settled);
        settled
            .map(|Waiting { token, reference, apps }| {
                let loaded =
                    apps.into_iter().filter_map(|(_, app, outcome)| Some(Loaded { app, outcome: outcome? }));
                Settled { token, reference, loaded: loaded.collect() }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both() -> Vec<(AppId, String)> {
        vec![(AppId(0), "a.lua".into()), (AppId(1), "b.py".into())]
    }

    #[test]
    fn an_answer_comes_when_the_last_app_has_loaded_or_failed() {
        let mut reloads = Reloads::default();
        reloads.wait(1, Some(7.into()), both());
        reloads.wait(2, None, both()[1..].to_vec());
        assert_eq!(reloads.settle(AppId(0), &Ok(2)), []);
        // Only the first outcome counts.
        assert_eq!(reloads.settle(AppId(0), &Err("late".into())), []);
        let settled = reloads.settle(AppId(1), &Err("b.py:1: no".into()));
        assert_eq!(settled.len(), 2);
        assert_eq!((settled[0].token, &settled[0].reference), (1, &Some(7.into())));
        let first: Vec<_> =
            settled[0].loaded.iter().map(|loaded| (&*loaded.app, loaded.outcome.clone())).collect();
        assert_eq!(first, [("a.lua", Ok(2)), ("b.py", Err("b.py:1: no".to_owned()))]);
        assert_eq!((settled[1].token, settled[1].loaded.len()), (2, 1));
        assert_eq!(reloads.settle(AppId(1), &Ok(1)), []);
    }

    #[test]
    fn who_has_gone_is_told_nothing_and_a_stop_tells_all_others() {
        let mut reloads = Reloads::default();
        reloads.wait(1, None, both());
        reloads.wait(2, None, both());
        reloads.settle(AppId(0), &Ok(1));
        reloads.forget(1);
        let settled = reloads.give_up("the server is stopping");
        assert_eq!(settled.len(), 1);
        let outcomes: Vec<_> = settled[0].loaded.iter().map(|loaded| loaded.outcome.is_ok()).collect();
        assert_eq!((settled[0].token, outcomes), (2, vec![true, false]));
    }
}
