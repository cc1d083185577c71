//! How RocksDB is told to keep what it has been given.

use rocksdb::{DBCompressionType, DBRecoveryMode, LogLevel, Options, WriteOptions};

/// When a batch has been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Once it is on the drive: it outlives a loss of power.
    #[default]
    Drive,
    /// Once the operating system has it: it outlives the process. After a loss of power, the last batches may be gone,
    /// whole ones.
    System,
}

pub(super) fn options() -> Options {
    let mut options = Options::default();
    // A record that is cut at the end of the log is a batch that nobody was told of. One that is damaged is no reason
    // to drop those after it without a word, as RocksDB would by default.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_paranoid_checks(true);
    options.set_atomic_flush(true);
    options.set_compression_type(DBCompressionType::None);
    // Readers beside the writer keep the files that it has removed.
    options.set_max_open_files(-1);
    options.set_keep_log_file_num(2);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    options
}

pub(super) fn write_options(durability: Durability) -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(durability == Durability::Drive);
    options
}
