//! Replies: `SENDER SIZE:IDS, PAYLOAD`, one ZeroMQ frame each.
//!
//! A payload reaches every target as it is; an empty one closes them. A reply whose ids begin with
//! `X` is extended: its payload is a tnetstring list of a key and a value, here always `ctl`.
//! There is no way to write an empty payload but [`encode_close`].

use super::address::{ConnId, Sender, Targets};
use super::tnetstring::Value;

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
/// use handler_core::protocol::{ConnId, Sender, Targets, reply};
///
/// let ids = [ConnId::try_from(7).unwrap(), ConnId::try_from(9).unwrap()];
/// let mut out = Vec::new();
/// reply::encode(&mut out, &Sender::new("m2")?, Targets::new(&ids, 128)?, b"hi");
/// assert_eq!(out, b"m2 3:7 9, hi");
/// # Ok::<(), handler_core::protocol::AddressError>(())
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
    let ids = targets.ids();
    let size = mark.len() + ids.iter().map(|id| decimal_digits(*id) + 1).sum::<usize>() - 1;
    let mut number = itoa::Buffer::new();
    out.extend_from_slice(sender.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(number.format(size).as_bytes());
    out.push(b':');
    out.extend_from_slice(mark);
    for (n, id) in ids.iter().enumerate() {
        if n > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(number.format(id.get()).as_bytes());
    }
    out.extend_from_slice(b", ");
}

fn decimal_digits(id: ConnId) -> usize {
    id.get().checked_ilog10().map_or(1, |log| log as usize + 1)
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
    fn extended_replies_are_what_the_server_expects() {
        let one = ids(&[7]);
        let reply = |control| written(|out, s| encode_control(out, s, Targets::one(&one[0]), control));
        assert_eq!(reply(Control::UploadCredits(3000)), "m2 3:X 7, 27:3:ctl,17:7:credits,4:3000#}]");
        assert_eq!(reply(Control::KeepAlive), "m2 3:X 7, 31:3:ctl,21:10:keep-alive,4:true!}]");
        assert_eq!(reply(Control::Cancel), "m2 3:X 7, 26:3:ctl,16:6:cancel,4:true!}]");
    }
}
