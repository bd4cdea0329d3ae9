//! What is asked of the control port.

use mongrel2_wire::tnetstring::Value;

/// A request's name and its arguments.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request<'a> {
    pub(super) name: &'a [u8],
    arguments: Vec<(&'a [u8], Value<'a>)>,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A tnetstring that is not a list.
    NotAList,
    /// Not a tnetstring, or not a list of a name and a dict.
    InvalidData,
    /// There is no such request.
    NotFound,
    /// An argument is missing or has the wrong type, or there is no such connection.
    InvalidArgument,
    /// The status of something that has none.
    UnknownStatus,
}

impl Refusal {
    /// Mongrel2's code for it, if it has one, and Mongrel2's words.
    pub(super) fn words(self) -> (Option<&'static str>, &'static str) {
        let (code, error) = match self {
            Self::NotAList => {
                ("INVALID_REQUEST", "Invalid request format, must be a list with two elements in it.")
            }
            Self::InvalidData => {
                ("INVALID_DATA", "Invalid data, expecting a list with a string and a hash in it.")
            }
            Self::NotFound => ("CALLBACK_NOT_FOUND", "Callback requested was not found."),
            Self::InvalidArgument => ("INVALID_ARGUMENT", "Invalid argument type."),
            Self::UnknownStatus => return (None, "Expected argument what=['net'|'tasks']."),
        };
        (Some(code), error)
    }
}

impl<'a> Request<'a> {
    /// Reads a request. As with Mongrel2, bytes behind the list and elements behind the dict mean nothing.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let items = match Value::parse(bytes) {
            Ok((Value::List(items), _)) => items,
            Ok((Value::Null, _)) | Err(_) => return Err(Refusal::InvalidData),
            Ok(_) => return Err(Refusal::NotAList),
        };
        let mut items = items.into_iter();
        match (items.next(), items.next()) {
            // Mongrel2's tnetstrings have no floats.
            (Some(Value::Bytes(name)), Some(Value::Dict(arguments)))
                if !arguments.iter().any(|(_, value)| matches!(value, Value::Float(_))) =>
            {
                Ok(Self { name, arguments })
            }
            _ => Err(Refusal::InvalidData),
        }
    }

    /// An argument that must be text.
    pub(super) fn text(&self, name: &str) -> Result<&'a [u8], Refusal> {
        match self.argument(name) {
            Some(Value::Bytes(text)) => Ok(text),
            _ => Err(Refusal::InvalidArgument),
        }
    }

    /// An argument that must be the id of a connection.
    pub(super) fn id(&self, name: &str) -> Result<u32, Refusal> {
        match self.argument(name) {
            Some(Value::Int(id)) => u32::try_from(*id).map_err(|_| Refusal::InvalidArgument),
            _ => Err(Refusal::InvalidArgument),
        }
    }

    fn argument(&self, name: &str) -> Option<&Value<'a>> {
        self.arguments.iter().find(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_list_of_a_name_and_a_dict() {
        let request = Request::parse(b"26:6:status,13:4:what,3:net,}]").unwrap();
        assert_eq!((request.name, request.text("what")), (&b"status"[..], Ok(&b"net"[..])));
        assert_eq!(request.id("what"), Err(Refusal::InvalidArgument));
        assert_eq!(request.text("who"), Err(Refusal::InvalidArgument));
    }

    #[test]
    fn an_id_is_a_whole_number_that_a_connection_can_have() {
        let id = |bytes: &[u8]| Request::parse(bytes).unwrap().id("id");
        assert_eq!(id(b"19:4:kill,9:2:id,1:7#}]"), Ok(7));
        assert_eq!(id(b"30:4:kill,19:2:id,10:4294967295#}]"), Ok(u32::MAX));
        for bytes in
            [&b"30:4:kill,19:2:id,10:4294967297#}]"[..], b"21:4:kill,10:2:id,2:-1#}]", b"10:4:kill,0:}]"]
        {
            assert_eq!(id(bytes), Err(Refusal::InvalidArgument));
        }
    }

    #[test]
    fn no_prefix_of_a_request_is_one() {
        let whole = b"26:6:status,13:4:what,3:net,}]";
        for end in 0..whole.len() {
            assert_eq!(Request::parse(&whole[..end]), Err(Refusal::InvalidData));
        }
    }
}
