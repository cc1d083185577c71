//! One suite for every way to a row: each tier, engine, reader and backing, under every fault.
//!
//! The promises: a call hands out the right rows, or fails with an error that fits and hands out zeros. A
//! fault that the system mends is not seen. A row of a pack whose bytes are wrong is never handed out. Once
//! the faults are over, every row can be had again, from the cache too.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use engram::{
    Batch, Buffer, Config, LayerId, LookupError, Reader, Resident, RowId, Store, ValueType,
};
use engram_checkpoint::Checkpoint;
use engram_io::{Fault, FaultIo, FaultPlan, FaultRule, Io, SystemIo};
use engram_pack::attach;
use engram_tests::{Fixture, ReaderBackings, When, all_rows, look_up, make_cold, open};

/// A way to a row.
struct Way {
    name: &'static str,
    kind: Kind,
    /// Whether faults already happen when the pack is opened: they reach what is loaded then.
    faults_at_open: bool,
    configure: fn(Config, &Path, &Arc<dyn Io>) -> Config,
}

/// A kind of pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Packed,
    Cold,
    Attached,
}

/// What a fault may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// The system's to mend: nobody sees it.
    Unseen,
    /// The read fails.
    Fails,
    /// The bytes are wrong, and a seal tells.
    Damages,
}

fn effect(fault: Fault) -> Effect {
    match fault {
        Fault::Eintr
        | Fault::Eagain
        | Fault::Short
        | Fault::Ebusy
        | Fault::NotDirect
        | Fault::RingRefused
        | Fault::Late
        | Fault::Reordered => Effect::Unseen,
        Fault::Eio | Fault::Vanished => Effect::Fails,
        Fault::BitFlip | Fault::Torn | Fault::Misdirected => Effect::Damages,
    }
}

fn ways() -> Vec<Way> {
    let packed = |name, configure| Way {
        name,
        kind: Kind::Packed,
        faults_at_open: false,
        configure,
    };
    let attached = |name, configure| Way {
        kind: Kind::Attached,
        ..packed(name, configure)
    };
    let cold = |name, configure| Way {
        kind: Kind::Cold,
        ..packed(name, configure)
    };
    vec![
        Way {
            faults_at_open: true,
            ..packed("resident", |config, _, _| config.reader(Reader::Memory))
        },
        packed("resident, shared", |config, folder, _| {
            let config = config.reader(Reader::Pread).resident(Resident::Orders(9));
            config.resident_folder(folder.join("resident"))
        }),
        packed("mmap", |config, _, _| config.reader(Reader::Mmap)),
        packed("pread", |config, _, _| config.reader(Reader::Pread)),
        packed("io_uring", |config, _, _| {
            config.reader(Reader::Direct).io(1, 16).cache_bytes(0)
        }),
        packed("threads", |config, _, _| {
            let config = config.reader(Reader::DirectThreads);
            config.io(3, 1).cache_bytes(0)
        }),
        packed("cache on io_uring", |config, _, _| {
            config.reader(Reader::Direct).io(2, 8).cache_bytes(1 << 20)
        }),
        packed("cache, shared", |config, folder, _| {
            let config = config.reader(Reader::Direct).cache_bytes(1 << 20);
            config.cache_folder(folder.join("cache"))
        }),
        packed("resident, cache, threads", |config, _, _| {
            let config = config.reader(Reader::DirectThreads).io(2, 1);
            config.resident(Resident::Orders(2)).cache_bytes(1 << 20)
        }),
        packed("own backing, at once", |config, _, io| {
            let (io, when) = (io.clone(), When::AtOnce);
            config.backing(Arc::new(ReaderBackings { io, when }))
        }),
        packed("own backing, later", |config, _, io| {
            let (io, when) = (io.clone(), When::Later);
            let config = config.cache_bytes(0);
            config.backing(Arc::new(ReaderBackings { io, when }))
        }),
        Way {
            faults_at_open: true,
            ..cold("cold, resident", |config, _, _| {
                config.reader(Reader::Memory)
            })
        },
        cold("cold", |config, _, _| config.io(3, 1).cache_bytes(0)),
        cold("cold, caches", |config, _, _| config.cache_bytes(4 << 20)),
        cold("cold, cache, shared", |config, folder, _| {
            let config = config.reader(Reader::DirectThreads).cache_bytes(1 << 20);
            config.cache_folder(folder.join("cache"))
        }),
        attached("attached, memory", |config, _, _| {
            config.reader(Reader::Memory)
        }),
        attached("attached, mmap", |config, _, _| config.reader(Reader::Mmap)),
        attached("attached, pread", |config, _, _| {
            config.reader(Reader::Pread)
        }),
        attached("attached, io_uring", |config, _, _| {
            config.reader(Reader::Direct)
        }),
        attached("attached, threads", |config, _, _| {
            config.reader(Reader::DirectThreads)
        }),
        attached("attached, own backing", |config, _, io| {
            let (io, when) = (io.clone(), When::Later);
            config.backing(Arc::new(ReaderBackings { io, when }))
        }),
    ]
}

/// A pack of one family, packed, cold and attached.
struct Packs {
    family: &'static str,
    fixture: Fixture,
    attached: PathBuf,
    cold: PathBuf,
    table: Table,
}

impl Packs {
    fn of(family: &'static str) -> Self {
        let fixture = Fixture::new(family);
        let attached = fixture.folder().join("attached");
        let checkpoint = Checkpoint::open(&fixture.checkpoint(), None).unwrap();
        attach(&checkpoint, &attached).unwrap();
        let cold = fixture.folder().join("cold");
        make_cold(&fixture.pack(), &cold);
        Self {
            family,
            attached,
            cold,
            table: Table::of(&open(&fixture.pack(), Reader::Memory)),
            fixture,
        }
    }
}

/// What the suite compares with: all rows of one table.
struct Table {
    layer: LayerId,
    rows: Vec<RowId>,
    bytes: Vec<u8>,
    values: Vec<f32>,
}

impl Table {
    fn of(store: &Store) -> Self {
        let layer = store.scheme().layers[0].id;
        let rows = all_rows(store, 0);
        let bytes = look_up(store, layer, &rows).unwrap();
        let codec = store.codec(layer).unwrap();
        let mut values = vec![0.0; rows.len() * codec.width()];
        codec.decode_f32(&bytes, &mut values);
        Self {
            layer,
            rows,
            bytes,
            values,
        }
    }

    /// Looks the rows `picks` up in all four ways; the number of calls that failed.
    fn check(
        &self,
        store: &Store,
        picks: &[usize],
        case: &str,
        fits: impl Fn(&LookupError) -> bool,
    ) -> u64 {
        let rows: Vec<RowId> = picks.iter().map(|&pick| self.rows[pick]).collect();
        let batch = Batch::new(self.layer, &rows);
        let (row_bytes, width) = (
            self.bytes.len() / self.rows.len(),
            self.values.len() / self.rows.len(),
        );
        let expected_bytes: Vec<u8> = picks
            .iter()
            .flat_map(|pick| &self.bytes[pick * row_bytes..][..row_bytes])
            .copied()
            .collect();
        let expected_values: Vec<u32> = picks
            .iter()
            .flat_map(|pick| &self.values[pick * width..][..width])
            .map(|value| value.to_bits())
            .collect();
        let bits = |values: &[f32]| -> Vec<u32> { values.iter().map(|v| v.to_bits()).collect() };
        let mut failures = 0;
        let mut failed = |error: &LookupError| {
            assert!(fits(error), "{case}: {error}");
            failures += 1;
        };

        match look_up(store, self.layer, &rows) {
            Ok(found) => assert!(found == expected_bytes, "{case}: wrong bytes"),
            Err(error) => failed(&error),
        }
        let mut values = vec![7.0; rows.len() * width];
        match store.lookup_values(batch, &mut values[..]) {
            Ok(()) => assert!(bits(&values) == expected_values, "{case}: wrong values"),
            Err(error) => {
                assert!(values.iter().all(|value| value.to_bits() == 0), "{case}");
                failed(&error);
            }
        }
        let submit = |buffer: Buffer| store.submit(batch, buffer).and_then(engram::Ticket::wait);
        match submit(store.buffer(self.layer, rows.len()).unwrap()) {
            Ok(found) => assert!(*found == *expected_bytes, "{case}: wrong ticket"),
            Err(error) => failed(&error),
        }
        let buffer = store.value_buffer(self.layer, rows.len(), ValueType::F32);
        match submit(buffer.unwrap()) {
            Ok(found) => assert!(
                bits(found.as_f32()) == expected_values,
                "{case}: ticket values"
            ),
            Err(error) => failed(&error),
        }
        failures
    }
}

/// Whether `error` is what `effect` leads to.
fn fits(error: &LookupError, effect: Effect) -> bool {
    match effect {
        Effect::Unseen => false,
        Effect::Fails => matches!(error, LookupError::Unread { .. } | LookupError::Io(_)),
        Effect::Damages => matches!(
            error,
            LookupError::Damaged { .. }
                | LookupError::DamagedFrame { .. }
                | LookupError::DamagedCopy { .. }
        ),
    }
}

/// Runs one way under one fault; what the table of the suite says of it.
fn run(way: &Way, fault: Option<Fault>, packs: &Packs) -> String {
    let (table, family) = (&packs.table, packs.family);
    let pack = match way.kind {
        Kind::Packed => packs.fixture.pack(),
        Kind::Cold => packs.cold.clone(),
        Kind::Attached => packs.attached.clone(),
    };
    let shared = tempfile::tempdir().unwrap();
    let rules = fault.map(|fault| {
        let rule = match (fault, effect(fault)) {
            (Fault::Late, _) => FaultRule::one_in(500, fault),
            // Seldom enough that no read has a fault at each of its tries.
            (_, Effect::Unseen) => FaultRule::one_in(4, fault),
            _ => FaultRule::every(2, fault),
        };
        match fault {
            // Of no place in a file.
            Fault::Ebusy | Fault::RingRefused => rule,
            // Past the headers, which are read when the pack is opened.
            _ => rule.at(4096..u64::MAX),
        }
    });
    let plan = FaultPlan::new(7, rules);
    plan.set_active(way.faults_at_open);
    let io: Arc<dyn Io> = Arc::new(FaultIo::new(Arc::new(SystemIo), plan.clone()));
    let config =
        (way.configure)(Config::new().cache_bytes(1 << 20), shared.path(), &io).file_access(io);
    let case = format!("{family}, {}, {fault:?}", way.name);
    let effect = fault.map_or(Effect::Unseen, effect);
    let store = match Store::open(&pack, config) {
        Ok(store) => store,
        Err(error) => {
            assert!(
                way.faults_at_open && effect != Effect::Unseen,
                "{case}: {error}"
            );
            return format!("{} refused at open", injected(&plan, fault));
        }
    };
    plan.set_active(true);
    let count = table.rows.len();
    let mut state = 1_usize;
    let mut failures = 0;
    for len in [1, 24, 300] {
        for _ in 0..3 {
            let picks: Vec<usize> = (0..len)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    (state >> 33) % count
                })
                .collect();
            failures += table.check(&store, &picks, &case, |error| fits(error, effect));
        }
    }
    plan.set_active(false);
    let injected = injected(&plan, fault);
    if !way.faults_at_open {
        let all: Vec<usize> = (0..count).collect();
        assert_eq!(table.check(&store, &all, &case, |_| false), 0);
    }
    if effect == Effect::Unseen {
        assert_eq!(failures, 0, "{case}");
    } else if injected > 0 && !(way.faults_at_open && fault == Some(Fault::BitFlip)) {
        // One bit of a whole shard may be one of its padding.
        assert!(
            failures > 0,
            "{case}: {injected} faults, and no call failed"
        );
    }
    if fault.is_some() && injected == 0 {
        return "does not occur".into();
    }
    format!("{injected} faults, {failures} calls refused")
}

fn injected(plan: &FaultPlan, fault: Option<Fault>) -> u64 {
    fault.map_or(0, |fault| plan.injected(fault))
}

#[test]
fn under_every_fault() {
    let faults: Vec<Option<Fault>> = std::iter::once(None)
        .chain(Fault::ALL.into_iter().map(Some))
        .collect();
    let packs = ["demo", "deepseek", "long-rows"].map(Packs::of);
    let mut occurred: BTreeMap<String, u32> = BTreeMap::new();
    for way in ways() {
        for &fault in &faults {
            // An attached pack has no seals: wrong bytes are the checkpoint's own (see `Config`).
            if way.kind == Kind::Attached && fault.map(effect) == Some(Effect::Damages) {
                println!(
                    "{:26} {:12} not sealed",
                    way.name,
                    format!("{:?}", fault.unwrap())
                );
                continue;
            }
            // Rows in one part, in two parts (attached), and longer than a block.
            for packs in &packs {
                let outcome = run(&way, fault, packs);
                let fault = fault.map_or("none".into(), |fault| format!("{fault:?}"));
                println!("{:26} {fault:12} {:10} {outcome}", way.name, packs.family);
                if outcome != "does not occur" {
                    *occurred.entry(fault).or_default() += 1;
                }
            }
        }
    }
    // A check of the suite itself: every fault has occurred somewhere, where there is a ring and a file system for it.
    for fault in Fault::ALL {
        let name = format!("{fault:?}");
        assert!(
            [Fault::Ebusy, Fault::NotDirect, Fault::RingRefused].contains(&fault)
                || occurred.contains_key(&name),
            "{name} never occurred"
        );
    }
}
