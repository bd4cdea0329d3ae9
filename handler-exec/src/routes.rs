//! What the program answers to now, and until when it may say something else.

use crate::output::Declared;
use crate::registration::Registered;
use handler_core::worker::protocol::{Handler, LoadFailure, Order, Registration};
use std::time::{Duration, Instant};

/// What the program answers to.
#[derive(Debug)]
pub(crate) struct Routes {
    registered: Registered,
    /// The program has said nothing of what it answers to, and may until then.
    undeclared: Option<Instant>,
    /// The program's file.
    source: String,
    /// How long after its start a process may say what the program answers to.
    load: Duration,
}

impl Routes {
    /// Those of a program that has not started yet: none.
    pub(crate) fn new(source: String, load: Duration) -> Self {
        Self { registered: Registered::default(), undeclared: None, source, load }
    }

    /// As the hub is told.
    pub(crate) fn registration(&self) -> Registration {
        self.registered.registration.clone()
    }

    /// The names of the values of the path of a job with this payload.
    pub(crate) fn names_of_job(&self, job: &[u8]) -> &[String] {
        match Order::read_job(job) {
            Ok(Order::Job { handler, .. }) => self.registered.names_of(handler),
            _ => &[],
        }
    }

    /// The names of the values of a channel's path.
    pub(crate) fn names_of_channel(&self, handler: u32) -> &[String] {
        self.registered.names_of_channel(handler)
    }

    /// The program answered before it said anything: it gets everything.
    pub(crate) fn take_everything(&mut self) {
        self.registered = Registered::everything();
    }

    /// A program that was started at `since` has said nothing yet: it gets everything, and may still say something else.
    pub(crate) fn wait(&mut self, since: Instant) {
        self.registered = Registered::undeclared();
        self.undeclared = Some(since + self.load);
    }

    /// The program says what it answers to. What makes no sense leaves all as it is.
    ///
    /// # Errors
    ///
    /// [`LoadFailure`] for what is no route.
    pub(crate) fn declare(&mut self, declared: &Declared) -> Result<(), LoadFailure> {
        self.undeclared = None;
        self.registered = Registered::declared(declared, &self.source)?;
        Ok(())
    }

    /// The program has answered: what it says from now on of what it answers to does not count.
    pub(crate) fn settle(&mut self) {
        self.undeclared = None;
    }

    /// Until when the program may say what it answers to, if it has not.
    pub(crate) fn undeclared(&self) -> Option<Instant> {
        self.undeclared
    }

    /// Whether the program may still say what it answers to.
    pub(crate) fn are_awaited(&self, now: Instant) -> bool {
        self.undeclared.is_some_and(|until| now < until)
    }

    /// What is wrong with what a process says so many milliseconds after its start, when it does not count any more.
    pub(crate) fn too_late(&self, declared: &Declared, late: u128) -> Option<String> {
        let same = Registered::declared(declared, &self.source)
            .is_ok_and(|found| found.registration == self.registered.registration);
        (!same).then(|| {
            format!(
                "a routes line {late} ms after the start, with other routes than those in force, is too late: it counts \
                 before the program's first answer and within {:?} (limits.load_time); a reload asks again",
                self.load
            )
        })
    }

    /// Why the program does not run.
    pub(crate) fn failure(&self, message: String) -> LoadFailure {
        LoadFailure { message, file: Some(self.source.clone()), ..LoadFailure::default() }
    }
}

/// Whether a job with this payload is for a route that the program named.
pub(crate) fn is_for_a_route(job: &[u8]) -> bool {
    matches!(Order::read_job(job), Ok(Order::Job { handler: Handler::Route(_), .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(route: &str) -> Declared {
        Declared { routes: Some(vec![route.to_owned()]), channels: Vec::new() }
    }

    #[test]
    fn a_program_that_says_nothing_gets_everything_and_may_say_something_else_for_a_while() {
        let start = Instant::now();
        let load = Duration::from_secs(10);
        let mut routes = Routes::new("p.sh".into(), load);
        routes.wait(start);
        assert!(routes.registration().provisional && routes.registration().is_all_page());
        assert!(routes.are_awaited(start + load - Duration::from_millis(1)));
        assert!(!routes.are_awaited(start + load));
        routes.declare(&declared("GET /a")).unwrap();
        assert!(!routes.are_awaited(start) && routes.registration().routes.len() == 1);
    }

    #[test]
    fn an_answer_ends_the_wait_for_routes() {
        let start = Instant::now();
        let mut routes = Routes::new("p.sh".into(), Duration::from_secs(10));
        routes.wait(start);
        routes.settle();
        assert_eq!((routes.are_awaited(start), routes.undeclared()), (false, None));
    }

    #[test]
    fn routes_that_make_no_sense_change_nothing() {
        let mut routes = Routes::new("p.sh".into(), Duration::from_secs(10));
        routes.take_everything();
        let failure = routes.declare(&declared("nonsense")).unwrap_err();
        assert!(failure.to_string().contains("p.sh: `nonsense` is no route"), "{failure}");
        assert!(routes.registration().is_all_page());
    }

    #[test]
    fn a_later_process_is_told_only_of_other_routes() {
        let mut routes = Routes::new("p.sh".into(), Duration::from_secs(10));
        routes.declare(&declared("GET /a")).unwrap();
        assert_eq!(routes.too_late(&declared("GET /a"), 7), None);
        let text = routes.too_late(&declared("GET /b"), 7).unwrap();
        assert!(text.contains("7 ms after the start") && text.contains("within 10s"), "{text}");
    }
}
