//! A handler that says hello to every request: `cargo run -p mongrel2-wire --example hello -- SEND_SPEC RECV_SPEC`, the
//! two sockets of a Handler in Mongrel2's configuration, as paths: `run/requests` for `ipc://run/requests`.

use mongrel2_wire::zmtp::{self, Conversation, Role};
use mongrel2_wire::{ConnId, Envelope, Head, Kind, Sender, Targets, reply};
use std::error::Error;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = std::env::args().skip(1);
    let (Some(requests), Some(replies)) = (paths.next(), paths.next()) else {
        return Err("usage: hello SEND_SPEC RECV_SPEC".into());
    };
    serve(&requests, &replies)
}

/// Answers until Mongrel2 ends.
pub fn serve(requests: &str, replies: &str) -> Result<(), Box<dyn Error>> {
    let mut replies = Peer::connect(replies, Role::Xpub)?;
    // Mongrel2 subscribes; what is sent before that is lost.
    replies.receive()?;
    let mut requests = Peer::connect(requests, Role::Pull)?;
    loop {
        for message in requests.receive()? {
            let request = Envelope::parse(&message)?;
            if Head::read(&request)?.kind == Kind::Http {
                let (sender, id) = (Sender::new(request.sender)?, ConnId::try_from(request.conn_id)?);
                let mut answer = Vec::new();
                let response = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";
                reply::encode(&mut answer, &sender, Targets::one(&id), response);
                let mut frame = Vec::new();
                zmtp::encode(&mut frame, &answer);
                replies.socket.write_all(&frame)?;
            }
        }
    }
}

/// One of Mongrel2's two sockets.
struct Peer {
    socket: UnixStream,
    conversation: Conversation,
    inbox: Vec<u8>,
}

impl Peer {
    fn connect(path: &str, role: Role) -> Result<Self, Box<dyn Error>> {
        let mut socket = UnixStream::connect(path)?;
        let (conversation, greeting) = Conversation::begin(role);
        socket.write_all(&greeting)?;
        Ok(Self { socket, conversation, inbox: Vec::new() })
    }

    /// Waits for at least one message.
    fn receive(&mut self) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
        let (mut messages, mut bytes) = (Vec::new(), [0; 4096]);
        while messages.is_empty() {
            match self.socket.read(&mut bytes)? {
                0 => return Err("Mongrel2 has closed the connection".into()),
                count => self.inbox.extend_from_slice(&bytes[..count]),
            }
            let used = self.conversation.read(&self.inbox, |message| messages.push(message.to_vec()))?;
            self.inbox.drain(..used);
        }
        Ok(messages)
    }
}
