//! Whether a pack belongs to a model.

use std::{
    fmt::Debug,
    path::{Path, PathBuf},
};

use engram::{Scheme, Store};
use engram_checkpoint::{
    CONFIG_FILE, CheckpointError, Family, PLAIN_TOKEN_MAP_FILE, TOKENIZER_FILE, TensorFiles,
    read_token_map,
};

use crate::{Config, Error, config::config_fault};

/// Checks the Engram fields against the decoder's, then everything that decides which rows a token gets against the
/// pack.
pub(super) fn check(
    dir: &Path,
    config: &Config,
    family: &Family,
    store: &Store,
) -> Result<(), Error> {
    let path = dir.join(CONFIG_FILE);
    check_decoder(&path, config, family)?;
    let pack = Pack { path, store };
    let compressed = store.scheme().compressed;
    pack.expect("the use of a token map", &family.compresses(), &compressed)?;
    let scheme = family.scheme(store.hasher().token_map());
    let scheme = scheme.map_err(|cause| CheckpointError::Scheme {
        path: pack.path.clone(),
        cause,
    })?;
    pack.check_scheme(&scheme)?;
    for (index, layer) in scheme.layers.iter().enumerate() {
        let width = family.table_tensors(&scheme, index).width as usize;
        let in_pack = store.codec(layer.id)?.width();
        pack.expect(
            &format!("the width of layer {}", layer.id),
            &width,
            &in_pack,
        )?;
    }
    pack.check_token_map(dir, family)?;
    pack.check_sources(dir)
}

pub(super) fn check_decoder(path: &Path, config: &Config, family: &Family) -> Result<(), Error> {
    let (layers, hidden, copies) = match family {
        Family::DeepSeek(c) => (c.layers.clone(), c.hidden_size, c.hc_mult),
        Family::Demo(c) => (c.layers.clone(), c.hidden_size, c.hc_mult),
        Family::Qwen(c) => {
            let layers = c.one_based_layers.iter().map(|layer| layer - 1);
            (layers.collect(), c.hidden_size, c.hc_count)
        }
        // It has no blocks; loading them is what reports that.
        Family::LongCat(_) | Family::Gemma(_) | Family::OverEncoding(_) => return Ok(()),
    };
    let decoder = [
        ("hidden_size", hidden, config.hidden_size() as u64),
        ("hc_mult", copies, config.copies() as u64),
    ];
    for (field, found, expected) in decoder {
        if found != expected {
            let expected = format!("{expected}, as in the decoder");
            return Err(config_fault(path, field, found.to_string(), expected));
        }
    }
    match layers
        .iter()
        .find(|&&layer| layer as usize >= config.layers())
    {
        None => Ok(()),
        Some(layer) => Err(config_fault(
            path,
            "engram layer",
            layer.to_string(),
            format!("below the {} layers", config.layers()),
        )),
    }
}

/// A pack that is compared with a model.
struct Pack<'a> {
    path: PathBuf,
    store: &'a Store,
}

impl Pack<'_> {
    fn expect<T: PartialEq + Debug>(
        &self,
        field: &str,
        found: &T,
        in_pack: &T,
    ) -> Result<(), Error> {
        if found == in_pack {
            return Ok(());
        }
        Err(Error::Pack {
            path: self.path.clone(),
            field: field.into(),
            found: format!("{found:?}"),
            expected: format!("{in_pack:?}"),
        })
    }

    fn check_scheme(&self, scheme: &Scheme) -> Result<(), Error> {
        let pack = self.store.scheme();
        let ids = |scheme: &Scheme| -> Vec<u32> { scheme.layers.iter().map(|l| l.id.0).collect() };
        self.expect("the layers with a table", &ids(scheme), &ids(pack))?;
        self.expect(
            "the largest n-gram order",
            &scheme.max_order,
            &pack.max_order,
        )?;
        self.expect("the heads of an order", &scheme.heads, &pack.heads)?;
        let vocabularies = (scheme.hashed_vocab_size, pack.hashed_vocab_size);
        self.expect("the hashed vocabulary", &vocabularies.0, &vocabularies.1)?;
        self.expect("the fill id", &scheme.fill, &pack.fill)?;
        self.expect("what ends a history", &scheme.boundary, &pack.boundary)?;
        for (layer, in_pack) in scheme.layers.iter().zip(&pack.layers) {
            let field = |what: &str| format!("the {what} of layer {}", layer.id);
            self.expect(
                &field("rows of each column"),
                &layer.buckets,
                &in_pack.buckets,
            )?;
            self.expect(&field("hash"), &layer.hash, &in_pack.hash)?;
            self.expect(&field("rows"), &layer.row_count, &in_pack.row_count)?;
        }
        Ok(())
    }

    /// If the folder has a token map, it must be that of the pack.
    fn check_token_map(&self, dir: &Path, family: &Family) -> Result<(), Error> {
        let files = [TOKENIZER_FILE, PLAIN_TOKEN_MAP_FILE].map(|name| dir.join(name));
        let Some(file) = files.iter().find(|file| file.exists()) else {
            return Ok(());
        };
        let Some(in_pack) = self
            .store
            .hasher()
            .token_map()
            .filter(|_| family.compresses())
        else {
            return Ok(());
        };
        let pack = Pack {
            path: file.clone(),
            store: self.store,
        };
        let map = read_token_map(dir, None)?;
        let tokens = (map.ids().len(), in_pack.ids().len());
        pack.expect("the number of tokens", &tokens.0, &tokens.1)?;
        let differs = map
            .ids()
            .iter()
            .zip(in_pack.ids())
            .position(|(a, b)| a != b);
        match differs {
            None => Ok(()),
            Some(token) => {
                let field = format!("the compressed id of token {token}");
                pack.expect(&field, &map.ids()[token], &in_pack.ids()[token])
            }
        }
    }

    /// Files of the folder must be those that the pack was made from, if it was made from files of these names.
    fn check_sources(&self, dir: &Path) -> Result<(), Error> {
        let files = TensorFiles::open(dir)?;
        for source in &self.store.manifest().sources {
            let Some(file) = files.files().iter().find(|file| file.name == source.name) else {
                continue;
            };
            let pack = Pack {
                path: dir.join(&file.name),
                store: self.store,
            };
            pack.expect("size", &file.bytes, &source.bytes)?;
            let digests = (file.header_digest, source.header_digest);
            pack.expect("the digest of its header", &digests.0, &digests.1)?;
        }
        Ok(())
    }
}
