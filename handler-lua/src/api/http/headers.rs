//! The client's headers, all of them. One alone is read by [`crate::api::fast_path`].

use crate::api::message_of;
use mlua::{Lua, LuaString, Table, Value};
use mongrel2_wire::{Envelope, Text};

/// Whether a header is the client's own: Mongrel2 writes its names in upper case, and the two of
/// uploads are its business too.
pub(crate) fn is_clients(name: &[u8]) -> bool {
    !name.first().is_some_and(u8::is_ascii_uppercase) && !name.starts_with(b"x-mongrel2-upload-")
}

pub(crate) fn lower(name: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    match name.iter().any(u8::is_ascii_uppercase) {
        true => name.to_ascii_lowercase().into(),
        false => name.into(),
    }
}

/// The first value of a header, by its exact name.
pub(crate) fn first<'a>(envelope: &Envelope<'a>, name: &[u8]) -> Option<Text<'a>> {
    envelope.headers.get(name)?.first()
}

pub(super) fn register(lua: &Lua, native: &Table) -> mlua::Result<()> {
    named_view!(native, lua, "header_all", |lua: &Lua, m: &Envelope<'_>, name: &[u8]| {
        let name = lower(name);
        let list = lua.create_table()?;
        if let Some(values) = m.headers.get(&name).filter(|_| is_clients(&name)) {
            for value in values.iter() {
                list.raw_push(lua.create_string(value.bytes())?)?;
            }
        }
        Ok(Value::Table(list))
    });
    view!(native, lua, "headers", |lua: &Lua, m: &Envelope<'_>| {
        let list = lua.create_table_with_capacity(32, 0)?;
        let headers = m.headers.iter().map_while(Result::ok).filter(|(name, _)| is_clients(name));
        for (name, values) in headers {
            for value in values.iter() {
                list.raw_push(lua.create_string(name)?)?;
                list.raw_push(lua.create_string(value.bytes())?)?;
            }
        }
        Ok(Value::Table(list))
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_fields_are_not_client_headers() {
        assert!(is_clients(b"host") && is_clients(b"x-forwarded-for"));
        assert!(!is_clients(b"METHOD") && !is_clients(b"x-mongrel2-upload-start"));
    }
}
