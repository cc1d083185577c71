//! How large a model is.

use serde::{Deserialize, Serialize};

use crate::{EngramRecipe, Trainer, trainer::is_of_block};

/// How many numbers a model has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// Embedding and head.
    pub vocabulary: u64,
    /// Routed experts.
    pub experts: u64,
    /// Those of the experts that a token is given to.
    pub chosen_experts: u64,
    /// Rows.
    pub rows: u64,
    /// Those of the rows that a token reads.
    pub read_rows: u64,
    /// Projections and convolutions of Engram blocks.
    pub blocks: u64,
    /// Everything else.
    pub others: u64,
}

impl Parameters {
    /// The number of all parameters.
    pub fn total(&self) -> u64 {
        self.vocabulary + self.experts + self.rows + self.blocks + self.others
    }

    /// The number of parameters that a token computes with; of the vocabulary only the head counts.
    pub fn active(&self) -> u64 {
        self.vocabulary / 2 + self.chosen_experts + self.read_rows + self.blocks + self.others
    }
}

impl Trainer<'_> {
    /// How many numbers there are.
    pub fn parameters(&self) -> Parameters {
        let count = |belongs: &dyn Fn(&str) -> bool| -> u64 {
            let chosen = self.variables.iter().filter(|(name, _)| belongs(name));
            chosen
                .map(|(_, variable)| variable.elem_count() as u64)
                .sum()
        };
        let is_expert = |name: &str| name.contains(".experts.");
        let is_vocabulary = |name: &str| name.contains("embed_tokens") || name.contains("lm_head");
        let experts = count(&is_expert);
        let (chosen, all) = (self.recipe.chosen as u64, self.recipe.experts as u64);
        let tables = self.tables().iter();
        let columns = self.recipe.engram.as_ref().map_or(0, EngramRecipe::columns);
        Parameters {
            vocabulary: count(&is_vocabulary),
            experts,
            chosen_experts: experts / all * chosen,
            rows: tables.clone().map(|table| table.values.len() as u64).sum(),
            read_rows: tables.map(|table| columns * table.width() as u64).sum(),
            blocks: count(&is_of_block),
            others: count(&|name| !is_expert(name) && !is_of_block(name) && !is_vocabulary(name)),
        }
    }
}
