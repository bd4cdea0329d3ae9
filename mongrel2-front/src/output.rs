//! What waits to be written to a client: bytes, which many clients may share, and parts of files.

use crate::ids::HandlerId;
use std::collections::VecDeque;
use std::fs::File;
use std::io::IoSlice;
use std::sync::Arc;

/// One piece of output.
#[derive(Debug)]
enum Content {
    Bytes { bytes: Arc<[u8]>, from: usize },
    File { file: Arc<File>, offset: u64, left: u64 },
}

#[derive(Debug)]
struct Piece {
    content: Content,
    /// The handler that hears of it when it is written, and how many bytes it was.
    credit: Option<(HandlerId, u64)>,
}

/// The output of one connection, in order.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pieces: VecDeque<Piece>,
    /// Bytes that wait, without those in files.
    queued: u64,
    /// How many of the pieces are parts of files.
    files: usize,
    /// Replies that were written since the last [`take_credits`](Self::take_credits).
    credits: Vec<(HandlerId, u64)>,
}

impl Output {
    /// Adds bytes. With `credit`, this handler hears when they are written.
    pub(crate) fn push(&mut self, bytes: Arc<[u8]>, credit: Option<HandlerId>) {
        let size = bytes.len() as u64;
        self.queued += size;
        let content = Content::Bytes { bytes, from: 0 };
        self.pieces.push_back(Piece { content, credit: credit.map(|handler| (handler, size)) });
    }

    /// Adds a part of a file.
    pub(crate) fn push_file(&mut self, file: Arc<File>, offset: u64, length: u64) {
        if length > 0 {
            self.files += 1;
            self.pieces
                .push_back(Piece { content: Content::File { file, offset, left: length }, credit: None });
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes that wait in memory.
    pub(crate) fn queued(&self) -> u64 {
        self.queued
    }

    /// Pieces that wait: a reply each.
    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether a part of a file waits.
    pub(crate) fn has_file(&self) -> bool {
        self.files > 0
    }

    /// The bytes in front of the first part of a file. Returns how many slices they are.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let bytes = self.pieces.iter().map_while(|piece| match &piece.content {
            Content::Bytes { bytes, from } => Some(&bytes[*from..]),
            Content::File { .. } => None,
        });
        slices.iter_mut().zip(bytes).map(|(slice, bytes)| *slice = IoSlice::new(bytes)).count()
    }

    /// The part of a file in front: the file, where to begin, and how many bytes.
    pub(crate) fn file(&self) -> Option<(&File, u64, u64)> {
        match &self.pieces.front()?.content {
            Content::File { file, offset, left } => Some((file, *offset, *left)),
            Content::Bytes { .. } => None,
        }
    }

    /// Removes this number of written bytes from the front.
    pub(crate) fn advance(&mut self, mut written: u64) {
        while let Some(piece) = self.pieces.front_mut() {
            let left = match &mut piece.content {
                Content::Bytes { bytes, from } => {
                    let step = written.min((bytes.len() - *from) as u64);
                    *from += step as usize;
                    self.queued -= step;
                    written -= step;
                    bytes.len() - *from
                }
                Content::File { offset, left, .. } => {
                    let step = written.min(*left);
                    *offset += step;
                    *left -= step;
                    written -= step;
                    *left as usize
                }
            };
            if left > 0 {
                return;
            }
            let piece = self.pieces.pop_front().expect("the front was just looked at");
            self.files -= usize::from(matches!(piece.content, Content::File { .. }));
            self.credits.extend(piece.credit);
        }
    }

    /// The replies that were written: by handler, with their bytes.
    pub(crate) fn take_credits(&mut self) -> Vec<(HandlerId, u64)> {
        std::mem::take(&mut self.credits)
    }

    /// Throws away what waits.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn front(output: &Output) -> Vec<u8> {
        let mut slices = [IoSlice::new(b""); 8];
        let count = output.slices(&mut slices);
        slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect()
    }

    #[test]
    fn bytes_go_out_in_order_however_they_are_cut() {
        let mut output = Output::default();
        for part in ["ab", "", "cde"] {
            output.push(part.as_bytes().into(), Some(HandlerId(part.len())));
        }
        assert_eq!((front(&output), output.queued()), (b"abcde".to_vec(), 5));
        output.advance(3);
        assert_eq!((front(&output), output.queued()), (b"de".to_vec(), 2));
        assert_eq!(output.take_credits(), [(HandlerId(2), 2), (HandlerId(0), 0)]);
        output.advance(2);
        assert!(output.is_empty());
        assert_eq!(output.take_credits(), [(HandlerId(3), 3)]);
    }

    #[test]
    fn a_file_parts_the_bytes_before_it_from_those_behind_it() {
        let file = Arc::new(File::open("/dev/null").unwrap());
        let mut output = Output::default();
        output.push(b"head"[..].into(), None);
        output.push_file(file, 10, 100);
        output.push(b"tail"[..].into(), None);
        assert_eq!((front(&output), output.has_file()), (b"head".to_vec(), true));
        output.advance(4 + 30);
        assert_eq!(output.file().map(|(_, offset, left)| (offset, left)), Some((40, 70)));
        assert_eq!(front(&output), b"");
        output.advance(70);
        assert_eq!((output.has_file(), output.file().is_none()), (false, true));
        assert_eq!(front(&output), b"tail");
    }
}
