//! Frames that were decompressed.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Condvar, Mutex, PoisonError},
};

use engram_io::lock;

/// A frame: index of its file, and its place there.
pub(super) type FrameId = (u32, u64);

/// Decompressed frames, as many as fit some bytes; those that were used again stay longer (CLOCK). A frame that several
/// threads want at a time is decompressed by one of them, and the others wait for it.
#[derive(Debug)]
pub(super) struct FrameCache {
    most_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    frames: HashMap<FrameId, Frame>,
    /// Frames that are here, the next to go first.
    hand: VecDeque<FrameId>,
    /// Bytes of those.
    bytes: usize,
}

#[derive(Debug)]
enum Frame {
    Here { records: Arc<[u8]>, used: bool },
    Coming(Arc<Coming>),
}

/// A frame that a thread is making.
#[derive(Debug, Default)]
struct Coming {
    made: Mutex<Made>,
    changed: Condvar,
}

#[derive(Debug, Default)]
enum Made {
    #[default]
    NotYet,
    Failed,
    Records(Arc<[u8]>),
}

/// Whether a frame was in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Here,
    Made,
}

impl FrameCache {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self {
            most_bytes,
            state: Mutex::default(),
        }
    }

    pub(super) fn most_bytes(&self) -> usize {
        self.most_bytes
    }

    /// The records of the frame `id`, made by `make` where they are not here.
    ///
    /// # Errors
    /// That of `make`. Threads that wait for the frame then make it themselves.
    pub(super) fn get<E>(
        &self,
        id: FrameId,
        make: impl FnOnce() -> Result<Arc<[u8]>, E>,
    ) -> Result<(Arc<[u8]>, Found), E> {
        loop {
            let coming = match lock(&self.state).find(id) {
                Ok(records) => return Ok((records, Found::Here)),
                Err(Some(coming)) => coming,
                Err(None) => break,
            };
            if let Some(records) = coming.wait() {
                return Ok((records, Found::Here));
            }
        }
        // If `make` fails or panics, nobody waits for it for ever.
        let mut claim = Claim {
            cache: self,
            id,
            made: Made::Failed,
        };
        let records = make()?;
        claim.made = Made::Records(records.clone());
        Ok((records, Found::Made))
    }
}

impl Coming {
    /// Waits for the records; none if they could not be made.
    fn wait(&self) -> Option<Arc<[u8]>> {
        let mut made = lock(&self.made);
        loop {
            match &*made {
                Made::NotYet => {}
                Made::Failed => return None,
                Made::Records(records) => return Some(records.clone()),
            }
            let woken = self.changed.wait(made);
            made = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl State {
    /// The records of the frame `id`, or what makes them; nothing if the caller is to make them from now on.
    fn find(&mut self, id: FrameId) -> Result<Arc<[u8]>, Option<Arc<Coming>>> {
        match self.frames.get_mut(&id) {
            Some(Frame::Here { records, used }) => {
                *used = true;
                Ok(records.clone())
            }
            Some(Frame::Coming(coming)) => Err(Some(coming.clone())),
            None => {
                self.frames.insert(id, Frame::Coming(Arc::default()));
                Err(None)
            }
        }
    }

    /// Lets frames go until the others fit `most` bytes.
    fn shrink(&mut self, most: usize) {
        while self.bytes > most
            && let Some(id) = self.hand.pop_front()
        {
            match self.frames.get_mut(&id) {
                Some(Frame::Here { used, .. }) if *used => {
                    *used = false;
                    self.hand.push_back(id);
                }
                _ => {
                    if let Some(Frame::Here { records, .. }) = self.frames.remove(&id) {
                        self.bytes -= records.len();
                    }
                }
            }
        }
    }
}

/// A frame that the caller makes.
struct Claim<'a> {
    cache: &'a FrameCache,
    id: FrameId,
    made: Made,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let made = std::mem::take(&mut self.made);
        let mut state = lock(&self.cache.state);
        let claimed = state.frames.remove(&self.id);
        if let Made::Records(records) = &made
            && records.len() <= self.cache.most_bytes
        {
            let records = records.clone();
            state.bytes += records.len();
            state.hand.push_back(self.id);
            let used = false;
            state.frames.insert(self.id, Frame::Here { records, used });
            state.shrink(self.cache.most_bytes);
        }
        drop(state);
        if let Some(Frame::Coming(coming)) = claimed {
            *lock(&coming.made) = made;
            coming.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use super::*;

    fn get(cache: &FrameCache, frame: u64) -> Found {
        let id = (0, frame);
        let made = cache.get(id, || {
            Ok::<_, ()>(vec![u8::try_from(frame).unwrap(); 10].into())
        });
        let (records, found) = made.unwrap();
        assert_eq!(*records, [u8::try_from(frame).unwrap(); 10]);
        found
    }

    #[test]
    fn what_is_used_again_stays_and_the_bound_holds() {
        let cache = FrameCache::new(30);
        for frame in [0, 1, 2] {
            assert_eq!(get(&cache, frame), Found::Made);
        }
        assert_eq!(get(&cache, 0), Found::Here);
        assert_eq!(get(&cache, 3), Found::Made);
        assert_eq!(get(&cache, 0), Found::Here);
        assert_eq!(get(&cache, 1), Found::Made);
        for frame in 4..100 {
            get(&cache, frame);
            let state = lock(&cache.state);
            assert_eq!(
                (state.bytes, state.frames.len(), state.hand.len()),
                (30, 3, 3)
            );
        }
    }

    #[test]
    fn without_room_nothing_stays() {
        let cache = FrameCache::new(9);
        for _ in 0..3 {
            assert_eq!(get(&cache, 5), Found::Made);
            assert!(lock(&cache.state).frames.is_empty());
        }
    }

    /// Threads that wait for the frame.
    fn others(cache: &FrameCache) -> usize {
        match &lock(&cache.state).frames[&(1, 7)] {
            Frame::Coming(coming) => Arc::strong_count(coming) - 1,
            Frame::Here { .. } => 0,
        }
    }

    #[test]
    fn one_thread_makes_what_many_want() {
        for most_bytes in [0, 100] {
            let cache = FrameCache::new(most_bytes);
            let made = AtomicUsize::new(0);
            thread::scope(|scope| {
                let wanting = |_| {
                    scope.spawn(|| {
                        cache.get((1, 7), || {
                            // Until all others wait for it.
                            while others(&cache) < 3 {
                                thread::yield_now();
                            }
                            made.fetch_add(1, Ordering::Relaxed);
                            Ok::<_, ()>(vec![1; 10].into())
                        })
                    })
                };
                let threads: Vec<_> = (0..4).map(wanting).collect();
                for thread in threads {
                    assert_eq!(*thread.join().unwrap().unwrap().0, [1; 10]);
                }
            });
            assert_eq!(made.into_inner(), 1);
            let left = lock(&cache.state).frames.len();
            assert_eq!(left, most_bytes / 100);
        }
    }

    #[test]
    fn a_frame_that_could_not_be_made_is_made_by_the_next() {
        let cache = FrameCache::new(100);
        let failed = cache.get((0, 1), || Err::<Arc<[u8]>, _>("no"));
        assert_eq!(failed.unwrap_err(), "no");
        assert_eq!(get(&cache, 1), Found::Made);
    }
}
