//! What a recipient of a multicast costs in the hub, and what a membership costs in memory.
//!
//! `cargo bench -p handler-core --bench rooms`
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot go on ends")]
#![allow(unsafe_code, reason = "an allocator that counts cannot be written without")]

use handler_core::rooms::{MemberId, Place, Plan, Rooms};
use mongrel2_wire::{ConnId, Sender};
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// The system's allocator, with a count of the bytes in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MEMBERS: u32 = 10_000;
const ROOM: &[u8] = b"lobby";

struct Bench {
    rooms: Rooms,
    places: Vec<Place>,
    sender: Sender,
    /// Stands for the pacing state of each member.
    records: Vec<u64>,
    out: Vec<u8>,
    payload: [u8; 100],
}

impl Bench {
    /// Every second of the table's connections is in the room.
    fn new() -> Self {
        let places = (0..2 * MEMBERS).map(|member| {
            // Connections of one server, whose ids have nothing to do with their number here.
            let id = 1 + i64::from(member.wrapping_mul(2_654_435_761) % 1_000_000);
            Place { link: 0, class: 0, id: ConnId::try_from(id).unwrap() }
        });
        let mut bench = Self {
            rooms: Rooms::new(64),
            places: places.collect(),
            sender: Sender::new("34f9ceee-cd52-4b7f-b197-88bf2f0ec378").unwrap(),
            records: vec![0; 2 * MEMBERS as usize],
            out: Vec::with_capacity(4 << 20),
            payload: [b'x'; 100],
        };
        for n in 0..MEMBERS {
            // Not in order.
            bench.rooms.join(ROOM, (n * 7919 % MEMBERS) * 2).unwrap();
        }
        bench
    }

    fn plan(&mut self) -> &Plan {
        let (places, sender) = (&self.places, &self.sender);
        let describe = |member: MemberId| Some(places[member as usize]);
        self.rooms.plan(ROOM, 128, describe, |_| Some(sender)).unwrap()
    }

    /// Copies address and payload of every reply.
    fn send(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        let payload = self.payload;
        out.clear();
        for chunk in self.plan().groups().flat_map(|group| group.chunks()) {
            out.extend_from_slice(chunk.address());
            out.extend_from_slice(&payload);
        }
        self.out = black_box(out);
    }

    /// The same, with a look at each member's record and a change of it.
    fn send_paced(&mut self) {
        let (places, sender) = (&self.places, &self.sender);
        let describe = |member: MemberId| Some(places[member as usize]);
        let plan = self.rooms.plan(ROOM, 128, describe, |_| Some(sender)).unwrap();
        self.out.clear();
        for chunk in plan.groups().flat_map(|group| group.chunks()) {
            let mut full = 0;
            for member in chunk.members() {
                let record = &mut self.records[*member as usize];
                full += usize::from(*record >> 63 != 0);
                *record += 1;
            }
            if full == 0 {
                self.out.extend_from_slice(chunk.address());
            } else if chunk.encode_without(&mut self.out, sender, |m| self.records[m as usize] >> 63 != 0)
                == 0
            {
                continue;
            }
            self.out.extend_from_slice(&self.payload);
        }
        black_box(&self.out);
    }
}

/// Prints the time per recipient: the best and the median of many rounds.
fn measure(what: &str, rounds: usize, mut round: impl FnMut(usize)) {
    for n in 0..rounds / 10 {
        round(n);
    }
    let mut times: Vec<_> = (0..rounds)
        .map(|n| {
            let start = Instant::now();
            round(rounds / 10 + n);
            start.elapsed().as_nanos() as f64 / f64::from(MEMBERS)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{what:<58} {:>6.2} ns best {:>6.2} ns median", times[0], times[rounds / 2]);
}

fn time() {
    let mut bench = Bench::new();
    measure("plan kept, copied", 2000, |_| bench.send());
    measure("plan kept, records checked and changed, copied", 2000, |_| bench.send_paced());
    for changes in [1, 10, 100, 1000] {
        measure(&format!("{changes} joined or left before each send, copied"), 2000, |n| {
            for k in 0..changes {
                // Some come in between the others, and go before the next send.
                let member = ((n / 2 * changes + k) as u32 * 7919 % MEMBERS) * 2 + 1;
                if n % 2 == 0 {
                    bench.rooms.join(ROOM, member).unwrap();
                } else {
                    bench.rooms.leave(ROOM, member);
                }
            }
            bench.send();
        });
    }
    measure("one of those in leaves, comes back later; records; copied", 2000, |n| {
        let member = (n as u32 / 64 * 64 * 7919 + n as u32 % 32 * 31) % MEMBERS * 2;
        if n / 32 % 2 == 0 {
            bench.rooms.leave(ROOM, member);
        } else {
            bench.rooms.join(ROOM, member).unwrap();
        }
        bench.send_paced();
    });
    measure("plan forgotten and made anew, copied", 500, |_| {
        bench.rooms.forget_plans();
        bench.send();
    });
    let mut other = Rooms::new(64);
    measure("join only", 200, |_| {
        other = Rooms::new(64);
        for member in 0..MEMBERS {
            other.join(ROOM, member).unwrap();
        }
    });
    measure("member of 3 rooms joins a 4th and leaves it", 200, |n| {
        if n == 0 {
            for (room, member) in (0..3_u8).flat_map(|room| (0..MEMBERS).map(move |member| (room, member))) {
                other.join(&[room], member).unwrap();
            }
        }
        for k in 0..MEMBERS {
            let member = k * 7919 % MEMBERS;
            other.leave(ROOM, member);
            other.join(ROOM, member).unwrap();
        }
    });
}

fn memory() {
    const MANY: u32 = 100_000;
    for count in [1, 4_u8] {
        let before = IN_USE.load(Ordering::Relaxed);
        let mut rooms = Rooms::new(64);
        for member in 0..MANY {
            for room in 0..count {
                rooms.join(&[b'r', room], member).unwrap();
            }
        }
        let joined = IN_USE.load(Ordering::Relaxed) - before;
        let sender = Sender::new("34f9ceee-cd52-4b7f-b197-88bf2f0ec378").unwrap();
        let place = |member: MemberId| {
            Some(Place { link: 0, class: 0, id: ConnId::try_from(i64::from(member) + 1_000_000).unwrap() })
        };
        for room in 0..count {
            rooms.plan(&[b'r', room], 128, place, |_| Some(&sender)).unwrap();
        }
        let planned = IN_USE.load(Ordering::Relaxed) - before;
        let each = |bytes: usize| bytes as f64 / f64::from(MANY) / f64::from(count);
        println!(
            "{MANY} members in {count} rooms: {:.1} bytes a membership, {:.1} with plans (7-digit ids)",
            each(joined),
            each(planned)
        );
    }
}

fn main() {
    memory();
    time();
}
