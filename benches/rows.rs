//! Sealing, decoding and looking up rows of DeepSeek-V4.1's shape.

use std::{hint::black_box, path::Path};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engram::{Batch, Config, LayerId, Reader, Request, RowIds, Sequence, Store, bf16};
use engram_checkpoint::Checkpoint;
use engram_criterion::tokens;
use engram_format::{RowCodec, RowId, SchemeName, seal};
use engram_pack::{BuildOptions, SynthOptions, build, synth};

const ROWS: usize = 1_024;
const CODEC: RowCodec = RowCodec::Fp8Ue8m0 {
    width: 256,
    group: 32,
};

fn parts(c: &mut Criterion) {
    let rows: Vec<u8> = (0..120).cycle().take(ROWS * CODEC.row_bytes()).collect();
    let mut floats = vec![0.0; ROWS * CODEC.width()];
    let mut halves = vec![bf16::ZERO; ROWS * CODEC.width()];
    let mut group = c.benchmark_group("rows of 264 bytes");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("seal", |b| {
        b.iter(|| {
            let rows = black_box(&rows).chunks_exact(CODEC.row_bytes());
            (0..).zip(rows).fold(0, |all, (row, bytes)| {
                all ^ seal(LayerId(1), RowId(row), bytes)
            })
        });
    });
    group.bench_function("decode to f32", |b| {
        b.iter(|| CODEC.decode_f32(black_box(&rows), &mut floats))
    });
    group.bench_function("decode to bf16", |b| {
        b.iter(|| CODEC.decode_bf16(black_box(&rows), &mut halves))
    });
    group.finish();
}

/// A pack of 200 MB in the page cache; every row is looked up in the order of a text.
fn lookup(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (checkpoint, pack) = (folder.path().join("checkpoint"), folder.path().join("pack"));
    let options = SynthOptions {
        scheme: SchemeName::DeepSeekV41Flash,
        scale: 1_000,
        seed: 1,
        tokenizer: None,
    };
    synth(&options, &checkpoint, &|_| ()).expect("space for a checkpoint");
    let opened = Checkpoint::open(&checkpoint, None).expect("a sound checkpoint");
    build(&opened, &pack, &BuildOptions::default(), &|_| ()).expect("space for a pack");

    let mut group = c.benchmark_group("lookup");
    for (name, reader) in [
        ("memory", Reader::Memory),
        ("row cache", Reader::Direct),
        ("mmap", Reader::Mmap),
        ("pread", Reader::Pread),
    ] {
        for check in [true, false] {
            let store = Store::open(&pack, Config::new().reader(reader).check_seals(check))
                .expect("a sound pack");
            let mut rows = RowIds::new();
            let hashed = store
                .hasher()
                .extend(&mut Sequence::new(), &tokens(600), &mut rows);
            hashed.expect("the tokens are in the vocabulary");
            let rows = rows.layer(0);
            let mut out = vec![0; rows.len() * CODEC.row_bytes()];
            group.throughput(Throughput::Elements(rows.len() as u64));
            let seals = if check { "sealed" } else { "unchecked" };
            group.bench_function(format!("{name} {seals}"), |b| {
                b.iter(|| {
                    store
                        .lookup(Batch::new(LayerId(1), rows), &mut out)
                        .expect("sound rows")
                });
            });
        }
    }
    group.finish();
    training(c, &pack);
    ring(c, &pack);
}

/// Tokens of a training step: eight sequences.
const STEP: [usize; 2] = [8, 512];

/// Rows of both layers of a training step, hashed, looked up in a warm cache and decoded: tokens a second.
fn training(c: &mut Criterion, pack: &Path) {
    let [sequences, length] = STEP;
    let store = Store::open(pack, Config::new()).expect("a sound pack");
    let text = tokens(sequences * length);
    let mut row_ids = RowIds::new();
    let rows = sequences * length * store.scheme().column_count();
    let mut values = vec![bf16::ZERO; rows * CODEC.width()];
    let mut step = || {
        let mut histories = vec![Sequence::new(); sequences];
        let requests = histories.iter_mut().zip(text.chunks_exact(length));
        let mut requests: Vec<_> = requests
            .map(|(sequence, tokens)| Request { sequence, tokens })
            .collect();
        let hashed = store.hasher().extend_batch(&mut requests, &mut row_ids);
        hashed.expect("the tokens are in the vocabulary");
        for batch in row_ids.batches() {
            let found = store.lookup_values(batch, &mut values[..]);
            found.expect("sound rows");
        }
    };
    // The cache takes a row in when it is asked for again.
    (0..3).for_each(|_| step());
    let mut group = c.benchmark_group("a training step of 4,096 tokens");
    group.sample_size(20);
    group.throughput(Throughput::Elements((sequences * length) as u64));
    group.bench_function("warm", |b| b.iter(&mut step));
    group.finish();
}

/// The rows of eighteen tokens, each time from the drive.
fn ring(c: &mut Criterion, pack: &Path) {
    let mut group = c.benchmark_group("432 rows from the drive");
    group.sample_size(20);
    for (name, reader) in [
        ("io_uring", Reader::Direct),
        ("threads", Reader::DirectThreads),
    ] {
        let store = Store::open(pack, Config::new().reader(reader).cache_bytes(0));
        let store = store.expect("a sound pack");
        let mut rows = RowIds::new();
        let hashed = store
            .hasher()
            .extend(&mut Sequence::new(), &tokens(18), &mut rows);
        hashed.expect("the tokens are in the vocabulary");
        let rows = rows.layer(0);
        let mut out = vec![0; rows.len() * CODEC.row_bytes()];
        group.throughput(Throughput::Elements(rows.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                store
                    .lookup(Batch::new(LayerId(1), rows), &mut out)
                    .expect("sound rows")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, parts, lookup);
criterion_main!(benches);
