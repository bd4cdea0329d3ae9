//! Rooms: messages to everybody in one.

use super::conn::{check_room, close_code, with_message};
use crate::link::PyLink;
use handler_core::worker::protocol::Action;
use pyo3::prelude::*;

/// Sends a message to all in a room but one connection, by its number, 0 for none.
#[pyfunction]
pub(crate) fn publish(
    py: Python<'_>,
    link: &PyLink,
    room: &str,
    message: &Bound<'_, PyAny>,
    except: u64,
) -> PyResult<()> {
    with_message(py, message, |binary, payload| {
        link.0.push(py, &Action::Publish { except, binary, room: room.as_bytes(), payload });
    })
}

/// Closes all connections of a room.
#[pyfunction]
pub(crate) fn close_room(py: Python<'_>, link: &PyLink, room: &str, code: i64, reason: &str) -> PyResult<()> {
    let code = close_code(code, reason)?;
    link.0.push(py, &Action::CloseRoom { code, room: room.as_bytes(), reason: reason.as_bytes() });
    Ok(())
}

/// Raises `ValueError` for what cannot be a room's name.
#[pyfunction]
pub(crate) fn room_name(room: &str) -> PyResult<()> {
    check_room(room)
}
