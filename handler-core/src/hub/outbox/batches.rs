//! Portions of shared messages that leave together: one reply for all connections that are equally far.

use crate::hub::ids::LinkId;
use mongrel2_wire::ConnId;
use std::ops::Range;
use std::sync::Arc;

/// The portions that are collected in a round, and who gets them.
#[derive(Debug)]
pub(in crate::hub) struct Batches {
    open: Vec<Batch>,
    /// The number of the round. A connection that has joined a batch of this round gets nothing else before the batches
    /// are written.
    round: u32,
    bytes: usize,
}

/// A part of a message, and the connections that get it now.
#[derive(Debug)]
pub(in crate::hub) struct Batch {
    pub link: LinkId,
    pub message: Arc<[u8]>,
    pub part: Range<usize>,
    pub ids: Vec<ConnId>,
}

impl Default for Batches {
    fn default() -> Self {
        Self { open: Vec::new(), round: 1, bytes: 0 }
    }
}

impl Batches {
    /// The number of different portions that are collected at a time.
    const OPEN: usize = 16;

    /// The number of this round, never 0.
    pub fn round(&self) -> u32 {
        self.round
    }

    /// Adds a connection to those that get this part. A reply reaches up to `targets` of them.
    pub fn join(
        &mut self,
        link: LinkId,
        message: &Arc<[u8]>,
        part: Range<usize>,
        id: ConnId,
        targets: usize,
    ) {
        let is_same = |batch: &&mut Batch| {
            batch.link == link && batch.part == part && Arc::ptr_eq(&batch.message, message)
        };
        if let Some(batch) = self.open.iter_mut().rev().find(is_same) {
            if batch.ids.len().is_multiple_of(targets) {
                self.bytes += part.len();
            }
            batch.ids.push(id);
            return;
        }
        self.bytes += part.len();
        self.open.push(Batch { link, message: Arc::clone(message), part, ids: vec![id] });
    }

    /// Bytes of the replies that the batches will be.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the batches are to be written before another one is begun.
    pub fn is_full(&self) -> bool {
        self.open.len() >= Self::OPEN
    }

    /// Ends the round and hands its batches out, in the order in which they were begun.
    pub fn take(&mut self) -> Vec<Batch> {
        self.round = self.round.checked_add(1).unwrap_or(1);
        self.bytes = 0;
        std::mem::take(&mut self.open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_are_equally_far_share_a_batch() {
        let mut batches = Batches::default();
        let (a, b): (Arc<[u8]>, Arc<[u8]>) = (b"0123456789"[..].into(), b"0123456789"[..].into());
        let id = |n: i64| ConnId::try_from(n).unwrap();
        for n in 1..=5 {
            batches.join(LinkId(0), &a, 0..4, id(n), 2);
        }
        batches.join(LinkId(0), &a, 4..8, id(6), 2);
        batches.join(LinkId(0), &b, 0..4, id(7), 2);
        batches.join(LinkId(1), &a, 0..4, id(1), 2);
        assert_eq!(batches.bytes(), 3 * 4 + 4 + 4 + 4, "two ids a reply");
        let round = batches.round();
        let taken = batches.take();
        assert_eq!(taken.iter().map(|batch| batch.ids.len()).collect::<Vec<_>>(), [5, 1, 1, 1]);
        assert_ne!(batches.round(), round);
        assert_eq!((batches.bytes(), batches.take().len()), (0, 0));
    }
}
