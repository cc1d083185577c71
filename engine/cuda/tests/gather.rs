//! The zero-copy gather and hot rows, on the stand-in and on a GPU where there is one.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{PACKS, VALUE_TYPES, devices, direct, expected, layers, open, some_rows};
use engram::{Config, LayerId, Reader, Resident, RowId};
use engram_cuda::{Device, DeviceError, Gatherer, HotRows, MappedColumns, ValueType};

#[test]
fn rows_are_gathered_from_host_memory_and_hot_ones_from_the_device() {
    for device in devices() {
        for name in PACKS {
            let folder = tempfile::tempdir().unwrap();
            let memory = Config::new().reader(Reader::Memory);
            // Loaded for this process, and shared between processes.
            let shared = direct()
                .resident(Resident::Orders(9))
                .resident_folder(folder.path());
            for config in [memory, shared] {
                let store = open(name, config);
                for layer in layers(&store) {
                    let mapped = MappedColumns::register(&device, &store, layer).unwrap();
                    assert!(mapped.is_complete());
                    let wanted = some_rows(&store, layer, 40, 5);
                    let hot = HotRows::load(&device, &store, layer, &wanted, 1 << 20).unwrap();
                    for (hot, value_type) in [None, Some(hot)]
                        .into_iter()
                        .flat_map(|hot| VALUE_TYPES.map(|o| (hot.clone(), o)))
                    {
                        let mut gatherer =
                            Gatherer::new(&device, mapped.clone(), hot, 100, value_type).unwrap();
                        let stream = device.stream(0).unwrap();
                        for pass in 0..3 {
                            let rows = some_rows(&store, layer, 100 - 30 * pass, pass as u64);
                            let found = gatherer.read_on(&stream, &rows).unwrap();
                            assert!(
                                found == expected(&store, layer, &rows, value_type),
                                "{name} {layer}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_budget_takes_the_first_rows_wanted() {
    for device in devices() {
        let store = open("demo", direct());
        let wanted: Vec<RowId> = (0..180).rev().chain(0..180).map(RowId).collect();
        let all = HotRows::load(&device, &store, LayerId(1), &wanted, 1 << 20).unwrap();
        assert_eq!(all.row_count(), 180);
        assert!((0..180).all(|row| all.contains(RowId(row))));
        // Rows of 64 bytes, and 8 for each of at least twice as many entries.
        let some = HotRows::load(&device, &store, LayerId(1), &wanted, 50 * 64 + 128 * 8).unwrap();
        assert_eq!(some.row_count(), 50);
        assert!(some.bytes() <= 50 * 64 + 128 * 8);
        assert!((0..180).all(|row| some.contains(RowId(row)) == (row >= 130)));
    }
}

#[test]
fn what_cannot_be_gathered_is_refused() {
    for device in devices() {
        let store = open("deepseek", direct().resident(Resident::Orders(2)));
        let mapped = MappedColumns::register(&device, &store, LayerId(1)).unwrap();
        let refused = Gatherer::new(&device, mapped, None, 10, ValueType::F32).unwrap_err();
        let expected = "2 columns of layer 1 are mapped, expected all 4";
        assert_eq!(refused.to_string(), expected);

        let store = open("deepseek", Config::new().reader(Reader::Memory));
        let mapped = MappedColumns::register(&device, &store, LayerId(1)).unwrap();
        let hot = HotRows::load(&device, &store, LayerId(3), &[RowId(0)], 1 << 12).unwrap();
        let new = |hot, rows| Gatherer::new(&device, mapped.clone(), hot, rows, ValueType::F32);
        let refused = new(Some(hot), 10).unwrap_err().to_string();
        assert_eq!(refused, "the hot rows belong to another layer");
        assert!(new(None, 0).is_err());
        let mut gatherer = new(None, 2).unwrap();
        let stream = device.stream(0).unwrap();
        assert!(gatherer.gather_on(&stream, &[RowId(0); 3]).is_err());
        assert!(gatherer.gather_on(&stream, &[RowId(120)]).is_err());
        assert!(gatherer.gather_on(&stream, &[RowId(119)]).unwrap());
        let other = Device::host().stream(0).unwrap();
        assert!(gatherer.gather_on(&other, &[RowId(1)]).is_err());
        let captured = stream.capture(|stream| gatherer.gather_on(stream, &[RowId(1)]).map(drop));
        assert!(matches!(captured, Err(DeviceError::Captured)));
    }
}
