//! What the control port answers: a dict with `headers` and `rows`, or with `error` and perhaps `code`.

use mongrel2_wire::address::Address;
use mongrel2_wire::tnetstring::Value;

use super::error::{AnswerError, ControlError, Refusal};

/// An answer as it came: names of columns, and rows of as many cells.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// Names of the columns.
    pub headers: Vec<String>,
    /// Each has a cell for each header.
    pub rows: Vec<Vec<Cell>>,
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Text; what is not UTF-8 in it is replaced by U+FFFD.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Yes or no.
    Bool(bool),
    /// Nothing.
    Null,
}

impl Table {
    /// Reads an answer of the control port at `address`: a tnetstring dictionary of `headers` and `rows`, or of `code` and
    /// `error`.
    ///
    /// # Errors
    ///
    /// [`ControlError::Nonsense`] when it is no such dictionary, and the refusal when it is one.
    pub fn parse(bytes: &[u8], address: &Address) -> Result<Self, ControlError> {
        let nonsense = |cause: AnswerError| ControlError::Nonsense { address: address.clone(), cause };
        let (answer, rest) = Value::parse(bytes).map_err(|problem| nonsense(problem.into()))?;
        // m2sh ends its requests with a NUL; an answer may have one too.
        if !matches!(rest, b"" | b"\0") {
            return Err(nonsense(AnswerError::Rest { size: rest.len() }));
        }
        let Value::Dict(pairs) = answer else {
            return Err(nonsense(AnswerError::Shape { expected: "a dict" }));
        };
        let text = |name: &[u8]| match find(&pairs, name) {
            Some(Value::Bytes(text)) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        };
        if let Some(message) = text(b"error") {
            let refusal = text(b"code").map(|code| Refusal::from_code(&code));
            return Err(ControlError::refused(address, refusal, message));
        }
        read(&pairs).map_err(nonsense)
    }

    /// Where a column is, if it is there.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.headers.iter().position(|header| header == name)
    }
}

fn find<'a, 'b>(pairs: &'b [(&'a [u8], Value<'a>)], name: &[u8]) -> Option<&'b Value<'a>> {
    pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn read(pairs: &[(&[u8], Value<'_>)]) -> Result<Table, AnswerError> {
    let list = |name: &'static str, expected| match find(pairs, name.as_bytes()) {
        Some(Value::List(items)) => Ok(items),
        _ => Err(AnswerError::Shape { expected }),
    };
    let header = |value: &Value<'_>| match value {
        Value::Bytes(name) => Ok(String::from_utf8_lossy(name).into_owned()),
        _ => Err(AnswerError::Shape { expected: "text in `headers`" }),
    };
    let headers = list("headers", "a list `headers`")?.iter().map(header).collect::<Result<Vec<_>, _>>()?;
    let mut rows = Vec::new();
    for (number, row) in list("rows", "a list `rows`")?.iter().enumerate() {
        let Value::List(cells) = row else {
            return Err(AnswerError::Shape { expected: "a list for each row" });
        };
        if cells.len() != headers.len() {
            return Err(AnswerError::RowLength {
                row: number + 1,
                cells: cells.len(),
                columns: headers.len(),
            });
        }
        rows.push(cells.iter().map(cell).collect::<Result<Vec<_>, _>>()?);
    }
    Ok(Table { headers, rows })
}

fn cell(value: &Value<'_>) -> Result<Cell, AnswerError> {
    Ok(match value {
        Value::Bytes(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
        Value::Int(number) => Cell::Int(*number),
        Value::Float(number) => Cell::Float(*number),
        Value::Bool(yes) => Cell::Bool(*yes),
        Value::Null => Cell::Null,
        Value::List(_) | Value::Dict(_) => {
            return Err(AnswerError::Shape { expected: "plain values in rows" });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Table, ControlError> {
        Table::parse(bytes, &"ipc://run/control".parse().unwrap())
    }

    #[test]
    fn headers_and_rows_become_a_table() {
        let table = parse(b"49:7:headers,7:4:time,]4:rows,18:14:10:1795290051,]]}").unwrap();
        assert_eq!(table.headers, ["time"]);
        assert_eq!(table.rows, [[Cell::Text("1795290051".into())]]);
        assert!(parse(b"49:7:headers,7:4:time,]4:rows,18:14:10:1795290051,]]}\0").is_ok());
    }

    #[test]
    fn refusals_are_told_by_their_code() {
        let of = |bytes: &[u8]| match parse(bytes).unwrap_err() {
            ControlError::Refused { refusal, message, .. } => (refusal, message),
            other => panic!("{other}"),
        };
        let (refusal, message) = of(b"61:4:code,16:INVALID_ARGUMENT,5:error,22:Invalid argument type.,}");
        assert_eq!((refusal, message.as_str()), (Some(Refusal::InvalidArgument), "Invalid argument type."));
        let found = of(b"74:4:code,18:CALLBACK_NOT_FOUND,5:error,33:Callback requested was not found.,}");
        assert_eq!(found.0, Some(Refusal::CallbackNotFound));
        assert_eq!(of(b"51:5:error,39:Expected argument what=['net'|'tasks'].,}").0, None);
        assert_eq!(of(b"27:4:code,4:MINE,5:error,2:no,}").0, Some(Refusal::Other("MINE".into())));
    }

    #[test]
    fn what_is_no_answer_is_nonsense_with_a_reason() {
        for (bytes, reason) in [
            (&b""[..], "1 to 9 digits"),
            (b"5:hello,", "expected a dict"),
            (b"0:}", "expected a list `headers`"),
            (b"14:7:headers,1:1#}", "expected a list `headers`"),
            (b"26:7:headers,0:]4:rows,3:0:~]}", "a list for each row"),
            (b"33:7:headers,4:1:a,]4:rows,7:4:0:~1:}", "size says"),
            (b"30:7:headers,4:1:a,]4:rows,3:0:]]}", "row 1 has 0 cells for 1 columns"),
            (b"33:7:headers,4:1:a,]4:rows,6:3:0:]]]}", "plain values in rows"),
            (b"3:a,}x", "no tnetstring type"),
            (b"0:}0:}", "3 bytes follow"),
        ] {
            let text = parse(bytes).unwrap_err().to_string();
            assert!(text.contains("nonsense") && text.contains(reason), "{}: {text}", bytes.escape_ascii());
        }
    }

    #[test]
    fn every_prefix_of_an_answer_is_an_error_and_none_panics() {
        let whole = b"75:7:headers,7:4:uuid,]4:rows,44:40:36:34f9ceee-cd52-4b7f-b197-88bf2f0ec378,]]}";
        assert!(parse(whole).is_ok());
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).is_err());
        }
    }
}
