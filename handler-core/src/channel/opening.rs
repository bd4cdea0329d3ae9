//! The opening message of a connection, kept for as long as it lives.
//!
//! A script may look at `conn.request` at any time, in any worker, so the hub has to keep it. A browser's
//! handshake is 500 to 1,000 bytes; most of them are the same in every other one. Deflated against a
//! dictionary of what handshakes are made of, a fifth to a third is left.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What handshakes are made of, the most usual last: nearer is cheaper. Part of no stored format; it may change.
const DICTIONARY: &[u8] = b"11:x-real-ip,12:x-request-id,17:x-forwarded-proto,5:https,6:origin,8:https://\
12:http://localhost:10:sec-gpc,1:1,9:sec-fetch-dest,9:websocket,14:sec-fetch-mode,9:websocket,14:sec-fetch-site,\
11:same-origin,22:sec-websocket-protocol,4:dnt,1:1,6:cookie,8:session=kennel=_ga=GA1.1.csrftoken=\
87:Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0,\
117:Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15,\
135:Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 \
Mobile/15E148 Safari/604.1,125:Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 \
Mobile Safari/537.36,111:Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
Chrome/126.0.0.0 Safari/537.36,15:accept-language,35:de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7,14:en-US,en;q=0.5,23:en-GB,en;\
q=0.9,15:accept-encoding,17:gzip, deflate, br,23:gzip, deflate, br, zstd,13:cache-control,8:no-cache,6:pragma,8:no-cache,\
6:accept,3:*/*,10:user-agent,24:sec-websocket-extensions,42:permessage-deflate; client_max_window_bits,18:permessage-deflate,\
21:sec-websocket-version,2:13,17:sec-websocket-key,24:==,10:connection,7:Upgrade,21:keep-alive, Upgrade,7:upgrade,9:websocket,\
4:host,14:localhost:6767,9:localhost,16:DOWNLOAD_CREDITS,6:102400,15:x-forwarded-for,9:127.0.0.1,}\
11:REMOTE_ADDR,9:127.0.0.1,6:METHOD,19:WEBSOCKET_HANDSHAKE,9:WEBSOCKET,4:JSON,10:URL_SCHEME,4:http,7:PATTERN,1:/,\
8:FRAGMENT,5:QUERY,3:URI,3:/ws,5:/chat,7:VERSION,8:HTTP/1.1,4:PATH,1:/,28:=,";

/// Keeps and gives back opening messages; one for all connections, since its buffers are large.
#[derive(Debug)]
pub(crate) struct Keeper {
    compress: Compress,
}

/// A kept message. Made and read by a [`Keeper`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Kept(Box<[u8]>);

impl Default for Keeper {
    fn default() -> Self {
        Self { compress: Compress::new_with_window_bits(Compression::best(), false, 12) }
    }
}

impl Keeper {
    /// The largest message that can be kept; Mongrel2's buffer is far smaller.
    const MAX: usize = 1 << 20;

    /// Keeps a message. One that is too large is kept as nothing.
    pub(crate) fn keep(&mut self, message: &[u8]) -> Kept {
        if message.len() > Self::MAX {
            return Kept::default();
        }
        self.compress.reset();
        let mut out = Vec::with_capacity(message.len() + DICTIONARY.len() + 64);
        // A raw stream takes its dictionary before the first byte; reading does the same.
        let _ = self.compress.set_dictionary(DICTIONARY);
        out.extend_from_slice(&(message.len() as u32).to_le_bytes()[..3]);
        match self.compress.compress_vec(message, &mut out, FlushCompress::Finish) {
            Ok(Status::StreamEnd) => Kept(out.into()),
            _ => Kept::default(),
        }
    }

    /// The message.
    pub(crate) fn read(&self, kept: &Kept) -> Vec<u8> {
        let Some((size, deflated)) = kept.0.split_first_chunk::<3>() else { return Vec::new() };
        let size = u32::from_le_bytes([size[0], size[1], size[2], 0]) as usize;
        let mut out = Vec::with_capacity(size.min(Self::MAX) + 8);
        let mut inflate = Decompress::new_with_window_bits(false, 12);
        let _ = inflate.set_dictionary(DICTIONARY);
        match inflate.decompress_vec(deflated, &mut out, FlushDecompress::Finish) {
            Ok(_) if out.len() == size => out,
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back() {
        let mut keeper = Keeper::default();
        for message in [&b""[..], b"x", DICTIONARY, &[0xff; 5000]] {
            let kept = keeper.keep(message);
            assert_eq!(keeper.read(&kept), message);
        }
        let noise: Vec<u8> = (0..4096u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let kept = keeper.keep(&noise);
        assert_eq!(keeper.read(&kept), noise);
        assert_eq!(keeper.read(&Kept::default()), b"");
    }

    #[test]
    fn a_browsers_handshake_is_kept_in_a_third() {
        let message = b"kennel 12345 /chat 733:11:REMOTE_ADDR,9:127.0.0.1,6:METHOD,19:WEBSOCKET_HANDSHAKE,10:URL_SCHEME,4:http,\
            7:PATTERN,1:/,3:URI,5:/chat,7:VERSION,8:HTTP/1.1,4:PATH,5:/chat,4:host,14:localhost:6767,10:connection,7:Upgrade,\
            6:pragma,8:no-cache,13:cache-control,8:no-cache,10:user-agent,101:Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 \
            (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36,7:upgrade,9:websocket,6:origin,21:http://localhost:6767,\
            21:sec-websocket-version,2:13,15:accept-encoding,23:gzip, deflate, br, zstd,15:accept-language,14:en-US,en;q=0.9,\
            17:sec-websocket-key,24:dGhlIHNhbXBsZSBub25jZQ==,24:sec-websocket-extensions,42:permessage-deflate; \
            client_max_window_bits,15:x-forwarded-for,9:127.0.0.1,}28:s3pPLMBiTxaQ9kYGzzhZRbK+xOo=,";
        let mut keeper = Keeper::default();
        let kept = keeper.keep(message);
        assert_eq!(keeper.read(&kept), message);
        let size = kept.0.len();
        assert!(size * 3 < message.len(), "{size} of {}", message.len());
    }
}
