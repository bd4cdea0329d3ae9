//! Hundreds of live WebSockets in the hands of one thread. Each asks numbered questions, one after the other, and
//! keeps count of what comes back: nothing may be missing, come twice, or be somebody else's.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tests::websocket::{CLOSE, FIN, PING, PONG, TEXT, frame, handshake};

/// After so long a question counts as unanswered, and the next one is asked.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the last answers are waited for at the end.
const LAST: Duration = Duration::from_secs(10);

/// Clients that talk to `/live?name=mNUMBER`, whose script answers `NAME TEXT` and puts them into a room.
pub(crate) struct Crowd {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    heard: Arc<AtomicUsize>,
    thread: Option<JoinHandle<Tally>>,
}

/// What became of the questions.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Questions with their answer.
    pub answered: usize,
    /// Questions without.
    pub unanswered: usize,
    /// Answers that had been given, or given up.
    pub twice: usize,
    /// Answers to others, and what is no answer.
    pub misdelivered: Vec<String>,
    /// Connections that ended, each with how.
    pub ended: Vec<String>,
    /// The longest that an answer took.
    pub longest: Duration,
    /// What each heard in its room, in order.
    pub heard: Vec<Vec<u32>>,
}

struct Member {
    name: String,
    stream: TcpStream,
    inbox: Vec<u8>,
    question: usize,
    asked: Option<Instant>,
    next: Instant,
    ended: bool,
}

impl Crowd {
    /// Opens so many and lets each ask every `pause`.
    pub(crate) fn gather(port: u16, size: usize, pause: Duration) -> Self {
        let members: Vec<_> = (0..size).map(|number| Member::open(port, number, pause, size)).collect();
        let crowd =
            Self { stop: Arc::default(), answered: Arc::default(), heard: Arc::default(), thread: None };
        let (stop, answered, heard) =
            (Arc::clone(&crowd.stop), Arc::clone(&crowd.answered), Arc::clone(&crowd.heard));
        let thread = std::thread::spawn(move || talk(members, pause, &stop, &answered, &heard));
        Self { thread: Some(thread), ..crowd }
    }

    /// How many questions have been answered so far.
    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Asks no more, waits until all have their answers and have heard as much in their room, and tells.
    pub(crate) fn part(mut self, heard: usize) -> Tally {
        self.heard.store(heard, Ordering::Relaxed);
        self.stop.store(true, Ordering::Release);
        let thread = self.thread.take().expect("it parts once");
        thread.join().expect("the crowd's thread does not fail")
    }
}

impl Tally {
    /// Whether each member heard what all did: every certain one of `said` once, in order, and others at most once.
    pub(crate) fn heard_all(&self, said: &[(u32, bool)]) -> Result<(), String> {
        for (number, heard) in self.heard.iter().enumerate() {
            let certain: Vec<_> =
                said.iter().filter(|(_, is_certain)| *is_certain).map(|(n, _)| *n).collect();
            let kept: Vec<_> = heard.iter().copied().filter(|n| certain.contains(n)).collect();
            if kept != certain {
                return Err(format!("m{number} heard {heard:?} of {said:?}"));
            }
            if heard.windows(2).any(|pair| pair[0] >= pair[1]) {
                return Err(format!("m{number} heard {heard:?}: twice, or in another order"));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answered, unanswered, twice, misdelivered, ended, longest, heard } = self;
        let (wrong, ended, sockets) = (misdelivered.len(), ended.len(), heard.len());
        write!(
            out,
            "{sockets} WebSockets: {ended} disconnected; {answered} questions answered, {unanswered} not, \
             {twice} twice, {wrong} misdelivered; longest wait {longest:.0?}"
        )
    }
}

impl Member {
    fn open(port: u16, number: usize, pause: Duration, size: usize) -> Self {
        let name = format!("m{number}");
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server accepts connections");
        stream.set_nodelay(true).expect("an option that sockets have");
        stream.write_all(&handshake(&format!("/live?name={name}"), &[])).expect("the server reads");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a handshake has an answer");
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", head.escape_ascii());
        stream.set_nonblocking(true).expect("a mode that sockets have");
        // Not all at the same moment.
        let next = Instant::now() + pause.mul_f64(number as f64 / size as f64);
        Self { name, stream, inbox: Vec::new(), question: 0, asked: None, next, ended: false }
    }

    fn ask(&mut self, now: Instant, tally: &mut Tally) {
        if self.asked.is_some() {
            tally.unanswered += 1;
        }
        self.question += 1;
        self.asked = Some(now);
        self.send(&frame(FIN | TEXT, format!("q{}", self.question)), tally);
    }

    /// A few bytes, for which a socket always has room.
    fn send(&mut self, bytes: &[u8], tally: &mut Tally) {
        if let Err(problem) = self.stream.write_all(bytes) {
            self.end(problem.to_string(), tally);
        }
    }

    fn end(&mut self, how: String, tally: &mut Tally) {
        if !std::mem::replace(&mut self.ended, true) {
            tally.ended.push(format!("{}: {how}", self.name));
        }
    }

    fn read(&mut self, tally: &mut Tally) {
        let mut buffer = [0; 16 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return self.end("end of stream".into(), tally),
                Ok(size) => self.inbox.extend_from_slice(&buffer[..size]),
                Err(problem) if problem.kind() == ErrorKind::WouldBlock => return,
                Err(problem) => return self.end(problem.to_string(), tally),
            }
        }
    }

    /// The next whole frame: first byte and payload.
    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (first, begin, size) = match *self.inbox.as_slice() {
            [first, 126, high, low, ..] => (first, 4, usize::from(u16::from_be_bytes([high, low]))),
            [first, size @ 0..=125, ..] => (first, 2, usize::from(size)),
            [_, 127..=255, ..] => panic!("{}: no such frame is sent here", self.name),
            _ => return None,
        };
        let payload = self.inbox.get(begin..begin + size)?.to_vec();
        self.inbox.drain(..begin + size);
        Some((first, payload))
    }

    fn hear(&mut self, number: usize, now: Instant, tally: &mut Tally) {
        while let Some((first, payload)) = self.take_frame() {
            match first & 0xf {
                PING => self.send(&frame(FIN | PONG, payload), tally),
                CLOSE => self.end(format!("close {}", payload.escape_ascii()), tally),
                _ => {
                    let text = String::from_utf8_lossy(&payload).into_owned();
                    if let Some(said) = text.strip_prefix("said ").and_then(|n| n.parse().ok()) {
                        tally.heard[number].push(said);
                    } else if text == format!("{} q{}", self.name, self.question) && self.asked.is_some() {
                        let since = self.asked.take().expect("it was looked at");
                        tally.longest = tally.longest.max(now - since);
                        tally.answered += 1;
                    } else if text.starts_with(&format!("{} q", self.name)) {
                        tally.twice += 1;
                    } else {
                        tally.misdelivered.push(format!("{} got `{text}`", self.name));
                    }
                }
            }
        }
    }
}

fn talk(
    mut members: Vec<Member>,
    pause: Duration,
    stop: &AtomicBool,
    answered: &AtomicUsize,
    heard: &AtomicUsize,
) -> Tally {
    let mut tally = Tally { heard: vec![Vec::new(); members.len()], ..Tally::default() };
    let mut last = None;
    loop {
        let ready: Vec<bool> = {
            let watch = |member: &Member| match member.ended {
                true => PollFlags::empty(),
                false => PollFlags::IN,
            };
            let mut fds: Vec<_> =
                members.iter().map(|member| PollFd::new(&member.stream, watch(member))).collect();
            let patience = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
            poll(&mut fds, Some(&patience)).expect("sockets can be waited for");
            fds.iter().map(|fd| !fd.revents().is_empty()).collect()
        };
        let now = Instant::now();
        let is_last = stop.load(Ordering::Acquire);
        for (number, member) in members.iter_mut().enumerate() {
            if member.ended {
                continue;
            }
            if ready[number] {
                member.read(&mut tally);
                member.hear(number, now, &mut tally);
            }
            let is_over = member.asked.is_none_or(|since| now - since > PATIENCE);
            if !member.ended && !is_last && is_over && now >= member.next {
                member.next = now + pause;
                member.ask(now, &mut tally);
            }
        }
        answered.store(tally.answered, Ordering::Relaxed);
        if is_last {
            let end = *last.get_or_insert(now + LAST);
            let waiting = members.iter().filter(|member| !member.ended && member.asked.is_some()).count();
            let all = heard.load(Ordering::Relaxed);
            let deaf =
                (0..members.len()).any(|number| !members[number].ended && tally.heard[number].len() < all);
            if (waiting == 0 && !deaf) || now > end {
                tally.unanswered += waiting;
                return tally;
            }
        }
    }
}
