//! A ticket tells an event loop when its rows are there: by a callback, an eventfd, or as a future.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use engram::{Batch, Buffer, Config, LayerId, LookupError, Reader, RowId, Store, Ticket};
use engram_io::{Fault, FaultIo, FaultPlan, FaultRule, Io, SystemIo};
use engram_tests::{Fixture, all_rows, look_up};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Readers of which the second has every row at once.
const READERS: [Reader; 3] = [Reader::Direct, Reader::Memory, Reader::DirectThreads];
/// Longer than any read takes, so that a test fails rather than hangs.
const LONG: Duration = Duration::from_mins(1);

fn store(fixture: &Fixture, reader: Reader, fault: Option<Fault>) -> Store {
    let rules = fault.map(|fault| FaultRule::every(1, fault).at(4096..u64::MAX));
    let plan = FaultPlan::new(1, rules);
    plan.set_active(false);
    let io: Arc<dyn Io> = Arc::new(FaultIo::new(Arc::new(SystemIo), plan.clone()));
    let config = Config::new().reader(reader).cache_bytes(0).file_access(io);
    let store = Store::open(fixture.pack(), config).unwrap();
    plan.set_active(true);
    store
}

fn submit(store: &Store, rows: &[RowId]) -> Ticket {
    let layer = store.scheme().layers[0].id;
    let buffer = store.buffer(layer, rows.len()).unwrap();
    store.submit(Batch::new(layer, rows), buffer).unwrap()
}

fn check(store: &Store, rows: &[RowId], found: &Buffer) {
    let layer = store.scheme().layers[0].id;
    assert!(**found == *look_up(store, layer, rows).unwrap());
}

#[test]
fn a_callback_is_called_once_when_the_rows_are_there() {
    let fixture = Fixture::new("demo");
    for reader in READERS {
        let store = store(&fixture, reader, Some(Fault::Late));
        let rows = all_rows(&store, 0);
        for _ in 0..50 {
            let ticket = submit(&store, &rows);
            let (send, receive) = mpsc::channel();
            ticket.on_done(move || send.send(()).unwrap());
            receive.recv_timeout(LONG).unwrap();
            let found = ticket.try_wait().expect("it said that it is done").unwrap();
            check(&store, &rows, &found);
            assert!(
                receive.recv_timeout(LONG).is_err(),
                "the callback is gone, called once"
            );
        }
    }
}

#[test]
fn a_dropped_ticket_calls_back_and_later_ones_are_not_mixed_up() {
    let fixture = Fixture::new("demo");
    let store = store(&fixture, Reader::Direct, None);
    let rows = all_rows(&store, 0);
    let calls: Arc<[AtomicUsize]> = (0..200).map(|_| AtomicUsize::new(0)).collect();
    for index in 0..200 {
        let ticket = submit(&store, &rows);
        let counted = calls.clone();
        ticket.on_done(move || {
            counted[index].fetch_add(1, Ordering::Relaxed);
        });
        if index % 3 != 0 {
            // The memory of this ticket serves the next one.
            check(&store, &rows, &ticket.wait().unwrap());
        }
    }
    drop(store);
    for (index, calls) in calls.iter().enumerate() {
        assert_eq!(calls.load(Ordering::Relaxed), 1, "ticket {index}");
    }
}

#[test]
fn a_callback_may_let_go_of_the_store() {
    let fixture = Fixture::new("demo");
    for reader in READERS {
        let store = Arc::new(store(&fixture, reader, Some(Fault::Late)));
        let ticket = submit(&store, &all_rows(&store, 0));
        let (send, receive) = mpsc::channel();
        ticket.on_done(move || {
            // Most likely the last one: the reading thread ends the store.
            drop(store);
            send.send(()).unwrap();
        });
        receive.recv_timeout(LONG).unwrap();
        ticket.wait().unwrap();
    }
}

#[test]
fn a_callback_that_panics_harms_nobody_else() {
    let fixture = Fixture::new("demo");
    let store = store(&fixture, Reader::Direct, Some(Fault::Late));
    let rows = all_rows(&store, 0);
    let tickets: Vec<Ticket> = (0..8).map(|_| submit(&store, &rows)).collect();
    for ticket in &tickets {
        ticket.on_done(|| panic!("this panic is part of the test"));
    }
    for ticket in tickets {
        check(&store, &rows, &ticket.wait().unwrap());
    }
}

#[test]
fn a_listener_that_is_replaced_may_hold_the_store() {
    let fixture = Fixture::new("demo");
    let store = Arc::new(store(&fixture, Reader::Direct, Some(Fault::Late)));
    let ticket = submit(&store, &all_rows(&store, 0));
    ticket.on_done(move || drop(store));
    ticket.on_done(|| ());
    ticket.wait().unwrap();
}

#[test]
fn an_event_file_becomes_readable() {
    let fixture = Fixture::new("demo");
    for reader in READERS {
        let store = store(&fixture, reader, Some(Fault::Late));
        let rows = all_rows(&store, 0);
        let tickets: Vec<Ticket> = (0..20).map(|_| submit(&store, &rows)).collect();
        for ticket in tickets {
            let file = ticket.eventfd().unwrap();
            let mut polled = [PollFd::new(&file, PollFlags::IN)];
            let timeout = Timespec {
                tv_sec: 60,
                tv_nsec: 0,
            };
            assert_eq!(poll(&mut polled, Some(&timeout)), Ok(1));
            check(&store, &rows, &ticket.try_wait().unwrap().unwrap());
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park_timeout(LONG),
        }
    }
}

#[test]
fn a_ticket_can_be_awaited() {
    let fixture = Fixture::new("demo");
    for reader in READERS {
        let store = store(&fixture, reader, Some(Fault::Late));
        let rows = all_rows(&store, 0);
        let both = async {
            let (first, second) = (submit(&store, &rows), submit(&store, &rows[..3]));
            (first.await, second.await)
        };
        let (first, second) = block_on(both);
        check(&store, &rows, &first.unwrap());
        check(&store, &rows[..3], &second.unwrap());
    }
}

#[test]
fn a_failure_is_told_too() {
    let fixture = Fixture::new("demo");
    let store = store(&fixture, Reader::Direct, Some(Fault::Eio));
    let rows = all_rows(&store, 0);
    assert_eq!(store.scheme().layers[0].id, LayerId(1));
    let ticket = submit(&store, &rows);
    let (send, receive) = mpsc::channel();
    ticket.on_done(move || send.send(()).unwrap());
    receive.recv_timeout(LONG).unwrap();
    match ticket.try_wait().expect("it is done") {
        Err(error @ LookupError::Unread { .. }) => {
            let text = format!("{:#}", anyhow::Error::from(error));
            assert_eq!(
                text.matches("Input/output error").count(),
                1,
                "said once: {text}"
            );
        }
        other => panic!("{other:?}"),
    }
}
