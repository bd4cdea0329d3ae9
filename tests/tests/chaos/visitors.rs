//! HTTP clients that ask for numbered pages without pause, each on its own connection, and check every answer.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tests::client::{Client, get};

/// Longer than anything that happens to the server here.
const PATIENCE: Duration = Duration::from_secs(60);

/// Clients of `/page/NUMBER` or another folder, whose script answers the number.
pub(crate) struct Visitors {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Visits>>,
}

/// What they got.
#[derive(Debug, Default)]
pub(crate) struct Visits {
    /// When each request with a right answer was sent, and how long it took.
    pub right: Vec<(Instant, Duration)>,
    /// Requests that ran in a worker that died: 502.
    pub died: usize,
    /// Requests that were refused because there were too many: 503.
    pub refused: Vec<Duration>,
    /// Any other status, and answers to somebody else.
    pub wrong: Vec<String>,
    /// Connections that ended in the middle: only a server that goes may do that.
    pub cut: usize,
}

impl Visitors {
    /// So many at once. They come again when a connection ends.
    pub(crate) fn come(port: u16, count: usize) -> Self {
        Self::come_to("page", port, count)
    }

    /// The same in another folder than `page`.
    pub(crate) fn come_to(folder: &'static str, port: u16, count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let visit = |number| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || visit(folder, port, number, count, &stop))
        };
        Self { threads: (0..count).map(visit).collect(), stop }
    }

    /// Asks no more, and tells.
    pub(crate) fn go(self) -> Visits {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Visits::default();
        for thread in self.threads {
            let one = thread.join().expect("a visitor does not fail");
            all.right.extend(one.right);
            all.died += one.died;
            all.refused.extend(one.refused);
            all.wrong.extend(one.wrong);
            all.cut += one.cut;
        }
        all
    }
}

impl Visits {
    /// How long the answers took to requests that were under way at some time of these spans; sorted.
    pub(crate) fn during(&self, spans: &[(Instant, Instant)]) -> Vec<Duration> {
        let touches = |(sent, took): &&(Instant, Duration)| {
            spans.iter().any(|(begin, end)| *sent <= *end && *sent + *took >= *begin)
        };
        let mut times: Vec<_> = self.right.iter().filter(touches).map(|(_, took)| *took).collect();
        times.sort_unstable();
        times
    }
}

/// The value below which so many of 100 lie. None of none.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted
        .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

fn visit(folder: &str, port: u16, number: usize, count: usize, stop: &AtomicBool) -> Visits {
    let mut visits = Visits::default();
    let mut client: Option<Client> = None;
    let mut page = number;
    while !stop.load(Ordering::Relaxed) {
        let Some(open) = client.as_mut() else {
            match Client::try_connect(port) {
                Ok(mut fresh) => {
                    fresh.set_patience(PATIENCE);
                    client = Some(fresh);
                }
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
            continue;
        };
        page += count;
        let sent = Instant::now();
        let answer = open.try_send(get(&format!("/{folder}/{page}"))).and_then(|()| open.try_read());
        match answer {
            Ok(answer) if answer.status == 200 && answer.text() == page.to_string() => {
                visits.right.push((sent, sent.elapsed()));
            }
            Ok(answer) if answer.status == 502 => visits.died += 1,
            Ok(answer) if answer.status == 503 => {
                visits.refused.push(sent.elapsed());
                // Whoever is told that it is too much waits a moment; 503 closes nothing.
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(answer) => visits.wrong.push(format!("page {page}: {} {}", answer.status, answer.text())),
            Err(problem) if matches!(problem.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                visits.wrong.push(format!("page {page}: no answer"));
                client = None;
            }
            Err(_) => {
                visits.cut += 1;
                client = None;
            }
        }
    }
    visits
}
