//! What can be asked, and its bytes.

use mongrel2_wire::tnetstring::Value;

/// One request to the control port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// What runs.
    Status(What),
    /// Which server this is.
    Info,
    /// The server's clock.
    Time,
    /// The server's uuid.
    Uuid,
    /// End a connection.
    Kill(u32),
    /// End when the connections have.
    Stop,
    /// Open the logs anew.
    Reload,
    /// End at once.
    Terminate,
    /// Close the control port.
    ControlStop,
    /// What can be asked.
    Help,
}

/// What the status is asked of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Mongrel2's own tasks.
    Tasks,
    /// Connections.
    Net,
}

impl Request {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Status(_) => "status",
            Self::Info => "info",
            Self::Time => "time",
            Self::Uuid => "uuid",
            Self::Kill(_) => "kill",
            Self::Stop => "stop",
            Self::Reload => "reload",
            Self::Terminate => "terminate",
            Self::ControlStop => "control_stop",
            Self::Help => "help",
        }
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let arguments = match self {
            Self::Status(What::Tasks) => vec![(&b"what"[..], Value::Bytes(b"tasks"))],
            Self::Status(What::Net) => vec![(&b"what"[..], Value::Bytes(b"net"))],
            Self::Kill(id) => vec![(&b"id"[..], Value::Int(id.into()))],
            _ => Vec::new(),
        };
        let mut out = Vec::new();
        Value::List(vec![Value::Bytes(self.name().as_bytes()), Value::Dict(arguments)]).encode(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_list_of_a_name_and_its_arguments() {
        assert_eq!(Request::Time.encode(), b"10:4:time,0:}]");
        assert_eq!(Request::Status(What::Net).encode(), b"26:6:status,13:4:what,3:net,}]");
        assert_eq!(Request::Kill(7).encode(), b"19:4:kill,9:2:id,1:7#}]");
    }
}
