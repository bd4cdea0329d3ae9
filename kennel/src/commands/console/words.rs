//! What is typed at the prompt, as the JSON that is said to the hub.
//!
//! `send 18f3-0.0.7 hello there` is `{"do": "send", "id": "18f3-0.0.7", "text": "hello there"}`: arguments come in their order, or by
//! name as `room=lobby`; the last one takes the rest of the line. A line that begins with `{` is JSON already.

use handler_core::console::COMMANDS;
use serde_json::{Map, Value};

/// Arguments that are numbers, by their command; an empty one stands for all.
const NUMBERS: [(&str, &str); 5] =
    [("", "idle"), ("", "limit"), ("", "after"), ("", "worker"), ("close", "code")];

/// Reads a line.
pub(super) fn read(line: &str) -> Result<Map<String, Value>, String> {
    if line.starts_with('{') {
        return serde_json::from_str(line).map_err(|problem| format!("this is no JSON object: {problem}"));
    }
    let mut rest = line;
    let name = word(&mut rest)?.unwrap_or_default();
    let mut object = Map::new();
    object.insert("do".into(), name.clone().into());
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        // The hub says what may have been meant.
        return Ok(object);
    };
    let bare = |argument: &'static str| argument.trim_matches(['[', ']']);
    let mut in_order =
        command.arguments.iter().map(|one| bare(one)).filter(|one| !one.contains('=')).peekable();
    let names: Vec<_> = command
        .arguments
        .iter()
        .map(|one| bare(one))
        .map(|one| one.split('=').next().unwrap_or(one))
        .collect();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(object);
        }
        if let Some((key, _)) = rest.split_once('=')
            && names.contains(&key)
        {
            rest = &rest[key.len() + 1..];
            let value = word(&mut rest)?.unwrap_or_default();
            object.insert(key.into(), typed(&name, key, value)?);
            continue;
        }
        let Some(argument) = in_order.next() else {
            let takes = match command.arguments {
                [] => "nothing".to_owned(),
                some => some.join(" "),
            };
            return Err(format!("{name}: `{rest}` is too much; it takes {takes}"));
        };
        let value = match in_order.peek() {
            None if !is_number(&name, argument) => all(&mut rest)?,
            _ => word(&mut rest)?.unwrap_or_default(),
        };
        object.insert(argument.into(), typed(&name, argument, value)?);
    }
}

fn is_number(command: &str, name: &str) -> bool {
    NUMBERS.contains(&("", name)) || NUMBERS.contains(&(command, name))
}

fn typed(command: &str, name: &str, value: String) -> Result<Value, String> {
    if !is_number(command, name) {
        return Ok(value.into());
    }
    let number: u64 = value.parse().map_err(|_| format!("{name} is a whole number, not `{value}`"))?;
    Ok(number.into())
}

/// The rest of a line: one word in quotes, or all as it is.
fn all(rest: &mut &str) -> Result<String, String> {
    let whole = rest.trim();
    let mut after = whole;
    if let Some(quoted) = word(&mut after)?
        && whole.starts_with(['"', '\''])
        && after.trim().is_empty()
    {
        *rest = "";
        return Ok(quoted);
    }
    *rest = "";
    Ok(whole.to_owned())
}

/// The next word; what is in quotes is one.
fn word(rest: &mut &str) -> Result<Option<String>, String> {
    let text = rest.trim_start();
    let Some(first) = text.chars().next() else { return Ok(None) };
    if first != '"' && first != '\'' {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        *rest = &text[end..];
        return Ok(Some(text[..end].to_owned()));
    }
    let mut found = String::new();
    let mut letters = text[1..].char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            letter if letter == first => {
                *rest = &text[1 + at + 1..];
                return Ok(Some(found));
            }
            '\\' => found.extend(letters.next().map(|(_, letter)| letter)),
            letter => found.push(letter),
        }
    }
    Err(format!("the quotes in `{text}` are not closed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(line: &str) -> Value {
        Value::Object(read(line).expect("it is fine"))
    }

    #[test]
    fn words_are_arguments_in_their_order_and_the_last_takes_the_rest() {
        assert_eq!(said("rooms"), json!({"do": "rooms"}));
        assert_eq!(
            said("send a-0.0.1 hello  there"),
            json!({"do": "send", "id": "a-0.0.1", "text": "hello  there"})
        );
        assert_eq!(
            said("send a \"quoted \\\" text\""),
            json!({"do": "send", "id": "a", "text": "quoted \" text"})
        );
        let close = json!({"do": "close", "id": "a", "code": 4000, "reason": "that's enough"});
        assert_eq!(said("close a 4000 that's enough"), close);
        assert_eq!(said("broadcast to all"), json!({"do": "broadcast", "text": "to all"}));
    }

    #[test]
    fn arguments_may_be_named() {
        let listed = json!({"do": "connections", "room": "the lobby", "idle": 60});
        assert_eq!(said("connections room='the lobby' idle=60"), listed);
        assert_eq!(said("broadcast room=x a=b"), json!({"do": "broadcast", "room": "x", "text": "a=b"}));
        assert_eq!(said("drain 2 app=a.lua"), json!({"do": "drain", "worker": 2, "app": "a.lua"}));
    }

    #[test]
    fn json_is_taken_as_it_is() {
        assert_eq!(said(r#"{"do": "rooms", "ref": 1}"#), json!({"do": "rooms", "ref": 1}));
        assert!(read("{").unwrap_err().starts_with("this is no JSON object"));
    }

    #[test]
    fn what_cannot_be_meant_is_said_in_words() {
        assert_eq!(read("rooms all").unwrap_err(), "rooms: `all` is too much; it takes nothing");
        assert_eq!(read("drain first").unwrap_err(), "worker is a whole number, not `first`");
        assert_eq!(read("send a 'b").unwrap_err(), "the quotes in `'b` are not closed");
    }
}
