//! The staging ring, on the stand-in and on a GPU where there is one.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::{collections::HashSet, fs, sync::Arc, thread};

use common::{PACKS, VALUE_TYPES, devices, direct, expected, layers, open, pack, some_rows};
use engram::{Config, LayerId, LookupError, Reader, Resident, RowId, Store};
use engram_cuda::{
    Device, DeviceError, HotRows, MappedColumns, Ring, RingConfig, Staged, ValueType,
};

/// Rows of a pass.
const ROWS: usize = 60;

fn ring(device: &Device, store: &Arc<Store>, config: RingConfig) -> Ring {
    Ring::new(device, store.clone(), &config).unwrap()
}

fn stage(ring: &Ring, layer: LayerId, rows: &[RowId]) -> Staged {
    for _ in 0..100_000 {
        if let Some(staged) = ring.stage(layer, rows).unwrap() {
            return staged;
        }
        thread::yield_now();
    }
    panic!("no slot becomes free");
}

#[test]
fn values_are_the_processors_from_every_source() {
    for device in devices() {
        for name in PACKS {
            let store = open(name, direct().resident(Resident::Orders(2)));
            for layer in layers(&store) {
                let wanted = some_rows(&store, layer, 2, 7);
                let hot = HotRows::load(&device, &store, layer, &wanted, 1 << 20).unwrap();
                let mapped = MappedColumns::register(&device, &store, layer).unwrap();
                for value_type in VALUE_TYPES {
                    let plain = RingConfig::new(ROWS).value_type(value_type);
                    let configs = [
                        plain.clone(),
                        plain.clone().hot(hot.clone()),
                        plain.clone().mapped(mapped.clone()),
                        plain.hot(hot.clone()).mapped(mapped.clone()),
                    ];
                    for (which, config) in configs.into_iter().enumerate() {
                        let ring = ring(&device, &store, config);
                        let stream = device.stream(0).unwrap();
                        let (mut unique, mut total) = (0, 0);
                        for pass in 0..5_u32 {
                            let rows =
                                some_rows(&store, layer, ROWS - 7 * pass as usize, pass.into());
                            let staged = stage(&ring, layer, &rows);
                            let found = staged.read_on(&stream).unwrap();
                            let expected = expected(&store, layer, &rows, value_type);
                            assert!(
                                found == expected,
                                "{name} {layer} {value_type:?} {which} {pass}"
                            );
                            unique += rows.iter().collect::<HashSet<_>>().len() as u64;
                            total += rows.len() as u64;
                        }
                        let index = layers(&store).iter().position(|&l| l == layer).unwrap();
                        let metrics = ring.metrics()[index];
                        assert_eq!(
                            metrics.hot_rows + metrics.mapped_rows + metrics.staged_rows,
                            total
                        );
                        assert_eq!(metrics.passes, 5);
                        assert_eq!(metrics.hot_rows > 0, which % 2 == 1, "{name} {which}");
                        assert_eq!(metrics.mapped_rows > 0, which >= 2, "{name} {which}");
                        if which == 0 {
                            assert_eq!((metrics.staged_rows, metrics.unique_rows), (total, unique));
                            assert!(unique < total, "{name}: some rows come twice");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn passes_of_all_layers_come_in_order_from_many_threads() {
    for device in devices() {
        let store = open("deepseek", direct().cache_bytes(0));
        let ring = ring(&device, &store, RingConfig::new(ROWS).depth(3));
        thread::scope(|scope| {
            for layer in layers(&store) {
                let (ring, store, device) = (&ring, &store, &device);
                scope.spawn(move || {
                    let stream = device.stream(1).unwrap();
                    let mut in_flight = std::collections::VecDeque::new();
                    for pass in 0..200_u32 {
                        let rows = some_rows(store, layer, 1 + pass as usize % ROWS, pass.into());
                        in_flight.push_back((stage(ring, layer, &rows), rows));
                        if in_flight.len() == 3 {
                            let (staged, rows) = in_flight.pop_front().unwrap();
                            let found = staged.read_on(&stream).unwrap();
                            assert!(found == expected(store, layer, &rows, ValueType::Bf16));
                        }
                    }
                });
            }
        });
    }
}

#[test]
fn a_full_ring_refuses_instead_of_waiting_and_goes_on() {
    for device in devices() {
        let store = open("demo", Config::new().reader(Reader::Memory));
        let layer = layers(&store)[0];
        let ring = ring(&device, &store, RingConfig::new(ROWS).depth(2));
        let rows = some_rows(&store, layer, ROWS, 1);
        let first = ring.stage(layer, &rows).unwrap().unwrap();
        let second = ring.stage(layer, &rows[1..]).unwrap().unwrap();
        assert!(ring.stage(layer, &rows).unwrap().is_none());
        assert_eq!(ring.metrics()[0].refused, 1);
        // Another layer has slots of its own.
        let other = layers(&store)[1];
        let of_other = some_rows(&store, other, 3, 1);
        let stream = device.stream(0).unwrap();
        stage(&ring, other, &of_other).read_on(&stream).unwrap();
        let found = first.read_on(&stream).unwrap();
        assert!(found == expected(&store, layer, &rows, ValueType::Bf16));
        let third = stage(&ring, layer, &rows[2..]);
        for (staged, rows) in [(second, &rows[1..]), (third, &rows[2..])] {
            let found = staged.read_on(&stream).unwrap();
            assert!(found == expected(&store, layer, rows, ValueType::Bf16));
        }
    }
}

#[test]
fn dropped_passes_free_their_slots() {
    for device in devices() {
        // From the drive some are dropped before their rows have come, from memory all after that.
        for config in [
            direct().cache_bytes(0),
            Config::new().reader(Reader::Memory),
        ] {
            let store = open("deepseek", config);
            let layer = layers(&store)[0];
            let ring = ring(&device, &store, RingConfig::new(ROWS).depth(1));
            let stream = device.stream(0).unwrap();
            for pass in 0..100 {
                let rows = some_rows(&store, layer, ROWS, pass);
                let staged = stage(&ring, layer, &rows);
                if pass % 3 == 0 {
                    let found = staged.read_on(&stream).unwrap();
                    assert!(found == expected(&store, layer, &rows, ValueType::Bf16));
                }
            }
        }
    }
}

#[test]
fn a_pass_outlives_its_ring() {
    for device in devices() {
        let store = open("qwen", direct());
        let layer = layers(&store)[0];
        let rows = some_rows(&store, layer, ROWS, 3);
        let ring = ring(&device, &store, RingConfig::new(ROWS));
        let staged = ring.stage(layer, &rows).unwrap().unwrap();
        drop(ring);
        let found = staged.read_on(&device.stream(0).unwrap()).unwrap();
        assert!(found == expected(&store, layer, &rows, ValueType::Bf16));
    }
}

#[test]
fn damage_makes_zeros_and_an_error_and_the_next_pass_is_good() {
    for device in devices() {
        let folder = tempfile::tempdir().unwrap();
        copy_folder(&pack("deepseek"), folder.path());
        // The first record lies behind the header.
        let shard = folder.path().join("layer-01/order-2-head-0.shard");
        let mut bytes = fs::read(&shard).unwrap();
        bytes[4_096 + 5] ^= 1;
        fs::write(&shard, bytes).unwrap();
        for config in [
            direct(),
            direct().cache_bytes(0).resident(Resident::Orders(2)),
        ] {
            let store = Arc::new(Store::open(folder.path(), config).unwrap());
            let ring = ring(&device, &store, RingConfig::new(ROWS).depth(1));
            let stream = device.stream(0).unwrap();
            let good: Vec<RowId> = (1..30).map(RowId).collect();
            let found = stage(&ring, LayerId(1), &good).read_on(&stream).unwrap();
            assert!(found == expected(&store, LayerId(1), &good, ValueType::Bf16));

            let bad: Vec<RowId> = (0..30).map(RowId).collect();
            let is_damage = |error: &DeviceError| {
                matches!(
                    error,
                    DeviceError::Lookup(LookupError::Damaged { row: RowId(0), .. })
                )
            };
            match ring.stage(LayerId(1), &bad) {
                // In memory: found at once, and nothing is staged.
                Err(error) => assert!(is_damage(&error), "{error}"),
                Ok(staged) => {
                    let sink = Arc::new(device.memory(30 * 64 * 2).unwrap());
                    let (copied, outcome) = staged
                        .unwrap()
                        .consume_on(&stream, |slot| slot.copy_on(&stream, &sink))
                        .unwrap();
                    copied.unwrap();
                    let error = outcome.wait().unwrap_err();
                    assert!(is_damage(&error), "{error}");
                    let found = stream.read(&sink).unwrap();
                    assert!(found.iter().all(|&byte| byte == 0), "no row of a bad pass");
                }
            }
            let found = stage(&ring, LayerId(1), &good).read_on(&stream).unwrap();
            assert!(found == expected(&store, LayerId(1), &good, ValueType::Bf16));
            if store.resident_columns(LayerId(1)).unwrap().1.is_empty() {
                continue;
            }
            let refused = MappedColumns::register(&device, &store, LayerId(1)).unwrap_err();
            assert!(is_damage(&refused), "{refused}");
        }
    }
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_captured_graph_serves_changing_tokens() {
    for device in devices() {
        let store = open("deepseek", direct());
        let rings = ring(
            &device,
            &store,
            RingConfig::new(ROWS).depth(2).value_type(ValueType::F32),
        );
        let stream = device.stream(0).unwrap();
        let sinks: Vec<_> = layers(&store)
            .iter()
            .map(|_| Arc::new(device.memory(ROWS * 64 * 4).unwrap()))
            .collect();
        // One graph for each slot; it takes the rows of all layers, the first layer's first.
        let graphs: Vec<_> = (0..2)
            .map(|slot_index| {
                let graph = stream.capture(|stream| {
                    for (&layer, sink) in layers(&store).iter().zip(&sinks) {
                        let slot = &rings.output_slots(layer)?[slot_index];
                        slot.wait_on(stream)?;
                        slot.copy_on(stream, sink)?;
                        slot.release_on(stream)?;
                    }
                    Ok(())
                });
                Arc::new(graph.unwrap())
            })
            .collect();
        for pass in 0..40 {
            // Launched first: the device waits for what is staged afterwards.
            stream.launch_graph(&graphs[pass % 2]).unwrap();
            for (index, (&layer, sink)) in layers(&store).iter().zip(&sinks).enumerate() {
                let rows = some_rows(&store, layer, ROWS, (2 * pass + index) as u64);
                let staged = stage(&rings, layer, &rows);
                staged.into_graph().wait().unwrap();
                if index + 1 == sinks.len() {
                    let found = stream.read(sink).unwrap();
                    assert!(
                        found == expected(&store, layer, &rows, ValueType::F32),
                        "pass {pass}"
                    );
                }
            }
        }
    }
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    for device in devices() {
        let store = open("deepseek", direct().resident(Resident::Orders(2)));
        let ring = ring(&device, &store, RingConfig::new(2));
        let text = |error: DeviceError| error.to_string();
        let refused = |layer, rows: &[RowId]| text(ring.stage(layer, rows).unwrap_err());
        assert_eq!(
            refused(LayerId(1), &[RowId(0); 3]),
            "the pass has 3 rows, expected at most 2"
        );
        assert_eq!(
            refused(LayerId(2), &[]),
            "layer 2 has no table; the pack has layers [1, 3]"
        );
        assert_eq!(
            refused(LayerId(1), &[RowId(0), RowId(120)]),
            "row 120 at index 1 of the batch is outside the table of layer 1, which has 120 rows"
        );
        // The slot is still free.
        assert!(ring.stage(LayerId(1), &[RowId(0)]).unwrap().is_some());
        let new = |config| text(Ring::new(&device, store.clone(), &config).unwrap_err());
        assert_eq!(
            new(RingConfig::new(0)),
            "`max_rows` is 0, expected 1 or more"
        );
        assert_eq!(
            new(RingConfig::new(1).depth(0)),
            "`depth` is 0, expected 1 or more passes at a time"
        );
        let hot = |rows: &[RowId], bytes| {
            text(HotRows::load(&device, &store, LayerId(1), rows, bytes).unwrap_err())
        };
        assert_eq!(
            hot(&[RowId(1)], 80),
            "80 bytes of device memory are too few for hot rows: one row and its index take 88"
        );
        assert!(hot(&[RowId(120)], 1 << 20).contains("120"));
        let other = open("long-rows", Config::new().reader(Reader::Memory));
        let foreign = MappedColumns::register(&device, &other, LayerId(0)).unwrap();
        let foreign_store = "the mapped columns belong to another open store";
        assert_eq!(new(RingConfig::new(1).mapped(foreign)), foreign_store);
        let again = open("deepseek", direct().resident(Resident::Orders(2)));
        let hot = HotRows::load(&device, &again, LayerId(1), &[RowId(1)], 1 << 10).unwrap();
        let foreign_store = "the hot rows belong to another open store";
        assert_eq!(new(RingConfig::new(1).hot(hot)), foreign_store);
        let other_device = Device::host();
        let hot = HotRows::load(&other_device, &store, LayerId(1), &[RowId(1)], 1 << 10).unwrap();
        assert_eq!(
            new(RingConfig::new(1).hot(hot)),
            "the hot rows belong to another device"
        );
        let none =
            MappedColumns::register(&device, &open("demo", direct()), LayerId(1)).unwrap_err();
        assert_eq!(
            text(none),
            "layer 1 has no column in memory to map; open the store with `Config::resident`"
        );
    }
}

#[test]
fn streams_of_another_device_are_refused() {
    let (device, other) = (Device::host(), Device::host());
    let store = open("demo", direct());
    let ring = ring(&device, &store, RingConfig::new(2));
    let staged = ring.stage(LayerId(1), &[RowId(0)]).unwrap().unwrap();
    assert!(staged.read_on(&other.stream(0).unwrap()).is_err());
}

#[test]
fn what_a_graph_cannot_repeat_is_refused_while_captured() {
    for device in devices() {
        let store = open("demo", direct());
        let ring = ring(&device, &store, RingConfig::new(2));
        let stream = device.stream(0).unwrap();
        let sink = Arc::new(device.memory(64).unwrap());
        let refused = stream.capture(|stream| {
            assert!(matches!(stream.synchronize(), Err(DeviceError::Captured)));
            assert!(matches!(stream.read(&sink), Err(DeviceError::Captured)));
            assert!(matches!(
                stream.capture(|_| Ok(())),
                Err(DeviceError::Captured)
            ));
            let staged = ring.stage(LayerId(1), &[RowId(0)])?.unwrap();
            let consumed = staged.consume_on(stream, |_| ());
            Err(consumed.map(|_| ()).unwrap_err())
        });
        assert!(matches!(refused, Err(DeviceError::Captured)));
        // Neither the stream nor the slot has taken harm.
        stream.synchronize().unwrap();
        for pass in 0..4 {
            let rows = some_rows(&store, LayerId(1), 2, pass);
            let found = stage(&ring, LayerId(1), &rows).read_on(&stream).unwrap();
            assert!(found == expected(&store, LayerId(1), &rows, ValueType::Bf16));
        }
    }
}

#[test]
fn a_panic_of_the_consumer_leaves_the_ring_as_it_was() {
    for device in devices() {
        let store = open("demo", direct());
        let ring = ring(&device, &store, RingConfig::new(ROWS).depth(1));
        let stream = device.stream(0).unwrap();
        for pass in 0..3 {
            let rows = some_rows(&store, LayerId(1), ROWS, pass);
            let staged = stage(&ring, LayerId(1), &rows);
            let consume = || staged.consume_on(&stream, |_| panic!("as meant"));
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(consume));
            assert!(panicked.is_err());
            let found = stage(&ring, LayerId(1), &rows).read_on(&stream).unwrap();
            assert!(found == expected(&store, LayerId(1), &rows, ValueType::Bf16));
        }
    }
}

#[test]
fn consumers_in_turn_may_use_different_streams() {
    for device in devices() {
        let store = open("deepseek", direct().cache_bytes(0));
        let ring = ring(&device, &store, RingConfig::new(ROWS).depth(1));
        let streams = [0, 1, 2].map(|rank| device.stream(rank).unwrap());
        for pass in 0..60 {
            let rows = some_rows(&store, LayerId(3), ROWS, pass);
            let stream = &streams[usize::try_from(pass).unwrap() % 3];
            let sink = Arc::new(device.memory(ROWS * 64 * 2).unwrap());
            let staged = stage(&ring, LayerId(3), &rows);
            // The next pass is staged while this one is being consumed.
            let (copied, outcome) = staged
                .consume_on(stream, |slot| slot.copy_on(stream, &sink))
                .unwrap();
            copied.unwrap();
            outcome.wait().unwrap();
            if pass % 7 == 0 {
                drop(stage(&ring, LayerId(3), &rows));
            }
            let found = stream.read(&sink).unwrap();
            assert!(
                found == expected(&store, LayerId(3), &rows, ValueType::Bf16),
                "pass {pass}"
            );
        }
    }
}

#[test]
fn a_store_is_registered_once_at_a_time() {
    for device in devices() {
        let store = open("demo", Config::new().reader(Reader::Memory));
        let first = MappedColumns::register(&device, &store, LayerId(1)).unwrap();
        assert!(MappedColumns::register(&device, &store, LayerId(1)).is_err());
        drop(first);
        MappedColumns::register(&device, &store, LayerId(1)).unwrap();
    }
}
