//! A session that records gates gives the logits of one that does not, and rows behind shut gates are no rows.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{path::Path, sync::Arc};

use candle_core::{Device, Tensor};
use engram::{Config, Reader, Store};
use engram_model::{EngramBlocks, LayerHook, Model, inside::Streams};
use engram_tests::make_pack;
use tempfile::TempDir;

/// With the layers that have Engram blocks.
const MODELS: [(&str, &[usize]); 3] = [
    ("engram_v41", &[0, 2]),
    ("engram_demo", &[1, 2]),
    ("engram_qwen", &[1]),
];
const COPIES: usize = 4;
const IMAGE: u32 = 319;
const TOKENS: [u32; 9] = [5, 9, 2, 30, 31, 5, 9, 2, 30];

struct Golden {
    model: Model,
    engram: EngramBlocks,
    _pack: TempDir,
}

impl Golden {
    fn new(name: &str) -> Self {
        let golden =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/reference/model/tests/golden");
        let (folder, packs) = (golden.join(name), tempfile::tempdir().unwrap());
        let pack = packs.path().join("pack");
        make_pack(&folder, &pack);
        let store = Store::open(pack, Config::new().reader(Reader::Memory)).unwrap();
        Self {
            model: Model::load(&folder, &Device::Cpu).unwrap(),
            engram: EngramBlocks::load(&folder, Arc::new(store), &Device::Cpu).unwrap(),
            _pack: packs,
        }
    }

    fn bits(&self, tokens: &[&[u32]], memory: &mut dyn LayerHook) -> Vec<u32> {
        let mut cache = self.model.cache(tokens.len());
        let logits = self.model.forward(tokens, &mut cache, memory).unwrap();
        let values = logits.iter().flat_map(values);
        values.map(f32::to_bits).collect()
    }
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn recording_changes_no_bit_of_the_logits() {
    for (name, layers) in MODELS {
        let golden = Golden::new(name);
        let texts: [&[u32]; 2] = [&TOKENS, &TOKENS[..4]];
        let mut plain = golden.engram.session(2);
        let expected = golden.bits(&texts, &mut plain);
        assert!(plain.gates().is_empty());
        let mut session = golden.engram.session(2);
        session.record_gates();
        let mut streams = Streams::new(&mut session);
        assert_eq!(golden.bits(&texts, &mut streams), expected, "{name}");
        assert_eq!(streams.depths().len(), golden.model.config().layers() + 1);
        assert_eq!(golden.engram.layers().collect::<Vec<_>>(), layers);
        assert_eq!(session.gates().len(), layers.len(), "{name}");
        for gates in session.gates() {
            assert_eq!(gates.dims(), [2, TOKENS.len(), COPIES], "{name}");
            let gates = values(gates);
            assert!(gates.iter().all(|gate| (0.0..=1.0).contains(gate)));
            assert!(gates.iter().any(|&gate| gate != gates[0]));
        }
        // Another pass, other gates.
        let logits = golden.bits(&[&TOKENS[..1], &[]], &mut session);
        assert_eq!(logits.len(), expected.len() / (TOKENS.len() + 4));
        assert_eq!(session.gates().len(), layers.len());
        assert_eq!(session.gates()[0].dims(), [2, 1, COPIES]);
    }
}

#[test]
fn rows_behind_shut_gates_are_no_rows() {
    let golden = Golden::new("engram_v41");
    // Nothing but images, whose gates are shut.
    let text = [IMAGE; 5];
    let mut session = golden.engram.session(1);
    session.record_gates();
    let shut = golden.bits(&[&text], &mut session);
    for gates in session.gates() {
        assert_eq!(values(gates), [0.0; 5 * COPIES]);
    }
    assert_eq!(shut, golden.bits(&[&text], &mut ()));
    let open = golden.bits(&[&TOKENS], &mut golden.engram.session(1));
    assert_ne!(open, golden.bits(&[&TOKENS], &mut ()));
}
