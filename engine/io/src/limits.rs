//! Limits of this process, by the system's own table of them.

use std::fs;

/// A limit; none where there is no end to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What holds now.
    pub soft: Option<u64>,
    /// Up to which the process may raise it.
    pub hard: Option<u64>,
}

impl Limit {
    /// Files open at a time; none where the system does not say.
    pub fn open_files() -> Option<Self> {
        Self::named("Max open files")
    }

    /// Bytes of memory that may be locked, which registered buffers are; none where the system does not say.
    pub fn locked_memory() -> Option<Self> {
        Self::named("Max locked memory")
    }

    /// Bytes of a file that is written; none where the system does not say.
    pub fn file_bytes() -> Option<Self> {
        Self::named("Max file size")
    }

    /// Read from a file, for the system call is refused in some containers.
    fn named(name: &str) -> Option<Self> {
        Self::find(name, &fs::read_to_string("/proc/self/limits").ok()?)
    }

    fn find(name: &str, table: &str) -> Option<Self> {
        let mut numbers = table
            .lines()
            .find_map(|line| line.strip_prefix(name))?
            .split_whitespace();
        let mut next = || match numbers.next()? {
            "unlimited" => Some(None),
            number => number.parse().ok().map(Some),
        };
        Some(Self {
            soft: next()?,
            hard: next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_are_read() {
        let table = "Limit                     Soft Limit           Hard Limit           Units     \n\
                     Max file size             unlimited            unlimited            bytes     \n\
                     Max open files            1024                 524288               files     \n";
        let [files, bytes] =
            ["Max open files", "Max file size"].map(|name| Limit::find(name, table));
        let expected = |soft, hard| Some(Limit { soft, hard });
        assert_eq!(files, expected(Some(1_024), Some(524_288)));
        assert_eq!(bytes, expected(None, None));
        assert_eq!(Limit::find("Max time", table), None);
        assert!(Limit::open_files().is_some());
    }
}
