//! The gates that blocks show are those of their formulas, and decide what joins the stream.

#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "tests fail by panicking, and are of few values"
)]

use std::{collections::HashMap, path::Path};

use candle_core::{Device, IndexOp, Tensor, safetensors};
use candle_nn::Linear;
use engram_model::memory_block::{
    ConvState, ConvTensors, CopyNorm, Fused, FusedTensors, GatedConv,
};

fn golden(name: &str) -> HashMap<String, Tensor> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    safetensors::load(folder.join(format!("{name}.safetensors")), &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The gate of one copy by its formula, in f64.
fn gate(dot: f64) -> f64 {
    1.0 / (1.0 + (-dot.abs().max(1e-6).sqrt().copysign(dot)).exp())
}

/// Rows of the last dimension, in f64.
fn rows_of(tensor: &Tensor) -> Vec<Vec<f64>> {
    let width = *tensor.dims().last().unwrap();
    let values: Vec<f64> = values(tensor).into_iter().map(f64::from).collect();
    values.chunks(width).map(<[f64]>::to_vec).collect()
}

fn root_mean_square(x: &[f64], eps: f64) -> f64 {
    (x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64 + eps).sqrt()
}

fn assert_near(found: &Tensor, expected: &[f64]) {
    let found = values(found);
    assert_eq!(found.len(), expected.len());
    for (place, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let apart = (f64::from(found) - expected).abs();
        assert!(apart < 1e-5, "gate {place} is {found}, {expected} by hand");
    }
}

#[test]
fn gates_of_deepseek_v41_are_those_of_the_formula() {
    let golden = golden("fused");
    let tensors = FusedTensors {
        wkv: golden["wkv"].clone(),
        q_weight: golden["q_weight"].clone(),
        k_weight: golden["k_weight"].clone(),
    };
    let (rows, hidden, mask) = (&golden["rows"], &golden["hidden"], &golden["mask"]);
    let block = Fused::new(&tensors, rows.dim(2).unwrap(), 1e-20).unwrap();
    let (stream, gates) = block.forward_with_gates(rows, hidden, Some(mask)).unwrap();
    let plain = block.forward(rows, hidden, Some(mask)).unwrap();
    assert_eq!(values(&stream), values(&plain));
    let (batch, tokens, copies, dim) = hidden.dims4().unwrap();
    assert_eq!(gates.dims(), [batch, tokens, copies]);

    let [wkv, rows, streams] = [&tensors.wkv, rows, hidden].map(rows_of);
    let [q, k] = [&tensors.q_weight, &tensors.k_weight].map(rows_of);
    let mask = values(mask);
    assert!(mask.contains(&0.0));
    let expected = (0..batch * tokens * copies).map(|place| {
        let (token, copy) = (place / copies, place % copies);
        let of = |row: &[f64]| {
            row.iter()
                .zip(&rows[token])
                .map(|(w, x)| w * x)
                .sum::<f64>()
        };
        let key: Vec<f64> = wkv[copy * dim..][..dim].iter().map(|row| of(row)).collect();
        let query = &streams[place];
        let dot: f64 = (0..dim)
            .map(|i| query[i] * key[i] * q[copy][i] * k[copy][i])
            .sum();
        let sizes = root_mean_square(query, 1e-20) * root_mean_square(&key, 1e-20);
        f64::from(mask[token]) * gate(dot / sizes / (dim as f64).sqrt())
    });
    assert_near(&gates, &expected.collect::<Vec<_>>());
}

/// The golden block of the demo, with keys by `key`.
fn demo(golden: &HashMap<String, Tensor>, key: Linear) -> GatedConv {
    let norm = |name: &str, eps| CopyNorm::new(golden[name].clone(), eps);
    let tensors = ConvTensors {
        key,
        value: Linear::new(golden["value"].clone(), golden.get("value_bias").cloned()),
        key_norm: norm("key_norm", f64::from(f32::EPSILON)),
        query_norm: norm("query_norm", f64::from(f32::EPSILON)),
        conv_norm: norm("conv_norm", 1e-5),
        conv: golden["conv"].clone(),
        dilation: 3,
    };
    GatedConv::new(tensors, golden["rows"].dim(2).unwrap()).unwrap()
}

#[test]
fn gates_of_the_demo_are_those_of_the_formula() {
    let golden = golden("demo");
    let (rows, hidden) = (&golden["rows"], &golden["hidden"]);
    let key = Linear::new(golden["key"].clone(), golden.get("key_bias").cloned());
    let block = demo(&golden, key);
    let (batch, tokens, copies, dim) = hidden.dims4().unwrap();
    let counts = vec![tokens; batch];
    let (stream, gates) = block
        .forward_with_gates(rows, hidden, &counts, &mut ConvState::new(batch))
        .unwrap();
    let plain = block.forward(rows, hidden, &counts, &mut ConvState::new(batch));
    assert_eq!(values(&stream), values(&plain.unwrap()));
    assert_eq!(gates.dims(), [batch, tokens, copies]);

    let [weights, rows, streams] = [&golden["key"], rows, hidden].map(rows_of);
    let [k, q] = [&golden["key_norm"], &golden["query_norm"]].map(rows_of);
    let bias = values(&golden["key_bias"]);
    let expected = (0..batch * tokens * copies).map(|place| {
        let (token, copy) = (place / copies, place % copies);
        let key = (copy * dim..(copy + 1) * dim).map(|out| {
            let products = weights[out].iter().zip(&rows[token]).map(|(w, x)| w * x);
            products.sum::<f64>() + f64::from(bias[out])
        });
        let key: Vec<f64> = key.collect();
        let query = &streams[place];
        let eps = f64::from(f32::EPSILON);
        let sizes = root_mean_square(query, eps) * root_mean_square(&key, eps);
        let dot: f64 = (0..dim)
            .map(|i| query[i] * q[copy][i] * key[i] * k[copy][i])
            .sum();
        // Half at zero, as in the demo.
        let zero = dot == 0.0;
        if zero {
            0.5
        } else {
            gate(dot / sizes / (dim as f64).sqrt())
        }
    });
    assert_near(&gates, &expected.collect::<Vec<_>>());
}

#[test]
fn behind_shut_gates_rows_add_nothing() {
    let mut golden = golden("demo");
    let (rows, dim) = (golden["rows"].clone(), golden["hidden"].dim(3).unwrap());
    let (batch, tokens, copies, _) = golden["hidden"].dims4().unwrap();
    // Every key is against the stream, and its norm makes it as long as it takes.
    let one = golden["hidden"].i((0, 0)).unwrap();
    let hidden = one.broadcast_as((batch, tokens, copies, dim)).unwrap();
    let weight = golden["key"].zeros_like().unwrap();
    let against = (one.sign().unwrap() * -1.0).unwrap();
    let key = Linear::new(weight, Some(against.flatten_all().unwrap()));
    for name in ["key_norm", "query_norm"] {
        let long = (golden[name].ones_like().unwrap() * 1e6).unwrap();
        golden.insert(name.into(), long);
    }
    let block = demo(&golden, key);
    let counts = vec![tokens; batch];
    let (stream, gates) = block
        .forward_with_gates(&rows, &hidden, &counts, &mut ConvState::new(batch))
        .unwrap();
    assert!(values(&gates).iter().all(|&gate| gate == 0.0));
    assert_eq!(values(&stream), values(&hidden));
}
