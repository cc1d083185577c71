//! What a model, its pack and its tokenizer are opened by.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, anyhow};
use candle_core::Device;
use clap::ValueEnum;
use engram::{Config, Reader, Resident, Store};
use engram_checkpoint::TOKENIZER_FILE;
use engram_model::{EngramBlocks, Model};
use tokenizers::Tokenizer;

/// Tokens of a pass whose rows a GPU decodes; longer passes are decoded by the processor.
#[cfg(feature = "cuda")]
const RING_TOKENS: usize = 2_048;

/// A model and where its rows come from.
#[derive(Clone, clap::Args)]
pub(crate) struct ModelArgs {
    /// Folder with config.json and safetensors files
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// Pack with the rows of its Engram layers
    #[arg(long)]
    pub(crate) pack: PathBuf,
    /// Compute on this CUDA device instead of the processor, in a build with the feature `cuda`
    #[arg(long, value_name = "NUMBER")]
    cuda: Option<usize>,
    /// How the pack is read
    #[arg(long, value_enum, default_value_t = ReaderName::Direct)]
    pub(crate) reader: ReaderName,
    /// MiB of memory for rows read before
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    pub(crate) cache: usize,
    /// Load the columns of n-grams of up to this many tokens into memory
    #[arg(long, value_name = "ORDER")]
    pub(crate) resident: Option<u32>,
    /// Counts of n-grams by `engram-pack profile`, with whose rows the cache begins
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
}

/// A [`Reader`] by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReaderName {
    Direct,
    DirectThreads,
    Mmap,
    Pread,
    Memory,
}

impl From<ReaderName> for Reader {
    fn from(name: ReaderName) -> Self {
        match name {
            ReaderName::Direct => Self::Direct,
            ReaderName::DirectThreads => Self::DirectThreads,
            ReaderName::Mmap => Self::Mmap,
            ReaderName::Pread => Self::Pread,
            ReaderName::Memory => Self::Memory,
        }
    }
}

impl ModelArgs {
    pub(crate) fn load_model(&self) -> Result<Model> {
        Ok(Model::load(&self.model, &device(self.cuda)?)?)
    }

    /// How the pack is to be opened.
    pub(crate) fn config(&self) -> Result<Config> {
        let cache = self.cache.checked_mul(1 << 20);
        let resident = self.resident.map_or(Resident::None, Resident::Orders);
        let mut config = Config::new()
            .reader(self.reader.into())
            .cache_bytes(cache.context("--cache is more than there can be")?)
            .resident(resident);
        config.profile.clone_from(&self.profile);
        Ok(config)
    }

    /// The blocks, with rows from the pack opened by `config`.
    pub(crate) fn blocks_with(&self, config: Config) -> Result<EngramBlocks> {
        let store = Arc::new(Store::open(&self.pack, config)?);
        let engram = EngramBlocks::load(&self.model, store.clone(), &device(self.cuda)?)?;
        #[cfg(feature = "cuda")]
        if let Some(number) = self.cuda {
            let gpu = engram_cuda::Device::cuda(u32::try_from(number)?)?;
            let rows = RING_TOKENS * store.scheme().column_count();
            // Two passes of a prompt are on their way, the one that is computed and the next.
            let config = engram_cuda::RingConfig::new(rows).value_type(engram_cuda::ValueType::F32);
            let ring = engram_cuda::Ring::new(&gpu, store, &config)?;
            return Ok(engram.with_ring(Arc::new(ring))?);
        }
        Ok(engram)
    }

    pub(crate) fn tokenizer(&self) -> Result<Tokenizer> {
        tokenizer(&self.model)
    }
}

/// The tokenizer of the model in `folder`.
pub(crate) fn tokenizer(folder: &Path) -> Result<Tokenizer> {
    let path = folder.join(TOKENIZER_FILE);
    Tokenizer::from_file(&path).map_err(|e| anyhow!("{}: {e}", path.display()))
}

/// The CUDA device with this number, or the processor.
pub(crate) fn device(cuda: Option<usize>) -> Result<Device> {
    Ok(match cuda {
        Some(number) => Device::new_cuda(number)?,
        None => Device::Cpu,
    })
}

/// The tokens of `text`, with those that begin one.
pub(crate) fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>> {
    let encoding = tokenizer.encode(text, true);
    let encoding = encoding.map_err(|e| anyhow!("cannot encode `{text}`: {e}"))?;
    Ok(encoding.get_ids().to_vec())
}

/// The text of `tokens`, special ones too.
pub(crate) fn decode(tokenizer: &Tokenizer, tokens: &[u32]) -> Result<String> {
    let text = tokenizer.decode(tokens, false);
    text.map_err(|e| anyhow!("cannot decode {tokens:?}: {e}"))
}
