//! Row ids a second on one core.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engram_criterion::{hasher, tokens};
use engram_format::{Request, RowIds, SchemeName, Sequence};

const PREFILL_TOKENS: usize = 4_096;
const DECODE_SEQUENCES: usize = 256;

fn hashing(c: &mut Criterion) {
    for name in SchemeName::ALL {
        let hasher = hasher(name);
        let rows_per_token = (hasher.scheme().layers.len() * hasher.scheme().column_count()) as u64;
        let mut group = c.benchmark_group(name.as_str());
        let mut rows = RowIds::new();

        let prompt = tokens(PREFILL_TOKENS);
        let mut sequence = Sequence::with_capacity(PREFILL_TOKENS);
        group.throughput(Throughput::Elements(PREFILL_TOKENS as u64 * rows_per_token));
        group.bench_function("prefill", |b| {
            b.iter(|| {
                sequence.truncate(0);
                let hashed = hasher.extend(&mut sequence, black_box(&prompt), &mut rows);
                hashed.expect("the tokens are in the vocabulary");
            });
        });

        let mut sequences: Vec<Sequence> = (0..DECODE_SEQUENCES)
            .map(|skip| {
                let mut sequence = Sequence::with_capacity(PREFILL_TOKENS);
                hasher
                    .advance(&mut sequence, &prompt[skip..skip + 64])
                    .expect("as above");
                sequence
            })
            .collect();
        group.throughput(Throughput::Elements(
            DECODE_SEQUENCES as u64 * rows_per_token,
        ));
        group.bench_function("decode", |b| {
            b.iter(|| {
                let token = black_box(&prompt[100..101]);
                let mut requests: Vec<Request<'_>> = sequences
                    .iter_mut()
                    .map(|sequence| {
                        sequence.truncate(64);
                        Request {
                            sequence,
                            tokens: token,
                        }
                    })
                    .collect();
                hasher
                    .extend_batch(&mut requests, &mut rows)
                    .expect("as above");
            });
        });
        group.finish();
    }
}

criterion_group!(benches, hashing);
criterion_main!(benches);
