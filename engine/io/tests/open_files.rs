//! A process that may open no more files is told its limit. In a binary of its own: the limit is one of the process.

use engram_io::{Access, Io, IoError, SystemIo};
use rustix::process::{Resource, getrlimit, setrlimit};

#[test]
fn a_process_with_too_many_open_files_is_told_its_limit() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(24);
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut open = Vec::new();
    let refused = loop {
        match SystemIo.open_direct(file.path()) {
            Ok(file) => open.push(file),
            Err(error) => break error,
        }
        assert!(open.len() < 24);
    };
    let also = SystemIo.open(file.path(), Access::Pread).unwrap_err();
    drop(open);
    for error in [refused, also] {
        assert!(
            matches!(error, IoError::TooManyFiles { limit: 24, .. }),
            "{error:?}"
        );
        let expected = format!(
            "cannot open {}: this process may have 24 files open (ulimit -n), and all of them are in use; \
             raise the limit",
            file.path().display()
        );
        assert_eq!(error.to_string(), expected);
        let kind = error.os_error().and_then(std::io::Error::raw_os_error);
        assert_eq!(kind, Some(24));
    }
}
