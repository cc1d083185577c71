//! Rows that come while the caller does something else.

#[cfg(test)]
mod tests;

use std::{
    ffi::{c_int, c_void},
    os::fd::IntoRawFd,
};

use engram::{Store, ValueType};
use engram_ffi::{ErrorKind, Failure, LentTicket, Memory, SparseBatch, Target};

use crate::{
    batch::engram_batch,
    border::{ask, check_place, exclusive, give, shared, take_back},
    call::call,
    error::engram_error,
    status::engram_status,
    store::engram_store,
    value_type::{engram_value_type, value_type},
};

/// A batch whose rows are on their way. One thread at a time may use it, any thread. It may outlive the batch and the
/// store that it was asked of.
#[derive(Debug)]
pub struct engram_ticket {
    ticket: LentTicket,
}

impl engram_ticket {
    fn submit(
        store: &Store,
        batch: &SparseBatch,
        value_type: Option<ValueType>,
        target: Target,
    ) -> Result<Self, Failure> {
        let ticket = LentTicket::submit(store, batch, value_type, target)?;
        Ok(Self { ticket })
    }
}

/// Begins to read the rows of `batch` to `out`, and does not wait for them. The parameters are those of
/// `engram_lookup`. A large batch is left to threads of the store (unless the option `gather_threads` is 0), so its
/// caller is kept only as long as copying its row ids takes. The batch may be changed or freed at once.
///
/// The caller lends the memory at `out`, pinned memory included: it stays where it is, and nobody else reads or writes
/// it, until `engram_ticket_wait` or `engram_ticket_free` has returned. Rows that touch one another are read or decoded
/// right there; others, and those of a batch with negative ids, get to their places in `engram_ticket_wait`. So wait
/// before reading them, also when an event or a callback has said that the ticket is done: then it takes no more than
/// that.
///
/// Errors: as `engram_lookup`; those of single rows may come here or with `engram_ticket_wait`. No ticket is made then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_submit(
    store: *const engram_store,
    batch: *const engram_batch,
    value_type: engram_value_type,
    out: *mut c_void,
    out_bytes: usize,
    row_stride: usize,
    ticket: *mut *mut engram_ticket,
    error: *mut *mut engram_error,
) -> engram_status {
    let run = || {
        // SAFETY: the pointers are NULL or objects that nobody changes meanwhile.
        let (store, batch) = unsafe { (shared(store, "store")?, shared(batch, "batch")?) };
        let (store, batch) = (store.store(), batch.batch());
        let value_type = self::value_type(value_type)?;
        let codec = store.codec(batch.layer())?;
        let memory = Memory::new(out, out_bytes, row_stride);
        // SAFETY: the caller lends the memory as long as the target lives.
        let target = unsafe { Target::whole(batch, codec, value_type, memory)? };
        check_place(ticket, "ticket")?;
        let submitted = engram_ticket::submit(store, batch, value_type, target)?;
        // SAFETY: the pointer may be written to.
        unsafe { give(ticket, submitted, "ticket") }
    };
    // SAFETY: the pointer is NULL or may be written to.
    unsafe { call(error, run) }
}

/// As `engram_submit`, with values and scales apart: the parameters are those of `engram_lookup_parts`. Both memories
/// are lent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_submit_parts(
    store: *const engram_store,
    batch: *const engram_batch,
    values: *mut c_void,
    values_bytes: usize,
    values_stride: usize,
    scales: *mut c_void,
    scales_bytes: usize,
    scales_stride: usize,
    ticket: *mut *mut engram_ticket,
    error: *mut *mut engram_error,
) -> engram_status {
    let run = || {
        // SAFETY: the pointers are NULL or objects that nobody changes meanwhile.
        let (store, batch) = unsafe { (shared(store, "store")?, shared(batch, "batch")?) };
        let (store, batch) = (store.store(), batch.batch());
        let codec = store.codec(batch.layer())?;
        let values = Memory::new(values, values_bytes, values_stride);
        let scales = Memory::new(scales, scales_bytes, scales_stride);
        // SAFETY: the caller lends both as long as the target lives.
        let target = unsafe { Target::parts(batch, codec, values, scales)? };
        check_place(ticket, "ticket")?;
        let submitted = engram_ticket::submit(store, batch, None, target)?;
        // SAFETY: the pointer may be written to.
        unsafe { give(ticket, submitted, "ticket") }
    };
    // SAFETY: the pointer is NULL or may be written to.
    unsafe { call(error, run) }
}

/// Waits until all rows are at their places, and says whether they are. The memory belongs to the caller again. Waiting
/// once more says the same.
///
/// Errors: `ENGRAM_DAMAGED`, `ENGRAM_UNREAD` and others of `engram_lookup`; then all rows are zeros.
/// `ENGRAM_CANCELLED`, or `ENGRAM_FORKED` of a ticket from before the fork; then they may be anything.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_ticket_wait(
    ticket: *mut engram_ticket,
    error: *mut *mut engram_error,
) -> engram_status {
    let run = || {
        // SAFETY: the pointer is NULL or a ticket that no other thread uses.
        unsafe { exclusive(ticket, "ticket")? }.ticket.wait()
    };
    // SAFETY: the pointer is NULL or may be written to.
    unsafe { call(error, run) }
}

/// Whether `engram_ticket_wait` would return at once. True for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_ticket_is_done(ticket: *const engram_ticket) -> bool {
    ask(false, || {
        // SAFETY: the pointer is NULL or a ticket that no other thread uses.
        unsafe { ticket.as_ref() }.is_none_or(|ticket| ticket.ticket.is_done())
    })
}

/// Lets go of the rows, for example of speculative tokens that were rejected: what has not been read is not read. It
/// does not wait for reads in flight, which may still write to the memory: that is the caller's again when
/// `engram_ticket_wait` or `engram_ticket_free` has returned, some milliseconds later. Does nothing to a ticket that
/// has been waited for, or to NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_ticket_cancel(ticket: *mut engram_ticket) {
    ask((), || {
        // SAFETY: the pointer is NULL or a ticket that no other thread uses.
        if let Some(ticket) = unsafe { ticket.as_mut() } {
            ticket.ticket.cancel();
        }
    });
}

/// Makes an event file (`eventfd`) that becomes readable once the ticket is done, for `poll`, `epoll` and the like. It
/// belongs to the caller, who closes it, and takes it out of an `epoll` set before: the library may hold a copy for a
/// moment longer, and `epoll` forgets a file only with its last copy. It takes the place of an event file or callback
/// that was asked for before.
///
/// Errors: `ENGRAM_TICKET_ENDED`, and a system that grants no more files.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_ticket_eventfd(
    ticket: *const engram_ticket,
    file: *mut c_int,
    error: *mut *mut engram_error,
) -> engram_status {
    let run = || {
        // SAFETY: the pointer is NULL or a ticket that no other thread uses.
        let ticket = unsafe { shared(ticket, "ticket")? }.ticket.unfinished()?;
        check_place(file, "file")?;
        let event = ticket.eventfd()?.into_raw_fd();
        // SAFETY: the pointer may be written to.
        unsafe { file.write(event) };
        Ok(())
    };
    // SAFETY: the pointer is NULL or may be written to.
    unsafe { call(error, run) }
}

/// Calls `callback(context)` once when the ticket is done: at once if that is so already, else on the thread that reads
/// the last row. The callback holds that thread up, so it must not block, nor call anything of this library for this
/// ticket, nor throw; it tells another thread. It takes the place of an event file or callback that was asked for
/// before. A cancelled or freed ticket may call it too, so `context` has to live until it has been called.
///
/// Errors: `ENGRAM_TICKET_ENDED`, `ENGRAM_NULL_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_ticket_on_done(
    ticket: *const engram_ticket,
    callback: Option<unsafe extern "C" fn(context: *mut c_void)>,
    context: *mut c_void,
    error: *mut *mut engram_error,
) -> engram_status {
    /// What the caller gives to be called with.
    struct Context(*mut c_void);
    // SAFETY: the caller promises that it may be used on the thread that calls back.
    unsafe impl Send for Context {}

    let run = || {
        // SAFETY: the pointer is NULL or a ticket that no other thread uses.
        let ticket = unsafe { shared(ticket, "ticket")? }.ticket.unfinished()?;
        let callback =
            callback.ok_or_else(|| Failure::new(ErrorKind::NullArgument, "`callback` is NULL"))?;
        let context = Context(context);
        ticket.on_done(move || {
            let context = context;
            // SAFETY: the caller says that it is a function to be called with this.
            unsafe { callback(context.0) }
        });
        Ok(())
    };
    // SAFETY: the pointer is NULL or may be written to.
    unsafe { call(error, run) }
}

/// Frees a ticket, and cancels it if it has not been waited for; then it waits for the reads in flight, some
/// milliseconds. The memory belongs to the caller again. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engram_ticket_free(ticket: *mut engram_ticket) {
    // SAFETY: it is NULL, or was given by `engram_submit` or its like and is used no more.
    unsafe { take_back(ticket) };
}
