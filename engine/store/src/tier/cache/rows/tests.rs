use std::sync::atomic::Ordering::Relaxed;

use super::*;

const ROW_BYTES: usize = 35;

fn cache(rows: usize) -> RowCache {
    let bytes = rows * (ROW_BYTES.div_ceil(8) + 2) * 8;
    RowCache::new(LayerId(1), ROW_BYTES, bytes, SharedWords::new)
        .unwrap()
        .unwrap()
}

fn bytes(row: RowId) -> [u8; ROW_BYTES] {
    std::array::from_fn(|at| u8::try_from((row.0 * 31 + at as u64) % 251).unwrap())
}

fn insert(cache: &RowCache, row: RowId, credit: u64) {
    let bytes = bytes(row);
    cache.insert(row, credit, &bytes, seal(LayerId(1), row, &bytes));
}

fn get(cache: &RowCache, row: RowId) -> Option<[u8; ROW_BYTES]> {
    let mut out = [0; ROW_BYTES];
    cache.prefetch(row);
    let way = cache.find(row)?;
    cache.prefetch_row(way);
    let stored = cache.copy(way, &mut out);
    cache.confirm(row, way, &out, stored).then_some(out)
}

#[test]
fn rows_that_fit_stay() {
    let cache = cache(1_024);
    assert_eq!(cache.capacity(), 1_024);
    for row in (0..100).map(RowId) {
        assert_eq!(get(&cache, row), None);
        insert(&cache, row, 0);
        insert(&cache, row, 0);
        assert_eq!(get(&cache, row), Some(bytes(row)));
    }
    assert!(
        (0..100)
            .map(RowId)
            .all(|row| get(&cache, row) == Some(bytes(row)))
    );
}

#[test]
fn four_fifths_are_full_before_rows_are_lost() {
    let cache = cache(32_768);
    // Scattered as hashes are; neighbours would spread more evenly than that.
    let scatter = |row: u64| {
        let mixed = row.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB) >> 20
    };
    let rows = || (0..26_200).map(scatter).map(RowId);
    rows().for_each(|row| insert(&cache, row, 0));
    let lost = rows().filter(|&row| get(&cache, row).is_none()).count();
    assert!(lost < 26, "{lost} of 26,200 are lost");
}

#[test]
fn memory_is_what_was_granted() {
    for bytes in [0, 100, 1_000, 12_345, 1 << 20] {
        let made = RowCache::new(LayerId(1), 264, bytes, SharedWords::new).unwrap();
        let used = made.as_ref().map_or(0, |cache| cache.words.len() * 8);
        // Mappings end at a word, and a set of eight rows has 2,240 bytes.
        assert!(used <= bytes && bytes - used < 2_240, "{used} of {bytes}");
        if let Some(cache) = made {
            (0..5_000)
                .map(RowId)
                .for_each(|row| cache.insert(row, 1, &[1; 264], 0));
            assert_eq!(cache.words.len() * 8, used);
        }
    }
}

#[test]
fn a_scan_does_not_drive_out_rows_that_are_used() {
    let cache = cache(4_096);
    let hot: Vec<RowId> = (0..1_000).map(RowId).collect();
    for _ in 0..3 {
        for &row in &hot {
            if get(&cache, row).is_none() {
                insert(&cache, row, 0);
            }
        }
    }
    for row in (1_000_000..1_100_000).map(RowId) {
        insert(&cache, row, 0);
    }
    let kept = hot
        .iter()
        .filter(|&&row| get(&cache, row).is_some())
        .count();
    assert!(kept > 980, "{kept} of 1,000 are left");
}

#[test]
fn rows_that_come_only_where_there_is_room_drive_none_out() {
    let cache = cache(64);
    let first: Vec<RowId> = (0..1_000).map(RowId).collect();
    let put = |row: RowId| {
        let bytes = bytes(row);
        cache.insert_if_room(row, 1, &bytes, seal(LayerId(1), row, &bytes));
    };
    first.iter().for_each(|&row| put(row));
    let held: Vec<RowId> = first
        .into_iter()
        .filter(|&row| get(&cache, row).is_some())
        .collect();
    assert_eq!(held.len(), 64);
    assert!(!cache.has_room(held[0]), "it is there");
    for row in (1_000..2_000).map(RowId) {
        assert!(!cache.has_room(row));
        put(row);
        assert_eq!(get(&cache, row), None);
    }
    assert!(held.iter().all(|&row| get(&cache, row) == Some(bytes(row))));
}

#[test]
fn what_was_half_written_is_no_hit() {
    let cache = cache(64);
    let row = RowId(5);
    insert(&cache, row, 0);
    let way = cache.find(row).unwrap();
    let words = cache.first_word(way)..cache.first_word(way) + cache.row_words;
    for word in words {
        let sound = cache.words[word].load(Relaxed);
        cache.words[word].store(sound ^ 1 << 17, Relaxed);
        assert_eq!(get(&cache, row), None, "word {word}");
        // And it can be taken in again.
        insert(&cache, row, 0);
        assert_eq!(get(&cache, row), Some(bytes(row)), "word {word}");
    }
}

#[test]
fn threads_find_only_whole_rows() {
    let cache = cache(64);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let cache = &cache;
            scope.spawn(move || {
                for round in 0..20_000_u64 {
                    let row = RowId((round * (thread + 1) * 7) % 200);
                    match get(cache, row) {
                        Some(found) => assert_eq!(found, bytes(row)),
                        None => insert(cache, row, round % 3),
                    }
                }
            });
        }
    });
}

#[test]
fn a_shared_cache_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let open = || {
        let words = |count| SharedWords::shared(&path, count).map(|(words, _)| words);
        RowCache::new(LayerId(1), ROW_BYTES, 64 * 56, words)
            .unwrap()
            .unwrap()
    };
    let (one, other) = (open(), open());
    insert(&one, RowId(7), 0);
    assert_eq!(get(&other, RowId(7)), Some(bytes(RowId(7))));
}
