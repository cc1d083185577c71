//! Dictionaries: what the frames of a column have in common.

use crate::Encoder;

/// The largest dictionary: what Zstandard's own tools make.
const MOST_BYTES: usize = 112_640;
/// A dictionary is made of so many times its bytes, as Zstandard's authors advise for small samples.
const SAMPLE_FACTOR: usize = 16;
/// The least dictionary that Zstandard makes, and the fewest samples that it makes one of.
const LEAST_BYTES: usize = 256;
const LEAST_SAMPLES: usize = 8;
/// Part of a column's bytes that a dictionary must save beyond its own: each costs memory and time to whoever reads.
const LEAST_GAIN: u64 = 100;

/// A dictionary for a column of `frames` frames at `level`, if one pays; empty if not. `samples` are the rows of some
/// frames. Every other one makes the dictionary, and the rest tell what it saves.
///
/// The same samples give the same bytes. Also returns how many bytes the samples that were measured take, and how many
/// they had.
pub fn train(samples: &[Vec<u8>], frames: u64, level: i32) -> (Vec<u8>, [u64; 2]) {
    let measured = || samples.iter().skip(1).step_by(2);
    // One sample alone is measured by itself.
    let measured: Vec<&Vec<u8>> = match samples {
        [only] => vec![only],
        _ => measured().collect(),
    };
    let bytes: u64 = measured.iter().map(|sample| sample.len() as u64).sum();
    let compressed = |dictionary: &[u8]| -> u64 {
        let mut encoder = Encoder::new(level, dictionary);
        let frames = measured
            .iter()
            .map(|sample| encoder.encode(sample).len() as u64);
        frames.sum()
    };
    let without = compressed(&[]);
    let Some(dictionary) = make(samples) else {
        return (Vec::new(), [without, bytes]);
    };
    let with = compressed(&dictionary);
    let in_all = |sampled: u64| u128::from(sampled) * u128::from(frames) / measured.len() as u128;
    let cost = in_all(with) + dictionary.len() as u128 + in_all(bytes) / u128::from(LEAST_GAIN);
    if cost < in_all(without) {
        (dictionary, [with, bytes])
    } else {
        (Vec::new(), [without, bytes])
    }
}

/// A dictionary of every other sample, if Zstandard can make one.
fn make(samples: &[Vec<u8>]) -> Option<Vec<u8>> {
    let samples: Vec<&Vec<u8>> = samples.iter().step_by(2).collect();
    let bytes: usize = samples.iter().map(|sample| sample.len()).sum();
    let most = (bytes / SAMPLE_FACTOR).min(MOST_BYTES);
    if samples.len() < LEAST_SAMPLES || most < LEAST_BYTES {
        return None;
    }
    // It refuses samples that have nothing in common.
    zstd::dict::from_samples(&samples, most).ok()
}
