//! What Python programs do: take rows of an array that is mapped from a file.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use engram::{RowId, read_manifest, LayerId};
use engram_bench::{cold::evict, mixed::Contender};
use memmap2::MmapMut;

use crate::folder::folder;

/// Largest call, in rows.
const MOST_ROWS: usize = 1 << 16;

/// One table after another, rows without anything between.
pub fn flat_path(pack: &Path, layer: LayerId) -> PathBuf {
    folder(pack).join(format!("flat-{layer}.bin"))
}

fn interpreter() -> String {
    std::env::var("PYTHON").unwrap_or_else(|_| "python3".into())
}

/// Whether `$PYTHON` has `module`.
pub fn has(module: &str) -> bool {
    let mut python = Command::new(interpreter());
    python.args(["-c", &format!("import {module}")]);
    python.stdout(Stdio::null()).stderr(Stdio::null());
    python.status().is_ok_and(|status| status.success())
}

/// A Python process that shares memory for row ids and rows with this one.
pub struct Take {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    ids: MmapMut,
    rows: MmapMut,
}

impl Take {
    pub fn open(pack: &Path, how: &str) -> Result<Self> {
        let manifest = read_manifest(pack)?;
        let row_bytes = manifest.tables[0].codec.row_bytes();
        let shared = |name: &str, bytes: usize| {
            let path = PathBuf::from(format!(
                "/dev/shm/engram-peers-{}-{name}",
                std::process::id()
            ));
            let mut options = File::options();
            let file = options
                .read(true)
                .write(true)
                .create_new(true)
                .open(&path)?;
            file.set_len(bytes as u64)?;
            // SAFETY: only the process that is started here changes the file, and only while it is asked to.
            Ok::<_, anyhow::Error>((path, unsafe { MmapMut::map_mut(&file)? }))
        };
        let (ids_path, ids) = shared("ids", MOST_ROWS * 8)?;
        let (rows_path, rows) = shared("rows", MOST_ROWS * row_bytes)?;
        let tables: Vec<PathBuf> = manifest
            .tables
            .iter()
            .map(|table| flat_path(pack, table.layer))
            .collect();
        evict(&tables)?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/take.py");
        let mut python = Command::new(interpreter());
        python.arg(script).arg(how).arg(row_bytes.to_string());
        python.arg(&ids_path).arg(&rows_path);
        for (table, path) in manifest.tables.iter().zip(&tables) {
            python.arg(table.layer.to_string()).arg(path);
        }
        let mut process = python
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = process.stdin.take().context("a pipe")?;
        let answers = BufReader::new(process.stdout.take().context("a pipe")?);
        let mut take = Self {
            process,
            orders,
            answers,
            ids,
            rows,
        };
        let ready = take.answer();
        fs::remove_file(ids_path)?;
        fs::remove_file(rows_path)?;
        ready?;
        Ok(take)
    }

    fn answer(&mut self) -> Result<()> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        ensure!(line == "done\n", "Python said {line:?}");
        Ok(())
    }
}

impl Contender for Take {
    fn describe(&self) -> String {
        "its own process, whose processor time is not counted".into()
    }

    fn gather(&mut self, layer: LayerId, rows: &[RowId], out: &mut [u8]) -> Result<()> {
        ensure!(rows.len() <= MOST_ROWS, "a call of {} rows", rows.len());
        for (id, row) in self.ids.chunks_exact_mut(8).zip(rows) {
            id.copy_from_slice(&row.0.to_le_bytes());
        }
        // In one piece, or its first would wake the other side.
        let order = format!("{layer} {}\n", rows.len());
        self.orders.write_all(order.as_bytes())?;
        self.answer()?;
        out.copy_from_slice(&self.rows[..out.len()]);
        Ok(())
    }
}

impl Drop for Take {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
