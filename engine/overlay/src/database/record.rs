//! Keys as bytes.

use engram::RowId;

use crate::edits::Key;

/// The kind of a row's key; that of an n-gram's is its order.
const ROW: u8 = 0;
/// The largest order that any scheme has.
const MAX_ORDER: usize = 8;

pub(super) fn encode_key(key: &Key) -> Vec<u8> {
    match key {
        Key::Row(row) => [&[ROW][..], &row.0.to_be_bytes()].concat(),
        Key::NGram(ngram) => {
            let order = u8::try_from(ngram.len()).expect("an order that a scheme has");
            let ids = ngram.iter().flat_map(|id| id.to_be_bytes());
            std::iter::once(order).chain(ids).collect()
        }
    }
}

/// The key of those bytes; none if they are no key.
pub(super) fn decode_key(bytes: &[u8]) -> Option<Key> {
    let (&kind, rest) = bytes.split_first()?;
    if kind == ROW {
        return Some(Key::Row(RowId(u64::from_be_bytes(rest.try_into().ok()?))));
    }
    let (ids, cut) = rest.as_chunks::<4>();
    let is_whole = cut.is_empty() && ids.len() == usize::from(kind) && ids.len() <= MAX_ORDER;
    is_whole.then(|| Key::NGram(ids.iter().map(|id| u32::from_be_bytes(*id)).collect()))
}

/// The key of the list of what a version changed.
pub(super) fn log_key(number: u64) -> [u8; 9] {
    let mut key = [b'c'; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Adds a key of a table to a list: the table's index in two bytes, the key's length in one, the key.
pub(super) fn list_key(list: &mut Vec<u8>, table: usize, key: &[u8]) {
    let table = u16::try_from(table).expect("a scheme has at most 1,024 layers");
    list.extend(table.to_be_bytes());
    list.push(u8::try_from(key.len()).expect("33 bytes at most"));
    list.extend(key);
}

/// The tables and keys of a list; none where it is cut.
pub(super) fn listed_keys(list: &[u8]) -> impl Iterator<Item = Option<(usize, &[u8])>> {
    let mut left = list;
    std::iter::from_fn(move || {
        if left.is_empty() {
            return None;
        }
        let head = left.split_first_chunk::<3>();
        let entry = head.and_then(|(&[high, low, len], rest)| {
            let (key, rest) = rest.split_at_checked(usize::from(len))?;
            left = rest;
            Some((usize::from(u16::from_be_bytes([high, low])), key))
        });
        if entry.is_none() {
            left = &[];
        }
        Some(entry)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_and_other_bytes_are_none() {
        let keys = [
            Key::Row(RowId(u64::MAX >> 16)),
            Key::NGram(vec![7, u32::MAX]),
            Key::NGram((0..8).collect()),
        ];
        let mut list = Vec::new();
        for (table, key) in keys.iter().enumerate() {
            let bytes = encode_key(key);
            assert_eq!(decode_key(&bytes).as_ref(), Some(key));
            assert_eq!(decode_key(&bytes[..bytes.len() - 1]), None);
            list_key(&mut list, table, &bytes);
        }
        let listed: Vec<_> = listed_keys(&list).map(Option::unwrap).collect();
        let expected = keys.iter().map(encode_key);
        assert!(
            expected
                .enumerate()
                .eq(listed.iter().map(|&(table, key)| (table, key.to_vec())))
        );
        assert_eq!(listed_keys(&list[..list.len() - 1]).last(), Some(None));
        assert_eq!(decode_key(&[]), None);
        assert_eq!(decode_key(&[9; 37]), None);
    }
}
