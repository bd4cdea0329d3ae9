//! Messages that wait for an answer to carry them.

use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes of messages in one answer; the first goes whatever its size.
const MAX_ANSWER: usize = 1 << 20;

/// The messages, each a finished element, and their bytes.
#[derive(Debug, Default)]
pub(super) struct Queue {
    messages: VecDeque<Arc<[u8]>>,
    bytes: usize,
}

impl Queue {
    pub(super) fn push(&mut self, element: Arc<[u8]>) {
        self.bytes += element.len();
        self.messages.push_back(element);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// How many there are, and their bytes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.messages.len(), self.bytes)
    }

    /// Takes as many as one answer carries, and says how many bytes these are.
    pub(super) fn take_for_an_answer(&mut self) -> (Box<[Arc<[u8]>]>, usize) {
        let (mut count, mut bytes) = (0, 0);
        for message in &self.messages {
            if count > 0 && bytes + message.len() > MAX_ANSWER {
                break;
            }
            (count, bytes) = (count + 1, bytes + message.len());
        }
        self.bytes -= bytes;
        let messages = self.messages.drain(..count).collect();
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
        (messages, bytes)
    }

    /// Takes all of them.
    pub(super) fn take_all(&mut self) -> VecDeque<Arc<[u8]>> {
        std::mem::take(self).messages
    }

    /// Bytes that it takes, but for the messages, which rooms share.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.messages.capacity() * size_of::<Arc<[u8]>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_carries_what_fits_and_one_message_of_any_size() {
        let mut queue = Queue::default();
        for size in [MAX_ANSWER + 1, 10, MAX_ANSWER - 10, 1] {
            queue.push(vec![b'x'; size].into());
        }
        let taken: Vec<_> = (0..4).map(|_| queue.take_for_an_answer()).map(|(m, b)| (m.len(), b)).collect();
        assert_eq!(taken, [(1, MAX_ANSWER + 1), (2, MAX_ANSWER), (1, 1), (0, 0)]);
        assert_eq!((queue.waiting(), queue.size()), ((0, 0), 0), "an empty queue takes no memory");
    }

    #[test]
    fn all_messages_go_at_once_at_the_end() {
        let mut queue = Queue::default();
        queue.push(b"a"[..].into());
        queue.push(b"bc"[..].into());
        assert_eq!(queue.waiting(), (2, 3));
        assert_eq!(queue.take_all().len(), 2);
        assert!(queue.is_empty() && queue.waiting() == (0, 0));
    }
}
