//! Runs the cells and prints what came of them.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Instant,
};

use engram::TokenMap;
use engram_checkpoint::{DeepSeekConfig, Family};
use engram_io::parallel;
use engram_pack::write_checkpoint;

use crate::{
    cells::{self, Cell, Groups, Row, STEPS},
    folders::{self, Mounts},
    lookups::{self, READERS},
    outcome::Outcome,
};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_engram-pack");
/// Cells at a time: they wait for the drive and for one another's processes.
const THREADS: usize = 3;
/// Raw tokens of the checkpoint's vocabulary, and the classes that it is compressed to.
const VOCAB: u32 = 60;
const CLASSES: u32 = 40;

/// This program.
pub(crate) fn own() -> PathBuf {
    env::current_exe().unwrap()
}

/// Runs the cells whose names have one of the words of `args` that are no options, or all if there is none or one names
/// this program.
pub(crate) fn run(args: &[&str]) -> ExitCode {
    let start = Instant::now();
    let filters: Vec<&str> = args
        .iter()
        .copied()
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (mut mounts, mut groups) = (Mounts::default(), Groups::default());
    let base = folder.path().join("base");
    if let Err(why) = mounts.bare_tmpfs(&base) {
        println!("skipped: a tmpfs for the whole matrix: {why}");
    }
    let sound = base.join("sound");
    fs::create_dir(&sound).unwrap();
    make_sound(&sound);
    let expected = base.join("expected.json");
    lookups::expect(&sound.join("checkpoint"), &expected);

    let folders = folders::make(&base, &sound, &mut mounts);
    let cells = cells::all(&sound, &base, folders, &mut groups);
    let all = filters.is_empty()
        || filters
            .iter()
            .any(|word| env!("CARGO_CRATE_NAME").contains(word));
    let wanted = |cell: &Cell| all || filters.iter().any(|word| cell.name.contains(word));
    let cells: Vec<Cell> = cells.into_iter().filter(wanted).collect();
    let rows = parallel::map(THREADS, &cells, |cell| Ok::<_, ()>(cell.run(&expected))).unwrap();
    let right = print(&rows);
    println!(
        "{} cells in {:.1} s",
        rows.len(),
        start.elapsed().as_secs_f64()
    );
    if right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A small checkpoint whose rows have two parts, its pack, and a pack attached to it.
fn make_sound(folder: &Path) {
    let [checkpoint, pack, attached] =
        ["checkpoint", "pack", "attached"].map(|name| folder.join(name));
    let family = Family::DeepSeek(DeepSeekConfig {
        layers: vec![1, 3],
        row_counts: None,
        max_order: 3,
        bucket_start: 200,
        heads: 2,
        width: 64,
        pad: 2,
        compressed_vocab_size: CLASSES,
        hidden_size: 32,
        hc_mult: 2,
    });
    let map = TokenMap::new((0..VOCAB).map(|token| token % CLASSES).collect(), CLASSES).unwrap();
    fs::create_dir(&checkpoint).unwrap();
    fs::write(checkpoint.join("token_map.u32le"), map.to_bytes()).unwrap();
    write_checkpoint(&family, Some(&map), 1, &checkpoint, &|_| ()).unwrap();
    for (job, out) in [("build", &pack), ("attach", &attached)] {
        let made = Outcome::of(
            Command::new(PROGRAM)
                .arg(job)
                .arg(&checkpoint)
                .arg("-o")
                .arg(out),
        );
        assert!(matches!(made, Outcome::Same), "{job}: {made:?}");
    }
}

/// Prints a line for each cell, and below what was said where work was refused or went wrong. False if any did.
fn print(rows: &[Row]) -> bool {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let line = |name: &str, words: Vec<&str>| {
        let words: Vec<String> = words.iter().map(|word| format!("{word:<8}")).collect();
        println!("{name:<width$}  {}", words.join(" ").trim_end());
    };
    line("", STEPS.into_iter().chain(READERS).collect());
    for row in rows {
        line(&row.name, row.outcomes.iter().map(Outcome::word).collect());
    }
    println!();
    for row in rows {
        let said = STEPS.into_iter().chain(READERS).zip(&row.outcomes);
        for (step, words) in said.filter_map(|(step, outcome)| Some((step, outcome.words()?))) {
            println!("{}: {step}: {words}", row.name);
        }
    }
    println!();
    for row in rows {
        for fault in &row.faults {
            println!("FAILED: {}: {fault}", row.name);
        }
    }
    rows.iter().all(|row| row.faults.is_empty())
}
