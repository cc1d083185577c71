//! Training lowers the loss, the same way each time, and goes on where it was stopped.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{collections::BTreeMap, fs, path::Path};

use candle_core::{Device, Tensor, safetensors};
use engram_train::{Corpus, EngramRecipe, Error, Preset, Recipe, SAMPLE, Texts, Trainer};

/// A part of the sample that is quickly learned from.
fn corpus() -> Corpus {
    let texts = Texts::split(&[SAMPLE[..60_000].to_owned()], 0.1, 1).unwrap();
    Corpus::new(&texts, 400).unwrap()
}

fn recipe() -> Recipe {
    Recipe {
        hidden: 24,
        layers: 2,
        heads: 2,
        head: 8,
        rotated: 4,
        latent: 8,
        experts: 4,
        inner: 16,
        engram: Some(EngramRecipe {
            layers: vec![0, 1],
            max_order: 3,
            heads: 2,
            width: 4,
            rows: 4000,
        }),
        sequences: 4,
        window: 24,
        steps: 12,
        warmup: 2,
        rate: 1e-2,
        measured: 240,
        ..Preset::Tiny.recipe()
    }
}

fn steps(trainer: &mut Trainer<'_>, count: usize) {
    for _ in 0..count {
        trainer.step().unwrap();
    }
}

/// All that a state has.
fn state(trainer: &Trainer<'_>) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    trainer.save(&path).unwrap();
    fs::read(path).unwrap()
}

fn weights(folder: &Path) -> BTreeMap<String, Vec<f32>> {
    let tensors = safetensors::load(folder.join("model.safetensors"), &Device::Cpu).unwrap();
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1().unwrap();
    tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), values(tensor)))
        .collect()
}

#[test]
fn steps_lower_the_loss_the_same_way_each_time() {
    let corpus = corpus();
    for recipe in [
        recipe(),
        Recipe {
            engram: None,
            ..recipe()
        },
    ] {
        let mut first = Trainer::new(recipe.clone(), &corpus, &Device::Cpu).unwrap();
        let untrained = first.measure().unwrap();
        steps(&mut first, 12);
        assert!(first.is_done());
        let losses: Vec<f64> = first.steps().iter().map(|step| step.loss).collect();
        assert!(losses[11] < losses[0] - 0.2, "{losses:?}");
        let trained = first.measure().unwrap();
        assert!(
            trained.loss < untrained.loss - 0.2,
            "{trained:?} {untrained:?}"
        );
        assert_eq!((trained.tokens, untrained.tokens), (240, 240));
        let bits = trained.loss * 240.0 / std::f64::consts::LN_2;
        #[expect(clippy::cast_precision_loss, reason = "few bytes")]
        let bytes = trained.bytes as f64;
        assert!((trained.bits_per_byte - bits / bytes).abs() < 1e-9);

        let mut second = Trainer::new(recipe.clone(), &corpus, &Device::Cpu).unwrap();
        steps(&mut second, 12);
        assert!(state(&first) == state(&second), "another state");
        let mut other = Trainer::new(Recipe { seed: 1, ..recipe }, &corpus, &Device::Cpu).unwrap();
        assert_ne!(other.step().unwrap().loss, losses[0]);
    }
}

#[test]
fn a_resumed_training_equals_an_uninterrupted_one_to_the_bit() {
    let corpus = corpus();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let mut whole = Trainer::new(recipe(), &corpus, &Device::Cpu).unwrap();
    steps(&mut whole, 8);
    let mut begun = Trainer::new(recipe(), &corpus, &Device::Cpu).unwrap();
    steps(&mut begun, 5);
    begun.save(&path).unwrap();
    drop(begun);
    let mut resumed = Trainer::new(recipe(), &corpus, &Device::Cpu).unwrap();
    resumed.restore(&path).unwrap();
    assert_eq!(resumed.steps(), &whole.steps()[..5]);
    steps(&mut resumed, 3);
    assert!(state(&resumed) == state(&whole), "another state");
}

#[test]
fn only_rows_that_were_read_move() {
    let corpus = corpus();
    let mut trainer = Trainer::new(recipe(), &corpus, &Device::Cpu).unwrap();
    let before: Vec<Vec<f32>> = trainer
        .tables()
        .iter()
        .map(|table| table.values().to_vec())
        .collect();
    trainer.step().unwrap();
    for (table, before) in trainer.tables().iter().zip(before) {
        let rows = table.values().chunks(4).zip(before.chunks(4));
        let moved = rows.filter(|(now, before)| now != before).count();
        assert_eq!(moved, table.touched());
        // 96 tokens of four columns, many more than once.
        assert!((20..=384).contains(&moved), "{moved} of {}", table.rows());
    }
}

#[test]
fn corrections_move_and_experts_share_the_work() {
    let corpus = corpus();
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = Trainer::new(recipe(), &corpus, &Device::Cpu).unwrap();
    steps(&mut trainer, 3);
    assert!(trainer.steps().iter().all(|step| step.imbalance > 1.0));
    trainer.export(folder.path()).unwrap();
    for layer in 0..2 {
        let name = format!("model.layers.{layer}.mlp.gate.e_score_correction_bias");
        let correction = &weights(folder.path())[&name];
        assert!(
            correction.iter().all(|of| of.abs() < 0.0301),
            "{correction:?}"
        );
        assert!(
            correction.iter().any(|of| of.abs() > 0.005),
            "{correction:?}"
        );
    }
}

fn is_of_state(error: &Error) -> bool {
    use Error::{StateDigest, StateFile, StateMetadata};
    matches!(
        error,
        StateFile { .. } | StateMetadata { .. } | StateDigest { .. }
    )
}

#[test]
fn other_trainings_and_damaged_states_are_named() {
    let corpus = corpus();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let mut trainer = Trainer::new(recipe(), &corpus, &Device::Cpu).unwrap();
    trainer.step().unwrap();
    trainer.save(&path).unwrap();

    let other = Recipe {
        experts: 6,
        ..recipe()
    };
    let error = Trainer::new(other, &corpus, &Device::Cpu)
        .unwrap()
        .restore(&path)
        .unwrap_err();
    assert!(
        matches!(&error, Error::Resume { field, found, .. } if field == "experts" && found == "4"),
        "{error}"
    );
    let texts = Texts::split(&[SAMPLE[..50_000].to_owned()], 0.1, 1).unwrap();
    let other = Corpus::new(&texts, 400).unwrap();
    let error = Trainer::new(recipe(), &other, &Device::Cpu)
        .unwrap()
        .restore(&path)
        .unwrap_err();
    assert!(error.to_string().contains("the corpus"), "{error}");

    let bytes = fs::read(&path).unwrap();
    let before = state(&trainer);
    for damage in [0, 9, bytes.len() / 2, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[damage] ^= 0x10;
        fs::write(&path, damaged).unwrap();
        let error = trainer.restore(&path).unwrap_err();
        assert!(is_of_state(&error), "byte {damage}: {error}");
    }
    fs::write(&path, &bytes[..bytes.len() - 100]).unwrap();
    assert!(is_of_state(&trainer.restore(&path).unwrap_err()));
    assert!(matches!(
        trainer.restore(&folder.path().join("none")),
        Err(Error::Io(_))
    ));
    assert!(state(&trainer) == before, "another state");
}

#[test]
fn senseless_recipes_are_refused() {
    let corpus = corpus();
    let refused = |recipe: Recipe, expected: &str| {
        let error = Trainer::new(recipe, &corpus, &Device::Cpu)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(
        Recipe {
            window: 0,
            ..recipe()
        },
        "window is 0",
    );
    refused(
        Recipe {
            rate: f64::NAN,
            ..recipe()
        },
        "rate is NaN",
    );
    refused(
        Recipe {
            decay: 1.0,
            ..recipe()
        },
        "decay is 1",
    );
    refused(
        Recipe {
            chosen: 5,
            ..recipe()
        },
        "num_experts_per_tok",
    );
    refused(
        Recipe {
            rotated: 3,
            ..recipe()
        },
        "qk_rope_head_dim",
    );
    let mut layers = recipe();
    layers.engram.as_mut().unwrap().layers = vec![2];
    refused(layers, "below the 2 layers");
    let mut trainer = Trainer::new(
        Recipe {
            window: 40_000,
            ..recipe()
        },
        &corpus,
        &Device::Cpu,
    )
    .unwrap();
    assert!(
        trainer
            .step()
            .unwrap_err()
            .to_string()
            .contains("to learn from")
    );
}

#[test]
fn experts_become_as_many_numbers_in_rows() {
    let corpus = corpus();
    let base = Recipe {
        experts: 12,
        hidden: 32,
        inner: 32,
        ..recipe()
    };
    let total = |share: f64| {
        let recipe = base.allocated(share).unwrap();
        let trainer = Trainer::new(recipe, &corpus, &Device::Cpu).unwrap();
        (trainer.recipe().experts, trainer.parameters())
    };
    let (experts, all) = total(1.0);
    assert_eq!((experts, all.rows, all.blocks), (12, 0, 0));
    for (share, expected) in [(0.8, 10), (0.5, 7)] {
        let (experts, parameters) = total(share);
        assert_eq!(experts, expected);
        assert_eq!(parameters.chosen_experts, all.chosen_experts);
        // Columns are a little larger than asked for.
        let apart = parameters.total().abs_diff(all.total());
        assert!(apart * 50 < all.total(), "{apart} of {}", all.total());
    }
    let refused = |base: &Recipe, share: f64, expected: &str| {
        let error = base.allocated(share).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(&base, 1.1, "share of experts is 1.1");
    let small = Recipe {
        inner: 1,
        ..base.clone()
    };
    refused(&small, 0.9, "leave for rows");
    let without = Recipe {
        engram: None,
        ..base.clone()
    };
    refused(&without, 0.5, "engram is none");
}
