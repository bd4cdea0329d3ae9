//! What may stand between a browser and a server: it passes on, refuses, keeps back, and breaks off.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const REFUSAL: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A proxy on a port of its own. Its threads end with the process.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    refuses_upgrades: AtomicBool,
    keeps_events: AtomicBool,
    refuses_all: AtomicBool,
    swallows: AtomicBool,
    /// Both ends of all connections that there were since the last cut.
    ends: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Starts one for a server on this port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// When there is no free port.
    pub fn start(target: u16) -> Arc<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("it listens").port();
        let [refuses_upgrades, keeps_events, refuses_all, swallows] = Default::default();
        let ends = Mutex::default();
        let proxy = Arc::new(Self { port, refuses_upgrades, keeps_events, refuses_all, swallows, ends });
        let shared = Arc::clone(&proxy);
        std::thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let proxy = Arc::clone(&shared);
                std::thread::spawn(move || proxy.serve(client, server));
            }
        });
        proxy
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it answers 400 to those who want a WebSocket.
    pub fn refuse_upgrades(&self, yes: bool) {
        self.refuses_upgrades.store(yes, Ordering::SeqCst);
    }

    /// Whether it waits for the end of event streams before it passes them on, which never comes.
    pub fn keep_events(&self, yes: bool) {
        self.keeps_events.store(yes, Ordering::SeqCst);
    }

    /// Whether it breaks off all that is new.
    pub fn refuse_all(&self, yes: bool) {
        self.refuses_all.store(yes, Ordering::SeqCst);
    }

    /// Whether it loses all that the server says, while what clients say arrives.
    pub fn swallow(&self, yes: bool) {
        self.swallows.store(yes, Ordering::SeqCst);
    }

    /// Breaks off all connections that there are.
    pub fn cut(&self) {
        for end in self.ends.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // It may be over already.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    fn serve(self: Arc<Self>, mut client: TcpStream, mut server: TcpStream) {
        let (Ok(client_end), Ok(server_end)) = (client.try_clone(), server.try_clone()) else { return };
        let (Ok(to), Ok(from)) = (client.try_clone(), server.try_clone()) else { return };
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).extend([client_end, server_end]);
        if self.refuses_all.load(Ordering::SeqCst) {
            self.cut();
        }
        let keeps = Arc::new(AtomicBool::default());
        let (proxy, shared) = (Arc::clone(&self), Arc::clone(&keeps));
        std::thread::spawn(move || proxy.pass_back(from, to, &shared));
        // A browser asks for one thing at a time: what arrives together is of one request.
        let mut piece = [0; 65_536];
        while let Ok(size @ 1..) = client.read(&mut piece) {
            let text = String::from_utf8_lossy(&piece[..size]);
            if text.contains("Upgrade: websocket") && self.refuses_upgrades.load(Ordering::SeqCst) {
                let _ = client.write_all(REFUSAL);
                break;
            }
            let keep = text.contains("text/event-stream") && self.keeps_events.load(Ordering::SeqCst);
            keeps.store(keep, Ordering::SeqCst);
            if server.write_all(&piece[..size]).is_err() {
                break;
            }
        }
        let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    }
    /// Passes on what the server says, unless that is kept or lost.
    fn pass_back(&self, mut from: TcpStream, mut to: TcpStream, keeps: &AtomicBool) {
        let mut piece = [0; 65_536];
        while let Ok(size @ 1..) = from.read(&mut piece) {
            let is_lost = keeps.load(Ordering::SeqCst) || self.swallows.load(Ordering::SeqCst);
            if !is_lost && to.write_all(&piece[..size]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    }
}
