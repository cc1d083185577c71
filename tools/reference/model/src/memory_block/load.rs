//! Blocks from a checkpoint.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use candle_core::{Device, Tensor};
use candle_nn::Linear;
use engram::{LayerId, Scheme, Store};
use engram_checkpoint::{CONFIG_FILE, DemoConfig, Family, QwenConfig};

use super::{
    BlockWeights, ConvTensors, CopyNorm, EngramBlocks, Fused, FusedTensors, GatedConv,
    blocks::{Block, LayerBlock},
    check::{check, check_decoder},
    names::{block_name, is_left_out},
};
use crate::{
    Config, Error,
    config::config_fault,
    weights::{Init, Scope, Weights},
};

/// What stands before layers in the names of a decoder's tensors.
const PREFIX: &str = "model.";
/// Epsilon of the demo's norms of keys and queries: the default of torch for f32.
const DEMO_EPS: f64 = f32::EPSILON as f64;
/// Epsilon of the demo's norms ahead of the convolution.
const DEMO_CONV_EPS: f64 = 1e-5;

impl BlockWeights {
    /// The tensors of blocks that have learned nothing, by the names that a checkpoint has. The same `seed` gives the
    /// same.
    ///
    /// # Errors
    /// Engram fields that contradict the decoder's, a family without blocks, and a computation that fails.
    pub fn fresh_tensors(
        config: &Config,
        family: &Family,
        scheme: &Scheme,
        seed: u64,
    ) -> Result<BTreeMap<String, Tensor>, Error> {
        let mut weights = Weights::fresh(seed, &Device::Cpu);
        check_decoder(Path::new(CONFIG_FILE), config, family)?;
        build(&mut weights, config, family, scheme, |_, _| PREFIX.into())?;
        Ok(weights.into_made())
    }

    /// The blocks whose weights are `tensors`, on `device`. [`Model::from_tensors`](crate::Model::from_tensors) takes
    /// those of the decoder.
    ///
    /// # Errors
    /// Engram fields that contradict the decoder's, a family without blocks; tensors that are missing, of another
    /// shape, or unknown parts of blocks.
    pub fn from_tensors(
        config: &Config,
        family: &Family,
        scheme: &Scheme,
        tensors: &BTreeMap<String, Tensor>,
        device: &Device,
    ) -> Result<Self, Error> {
        let mut weights = Weights::given(tensors, device);
        check_decoder(Path::new(CONFIG_FILE), config, family)?;
        let blocks = build(&mut weights, config, family, scheme, |weights, layer| {
            weights.prefix_of(&block_name(family, layer))
        })?;
        weights.finish(|name| is_left_out(family, name))?;
        Ok(blocks)
    }
}

impl EngramBlocks {
    /// Loads the blocks of the model in the folder `dir`, whose `config.json` has the Engram fields of
    /// DeepSeek-V4.1, the demo or Qwen3.8 beside those of the decoder. Rows come from `store`, so the tables need
    /// not be in the folder.
    ///
    /// # Errors
    /// A configuration without such fields, or with sizes other than the decoder's; a `store` of another scheme, row
    /// width or tokenizer, or made from other files, where the folder has them; tensors that are missing, of another
    /// shape, or unknown. The configuration and the pack are checked before any tensor is read. Files are compared by
    /// their names, sizes and headers, so tables of the same layout with other values are not told apart.
    pub fn load(dir: impl AsRef<Path>, store: Arc<Store>, device: &Device) -> Result<Self, Error> {
        let dir = dir.as_ref();
        let config = Config::from_file(dir.join(CONFIG_FILE))?;
        let family = Family::read(dir)?;
        check(dir, &config, &family, &store)?;
        let mut weights = Weights::open(dir, device)?;
        let scheme = store.scheme();
        let blocks = build(&mut weights, &config, &family, scheme, |weights, layer| {
            weights.prefix_of(&block_name(&family, layer))
        })?;
        weights.finish(|name| is_left_out(&family, name))?;
        let fused = matches!(family, Family::DeepSeek(_));
        Ok(Self {
            blocks,
            image_token: config.image_token.filter(|_| fused),
            store,
            #[cfg(feature = "ring")]
            ring: None,
            device: device.clone(),
        })
    }
}

/// The blocks of `scheme`'s layers; `prefix` is what stands before the names of a layer.
fn build(
    weights: &mut Weights,
    config: &Config,
    family: &Family,
    scheme: &Scheme,
    prefix: impl Fn(&Weights, LayerId) -> String,
) -> Result<BlockWeights, Error> {
    let blocks = scheme.layers.iter().enumerate().map(|(index, layer)| {
        let layer = layer.id;
        let sizes = Sizes {
            copies: config.copies(),
            dim: config.hidden_size(),
            row_values: scheme.column_count() * family.table_tensors(scheme, index).width as usize,
        };
        let prefix = prefix(weights, layer);
        let name = format!("{prefix}{}", block_name(family, layer));
        let block = sizes.block(weights.root().at(name), family, config)?;
        Ok(LayerBlock { layer, block })
    });
    let blocks = blocks.collect::<Result<_, Error>>()?;
    Ok(BlockWeights { blocks })
}

/// The sizes that a block's tensors have.
struct Sizes {
    copies: usize,
    dim: usize,
    row_values: usize,
}

impl Sizes {
    fn block(&self, weights: Scope<'_>, family: &Family, config: &Config) -> Result<Block, Error> {
        match family {
            Family::DeepSeek(_) => self.fused(weights, config.norm_eps).map(Block::Fused),
            Family::Demo(demo) => self.demo(weights, demo).map(Block::GatedConv),
            Family::Qwen(qwen) => self
                .qwen(weights, qwen, config.norm_eps)
                .map(Block::GatedConv),
            Family::LongCat(_) | Family::Gemma(_) | Family::OverEncoding(_) => Err(config_fault(
                Path::new(CONFIG_FILE),
                "model_type",
                "one whose rows are of the input".into(),
                "a model with Engram blocks".into(),
            )),
        }
    }

    fn fused(&self, mut weights: Scope<'_>, eps: f64) -> Result<Fused, Error> {
        let norm = [self.copies, self.dim];
        let tensors = FusedTensors {
            wkv: self.projection(&mut weights, "wkv", (self.copies + 1) * self.dim)?,
            q_weight: weights.tensor("q_weight", &norm, Init::Ones)?,
            k_weight: weights.tensor("k_weight", &norm, Init::Ones)?,
        };
        Fused::new(&tensors, self.row_values, eps)
    }

    /// `[outputs, row_values]`.
    fn projection(
        &self,
        weights: &mut Scope<'_>,
        name: &str,
        outputs: usize,
    ) -> Result<Tensor, Error> {
        let linear = weights.linear(name, self.row_values, outputs, false)?;
        Ok(linear.weight().clone())
    }

    fn demo(&self, mut weights: Scope<'_>, config: &DemoConfig) -> Result<GatedConv, Error> {
        let mut each = |module: &str, part: &str, shape: &[usize]| {
            (0..self.copies)
                .map(|copy| weights.tensor(&format!("{module}.{copy}.{part}"), shape, Init::Ones))
                .collect::<Result<Vec<_>, _>>()
        };
        let key = Linear::new(
            Tensor::cat(
                &each("key_projs", "weight", &[self.dim, self.row_values])?,
                0,
            )?,
            Some(Tensor::cat(&each("key_projs", "bias", &[self.dim])?, 0)?),
        );
        let mut norm = |module: &str, eps| {
            let weights = each(module, "weight", &[self.dim])?;
            Ok::<_, Error>(CopyNorm::new(Tensor::stack(&weights, 0)?, eps))
        };
        let (key_norm, query_norm) = (norm("norm1", DEMO_EPS)?, norm("norm2", DEMO_EPS)?);
        let tensors = ConvTensors {
            key,
            key_norm,
            query_norm,
            conv_norm: norm("short_conv.norms", DEMO_CONV_EPS)?,
            value: weights.linear("value_proj", self.row_values, self.dim, true)?,
            conv: self.conv(&mut weights.at("short_conv.conv"), config.kernel_size)?,
            dilation: config.bucket_starts.len() + 1,
        };
        GatedConv::new(tensors, self.row_values)
    }

    fn qwen(
        &self,
        mut weights: Scope<'_>,
        config: &QwenConfig,
        eps: f64,
    ) -> Result<GatedConv, Error> {
        let channels = self.copies * self.dim;
        let mut norm = |name: &str| {
            let weight = weights
                .at(name)
                .tensor("weight", &[channels], Init::Zeros)?;
            // Checkpoints store what is added to one.
            let weight = (weight.reshape((self.copies, self.dim))? + 1.0)?;
            Ok::<_, Error>(CopyNorm::new(weight, eps))
        };
        let tensors = ConvTensors {
            key_norm: norm("norm_key")?,
            query_norm: norm("norm_query")?,
            conv_norm: norm("norm_conv")?,
            key: weights.linear("key_proj", self.row_values, channels, false)?,
            value: weights.linear("value_proj", self.row_values, self.dim, false)?,
            conv: self.conv(&mut weights.at("conv1d"), config.kernel_size)?,
            dilation: config.max_order as usize,
        };
        GatedConv::new(tensors, self.row_values)
    }

    fn conv(&self, weights: &mut Scope<'_>, kernel: u64) -> Result<Tensor, Error> {
        let kernel = usize::try_from(kernel).unwrap_or(usize::MAX);
        let shape = [self.copies * self.dim, 1, kernel];
        weights.tensor("weight", &shape, Init::Zeros)
    }
}
