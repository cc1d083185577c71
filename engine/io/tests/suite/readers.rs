//! What every reader promises, whatever happens below it that it can mend.

use std::{fs, path::Path};

use engram_io::{Fault, FaultPlan, FaultRule, IoError, ReadAt};

use crate::{Folder, READERS, SIZE, truth};

/// Faults of which a reader's caller sees nothing.
const INVISIBLE: [Fault; 7] = [
    Fault::Eintr,
    Fault::Eagain,
    Fault::Short,
    Fault::Ebusy,
    Fault::NotDirect,
    Fault::Late,
    Fault::Reordered,
];

/// Every implementation as it is, and with each fault that is invisible.
fn readers(path: &Path) -> impl Iterator<Item = (String, Box<dyn ReadAt>)> {
    READERS.into_iter().flat_map(move |reader| {
        let plain = (reader.name.to_owned(), (reader.open)(path).unwrap());
        let faulty = INVISIBLE.into_iter().map(move |fault| {
            let plan = FaultPlan::new(1, [FaultRule::one_in(3, fault)]);
            let name = format!("{} with {fault:?}", reader.name);
            (name, reader.with_faults(path, &plan))
        });
        [plain].into_iter().chain(faulty)
    })
}

#[test]
fn any_range_has_the_bytes_of_its_place() {
    let (folder, truth) = (Folder::new(), truth());
    for (name, reader) in readers(&folder.paths()[0]) {
        assert_eq!(reader.size(), SIZE as u64, "{name}");
        for (offset, len) in [(0, 0), (0, SIZE), (4_095, 2), (SIZE - 1, 1), (SIZE, 0)] {
            let mut out = vec![0; len];
            reader.read_at(offset as u64, &mut out).unwrap();
            assert_eq!(out, truth[offset..offset + len], "{name}");
        }
        for gap in [0, 3, 16, 300] {
            let (mut head, mut tail) = ([0; 264], [0; 8]);
            reader
                .read_split_at(5_000, &mut head, gap, &mut tail)
                .unwrap();
            assert_eq!(head, truth[5_000..5_264], "{name}");
            assert_eq!(tail, truth[5_264 + gap..][..8], "{name}");
        }
    }
}

#[test]
fn many_threads_read_at_once() {
    let (folder, truth) = (Folder::new(), truth());
    for (name, reader) in readers(&folder.paths()[0]) {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (name, reader, truth) = (&name, &reader, &truth);
                scope.spawn(move || {
                    for offset in (thread..SIZE - 700).step_by(9_973) {
                        let mut out = [0; 700];
                        reader.read_at(offset as u64, &mut out).unwrap();
                        assert_eq!(out, truth[offset..offset + 700], "{name}");
                    }
                });
            }
        });
    }
}

#[test]
fn ranges_past_the_end_are_refused() {
    let folder = Folder::new();
    let size = SIZE as u64;
    for (name, reader) in readers(&folder.paths()[0]) {
        let ranges = [(size, 1), (0, SIZE + 1), (u64::MAX, 1), (u64::MAX - 1, 2)];
        for (offset, len) in ranges {
            let refused = reader.read_at(offset, &mut vec![0; len]);
            let past_end =
                matches!(refused, Err(IoError::PastEnd { size, .. }) if size == SIZE as u64);
            assert!(past_end, "{name}: {refused:?}");
            reader.prefetch(offset, len);
            reader.prefetch(offset, usize::MAX);
        }
        let refused = reader.read_split_at(size - 10, &mut [0; 4], 4, &mut [0; 4]);
        assert!(matches!(refused, Err(IoError::PastEnd { .. })), "{name}");
    }
}

#[test]
fn memory_is_where_it_says() {
    let folder = Folder::new();
    for (name, reader) in readers(&folder.paths()[0]) {
        let Some((address, bytes)) = reader.memory() else {
            continue;
        };
        // SAFETY: the memory stays as long as the reader, and nobody changes the file.
        let memory = unsafe { std::slice::from_raw_parts(address, bytes) };
        assert_eq!(memory, truth(), "{name}");
    }
}

#[test]
fn a_missing_file_is_named() {
    for reader in READERS {
        let refused = (reader.open)(Path::new("no/such/file")).unwrap_err();
        let said = refused.to_string();
        assert!(
            said.contains("cannot open no/such/file"),
            "{}: {said}",
            reader.name
        );
    }
}

#[test]
fn a_file_cut_shorter_is_an_error_where_it_is_read_anew() {
    for reader in READERS {
        // The lost part of a mapping ends the process, as its documentation says.
        if reader.name == "mmap" {
            continue;
        }
        let folder = Folder::new();
        let path = &folder.paths()[0];
        let opened = (reader.open)(path).unwrap();
        fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(50_000)
            .unwrap();
        let mut out = [0; 100];
        let read = opened.read_at(49_950, &mut out);
        let split = opened.read_split_at(49_900, &mut [0; 90], 8, &mut [0; 8]);
        if reader.makes_calls {
            let cut = |read: &Result<(), IoError>| matches!(read, Err(IoError::Ended { .. }));
            assert!(
                cut(&read) && cut(&split),
                "{}: {read:?}, {split:?}",
                reader.name
            );
            let said = read.unwrap_err().to_string();
            assert!(said.contains("ends 50 bytes after offset 49950"), "{said}");
        } else {
            read.and(split).unwrap();
            assert_eq!(out, truth()[49_950..50_050], "{}", reader.name);
        }
    }
}
