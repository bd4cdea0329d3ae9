//! Bytes to orders and actions: whole frames and batches, and the fields in them.

use super::{
    Action, BATCH_HEAD, Handler, Ids, Level, MAX_BATCH, Open, Order, Params, ProtocolError, Question,
};
use crate::object;
use serde::Deserialize;
use std::time::Duration;

/// Splits the first whole frame off `input`: `(kind, payload, rest)`. `None`: more is to come.
pub fn split_frame(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&kind, rest) = input.split_first()?;
    let (size, rest) = rest.split_first_chunk()?;
    let (payload, rest) = rest.split_at_checked(u32::from_le_bytes(*size) as usize)?;
    Some((kind, payload, rest))
}

/// A batch's number, its frames, and what follows it.
pub type Batch<'a> = (u32, &'a [u8], &'a [u8]);

/// Splits the first whole batch off `input`. `None`: more is to come.
///
/// # Errors
///
/// [`ProtocolError::BatchTooLarge`].
pub fn split_batch(input: &[u8]) -> Result<Option<Batch<'_>>, ProtocolError> {
    let Some((head, rest)) = input.split_first_chunk::<BATCH_HEAD>() else { return Ok(None) };
    let [a, b, c, d, number @ ..] = *head;
    let size = u32::from_le_bytes([a, b, c, d]) as usize;
    if size > MAX_BATCH {
        return Err(ProtocolError::BatchTooLarge { size });
    }
    let number = u32::from_le_bytes(number);
    Ok(rest.split_at_checked(size).map(|(frames, rest)| (number, frames, rest)))
}

/// Takes fields off a frame's payload.
struct Fields<'a> {
    kind: u8,
    left: &'a [u8],
}

impl<'a> Fields<'a> {
    fn short(&self) -> ProtocolError {
        ProtocolError::Truncated { kind: self.kind }
    }

    fn bad(&self, field: &'static str) -> ProtocolError {
        ProtocolError::BadField { kind: self.kind, field }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        let (array, rest) = self.left.split_first_chunk().ok_or(self.short())?;
        self.left = rest;
        Ok(*array)
    }

    fn bytes(&mut self) -> Result<&'a [u8], ProtocolError> {
        let size = u32::from_le_bytes(self.array()?) as usize;
        let (bytes, rest) = self.left.split_at_checked(size).ok_or(self.short())?;
        self.left = rest;
        Ok(bytes)
    }

    fn text(&mut self, field: &'static str) -> Result<&'a str, ProtocolError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| self.bad(field))
    }

    fn milliseconds(&mut self) -> Result<Duration, ProtocolError> {
        Ok(Duration::from_millis(u32::from_le_bytes(self.array()?).into()))
    }

    fn u64(&mut self) -> Result<u64, ProtocolError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// The status of a response.
    fn status(&mut self) -> Result<u16, ProtocolError> {
        let status = u16::from_le_bytes(self.array()?);
        if (200..1000).contains(&status) { Ok(status) } else { Err(self.bad("status")) }
    }

    fn flag(&mut self) -> Result<bool, ProtocolError> {
        let [byte] = self.array()?;
        Ok(byte != 0)
    }

    fn json<T: Deserialize<'a>>(&self) -> Result<T, ProtocolError> {
        object::from_json(self.left).map_err(|_| self.bad("JSON object"))
    }
}

impl<'a> Order<'a> {
    /// The kind of a job's frame.
    pub const JOB: u8 = 2;
    /// The kind of an open's frame.
    pub const OPEN: u8 = 5;
    /// The kind of a message's frame.
    pub const MESSAGE: u8 = 6;
    /// The kind of an answer's frame.
    pub const ANSWER: u8 = 9;

    /// Reads the payload of a job's frame.
    ///
    /// # Errors
    ///
    /// As [`Order::read`].
    #[inline]
    pub fn read_job(payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut fields = Fields { kind: Self::JOB, left: payload };
        Ok(Self::Job {
            serial: u64::from_le_bytes(fields.array()?),
            handler: Handler::from_number(u32::from_le_bytes(fields.array()?)),
            conn: fields.bytes()?,
            params: Params(fields.bytes()?),
            spool: fields.bytes()?,
            message: fields.left,
        })
    }

    /// Reads a frame of the hub.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`] when hub and worker are of different versions.
    pub fn read(kind: u8, payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut fields = Fields { kind, left: payload };
        Ok(match kind {
            1 => Self::Start(fields.json()?),
            Self::JOB => Self::read_job(payload)?,
            3 => Self::Lead,
            4 => Self::Stop { work: fields.milliseconds()?, hooks: fields.milliseconds()? },
            5 => {
                let (serial, conn) = (fields.u64()?, fields.u64()?);
                let handler = u32::from_le_bytes(fields.array()?);
                let [flags] = fields.array()?;
                Self::Open(Open {
                    serial,
                    conn,
                    handler,
                    fresh: flags & 1 != 0,
                    resumed: flags & 2 != 0,
                    asked: flags & 4 != 0,
                    transport: fields.text("transport")?,
                    name: fields.bytes()?,
                    data: fields.bytes()?,
                    rooms: Params(fields.bytes()?),
                    params: Params(fields.bytes()?),
                    message: fields.left,
                })
            }
            Self::MESSAGE => Self::Message {
                serial: fields.u64()?,
                conn: fields.u64()?,
                binary: fields.flag()?,
                payload: fields.left,
            },
            7 => Self::Close {
                serial: fields.u64()?,
                conn: fields.u64()?,
                code: u16::from_le_bytes(fields.array()?),
                reason: fields.left,
            },
            8 => Self::Detach { conn: fields.u64()? },
            Self::ANSWER => Self::Answer { query: fields.u64()?, json: fields.left },
            10 => Self::Taken { serial: fields.u64()?, bytes: u32::from_le_bytes(fields.array()?) },
            11 => Self::Gone { serial: fields.u64()? },
            12 => Self::Evaluate { query: fields.u64()?, code: fields.left },
            13 => Self::Part { serial: fields.u64()?, last: fields.flag()?, bytes: fields.left },
            14 => Self::Grown { serial: fields.u64()?, whole: fields.flag()?, size: fields.u64()? },
            kind => return Err(ProtocolError::UnknownKind { kind }),
        })
    }
}

impl<'a> Action<'a> {
    /// Reads a frame of a worker.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`] when the worker is of another version or out of its mind.
    pub fn read(kind: u8, payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut fields = Fields { kind, left: payload };
        Ok(match kind {
            1 => Self::Ready(fields.json()?),
            2 => Self::Failed(fields.json()?),
            3 => Self::Respond {
                serial: fields.u64()?,
                status: fields.status()?,
                head: fields.bytes()?,
                body: fields.left,
            },
            4 => Self::Done { serial: u64::from_le_bytes(fields.array()?) },
            5 => Self::Skipped { serial: u64::from_le_bytes(fields.array()?) },
            6 => Self::Deliver {
                sender: fields.text("sender")?,
                ids: Ids(fields.bytes()?),
                payload: fields.left,
            },
            7 => Self::Disconnect { sender: fields.text("sender")?, ids: Ids(fields.left) },
            8 => Self::Log {
                level: match fields.array()? {
                    [0] => Level::Debug,
                    [1] => Level::Info,
                    [2] => Level::Warn,
                    [3] => Level::Error,
                    _ => return Err(fields.bad("level")),
                },
                serial: fields.u64()?,
                text: fields.bytes()?,
                fields: fields.left,
            },
            9 => Self::Send { conn: fields.u64()?, binary: fields.flag()?, payload: fields.left },
            10 => Self::CloseConn {
                conn: fields.u64()?,
                code: u16::from_le_bytes(fields.array()?),
                reason: fields.left,
            },
            11 => Self::Join { conn: fields.u64()?, room: fields.left },
            12 => Self::Leave { conn: fields.u64()?, room: fields.left },
            13 => Self::Publish {
                except: fields.u64()?,
                binary: fields.flag()?,
                room: fields.bytes()?,
                payload: fields.left,
            },
            14 => Self::CloseRoom {
                code: u16::from_le_bytes(fields.array()?),
                room: fields.bytes()?,
                reason: fields.left,
            },
            15 => Self::SetData { conn: fields.u64()?, json: fields.left },
            16 => Self::Query {
                query: fields.u64()?,
                question: match fields.array()? {
                    [0] => Question::Count,
                    [1] => Question::Members,
                    [2] => Question::Connection,
                    [3] => Question::Data,
                    [4] => Question::Rooms,
                    _ => return Err(fields.bad("question")),
                },
                subject: fields.left,
            },
            17 => Self::Begin { serial: fields.u64()?, status: fields.status()?, head: fields.left },
            18 => Self::Piece { serial: fields.u64()?, bytes: fields.left },
            19 => Self::End { serial: fields.u64()? },
            20 => Self::Abort { serial: fields.u64()? },
            23 => Self::Evaluated { query: fields.u64()?, ok: fields.flag()?, text: fields.left },
            21 => {
                Self::Accept { conn: fields.u64()?, protocol: fields.text("subprotocol")?, head: fields.left }
            }
            22 => {
                let (conn, status) = (fields.u64()?, fields.status()?);
                Self::Refuse { conn, status, head: fields.bytes()?, body: fields.left }
            }
            24 => Self::Want { serial: fields.u64()?, bytes: u32::from_le_bytes(fields.array()?) },
            25 => {
                let (serial, worker) = (fields.u64()?, u32::from_le_bytes(fields.array()?));
                let status = fields.status()?;
                Self::Pass { serial, worker, status, head: fields.bytes()?, body: fields.left }
            }
            kind => return Err(ProtocolError::UnknownKind { kind }),
        })
    }
}
