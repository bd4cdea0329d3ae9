//! The payload of an extended reply: what the server itself has to do.

use crate::tnetstring::Value;
use thiserror::Error;

/// What an extended reply asks the server for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order<'a> {
    /// `ctl`. Its keys combine; keys that Mongrel2 does not know are ignored.
    Ctl {
        /// Resets the idle clock of the targets.
        keep_alive: bool,
        /// Allows this many more bytes of a streamed upload.
        credits: Option<u64>,
        /// Drops the targets at once, with what is queued for them.
        cancel: bool,
    },
    /// Any other key. Mongrel2 hands it to its plugins, and closes the targets when none has this name.
    Other(&'a [u8]),
}

/// Why a payload is not an order. Mongrel2 logs and ignores such a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OrderError {
    /// Not one tnetstring list of a string and a value.
    #[error("an extended reply is one tnetstring list of a string and a value")]
    BadForm,
    /// The value of `ctl` is not a dict.
    #[error("`ctl` needs a tnetstring dict")]
    BadCtl,
    /// Credits that are not an integer, or negative.
    #[error("`credits` needs a tnetstring integer that is not negative")]
    BadCredits,
}

impl<'a> Order<'a> {
    /// Reads the payload of a reply whose ids began with `X`.
    ///
    /// ```
    /// use mongrel2_wire::reply::Order;
    ///
    /// let order = Order::parse(b"27:3:ctl,17:7:credits,4:3000#}]");
    /// assert_eq!(order, Ok(Order::Ctl { keep_alive: false, credits: Some(3000), cancel: false }));
    /// ```
    ///
    /// # Errors
    ///
    /// [`OrderError`]; the targets stay as they are.
    pub fn parse(payload: &'a [u8]) -> Result<Self, OrderError> {
        let Ok((Value::List(items), b"")) = Value::parse(payload) else { return Err(OrderError::BadForm) };
        let [Value::Bytes(key), value] = items.as_slice() else { return Err(OrderError::BadForm) };
        if *key != b"ctl" {
            return Ok(Self::Other(key));
        }
        let Value::Dict(pairs) = value else { return Err(OrderError::BadCtl) };
        let (mut keep_alive, mut credits, mut cancel) = (false, None, false);
        for (key, value) in pairs {
            match (*key, value) {
                (b"keep-alive", _) => keep_alive = true,
                (b"cancel", _) => cancel = true,
                (b"credits", Value::Int(bytes)) => {
                    credits = Some(u64::try_from(*bytes).map_err(|_| OrderError::BadCredits)?);
                }
                (b"credits", _) => return Err(OrderError::BadCredits),
                _ => {}
            }
        }
        Ok(Self::Ctl { keep_alive, credits, cancel })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::{Control, encode_control, parse};
    use crate::{ConnId, Sender, Targets};

    const NOTHING: Order<'_> = Order::Ctl { keep_alive: false, credits: None, cancel: false };

    #[test]
    fn what_handlers_order_is_read() {
        for (control, expected) in [
            (Control::KeepAlive, Order::Ctl { keep_alive: true, credits: None, cancel: false }),
            (Control::Cancel, Order::Ctl { keep_alive: false, credits: None, cancel: true }),
            (
                Control::UploadCredits(u32::MAX),
                Order::Ctl { keep_alive: false, credits: Some(u64::from(u32::MAX)), cancel: false },
            ),
        ] {
            let (mut out, id) = (Vec::new(), ConnId::try_from(7).unwrap());
            encode_control(&mut out, &Sender::new("m2").unwrap(), Targets::one(&id), control);
            let reply = parse(&out).unwrap();
            assert!(reply.is_extended);
            assert_eq!(Order::parse(reply.payload), Ok(expected));
        }
    }

    #[test]
    fn keys_combine_and_values_of_flags_do_not_matter() {
        let payload = b"58:3:ctl,48:10:keep-alive,0:~6:cancel,5:false!7:credits,1:0#}]";
        let expected = Order::Ctl { keep_alive: true, credits: Some(0), cancel: true };
        assert_eq!(Order::parse(payload), Ok(expected));
        assert_eq!(Order::parse(b"9:3:ctl,0:}]"), Ok(NOTHING));
        assert_eq!(Order::parse(b"17:3:ctl,8:1:x,1:1#}]"), Ok(NOTHING));
        assert_eq!(Order::parse(b"17:8:sendfile,2:/x,]"), Err(OrderError::BadForm), "a wrong size");
        assert_eq!(Order::parse(b"16:8:sendfile,2:/x,]"), Ok(Order::Other(b"sendfile")));
    }

    #[test]
    fn what_is_not_an_order_is_named() {
        for payload in
            [&b""[..], b"0:]", b"6:3:ctl,]", b"12:3:ctl,0:}0:}]", b"7:1:1#0:}]", b"9:3:ctl,0:}]x", b"0:}"]
        {
            assert_eq!(Order::parse(payload), Err(OrderError::BadForm), "{}", payload.escape_ascii());
        }
        assert_eq!(Order::parse(b"9:3:ctl,0:~]"), Err(OrderError::BadCtl));
        assert_eq!(Order::parse(b"25:3:ctl,15:7:credits,2:-1#}]"), Err(OrderError::BadCredits));
        assert_eq!(Order::parse(b"24:3:ctl,14:7:credits,1:7,}]"), Err(OrderError::BadCredits));
    }
}
