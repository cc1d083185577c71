//! How many threads a tool uses.

/// The number of threads to use by default: twice the cores, because each waits for the drive, and eight at most.
pub fn default_jobs() -> usize {
    std::thread::available_parallelism()
        .map_or(2, |cores| 2 * cores.get())
        .min(8)
}
