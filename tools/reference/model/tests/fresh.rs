//! Models that have learned nothing.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use candle_core::{Device, Tensor, safetensors};
use engram_model::{Config, LayerTimes, Model};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn fresh_tensors_are_those_of_a_checkpoint_and_repeat() {
    for name in ["v3_grouped", "hyper"] {
        let config = Config::from_file(golden(name).join("config.json")).unwrap();
        let fresh = Model::fresh_tensors(&config, 7).unwrap();
        let trained =
            safetensors::load(golden(name).join("model.safetensors"), &Device::Cpu).unwrap();
        assert_eq!(fresh.len(), trained.len());
        let again = Model::fresh_tensors(&config, 7).unwrap();
        let other = Model::fresh_tensors(&config, 8).unwrap();
        for (name, tensor) in &fresh {
            assert_eq!(tensor.dims(), trained[name].dims(), "{name}");
            assert_eq!(values(tensor), values(&again[name]), "{name}");
        }
        let head = "lm_head.weight";
        assert_ne!(values(&fresh[head]), values(&other[head]));
    }
}

#[test]
fn a_fresh_model_runs_and_its_layers_can_be_timed() {
    let folder = tempfile::tempdir().unwrap();
    let config = golden("hyper").join("config.json");
    fs::copy(&config, folder.path().join("config.json")).unwrap();
    let config = Config::from_file(config).unwrap();
    let fresh = Model::fresh_tensors(&config, 1).unwrap();
    let fresh: HashMap<String, Tensor> = fresh.into_iter().collect();
    safetensors::save(&fresh, folder.path().join("model.safetensors")).unwrap();
    let model = Model::load(folder.path(), &Device::Cpu).unwrap();
    let mut profile = LayerTimes::new((), config.layers());
    assert_eq!(profile.layers(), [Duration::ZERO; 3]);
    let logits = model
        .forward(&[&[1, 2, 3]], &mut model.cache(1), &mut profile)
        .unwrap();
    let logits = values(&logits[0]);
    let size = logits.iter().map(|logit| logit * logit).sum::<f32>() / 288.0;
    assert!((0.3..3.0).contains(&size), "mean square {size}");
    assert!(profile.layers().iter().all(|time| !time.is_zero()));
    profile.reset();
    assert_eq!(profile.layers(), [Duration::ZERO; 3]);
}
