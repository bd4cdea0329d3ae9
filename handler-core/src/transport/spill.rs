//! Replies that libzmq would not take yet: a queue bounded in bytes.

use std::collections::VecDeque;

/// The queue of one server.
#[derive(Debug)]
pub(super) struct Spill {
    messages: VecDeque<Box<[u8]>>,
    bytes: usize,
    limit: usize,
}

impl Spill {
    pub(super) fn new(limit: usize) -> Self {
        Self { messages: VecDeque::new(), bytes: 0, limit }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps a copy of `message`. `false`: that would go beyond the limit.
    pub(super) fn push(&mut self, message: &[u8]) -> bool {
        if self.bytes + message.len() > self.limit {
            return false;
        }
        self.bytes += message.len();
        self.messages.push_back(message.into());
        true
    }

    /// Hands messages to `send` in order until it refuses one, which stays.
    pub(super) fn drain<E>(&mut self, mut send: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        while let Some(message) = self.messages.front() {
            send(message)?;
            self.bytes -= message.len();
            self.messages.pop_front();
        }
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.messages.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_stays_in_order_and_the_bound_holds() {
        let mut spill = Spill::new(5);
        assert!(spill.push(b"ab") && spill.push(b"cd") && !spill.push(b"ef") && spill.push(b"g"));
        let mut sent = Vec::new();
        let mut take_one = |message: &[u8]| match sent.len() {
            0 => {
                sent.push(message.to_vec());
                Ok(())
            }
            _ => Err(()),
        };
        assert_eq!(spill.drain(&mut take_one), Err(()));
        assert_eq!((sent, spill.bytes()), (vec![b"ab".to_vec()], 3));
        let mut rest = Vec::new();
        let _ = spill.drain(|message| {
            rest.extend_from_slice(message);
            Ok::<(), ()>(())
        });
        assert_eq!((&rest[..], spill.bytes(), spill.is_empty()), (&b"cdg"[..], 0, true));
    }
}
