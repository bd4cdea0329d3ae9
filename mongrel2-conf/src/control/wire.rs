//! One request and its answer over a socket, before a deadline, in bounded memory.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use mongrel2_wire::address::Address;
use mongrel2_wire::zmtp::{self, Conversation, Role, ZmtpError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send, sockopt};

use super::MAX_ANSWER;
use super::connect::connect;
use super::error::{AnswerError, ControlError};

/// Bytes read at a time.
const READ: usize = 64 << 10;

/// Between two attempts at a socket whose queue is full.
const AGAIN: Duration = Duration::from_millis(10);

/// Sends a request and returns the answer's bytes.
pub(super) fn exchange(
    address: &Address,
    request: &[u8],
    patience: Duration,
) -> Result<Vec<u8>, ControlError> {
    let mut line = Line { address, patience, deadline: Instant::now() + patience, asked: false };
    let socket = line.connect()?;
    let (mut conversation, opening) = Conversation::begin(Role::Req);
    line.send(&socket, &opening)?;
    let (mut inbox, mut parts) = (Vec::new(), Vec::new());
    let mut received = 0;
    loop {
        if conversation.is_open() && !line.asked {
            let mut message = Vec::new();
            zmtp::encode_part(&mut message, b"");
            zmtp::encode(&mut message, request);
            line.asked = true;
            line.send(&socket, &message)?;
        }
        received += line.receive(&socket, &mut inbox)?;
        let used = conversation
            .read(&inbox, |part| {
                // Two are an answer; what follows is of no interest, and costs nothing.
                if parts.len() < 2 {
                    parts.push(part.to_vec());
                }
            })
            .map_err(|cause| line.no_control_port(cause))?;
        inbox.drain(..used);
        if !line.asked && !parts.is_empty() {
            return Err(line.no_control_port(ZmtpError::BadFrame));
        }
        if let [delimiter, _] = &parts[..]
            && delimiter.is_empty()
        {
            return Ok(parts.swap_remove(1));
        }
        if parts.first().is_some_and(|delimiter| !delimiter.is_empty()) {
            return Err(ControlError::Nonsense { address: address.clone(), cause: AnswerError::NoDelimiter });
        }
        let announced = if conversation.is_open() { zmtp::frame_size(&inbox).unwrap_or(0) } else { 0 };
        if received.max(announced) > MAX_ANSWER {
            return Err(ControlError::TooLarge { address: address.clone() });
        }
    }
}

/// What every step has to know.
struct Line<'a> {
    address: &'a Address,
    patience: Duration,
    deadline: Instant,
    /// The request is on its way.
    asked: bool,
}

impl Line<'_> {
    fn connect(&self) -> Result<OwnedFd, ControlError> {
        let socket = loop {
            match self.begin() {
                Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(AGAIN.min(self.left()?));
                }
                Err(problem) if problem.kind() == io::ErrorKind::TimedOut => return Err(self.silent()),
                Err(cause) => return Err(self.unreachable(cause)),
                Ok(socket) => break socket,
            }
        };
        self.wait(&socket, PollFlags::OUT)?;
        match sockopt::socket_error(&socket) {
            Ok(Ok(())) => Ok(socket),
            Ok(Err(problem)) | Err(problem) => Err(self.unreachable(problem.into())),
        }
    }

    /// Begins to connect. A resolver takes no deadline, so names are looked up in a thread, which
    /// outlives us if it must.
    fn begin(&self) -> io::Result<OwnedFd> {
        match self.address {
            Address::Tcp { .. } if self.address.ip().is_none() => {
                let (sender, receiver) = mpsc::channel();
                let address = self.address.clone();
                thread::spawn(move || sender.send(connect(&address)));
                let left = self.deadline.saturating_duration_since(Instant::now());
                receiver.recv_timeout(left).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
            _ => connect(self.address),
        }
    }

    fn send(&self, socket: &OwnedFd, mut bytes: &[u8]) -> Result<(), ControlError> {
        while !bytes.is_empty() {
            match send(socket, bytes, SendFlags::NOSIGNAL) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::AGAIN | Errno::INTR) => self.wait(socket, PollFlags::OUT)?,
                Err(problem) => return Err(self.broken(problem)),
            }
        }
        Ok(())
    }

    /// Waits for bytes, appends them and says how many came.
    fn receive(&self, socket: &OwnedFd, inbox: &mut Vec<u8>) -> Result<usize, ControlError> {
        loop {
            self.wait(socket, PollFlags::IN)?;
            let mut piece = [0; READ];
            match rustix::io::read(socket, &mut piece) {
                Ok(0) => return Err(self.closed()),
                Ok(count) => {
                    inbox.extend_from_slice(&piece[..count]);
                    return Ok(count);
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(problem) => return Err(self.broken(problem)),
            }
        }
    }

    fn wait(&self, socket: &OwnedFd, flags: PollFlags) -> Result<(), ControlError> {
        loop {
            let left = Timespec::try_from(self.left()?).ok();
            match poll(&mut [PollFd::new(socket, flags)], left.as_ref()) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(problem) => return Err(self.broken(problem)),
            }
        }
    }

    fn left(&self) -> Result<Duration, ControlError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(self.silent()) } else { Ok(left) }
    }

    fn silent(&self) -> ControlError {
        ControlError::Silent { address: self.address.clone(), patience: self.patience }
    }

    fn closed(&self) -> ControlError {
        ControlError::Closed { address: self.address.clone(), asked: self.asked }
    }

    fn broken(&self, problem: Errno) -> ControlError {
        match problem {
            Errno::CONNRESET | Errno::PIPE => self.closed(),
            problem => self.unreachable(problem.into()),
        }
    }

    fn unreachable(&self, cause: io::Error) -> ControlError {
        ControlError::Unreachable { address: self.address.clone(), cause }
    }

    fn no_control_port(&self, cause: ZmtpError) -> ControlError {
        ControlError::NoControlPort { address: self.address.clone(), cause }
    }
}
