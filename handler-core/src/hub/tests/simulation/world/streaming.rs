//! Answers in pieces, as workers give them: within their window, with and without a length, whole and not.

use super::super::worker::{Begun, Streaming};
use super::World;
use crate::hub::WorkerId;
use crate::worker::protocol::{Action, STREAM_WINDOW, encode_action};

impl World {
    /// Begins to answer with the tag and so many dots.
    pub(super) fn begin_stream(&mut self, id: WorkerId, job: Begun, dots: usize, has_read: bool) {
        let tag = job.tag.to_string();
        let dots = if self.random.percent(10) { dots * 4 } else { dots };
        let total = tag.len() + dots;
        let length = match self.random.below(20) {
            0..6 => Some(total),
            6 => Some(total + 1),
            7 => Some(tag.len() + dots / 2),
            _ => None,
        };
        let mut head = String::from("x-streams: 1\r\n");
        if let Some(length) = length {
            head.push_str(&format!("Content-Length: {length}\r\n"));
        }
        let begins = Action::Begin { serial: job.serial, status: 200, head: head.as_bytes() };
        self.totals.streamed += 1;
        let worker = self.workers.get_mut(&id).expect("it lives");
        encode_action(&mut worker.outbox, &begins);
        encode_action(&mut worker.outbox, &Action::Piece { serial: job.serial, bytes: tag.as_bytes() });
        let (serial, under_way) = (job.serial, tag.len());
        worker.streams.push(Streaming { serial, left: dots, under_way, gone: false, has_read });
    }

    /// Goes on with one of its answers, if there is room for more of it.
    pub(super) fn worker_streams(&mut self, id: WorkerId, eager: bool) {
        let worker = self.workers.get_mut(&id).expect("it lives");
        if worker.streams.is_empty() {
            return;
        }
        let which = self.random.below(worker.streams.len());
        let chance = self.random.below(100);
        let size = 1 + self.random.below(60_000);
        let stream = &mut worker.streams[which];
        let (serial, size) = (stream.serial, size.min(stream.left));
        let fits = stream.under_way == 0 || stream.under_way + size <= STREAM_WINDOW;
        let last = match chance {
            0..25 if stream.gone => Action::Abort { serial },
            25..50 if stream.gone => Action::Done { serial },
            50..75 if stream.gone => Action::End { serial },
            // Whoever waits for a client that does not read gives up some day.
            0..3 if !eager || !fits => Action::Abort { serial },
            _ if stream.left == 0 => Action::End { serial },
            _ if !fits => return,
            _ => {
                stream.left -= size;
                stream.under_way += size;
                let bytes = vec![b'.'; size];
                return encode_action(&mut worker.outbox, &Action::Piece { serial, bytes: &bytes });
            }
        };
        worker.streams.swap_remove(which);
        encode_action(&mut worker.outbox, &last);
    }
}
