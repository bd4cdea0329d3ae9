//! A client's socket: bytes in and out, with or without TLS. The loop sees plain bytes either way.

use super::bounds::{SLICES, WRITE_SIZE};
use super::passage::{Input, Written};
use super::secure::Secure;
use crate::output::Output;
use crate::peer::Peer;
use crate::tls::Session;
use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, send, sendmsg, shutdown, sockopt,
};
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// A socket that does not block.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(Plain),
    Secure(Box<Secure>),
}

/// A socket without TLS.
#[derive(Debug)]
pub(super) struct Plain {
    socket: OwnedFd,
    /// The kernel holds back what does not fill a segment.
    is_corked: bool,
}

impl Transport {
    pub(super) fn plain(socket: OwnedFd) -> Self {
        Self::Plain(Plain { socket, is_corked: false })
    }

    pub(super) fn secure(socket: OwnedFd, session: Session, peer: Peer) -> Self {
        Self::Secure(Box::new(Secure::new(socket, session, peer)))
    }

    /// Reads once.
    #[inline]
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Input> {
        match self {
            Self::Plain(plain) => plain.read(buffer),
            Self::Secure(secure) => secure.read(buffer),
        }
    }

    /// Reads once, and throws away what came.
    pub(super) fn discard(&mut self, buffer: &mut [u8]) -> io::Result<Input> {
        read(self.as_fd(), buffer)
    }

    /// Writes as much of the output as the system takes, up to the bound of a turn.
    #[inline]
    pub(super) fn write(&mut self, output: &mut Output) -> io::Result<Written> {
        match self {
            Self::Plain(plain) => plain.write(output),
            Self::Secure(secure) => secure.write(output),
        }
    }

    /// The client, once, when its TLS handshake is done.
    pub(super) fn take_peer(&mut self) -> Option<Peer> {
        match self {
            Self::Plain(_) => None,
            Self::Secure(secure) => secure.take_peer(),
        }
    }

    /// Says that nothing more will be written. [`flush`](Self::flush) until nothing is left, then
    /// [`shut_down`](Self::shut_down).
    pub(super) fn finish(&mut self) {
        if let Self::Secure(secure) = self {
            secure.finish();
        }
    }

    /// Writes what is left of what was taken from the output. `true`: the system has it all.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        match self {
            Self::Plain(_) => Ok(true),
            Self::Secure(secure) => secure.flush().map(|()| !secure.has_unsent()),
        }
    }

    /// Whether something waits until the system takes more.
    pub(super) fn has_unsent(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Secure(secure) => secure.has_unsent(),
        }
    }

    /// Nothing more will be written. What was written still arrives.
    pub(super) fn shut_down(&self) -> io::Result<()> {
        Ok(shutdown(self, Shutdown::Write)?)
    }

    /// Makes the end of this socket a reset, so that the client does not take what it has for the whole.
    pub(super) fn reset(&self) {
        let _ = sockopt::set_socket_linger(self, Some(Duration::ZERO));
    }
}

fn read(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Input> {
    loop {
        return match recv(socket, &mut *buffer, RecvFlags::empty()) {
            Ok((_, 0)) => Ok(Input::End),
            Ok((_, size)) => Ok(Input::Bytes { size, is_last: size < buffer.len() }),
            Err(Errno::AGAIN) => Ok(Input::Nothing),
            Err(Errno::INTR) => continue,
            Err(problem) => Err(problem.into()),
        };
    }
}

impl Plain {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Input> {
        read(self.socket.as_fd(), buffer)
    }

    fn write(&mut self, output: &mut Output) -> io::Result<Written> {
        let mut written = Written::default();
        self.set_corked(output.has_file());
        while !written.is_blocked && !output.is_empty() && written.bytes < WRITE_SIZE as u64 {
            let (size, is_blocked) = match output.file() {
                Some((file, offset, length)) => self.send_file(file, offset, length)?,
                None => self.send_slices(output)?,
            };
            output.advance(size as u64);
            written.bytes += size as u64;
            written.is_blocked = is_blocked;
        }
        self.set_corked(output.has_file());
        Ok(written)
    }

    /// Full segments for files: a download over loopback is half as fast without. It only costs speed where it fails.
    fn set_corked(&mut self, corked: bool) {
        if self.is_corked != corked {
            self.is_corked = corked;
            let _ = sockopt::set_tcp_cork(&self.socket, corked);
        }
    }

    fn send_slices(&self, output: &Output) -> io::Result<(usize, bool)> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = output.slices(&mut slices);
        let slices = &slices[..count];
        let size: usize = slices.iter().map(|slice| slice.len()).sum();
        if size == 0 {
            return Ok((0, false));
        }
        let result = match slices {
            [slice] => send(&self.socket, slice, SendFlags::NOSIGNAL),
            _ => sendmsg(&self.socket, slices, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL),
        };
        match result {
            // The kernel reports room again after it has taken less than it was given.
            Ok(taken) => Ok((taken, taken < size)),
            Err(Errno::AGAIN) => Ok((0, true)),
            Err(Errno::INTR) => Ok((0, false)),
            Err(problem) => Err(problem.into()),
        }
    }

    fn send_file(&self, file: &std::fs::File, mut offset: u64, length: u64) -> io::Result<(usize, bool)> {
        let size = usize::try_from(length).unwrap_or(WRITE_SIZE).min(WRITE_SIZE);
        match sendfile(&self.socket, file, Some(&mut offset), size) {
            // The head has promised bytes that are gone. Only the end of the connection can tell the client.
            Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, "the file became shorter")),
            Ok(taken) => Ok((taken, false)),
            Err(Errno::AGAIN) => Ok((0, true)),
            Err(Errno::INTR) => Ok((0, false)),
            Err(problem) => Err(problem.into()),
        }
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(plain) => plain.socket.as_fd(),
            Self::Secure(secure) => secure.socket.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;

    /// A client and its transport.
    fn pair() -> (TcpStream, Transport) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        (client, Transport::plain(socket.into()))
    }

    fn file(name: &str, bytes: &[u8]) -> Arc<File> {
        let path = std::env::temp_dir().join(format!("front-transport-{name}-{}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        Arc::new(file)
    }

    fn await_input(transport: &Transport) {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
        assert_eq!(poll(&mut [PollFd::new(transport, PollFlags::IN)], Some(&patience)).unwrap(), 1);
    }

    #[test]
    fn reads_tell_bytes_from_silence_and_from_the_end() {
        let (mut client, mut transport) = pair();
        let mut buffer = [0; 8];
        assert_eq!(transport.read(&mut buffer).unwrap(), Input::Nothing);
        client.write_all(b"abc").unwrap();
        await_input(&transport);
        assert_eq!(transport.read(&mut buffer).unwrap(), Input::Bytes { size: 3, is_last: true });
        client.shutdown(std::net::Shutdown::Write).unwrap();
        await_input(&transport);
        assert_eq!(transport.read(&mut buffer).unwrap(), Input::End);
    }

    #[test]
    fn bytes_and_files_arrive_in_order() {
        let (mut client, mut transport) = pair();
        let mut output = Output::default();
        // More pieces than one call takes, and empty ones.
        (0..SLICES * 2).for_each(|number| output.push(format!("{number},").into_bytes().into(), None));
        output.push(b""[..].into(), None);
        output.push_file(file("order", b"0123456789"), 2, 5);
        output.push(b"."[..].into(), None);
        let written = transport.write(&mut output).unwrap();
        assert!(output.is_empty() && !written.is_blocked);
        drop(transport);
        let mut got = String::new();
        client.read_to_string(&mut got).unwrap();
        let numbers: String = (0..SLICES * 2).map(|number| format!("{number},")).collect();
        assert_eq!(got, format!("{numbers}23456."));
        assert_eq!(written.bytes, got.len() as u64);
    }

    #[test]
    fn a_full_socket_blocks_and_a_gone_client_is_an_error() {
        let (client, mut transport) = pair();
        let mut output = Output::default();
        output.push(vec![b'x'; 64 << 20].into(), None);
        let mut turns = 0;
        while !transport.write(&mut output).unwrap().is_blocked {
            turns += 1;
            assert!(turns < 100);
        }
        assert!(!output.is_empty());
        assert_eq!(transport.write(&mut output).unwrap(), Written { bytes: 0, is_blocked: true });
        // Unread bytes make it a reset.
        drop(client);
        let mut problem = None;
        for _ in 0..1000 {
            match transport.write(&mut output) {
                Err(found) => {
                    problem = Some(found.kind());
                    break;
                }
                Ok(_) => std::thread::yield_now(),
            }
        }
        assert!(matches!(problem, Some(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)), "{problem:?}");
    }

    #[test]
    fn a_file_that_became_shorter_ends_the_connection() {
        let (_client, mut transport) = pair();
        let mut output = Output::default();
        output.push_file(file("short", b"0123456789"), 0, 20);
        let problem = transport.write(&mut output).unwrap_err();
        assert_eq!(problem.kind(), ErrorKind::UnexpectedEof);
    }
}
