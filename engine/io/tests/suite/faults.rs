//! What becomes of each fault: one that can be mended is, and of the others each is an error or what it is by name.

use std::{collections::HashMap, path::Path, sync::Arc};

use engram_io::{
    Access, BlockRead, DirectFile, Fault, FaultIo, FaultPlan, FaultRule, Io, IoError, SystemIo,
};

use crate::{BLOCK, ENGINES, Engine, Folder, READERS, Reader, SIZE, say, truth};

/// What a caller sees who knows the bytes of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Right,
    OneBitWrong,
    SecondHalfZero,
    OfAnotherPlace,
    CannotRead,
    FileEnds,
    Other,
}

/// What a read that has a fault is to come to.
fn expected(fault: Fault) -> Outcome {
    match fault {
        Fault::Eio => Outcome::CannotRead,
        Fault::Vanished => Outcome::FileEnds,
        Fault::BitFlip => Outcome::OneBitWrong,
        Fault::Torn => Outcome::SecondHalfZero,
        Fault::Misdirected => Outcome::OfAnotherPlace,
        _ => Outcome::Right,
    }
}

fn outcome(truth: &[u8], offset: usize, read: Result<Vec<u8>, IoError>) -> Outcome {
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(IoError::Ended { .. }) => return Outcome::FileEnds,
        Err(error) => {
            let code = error.os_error().and_then(std::io::Error::raw_os_error);
            let is_eio = code == Some(rustix::io::Errno::IO.raw_os_error());
            return if is_eio {
                Outcome::CannotRead
            } else {
                Outcome::Other
            };
        }
    };
    let right = &truth[offset..offset + bytes.len()];
    let wrong_bits = bytes.iter().zip(right).map(|(a, b)| (a ^ b).count_ones());
    let half = bytes.len() / 2;
    if bytes == right {
        Outcome::Right
    } else if wrong_bits.sum::<u32>() == 1 {
        Outcome::OneBitWrong
    } else if bytes[..half] == right[..half] && bytes[half..].iter().all(|byte| *byte == 0) {
        Outcome::SecondHalfZero
    } else if truth.windows(bytes.len()).any(|place| place == bytes) {
        Outcome::OfAnotherPlace
    } else {
        Outcome::Other
    }
}

/// What the outcomes of some reads say about a plan of one fault for each third of them.
fn judge(name: &str, fault: Fault, plan: &FaultPlan, outcomes: &[Outcome]) -> &'static str {
    let hits = plan.injected(fault);
    assert!(hits > 0, "{name}: no {fault:?} was injected");
    for outcome in outcomes {
        let fits = *outcome == Outcome::Right || *outcome == expected(fault);
        assert!(fits, "{name}: {fault:?} came to {outcome:?}");
    }
    let seen = outcomes
        .iter()
        .filter(|outcome| **outcome != Outcome::Right)
        .count();
    if expected(fault) != Outcome::Right {
        assert_eq!(seen as u64, hits, "{name}: each {fault:?} is seen");
        assert!(seen < outcomes.len(), "{name}: {fault:?} hits others too");
    }
    "passed"
}

fn reader_with(reader: Reader, fault: Fault, folder: &Folder, truth: &[u8]) -> &'static str {
    let applies = match fault {
        Fault::Eintr | Fault::Eagain | Fault::Short => reader.makes_calls,
        Fault::Ebusy | Fault::NotDirect | Fault::RingRefused | Fault::Reordered => false,
        _ => true,
    };
    let path = &folder.paths()[0];
    let plan = FaultPlan::new(3, [FaultRule::every(3, fault)]);
    let faulty = reader.with_faults(path, &plan);
    let read_all = || -> Vec<Outcome> {
        let offsets = (0..SIZE - 1_000).step_by(7_919);
        let outcomes = offsets.map(|offset| {
            let mut out = vec![0; 1_000];
            let read = faulty.read_at(offset as u64, &mut out).map(|()| out);
            outcome(truth, offset, read)
        });
        outcomes.collect()
    };
    let outcomes = read_all();
    let hits = plan.injected(fault);
    plan.set_active(false);
    assert!(read_all().iter().all(|after| *after == Outcome::Right));
    assert_eq!(plan.injected(fault), hits);
    if !applies {
        assert_eq!(hits, 0, "{}: {fault:?} cannot be", reader.name);
        return "-";
    }
    judge(reader.name, fault, &plan, &outcomes)
}

fn engine_with(engine: Engine, fault: Fault, folder: &Folder, truth: &[u8]) -> &'static str {
    let applies = match fault {
        Fault::Ebusy | Fault::Reordered => engine.is_uring,
        Fault::NotDirect => folder.files().iter().all(DirectFile::is_direct),
        // The engine ends by it: see `an_engine_that_the_kernel_no_longer_serves_says_so`.
        Fault::RingRefused => return "the end",
        _ => true,
    };
    let plan = FaultPlan::new(3, [FaultRule::every(3, fault)]);
    let Some(mut faulty) = engine.with_faults(&folder.files(), &plan) else {
        return "refused";
    };
    let mut read_all = |is_faulty: bool| {
        let mut outcomes = Vec::new();
        for round in 0..6 {
            let mut begun = HashMap::new();
            let mut order = Vec::new();
            while faulty.in_flight() < faulty.depth() {
                let index = (u32::try_from(begun.len()).unwrap() * 5 + round) % 24;
                let offset = u64::from(index * BLOCK);
                let slot = faulty.begin(BlockRead {
                    file: round % 2,
                    offset,
                    len: BLOCK,
                    needed: BLOCK,
                });
                begun.insert(slot, (order.len(), offset));
                order.push(slot);
            }
            let mut ended = Vec::new();
            let mut calls = 0;
            while faulty.in_flight() > 0 {
                calls += 1;
                let finished = faulty.finish(&mut |slot, bytes| {
                    ended.push(slot);
                    let offset = usize::try_from(begun[&slot].1).unwrap();
                    outcomes.push(outcome(truth, offset, bytes.map(<[u8]>::to_vec)));
                });
                finished.unwrap();
            }
            // The first read of the first round is always hit.
            let first_is_hit = is_faulty && round == 0 && applies;
            if first_is_hit && matches!(fault, Fault::Late | Fault::Reordered) {
                let is_first = ended[0] == order[0];
                let comes_late = if engine.is_uring {
                    !is_first
                } else {
                    calls > 1
                };
                assert!(comes_late, "{}: {fault:?} changed nothing", engine.name);
            }
        }
        outcomes
    };
    let outcomes = read_all(true);
    let hits = plan.injected(fault);
    plan.set_active(false);
    assert!(read_all(false).iter().all(|after| *after == Outcome::Right));
    assert_eq!(plan.injected(fault), hits);
    if !applies {
        assert_eq!(hits, 0, "{}: {fault:?} cannot be", engine.name);
        return "-";
    }
    judge(engine.name, fault, &plan, &outcomes)
}

/// Loads a file through a reader with the fault, as a store does with resident columns.
fn load_with(fault: Fault, folder: &Folder, truth: &[u8]) -> &'static str {
    let plan = FaultPlan::new(3, [FaultRule::every(3, fault)]);
    let io = FaultIo::new(Arc::new(SystemIo), plan.clone());
    let load = |path: &Path| {
        let loaded = io.open(path, Access::Memory)?;
        let mut bytes = vec![0; SIZE];
        loaded.read_at(0, &mut bytes).unwrap();
        Ok(bytes)
    };
    let path = &folder.paths()[0];
    let outcomes: Vec<Outcome> = (0..4).map(|_| outcome(truth, 0, load(path))).collect();
    // A file that is read whole has no other place.
    let elsewhere = [
        Fault::Ebusy,
        Fault::NotDirect,
        Fault::RingRefused,
        Fault::Reordered,
        Fault::Misdirected,
    ];
    if elsewhere.contains(&fault) {
        assert_eq!(plan.injected(fault), 0, "{fault:?} cannot be");
        return "-";
    }
    judge("loaded", fault, &plan, &outcomes)
}

#[test]
fn every_fault_is_mended_or_seen() {
    let (folder, truth) = (Folder::new(), truth());
    let mut rows = Vec::new();
    let row = |cell: &dyn Fn(Fault) -> &'static str| Fault::ALL.map(|fault| cell(fault).to_owned());
    for reader in READERS {
        rows.push((
            reader.name,
            row(&|fault| reader_with(reader, fault, &folder, &truth)),
        ));
    }
    rows.push((
        "memory, from FaultIo",
        row(&|fault| load_with(fault, &folder, &truth)),
    ));
    for engine in ENGINES {
        rows.push((
            engine.name,
            row(&|fault| engine_with(engine, fault, &folder, &truth)),
        ));
    }
    let line = |name: &str, cells: &[String]| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>12}")).collect();
        format!("{name:24}{cells}")
    };
    let mut table = vec![line("", &Fault::ALL.map(|fault| format!("{fault:?}")))];
    table.extend(rows.iter().map(|(name, cells)| line(name, cells)));
    say(&table.join("\n"));
}
