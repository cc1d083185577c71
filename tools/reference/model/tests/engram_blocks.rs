//! The blocks give the golden values, whole and in pieces.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{collections::HashMap, path::Path};

use candle_core::{Device, Tensor, safetensors};
use candle_nn::Linear;
use engram_model::memory_block::{
    ConvState, ConvTensors, CopyNorm, Fused, FusedTensors, GatedConv,
};

type Tensors = HashMap<String, Tensor>;

fn golden(name: &str) -> Tensors {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    safetensors::load(folder.join(format!("{name}.safetensors")), &Device::Cpu).unwrap()
}

fn apart(a: &Tensor, b: &Tensor) -> f32 {
    let apart = (a - b).unwrap().abs().unwrap();
    apart.max_all().unwrap().to_scalar().unwrap()
}

/// Pieces of 13 tokens.
const PIECES: [&[usize]; 3] = [&[13], &[1, 5, 7], &[1; 13]];

/// Runs `block` over pieces of rows and hidden states, and compares what it gives with the golden values.
fn check(golden: &Tensors, mut block: impl FnMut(&Tensor, &Tensor, usize) -> Tensor) {
    for pieces in PIECES {
        let mut start = 0;
        let mut outs = Vec::new();
        for &len in pieces {
            let piece = |name: &str| golden[name].narrow(1, start, len).unwrap();
            outs.push(block(&piece("rows"), &piece("hidden"), start));
            start += len;
        }
        let out = Tensor::cat(&outs, 1).unwrap();
        let apart = apart(&out, &golden["out"]);
        assert!(apart < 2e-5, "{apart} apart in pieces of {pieces:?}");
    }
}

#[test]
fn deepseek_v41() {
    let golden = golden("fused");
    let tensors = FusedTensors {
        wkv: golden["wkv"].clone(),
        q_weight: golden["q_weight"].clone(),
        k_weight: golden["k_weight"].clone(),
    };
    let block = Fused::new(&tensors, 48, 1e-20).unwrap();
    check(&golden, |rows, hidden, start| {
        let mask = golden["mask"]
            .narrow(1, start, rows.dim(1).unwrap())
            .unwrap();
        block.forward(rows, hidden, Some(&mask)).unwrap()
    });
    // The golden values would not be met with another eps, and the mask is no decoration.
    let other = Fused::new(&tensors, 48, 1e-6).unwrap();
    let (rows, hidden) = (&golden["rows"], &golden["hidden"]);
    let out = other.forward(rows, hidden, Some(&golden["mask"])).unwrap();
    assert!(apart(&out, &golden["out"]) > 1e-3);
    let out = block.forward(rows, hidden, None).unwrap();
    assert!(apart(&out, &golden["out"]) > 1e-3);
}

fn gated_conv(golden: &Tensors, norm: impl Fn(&str) -> CopyNorm) -> GatedConv {
    let linear = |name: &str| {
        let bias = golden.get(&format!("{name}_bias")).cloned();
        Linear::new(golden[name].clone(), bias)
    };
    let tensors = ConvTensors {
        key: linear("key"),
        value: linear("value"),
        key_norm: norm("key_norm"),
        query_norm: norm("query_norm"),
        conv_norm: norm("conv_norm"),
        conv: golden["conv"].clone(),
        dilation: 3,
    };
    let row_values = golden["rows"].dim(2).unwrap();
    GatedConv::new(tensors, row_values).unwrap()
}

fn check_with_state(golden: &Tensors, block: &GatedConv) {
    let mut state = ConvState::new(2);
    check(golden, |rows, hidden, start| {
        if start == 0 {
            state = ConvState::new(2);
        }
        let counts = [rows.dim(1).unwrap(); 2];
        block.forward(rows, hidden, &counts, &mut state).unwrap()
    });
}

#[test]
fn demo() {
    let golden = golden("demo");
    let block = gated_conv(&golden, |name| {
        let eps = if name == "conv_norm" {
            1e-5
        } else {
            f64::from(f32::EPSILON)
        };
        CopyNorm::new(golden[name].clone(), eps)
    });
    check_with_state(&golden, &block);
}

#[test]
fn qwen38() {
    let golden = golden("qwen");
    let block = gated_conv(&golden, |name| {
        CopyNorm::new((&golden[name] + 1.0).unwrap(), 1e-6)
    });
    check_with_state(&golden, &block);
}

#[test]
fn misshapen_tensors_are_named() {
    let golden = golden("fused");
    let tensors = FusedTensors {
        wkv: golden["wkv"].narrow(0, 0, 100).unwrap(),
        q_weight: golden["q_weight"].clone(),
        k_weight: golden["k_weight"].clone(),
    };
    let error = Fused::new(&tensors, 48, 1e-20).unwrap_err().to_string();
    assert!(
        error.contains("wkv") && error.contains("[100, 48]") && error.contains("[120, 48]"),
        "{error}"
    );
    let error = Fused::new(&tensors, 64, 1e-20).unwrap_err().to_string();
    assert!(error.contains("[120, 64]"), "{error}");
}
