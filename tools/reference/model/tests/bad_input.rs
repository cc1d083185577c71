//! A checkpoint that is damaged or says what is not known here is an error that names the place.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor, safetensors};
use engram_model::{Config, Model};
use serde_json::{Value, json};
use tempfile::TempDir;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// A copy of a golden checkpoint, to be spoilt.
struct Copy(TempDir);

impl Copy {
    fn of(name: &str) -> Self {
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(golden(name)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        Self(copy)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// Sets a field of the configuration; `null` takes it away.
    fn set(&self, field: &str, value: Value) {
        self.edit("config.json", |config| config[field] = value);
    }

    fn edit(&self, file: &str, edit: impl FnOnce(&mut Value)) {
        let mut json = serde_json::from_slice(&fs::read(self.path(file)).unwrap()).unwrap();
        edit(&mut json);
        fs::write(self.path(file), json.to_string()).unwrap();
    }

    fn edit_tensors(&self, edit: impl FnOnce(&mut HashMap<String, Tensor>)) {
        let path = self.path("model.safetensors");
        let mut tensors = safetensors::load(&path, &Device::Cpu).unwrap();
        edit(&mut tensors);
        safetensors::save(&tensors, path).unwrap();
    }

    /// Checks that loading fails with all of these texts.
    fn fails(&self, texts: &[&str]) {
        let error = Model::load(self.0.path(), &Device::Cpu)
            .unwrap_err()
            .to_string();
        for text in texts {
            assert!(error.contains(text), "{text} is not in: {error}");
        }
    }

    /// As [`Self::fails`], by the configuration alone: there are no tensors.
    fn config_fails(&self, texts: &[&str]) {
        let tensors = self.path("model.safetensors");
        if tensors.exists() {
            fs::remove_file(tensors).unwrap();
        }
        self.fails(texts);
    }
}

const V3: &str = "v3_grouped";

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()
}

#[test]
fn missing_tensor() {
    for (name, shape) in [
        ("lm_head.weight", "[96, 64]"),
        ("model.layers.0.self_attn.q_a_proj.weight", "[32, 64]"),
        ("model.layers.1.mlp.experts.7.up_proj.weight", "[16, 64]"),
        ("model.layers.2.mlp.gate.e_score_correction_bias", "[8]"),
        ("model.norm.weight", "[64]"),
    ] {
        let copy = Copy::of(V3);
        copy.edit_tensors(|tensors| drop(tensors.remove(name).unwrap()));
        copy.fails(&[name, shape]);
    }
}

#[test]
fn a_tensor_under_another_name_is_no_substitute() {
    let copy = Copy::of(V3);
    copy.edit_tensors(|tensors| {
        let norm = tensors.remove("model.norm.weight").unwrap();
        tensors.insert("mtp.model.norm.weight".into(), norm);
    });
    copy.fails(&["no tensor `model.norm.weight`"]);
}

#[test]
fn misshapen_tensor() {
    let copy = Copy::of(V3);
    let name = "model.layers.1.self_attn.kv_b_proj.weight";
    copy.edit_tensors(|tensors| drop(tensors.insert(name.into(), zeros(&[24, 88]))));
    copy.fails(&[
        "model.safetensors",
        name,
        "shape is [24, 88], expected [88, 24]",
    ]);
}

#[test]
fn tensor_of_another_type() {
    let copy = Copy::of(V3);
    let ids = zeros(&[64]).to_dtype(DType::U32).unwrap();
    copy.edit_tensors(|tensors| drop(tensors.insert("model.norm.weight".into(), ids)));
    copy.fails(&[
        "model.norm.weight",
        "dtype is U32, expected F32, BF16, F16, F64, or F8_E4M3 with scales",
    ]);
}

#[test]
fn unknown_tensor() {
    for (checkpoint, name) in [
        (V3, "model.layers.1.self_attn.indexer.wk.weight"),
        (V3, "model.layers.2.mlp.experts.8.up_proj.weight"),
        ("v3_yarn", "lm_head.weight"),
    ] {
        let copy = Copy::of(checkpoint);
        copy.edit_tensors(|tensors| drop(tensors.insert(name.into(), zeros(&[96, 64]))));
        copy.fails(&["model.safetensors", name, "no place"]);
    }
}

#[test]
fn tensors_without_a_part_in_the_logits_are_left_out() {
    let copy = Copy::of(V3);
    copy.edit_tensors(|tensors| {
        tensors.insert("model.layers.3.eh_proj.weight".into(), zeros(&[64, 128]));
        tensors.insert(
            "model.layers.0.self_attn.rotary_emb.inv_freq".into(),
            zeros(&[8]),
        );
    });
    Model::load(copy.0.path(), &Device::Cpu).unwrap();
}

#[test]
fn unknown_routing() {
    for (checkpoint, field, value, expected) in [
        (V3, "scoring_func", "tanh", "sigmoid or softmax"),
        (V3, "scoring_func", "softmax", "`topk_method` is noaux_tc"),
        (
            V3,
            "topk_method",
            "greedy",
            "noaux_tc, as scores are of sigmoid",
        ),
        (
            "v2_greedy",
            "topk_method",
            "random",
            "greedy or group_limited_greedy",
        ),
    ] {
        let copy = Copy::of(checkpoint);
        copy.set(field, value.into());
        if field == "scoring_func" && value == "softmax" {
            copy.set("topk_method", "noaux_tc".into());
        }
        copy.config_fails(&["config.json", value, expected]);
    }
    let copy = Copy::of("v2_greedy");
    copy.set("norm_topk_prob", true.into());
    copy.config_fails(&["`norm_topk_prob` is true, expected false"]);
}

#[test]
fn unknown_parts() {
    for (field, value, found) in [
        (
            "hidden_act",
            json!("gelu"),
            "`hidden_act` is gelu, expected silu",
        ),
        ("model_type", json!("llama"), "`model_type` is llama"),
        ("moe_layer_freq", json!(2), "`moe_layer_freq` is 2"),
        ("mlp_bias", json!(true), "`mlp_bias` is true"),
        (
            "quantization_config",
            json!({"quant_method": "fp8"}),
            "`quantization_config`",
        ),
        (
            "rope_scaling",
            json!({"type": "linear", "factor": 2}),
            "`rope_type` is linear",
        ),
        (
            "partial_rotary_factor",
            json!(0.5),
            "`partial_rotary_factor` is 0.5",
        ),
    ] {
        let copy = Copy::of(V3);
        copy.set(field, value);
        copy.config_fails(&["config.json", found]);
    }
}

#[test]
fn contradictory_sizes() {
    for (field, value, found) in [
        ("hidden_size", json!(0), "`hidden_size` is 0, expected 1 to"),
        (
            "kv_lora_rank",
            json!(1_u64 << 40),
            "`kv_lora_rank` is 1099511627776",
        ),
        (
            "num_key_value_heads",
            json!(2),
            "`num_key_value_heads` is 2, expected 4",
        ),
        (
            "qk_rope_head_dim",
            json!(15),
            "`qk_rope_head_dim` is 15, expected an even number",
        ),
        (
            "n_group",
            json!(3),
            "`n_group` is 3, expected a divisor of the 8 experts",
        ),
        ("n_group", json!(8), "with 2 or more in a group"),
        ("n_group", Value::Null, "`n_group` is absent"),
        (
            "topk_group",
            json!(5),
            "`topk_group` is 5, expected at most 4",
        ),
        (
            "num_experts_per_tok",
            json!(5),
            "expected at most 4, the experts of 2 groups",
        ),
        (
            "n_routed_experts",
            Value::Null,
            "`n_routed_experts` is absent",
        ),
        ("n_shared_experts", json!(u64::MAX), "`n_shared_experts`"),
        (
            "routed_scaling_factor",
            json!(-1.0),
            "`routed_scaling_factor` is -1",
        ),
        ("rms_norm_eps", json!(-1e-6), "`rms_norm_eps`"),
        // Zero, in f32.
        ("rms_norm_eps", json!(1e-60), "`rms_norm_eps`"),
        (
            "routed_scaling_factor",
            json!(1e300),
            "`routed_scaling_factor`",
        ),
        ("hc_mult", json!(65), "`hc_mult` is 65, expected 1 to 64"),
        ("hc_mult", json!(0), "`hc_mult` is 0"),
        (
            "rope_scaling",
            json!({"type": "yarn"}),
            "`factor` is absent",
        ),
        (
            "rope_scaling",
            json!({"rope_theta": 1}),
            "`rope_theta` is 1",
        ),
        (
            "rope_scaling",
            json!({"type": "yarn", "factor": 0.5}),
            "`factor` is 0.5",
        ),
        (
            "rope_scaling",
            json!({"type": "yarn", "factor": 2, "original_max_position_embeddings": 0}),
            "`original_max_position_embeddings` is 0",
        ),
    ] {
        let copy = Copy::of(V3);
        copy.set(field, value);
        copy.config_fails(&["config.json", found]);
    }
}

#[test]
fn broken_json() {
    for (text, found) in [
        (&b"{\"hidden_size\": 64,"[..], "line 1"),
        (b"{\"model_type\": \"deepseek_v3\"}", "missing field"),
        (b"[]", "config.json"),
        (b"\xff\xfe", "config.json"),
    ] {
        let copy = Copy::of(V3);
        fs::write(copy.path("config.json"), text).unwrap();
        copy.config_fails(&["config.json", found]);
    }
    let copy = Copy::of(V3);
    copy.set("hidden_size", "64".into());
    copy.config_fails(&["config.json", "invalid type"]);
    fs::remove_file(copy.path("config.json")).unwrap();
    copy.config_fails(&["config.json", "No such file"]);
}

#[test]
fn no_tensors() {
    let copy = Copy::of(V3);
    copy.config_fails(&["no tensor `model.embed_tokens.weight`"]);
}

#[test]
fn damaged_header() {
    let path = |copy: &Copy| copy.path("model.safetensors");
    for (bytes, found) in [
        (&b""[..], "the file is empty"),
        (
            &[255; 64],
            "its length is 18446744073709551615 bytes, at most 56",
        ),
        (b"\x03\0\0\0\0\0\0\0{\"a", "EOF"),
    ] {
        let copy = Copy::of(V3);
        fs::write(path(&copy), bytes).unwrap();
        copy.fails(&["model.safetensors", found]);
    }
    let copy = Copy::of(V3);
    let whole = fs::read(path(&copy)).unwrap();
    fs::write(path(&copy), &whole[..whole.len() - 1]).unwrap();
    copy.fails(&["model.safetensors", "header and tensors take"]);
}

#[test]
fn damaged_index() {
    const INDEX: &str = "model.safetensors.index.json";
    const TENSOR: &str = "model.norm.weight";
    let cases: [(Value, &[&str]); 3] = [
        (
            json!("../model.safetensors"),
            &["the index names a file outside the checkpoint"],
        ),
        (
            json!("model-00001-of-00005.safetensors"),
            &[TENSOR, "model-00001", "the index says"],
        ),
        (
            json!("model-00006-of-00005.safetensors"),
            &["model-00006", "No such file"],
        ),
    ];
    for (file, found) in cases {
        let copy = Copy::of("v2_limited");
        copy.edit(INDEX, |index| index["weight_map"][TENSOR] = file);
        copy.fails(found);
    }
    let copy = Copy::of("v2_limited");
    copy.edit(INDEX, |index| drop(index["weight_map"].take()));
    copy.fails(&[INDEX, "invalid type: null"]);
    let copy = Copy::of("v2_limited");
    let twin = copy.path("model-00006-of-00005.safetensors");
    fs::copy(copy.path("model-00005-of-00005.safetensors"), twin).unwrap();
    copy.edit(INDEX, |index| {
        index["weight_map"].as_object_mut().unwrap().remove(TENSOR);
        index["weight_map"]["other"] = "model-00006-of-00005.safetensors".into();
    });
    copy.fails(&[
        TENSOR,
        "model-00005",
        "model-00006",
        "the index names none of them",
    ]);
}

/// DeepSeek's own files have the rotation at other places than those transformers writes now.
#[test]
fn both_ways_to_write_the_rotation_are_the_same() {
    let copy = Copy::of("v3_yarn");
    let new = Config::from_file(copy.path("config.json")).unwrap();
    copy.edit("config.json", |config| {
        let mut scaling = config["rope_parameters"].take();
        config["rope_theta"] = scaling["rope_theta"].take();
        scaling["type"] = scaling["rope_type"].take();
        config["rope_scaling"] = scaling;
    });
    assert_eq!(Config::from_file(copy.path("config.json")).unwrap(), new);
}
