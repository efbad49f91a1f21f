//! One spelling for each JSON value, so that what is hashed today is what is hashed when it is read again.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::hex_bytes::HexBytes;
use crate::merkle::Hash;

/// A value as JSON with its keys in order and no spaces. None when it cannot be JSON at all.
#[must_use]
pub fn text(value: &impl Serialize) -> Option<String> {
    String::from_utf8(bytes(&serde_json::to_value(value).ok()?)?).ok()
}

/// The hash of a value's canonical text.
#[must_use]
pub fn hash(value: &impl Serialize) -> Option<Hash> {
    hash_of(&serde_json::to_value(value).ok()?)
}

/// The same of what is JSON already.
#[must_use]
pub fn hash_of(value: &Value) -> Option<Hash> {
    bytes(value).map(|text| HexBytes(Sha256::digest(text).into()))
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    write(value, &mut out)?;
    Some(out)
}

fn write(value: &Value, out: &mut Vec<u8>) -> Option<()> {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            out.push(b'{');
            for (place, (key, member)) in members.into_iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                serde_json::to_writer(&mut *out, key).ok()?;
                out.push(b':');
                write(member, out)?;
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        other => serde_json::to_writer(out, other).ok()?,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_in_order_at_every_depth() {
        let value = json!({ "b": [1, { "z": null, "a": "한\n" }], "a": true, "B": "1.50" });
        assert_eq!(text(&value).unwrap(), "{\"B\":\"1.50\",\"a\":true,\"b\":[1,{\"a\":\"한\\n\",\"z\":null}]}");
        assert_eq!(hash(&json!({"a": 1, "b": 2})), hash(&json!({"b": 2, "a": 1})));
        assert_ne!(hash(&json!({"a": 1})), hash(&json!({"a": "1"})));
    }
}
