//! Host names of servers, looked up in threads: a resolver may take as long as it wants.

use mongrel2_wire::address::Address;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Looks a host name up, with port 0; blocks until the answer is there.
pub type Resolver = Arc<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// The system's resolver.
pub fn system_resolver() -> Resolver {
    Arc::new(|host| (host, 0).to_socket_addrs().map(Iterator::collect))
}

/// An answer of a thread: the host, and its addresses.
type Answer = (String, io::Result<Vec<SocketAddr>>);

/// What is known of one name.
#[derive(Debug)]
struct Name {
    /// Its addresses at the last time that there were any.
    addresses: Vec<SocketAddr>,
    /// When it was last asked for.
    asked: Instant,
    /// A thread waits for the resolver.
    is_asked: bool,
    /// The last answer was this, and no attempt has heard of it yet.
    problem: Option<io::Error>,
}

/// Where an attempt to connect goes.
#[derive(Debug)]
pub(super) enum Found {
    /// To this address; none: the server has a Unix socket, whose path says everything.
    Here(Option<SocketAddr>),
    /// The resolver has not answered yet.
    Waits,
}

/// The names that were looked up.
pub(super) struct Names {
    resolve: Resolver,
    known: HashMap<String, Name>,
    answers: Receiver<Answer>,
    answer: Sender<Answer>,
    /// Readable when there is an answer.
    bell: Arc<OwnedFd>,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("known", &self.known).finish_non_exhaustive()
    }
}

impl Names {
    /// What is older is looked up again beside an attempt that uses it: addresses change.
    const FRESH: Duration = Duration::from_secs(1);

    /// # Errors
    ///
    /// When the system has no descriptor left.
    pub(super) fn new(resolve: Resolver) -> io::Result<Self> {
        let (answer, answers) = channel();
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        Ok(Self { resolve, known: HashMap::new(), answers, answer, bell })
    }

    /// Readable when [`take_answers`](Self::take_answers) has something to do.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Where an attempt goes. A name with several addresses gives them in turn, one for each `attempt`.
    ///
    /// # Errors
    ///
    /// What the resolver said, once; the next call asks it again.
    pub(super) fn find(&mut self, address: &Address, attempt: usize, now: Instant) -> io::Result<Found> {
        let Address::Tcp { host, port } = address else { return Ok(Found::Here(None)) };
        if let Some(ip) = address.ip() {
            return Ok(Found::Here(Some(SocketAddr::new(ip, *port))));
        }
        let name = self.known.entry(host.clone()).or_insert_with(|| Name {
            addresses: Vec::new(),
            asked: now,
            is_asked: false,
            problem: None,
        });
        let is_fresh = now.saturating_duration_since(name.asked) < Self::FRESH;
        let problem = name.problem.take();
        if let Some(count) = Some(name.addresses.len()).filter(|count| *count > 0) {
            let mut at = name.addresses[attempt % count];
            at.set_port(*port);
            if !is_fresh {
                // It has an address until the answer comes, so whether a thread can be had does not matter.
                let _ = self.ask(host, now);
            }
            return Ok(Found::Here(Some(at)));
        }
        match problem {
            Some(problem) => Err(problem),
            None => self.ask(host, now).map(|()| Found::Waits),
        }
    }

    /// Lets a thread ask the resolver, unless one does.
    fn ask(&mut self, host: &str, now: Instant) -> io::Result<()> {
        let Some(name) = self.known.get_mut(host).filter(|name| !name.is_asked) else { return Ok(()) };
        name.asked = now;
        let (resolve, answer, bell) =
            (Arc::clone(&self.resolve), self.answer.clone(), Arc::clone(&self.bell));
        let host = host.to_owned();
        thread::Builder::new().name("resolver".to_owned()).spawn(move || {
            let addresses = resolve(&host);
            // The loop may have ended meanwhile; then the answer is not needed.
            let _ = answer.send((host, addresses));
            let _ = write(&bell, &1_u64.to_ne_bytes());
        })?;
        name.is_asked = true;
        Ok(())
    }

    /// Learns what resolvers have answered since the last time.
    pub(super) fn take_answers(&mut self) {
        let _ = read(&self.bell, &mut [0; 8]);
        for (host, addresses) in self.answers.try_iter() {
            let Some(name) = self.known.get_mut(&host) else { continue };
            name.is_asked = false;
            match addresses {
                Ok(addresses) if !addresses.is_empty() => name.addresses = addresses,
                Ok(_) => name.problem = Some(io::Error::from(io::ErrorKind::NotFound)),
                Err(problem) => name.problem = Some(problem),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::sync::Mutex;

    fn wait(names: &mut Names) {
        let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
        poll(&mut [PollFd::new(&names.descriptor(), PollFlags::IN)], Some(&patience)).unwrap();
        names.take_answers();
    }

    fn at(found: io::Result<Found>) -> Option<String> {
        match found.unwrap() {
            Found::Here(at) => Some(at.unwrap().to_string()),
            Found::Waits => None,
        }
    }

    #[test]
    fn a_name_is_looked_up_beside_the_loop_kept_and_looked_up_again() {
        let replies: Arc<Mutex<Vec<io::Result<Vec<SocketAddr>>>>> = Arc::default();
        let say = |reply| replies.lock().unwrap().push(reply);
        let shared = Arc::clone(&replies);
        let mut names = Names::new(Arc::new(move |_| shared.lock().unwrap().pop().unwrap())).unwrap();
        let (address, now) = ("tcp://db.example:7".parse().unwrap(), Instant::now());
        let numbers = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();

        say(Err(io::Error::other("no such host")));
        assert_eq!(at(names.find(&address, 0, now)), None);
        wait(&mut names);
        assert_eq!(names.find(&address, 0, now).unwrap_err().to_string(), "no such host");
        say(Ok(numbers(&["10.0.0.1:0", "10.0.0.2:0"])));
        assert_eq!(at(names.find(&address, 1, now)), None);
        wait(&mut names);
        assert_eq!(at(names.find(&address, 2, now)).unwrap(), "10.0.0.1:7");
        assert_eq!(at(names.find(&address, 3, now)).unwrap(), "10.0.0.2:7", "the other one in turn");
        // Later it is looked up again; what is known serves meanwhile, and when that fails.
        for reply in [Err(io::Error::other("timeout")), Ok(numbers(&["10.0.0.3:0"]))] {
            say(reply);
            let later = names.known["db.example"].asked + Names::FRESH;
            assert_eq!(at(names.find(&address, 0, later)).unwrap(), "10.0.0.1:7");
            wait(&mut names);
        }
        assert_eq!(at(names.find(&address, 0, now)).unwrap(), "10.0.0.3:7");
    }

    #[test]
    fn numbers_and_paths_need_no_resolver() {
        let mut names = Names::new(Arc::new(|_| panic!("it is not asked"))).unwrap();
        let now = Instant::now();
        for (text, want) in
            [("tcp://*:80", "127.0.0.1:80"), ("tcp://[::1]:1", "[::1]:1"), ("tcp://10.1.2.3:4", "10.1.2.3:4")]
        {
            assert_eq!(at(names.find(&text.parse().unwrap(), 0, now)).unwrap(), want);
        }
        assert!(matches!(names.find(&"ipc://a".parse().unwrap(), 0, now), Ok(Found::Here(None))));
    }
}
