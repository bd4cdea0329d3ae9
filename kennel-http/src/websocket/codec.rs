//! Messages compressed and inflated (RFC 7692, section 7.2), each one for itself.
//!
//! A [`Codec`] belongs to whoever serves many conversations: its compressors and its inflater take
//! some hundred kilobytes, are made when first needed and are reset between messages.

use super::deflate::Deflate;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use thiserror::Error;

/// What a sync flush ends with, and a compressed message leaves out.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// What an inflater gets after a message: what the message left out, and a last block that is empty. Only when the
/// inflater then says "end" was the message whole.
const ENDING: [u8; 9] = [0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff];
/// A message may hold several streams (7.2.3.4 allows final blocks), but not to keep the inflater busy.
const MAX_STREAMS: usize = 16;
/// What a codec keeps of its scratch memory after a large message.
const KEEP: usize = 256 << 10;

/// Why a message cannot be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InflateError {
    /// It is more than the limit.
    #[error("the inflated message is above the limit")]
    TooBig,
    /// It is no deflate stream, or breaks off.
    #[error("the compressed message is corrupt")]
    Corrupt,
}

/// Compressors and an inflater, reused.
#[derive(Debug)]
pub struct Codec {
    level: Compression,
    /// By window, from [`Deflate::MIN_BITS`] up.
    compressors: [Option<Compress>; 7],
    inflater: Option<Decompress>,
    scratch: Vec<u8>,
}

impl Default for Codec {
    fn default() -> Self {
        Self::new()
    }
}

impl Codec {
    /// Payloads below this size are better sent as they are.
    pub const MIN_PAYLOAD: usize = 128;

    /// A codec with level 2. Measured on JSON chat messages of 128 to 20,000 bytes: as small as level 6 in
    /// 98 to 42 % of its time; level 1 takes a third to half of level 2's and makes 2 to 53 % more bytes.
    pub fn new() -> Self {
        Self::with_level(2)
    }

    /// A codec with zlib's level 1 (fast) to 9 (small).
    pub fn with_level(level: u32) -> Self {
        let level = Compression::new(level.clamp(1, 9));
        Self { level, compressors: Default::default(), inflater: None, scratch: Vec::new() }
    }

    /// Appends `payload` compressed, without the four bytes that every sync flush ends with. Never
    /// appends nothing: an empty payload is one byte. `false`, with `out` as it was: the compressor failed,
    /// which it has no reason to.
    pub fn compress(&mut self, payload: &[u8], deflate: Deflate, out: &mut Vec<u8>) -> bool {
        if payload.is_empty() {
            // 7.2.3.6: an empty block without its length.
            out.push(0);
            return true;
        }
        let start = out.len();
        let bits = deflate.window_bits();
        let compressor = self.compressors[usize::from(bits - Deflate::MIN_BITS)]
            .get_or_insert_with(|| Compress::new_with_window_bits(self.level, false, bits));
        compressor.reset();
        out.reserve(payload.len() + payload.len() / 8 + 64);
        loop {
            let taken = usize::try_from(compressor.total_in()).unwrap_or(payload.len());
            let left = payload.get(taken..).unwrap_or_default();
            // Room that is left means that all is taken and flushed (zlib.h, `deflate`).
            if compressor.compress_vec(left, out, FlushCompress::Sync).is_err() || out.len() < out.capacity()
            {
                break;
            }
            out.reserve(out.len() - start);
        }
        let whole = compressor.total_in() == payload.len() as u64 && out[start..].ends_with(&TAIL);
        out.truncate(if whole { out.len() - TAIL.len() } else { start });
        whole
    }

    /// The message in `payload`, when it is at most `limit` bytes. No more than one byte above the limit
    /// is ever inflated or reserved, whatever the payload.
    ///
    /// # Errors
    ///
    /// [`InflateError`] when it is more, or no whole deflate stream.
    pub fn inflate(&mut self, payload: &[u8], limit: usize) -> Result<Vec<u8>, InflateError> {
        if payload.is_empty() {
            return Ok(Vec::new());
        }
        let inflater = self.inflater.get_or_insert_with(|| Decompress::new(false));
        inflater.reset(false);
        // One byte above the limit tells a message that fits exactly from one that does not.
        let most = limit.saturating_add(1);
        let mut out = Vec::new();
        out.reserve_exact(payload.len().saturating_mul(4).clamp(256, 64 << 10).min(most));
        let mut streams = 0;
        for (part, is_ending) in [(payload, false), (&ENDING[..], true)] {
            let mut left = part;
            loop {
                if out.len() == out.capacity() {
                    let more = out.capacity().max(256).min(most.saturating_sub(out.len()));
                    out.reserve_exact(more);
                }
                let (taken, made) = (inflater.total_in(), out.len());
                let status = inflater
                    .decompress_vec(left, &mut out, FlushDecompress::Sync)
                    .map_err(|_| InflateError::Corrupt)?;
                if out.len() > limit {
                    return Err(InflateError::TooBig);
                }
                let taken = usize::try_from(inflater.total_in() - taken).unwrap_or(left.len());
                left = left.get(taken..).unwrap_or_default();
                if status == Status::StreamEnd {
                    if is_ending && left.is_empty() {
                        return Ok(out);
                    }
                    streams += 1;
                    if streams > MAX_STREAMS {
                        return Err(InflateError::Corrupt);
                    }
                    inflater.reset(false);
                } else if out.len() < out.capacity() && (left.is_empty() || (taken == 0 && made == out.len()))
                {
                    break;
                }
            }
            if !left.is_empty() {
                break;
            }
        }
        Err(InflateError::Corrupt)
    }

    /// `payload` compressed, where that is agreed on and makes it smaller.
    pub(super) fn compress_if_smaller(&mut self, payload: &[u8], deflate: Deflate) -> Option<&[u8]> {
        if payload.len() < Self::MIN_PAYLOAD {
            return None;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.shrink_to(KEEP);
        let whole = self.compress(payload, deflate, &mut scratch);
        self.scratch = scratch;
        (whole && self.scratch.len() < payload.len()).then_some(&self.scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Random;
    use super::*;

    fn inflate(payload: &[u8]) -> Result<Vec<u8>, InflateError> {
        Codec::new().inflate(payload, 1 << 20)
    }

    fn compress(payload: &[u8], bits: u8) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(Codec::new().compress(payload, Deflate::new(bits).unwrap(), &mut out));
        out
    }

    #[test]
    fn the_examples_of_the_rfc_inflate() {
        // 7.2.3.1, 7.2.3.3 (no compression), 7.2.3.4 (final block), 7.2.3.5 (two blocks), 7.2.3.6 (empty).
        for compressed in [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
        ] {
            assert_eq!(inflate(compressed).unwrap(), b"Hello", "{compressed:x?}");
        }
        assert_eq!(inflate(&[0x00]).unwrap(), b"");
        assert_eq!(inflate(b"").unwrap(), b"");
    }

    #[test]
    fn the_examples_of_the_rfc_are_what_is_sent() {
        assert_eq!(compress(b"Hello", 15), [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
        assert_eq!(compress(b"", 15), [0x00]);
    }

    #[test]
    fn every_size_and_window_comes_back() {
        let mut random = Random(4);
        let mut codec = Codec::new();
        for bits in 9..=15 {
            for size in [1, 2, 125, 126, 511, 512, 513, 4096, 40_000, 65_535, 65_536, 300_000] {
                for spread in [2, 256] {
                    let payload: Vec<u8> = (0..size).map(|_| random.below(spread) as u8).collect();
                    let mut out = b"before".to_vec();
                    assert!(codec.compress(&payload, Deflate::new(bits).unwrap(), &mut out));
                    assert_eq!(codec.inflate(&out[6..], size), Ok(payload));
                    assert_eq!(codec.inflate(&out[6..], size - 1), Err(InflateError::TooBig));
                }
            }
        }
    }

    #[test]
    fn nothing_reaches_back_beyond_the_agreed_window() {
        let mut random = Random(5);
        for bits in 9..=15 {
            let window = 1 << bits;
            // Noise that comes twice: worth a reach only where the window spans it (zlib's is 262 shorter).
            for (distance, is_seen) in [(window - 262, true), (window + 1, false)] {
                let noise: Vec<u8> = (0..distance).map(|_| random.byte()).collect();
                let size = compress(&noise.repeat(2), bits).len();
                assert_eq!(size < distance * 3 / 2, is_seen, "{bits} bits, {distance}: {size}");
                assert_eq!(size >= distance * 2, !is_seen, "{bits} bits, {distance}: {size}");
            }
        }
    }

    #[test]
    fn a_bomb_ends_at_the_limit() {
        let bomb = compress(&vec![0; 2 << 20], 15);
        assert!(bomb.len() < 4096, "{}", bomb.len());
        let mut codec = Codec::new();
        assert_eq!(codec.inflate(&bomb, 100_000), Err(InflateError::TooBig));
        assert_eq!(codec.inflate(&bomb, 0), Err(InflateError::TooBig));
        let whole = codec.inflate(&bomb, 2 << 20).unwrap();
        assert!(whole.capacity() <= (2 << 20) + 1);
        // The codec is none the worse for it.
        assert_eq!(codec.inflate(&compress(b"Hello", 15), 5).unwrap(), b"Hello");
    }

    #[test]
    fn what_breaks_off_or_is_no_stream_is_corrupt() {
        let whole = compress("a text that is long enough to have several codes ".repeat(9).as_bytes(), 15);
        for end in 1..whole.len() {
            assert_eq!(inflate(&whole[..end]), Err(InflateError::Corrupt), "{end}");
        }
        assert_eq!(inflate(&[0xff; 9]), Err(InflateError::Corrupt));
        // Empty streams without end.
        assert_eq!(inflate(&[0x03, 0x00].repeat(1000)), Err(InflateError::Corrupt));
    }

    #[test]
    fn random_bytes_neither_panic_nor_outgrow_the_limit() {
        let mut random = Random(6);
        let mut codec = Codec::new();
        for _ in 0..5000 {
            let bytes: Vec<u8> = (0..random.below(80)).map(|_| random.byte()).collect();
            if let Ok(message) = codec.inflate(&bytes, 1000) {
                assert!(message.len() <= 1000);
            }
        }
    }

    #[test]
    fn only_what_gets_smaller_is_compressed() {
        let mut random = Random(7);
        let mut codec = Codec::new();
        let noise: Vec<u8> = (0..1000).map(|_| random.byte()).collect();
        assert!(codec.compress_if_smaller(&noise, Deflate::default()).is_none());
        assert!(codec.compress_if_smaller(&[b'x'; Codec::MIN_PAYLOAD - 1], Deflate::default()).is_none());
        assert!(codec.compress_if_smaller(&[b'x'; Codec::MIN_PAYLOAD], Deflate::default()).is_some());
    }
}
