//! A trained model is read by others as it was trained.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{num::NonZeroUsize, path::Path, sync::Arc};

use candle_core::{Device, Tensor};
use engram::{Config, Reader, Store};
use engram_checkpoint::Checkpoint;
use engram_model::{EngramBlocks, Generator, LayerHook, Model, Options, Sampling};
use engram_pack::{BuildOptions, VerifyOptions, attach, build, verify};
use engram_train::{Corpus, EngramRecipe, Preset, Recipe, SAMPLE, Texts, Trainer};

fn corpus() -> Corpus {
    let texts = Texts::split(&[SAMPLE[..40_000].to_owned()], 0.1, 1).unwrap();
    Corpus::new(&texts, 350).unwrap()
}

fn recipe() -> Recipe {
    Recipe {
        hidden: 16,
        layers: 3,
        heads: 2,
        head: 8,
        rotated: 4,
        latent: 8,
        experts: 3,
        inner: 16,
        engram: Some(EngramRecipe {
            layers: vec![0, 2],
            max_order: 4,
            heads: 2,
            width: 4,
            rows: 3000,
        }),
        sequences: 2,
        window: 20,
        steps: 6,
        warmup: 1,
        ..Preset::Tiny.recipe()
    }
}

fn logits(model: &Model, tokens: &[&[u32]], memory: &mut dyn LayerHook) -> Vec<Vec<u32>> {
    let logits = model
        .forward(tokens, &mut model.cache(tokens.len()), memory)
        .unwrap();
    let bits = |logits: Tensor| {
        let values = logits.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    };
    logits.into_iter().map(bits).collect()
}

fn store(pack: &Path, reader: Reader) -> Arc<Store> {
    Arc::new(Store::open(pack, Config::new().reader(reader)).unwrap())
}

#[test]
fn a_pack_the_checkpoint_and_the_trainer_give_the_same_logits_to_the_bit() {
    let corpus = corpus();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut trainer = Trainer::new(recipe(), &corpus, &Device::Cpu).unwrap();
    while !trainer.is_done() {
        trainer.step().unwrap();
    }
    trainer.export(&at("checkpoint")).unwrap();
    let checkpoint = Checkpoint::open(&at("checkpoint"), None).unwrap();
    build(&checkpoint, &at("pack"), &BuildOptions::default(), &|_| ()).unwrap();
    let verified = verify(&at("pack"), &VerifyOptions::default(), &|_| ()).unwrap();
    assert!(verified.damage.is_empty() && verified.records > 3000);
    attach(&checkpoint, &at("attached")).unwrap();

    let model = Model::load(at("checkpoint"), &Device::Cpu).unwrap();
    let held_out = corpus.held_out();
    // Of different lengths: some positions stand in for tokens that are not there.
    let tokens = [&held_out[..31], &held_out[40..52], &held_out[60..61]];
    let own = logits(
        &trainer.model().unwrap(),
        &tokens,
        &mut trainer.session(3).unwrap(),
    );
    assert_ne!(
        own,
        logits(&model, &tokens, &mut ()),
        "rows make no difference"
    );
    for (pack, reader) in [
        ("pack", Reader::Memory),
        ("pack", Reader::Direct),
        ("attached", Reader::Pread),
    ] {
        let engram =
            EngramBlocks::load(at("checkpoint"), store(&at(pack), reader), &Device::Cpu).unwrap();
        let found = logits(&model, &tokens, &mut engram.session(3));
        assert!(found == own, "{pack} by {reader:?}");
    }
}

#[test]
fn the_trainer_generates_as_a_pack_does() {
    let corpus = corpus();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut trainer = Trainer::new(recipe(), &corpus, &Device::Cpu).unwrap();
    trainer.step().unwrap();
    trainer.export(&at("checkpoint")).unwrap();
    let checkpoint = Checkpoint::open(&at("checkpoint"), None).unwrap();
    build(&checkpoint, &at("pack"), &BuildOptions::default(), &|_| ()).unwrap();
    let model = Model::load(at("checkpoint"), &Device::Cpu).unwrap();
    let engram = EngramBlocks::load(
        at("checkpoint"),
        store(&at("pack"), Reader::Memory),
        &Device::Cpu,
    )
    .unwrap();
    let prompts = [&corpus.held_out()[..17], &corpus.held_out()[20..25]];
    let made = |model: &Model, memory: &mut dyn LayerHook| -> Vec<Vec<u32>> {
        let options = Options {
            chunk: NonZeroUsize::new(7).unwrap(),
            max_tokens: 12,
            stop: Vec::new(),
            vocabulary: NonZeroUsize::new(350).unwrap(),
            sampling: Sampling::Random {
                temperature: 1.0,
                top_k: 0,
                top_p: 1.0,
                seed: 3,
            },
        };
        let mut generator = Generator::new(model, memory, &prompts, options).unwrap();
        while !generator.is_done() {
            generator.step(memory).unwrap();
        }
        generator.made().map(<[u32]>::to_vec).collect()
    };
    let own = made(&trainer.model().unwrap(), &mut trainer.session(2).unwrap());
    assert_eq!(own, made(&model, &mut engram.session(2)));
}

#[test]
fn a_model_without_engram_is_a_checkpoint_as_well() {
    let corpus = corpus();
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe {
        engram: None,
        ..recipe()
    };
    let mut trainer = Trainer::new(recipe, &corpus, &Device::Cpu).unwrap();
    trainer.step().unwrap();
    trainer.export(folder.path()).unwrap();
    let model = Model::load(folder.path(), &Device::Cpu).unwrap();
    let tokens = [&corpus.held_out()[..9]];
    assert_eq!(
        logits(&model, &tokens, &mut ()),
        logits(
            &trainer.model().unwrap(),
            &tokens,
            &mut trainer.session(1).unwrap()
        )
    );
}
