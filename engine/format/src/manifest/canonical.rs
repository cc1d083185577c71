//! One spelling for each JSON value, so that it can carry a checksum.

use serde_json::Value;

/// `value` without spaces and with the keys of each object sorted by their bytes.
pub(crate) fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            // The map's own order depends on a serde_json feature that any crate may switch on.
            fields.sort_unstable_by_key(|(key, _)| key.as_bytes());
            list(
                text,
                ['{', '}'],
                fields.into_iter(),
                |(key, value), text| {
                    text.push_str(&Value::from(key.as_str()).to_string());
                    text.push(':');
                    write(value, text);
                },
            );
        }
        Value::Array(values) => list(text, ['[', ']'], values.iter(), write),
        scalar => text.push_str(&scalar.to_string()),
    }
}

fn list<T>(
    text: &mut String,
    ends: [char; 2],
    items: impl Iterator<Item = T>,
    write: impl Fn(T, &mut String),
) {
    text.push(ends[0]);
    for (index, item) in items.enumerate() {
        if index > 0 {
            text.push(',');
        }
        write(item, text);
    }
    text.push(ends[1]);
}
