use std::{fs, io::Write, sync::Arc};

use super::*;

const SIZE: usize = 100_000;

fn byte(offset: usize) -> u8 {
    u8::try_from(offset * 31 % 251).unwrap()
}

fn files(folder: &tempfile::TempDir) -> Arc<[DirectFile]> {
    let files = ["a", "b"].map(|name| {
        let path = folder.path().join(name);
        let bytes: Vec<u8> = (0..SIZE).map(byte).collect();
        fs::File::create(&path).unwrap().write_all(&bytes).unwrap();
        DirectFile::open(&path).unwrap()
    });
    files.into()
}

fn engines(files: &Arc<[DirectFile]>) -> Vec<Box<dyn ReadEngine>> {
    let mut engines: Vec<Box<dyn ReadEngine>> =
        vec![Box::new(ThreadsEngine::new(files.clone(), 16_384).unwrap())];
    for register in [true, false] {
        match UringEngine::with_registration(files.clone(), 8, 16_384, register) {
            Ok(engine) => engines.push(Box::new(engine)),
            Err(error) => println!("skipped: {error}"),
        }
    }
    engines
}

#[test]
fn reads_bring_the_bytes_of_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(&folder);
    for mut engine in engines(&files) {
        let mut expected = vec![None; engine.depth()];
        let mut left = 300;
        let mut checked = 0;
        while left > 0 || engine.in_flight() > 0 {
            while left > 0 && engine.in_flight() < engine.depth() {
                let offset = u64::from(left * 7 % 20) * 4_096;
                let read = BlockRead {
                    file: left % 2,
                    offset,
                    len: 4_096 * (1 + left % 4),
                    needed: 4_096,
                };
                let slot = engine.begin(read);
                assert!(expected[slot as usize].replace(read).is_none());
                left -= 1;
            }
            let finished = engine.finish(&mut |slot, bytes| {
                let read = expected[slot as usize].take().unwrap();
                let bytes = bytes.unwrap();
                assert!(bytes.len() >= read.needed as usize && bytes.len() <= read.len as usize);
                let start = usize::try_from(read.offset).unwrap();
                assert!(bytes.iter().zip(start..).all(|(&b, at)| b == byte(at)));
                checked += 1;
            });
            finished.unwrap();
        }
        assert_eq!(checked, 300);
    }
}

#[test]
fn the_end_of_the_file_is_no_error_unless_more_was_needed() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(&folder);
    let last = SIZE / 4_096 * 4_096;
    let left = u32::try_from(SIZE - last).unwrap();
    for mut engine in engines(&files) {
        for (needed, whole) in [(left, true), (left + 1, false)] {
            engine.begin(BlockRead {
                file: 0,
                offset: last as u64,
                len: 8_192,
                needed,
            });
            while engine.in_flight() > 0 {
                let finished = engine.finish(&mut |_, bytes| {
                    assert_eq!(bytes.is_ok_and(|bytes| bytes.len() == SIZE - last), whole);
                });
                finished.unwrap();
            }
        }
    }
}

#[test]
fn an_engine_dropped_in_flight_waits_for_the_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(&folder);
    for mut engine in engines(&files) {
        for file in 0..u32::try_from(engine.depth()).unwrap() {
            engine.begin(BlockRead {
                file: file % 2,
                offset: 0,
                len: 4_096,
                needed: 4_096,
            });
        }
    }
}

#[test]
fn a_waker_ends_the_wait() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    // A read from a pipe ends when somebody writes.
    let mut writer = fs::File::options()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let files: Arc<[DirectFile]> = [DirectFile::open(&path).unwrap()].into();
    let (send, wakers) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut engine = match UringEngine::new(files, 1, 4_096) {
            Ok(engine) => engine,
            Err(error) => return println!("skipped: {error}"),
        };
        engine.begin(BlockRead {
            file: 0,
            offset: 0,
            len: 4_096,
            needed: 5,
        });
        let waker = engine.waker().unwrap();
        for _ in 0..3 {
            waker.listen(true);
            send.send(Some(waker.clone())).unwrap();
            engine
                .finish(&mut |_, _| panic!("nothing was written"))
                .unwrap();
            assert_eq!(engine.in_flight(), 1);
        }
        send.send(None).unwrap();
        let mut seen = Vec::new();
        while engine.in_flight() > 0 {
            let finished = engine.finish(&mut |_, bytes| seen.extend_from_slice(bytes.unwrap()));
            finished.unwrap();
        }
        assert_eq!(seen, b"hello");
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

#[test]
fn misaligned_reads_are_a_bug() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(&folder);
    for mut engine in engines(&files) {
        let read = BlockRead {
            file: 0,
            offset: 1,
            len: 4_096,
            needed: 1,
        };
        let begun = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| engine.begin(read)));
        assert!(begun.is_err());
    }
}
