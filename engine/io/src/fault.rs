//! The ways in which a read can fail, and a plan of which reads do.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// A way in which a read fails.
///
/// The reader or engine mends the first five. Of [`Late`](Self::Late) and [`Reordered`](Self::Reordered) a caller sees
/// the time and the order. [`RingRefused`](Self::RingRefused) ends the engine, [`Eio`](Self::Eio) and
/// [`Vanished`](Self::Vanished) are errors of a read. The last three give wrong bytes, which only a caller who checks
/// them can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A system call that reads is interrupted (EINTR).
    Eintr,
    /// A system call that reads cannot be served for now (EAGAIN).
    Eagain,
    /// A system call that reads brings half of the bytes asked for.
    Short,
    /// The kernel takes no more requests before completions have been taken off its queue (EBUSY from
    /// `io_uring_enter`).
    Ebusy,
    /// The file system has granted direct reads, and refuses one (EINVAL).
    NotDirect,
    /// The kernel no longer serves the ring (EPERM from `io_uring_enter`), as in a process that locks itself in.
    RingRefused,
    /// The drive cannot read the place (EIO).
    Eio,
    /// The file has become shorter since it was opened, and the place is no longer in it.
    Vanished,
    /// The read takes longer than others.
    Late,
    /// The read, of an engine, ends after another that was in flight with it. A reader does one at a time.
    Reordered,
    /// One bit of the bytes is wrong.
    BitFlip,
    /// The second half of the bytes is zero, as in a block of which only the first half was written.
    Torn,
    /// The bytes are those of another place in the file.
    Misdirected,
}

/// Where a fault is injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    /// The answer to a system call that reads.
    ReadCall,
    /// The same, of a read past the page cache.
    DirectReadCall,
    /// The answer to the system call that hands requests to the kernel.
    EnterCall,
    /// The outcome of a read.
    Read,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::Eintr,
        Self::Eagain,
        Self::Short,
        Self::Ebusy,
        Self::NotDirect,
        Self::RingRefused,
        Self::Eio,
        Self::Vanished,
        Self::Late,
        Self::Reordered,
        Self::BitFlip,
        Self::Torn,
        Self::Misdirected,
    ];

    fn layer(self) -> Layer {
        match self {
            Self::Eintr | Self::Eagain | Self::Short | Self::Eio | Self::Vanished => {
                Layer::ReadCall
            }
            Self::NotDirect => Layer::DirectReadCall,
            Self::Ebusy | Self::RingRefused => Layer::EnterCall,
            Self::Late | Self::Reordered | Self::BitFlip | Self::Torn | Self::Misdirected => {
                Layer::Read
            }
        }
    }
}

/// Which reads have a fault.
#[derive(Debug, Clone)]
pub struct FaultRule {
    fault: Fault,
    hits: Hits,
    path_part: Option<String>,
    offsets: Option<Range<u64>>,
}

#[derive(Debug, Clone, Copy)]
enum Hits {
    Every(u64),
    OneIn(u64),
}

impl FaultRule {
    /// Hits the first read and each `n`-th after it. For a fault of system calls those are counted: one that is made
    /// again is one more.
    pub fn every(n: u64, fault: Fault) -> Self {
        Self::new(Hits::Every(n.max(1)), fault)
    }

    /// Hits one read of `n` on average, by chance.
    pub fn one_in(n: u64, fault: Fault) -> Self {
        Self::new(Hits::OneIn(n.max(1)), fault)
    }

    fn new(hits: Hits, fault: Fault) -> Self {
        Self {
            fault,
            hits,
            path_part: None,
            offsets: None,
        }
    }

    /// Only reads of files whose path contains `part`; others are not counted. Faults of the ring are of no file.
    #[must_use]
    pub fn in_file(mut self, part: impl Into<String>) -> Self {
        self.path_part = Some(part.into());
        self
    }

    /// Only reads of at least one byte at `offsets`; others are not counted. Faults of the ring are of no offset.
    #[must_use]
    pub fn at(mut self, offsets: Range<u64>) -> Self {
        self.offsets = Some(offsets);
        self
    }

    fn applies_to(&self, layer: Layer, path: &Path, offsets: &Range<u64>) -> bool {
        let in_file = |part: &String| path.to_string_lossy().contains(part.as_str());
        let overlaps = |at: &Range<u64>| at.start < offsets.end && offsets.start < at.end;
        self.fault.layer() == layer
            && self.path_part.as_ref().is_none_or(in_file)
            && self.offsets.as_ref().is_none_or(overlaps)
    }
}

/// Which reads go wrong, and how. Clones are the same plan.
///
/// The same reads in the same order have the same faults. Where several threads read, their order is chance.
#[derive(Debug, Clone)]
pub struct FaultPlan(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    seed: u64,
    active: AtomicBool,
    /// Each rule, and how many reads it applied to.
    rules: Vec<(FaultRule, AtomicU64)>,
    injected: [AtomicU64; Fault::ALL.len()],
    drawn: AtomicU64,
}

impl FaultPlan {
    /// An active plan. A read that several rules hit has the fault of the first.
    pub fn new(seed: u64, rules: impl IntoIterator<Item = FaultRule>) -> Self {
        Self(Arc::new(Inner {
            seed,
            active: AtomicBool::new(true),
            rules: rules
                .into_iter()
                .map(|rule| (rule, AtomicU64::new(0)))
                .collect(),
            injected: Default::default(),
            drawn: AtomicU64::new(0),
        }))
    }

    /// Begins or ends the faults.
    pub fn set_active(&self, active: bool) {
        self.0.active.store(active, Ordering::Relaxed);
    }

    /// Faults of this kind so far.
    pub fn injected(&self, fault: Fault) -> u64 {
        self.0.injected[fault as usize].load(Ordering::Relaxed)
    }

    /// The fault of a read of the bytes at `offsets`, if it is to have one in this layer.
    pub(crate) fn pick(&self, layer: Layer, path: &Path, offsets: Range<u64>) -> Option<Fault> {
        if !self.0.active.load(Ordering::Relaxed) {
            return None;
        }
        let rules = self.0.rules.iter().enumerate();
        let applicable = rules.filter(|(_, (rule, _))| rule.applies_to(layer, path, &offsets));
        let hits = applicable.filter(|(index, (rule, count))| {
            let count = count.fetch_add(1, Ordering::Relaxed);
            match rule.hits {
                Hits::Every(n) => count.is_multiple_of(n),
                Hits::OneIn(n) => self.hash((index, count)).is_multiple_of(n),
            }
        });
        // Every rule is asked, so that none of the counts depends on the other rules.
        hits.fold(None, |first, (_, (rule, _))| first.or(Some(rule.fault)))
    }

    /// Counts a fault that was injected.
    pub(crate) fn count(&self, fault: Fault) {
        self.0.injected[fault as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn draw(&self, end: u64) -> u64 {
        self.hash(self.0.drawn.fetch_add(1, Ordering::Relaxed)) % end
    }

    /// Makes one bit of `bytes`, which are not empty, wrong.
    pub(crate) fn flip_bit(&self, bytes: &mut [u8]) {
        let bit = self.draw(8 * bytes.len() as u64);
        let byte = usize::try_from(bit / 8).expect("an index of a slice");
        bytes[byte] ^= 1 << (bit % 8);
    }

    fn hash(&self, value: impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.0.seed, value).hash(&mut hasher);
        hasher.finish()
    }
}

/// Leaves only the first half of `bytes`.
pub(crate) fn tear(bytes: &mut [u8]) {
    let written = bytes.len() / 2;
    bytes[written..].fill(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(plan: &FaultPlan, path: &str, offset: u64) -> Option<Fault> {
        plan.pick(Layer::Read, Path::new(path), offset..offset + 10)
    }

    #[test]
    fn a_rule_applies_to_its_file_and_range_only() {
        let rule = FaultRule::every(2, Fault::Torn).in_file("one").at(100..200);
        let plan = FaultPlan::new(1, [rule]);
        for (path, offset) in [("other", 150), ("one", 90), ("one", 200)] {
            assert_eq!(picked(&plan, path, offset), None);
        }
        let hits = (0..4).map(|_| picked(&plan, "folder/one", 91).is_some());
        assert_eq!(hits.collect::<Vec<_>>(), [true, false, true, false]);
        plan.set_active(false);
        assert_eq!(picked(&plan, "one", 150), None);
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let hits = |seed| {
            let rules = [Fault::BitFlip, Fault::Late].map(|fault| FaultRule::one_in(8, fault));
            let plan = FaultPlan::new(seed, rules);
            let hits = (0..1_000).map(|_| picked(&plan, "file", 0));
            hits.collect::<Vec<_>>()
        };
        assert_eq!(hits(7), hits(7));
        assert_ne!(hits(7), hits(8));
        let flips = hits(7)
            .iter()
            .filter(|hit| **hit == Some(Fault::BitFlip))
            .count();
        assert!(
            (80..180).contains(&flips),
            "{flips} of 1000 where 125 are expected"
        );
    }
}
