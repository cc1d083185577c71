//! A server that has a thread for decode steps and one for prompts, over a storage whose only call waits.

use std::{path::Path, process, sync::mpsc, thread};

use anyhow::Result;
use engram::{OwnedBatch, Ticket, read_manifest};
use engram_bench::{
    mixed::Contender,
    serve::{Done, Server},
};

use crate::peers::EngramDb;

/// Rows from which on a batch is a prompt's.
const PROMPT_ROWS: usize = 1_024;

type Asked = (OwnedBatch, Done);

/// EngramDB, opened once for each thread.
pub struct Apart {
    steps: mpsc::Sender<Asked>,
    prompts: mpsc::Sender<Asked>,
}

impl Apart {
    pub fn open(pack: &Path) -> Result<Self> {
        let row_bytes = read_manifest(pack)?.tables[0].codec.row_bytes();
        let start = || {
            let (sender, asked) = mpsc::channel::<Asked>();
            let mut rows = EngramDb::open(pack)?;
            thread::spawn(move || {
                let mut out = Vec::new();
                for (batch, done) in asked {
                    let batch = batch.as_batch();
                    out.resize(batch.len() * row_bytes, 0);
                    if let Err(error) = rows.gather(batch.layer(), batch.row_ids(), &mut out) {
                        eprintln!("EngramDB: {error:#}");
                        process::exit(1);
                    }
                    done();
                }
            });
            Ok::<_, anyhow::Error>(sender)
        };
        Ok(Self {
            steps: start()?,
            prompts: start()?,
        })
    }
}

impl Server for Apart {
    fn describe(&self) -> String {
        "a thread for decode steps and one for prompts".into()
    }

    fn ask(&mut self, batch: OwnedBatch, done: Done) -> Result<Option<Ticket>> {
        let thread = if batch.len() > PROMPT_ROWS {
            &self.prompts
        } else {
            &self.steps
        };
        thread.send((batch, done)).expect("it ends with the sender");
        Ok(None)
    }
}
