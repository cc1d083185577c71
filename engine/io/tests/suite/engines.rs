//! What every engine promises, whatever happens below it that it can mend.

use std::{fs, io::Write, panic};

use engram_io::{
    BlockRead, DirectFile, Fault, FaultPlan, FaultRule, IoError, ReadEngine, UringEngine,
};

use crate::{BLOCK, ENGINES, Files, Folder, SIZE, SLOT_BYTES, say, truth};

/// Faults of which an engine's caller sees nothing but their time.
const INVISIBLE: [Fault; 7] = [
    Fault::Eintr,
    Fault::Eagain,
    Fault::Short,
    Fault::Ebusy,
    Fault::NotDirect,
    Fault::Late,
    Fault::Reordered,
];

/// Every implementation that the system has, as it is and with each fault that is invisible.
fn engines(files: &Files) -> impl Iterator<Item = (String, Box<dyn ReadEngine>)> {
    ENGINES.into_iter().flat_map(move |engine| {
        let plain = engine
            .make(files)
            .map(|made| (engine.name.to_owned(), made));
        let faulty = INVISIBLE.into_iter().filter_map(move |fault| {
            let plan = FaultPlan::new(1, [FaultRule::one_in(3, fault)]);
            let name = format!("{} with {fault:?}", engine.name);
            Some((name, engine.with_faults(files, &plan)?))
        });
        plain.into_iter().chain(faulty)
    })
}

fn block(file: u32, index: u32) -> BlockRead {
    BlockRead {
        file,
        offset: u64::from(index * BLOCK),
        len: BLOCK,
        needed: BLOCK,
    }
}

/// Waits for all reads in flight, and returns their slots and outcomes.
fn finish_all(engine: &mut dyn ReadEngine) -> Vec<(u32, Result<Vec<u8>, IoError>)> {
    let mut ended = Vec::new();
    while engine.in_flight() > 0 {
        let finished = engine.finish(&mut |slot, bytes| {
            ended.push((slot, bytes.map(<[u8]>::to_vec)));
        });
        finished.unwrap();
    }
    ended
}

#[test]
fn reads_bring_the_bytes_of_their_place() {
    let (folder, truth) = (Folder::new(), truth());
    for (name, mut engine) in engines(&folder.files()) {
        let mut expected = vec![None; engine.depth()];
        let (mut left, mut checked) = (300, 0);
        while left > 0 || engine.in_flight() > 0 {
            while left > 0 && engine.in_flight() < engine.depth() {
                let read = BlockRead {
                    len: BLOCK * (1 + left % 4),
                    ..block(left % 2, left * 7 % 20)
                };
                let slot = engine.begin(read);
                let before = expected[slot as usize].replace(read);
                assert_eq!(before, None, "{name}: a slot of two reads");
                left -= 1;
            }
            let in_flight = engine.in_flight();
            let mut ended = 0;
            let finished = engine.finish(&mut |slot, bytes| {
                let read = expected[slot as usize].take().unwrap();
                let (bytes, start) = (bytes.unwrap(), usize::try_from(read.offset).unwrap());
                assert!(bytes.len() >= read.needed as usize && bytes.len() <= read.len as usize);
                assert_eq!(bytes, &truth[start..start + bytes.len()], "{name}");
                ended += 1;
            });
            finished.unwrap();
            assert_eq!(engine.in_flight(), in_flight - ended, "{name}");
            checked += ended;
        }
        assert_eq!(checked, 300, "{name}");
    }
}

#[test]
fn the_end_of_the_file_is_no_error_unless_more_was_needed() {
    let (folder, truth) = (Folder::new(), truth());
    let last = u32::try_from(SIZE).unwrap() / BLOCK;
    let start = (last * BLOCK) as usize;
    let left = u32::try_from(SIZE - start).unwrap();
    for (name, mut engine) in engines(&folder.files()) {
        for needed in [left, left + 1] {
            engine.begin(BlockRead {
                len: 2 * BLOCK,
                needed,
                ..block(0, last)
            });
            let (_, bytes) = finish_all(&mut *engine).pop().unwrap();
            match bytes {
                Ok(bytes) => assert!(needed == left && bytes == truth[start..], "{name}"),
                Err(IoError::Ended { found, .. }) => {
                    assert!(needed > left && found <= left as usize, "{name}: {found}");
                }
                Err(error) => panic!("{name}: {error}"),
            }
        }
    }
}

#[test]
fn a_file_cut_shorter_is_an_error_of_its_reads_only() {
    let truth = truth();
    for engine in ENGINES {
        let folder = Folder::new();
        let Some(mut made) = engine.make(&folder.files()) else {
            continue;
        };
        let cut = fs::File::options()
            .write(true)
            .open(&folder.paths()[1])
            .unwrap();
        cut.set_len(0).unwrap();
        for (file, index) in [(0, 1), (1, 1), (0, 2)] {
            made.begin(block(file, index));
            let (_, bytes) = finish_all(&mut *made).pop().unwrap();
            match bytes {
                Ok(bytes) => {
                    let start = (index * BLOCK) as usize;
                    assert!(file == 0 && bytes == truth[start..start + bytes.len()]);
                }
                Err(error) => {
                    let name = engine.name;
                    assert!(
                        matches!(error, IoError::Ended { found: 0, .. }),
                        "{name}: {error}"
                    );
                    assert!(
                        file == 1 && error.to_string().contains("two ends 0 bytes"),
                        "{error}"
                    );
                }
            }
        }
    }
}

#[test]
fn faults_that_do_not_end_fail_the_read_and_not_the_engine() {
    let folder = Folder::new();
    for engine in ENGINES {
        for fault in [Fault::Eintr, Fault::Eagain] {
            let plan = FaultPlan::new(1, [FaultRule::every(1, fault)]);
            let Some(mut made) = engine.with_faults(&folder.files(), &plan) else {
                continue;
            };
            made.begin(block(0, 3));
            let (_, bytes) = finish_all(&mut *made).pop().unwrap();
            let kind = bytes.unwrap_err().os_error().map(std::io::Error::kind);
            let expected = match fault {
                Fault::Eintr => std::io::ErrorKind::Interrupted,
                _ => std::io::ErrorKind::WouldBlock,
            };
            assert_eq!(kind, Some(expected), "{}", engine.name);
            plan.set_active(false);
            made.begin(block(0, 3));
            assert!(finish_all(&mut *made).pop().unwrap().1.is_ok());
        }
    }
}

#[test]
fn an_engine_that_the_kernel_no_longer_serves_says_so() {
    let folder = Folder::new();
    for engine in ENGINES.into_iter().filter(|engine| engine.is_uring) {
        let plan = FaultPlan::new(1, [FaultRule::every(1, Fault::RingRefused)]);
        let Some(mut made) = engine.with_faults(&folder.files(), &plan) else {
            continue;
        };
        made.begin(block(0, 3));
        let finished = made.finish(&mut |_, _| ());
        let kind = finished.unwrap_err().os_error().map(std::io::Error::kind);
        assert_eq!(kind, Some(std::io::ErrorKind::PermissionDenied));
        plan.set_active(false);
        assert!(finish_all(&mut *made).pop().unwrap().1.is_ok());
    }
}

#[test]
fn a_file_whose_direct_reads_are_refused_goes_through_the_page_cache() {
    for engine in ENGINES {
        let (folder, truth) = (Folder::new(), truth());
        let files = folder.files();
        if !files.iter().all(DirectFile::is_direct) {
            return say("skipped: the file system of temporary files has no direct reads");
        }
        let rule = FaultRule::every(1, Fault::NotDirect).in_file("two");
        let plan = FaultPlan::new(1, [rule]);
        let Some(mut made) = engine.with_faults(&files, &plan) else {
            continue;
        };
        for _ in 0..2 {
            let begun = u32::try_from(made.depth()).unwrap().min(4);
            for index in 0..begun {
                made.begin(block(1 - index % 2, 1));
            }
            for (_, bytes) in finish_all(&mut *made) {
                let bytes = bytes.unwrap();
                assert_eq!(
                    bytes,
                    truth[BLOCK as usize..][..bytes.len()],
                    "{}",
                    engine.name
                );
            }
        }
        let direct: Vec<bool> = files.iter().map(DirectFile::is_direct).collect();
        assert_eq!(direct, [true, false], "{}", engine.name);
        // Those that were in flight together, and no more.
        assert!((1..=2).contains(&plan.injected(Fault::NotDirect)));

        // A file that has taken the name meanwhile is another one.
        std::fs::remove_file(&folder.paths()[0]).unwrap();
        std::fs::write(&folder.paths()[0], vec![7; SIZE]).unwrap();
        let all = FaultPlan::new(1, [FaultRule::every(1, Fault::NotDirect)]);
        let mut made = engine.with_faults(&files, &all).unwrap();
        made.begin(block(0, 1));
        assert!(finish_all(&mut *made).pop().unwrap().1.is_err());
        assert!(files[0].is_direct());
    }
}

#[test]
fn an_engine_dropped_with_reads_in_flight_waits_for_the_kernel() {
    let folder = Folder::new();
    for (_, mut engine) in engines(&folder.files()) {
        for file in 0..u32::try_from(engine.depth()).unwrap() {
            engine.begin(block(file % 2, 0));
        }
    }
}

#[test]
fn reads_that_no_slot_can_hold_are_a_bug() {
    let folder = Folder::new();
    for (name, mut engine) in engines(&folder.files()) {
        let misaligned = BlockRead {
            offset: 1,
            ..block(0, 0)
        };
        let too_long = BlockRead {
            len: u32::try_from(SLOT_BYTES).unwrap() + BLOCK,
            ..block(0, 0)
        };
        let lacking = BlockRead {
            needed: BLOCK + 1,
            ..block(0, 0)
        };
        for read in [misaligned, too_long, lacking] {
            let begun = panic::catch_unwind(panic::AssertUnwindSafe(|| engine.begin(read)));
            assert!(begun.is_err(), "{name}: {read:?}");
        }
        for _ in 0..engine.depth() {
            engine.begin(block(0, 0));
        }
        let begun = panic::catch_unwind(panic::AssertUnwindSafe(|| engine.begin(block(0, 0))));
        assert!(begun.is_err(), "{name}: more reads than slots");
        assert_eq!(finish_all(&mut *engine).len(), engine.depth(), "{name}");
    }
}

#[test]
fn a_waker_ends_the_wait() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
    // A read from a pipe ends when somebody writes.
    let mut writer = fs::File::options()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let files: Files = [DirectFile::open(&path).unwrap()].into();
    let (send, wakers) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut engine = match UringEngine::new(files, 1, SLOT_BYTES) {
            Ok(engine) => engine,
            Err(error) => return say(&format!("skipped: {error}")),
        };
        engine.begin(BlockRead {
            needed: 5,
            ..block(0, 0)
        });
        let waker = engine.waker().unwrap();
        for _ in 0..3 {
            waker.listen(true);
            send.send(Some(waker.clone())).unwrap();
            let finished = engine.finish(&mut |_, _| panic!("nothing was written"));
            finished.unwrap();
            assert_eq!(engine.in_flight(), 1);
        }
        send.send(None).unwrap();
        let (_, seen) = finish_all(&mut engine).pop().unwrap();
        assert_eq!(seen.unwrap(), b"hello");
    });
    for waker in &wakers {
        match waker {
            Some(waker) => {
                waker.wake();
                // Nobody listens any more.
                waker.wake();
            }
            None => writer.write_all(b"hello").unwrap(),
        }
    }
    reader.join().unwrap();
}
