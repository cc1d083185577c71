//! An engine whose reads fail as planned.

use std::sync::Arc;

use super::{BlockRead, EngineKind, OnRead, ReadEngine, Waker};
use crate::{
    DirectFile, IoError,
    fault::{Fault, FaultPlan, Layer, tear},
};

/// Calls of `finish` by which a late read is delayed.
const LATE_BY: u32 = 3;

/// Wraps an engine whose reads then fail as a [`FaultPlan`] says.
///
/// It numbers its slots by itself: a slot of the inner engine is free once its read has ended, but a read that is held
/// back keeps its slot here.
pub struct FaultEngine {
    inner: Box<dyn ReadEngine>,
    files: Arc<[DirectFile]>,
    plan: FaultPlan,
    /// For each slot of the inner engine, the read that is in flight there.
    in_flight: Vec<Option<InFlight>>,
    free: Vec<u32>,
    /// Reads that have ended but are handed out later.
    held: Vec<Held>,
}

#[derive(Debug, Clone, Copy)]
struct InFlight {
    slot: u32,
    fault: Option<Fault>,
}

#[derive(Debug)]
struct Held {
    ended: Ended,
    /// Calls of `finish` until it is handed out.
    calls: u32,
}

/// A read that has ended, with a copy of its bytes.
#[derive(Debug)]
struct Ended {
    slot: u32,
    bytes: Result<Vec<u8>, IoError>,
}

impl FaultEngine {
    /// Wraps an engine that reads from `files`.
    pub fn new(mut inner: Box<dyn ReadEngine>, files: Arc<[DirectFile]>, plan: FaultPlan) -> Self {
        inner.inject(&plan);
        Self {
            in_flight: vec![None; inner.depth()],
            free: (0..).take(inner.depth()).collect(),
            held: Vec::new(),
            inner,
            files,
            plan,
        }
    }

    /// A read of another place in the same file that has as many bytes as are needed, if there is one.
    fn elsewhere(&self, read: BlockRead) -> Option<BlockRead> {
        let file = &self.files[read.file as usize];
        let unit = u64::from(file.unit());
        let last = file.size().checked_sub(read.needed.into())? / unit;
        let own = read.offset / unit;
        let other = (last > 0 && own <= last).then(|| self.plan.draw(last))?;
        let other = other + u64::from(other >= own);
        Some(BlockRead {
            offset: other * unit,
            ..read
        })
    }

    /// Applies a fault to a read that has ended, and returns the read unless it is to be handed out later.
    fn spoil(&mut self, mut ended: Ended, fault: Option<Fault>, has_others: bool) -> Option<Ended> {
        let (Some(fault), Ok(bytes)) = (fault, &mut ended.bytes) else {
            return Some(ended);
        };
        let calls = match fault {
            Fault::BitFlip if !bytes.is_empty() => {
                self.plan.flip_bit(bytes);
                0
            }
            Fault::Torn => {
                tear(bytes);
                0
            }
            Fault::Late => LATE_BY,
            Fault::Reordered if has_others => 1,
            _ => return Some(ended),
        };
        self.plan.count(fault);
        if calls == 0 {
            return Some(ended);
        }
        self.held.push(Held { ended, calls });
        None
    }
}

impl ReadEngine for FaultEngine {
    fn kind(&self) -> EngineKind {
        self.inner.kind()
    }

    fn depth(&self) -> usize {
        self.inner.depth()
    }

    fn in_flight(&self) -> usize {
        self.depth() - self.free.len()
    }

    fn begin(&mut self, read: BlockRead) -> u32 {
        let file = &self.files[read.file as usize];
        let offsets = read.offset..read.offset + u64::from(read.len);
        let mut fault = self.plan.pick(Layer::Read, file.path(), offsets);
        let mut done = read;
        if fault == Some(Fault::Misdirected) {
            fault = None;
            if let Some(elsewhere) = self.elsewhere(read) {
                self.plan.count(Fault::Misdirected);
                done = elsewhere;
            }
        }
        assert!(!self.free.is_empty(), "a free slot");
        let inner = self.inner.begin(done);
        let slot = self.free.pop().expect("a free slot");
        self.in_flight[inner as usize] = Some(InFlight { slot, fault });
        slot
    }

    fn waker(&self) -> Option<Waker> {
        self.inner.waker()
    }

    fn finish(&mut self, done: OnRead<'_>) -> Result<(), IoError> {
        for held in &mut self.held {
            held.calls -= 1;
        }
        let due = self.held.extract_if(.., |held| held.calls == 0);
        // The last comes first: if all reads are held back, their order changes too.
        let mut due: Vec<Ended> = due.map(|held| held.ended).collect();
        due.reverse();

        let mut ended = Vec::new();
        let in_flight = &mut self.in_flight;
        let finished = self.inner.finish(&mut |inner, bytes| {
            let InFlight { slot, fault } =
                in_flight[inner as usize].take().expect("it was in flight");
            let bytes = bytes.map(<[u8]>::to_vec);
            ended.push((Ended { slot, bytes }, fault));
        });
        let has_others = ended.len() > 1 || self.inner.in_flight() > 0;
        let mut seen: Vec<Ended> = Vec::new();
        for (read, fault) in ended {
            seen.extend(self.spoil(read, fault, has_others));
        }
        for Ended { slot, bytes } in seen.into_iter().chain(due) {
            self.free.push(slot);
            match bytes {
                Ok(bytes) => done(slot, Ok(&bytes)),
                Err(error) => done(slot, Err(error)),
            }
        }
        finished
    }

    fn inject(&mut self, plan: &FaultPlan) {
        self.inner.inject(plan);
    }
}

impl std::fmt::Debug for FaultEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultEngine")
            .field("kind", &self.kind())
            .field("plan", &self.plan)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}
