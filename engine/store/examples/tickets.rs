//! Asks for the rows of all layers before layer 0, and learns in four ways when they are there.

use std::{error::Error, sync::mpsc, time::Duration};

use engram::{Config, RowIds, Sequence, Store, Ticket, ValueType};
use rustix::event::{PollFd, PollFlags, poll};

const DEFAULT_PACK: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../format-spec/vectors/deepseek"
);

fn main() -> Result<(), Box<dyn Error>> {
    let pack = std::env::args().nth(1).unwrap_or(DEFAULT_PACK.into());
    let store = Store::open(pack, Config::new())?;
    let mut sequence = Sequence::new();

    // Each layer waits for its own rows alone.
    for ticket in submit_all_layers(&store, &mut sequence, &[0, 3, 15])? {
        let values = ticket.wait()?;
        println!("waited: {} values", values.as_f32().len());
    }

    // Or it asks, and does something else meanwhile.
    for mut ticket in submit_all_layers(&store, &mut sequence, &[7])? {
        let values = loop {
            match ticket.try_wait() {
                Ok(values) => break values?,
                Err(pending) => ticket = pending,
            }
            std::thread::sleep(Duration::from_micros(10));
        };
        println!("asked: {} values", values.as_f32().len());
    }

    // Or a callback tells it, on the thread that reads: it must not block.
    for ticket in submit_all_layers(&store, &mut sequence, &[2])? {
        let (done, told) = mpsc::channel();
        ticket.on_done(move || {
            let _ = done.send(());
        });
        told.recv()?;
        println!("called back: {} values", ticket.wait()?.as_f32().len());
    }

    // Or an event loop polls a file. An async function would say `ticket.await`.
    for ticket in submit_all_layers(&store, &mut sequence, &[9])? {
        let event = ticket.eventfd()?;
        poll(&mut [PollFd::new(&event, PollFlags::IN)], None)?;
        println!("polled: {} values", ticket.wait()?.as_f32().len());
    }
    Ok(())
}

/// Rows in memory are in their buffers when this returns, and the reads of the others have begun.
fn submit_all_layers(
    store: &Store,
    sequence: &mut Sequence,
    tokens: &[u32],
) -> Result<Vec<Ticket>, Box<dyn Error>> {
    let mut row_ids = RowIds::new();
    store.hasher().extend(sequence, tokens, &mut row_ids)?;
    let mut tickets = Vec::new();
    for batch in row_ids.batches() {
        let buffer = store.value_buffer(batch.layer(), batch.len(), ValueType::F32)?;
        tickets.push(store.submit(batch, buffer)?);
    }
    Ok(tickets)
}
