//! The caller's memory while a ticket brings rows there.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use engram::{Buffer, BufferMemory, BufferPool, RowBuffer, Store, ValueType};
use engram_io::Process;

use crate::{failure::Failure, lookup, sparse_batch::SparseBatch, target::Target};

/// Where the rows of a ticket go, and what has to be done when they have come.
#[derive(Debug)]
pub(crate) struct Destination {
    target: Target,
    places: Option<Box<[u32]>>,
    /// Where rows are read right into the caller's memory: tells when nobody writes there any more.
    loan: Option<Arc<Loan>>,
    /// Where rows are read. A process that was forked from it has no thread that would end a loan.
    process: Process,
}

/// Whether memory of the caller's is still written to.
#[derive(Debug, Default)]
struct Loan {
    is_over: Mutex<bool>,
    changed: Condvar,
}

impl Loan {
    fn is_over(&self) -> bool {
        *self.is_over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        *self.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let is_over = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_while(is_over, |is_over| !*is_over);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// Memory that the caller has lent until the loan is over, which is when this is dropped.
struct LentMemory {
    start: *mut u8,
    bytes: usize,
    loan: Arc<Loan>,
}

// SAFETY: whoever makes a `Target` promises that nobody else uses the memory as long as that lives, and that any thread
// may write there; a ticket keeps its target until the loan is over. It came from another language, so whatever is in
// it are bytes.
unsafe impl BufferMemory for LentMemory {
    fn address(&self) -> *mut u8 {
        self.start
    }

    fn len(&self) -> usize {
        self.bytes
    }
}

// SAFETY: as above: any thread may write there.
unsafe impl Send for LentMemory {}
// SAFETY: it gives out nothing but the address.
unsafe impl Sync for LentMemory {}

impl Drop for LentMemory {
    fn drop(&mut self) {
        self.loan.end();
    }
}

/// Where memory of the caller's returns to: nowhere, the loan is over.
#[derive(Debug)]
struct EndOfLoan;

impl BufferPool for EndOfLoan {
    fn recycle(&self, rows: RowBuffer) {
        drop(rows);
    }
}

impl Destination {
    /// The places of `batch` in `target`.
    pub(crate) fn new(target: Target, batch: &SparseBatch) -> Self {
        Self {
            target,
            places: batch.places().map(Box::from),
            loan: None,
            process: Process::current(),
        }
    }

    /// A buffer for the rows of `batch`: the caller's memory, or if they cannot be read right there, one of the
    /// store's.
    ///
    /// # Errors
    /// No memory.
    pub(crate) fn buffer(
        &mut self,
        store: &Store,
        batch: &SparseBatch,
        value_type: Option<ValueType>,
    ) -> Result<Buffer, Failure> {
        let Some(direct) = self.target.direct() else {
            return lookup::buffer(store, batch, value_type);
        };
        let (rows, row_bytes) = (batch.rows().len(), direct.row_bytes());
        let loan = Arc::<Loan>::default();
        self.loan = Some(loan.clone());
        let mut memory = RowBuffer::of(Box::new(LentMemory {
            start: direct.start(),
            bytes: rows * row_bytes,
            loan,
        }));
        memory.reshape(rows, [row_bytes, 0]);
        let buffer = Buffer::new(memory, Arc::new(EndOfLoan));
        Ok(match value_type {
            None => buffer,
            Some(value_type) => buffer.of_values(value_type),
        })
    }

    /// Puts the rows that have come to their places; zeros where they have not.
    ///
    /// # Errors
    /// That of `filled`.
    pub(crate) fn finish(&mut self, filled: Result<Buffer, Failure>) -> Result<(), Failure> {
        let rows = filled.inspect_err(|_| self.zero())?;
        let places = self.places.as_deref();
        if self.loan.is_none() {
            self.target.put(&rows, places);
            return Ok(());
        }
        // They lie in the caller's memory already, the first ones of it.
        drop(rows);
        self.wait_until_over();
        if let (Some(places), Some(rows)) = (places, self.target.direct()) {
            rows.spread(places);
        }
        Ok(())
    }

    /// Waits until nobody writes to the caller's memory any more, and fills the places of all rows with zeros. A forked
    /// process may share the memory with its parent, whose rows it must not touch.
    pub(crate) fn zero(&mut self) {
        if self.process.is_current() {
            self.wait_until_over();
            self.target.zero();
        }
    }

    /// Whether no thread of this process writes to the caller's memory any more.
    pub(crate) fn is_over(&self) -> bool {
        self.running_loan().is_none_or(Loan::is_over)
    }

    /// Waits until no thread of this process writes to the caller's memory any more.
    pub(crate) fn wait_until_over(&self) {
        if let Some(loan) = self.running_loan() {
            loan.wait();
        }
    }

    /// The loan, if there are threads that will end it. Else not even its lock may be taken: one of them may have held
    /// it while the process was forked.
    fn running_loan(&self) -> Option<&Loan> {
        self.loan.as_deref().filter(|_| self.process.is_current())
    }
}
