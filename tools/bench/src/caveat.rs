//! When a figure, or its share of a limit, means nothing.

use std::fs;

use engram_kit::{console, console::size};

/// A share of a limit above this shows that the limit is none.
const MOST_OF_LIMIT: f64 = 1.1;
/// Share of the reads that may be of places read before, which a drive's or its host's own cache may have.
const MOST_REPEATED: f64 = 0.25;
/// Memory must be so many times larger than the processor's caches for rows to come from it.
const TIMES_CACHES: u64 = 4;

/// Why `share` is no share of a limit, if it is not.
pub(crate) fn above_limit(share: f64) -> Option<String> {
    (share > MOST_OF_LIMIT).then(|| {
        format!(
            "{:.0} % of what was taken for the limit: that was not limited by the same thing",
            100.0 * share
        )
    })
}

/// Why `reads` random reads of `places` places of a drive tell little of it, if they do.
#[expect(clippy::cast_precision_loss, reason = "a share")]
pub(crate) fn repeated_reads(reads: u64, places: u64) -> Option<String> {
    let (reads, places) = (reads as f64, places.max(1) as f64);
    let different = places * (1.0 - (1.0 - 1.0 / places).powf(reads));
    let repeated = 1.0 - different / reads.max(1.0);
    (repeated > MOST_REPEATED).then(|| {
        format!(
            "too small: {:.0} % of the reads were of places read before, which the drive's own cache may have",
            100.0 * repeated
        )
    })
}

/// Why rows of `bytes` bytes tell little of memory, if they do.
pub(crate) fn in_processor_cache(bytes: u64) -> Option<String> {
    let caches = last_cache()?;
    (bytes < TIMES_CACHES * caches).then(|| {
        format!(
            "too small: the rows have {}, the processor's last cache {}",
            size(bytes),
            size(caches)
        )
    })
}

/// Why a pack of `bytes` bytes tells little of what happens with `memory` bytes for rows, if it does.
pub(crate) fn fits(bytes: u64, memory: u64) -> Option<String> {
    (bytes <= memory).then(|| {
        format!(
            "too small: all rows together have {}, which fits the memory of {}",
            size(bytes),
            size(memory)
        )
    })
}

/// The share of the limit for a table; none if there is a caveat.
pub(crate) fn percent(share: f64, caveat: Option<&String>) -> String {
    match caveat {
        Some(_) => "-".into(),
        None => format!("{:.0} %", 100.0 * share),
    }
}

/// Tells each of the reasons once.
pub(crate) fn tell<'a>(caveats: impl IntoIterator<Item = &'a String>) {
    let mut told: Vec<&String> = Vec::new();
    for caveat in caveats {
        if !told.contains(&caveat) {
            console::note(caveat);
            told.push(caveat);
        }
    }
}

/// Bytes of the processor's last cache; none where the system does not say.
fn last_cache() -> Option<u64> {
    let sizes = (0..=4).map_while(|index| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size");
        parse(fs::read_to_string(path).ok()?.trim())
    });
    sizes.max()
}

/// Bytes of a size such as `32768K`.
fn parse(text: &str) -> Option<u64> {
    match text.strip_suffix('K') {
        Some(kibibytes) => Some(kibibytes.parse::<u64>().ok()? << 10),
        None => Some(text.strip_suffix('M')?.parse::<u64>().ok()? << 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_packs_are_told() {
        // 74 MB of sectors of 512 bytes, and 2 GiB, under a million reads.
        assert!(
            repeated_reads(1_000_000, 74_000_000 / 512)
                .unwrap()
                .contains("86 %")
        );
        assert_eq!(repeated_reads(1_000_000, (2 << 30) / 512), None);
        assert_eq!(repeated_reads(1, 0), None);
        assert!(fits(1 << 20, 1 << 20).unwrap().contains("1.00 MiB"));
        assert_eq!(fits((1 << 20) + 1, 1 << 20), None);
    }

    #[test]
    fn a_limit_that_is_passed_is_none() {
        assert_eq!(above_limit(1.02), None);
        assert!(above_limit(18.26).unwrap().starts_with("1826 % of"));
        assert_eq!(percent(0.966, None), "97 %");
        assert_eq!(percent(18.26, above_limit(18.26).as_ref()), "-");
    }

    #[test]
    fn sizes_of_caches_are_read() {
        assert_eq!(parse("32768K"), Some(32 << 20));
        assert_eq!(parse("1M"), Some(1 << 20));
        assert_eq!(parse("many"), None);
    }
}
