//! Trains small models whose Engram tables are learned from text, on candle.
//!
//! ```text
//! texts ---> Texts (training, held out) ---> Vocabulary ---> Corpus
//!                                                              |
//! Recipe ---> Trainer: Model and blocks over variables, tables <-- Batches
//!                |            |
//!                |            +--> State: everything, to go on later
//!                +--> checkpoint: config.json, tokenizer.json, model.safetensors ---> engram-pack, engram-model
//! ```
//!
//! The forward pass is that of `engram-model`. The same recipe, text and seed give the same weights to the bit on the
//! processor, whatever the number of threads.

#![forbid(unsafe_code)]

mod adam;
mod allocation;
mod balance;
mod batches;
mod checkpoint;
mod corpus;
mod error;
mod init;
mod measure;
mod parameters;
mod preset;
mod recipe;
mod schedule;
mod state;
mod table;
mod table_session;
mod text;
mod trainer;
mod vocabulary;

pub use corpus::Corpus;
pub use error::Error;
pub use measure::Measured;
pub use parameters::Parameters;
pub use preset::Preset;
pub use recipe::{EngramRecipe, Recipe};
pub use table::TrainableTable;
pub use table_session::TableSession;
pub use text::{SAMPLE, Texts, read_documents};
pub use trainer::{StepReport, Trainer};
pub use vocabulary::Vocabulary;
