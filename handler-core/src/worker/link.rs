//! A worker's own side of the socket pair: read orders, write actions.
//!
//! Every worker process uses this, whatever language it runs. Writing blocks: the hub always reads.
//! In a [rehearsal](crate::rehearsal) the hub is in the same process, and there is no socket pair.

use super::page::{Outbox, Page};
use super::protocol::{self, Action, BATCH_HEAD, Order};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The environment variable that tells a worker its descriptors, `SOCKET,PAGE`.
pub const ENVIRONMENT: &str = "KENNEL_WORKER";

const READ_SIZE: usize = 64 << 10;

/// What a wait for orders ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Bytes were read.
    Orders,
    /// The time is over.
    Timeout,
    /// The hub is gone.
    End,
}

/// A hub that is in the same process as its worker.
pub trait Near: Send + std::fmt::Debug {
    /// Takes the frames of one batch.
    ///
    /// # Errors
    ///
    /// When they make no sense.
    fn hear(&mut self, frames: &[u8]) -> io::Result<()>;

    /// Appends the orders that there are for the worker.
    fn speak(&mut self, orders: &mut Vec<u8>);
}

/// The other end.
#[derive(Debug)]
enum Far {
    Socket(UnixStream),
    Near(Arc<Mutex<dyn Near>>),
}

impl Far {
    fn descriptor(&self) -> i32 {
        match self {
            Self::Socket(socket) => socket.as_raw_fd(),
            Self::Near(_) => -1,
        }
    }
}

/// What the hub says.
#[derive(Debug)]
pub struct Orders {
    hub: Far,
    inbox: Vec<u8>,
    read: usize,
    /// The last look found something, so the next one may.
    hopeful: bool,
}

/// What the worker says.
#[derive(Debug)]
pub struct Actions {
    hub: Far,
    outbox: Outbox,
    scratch: Vec<u8>,
}

/// Takes the descriptors that the hub left in the environment.
///
/// # Errors
///
/// When this process was not started by a hub.
pub fn from_environment() -> io::Result<(Orders, Actions)> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
    let text = std::env::var(ENVIRONMENT)
        .map_err(|_| invalid(format!("a worker is started by kennel, which sets {ENVIRONMENT}")))?;
    let numbers = text.split_once(',').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let Some((socket, page)) = numbers else {
        return Err(invalid(format!("{ENVIRONMENT}={text}: expected two descriptors")));
    };
    let socket = UnixStream::from(owned(socket)?);
    open(socket, Page::map(&owned(page)?)?)
}

/// Uses a socket and a page that are already at hand.
///
/// # Errors
///
/// When the socket cannot be shared by both halves.
pub fn open(socket: UnixStream, page: Page) -> io::Result<(Orders, Actions)> {
    let orders = Orders { hub: Far::Socket(socket.try_clone()?), inbox: Vec::new(), read: 0, hopeful: false };
    Ok((orders, Actions { hub: Far::Socket(socket), outbox: Outbox::new(page), scratch: Vec::new() }))
}

/// Uses a hub that is in this process. A wait for its orders is a look, and never takes time.
pub fn near(hub: Arc<Mutex<dyn Near>>, page: Page) -> (Orders, Actions) {
    let orders = Orders { hub: Far::Near(Arc::clone(&hub)), inbox: Vec::new(), read: 0, hopeful: false };
    (orders, Actions { hub: Far::Near(hub), outbox: Outbox::new(page), scratch: Vec::new() })
}

impl Orders {
    /// Waits for orders, at most for `timeout`. A hub in this process has them at once or not at all: without a
    /// timeout, none are the end.
    ///
    /// # Errors
    ///
    /// When the socket fails.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Wake> {
        if self.read > 0 {
            self.inbox.drain(..self.read);
            self.read = 0;
            // Memory of a large order is kept while the order arrives: giving it back each time would copy it each time.
            self.inbox.shrink_to(4 * READ_SIZE);
        }
        let socket = match &self.hub {
            Far::Socket(socket) => socket,
            Far::Near(hub) => {
                let had = self.inbox.len();
                hub.lock().unwrap_or_else(PoisonError::into_inner).speak(&mut self.inbox);
                return Ok(match timeout {
                    _ if self.inbox.len() > had => Wake::Orders,
                    Some(_) => Wake::Timeout,
                    None => Wake::End,
                });
            }
        };
        self.inbox.reserve(READ_SIZE);
        loop {
            // Under load more is there already, and asking for it costs one call instead of two.
            if std::mem::take(&mut self.hopeful) {
                match recv(socket, spare_capacity(&mut self.inbox), RecvFlags::DONTWAIT) {
                    Ok((0, _)) | Err(Errno::CONNRESET) => return Ok(Wake::End),
                    Ok(_) => {
                        self.hopeful = true;
                        return Ok(Wake::Orders);
                    }
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(problem) => return Err(problem.into()),
                }
            }
            // Not a blocking read: that would be woken each time the hub reads what was sent to it.
            let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
            let mut sockets = [PollFd::new(socket, PollFlags::IN)];
            match poll(&mut sockets, timeout.as_ref()) {
                Ok(0) | Err(Errno::INTR) => return Ok(Wake::Timeout),
                Ok(_) => self.hopeful = true,
                Err(problem) => return Err(problem.into()),
            }
        }
    }

    /// What was read and not taken yet: whole orders, perhaps a piece of one more.
    pub fn unread(&self) -> &[u8] {
        &self.inbox[self.read..]
    }

    /// How many bytes were taken since the last wait.
    pub fn position(&self) -> usize {
        self.read
    }

    /// The kind of the next whole order, which stays.
    pub fn peek_kind(&self) -> Option<u8> {
        protocol::split_frame(&self.inbox[self.read..]).map(|(kind, ..)| kind)
    }

    /// Takes the first answer to a query out of what was read, past the orders before it: its query's number, and
    /// JSON. For workers that stand still until it is there.
    pub fn take_answer(&mut self) -> Option<(u64, Vec<u8>)> {
        let mut at = self.read;
        while let Some((kind, payload, _)) = protocol::split_frame(&self.inbox[at..]) {
            let end = at + protocol::FRAME_HEAD + payload.len();
            if kind == Order::ANSWER
                && let Ok(Order::Answer { query, json }) = Order::read(kind, payload)
            {
                let found = (query, json.to_vec());
                self.inbox.drain(at..end);
                return Some(found);
            }
            at = end;
        }
        None
    }

    /// The descriptor that becomes readable when the hub says something, for event loops; -1 when it is in this
    /// process.
    pub fn descriptor(&self) -> i32 {
        self.hub.descriptor()
    }

    /// The same to be polled beside others; none when the hub is in this process.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        match &self.hub {
            Far::Socket(socket) => Some(socket.as_fd()),
            Far::Near(_) => None,
        }
    }

    /// The next whole order that was read, as kind and payload for [`protocol::Order::read`].
    pub fn next_order(&mut self) -> Option<(u8, &[u8])> {
        let (kind, payload, rest) = protocol::split_frame(&self.inbox[self.read..])?;
        self.read = self.inbox.len() - rest.len();
        Some((kind, payload))
    }
}

impl Actions {
    /// The descriptor to which they are written; -1 when the hub is in this process.
    pub fn descriptor(&self) -> i32 {
        self.hub.descriptor()
    }

    /// The shared page.
    pub fn page(&self) -> &Page {
        self.outbox.page()
    }

    /// Whether everything has been written.
    pub fn is_flushed(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Puts an action into the outbox. It leaves with the next [`flush`](Self::flush), or before.
    ///
    /// # Errors
    ///
    /// When the hub is gone.
    pub fn push(&mut self, action: &Action<'_>) -> io::Result<()> {
        let mut frame = std::mem::take(&mut self.scratch);
        frame.clear();
        protocol::encode_action(&mut frame, action);
        let result = self.push_frame(&frame);
        frame.shrink_to(1 << 20);
        self.scratch = frame;
        result
    }

    fn push_frame(&mut self, frame: &[u8]) -> io::Result<()> {
        if self.outbox.push(frame) {
            return Ok(());
        }
        self.flush()?;
        if self.outbox.push(frame) {
            return Ok(());
        }
        match &self.hub {
            Far::Socket(socket) => {
                write_all(socket, &self.outbox.head(frame.len()))?;
                write_all(socket, frame)?;
            }
            Far::Near(hub) => hub.lock().unwrap_or_else(PoisonError::into_inner).hear(frame)?,
        }
        self.outbox.sent();
        Ok(())
    }

    /// Writes what is in the outbox.
    ///
    /// # Errors
    ///
    /// When the hub is gone.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.outbox.is_empty() {
            match &self.hub {
                Far::Socket(socket) => write_all(socket, self.outbox.batch())?,
                Far::Near(hub) => {
                    let frames = &self.outbox.batch()[BATCH_HEAD..];
                    hub.lock().unwrap_or_else(PoisonError::into_inner).hear(frames)?;
                }
            }
            self.outbox.sent();
        }
        Ok(())
    }
}

/// Writes everything, and waits for room where there is none: an event loop of the script's language may have made the
/// socket one that does not block (libuv does).
fn write_all(mut socket: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match socket.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(problem) if problem.kind() == io::ErrorKind::Interrupted => {}
            Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => {
                match poll(&mut [PollFd::new(socket, PollFlags::OUT)], None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(problem) => return Err(problem.into()),
                }
            }
            Err(problem) => return Err(problem),
        }
    }
    Ok(())
}

#[allow(unsafe_code, reason = "a descriptor that was inherited has no owner yet")]
fn owned(number: i32) -> io::Result<OwnedFd> {
    if number < 3 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no descriptor of a worker"));
    }
    // SAFETY: the hub made this descriptor for this process, named it once, and nobody else here
    // knows it. A wrong number fails at its first use.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::super::protocol::{Order, split_batch};
    use super::*;
    use std::io::Read;

    fn pair() -> (UnixStream, Orders, Actions) {
        let (hub, worker) = UnixStream::pair().unwrap();
        let (_page, fd) = Page::create().unwrap();
        let (orders, actions) = open(worker, Page::map(&fd).unwrap()).unwrap();
        (hub, orders, actions)
    }

    #[test]
    fn an_order_that_comes_in_pieces_is_read_when_whole() {
        let (mut hub, mut link, _actions) = pair();
        let mut bytes = Vec::new();
        protocol::encode_lead(&mut bytes);
        protocol::encode_stop(&mut bytes, Duration::from_secs(10), Duration::from_millis(2500));
        hub.write_all(&bytes[..7]).unwrap();
        assert_eq!(link.wait(None).unwrap(), Wake::Orders);
        let (kind, payload) = link.next_order().unwrap();
        assert_eq!(Order::read(kind, payload), Ok(Order::Lead));
        assert!(link.next_order().is_none());
        hub.write_all(&bytes[7..]).unwrap();
        assert_eq!(link.wait(Some(Duration::from_secs(5))).unwrap(), Wake::Orders);
        let (kind, payload) = link.next_order().unwrap();
        assert_eq!(
            Order::read(kind, payload),
            Ok(Order::Stop { work: Duration::from_secs(10), hooks: Duration::from_millis(2500) })
        );
        assert_eq!(link.wait(Some(Duration::ZERO)).unwrap(), Wake::Timeout);
        drop(hub);
        assert_eq!(link.wait(None).unwrap(), Wake::End);
    }

    #[test]
    fn a_large_action_waits_for_room_on_a_socket_that_does_not_block() {
        let (mut hub, _orders, mut actions) = pair();
        let Far::Socket(socket) = &actions.hub else { panic!("it has a socket") };
        socket.set_nonblocking(true).unwrap();
        let payload = vec![7; 4 << 20];
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            hub.read_to_end(&mut bytes).map(|_| bytes.len()).unwrap()
        });
        actions.push(&Action::Send { conn: 1, binary: true, payload: &payload }).unwrap();
        actions.flush().unwrap();
        drop((actions, _orders));
        assert!(reader.join().unwrap() > payload.len());
    }

    #[test]
    fn an_answer_is_taken_past_other_orders() {
        let (mut hub, mut link, _actions) = pair();
        let mut bytes = Vec::new();
        protocol::encode_lead(&mut bytes);
        protocol::encode_answer(&mut bytes, 7, b"[1]");
        protocol::encode_stop(&mut bytes, Duration::from_secs(10), Duration::from_millis(2500));
        hub.write_all(&bytes).unwrap();
        assert_eq!(link.wait(None).unwrap(), Wake::Orders);
        assert_eq!(link.take_answer(), Some((7, b"[1]".to_vec())));
        assert_eq!(link.take_answer(), None);
        assert_eq!(link.next_order().map(|(kind, _)| kind), Some(3));
        assert_eq!(link.next_order().map(|(kind, _)| kind), Some(4));
    }

    #[test]
    fn an_answer_larger_than_the_outbox_is_a_batch_of_its_own() {
        let (mut hub, orders, mut link) = pair();
        let body = vec![b'x'; 1 << 20];
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            hub.read_to_end(&mut all).unwrap();
            all
        });
        link.push(&Action::Done { serial: 1 }).unwrap();
        link.push(&Action::Respond { serial: 2, status: 200, head: b"", body: &body }).unwrap();
        link.push(&Action::Done { serial: 3 }).unwrap();
        link.flush().unwrap();
        drop((orders, link));
        let all = reader.join().unwrap();
        let (first, _, rest) = split_batch(&all).unwrap().unwrap();
        let (second, frames, rest) = split_batch(rest).unwrap().unwrap();
        let (third, _, rest) = split_batch(rest).unwrap().unwrap();
        assert_eq!((first, second, third), (1, 2, 3));
        assert!(frames.len() > body.len() && rest.is_empty());
    }
}
