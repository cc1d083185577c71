//! What is seen inside a model is what is there.

#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "tests fail by panicking, and are of few values"
)]

use std::{path::Path, slice};

use candle_core::{DType, Device, IndexOp, Tensor};
use engram_model::{
    Error, Model,
    inside::{Lens, Streams, linear_cka, scores},
};

fn load(name: &str) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    Model::load(folder.join(name), &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

const TOKENS: [u32; 12] = [5, 9, 2, 30, 31, 7, 5, 9, 2, 11, 60, 1];

/// The streams of one pass, and its logits.
fn pass(model: &Model) -> (Vec<Tensor>, Tensor) {
    let mut streams = Streams::new(());
    let mut cache = model.cache(1);
    let mut logits = model.forward(&[&TOKENS], &mut cache, &mut streams);
    let logits = logits.as_mut().unwrap().remove(0);
    (streams.depths().to_vec(), logits)
}

#[test]
fn the_last_stream_reads_out_as_the_logits() {
    for name in ["v3_grouped", "hyper"] {
        let model = load(name);
        let (streams, logits) = pass(&model);
        let plain = model.forward(&[&TOKENS], &mut model.cache(1), &mut ());
        assert_eq!(values(&logits), values(&plain.unwrap()[0]), "{name}");
        assert_eq!(streams.len(), model.config().layers() + 1);
        let read = model.read_out(streams.last().unwrap()).unwrap();
        assert_eq!(values(&read), values(&logits), "{name}");
        let early = model.read_out(&streams[0]).unwrap();
        assert_ne!(values(&early), values(&logits), "{name}");
        // The same token has the same embedding wherever it is.
        let embedding = |position: usize| values(&streams[0].i((0, position)).unwrap());
        assert_eq!(embedding(0), embedding(6));
        assert_ne!(embedding(0), embedding(1));
    }
    let error = load("hyper").read_out(&pass(&load("v3_grouped")).0[0]);
    assert!(matches!(error, Err(Error::Shape { .. })));
}

#[test]
fn the_lens_ends_where_the_model_does() {
    let model = load("hyper");
    let (streams, _) = pass(&model);
    let mut lens = Lens::new();
    assert!(lens.stats().is_empty());
    assert!(lens.add(&model, &[]).is_err());
    lens.add(&model, &streams).unwrap();
    let once = lens.stats();
    lens.add(&model, &streams).unwrap();
    assert_eq!(lens.positions(), 2 * TOKENS.len());
    for (one, two) in once.iter().zip(lens.stats()) {
        assert!((one.divergence - two.divergence).abs() < 1e-9);
        assert_eq!(one.agreement, two.agreement);
    }
    let (last, earlier) = once.split_last().unwrap();
    assert_eq!((last.divergence, last.agreement), (0.0, 1.0));
    for (depth, seen) in earlier.iter().enumerate() {
        let (divergence, agreement) = by_hand(&model, &streams, depth);
        assert!(
            (seen.divergence - divergence).abs() < 1e-4 * divergence,
            "{seen:?}, {divergence} by hand"
        );
        assert_eq!(seen.agreement, agreement);
        assert!(divergence > 0.01);
    }
}

/// Divergence in bits and agreement of a depth, in f64.
fn by_hand(model: &Model, streams: &[Tensor], depth: usize) -> (f64, f64) {
    let logits = |stream: &Tensor| -> Vec<Vec<f64>> {
        let logits = model.read_out(stream).unwrap().i(0).unwrap();
        let rows = logits.to_vec2::<f32>().unwrap().into_iter();
        rows.map(|row| row.into_iter().map(f64::from).collect())
            .collect()
    };
    let (early, last) = (logits(&streams[depth]), logits(streams.last().unwrap()));
    let positions = last.len() as f64;
    let (mut bits, mut same) = (0.0, 0.0);
    for (early, last) in early.iter().zip(&last) {
        let sum = |row: &[f64]| row.iter().map(|x| x.exp()).sum::<f64>().ln();
        let (early_sum, last_sum) = (sum(early), sum(last));
        for (x, y) in early.iter().zip(last) {
            let (p, q) = (y - last_sum, x - early_sum);
            bits += p.exp() * (p - q) / std::f64::consts::LN_2;
        }
        let first = |row: &[f64]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
        same += f64::from(u8::from(first(early) == first(last)));
    }
    (bits / positions, same / positions)
}

#[test]
fn scores_are_those_of_the_softmax() {
    let logits = Tensor::new(
        &[[0.0_f32, 3.0_f32.ln()], [1.0, 1.0], [0.0, -200.0]],
        &Device::Cpu,
    );
    let logits = logits.unwrap();
    let scores = scores(&logits, &[1, 1, 1]).unwrap();
    assert!((scores[0].bits - (4.0_f64 / 3.0).log2()).abs() < 1e-6);
    assert!((scores[1].bits - 1.0).abs() < 1e-6);
    assert!((scores[2].bits - 200.0 / std::f64::consts::LN_2).abs() < 1e-3);
    let likeliest: Vec<bool> = scores.iter().map(|score| score.likeliest).collect();
    assert_eq!((likeliest[0], likeliest[2]), (true, false));
}

#[test]
fn scores_of_what_cannot_be_are_refused() {
    let logits = Tensor::new(&[[0.0_f32, 1.0], [f32::NAN, 1.0]], &Device::Cpu).unwrap();
    let found = scores(&logits, &[1]).unwrap_err();
    assert!(
        found.to_string().contains("[2, 2], expected [1, 2]"),
        "{found}"
    );
    let found = scores(&logits, &[1, 2]).unwrap_err();
    assert!(found.to_string().contains("token 2 at 1"), "{found}");
    let found = scores(&logits, &[1, 0]).unwrap_err();
    assert!(matches!(found, Error::NotANumber { .. }), "{found}");
    assert!(
        scores(&logits.narrow(0, 0, 0).unwrap(), &[])
            .unwrap()
            .is_empty()
    );
}

/// Of two single streams.
fn alike(a: &Tensor, b: &Tensor) -> f64 {
    linear_cka(slice::from_ref(a), slice::from_ref(b)).unwrap()[0][0]
}

/// Normal numbers, `[1, positions, 1, width]`.
fn noise(positions: usize, width: usize) -> Tensor {
    Tensor::randn(0.0_f32, 1.0, (1, positions, 1, width), &Device::Cpu).unwrap()
}

#[test]
fn similar_is_what_a_rotation_and_a_scale_make() {
    let x = noise(600, 8);
    // A reflection keeps distances: one minus twice the projection on a vector.
    let axis = noise(1, 8).reshape((8, 1)).unwrap();
    let length = axis
        .sqr()
        .unwrap()
        .sum_all()
        .unwrap()
        .to_scalar::<f32>()
        .unwrap();
    let onto = axis.matmul(&axis.t().unwrap()).unwrap();
    let onto = (onto * f64::from(2.0 / length)).unwrap();
    let one = Tensor::eye(8, DType::F32, &Device::Cpu).unwrap();
    let turned = x.broadcast_matmul(&(one - onto).unwrap()).unwrap();
    let turned = ((turned * -300.0).unwrap() + 17.0).unwrap();
    let (other, wider) = (noise(600, 8), noise(600, 24));
    let found = linear_cka(slice::from_ref(&x), &[x.clone(), turned, other, wider]).unwrap();
    let found = &found[0];
    assert!((found[0] - 1.0).abs() < 1e-5, "{found:?}");
    assert!((found[1] - 1.0).abs() < 1e-4, "{found:?}");
    // About 8 / 600 and the root of 8 * 24 over 600.
    assert!(found[2] < 0.05 && found[3] < 0.08, "{found:?}");
    // Partly the same: x beside as much noise.
    let half = Tensor::cat(&[&x, &noise(600, 8)], 3).unwrap();
    let found = alike(&x, &half);
    assert!((found - 0.5_f64.sqrt()).abs() < 0.05, "{found}");
}

#[test]
fn similarity_is_of_means_over_copies_and_by_hand() {
    let (a, b) = (noise(5, 6), noise(5, 3));
    let copies = a.reshape((1, 5, 2, 3)).unwrap();
    let mean = copies.mean_keepdim(2).unwrap();
    let found = alike(&copies, &b);
    let same = alike(&b, &mean);
    assert!((found - same).abs() < 1e-6, "{found}, {same}");
    // By the definition: the products of all pairs of centred positions.
    let gram = |x: &Tensor| -> Vec<f64> {
        let x: Vec<Vec<f32>> = x.reshape((5, 3)).unwrap().to_vec2().unwrap();
        let mean = |column: usize| x.iter().map(|row| f64::from(row[column])).sum::<f64>() / 5.0;
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            let centred = |row: &[f32], column: usize| f64::from(row[column]) - mean(column);
            (0..3).map(|c| centred(a, c) * centred(b, c)).sum()
        };
        x.iter()
            .flat_map(|a| x.iter().map(|b| dot(a, b)).collect::<Vec<_>>())
            .collect()
    };
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let (k, l) = (gram(&mean), gram(&b));
    let expected = dot(&k, &l) / (dot(&k, &k) * dot(&l, &l)).sqrt();
    assert!(
        (found - expected).abs() < 1e-5,
        "{found}, {expected} by hand"
    );
}

#[test]
fn streams_that_cannot_be_compared_are_named() {
    let same = Tensor::ones((1, 9, 1, 4), DType::F32, &Device::Cpu).unwrap();
    let error = linear_cka(&[noise(9, 4), same], &[noise(9, 4)]).unwrap_err();
    assert!(
        error.to_string().contains("depth 1 is the same at every"),
        "{error}"
    );
    let error = linear_cka(&[noise(9, 4)], &[noise(8, 4)]).unwrap_err();
    assert!(
        error.to_string().contains("[8, 4], expected [9, 4]"),
        "{error}"
    );
    assert!(linear_cka(&[], &[noise(8, 4)]).unwrap().is_empty());
}
