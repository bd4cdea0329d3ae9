//! Objects that come from outside, as structs.
//!
//! A struct that derives `Deserialize` takes a list, too, whose items are its fields in their order. A line such as
//! `[7]` would then be an answer to request 7. What is read with the functions here is an object or an error.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// A value that is written as an object.
struct Only<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Only<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of names and values")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Object(PhantomData)).map(Only)
    }
}

/// Reads a struct from the bytes of a JSON object.
///
/// # Errors
///
/// Those of `serde_json`; a list is one.
pub fn from_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice::<Only<T>>(bytes).map(|Only(value)| value)
}

/// For `deserialize_with`: a field that is an object.
///
/// # Errors
///
/// Those of the deserializer.
pub fn only<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Only::deserialize(deserializer).map(|Only(value)| value)
}

/// For `deserialize_with`: a field that is a list of objects.
///
/// # Errors
///
/// Those of the deserializer.
pub fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let all = Vec::<Only<T>>::deserialize(deserializer)?;
    Ok(all.into_iter().map(|Only(value)| value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer<'a> {
        id: Option<u64>,
        name: Option<&'a str>,
        #[serde(default, deserialize_with = "only")]
        inner: Inner,
        #[serde(default, deserialize_with = "list")]
        all: Vec<Inner>,
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    struct Inner {
        n: u8,
    }

    #[test]
    fn an_object_is_read_and_a_list_is_not() {
        let read = |text: &'static str| from_json::<Outer<'_>>(text.as_bytes()).map_err(|e| e.to_string());
        let found = read(r#"{"id":7,"name":"x","inner":{"n":1},"all":[{"n":2}]}"#).unwrap();
        let expected =
            Outer { id: Some(7), name: Some("x"), inner: Inner { n: 1 }, all: vec![Inner { n: 2 }] };
        assert_eq!(found, expected);
        for list in ["[7]", "[7,null]", "[]", r#"{"inner":[1]}"#, r#"{"all":[[1]]}"#, "7", "\"x\"", "null"] {
            let problem = read(list).unwrap_err();
            assert!(problem.contains("expected an object of names and values"), "{list}: {problem}");
        }
        assert!(read(r#"{"other":1}"#).unwrap_err().contains("unknown field"));
    }
}
