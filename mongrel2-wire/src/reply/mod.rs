//! Replies: `SENDER SIZE:IDS, PAYLOAD`, one ZeroMQ frame each.
//!
//! A payload reaches every target as it is; an empty one closes them. A reply whose ids begin with
//! `X` is extended: its payload is a tnetstring list of a key and a value, here always `ctl`.
//! There is no way to write an empty payload but [`encode_close`].
//!
//! A server reads what handlers send with [`parse`] and [`Order::parse`].

use crate::ids::{ConnId, Sender, Targets};
use crate::tnetstring::Value;

mod order;
mod parse;

pub use order::{Order, OrderError};
pub use parse::{Ids, Reply, ReplyError, parse};

/// What an extended `ctl` reply asks of Mongrel2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Resets the idle clock of the targets, and brings a notice for each that is gone.
    KeepAlive,
    /// Allows this many more bytes of a streamed upload.
    UploadCredits(u32),
    /// Drops the targets at once, with what was queued for them, and sends no notice.
    Cancel,
}

/// Appends a reply that delivers `payload` to all `targets`. An empty payload would mean "close",
/// so nothing is written for it: `false` says so.
///
/// ```
/// use mongrel2_wire::{ConnId, Sender, Targets, reply};
///
/// let ids = [ConnId::try_from(7).unwrap(), ConnId::try_from(9).unwrap()];
/// let mut out = Vec::new();
/// reply::encode(&mut out, &Sender::new("m2")?, Targets::new(&ids, 128)?, b"hi");
/// assert_eq!(out, b"m2 3:7 9, hi");
/// # Ok::<(), mongrel2_wire::IdError>(())
/// ```
pub fn encode(out: &mut Vec<u8>, sender: &Sender, targets: Targets<'_>, payload: &[u8]) -> bool {
    if payload.is_empty() {
        return false;
    }
    encode_address(out, sender, targets, b"");
    out.extend_from_slice(payload);
    true
}

/// Appends the reply that closes all `targets` once everything queued for them is written.
pub fn encode_close(out: &mut Vec<u8>, sender: &Sender, targets: Targets<'_>) {
    encode_address(out, sender, targets, b"");
}

/// Appends an extended reply for Mongrel2 itself.
pub fn encode_control(out: &mut Vec<u8>, sender: &Sender, targets: Targets<'_>, control: Control) {
    let (key, value): (&[u8], _) = match control {
        Control::KeepAlive => (b"keep-alive", Value::Bool(true)),
        Control::UploadCredits(bytes) => (b"credits", Value::Int(i64::from(bytes))),
        Control::Cancel => (b"cancel", Value::Bool(true)),
    };
    encode_address(out, sender, targets, b"X ");
    Value::List(vec![Value::Bytes(b"ctl"), Value::Dict(vec![(key, value)])]).encode(out);
}

fn encode_address(out: &mut Vec<u8>, sender: &Sender, targets: Targets<'_>, mark: &[u8]) {
    encode_ids(out, sender, mark, targets.ids().iter().copied());
}

/// Appends what comes before the payload of a reply to `ids`, `SENDER SIZE:IDS, `, and says how
/// many they are. Nothing is written for none. The caller makes sure that they are at most [`Targets::DEFAULT_MAX`].
pub fn encode_ids(
    out: &mut Vec<u8>,
    sender: &Sender,
    mark: &[u8],
    ids: impl Iterator<Item = ConnId>,
) -> usize {
    let start = out.len();
    out.extend_from_slice(sender.as_str().as_bytes());
    out.push(b' ');
    let list = out.len();
    out.extend_from_slice(mark);
    let mut count = 0;
    for id in ids {
        push_id(out, id);
        count += 1;
    }
    if count == 0 {
        out.truncate(start);
        return 0;
    }
    out.pop();
    // The size is known only now: move the ids by its width.
    let (end, mut number) = (out.len(), itoa::Buffer::new());
    let size = number.format(end - list).as_bytes();
    out.extend_from_slice(size);
    out.extend_from_slice(b":, ");
    let first = list + size.len() + 1;
    out.copy_within(list..end, first);
    out[list..first - 1].copy_from_slice(size);
    out[first - 1] = b':';
    let blank = out.len() - 2;
    out[blank..].copy_from_slice(b", ");
    count
}

/// Appends a number and a blank. A multicast writes many: most are one store of eight bytes each.
#[inline]
fn push_id(out: &mut Vec<u8>, id: ConnId) {
    const ENOUGH: u32 = 100_000_000;
    let id = id.get();
    if id >= ENOUGH {
        let mut number = itoa::Buffer::new();
        out.extend_from_slice(number.format(id).as_bytes());
        out.push(b' ');
        return;
    }
    let digits = eight_digits(id);
    let zeros = ((digits | 1 << 56).trailing_zeros() / 8) as usize;
    let text = (digits | 0x3030_3030_3030_3030) >> (8 * zeros);
    let at = out.len();
    let mut store = [b' '; 9];
    store[..8].copy_from_slice(&text.to_le_bytes());
    store[8 - zeros] = b' ';
    out.extend_from_slice(&store);
    out.truncate(at + 9 - zeros);
}

/// The decimal digits of a number below 100,000,000, the highest in the lowest byte: halves, then
/// quarters, then digits are parted side by side in one word.
fn eight_digits(n: u32) -> u64 {
    let fours = u64::from(n / 10_000) | u64::from(n % 10_000) << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds + ((fours - 100 * hundreds) << 16);
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens + ((twos - 10 * tens) << 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: &[i64]) -> Vec<ConnId> {
        numbers.iter().map(|n| ConnId::try_from(*n).unwrap()).collect()
    }

    fn written(f: impl FnOnce(&mut Vec<u8>, &Sender)) -> String {
        let mut out = Vec::new();
        f(&mut out, &Sender::new("m2").unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_size_counts_ids_and_blanks() {
        let some = ids(&[0, 9, 10, 99, 100, 2_147_483_647]);
        let reply = written(|out, sender| {
            assert!(encode(out, sender, Targets::new(&some, 128).unwrap(), b"x"));
        });
        assert_eq!(reply, "m2 24:0 9 10 99 100 2147483647, x");
    }

    #[test]
    fn an_empty_payload_is_written_by_close_alone() {
        let one = ids(&[7]);
        let targets = Targets::one(&one[0]);
        assert_eq!(written(|out, s| assert!(!encode(out, s, targets, b""))), "");
        assert_eq!(written(|out, s| encode_close(out, s, targets)), "m2 1:7, ");
    }

    #[test]
    fn numbers_of_any_width_are_written_as_decimals() {
        let mut out = Vec::new();
        let widths = (0..=9).flat_map(|width| {
            let one = 10_u32.pow(width);
            [one - 1, one, one + 1, one.saturating_mul(9).min(ConnId::MAX)]
        });
        for n in (0..20_000).chain((0..ConnId::MAX).step_by(99_991)).chain(widths).chain([ConnId::MAX]) {
            out.clear();
            push_id(&mut out, ConnId::try_from(i64::from(n)).unwrap());
            assert_eq!(out, format!("{n} ").as_bytes());
        }
    }

    #[test]
    fn a_reply_to_nobody_is_not_written() {
        let mut out = b"before".to_vec();
        assert_eq!(encode_ids(&mut out, &Sender::new("m2").unwrap(), b"X ", std::iter::empty()), 0);
        assert_eq!(out, b"before");
    }

    #[test]
    fn extended_replies_are_what_the_server_expects() {
        let one = ids(&[7]);
        let reply = |control| written(|out, s| encode_control(out, s, Targets::one(&one[0]), control));
        assert_eq!(reply(Control::UploadCredits(3000)), "m2 3:X 7, 27:3:ctl,17:7:credits,4:3000#}]");
        assert_eq!(reply(Control::KeepAlive), "m2 3:X 7, 31:3:ctl,21:10:keep-alive,4:true!}]");
        assert_eq!(reply(Control::Cancel), "m2 3:X 7, 26:3:ctl,16:6:cancel,4:true!}]");
    }
}
