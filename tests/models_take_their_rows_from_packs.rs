//! Whole models with rows from packs give the golden logits, bit for bit the same from every tier.
//!
//! The golden values are of `tools/reference/model/tests/golden/engram_models.py`.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

use candle_core::{DType, Device, Tensor};
use engram::{Config, Reader, Resident, Store, ValueType};
use engram_checkpoint::Checkpoint;
use engram_cuda::{Ring, RingConfig};
use engram_model::{Cache, EngramBlocks, Error, Generator, LayerHook, Model, Options, Sampling};
use engram_pack::attach;
use engram_tests::{READERS, make_pack};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use tempfile::TempDir;

const MODELS: [&str; 3] = ["engram_v41", "engram_demo", "engram_qwen"];
/// Against f64; the logits have a deviation of about one.
const LIMIT: f32 = 1e-4;
/// Tokens of each golden sequence.
const TOKENS: usize = 23;

/// A golden model and a pack of its tables.
struct Golden {
    folder: PathBuf,
    packs: TempDir,
    model: Model,
    ids: Vec<Vec<u32>>,
    /// `[tokens, vocabulary]` for each sequence.
    logits: Vec<Tensor>,
}

impl Golden {
    fn new(name: &str) -> Self {
        let golden =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/reference/model/tests/golden");
        let folder = golden.join(name);
        let packs = tempfile::tempdir().unwrap();
        make_pack(&folder, &packs.path().join("pack"));
        let tensors =
            candle_core::safetensors::load(folder.join("golden.safetensors"), &Device::Cpu)
                .unwrap();
        let ids = tensors["input_ids"].to_dtype(DType::U32).unwrap();
        let logits = &tensors["logits"];
        Self {
            model: Model::load(&folder, &Device::Cpu).unwrap(),
            ids: ids.to_vec2().unwrap(),
            logits: (0..logits.dim(0).unwrap())
                .map(|sequence| logits.get(sequence).unwrap())
                .collect(),
            packs,
            folder,
        }
    }

    fn pack(&self) -> PathBuf {
        self.packs.path().join("pack")
    }

    fn engram(&self, config: Config) -> EngramBlocks {
        let store = Arc::new(Store::open(self.pack(), config).unwrap());
        EngramBlocks::load(&self.folder, store, &Device::Cpu).unwrap()
    }

    fn attached(&self, reader: Reader) -> EngramBlocks {
        let pack = self.packs.path().join("attached");
        if !pack.exists() {
            attach(&Checkpoint::open(&self.folder, None).unwrap(), &pack).unwrap();
        }
        let store = Arc::new(Store::open(pack, Config::new().reader(reader)).unwrap());
        EngramBlocks::load(&self.folder, store, &Device::Cpu).unwrap()
    }

    fn sequences(&self) -> usize {
        self.ids.len()
    }

    fn tokens(&self) -> Vec<&[u32]> {
        self.ids.iter().map(Vec::as_slice).collect()
    }

    fn whole(&self, memory: &mut dyn LayerHook) -> Vec<Tensor> {
        let mut cache = self.model.cache(self.sequences());
        self.model
            .forward(&self.tokens(), &mut cache, memory)
            .unwrap()
    }

    /// How far logits from the token at `start` on are from the golden ones.
    fn apart(&self, sequence: usize, start: usize, logits: &Tensor) -> f32 {
        let count = logits.dim(0).unwrap();
        if count == 0 {
            return 0.0;
        }
        let golden = self.logits[sequence].narrow(0, start, count).unwrap();
        let apart = (logits - golden).unwrap().abs().unwrap();
        let values = apart.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        values.into_iter().fold(0.0, worse)
    }

    fn all_apart(&self, logits: &[Tensor]) -> f32 {
        let apart = logits.iter().enumerate();
        apart
            .map(|(s, logits)| self.apart(s, 0, logits))
            .fold(0.0, worse)
    }

    /// One pass of `counts[s]` more tokens of each sequence, which must be the golden ones.
    fn pass(&self, counts: &[usize], cache: &mut Cache, memory: &mut dyn LayerHook) {
        let start = cache.lens();
        let tokens = self.following(&start, counts);
        let logits = self.model.forward(&tokens, cache, memory).unwrap();
        for (s, logits) in logits.iter().enumerate() {
            let apart = self.apart(s, start[s], logits);
            assert!(apart < LIMIT, "{apart} apart after {start:?}");
        }
    }

    fn following(&self, start: &[usize], counts: &[usize]) -> Vec<&[u32]> {
        let each = self.ids.iter().zip(start).zip(counts);
        each.map(|((ids, &start), &count)| &ids[start..start + count])
            .collect()
    }
}

/// The greater; not a number, if one of them is.
fn worse(most: f32, one: f32) -> f32 {
    if one <= most { most } else { one }
}

fn bits(logits: &[Tensor]) -> Vec<u32> {
    let values = logits
        .iter()
        .map(|of| of.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    values.flatten().map(f32::to_bits).collect()
}

fn direct() -> Config {
    Config::new().reader(Reader::Direct)
}

#[test]
fn logits_are_golden_and_bit_identical_from_every_tier() {
    for name in MODELS {
        let golden = Golden::new(name);
        let engram = golden.engram(Config::new().reader(Reader::Memory));
        let first = golden.whole(&mut engram.session(golden.sequences()));
        let apart = golden.all_apart(&first);
        println!("{name}: {apart:.1e} apart");
        assert!(apart < LIMIT, "{name}: {apart} apart");

        let expected = bits(&first);
        let check = |what: &str, engram: &EngramBlocks| {
            // The second time rows are in the cache, where there is one.
            for round in 0..2 {
                let logits = golden.whole(&mut engram.session(golden.sequences()));
                assert!(bits(&logits) == expected, "{name}: {what}, round {round}");
            }
        };
        for reader in READERS {
            check("packed", &golden.engram(Config::new().reader(reader)));
            check("attached", &golden.attached(reader));
        }
        check("no cache", &golden.engram(direct().cache_bytes(0)));
        let resident = direct().resident(Resident::Orders(2));
        check("resident", &golden.engram(resident));
    }
}

/// A ring for passes of all golden tokens, on the stand-in for a GPU.
fn ring(store: &Arc<Store>, depth: usize, value_type: ValueType) -> Arc<Ring> {
    let rows = 3 * TOKENS * store.scheme().column_count();
    let config = RingConfig::new(rows).depth(depth).value_type(value_type);
    Arc::new(Ring::new(&engram_cuda::Device::host(), store.clone(), &config).unwrap())
}

#[test]
fn a_ring_brings_the_same_values() {
    for name in MODELS {
        let golden = Golden::new(name);
        let memory = golden.engram(Config::new().reader(Reader::Memory));
        let expected = bits(&golden.whole(&mut memory.session(golden.sequences())));
        for depth in [1, 2] {
            let store = Arc::new(Store::open(golden.pack(), direct()).unwrap());
            let ring = ring(&store, depth, ValueType::F32);
            let engram = EngramBlocks::load(&golden.folder, store, &Device::Cpu).unwrap();
            let engram = engram.with_ring(ring.clone()).unwrap();
            let logits = golden.whole(&mut engram.session(golden.sequences()));
            assert!(bits(&logits) == expected, "{name}");

            // Pieces of different lengths, some announced while the ring is full, and tokens that are rejected.
            let mut session = engram.session(3);
            let mut cache = golden.model.cache(3);
            golden.pass(&[5, 1, 0], &mut cache, &mut session);
            let next = golden.following(&[5, 1, 0], &[2, 3, 4]);
            session.announce(&next).unwrap();
            session
                .announce(&golden.following(&[7, 4, 4], &[1; 3]))
                .unwrap();
            golden.pass(&[2, 3, 4], &mut cache, &mut session);
            cache.truncate(0, 6);
            golden.pass(&[3, 0, 1], &mut cache, &mut session);
            let passes: u64 = ring.metrics().iter().map(|layer| layer.passes).sum();
            let refused: u64 = ring.metrics().iter().map(|layer| layer.refused).sum();
            assert!(passes >= 4, "{name}: {passes} passes by way of the ring");
            assert_eq!(refused > 0, depth == 1, "{name}: {refused} refused");
        }
    }
}

#[test]
fn a_ring_of_another_kind_is_refused() {
    let golden = Golden::new("engram_demo");
    let store = Arc::new(Store::open(golden.pack(), direct()).unwrap());
    let load = |store: &Arc<Store>| {
        EngramBlocks::load(&golden.folder, store.clone(), &Device::Cpu).unwrap()
    };
    let refused = load(&store)
        .with_ring(ring(&store, 1, ValueType::Bf16))
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the ring decodes rows to Bf16, expected F32"
    );
    // Even over the same pack: another open store could be of anything.
    let other = Arc::new(Store::open(golden.pack(), direct()).unwrap());
    let refused = load(&store)
        .with_ring(ring(&other, 1, ValueType::F32))
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the ring takes its rows from another store than the blocks"
    );
}

#[test]
fn a_model_without_its_rows_is_another() {
    for name in MODELS {
        let golden = Golden::new(name);
        assert!(golden.all_apart(&golden.whole(&mut ())) > 0.1, "{name}");
    }
}

#[test]
fn pieces_of_different_lengths_give_the_same() {
    for name in MODELS {
        let golden = Golden::new(name);
        let engram = golden.engram(direct());
        let passes: [&[[usize; 3]]; 2] = [
            &[[1; 3]; TOKENS],
            &[[7, 2, 0], [0, 5, 11], [3, 0, 1], [1, 1, 1], [12, 15, 10]],
        ];
        for passes in passes {
            let mut session = engram.session(3);
            let mut cache = golden.model.cache(3);
            for counts in passes {
                golden.pass(counts, &mut cache, &mut session);
            }
            assert_eq!(cache.lens(), [TOKENS; 3]);
            let rows: u64 = session.times().iter().map(|times| times.rows).sum();
            let columns = engram.store().scheme().column_count() as u64;
            let most = 3 * TOKENS as u64 * columns * session.times().len() as u64;
            assert!(rows <= most && rows > most / 2, "{rows} of {most}");
        }
    }
}

#[test]
fn rejected_tokens_leave_no_trace() {
    for name in MODELS {
        let golden = Golden::new(name);
        let engram = golden.engram(direct());
        let (mut session, mut cache) = (engram.session(3), golden.model.cache(3));
        golden.pass(&[9, 8, 7], &mut cache, &mut session);
        // A draft of four tokens, right up to none, one and three of them.
        let mut draft: Vec<Vec<u32>> = golden
            .following(&cache.lens(), &[4; 3])
            .into_iter()
            .map(<[u32]>::to_vec)
            .collect();
        for (draft, kept) in draft.iter_mut().zip([0, 1, 3]) {
            draft[kept..].fill(5);
        }
        let draft: Vec<&[u32]> = draft.iter().map(Vec::as_slice).collect();
        golden
            .model
            .forward(&draft, &mut cache, &mut session)
            .unwrap();
        for (sequence, len) in [9, 9, 10].into_iter().enumerate() {
            cache.truncate(sequence, len);
        }
        golden.pass(&[3, 2, 1], &mut cache, &mut session);
        golden.pass(&[11, 12, 12], &mut cache, &mut session);
        // All can begin again, or one.
        for sequence in 0..3 {
            cache.truncate(sequence, 0);
        }
        golden.pass(&[TOKENS, TOKENS, 5], &mut cache, &mut session);
        cache.truncate(1, 0);
        golden.pass(&[0, TOKENS, 3], &mut cache, &mut session);
    }
}

#[test]
fn a_convolution_cannot_go_back_further_than_its_last_pass() {
    for (name, kept) in [
        ("engram_v41", true),
        ("engram_demo", false),
        ("engram_qwen", false),
    ] {
        let golden = Golden::new(name);
        let engram = golden.engram(direct());
        let (mut session, mut cache) = (engram.session(3), golden.model.cache(3));
        golden.pass(&[15; 3], &mut cache, &mut session);
        golden.pass(&[2; 3], &mut cache, &mut session);
        cache.truncate(1, 14);
        let result = golden.model.forward(
            &golden.following(&cache.lens(), &[1; 3]),
            &mut cache,
            &mut session,
        );
        match result {
            Ok(_) => assert!(kept, "{name}"),
            Err(error) => {
                assert!(!kept, "{name}: {error}");
                let text = "sequence 1 cannot be cut back to 14 tokens";
                assert!(error.to_string().contains(text), "{error}");
                assert!(error.to_string().contains("before token 15"), "{error}");
                assert_eq!(cache.lens(), [17, 14, 17]);
            }
        }
    }
}

#[test]
fn announced_tokens_help_and_do_not_bind() {
    for name in MODELS {
        let golden = Golden::new(name);
        let engram = golden.engram(direct());
        let (mut session, mut cache) = (engram.session(3), golden.model.cache(3));
        let announce = |session: &mut dyn LayerHook, start: [usize; 3], counts: [usize; 3]| {
            session
                .announce(&golden.following(&start, &counts))
                .unwrap();
        };
        announce(&mut session, [0; 3], [4, 3, 2]);
        announce(&mut session, [4, 3, 2], [3, 0, 1]);
        let asked = |session: &engram_model::Session<'_>| session.times()[0].rows;
        let before = asked(&session);
        golden.pass(&[4, 3, 2], &mut cache, &mut session);
        golden.pass(&[3, 0, 1], &mut cache, &mut session);
        assert_eq!(asked(&session), before, "announced rows are asked for once");
        // Others come than those announced.
        announce(&mut session, [10, 10, 10], [5, 5, 5]);
        announce(&mut session, [15, 15, 15], [5, 5, 5]);
        golden.pass(&[4, 4, 4], &mut cache, &mut session);
        announce(&mut session, [11, 7, 7], [2, 2, 2]);
        cache.truncate(0, 9);
        golden.pass(&[2, 2, 2], &mut cache, &mut session);
        golden.pass(&[12, 14, 14], &mut cache, &mut session);
        assert_eq!(cache.lens(), [TOKENS; 3]);
    }
}

#[test]
fn prefill_in_chunks_gives_the_last_logits() {
    let golden = Golden::new("engram_v41");
    let engram = golden.engram(direct());
    let prompts: Vec<&[u32]> = golden.following(&[0; 3], &[TOKENS, 5, 8]);
    for chunk in [1, 3, 8, 100] {
        let (mut session, mut cache) = (engram.session(3), golden.model.cache(3));
        let logits = golden
            .model
            .prefill(
                &prompts,
                NonZeroUsize::new(chunk).unwrap(),
                &mut cache,
                &mut session,
            )
            .unwrap();
        assert_eq!(cache.lens(), [TOKENS, 5, 8]);
        for (sequence, prompt) in prompts.iter().enumerate() {
            let last = logits.narrow(0, sequence, 1).unwrap();
            assert!(golden.apart(sequence, prompt.len() - 1, &last) < LIMIT);
        }
    }
}

#[test]
fn texts_are_the_same_alone_and_in_a_batch() {
    let golden = Golden::new("engram_demo");
    let engram = golden.engram(direct());
    let greedy = Options {
        chunk: NonZeroUsize::new(4).unwrap(),
        max_tokens: 9,
        stop: Vec::new(),
        vocabulary: NonZeroUsize::new(golden.model.config().vocab_size()).unwrap(),
        sampling: Sampling::Greedy,
    };
    let made = |prompts: &[&[u32]], options: &Options| -> Vec<Vec<u32>> {
        let mut session = engram.session(prompts.len());
        let options = options.clone();
        let mut generator = Generator::new(&golden.model, &mut session, prompts, options).unwrap();
        while !generator.is_done() {
            generator.step(&mut session).unwrap();
        }
        generator.made().map(<[u32]>::to_vec).collect()
    };
    let prompts = golden.following(&[0; 3], &[11, 2, 7]);
    let batch = made(&prompts, &greedy);
    for (prompt, together) in prompts.iter().zip(&batch) {
        assert_eq!(together.len(), 9);
        assert_eq!(&made(&[*prompt], &greedy)[0], together);
    }
    // What was made is what the model thinks likeliest.
    let mut text = prompts[0].to_vec();
    text.extend(&batch[0]);
    let logits = golden
        .model
        .forward(&[&text], &mut golden.model.cache(1), &mut engram.session(1))
        .unwrap();
    let likeliest = logits[0].argmax(1).unwrap().to_vec1::<u32>().unwrap();
    assert_eq!(&likeliest[10..19], &batch[0]);
    // A stop token is the last.
    let stop = Options {
        stop: vec![batch[1][3]],
        ..greedy.clone()
    };
    let first = batch[1]
        .iter()
        .position(|token| token == &batch[1][3])
        .unwrap();
    assert_eq!(made(&prompts, &stop)[1], batch[1][..=first]);
    let drawn = Options {
        sampling: Sampling::Random {
            temperature: 2.0,
            top_k: 0,
            top_p: 1.0,
            seed: 3,
        },
        ..greedy
    };
    assert_eq!(made(&prompts, &drawn), made(&prompts, &drawn));
    assert_ne!(made(&prompts, &drawn), batch);
}

/// Checks that the model in `folder` refuses the pack in `pack`, with all of these texts.
fn refuses(folder: &Path, pack: &Path, texts: &[&str]) {
    let store = Arc::new(Store::open(pack, Config::new().reader(Reader::Mmap)).unwrap());
    let error = EngramBlocks::load(folder, store, &Device::Cpu)
        .unwrap_err()
        .to_string();
    for text in texts {
        assert!(error.contains(text), "{text} is not in: {error}");
    }
}

/// A copy of a golden model, to be spoilt.
fn copy(name: &str) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    let golden =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/reference/model/tests/golden");
    for entry in fs::read_dir(golden.join(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

fn set(folder: &Path, field: &str, value: serde_json::Value) {
    let path = folder.join("config.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    json[field] = value;
    fs::write(path, json.to_string()).unwrap();
}

#[test]
fn a_pack_of_another_model_is_refused() {
    for name in MODELS {
        let golden = Golden::new(name);
        for other in MODELS.into_iter().filter(|&other| other != name) {
            refuses(
                &Golden::new(other).folder,
                &golden.pack(),
                &["config.json", "in the pack"],
            );
        }
    }
    let golden = Golden::new("engram_v41");
    let pack = golden.pack();
    for (field, value, texts) in [
        (
            "engram_layer_ids",
            serde_json::json!([1, 2]),
            ["the layers with a table: [1, 2]", "[0, 2] in the pack"],
        ),
        (
            "engram_n_heads",
            3.into(),
            ["heads of an order: 3", "2 in the pack"],
        ),
        (
            "engram_max_ngram_size",
            3.into(),
            ["the largest n-gram order: 3", "4 in the pack"],
        ),
        (
            "engram_vocab_size",
            200.into(),
            ["rows of each column of layer 0", "in the pack"],
        ),
        (
            "engram_head_dim",
            64.into(),
            ["the width of layer 0: 64", "32 in the pack"],
        ),
        (
            "engram_pad_token_id",
            9.into(),
            ["the fill id", "in the pack"],
        ),
        (
            "engram_compressed_vocab_size",
            7.into(),
            ["config.json", "compressed vocabulary"],
        ),
        ("hidden_size", 96.into(), ["tensor", "shape"]),
        ("hc_mult", 2.into(), ["tensor", "shape"]),
        (
            "num_hidden_layers",
            2.into(),
            ["`engram layer` is 2", "below the 2 layers"],
        ),
    ] {
        let spoilt = copy("engram_v41");
        set(
            spoilt.path(),
            "engram_num_embeddings",
            serde_json::Value::Null,
        );
        set(spoilt.path(), field, value);
        refuses(spoilt.path(), &pack, &texts);
    }
}

#[test]
fn a_tokenizer_or_tables_of_another_model_are_refused() {
    let golden = Golden::new("engram_v41");
    let spoilt = copy("engram_v41");
    let map = golden
        .engram(direct())
        .store()
        .hasher()
        .token_map()
        .unwrap()
        .to_bytes();
    fs::remove_file(spoilt.path().join("tokenizer.json")).unwrap();
    let mut other = map.clone();
    other[4..8].copy_from_slice(&map[8..12]);
    fs::write(spoilt.path().join("token_map.u32le"), &other).unwrap();
    let texts = [
        "token_map.u32le",
        "the compressed id of token 1: 2",
        "1 in the pack",
    ];
    refuses(spoilt.path(), &golden.pack(), &texts);
    fs::write(spoilt.path().join("token_map.u32le"), &map[4..]).unwrap();
    refuses(spoilt.path(), &golden.pack(), &["the number of tokens"]);

    let spoilt = copy("engram_v41");
    let path = spoilt.path().join("model.safetensors");
    save_without("lm_head.weight", &path, &path);
    refuses(
        spoilt.path(),
        &golden.pack(),
        &["model.safetensors", "in size: "],
    );
}

/// Writes the tensors of the file `from` to the file `to` as `edit` leaves them, and returns their names.
fn save_edited(
    from: &Path,
    to: &Path,
    edit: impl FnOnce(&mut Vec<(String, TensorView<'_>)>),
) -> Vec<String> {
    let bytes = fs::read(from).unwrap();
    let mut tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    edit(&mut tensors);
    let names = tensors.iter().map(|(name, _)| name.clone()).collect();
    fs::write(to, safetensors::serialize(tensors, None).unwrap()).unwrap();
    names
}

fn save_without(name: &str, from: &Path, to: &Path) -> Vec<String> {
    save_edited(from, to, |tensors| {
        let before = tensors.len();
        tensors.retain(|(tensor, _)| tensor != name);
        assert_eq!(tensors.len(), before - 1, "{name}");
    })
}

/// Edits the tensors of a golden model and refuses it with these texts. They come to lie in a file that the pack does
/// not know.
fn refuses_edited(
    name: &str,
    edit: impl FnOnce(&mut Vec<(String, TensorView<'_>)>),
    texts: &[&str],
) {
    const FILE: &str = "renamed.safetensors";
    let spoilt = copy(name);
    let path = spoilt.path().join("model.safetensors");
    let left = save_edited(&path, &spoilt.path().join(FILE), edit);
    let map: serde_json::Map<String, serde_json::Value> =
        left.into_iter().map(|name| (name, FILE.into())).collect();
    let index = serde_json::json!({ "weight_map": map });
    fs::remove_file(path).unwrap();
    fs::write(
        spoilt.path().join("model.safetensors.index.json"),
        index.to_string(),
    )
    .unwrap();
    refuses(spoilt.path(), &Golden::new(name).pack(), texts);
}

#[test]
fn tensors_of_a_block_that_are_missing_are_named() {
    for (name, tensor) in [
        ("engram_v41", "model.layers.2.engram.q_weight"),
        ("engram_v41", "model.layers.0.engram.wkv.scale"),
        ("engram_demo", "model.layers.1.engram.key_projs.3.bias"),
        ("engram_qwen", "model.layers.1.ple.norm_conv.weight"),
    ] {
        let without = |tensors: &mut Vec<(String, TensorView<'_>)>| {
            tensors.retain(|(name, _)| name != tensor);
        };
        refuses_edited(name, without, &["no tensor", tensor]);
    }
}

#[test]
fn tensors_of_a_block_that_do_not_fit_are_named() {
    static BYTES: [u8; 64] = [0; 64];
    let scale = "model.layers.0.engram.wkv.scale";
    for (dtype, shape, found) in [
        (
            Dtype::F8_E8M0,
            vec![10, 0],
            "shape is [10, 0], expected divisors of [320, 192]",
        ),
        (
            Dtype::F8_E8M0,
            vec![7, 6],
            "expected divisors of [320, 192]",
        ),
        (
            Dtype::F8_E8M0,
            vec![60],
            "shape is [60], expected that of a matrix",
        ),
        (Dtype::I8, vec![10, 6], "dtype is I8, expected F8_E8M0"),
    ] {
        let bytes = &BYTES[..shape.iter().product()];
        let edit = |tensors: &mut Vec<(String, TensorView<'_>)>| {
            tensors.retain(|(name, _)| name != scale);
            let view = TensorView::new(dtype, shape, bytes).unwrap();
            tensors.push((scale.into(), view));
        };
        refuses_edited("engram_v41", edit, &[scale, found]);
    }
    for name in [
        "model.layers.0.engram.gate",
        "model.layers.1.engram.q_weight",
        "model.layers.2.engram.wkv.bias",
    ] {
        let edit = |tensors: &mut Vec<(String, TensorView<'_>)>| {
            let view = TensorView::new(Dtype::BF16, vec![4, 8], &BYTES).unwrap();
            tensors.push((name.into(), view));
        };
        refuses_edited("engram_v41", edit, &[name, "no place"]);
    }
}

#[test]
fn a_convolution_needs_taps() {
    for (name, field) in [
        ("engram_demo", "kernel_size"),
        ("engram_qwen", "ple_conv_kernel_size"),
    ] {
        for taps in [0, 65] {
            let spoilt = copy(name);
            set(spoilt.path(), field, taps.into());
            let found = format!("`{field}` is {taps}, expected 1 to 64");
            refuses(spoilt.path(), &Golden::new(name).pack(), &[&found]);
        }
    }
}

/// Checks when rows are asked for.
struct Watching<'a> {
    session: engram_model::Session<'a>,
    seen: Vec<Vec<u64>>,
}

impl Watching<'_> {
    fn look(&mut self) {
        let rows = self.session.times().iter().map(|times| times.rows);
        self.seen.push(rows.collect());
    }
}

impl LayerHook for Watching<'_> {
    fn begin(&mut self, before: &[usize], tokens: &[&[u32]]) -> Result<(), Error> {
        self.session.begin(before, tokens)?;
        self.look();
        Ok(())
    }

    fn add(&mut self, layer: usize, stream: &Tensor) -> Result<Option<Tensor>, Error> {
        let added = self.session.add(layer, stream)?;
        self.look();
        Ok(added)
    }
}

#[test]
fn all_rows_are_asked_for_before_the_first_layer() {
    let golden = Golden::new("engram_v41");
    let engram = golden.engram(direct().cache_bytes(0));
    let mut memory = Watching {
        session: engram.session(3),
        seen: Vec::new(),
    };
    golden.whole(&mut memory);
    // Four of the tokens are parts of images; each other one reads six rows of each table.
    let rows = 6 * (3 * TOKENS as u64 - 4);
    assert_eq!(memory.seen, vec![[rows, rows]; 4]);
    for times in memory.session.times() {
        let overlap = times.overlap().unwrap();
        assert!((0.0..=1.0).contains(&overlap), "{times:?}");
        // Who waits may be woken long after the last row has come.
        let waited = times.waited.min(times.fetched);
        assert!(times.hidden + waited <= times.fetched, "{times:?}");
        assert!(
            !times.fetched.is_zero() && !times.computed.is_zero(),
            "{times:?}"
        );
    }
    // Nothing is hidden where rows are copied at once.
    let engram = golden.engram(Config::new().reader(Reader::Memory));
    let mut session = engram.session(3);
    golden.whole(&mut session);
    for times in session.times() {
        assert!(
            times.waited.is_zero() && times.hidden.is_zero(),
            "{times:?}"
        );
        assert!(times.asked >= times.fetched, "{times:?}");
    }
    session.reset_times();
    assert!(
        session
            .times()
            .iter()
            .all(|times| times.rows == 0 && times.overlap().is_none())
    );
}

#[test]
fn texts_are_not_made_of_what_is_no_number() {
    struct NotANumber;
    impl LayerHook for NotANumber {
        fn begin(&mut self, _: &[usize], _: &[&[u32]]) -> Result<(), Error> {
            Ok(())
        }

        fn add(&mut self, _: usize, stream: &Tensor) -> Result<Option<Tensor>, Error> {
            Ok(Some((stream * f64::NAN)?))
        }
    }
    let golden = Golden::new("engram_demo");
    let options = Options {
        chunk: NonZeroUsize::MIN,
        max_tokens: 1,
        stop: Vec::new(),
        vocabulary: NonZeroUsize::MAX,
        sampling: Sampling::Greedy,
    };
    let prompt: [&[u32]; 1] = [&[3, 4]];
    let fails = |prompts: &[&[u32]], options: &Options, text: &str| {
        let error = Generator::new(&golden.model, &mut NotANumber, prompts, options.clone());
        let error = error.unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    fails(
        &prompt,
        &options,
        "the logits of sequence 0 are not numbers",
    );
    fails(
        &[&[3], &[]],
        &options,
        "the prompt of sequence 1 has no tokens",
    );
    fails(&[&[3, 320]], &options, "token 320 at 1 of sequence 0");
    for (temperature, top_p, text) in [
        (0.0, 1.0, "temperature is 0, expected a number above 0"),
        (f64::NAN, 1.0, "temperature is NaN"),
        (1.0, 1.5, "top_p is 1.5, expected 0 to 1"),
    ] {
        let sampling = Sampling::Random {
            temperature,
            top_k: 0,
            top_p,
            seed: 0,
        };
        let options = Options {
            sampling,
            ..options.clone()
        };
        fails(&prompt, &options, text);
    }
}

#[test]
fn a_session_must_belong_to_its_cache() {
    let golden = Golden::new("engram_demo");
    let engram = golden.engram(direct());
    let mut cache = golden.model.cache(3);
    let fails = |cache: &mut Cache, memory: &mut dyn LayerHook, text: &str| {
        let tokens = golden.following(&cache.lens(), &[1; 3]);
        let error = golden.model.forward(&tokens, cache, memory).unwrap_err();
        assert_eq!(error.to_string(), text);
    };
    fails(
        &mut cache,
        &mut engram.session(2),
        "the session has 2 sequences, but the pass has 3",
    );
    golden.pass(&[4; 3], &mut cache, &mut engram.session(3));
    fails(
        &mut cache,
        &mut engram.session(3),
        "sequence 0 has 0 tokens in the session, but 4 in the cache",
    );
}

/// Fails ahead of the layer at `at`, once.
struct Failing<'a> {
    session: engram_model::Session<'a>,
    at: Option<usize>,
}

impl LayerHook for Failing<'_> {
    fn begin(&mut self, before: &[usize], tokens: &[&[u32]]) -> Result<(), Error> {
        self.session.begin(before, tokens)
    }

    fn add(&mut self, layer: usize, stream: &Tensor) -> Result<Option<Tensor>, Error> {
        if self.at == Some(layer) {
            self.at = None;
            return Err(candle_core::Error::Msg("out of memory".into()).into());
        }
        self.session.add(layer, stream)
    }
}

#[test]
fn a_pass_that_fails_can_be_tried_again() {
    for name in MODELS {
        let golden = Golden::new(name);
        let engram = golden.engram(direct());
        for at in 0..3 {
            let mut cache = golden.model.cache(3);
            let session = engram.session(3);
            let mut memory = Failing { session, at: None };
            golden.pass(&[10, 4, 7], &mut cache, &mut memory);
            memory.at = Some(at);
            let tokens = golden.following(&cache.lens(), &[5; 3]);
            golden
                .model
                .forward(&tokens, &mut cache, &mut memory)
                .unwrap_err();
            assert_eq!(cache.lens(), [10, 4, 7]);
            golden.pass(&[5; 3], &mut cache, &mut memory);
            golden.pass(&[1; 3], &mut cache, &mut memory);
        }
    }
}

#[test]
fn a_damaged_row_ends_the_pass_and_not_the_session() {
    let golden = Golden::new("engram_v41");
    let shard = golden.pack().join("layer-02/order-3-head-1.shard");
    let whole = fs::read(&shard).unwrap();
    let mut bytes = whole.clone();
    bytes[4096..].iter_mut().for_each(|byte| *byte ^= 1);
    fs::write(&shard, &bytes).unwrap();
    let engram = golden.engram(Config::new().reader(Reader::Pread));
    let (mut session, mut cache) = (engram.session(3), golden.model.cache(3));
    let error = golden
        .model
        .forward(&golden.tokens(), &mut cache, &mut session);
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Lookup(_)), "{error}");
    assert!(
        error.to_string().contains("order-3-head-1.shard"),
        "{error}"
    );
    assert!(cache.is_empty());
    fs::write(&shard, whole).unwrap();
    golden.pass(&[TOKENS; 3], &mut cache, &mut session);
}
