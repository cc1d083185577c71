use std::{fs, io::Write};

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

fn queues(files: &Arc<[DirectFile]>) -> Vec<Box<dyn ReadQueue>> {
    let mut queues: Vec<Box<dyn ReadQueue>> =
        vec![Box::new(BlockingQueue::new(files.clone(), 16_384).unwrap())];
    for register in [true, false] {
        match UringQueue::with_registration(files.clone(), 8, 16_384, register) {
            Ok(queue) => queues.push(Box::new(queue)),
            Err(error) => println!("skipped: {error}"),
        }
    }
    queues
}

#[test]
fn reads_bring_the_bytes_of_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(&folder);
    for mut queue in queues(&files) {
        let mut expected = vec![None; queue.depth()];
        let mut left = 300;
        let mut checked = 0;
        while left > 0 || queue.in_flight() > 0 {
            while left > 0 && queue.in_flight() < queue.depth() {
                let offset = u64::from(left * 7 % 20) * 4_096;
                let read = BlockRead {
                    file: left % 2,
                    offset,
                    len: 4_096 * (1 + left % 4),
                    needed: 4_096,
                };
                let slot = queue.begin(read);
                assert!(expected[slot as usize].replace(read).is_none());
                left -= 1;
            }
            let finished = queue.finish(&mut |slot, bytes| {
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
    for mut queue in queues(&files) {
        for (needed, whole) in [(left, true), (left + 1, false)] {
            queue.begin(BlockRead {
                file: 0,
                offset: last as u64,
                len: 8_192,
                needed,
            });
            while queue.in_flight() > 0 {
                let finished = queue.finish(&mut |_, bytes| {
                    assert_eq!(bytes.is_ok_and(|bytes| bytes.len() == SIZE - last), whole);
                });
                finished.unwrap();
            }
        }
    }
}

#[test]
fn a_queue_dropped_in_flight_waits_for_the_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(&folder);
    for mut queue in queues(&files) {
        for file in 0..u32::try_from(queue.depth()).unwrap() {
            queue.begin(BlockRead {
                file: file % 2,
                offset: 0,
                len: 4_096,
                needed: 4_096,
            });
        }
    }
}

#[test]
fn a_bell_ends_the_wait() {
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
    let (send, bells) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut queue = match UringQueue::new(files, 1, 4_096) {
            Ok(queue) => queue,
            Err(error) => return println!("skipped: {error}"),
        };
        queue.begin(BlockRead {
            file: 0,
            offset: 0,
            len: 4_096,
            needed: 5,
        });
        let bell = queue.bell().unwrap();
        for _ in 0..3 {
            bell.listen(true);
            send.send(Some(bell.clone())).unwrap();
            queue
                .finish(&mut |_, _| panic!("nothing was written"))
                .unwrap();
            assert_eq!(queue.in_flight(), 1);
        }
        send.send(None).unwrap();
        let mut seen = Vec::new();
        while queue.in_flight() > 0 {
            let finished = queue.finish(&mut |_, bytes| seen.extend_from_slice(bytes.unwrap()));
            finished.unwrap();
        }
        assert_eq!(seen, b"hello");
    });
    for bell in &bells {
        match bell {
            Some(bell) => {
                bell.ring();
                // Nobody listens any more.
                bell.ring();
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
    for mut queue in queues(&files) {
        let read = BlockRead {
            file: 0,
            offset: 1,
            len: 4_096,
            needed: 1,
        };
        let begun = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| queue.begin(read)));
        assert!(begun.is_err());
    }
}

#[test]
fn interruptions_and_short_reads_are_tried_again_but_not_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let file = &files(&folder)[0];
    let mut progress = Progress::new(BlockRead {
        file: 0,
        offset: 0,
        len: 8_192,
        needed: 5_000,
    });
    let interrupted = || Err(io::ErrorKind::Interrupted.into());
    assert!(matches!(progress.advance(interrupted(), file), Step::Again));
    assert!(matches!(progress.advance(Ok(4_500), file), Step::Again));
    assert_eq!(progress.done % file.unit(), 0);
    assert!(matches!(progress.advance(Ok(4_096), file), Step::Ended));
    let failed = (0..100).find_map(|_| match progress.advance(interrupted(), file) {
        Step::Failed(error) => Some(error),
        _ => None,
    });
    assert!(failed.unwrap().to_string().contains("cannot read"));
    let refused = Err(io::ErrorKind::PermissionDenied.into());
    assert!(matches!(progress.advance(refused, file), Step::Failed(_)));
}
