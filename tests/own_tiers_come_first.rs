//! A tier of the caller's is asked before the pack's own, and may know rows by their exact n-gram.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use engram::{
    Batch, Config, LayerId, LookupError, NGrams, RowId, RowIds, RowsMut, Sequence, Store, Tier,
    Wanted,
};
use engram_tests::{Fixture, READERS, look_up, sample_tokens};

/// Serves rows of the byte 0xEE for one n-gram of one layer.
#[derive(Debug)]
struct OneNgram {
    layer: LayerId,
    ngram: Vec<u32>,
    calls: AtomicUsize,
}

impl Tier for OneNgram {
    fn serve(&self, wanted: &mut Wanted<'_>, out: &mut RowsMut<'_>) -> Result<(), LookupError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if wanted.layer() != self.layer {
            return Ok(());
        }
        let rows: Vec<bool> = (wanted.rows().iter())
            .map(|row| wanted.ngram(row) == Some(&self.ngram))
            .collect();
        let mut is_ours = rows.into_iter();
        wanted.serve_each(|row| {
            let is_ours = is_ours.next() == Some(true);
            if is_ours {
                out.row(row).fill(0xEE);
            }
            Ok(is_ours)
        })
    }
}

/// Fails for one row.
#[derive(Debug)]
struct Failing(RowId);

impl Tier for Failing {
    fn serve(&self, wanted: &mut Wanted<'_>, _: &mut RowsMut<'_>) -> Result<(), LookupError> {
        if wanted.rows().iter().any(|row| row.row_id == self.0) {
            return Err(LookupError::Tier("no such row today".into()));
        }
        Ok(())
    }
}

#[test]
fn a_row_is_replaced_where_its_n_gram_is_the_one_and_nowhere_else() {
    let fixture = Fixture::new("deepseek");
    for reader in READERS {
        let plain = Store::open(fixture.pack(), Config::new().reader(reader)).unwrap();
        let tokens = sample_tokens(&plain);
        let mut row_ids = RowIds::with_ngrams();
        let hasher = plain.hasher();
        hasher
            .extend(&mut Sequence::new(), &tokens, &mut row_ids)
            .unwrap();
        let layer = plain.scheme().layers[0].id;
        let batch = row_ids.batch(layer).unwrap();
        // The 3-gram of the token in the middle.
        let columns = plain.columns(layer).unwrap();
        let row = (tokens.len() / 2) * columns.len() + columns.len() - 1;
        let ngram = batch.ngrams().unwrap().of_row(row, 3).to_vec();
        let tier = Arc::new(OneNgram {
            layer,
            ngram: ngram.clone(),
            calls: AtomicUsize::new(0),
        });
        let config = Config::new().reader(reader).tier(tier.clone());
        let store = Store::open(fixture.pack(), config).unwrap();

        let row_bytes = store.codec(layer).unwrap().row_bytes();
        let mut expected = look_up(&plain, layer, batch.row_ids()).unwrap();
        let mut replaced = 0;
        for (index, row) in expected.chunks_exact_mut(row_bytes).enumerate() {
            let order = columns[index % columns.len()].order;
            if order == 3 && batch.ngrams().unwrap().of_row(index, 3) == ngram {
                row.fill(0xEE);
                replaced += 1;
            }
        }
        assert!(replaced >= 2, "both heads of the n-gram");
        let mut found = vec![0; expected.len()];
        store.lookup(batch, &mut found).unwrap();
        assert!(found == expected, "{reader:?}");
        let buffer = store.buffer(layer, batch.len()).unwrap();
        let ticket = store.submit(batch, buffer).unwrap();
        assert!(*ticket.wait().unwrap() == *expected, "{reader:?}");
        assert!(
            tier.calls.load(Ordering::Relaxed) <= 2 * (1 + batch.len() / 256),
            "not for each row"
        );

        // Without n-grams the tier cannot tell, and the pack's own rows are served.
        let plain_batch = Batch::new(layer, batch.row_ids());
        store.lookup(plain_batch, &mut found).unwrap();
        assert!(found == look_up(&plain, layer, batch.row_ids()).unwrap());
    }
}

#[test]
fn a_tier_that_fails_fails_the_batch_and_hands_out_nothing() {
    let fixture = Fixture::new("demo");
    for reader in READERS {
        let config = Config::new()
            .reader(reader)
            .tier(Arc::new(Failing(RowId(5))));
        let store = Store::open(fixture.pack(), config).unwrap();
        let layer = store.scheme().layers[0].id;
        look_up(&store, layer, &[RowId(4)]).unwrap();
        // It checks that the output is all zero.
        let failed = look_up(&store, layer, &[RowId(4), RowId(5)]);
        assert!(matches!(failed, Err(LookupError::Tier(_))), "{reader:?}");
        let buffer = store.buffer(layer, 1).unwrap();
        let rows = [RowId(5)];
        let failed = store.submit(Batch::new(layer, &rows), buffer);
        assert!(matches!(failed, Err(LookupError::Tier(_))), "{reader:?}");
        assert!(
            store.metrics().pooled_bytes > 0,
            "the buffer has returned to the pool"
        );
    }
}

/// Looks other rows up while it is asked.
#[derive(Debug)]
struct Nested(Store);

impl Tier for Nested {
    fn serve(&self, wanted: &mut Wanted<'_>, out: &mut RowsMut<'_>) -> Result<(), LookupError> {
        let layer = wanted.layer();
        wanted.serve_each(|row| {
            let row_ids = [row.row_id];
            self.0.lookup(Batch::new(layer, &row_ids), out.row(row))?;
            Ok(true)
        })
    }
}

#[test]
fn a_tier_may_look_rows_up_itself() {
    let fixture = Fixture::new("demo");
    let inner = Store::open(fixture.pack(), Config::new()).unwrap();
    let plain = Store::open(fixture.pack(), Config::new()).unwrap();
    let layer = plain.scheme().layers[0].id;
    let config = Config::new().tier(Arc::new(Nested(inner)));
    let store = Store::open(fixture.pack(), config).unwrap();
    let rows: Vec<RowId> = (0..30).map(RowId).collect();
    let expected = look_up(&plain, layer, &rows).unwrap();
    assert!(look_up(&store, layer, &rows).unwrap() == expected);
    assert!(store.resident_columns(layer).unwrap().1.is_empty());
}

#[test]
fn n_grams_of_another_scheme_are_refused() {
    let fixture = Fixture::new("deepseek");
    let store = Store::open(fixture.pack(), Config::new()).unwrap();
    let layer = store.scheme().layers[0].id;
    let columns = store.columns(layer).unwrap().len();
    let row_ids = [RowId(0); 12];
    let mut out = vec![1; 12 * store.codec(layer).unwrap().row_bytes()];
    for (order, found_columns) in [(3, columns - 1), (2, columns), (3, 1)] {
        let windows = vec![0; 12 / found_columns * order];
        let ngrams = NGrams::new(&windows, order, found_columns);
        let batch = Batch::new(layer, &row_ids).with_ngrams(ngrams);
        let refused = store.lookup(batch, &mut out).unwrap_err();
        assert!(
            matches!(refused, LookupError::NGramShape { .. }),
            "{refused}"
        );
    }
}
