//! Training, step by step.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var, backprop::GradStore};
use engram::Hasher;
use engram_checkpoint::Family;
use engram_model::{Config, Model, memory_block::BlockWeights};
use serde::{Deserialize, Serialize};

use crate::{
    Corpus, Error, Recipe, TableSession, TrainableTable,
    adam::{Adam, Update},
    balance::{Counted, balance, correction, imbalance},
    batches::Batches,
    init::variables,
    schedule::share,
    table::Touched,
};

/// A model that is being trained.
#[derive(Debug)]
pub struct Trainer<'a> {
    pub(crate) recipe: Recipe,
    pub(crate) corpus: &'a Corpus,
    pub(crate) config: Config,
    pub(crate) engram: Option<EngramTables>,
    pub(crate) variables: BTreeMap<String, Var>,
    pub(crate) adam: Adam,
    pub(crate) steps: Vec<StepReport>,
    batches: Batches,
    pub(crate) device: Device,
}

/// The tables, and how tokens address them.
#[derive(Debug)]
pub(crate) struct EngramTables {
    pub(crate) family: Family,
    pub(crate) hasher: Hasher,
    /// One for each layer of the scheme.
    pub(crate) tables: Vec<TrainableTable>,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// The mean cross entropy of a token before the step, in nats.
    pub loss: f64,
    /// The learning rate.
    pub rate: f64,
    /// The norm of all gradients together, before clipping.
    pub norm: f64,
    /// The largest load of an expert over the mean of its layer.
    pub imbalance: f64,
}

impl<'a> Trainer<'a> {
    /// A model of `recipe` on `device` that has learned nothing of `corpus` yet.
    ///
    /// # Errors
    /// A recipe that makes no sense.
    pub fn new(recipe: Recipe, corpus: &'a Corpus, device: &Device) -> Result<Self, Error> {
        recipe.check()?;
        let (config, family) = recipe.configs(corpus.vocabulary())?;
        let mut fresh = Model::fresh_tensors(&config, recipe.seed)?;
        let engram = match (family, &recipe.engram) {
            (Some(family), Some(engram)) => {
                let map = corpus.vocabulary().token_map()?;
                let scheme = family.scheme(Some(&map))?;
                fresh.extend(BlockWeights::fresh_tensors(
                    &config,
                    &family,
                    &scheme,
                    recipe.seed,
                )?);
                let tables = TrainableTable::fresh(&scheme, engram.width as usize, recipe.seed);
                let hasher = Hasher::new(scheme, Some(map))?;
                Some(EngramTables {
                    family,
                    hasher,
                    tables,
                })
            }
            _ => None,
        };
        Ok(Self {
            variables: variables(fresh, recipe.layers, device)?,
            batches: Batches::new(recipe.window, recipe.sequences, recipe.seed),
            corpus,
            config,
            engram,
            adam: Adam::default(),
            steps: Vec::new(),
            device: device.clone(),
            recipe,
        })
    }

    /// The recipe.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// What each step so far did.
    pub fn steps(&self) -> &[StepReport] {
        &self.steps
    }

    /// Whether all steps have been made.
    pub fn is_done(&self) -> bool {
        self.steps.len() >= self.recipe.steps
    }

    /// The tables, one for each Engram layer.
    pub fn tables(&self) -> &[TrainableTable] {
        self.engram.as_ref().map_or(&[], |engram| &engram.tables)
    }

    /// The decoder with the present weights, which it shares; ask for it again after a step.
    ///
    /// # Errors
    /// A computation that fails.
    pub fn model(&self) -> Result<Model, Error> {
        self.build(false)
    }

    /// A session of so many `sequences` over the present blocks and tables; none if the model has no Engram.
    ///
    /// # Errors
    /// A computation that fails.
    pub fn session(&self, sequences: usize) -> Result<Option<TableSession<'_>>, Error> {
        self.session_with(sequences, false)
    }

    /// The decoder, over variables if it learns.
    fn build(&self, learns: bool) -> Result<Model, Error> {
        let tensors = self.tensors(learns, |name| !is_of_block(name));
        Ok(Model::from_tensors(&self.config, &tensors, &self.device)?)
    }

    fn session_with(
        &self,
        sequences: usize,
        learns: bool,
    ) -> Result<Option<TableSession<'_>>, Error> {
        let Some(engram) = &self.engram else {
            return Ok(None);
        };
        let (family, scheme) = (&engram.family, engram.hasher.scheme());
        let tensors = self.tensors(learns, is_of_block);
        let blocks =
            BlockWeights::from_tensors(&self.config, family, scheme, &tensors, &self.device)?;
        let (hasher, tables) = (&engram.hasher, &engram.tables);
        Ok(Some(TableSession::new(
            blocks, hasher, tables, sequences, learns,
        )))
    }

    fn tensors(&self, learns: bool, chosen: impl Fn(&str) -> bool) -> BTreeMap<String, Tensor> {
        let variables = self.variables.iter().filter(|(name, _)| chosen(name));
        let tensor = |variable: &Var| {
            if learns {
                variable.as_tensor().clone()
            } else {
                variable.as_detached_tensor()
            }
        };
        variables
            .map(|(name, variable)| (name.clone(), tensor(variable)))
            .collect()
    }

    /// Makes the next step.
    ///
    /// # Errors
    /// Too little text, or a loss that is no number: the model then is as it was. A computation that fails: then go on
    /// from a state that was saved, for some of the weights may have moved.
    pub fn step(&mut self) -> Result<StepReport, Error> {
        // On a thread of the pool, so that parallel work can begin without waking another one.
        rayon::scope(|_| self.step_here())
    }

    fn step_here(&mut self) -> Result<StepReport, Error> {
        let step = self.steps.len();
        let windows = self.batches.windows(step, self.corpus.training())?;
        let last = self.recipe.window;
        let inputs: Vec<&[u32]> = windows.iter().map(|window| &window[..last]).collect();
        let targets: Vec<&[u32]> = windows.iter().map(|window| &window[1..]).collect();

        let model = self.build(true)?;
        let mut hook = Counted::new(self.session_with(inputs.len(), true)?);
        let mut cache = model.cache(inputs.len());
        let loss = model.loss(&inputs, &targets, &mut cache, &mut hook)?;
        let gradients = loss.backward()?;
        let loss = f64::from(loss.to_scalar::<f32>()?);
        let (loads, read) = (hook.loads, hook.hook.map(TableSession::into_read));
        let read = read.unwrap_or_default();
        let norm = self.norm(&gradients, &read)?;
        if !(loss.is_finite() && norm.is_finite()) {
            return Err(Error::Diverged { step, loss, norm });
        }
        let report = StepReport {
            loss,
            rate: self.recipe.rate * share(step, self.recipe.warmup, self.recipe.steps),
            norm,
            imbalance: imbalance(loads.values()),
        };
        self.learn(&gradients, &read, report)?;
        for (layer, loads) in &loads {
            balance(
                &self.variables[&correction(*layer)],
                loads,
                self.recipe.balance,
            )?;
        }
        self.steps.push(report);
        Ok(report)
    }

    /// The norm of all gradients together.
    fn norm(&self, gradients: &GradStore, read: &[(Touched, Tensor)]) -> Result<f64, Error> {
        let variables = self.variables.values().map(Var::as_tensor);
        let tensors = variables.chain(read.iter().map(|(_, rows)| rows));
        let squares = tensors
            .filter_map(|tensor| gradients.get(tensor))
            .map(|gradient| gradient.sqr()?.sum_all())
            .collect::<candle_core::Result<Vec<_>>>()?;
        let sum = Tensor::stack(&squares, 0)?.sum_all()?.to_scalar::<f32>()?;
        Ok(f64::from(sum).sqrt())
    }

    fn learn(
        &mut self,
        gradients: &GradStore,
        read: &[(Touched, Tensor)],
        report: StepReport,
    ) -> Result<(), Error> {
        let update = Update {
            rate: report.rate,
            decay: self.recipe.decay,
            scale: (self.recipe.clip / report.norm).min(1.0),
        };
        for (name, variable) in &self.variables {
            if let Some(gradient) = gradients.get(variable) {
                self.adam.update(name, variable, gradient, update)?;
            }
        }
        let of_rows = Update {
            rate: update.rate * self.recipe.rows_rate,
            ..update
        };
        let tables = self.engram.iter_mut().flat_map(|engram| &mut engram.tables);
        for (table, (touched, rows)) in tables.zip(read) {
            if let Some(gradient) = gradients.get(rows) {
                let gradient = gradient.flatten_all()?.to_vec1::<f32>()?;
                table.update(&touched.rows, &gradient, of_rows);
            }
        }
        Ok(())
    }
}

/// Whether the tensor `name` is part of an Engram block.
pub(crate) fn is_of_block(name: &str) -> bool {
    name.contains(".engram.")
}
