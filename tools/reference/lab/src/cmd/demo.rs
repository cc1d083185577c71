use std::{num::NonZeroUsize, path::Path, sync::Arc, time::Instant};

use anyhow::{Result, anyhow, ensure};
use candle_core::Device;
use engram::{Config, Reader, Store};
use engram_checkpoint::Checkpoint;
use engram_kit::{envelope::Outcome, say};
use engram_model::{EngramBlocks, Generator, LayerHook, Model, Options, Sampling};
use engram_pack::{BuildOptions, VerifyOptions, attach, build, verify};
use engram_train::{Corpus, Preset, Trainer};

use crate::training::{self, Verbosity};

const PROMPT: &str = "And Jesus answered and said unto them,";
const TOKENS: usize = 48;

/// Train a tiny model, pack its tables, and generate from the pack, the checkpoint and the trainer: all the same
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Steps of the training
    #[arg(long, value_name = "COUNT")]
    steps: Option<usize>,
}

/// What a model generated with rows from one source.
#[derive(Debug, PartialEq)]
struct Given {
    tokens: Vec<u32>,
    /// Logits after the prompt and all tokens, as the bits of f32.
    logits: Vec<u32>,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let start = Instant::now();
        let folder = tempfile::Builder::new().prefix("engram-demo-").tempdir()?;
        let mut recipe = Preset::Tiny.recipe();
        recipe.steps = self.steps.unwrap_or(recipe.steps);
        let texts = training::texts(&[])?;
        let corpus = Corpus::new(&texts, recipe.vocabulary)?;
        training::print_corpus(&texts, &corpus)?;
        let mut trainer = Trainer::new(recipe, &corpus, &Device::Cpu)?;
        training::print_parameters(&trainer.parameters())?;
        training::run(&mut trainer, None, Verbosity::Progress)?;
        training::print_held_out(&trainer.measure()?)?;

        let (checkpoint, pack) = (folder.path().join("checkpoint"), folder.path().join("pack"));
        let attached = folder.path().join("attached");
        trainer.export(&checkpoint)?;
        make_packs(&checkpoint, &pack, &attached)?;

        let prompt = corpus.vocabulary().tokenizer().encode(PROMPT, true);
        let prompt = prompt.map_err(|error| anyhow!("cannot encode the prompt: {error}"))?;
        let prompt = prompt.get_ids();
        let model = Model::load(&checkpoint, &Device::Cpu)?;
        let mut recall = [trainer.session(1)?, trainer.session(1)?];
        let [made, read] = &mut recall;
        let expected = given(&trainer.model()?, prompt, [made, read])?;
        let from_packs = [
            ("the pack, in memory", &pack, Reader::Memory),
            ("the pack, from the drive", &pack, Reader::Direct),
            ("the checkpoint's own files", &attached, Reader::Pread),
        ];
        for (name, pack, reader) in from_packs {
            let store = Arc::new(Store::open(pack, Config::new().reader(reader))?);
            let engram = EngramBlocks::load(&checkpoint, store, &Device::Cpu)?;
            let memories = [&mut engram.session(1), &mut engram.session(1)];
            let found = given(&model, prompt, memories)?;
            ensure!(
                found.tokens == expected.tokens,
                "rows from {name} give the tokens {:?}, the trainer's {:?}",
                found.tokens,
                expected.tokens
            );
            ensure!(
                found.logits == expected.logits,
                "rows from {name} give other logits than the trainer's"
            );
            say!(
                "rows from {name}: {} tokens and {} logits, all as the trainer's own",
                found.tokens.len(),
                found.logits.len()
            );
        }
        let text = corpus
            .vocabulary()
            .tokenizer()
            .decode(&expected.tokens, true);
        let text = text.map_err(|error| anyhow!("cannot decode: {error}"))?;
        say!("\n{PROMPT}{text}\n");
        say!(
            "done in {:.0} s, folder removed",
            start.elapsed().as_secs_f64()
        );
        Ok(Outcome::default())
    }
}

fn make_packs(checkpoint: &Path, pack: &Path, attached: &Path) -> Result<()> {
    let opened = Checkpoint::open(checkpoint, None)?;
    let built = build(&opened, pack, &BuildOptions::default(), &|_| ())?;
    say!(
        "packed {} rows into {} shards in {:.2} s",
        built.rows,
        built.shards,
        built.seconds
    );
    let verified = verify(pack, &VerifyOptions::default(), &|_| ())?;
    ensure!(
        verified.damage.is_empty() && verified.unread.is_empty(),
        "damaged: {:?}, cannot be read: {:?}",
        verified.damage,
        verified.unread
    );
    say!("verified {} records, none damaged", verified.records);
    attach(&opened, attached)?;
    Ok(())
}

/// Continues `prompt` token by token with `made`, then computes all tokens at once with `read`.
fn given<M: LayerHook>(model: &Model, prompt: &[u32], [made, read]: [&mut M; 2]) -> Result<Given> {
    let vocabulary = model.config().vocab_size();
    let options = Options {
        chunk: NonZeroUsize::MIN.saturating_add(15),
        max_tokens: TOKENS,
        stop: model.config().eos_tokens().to_vec(),
        vocabulary: NonZeroUsize::new(vocabulary).expect("a vocabulary has tokens"),
        sampling: Sampling::Random {
            temperature: 0.7,
            top_k: 0,
            top_p: 0.95,
            seed: 1,
        },
    };
    let mut generator = Generator::new(model, made, &[prompt], options)?;
    while !generator.is_done() {
        generator.step(made)?;
    }
    let tokens = generator.made().next().unwrap_or_default().to_vec();
    let all = [prompt, &tokens].concat();
    let logits = model.forward(&[&all], &mut model.cache(1), read)?;
    let logits = logits[0].flatten_all()?.to_vec1::<f32>()?;
    Ok(Given {
        tokens,
        logits: logits.into_iter().map(f32::to_bits).collect(),
    })
}
