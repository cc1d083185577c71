//! The history of one request.

use engram::{Request, Sequence};
use engram_ffi::{ErrorKind, Failure};

use crate::{
    border::{ask, exclusive, give, shared, take_back, values},
    call::call,
    error::engram_error,
    row_ids::engram_row_ids,
    status::engram_status,
    store::engram_store,
};

/// The tokens of one request so far, four bytes each, of which the n-grams of the next ones are made. One thread at a
/// time may use it. It belongs to the model of the store with which it was extended first; packs of another model give
/// other row ids for it.
#[derive(Debug, Default)]
pub struct engram_sequence {
    sequence: Sequence,
}

/// Makes an empty history. Free it with `engram_sequence_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_sequence_new(
    sequence: *mut *mut engram_sequence,
    error: *mut *mut engram_error,
) -> engram_status {
    // SAFETY: the pointers are NULL or may be written to.
    unsafe {
        call(error, || {
            give(sequence, engram_sequence::default(), "sequence")
        })
    }
}

/// Makes a copy that grows independently from here on. Free it with `engram_sequence_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_sequence_fork(
    sequence: *const engram_sequence,
    fork: *mut *mut engram_sequence,
    error: *mut *mut engram_error,
) -> engram_status {
    let run = || {
        // SAFETY: the pointer is NULL or a sequence that nobody changes meanwhile.
        let sequence = unsafe { shared(sequence, "sequence")? }.sequence.fork();
        // SAFETY: the pointer is NULL or may be written to.
        unsafe { give(fork, engram_sequence { sequence }, "fork") }
    };
    // SAFETY: the pointer is NULL or may be written to.
    unsafe { call(error, run) }
}

/// Tokens of the history, dead positions included. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_sequence_len(sequence: *const engram_sequence) -> usize {
    ask(0, || {
        // SAFETY: the pointer is NULL or a sequence that nobody changes meanwhile.
        let sequence = unsafe { sequence.as_ref() };
        sequence.map_or(0, |sequence| sequence.sequence.len())
    })
}

/// Drops all but the first `len` tokens, for example speculative ones that were rejected. Does nothing to a shorter
/// history, or to NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_sequence_truncate(sequence: *mut engram_sequence, len: usize) {
    ask((), || {
        // SAFETY: the pointer is NULL or a sequence that nobody else uses.
        if let Some(sequence) = unsafe { sequence.as_mut() } {
            sequence.sequence.truncate(len);
        }
    });
}

/// Appends `count` tokens, or `ENGRAM_DEAD` for positions without rows, and hashes them: `row_ids` gets the rows of
/// each in every layer. However tokens are split into calls, they get the same rows.
///
/// Errors: `ENGRAM_TOKEN_OUT_OF_RANGE`; then neither the history nor `row_ids` has changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_sequence_extend(
    sequence: *mut engram_sequence,
    store: *const engram_store,
    tokens: *const u32,
    count: usize,
    row_ids: *mut engram_row_ids,
    error: *mut *mut engram_error,
) -> engram_status {
    let run = || {
        // SAFETY: the pointers are NULL or what they say they are; nobody else uses those that change.
        unsafe {
            let sequence = &mut exclusive(sequence, "sequence")?.sequence;
            let hasher = shared(store, "store")?.store().hasher();
            let tokens = values(tokens, count, "tokens")?;
            let out = exclusive(row_ids, "row_ids")?.ids_mut();
            Ok(hasher.extend(sequence, tokens, out)?)
        }
    };
    // SAFETY: the pointer is NULL or may be written to.
    unsafe { call(error, run) }
}

/// Gives the row ids that `engram_sequence_extend` would, and leaves the history as it is.
///
/// Errors: `ENGRAM_TOKEN_OUT_OF_RANGE`; then `row_ids` has not changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_sequence_peek(
    sequence: *const engram_sequence,
    store: *const engram_store,
    tokens: *const u32,
    count: usize,
    row_ids: *mut engram_row_ids,
    error: *mut *mut engram_error,
) -> engram_status {
    let run = || {
        // SAFETY: the pointers are NULL or what they say they are; nobody else uses what changes.
        unsafe {
            let sequence = &shared(sequence, "sequence")?.sequence;
            let hasher = shared(store, "store")?.store().hasher();
            let tokens = values(tokens, count, "tokens")?;
            let out = exclusive(row_ids, "row_ids")?.ids_mut();
            Ok(hasher.peek(sequence, tokens, out)?)
        }
    };
    // SAFETY: the pointer is NULL or may be written to.
    unsafe { call(error, run) }
}

/// Appends `count` tokens without hashing them, such as a prefix whose outcome is cached elsewhere.
///
/// Errors: `ENGRAM_TOKEN_OUT_OF_RANGE`; then the history has not changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_sequence_advance(
    sequence: *mut engram_sequence,
    store: *const engram_store,
    tokens: *const u32,
    count: usize,
    error: *mut *mut engram_error,
) -> engram_status {
    let run = || {
        // SAFETY: the pointers are NULL or what they say they are; nobody else uses what changes.
        unsafe {
            let sequence = &mut exclusive(sequence, "sequence")?.sequence;
            let hasher = shared(store, "store")?.store().hasher();
            Ok(hasher.advance(sequence, values(tokens, count, "tokens")?)?)
        }
    };
    // SAFETY: the pointer is NULL or may be written to.
    unsafe { call(error, run) }
}

/// As `engram_sequence_extend` for `sequence_count` histories at once: `counts[i]` tokens are appended to
/// `sequences[i]`. `tokens` has those of all, one history after another, and `row_ids` gets their positions in the same
/// order.
///
/// Errors: `ENGRAM_TOKEN_OUT_OF_RANGE`, or `ENGRAM_BAD_ARGUMENT` for a history that is named twice; then nothing has
/// changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_sequences_extend(
    sequences: *const *mut engram_sequence,
    counts: *const usize,
    sequence_count: usize,
    store: *const engram_store,
    tokens: *const u32,
    row_ids: *mut engram_row_ids,
    error: *mut *mut engram_error,
) -> engram_status {
    let run = || {
        // SAFETY: the pointers are NULL or what they say they are; nobody else uses those that change.
        unsafe {
            let sequences = values(sequences, sequence_count, "sequences")?;
            let counts = values(counts, sequence_count, "counts")?;
            let hasher = shared(store, "store")?.store().hasher();
            let all = counts
                .iter()
                .try_fold(0_usize, |all, &count| all.checked_add(count));
            let mut tokens = values(tokens, all.unwrap_or(usize::MAX), "tokens")?;
            let out = exclusive(row_ids, "row_ids")?.ids_mut();
            check_distinct(sequences)?;
            let mut requests = Vec::with_capacity(sequence_count);
            for (&sequence, &count) in sequences.iter().zip(counts) {
                let (mine, others) = tokens.split_at(count);
                tokens = others;
                requests.push(Request {
                    sequence: &mut exclusive(sequence, "sequences[...]")?.sequence,
                    tokens: mine,
                });
            }
            Ok(hasher.extend_batch(&mut requests, out)?)
        }
    };
    // SAFETY: the pointer is NULL or may be written to.
    unsafe { call(error, run) }
}

fn check_distinct(sequences: &[*mut engram_sequence]) -> Result<(), Failure> {
    let mut sorted = sequences.to_vec();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        let problem = "a sequence is named twice, expected each at most once in a call";
        return Err(Failure::new(ErrorKind::BadArgument, problem));
    }
    Ok(())
}

/// Frees a history. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_sequence_free(sequence: *mut engram_sequence) {
    // SAFETY: it is NULL, or was given by a function of this file and is used no more.
    unsafe { take_back(sequence) };
}
