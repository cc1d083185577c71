use std::f64::consts::LN_2;

use anyhow::{Result, ensure};
use engram::read_manifest;
use engram_kit::{console::note, envelope::Outcome, report, say};
use engram_model::inside::scores;
use engram_pack::{CodecSpec, ConvertOptions, convert};
use serde::Serialize;

use crate::{
    model_under_study::{ModelUnderStudy, Rows},
    open::ModelArgs,
    text::{Text, TextArgs, TextSize},
};

/// Measure what row codecs do to a model: convert its pack to each of them, and score a text
///
/// The packs are made in the folder for temporary files and removed. Weights stay as they are, and so do the tokens
/// that the loss is the mean of: all but the first of each window.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    text: TextArgs,
    /// Row codec to convert to, as `engram-pack convert` takes it; all that fit the rows if none is given
    #[arg(long = "codec", value_name = "CODEC")]
    codecs: Vec<CodecSpec>,
}

#[derive(Debug, Serialize)]
struct Report {
    text: TextSize,
    /// Tokens that were scored.
    scored: usize,
    /// The pack as it is, then each codec.
    codecs: Vec<Quantized>,
    /// Codecs that do not fit the rows.
    left_out: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Quantized {
    codec: String,
    row_bytes: usize,
    /// Over all tables: the root of the sum of squared errors over that of squared values.
    relative_rmse: f64,
    /// Nats a token.
    loss: f64,
    /// The loss less that with the pack as it is.
    change: f64,
    /// The standard error of the change, as if tokens were independent.
    change_error: f64,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let text = self.text.encode(&self.model.tokenizer()?)?;
        let manifest = read_manifest(&self.model.pack)?;
        let given = !self.codecs.is_empty();
        let codecs = if given {
            self.codecs.clone()
        } else {
            CodecSpec::all().collect()
        };
        let fits = |spec: &CodecSpec| {
            let mut tables = manifest.tables.iter();
            tables.try_for_each(|table| spec.codec(table.codec.width()).map(drop))
        };
        let mut left_out = Vec::new();
        let mut fitting = Vec::new();
        for spec in codecs {
            match fits(&spec) {
                Err(error) if given => return Err(error.context(format!("codec {spec}"))),
                Err(error) => left_out.push(format!("{spec}: {error}")),
                Ok(()) => fitting.push(spec),
            }
        }
        let before = losses(&self.model, &text)?;
        ensure!(before.len() > 1, "one token is scored, expected more");
        let table = manifest.tables[0].codec;
        let as_is = format!("as it is ({})", table.name());
        let mut all = vec![Quantized::new(
            as_is,
            table.row_bytes(),
            0.0,
            &before,
            &before,
        )];
        for spec in fitting {
            all.push(self.quantized(&spec, &text, &before)?);
        }
        let report = Report {
            text: text.size(),
            scored: before.len(),
            codecs: all,
            left_out,
        };
        report.print()?;
        Ok(Outcome::new(&report)?.of_pack(&self.model.pack))
    }

    fn quantized(&self, spec: &CodecSpec, text: &Text, before: &[f64]) -> Result<Quantized> {
        let folder = tempfile::tempdir()?;
        let pack = folder.path().join("pack");
        let options = ConvertOptions::to(spec.clone());
        let converted = convert(&self.model.pack, &pack, &options, &|_| ())?;
        let sum = |of: fn(&engram_pack::ColumnFidelity) -> f64| -> f64 {
            converted.columns.iter().map(of).sum()
        };
        let [error, values] = [sum(|of| of.squared_error), sum(|of| of.squared_values)];
        let rmse = if error == 0.0 {
            0.0
        } else {
            (error / values).sqrt()
        };
        let mut model = self.model.clone();
        model.pack = pack;
        let now = losses(&model, text)?;
        let row_bytes = converted.tables[0].to.row_bytes();
        Ok(Quantized::new(
            spec.to_string(),
            row_bytes,
            rmse,
            &now,
            before,
        ))
    }
}

/// The loss of each token but the first of a window, in nats.
fn losses(model: &ModelArgs, text: &Text) -> Result<Vec<f64>> {
    let studied = ModelUnderStudy::open(model)?;
    let mut all = Vec::new();
    for window in text.windows_and_next() {
        let before = &window[..window.len() - 1];
        let pass = studied.pass(before, Rows::Added)?;
        let scored = scores(&pass.logits, &window[1..])?;
        all.extend(scored.iter().map(|score| LN_2 * score.bits));
    }
    Ok(all)
}

impl Quantized {
    #[expect(clippy::cast_precision_loss, reason = "few tokens")]
    fn new(
        codec: String,
        row_bytes: usize,
        relative_rmse: f64,
        now: &[f64],
        before: &[f64],
    ) -> Self {
        let tokens = now.len() as f64;
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / tokens;
        let changes = || now.iter().zip(before).map(|(now, before)| now - before);
        let change = mean(&mut changes());
        let squares: f64 = changes().map(|value| (value - change).powi(2)).sum();
        Self {
            codec,
            row_bytes,
            relative_rmse,
            loss: mean(&mut now.iter().copied()),
            change,
            change_error: (squares / (tokens - 1.0) / tokens).sqrt(),
        }
    }
}

impl Report {
    fn print(&self) -> Result<()> {
        self.text.print()?;
        say!("loss: nats a token; change: with the standard error, as if tokens were independent");
        let head = ["codec", "bytes a row", "rel. RMSE", "loss", "change"];
        let row = |of: &Quantized| {
            vec![
                of.codec.clone(),
                of.row_bytes.to_string(),
                format!("{:.5}", of.relative_rmse),
                format!("{:.5}", of.loss),
                format!("{:+.5} \u{b1} {:.5}", of.change, of.change_error),
            ]
        };
        report::table(&head, &self.codecs.iter().map(row).collect::<Vec<_>>())?;
        for reason in &self.left_out {
            note(format!("left out: {reason}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_means_with_their_errors() {
        let found = Quantized::new("c".into(), 1, 0.5, &[2.0, 4.0, 6.0], &[1.0, 2.0, 3.0]);
        assert_eq!((found.loss, found.change), (4.0, 2.0));
        assert!((found.change_error - (1.0_f64 / 3.0).sqrt()).abs() < 1e-12);
    }
}
