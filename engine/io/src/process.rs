//! Telling a process from one that was forked from it.

use std::{
    ptr,
    sync::atomic::{AtomicPtr, AtomicU32, Ordering},
};

use memmap2::{MmapMut, MmapRaw};

/// Bytes of the mark's memory: what the system maps at least.
const MARK_BYTES: usize = 4096;

/// Where this process has its number: in memory that the system makes zero in a process that is forked from this one,
/// however it is forked. Null before the first use, and where the system has no such memory.
static MARK: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());
/// The last number given. A forked process goes on counting where its parent was.
static LAST: AtomicU32 = AtomicU32::new(0);

/// The process in which this was made.
///
/// What a process has opened is copied when it forks, but its threads are not, and memory that it shares with the
/// kernel stays the parent's. Who owns such things asks here before using them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// 0 where the system has no memory that forks do not copy.
    number: u32,
    id: u32,
}

impl Process {
    /// The process that calls.
    pub fn current() -> Self {
        Self {
            number: mark().map_or(0, number),
            id: std::process::id(),
        }
    }

    /// Whether the process that calls is this one, not one that was forked from it. Reads one word of memory; where
    /// the system has no memory that forks do not copy, makes a system call.
    #[inline]
    pub fn is_current(&self) -> bool {
        let mark = MARK.load(Ordering::Acquire);
        if self.number == 0 || mark.is_null() {
            return std::process::id() == self.id;
        }
        // SAFETY: a mark that is not null is never unmapped.
        unsafe { &*mark }.load(Ordering::Relaxed) == self.number
    }

    /// The system's id of the process.
    pub fn id(&self) -> u32 {
        self.id
    }
}

/// The number of this process, which none of those that it was forked from had.
fn number(mark: &AtomicU32) -> u32 {
    let found = mark.load(Ordering::Relaxed);
    if found != 0 {
        return found;
    }
    let new = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    match mark.compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => new,
        Err(other) => other,
    }
}

/// The word of this process. Takes no lock, which a thread could hold while another forks.
fn mark() -> Option<&'static AtomicU32> {
    let mut mark = MARK.load(Ordering::Acquire);
    if mark.is_null() {
        let new = wiped_on_fork()?;
        let word = new.as_mut_ptr().cast();
        let first = ptr::null_mut();
        match MARK.compare_exchange(first, word, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                mark = word;
                std::mem::forget(new);
            }
            Err(other) => mark = other,
        }
    }
    // SAFETY: a mark that is not null is never unmapped, is aligned to a page, and is touched as an atomic only. Any
    // bytes are a word.
    unsafe { mark.as_ref() }
}

/// Memory that is zero in every process that is forked from this one, since Linux 4.14.
fn wiped_on_fork() -> Option<MmapRaw> {
    let memory = MmapRaw::from(MmapMut::map_anon(MARK_BYTES).ok()?);
    // SAFETY: the range is a private mapping of our own, which nothing refers to yet.
    let advised = unsafe {
        libc::madvise(
            memory.as_mut_ptr().cast(),
            memory.len(),
            libc::MADV_WIPEONFORK,
        )
    };
    (advised == 0).then_some(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Forks by `fork`, and says whether the child found what `check` asks for.
    fn in_child(fork: impl Fn() -> libc::pid_t, check: impl Fn() -> bool) -> bool {
        match fork() {
            0 => {
                let code = i32::from(!check());
                // SAFETY: ends the child without running anything of its parent's.
                unsafe { libc::_exit(code) }
            }
            child => {
                assert!(child > 0, "{}", std::io::Error::last_os_error());
                let mut status = 0;
                // SAFETY: the status is written to memory of ours.
                let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
                assert_eq!(waited, child);
                libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
            }
        }
    }

    #[test]
    fn a_forked_process_is_another_however_it_was_forked() {
        let process = Process::current();
        assert!(process.is_current());
        assert_eq!(process, Process::current());
        // SAFETY: the children only look at memory, and end by `_exit`.
        let by_library = || unsafe { libc::fork() };
        // SAFETY: as above.
        let by_call = || unsafe {
            let none = 0_usize;
            let made = libc::syscall(libc::SYS_clone, libc::SIGCHLD, none, none, none, none);
            libc::pid_t::try_from(made).unwrap_or(-1)
        };
        let forks: [&dyn Fn() -> libc::pid_t; 2] = [&by_library, &by_call];
        for fork in forks {
            assert!(in_child(fork, || {
                let own = Process::current();
                let grandchild = in_child(fork, || {
                    let own_too = Process::current();
                    !own.is_current() && !process.is_current() && own_too.is_current()
                });
                !process.is_current() && own.is_current() && own.id() != process.id() && grandchild
            }));
            assert!(process.is_current());
        }
    }

    #[test]
    fn without_such_memory_the_id_tells() {
        let process = Process {
            number: 0,
            ..Process::current()
        };
        assert!(process.is_current());
        let fork = || {
            // SAFETY: the child only compares numbers, and ends by `_exit`.
            unsafe { libc::fork() }
        };
        assert!(in_child(fork, || !process.is_current()));
    }
}
