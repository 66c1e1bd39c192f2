//! Rows of the registry.

use std::collections::HashMap;

use chrono::NaiveDate;
use csv::StringRecord;
use sha2::{Digest as _, Sha256};

use super::About;
use crate::assess::Origin;
use crate::ledger::Digest;
use crate::unit::{Flops, parse_whole};

/// What is publicly known of one base model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseModel {
    /// Hugging Face id.
    pub id: String,
    /// Other ids of the same model (its chat version, mirrors, former names).
    pub aliases: Vec<String>,
    /// Family, for example `Llama 3.1`.
    pub family: String,
    /// Who made it.
    pub developer: String,
    /// Year and month of release.
    pub release_date: String,
    /// `dense`, `MoE`, `enc-dec` …
    pub architecture: String,
    /// All parameters.
    pub total_parameters: Option<u128>,
    /// Those that one token passes.
    pub active_parameters: Option<u128>,
    /// Tokens of the whole pretraining.
    pub pretrain_tokens: Option<u128>,
    /// Tokens of the own stage of a model that continues another.
    pub stage_tokens: Option<u128>,
    /// Model that this one continues, prunes or merges.
    pub parent: Option<String>,
    /// How it comes from its parent.
    pub parent_relation: Option<String>,
    /// The parent's compute that is in the figure.
    pub parent_flop: Option<Flops>,
    /// Recommended figure of its training compute; `None` where none is known.
    pub flop: Option<Flops>,
    /// Where the recommended figure is from: `developer-stated`, `epoch`, `estimated` …
    pub flop_basis: String,
    /// Whether it is the figure or less than it.
    pub flop_bound: FlopBound,
    /// Smallest comparable figure of any source.
    pub flop_lowest: Option<Flops>,
    /// All comparable figures, by source.
    pub figures: Vec<FlopFigure>,
    /// Arithmetic of the estimate.
    pub estimate_formula: Option<String>,
    /// What the arithmetic is.
    pub estimate_method: Option<String>,
    /// Hours of one GPU that its training took, as published.
    pub gpu_hours: Option<u128>,
    /// Which GPU that was.
    pub gpu_type: Option<String>,
    /// Those hours times the GPU's peak by its data sheet; `None` of a model that continues another, whose hours are its own stage's.
    pub hardware_flop: Option<Flops>,
    gpu_hours_source: Option<String>,
    /// `confident`, `likely`, `speculative` or `none`.
    pub confidence: String,
    /// Whether its compute is over the presumption of systemic risk: `Some` where the table is sure.
    pub has_systemic_risk: Option<bool>,
    /// Whether its sources differ by more than 30 %.
    pub sources_disagree: bool,
    /// Why there is no figure.
    pub unknown_reason: Option<String>,
    /// What a reader has to know.
    pub notes: Option<String>,
    /// Addresses of the documents that the figures come from.
    pub sources: Vec<String>,
    /// Licence.
    pub licence: String,
    /// Edition of Epoch AI's table.
    pub epoch_snapshot: Option<String>,
    state: NaiveDate,
    /// The row as it stands in the file.
    raw: String,
}

/// Whether a figure is exact to its source's precision, or less than the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlopBound {
    /// The figure.
    Point,
    /// At least this.
    Lower,
}

const SECONDS_PER_HOUR: u128 = 3600;

/// A figure of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlopFigure {
    /// `developer`, `epoch`, `third-party-list` or `estimate`.
    pub source: &'static str,
    /// The figure.
    pub flop: Flops,
}

/// A column's name in the file and what was wrong there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryProblem {
    /// The file's form is broken.
    #[error("the base-model table cannot be read: {cause}; restore the file")]
    Form {
        /// What the reader says, with the line.
        cause: String,
    },
    /// A row's value is wrong.
    #[error("base-model row `{row}`, column `{key}`: {cause}; correct the row")]
    Row {
        /// Id of the row.
        row: String,
        /// Column.
        key: String,
        /// What is wrong.
        cause: String,
    },
    /// What holds for all rows cannot be read.
    #[error("base_models.toml: {cause}; restore the file")]
    About {
        /// What the reader says.
        cause: String,
    },
}

impl RegistryProblem {
    pub(super) fn row(row: &str, key: &str, cause: impl Into<String>) -> Self {
        Self::Row { row: row.to_owned(), key: key.to_owned(), cause: cause.into() }
    }
}

impl BaseModel {
    /// Id first, then aliases.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        core::iter::once(self.id.as_str()).chain(self.aliases.iter().map(String::as_str))
    }

    /// SHA-256 of the row as it stands in the file.
    pub fn digest(&self) -> Digest {
        Digest(Sha256::digest(self.raw.as_bytes()).into())
    }

    /// Where the recommended figure comes from.
    pub fn origin(&self) -> Origin {
        let arithmetic = self.estimate_formula.as_ref().filter(|_| self.flop_basis.starts_with("estimated"));
        let kind = match (self.flop_basis.as_str(), arithmetic) {
            ("epoch", _) => "Epoch AI (epoch.ai), CC BY 4.0".to_owned(),
            (basis, Some(formula)) => format!("{basis} as {formula}"),
            (basis, None) => basis.to_owned(),
        };
        let documents = self.sources.join(", ");
        let source = if documents.is_empty() { kind } else { format!("{kind}; {documents}") };
        let date = match (self.flop_basis.as_str(), &self.epoch_snapshot) {
            ("epoch", Some(snapshot)) => snapshot.clone(),
            _ => self.state.to_string(),
        };
        Origin::Registry { source, date }
    }

    /// Where its GPU-hours come from.
    pub fn hardware_origin(&self) -> Origin {
        let hours = self.gpu_hours.zip(self.gpu_type.as_ref());
        let hours =
            hours.map_or_else(String::new, |(hours, gpu)| format!("{hours} hours of {gpu} × its data sheet's peak; "));
        let source = self.gpu_hours_source.as_deref().unwrap_or("not on record");
        Origin::Registry { source: format!("{hours}{source}"), date: self.state.to_string() }
    }

    /// Parameters that one token passes, for 6·P·D: of an encoder-decoder about half, as Google counts T5 (Raffel et al. 2020).
    /// `None` of a model whose compute is not counted by tokens.
    pub fn parameters_passed(&self) -> Option<u128> {
        self.pretrain_tokens?;
        let parameters = self.active_parameters.or(self.total_parameters)?;
        Some(if self.architecture.starts_with("enc-dec") { parameters.div_ceil(2) } else { parameters })
    }

    pub(super) fn mentions(&self, word: &str) -> bool {
        self.names()
            .chain([self.family.as_str(), self.developer.as_str()])
            .any(|text| text.to_lowercase().contains(word))
    }
}

/// Reads the table, one row for each line after the header.
pub(super) fn read(text: &str, about: &About) -> Result<Vec<BaseModel>, RegistryProblem> {
    let mut models = Vec::new();
    each(text, |row, raw| {
        models.push(model(row, raw, about)?);
        Ok(())
    })?;
    Ok(models)
}

/// Hands over each row after the header, with its text as it stands in the file.
pub(super) fn each(
    text: &str,
    mut take: impl FnMut(&Row<'_>, &str) -> Result<(), RegistryProblem>,
) -> Result<(), RegistryProblem> {
    let form = |cause: csv::Error| RegistryProblem::Form { cause: cause.to_string() };
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().map_err(form)?.clone();
    let columns: HashMap<&str, usize> = header.iter().enumerate().map(|(index, name)| (name, index)).collect();
    let mut record = StringRecord::new();
    loop {
        let start = reader.position().byte();
        if !reader.read_record(&mut record).map_err(form)? {
            return Ok(());
        }
        let range = usize::try_from(start).ok().zip(usize::try_from(reader.position().byte()).ok());
        let raw = range.and_then(|(start, end)| text.get(start..end)).unwrap_or_default().trim();
        take(&Row { columns: &columns, record: &record }, raw)?;
    }
}

/// One line of the table.
pub(super) struct Row<'a> {
    /// Where each column stands, by its name.
    columns: &'a HashMap<&'a str, usize>,
    record: &'a StringRecord,
}

impl Row<'_> {
    /// A cell's text; an empty cell is `None`, an unknown column an error.
    pub(super) fn cell(&self, key: &str) -> Result<Option<&str>, RegistryProblem> {
        let column = self.columns.get(key);
        let column = column.ok_or_else(|| RegistryProblem::row("header", key, "the column is missing"))?;
        Ok(self.record.get(*column).map(str::trim).filter(|text| !text.is_empty()))
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<String>, RegistryProblem> {
        Ok(self.cell(key)?.map(str::to_owned))
    }

    pub(super) fn required(&self, key: &str) -> Result<String, RegistryProblem> {
        self.text(key)?.ok_or_else(|| RegistryProblem::row(self.id(), key, "the cell is empty"))
    }

    pub(super) fn whole(&self, key: &str) -> Result<Option<u128>, RegistryProblem> {
        self.cell(key)?
            .map(|text| match parse_whole(text) {
                Ok(0) => Err(RegistryProblem::row(self.id(), key, "zero is no figure; leave the cell empty")),
                Ok(value) => Ok(value),
                Err(problem) => Err(RegistryProblem::row(self.id(), key, problem.to_string())),
            })
            .transpose()
    }

    pub(super) fn flop(&self, key: &str) -> Result<Option<Flops>, RegistryProblem> {
        Ok(self.whole(key)?.map(Flops))
    }

    /// Seconds times the peak of the GPU's kind.
    fn hardware(&self, about: &About) -> Result<Option<Flops>, RegistryProblem> {
        let Some((hours, gpu)) = self.whole("gpu_hours")?.zip(self.cell("gpu_type")?) else { return Ok(None) };
        let Some(peak) = about.gpu_peaks.get(gpu) else {
            let known = about.gpu_peaks.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(RegistryProblem::row(
                self.id(),
                "gpu_type",
                format!("`{gpu}` has no peak in base_models.toml ({known})"),
            ));
        };
        if self.cell("parent_model")?.is_some() {
            return Ok(None);
        }
        let too_many = || RegistryProblem::row(self.id(), "gpu_hours", "hours times peak leave 128 bits");
        let flop = hours.checked_mul(SECONDS_PER_HOUR).and_then(|seconds| seconds.checked_mul(peak.0));
        flop.map(|flop| Some(Flops(flop))).ok_or_else(too_many)
    }

    pub(super) fn id(&self) -> &str {
        self.record.get(0).unwrap_or_default()
    }

    fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<T, RegistryProblem> {
        let text = self.cell(key)?.unwrap_or_default();
        choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
            let known = choices.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            RegistryProblem::row(self.id(), key, format!("`{text}` is none of {known}"))
        })
    }

    pub(super) fn figures(&self) -> Result<Vec<FlopFigure>, RegistryProblem> {
        let whole_model = self.cell("flop_epoch_scope")? == Some("whole model");
        let mut figures = Vec::new();
        for (key, source) in [
            ("flop_developer", "developer"),
            ("flop_epoch", "epoch"),
            ("flop_third_party_list", "third-party-list"),
            ("flop_estimate", "estimate"),
        ] {
            // Epoch often counts the own stage of a continued model alone, which is no figure of the whole.
            if (source != "epoch" || whole_model)
                && let Some(flop) = self.flop(key)?
            {
                figures.push(FlopFigure { source, flop });
            }
        }
        Ok(figures)
    }
}

fn model(row: &Row<'_>, raw: &str, about: &About) -> Result<BaseModel, RegistryProblem> {
    let flop = row.flop("flop")?;
    let bound = [("point", FlopBound::Point), ("lower", FlopBound::Lower), ("", FlopBound::Point)];
    let systemic = [("yes", Some(true)), ("no", Some(false)), ("unknown", None), ("unknown (lower bound)", None)];
    let list = |text: Option<String>, mark: &[char]| -> Vec<String> {
        text.iter()
            .flat_map(|text| text.split(mark))
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    if flop.is_none() && row.cell("unknown_reason")?.is_none() {
        return Err(RegistryProblem::row(row.id(), "unknown_reason", "a row without a figure says why"));
    }
    Ok(BaseModel {
        id: row.required("hf_id")?,
        aliases: list(row.text("hf_aliases")?, &[';']),
        family: row.text("family")?.unwrap_or_default(),
        developer: row.required("developer")?,
        release_date: row.text("release_date")?.unwrap_or_default(),
        architecture: row.text("architecture")?.unwrap_or_default(),
        total_parameters: row.whole("total_params")?,
        active_parameters: row.whole("active_params")?,
        pretrain_tokens: row.whole("pretrain_tokens")?,
        stage_tokens: row.whole("stage_tokens")?,
        parent: row.text("parent_model")?,
        parent_relation: row.text("parent_relation")?,
        parent_flop: row.flop("parent_compute_flop")?,
        flop,
        flop_basis: row.required("flop_basis")?,
        flop_bound: row.choice("flop_bound", &bound)?,
        flop_lowest: row.flop("flop_lowest")?,
        figures: row.figures()?,
        estimate_formula: row.text("estimate_formula")?,
        estimate_method: row.text("estimate_method")?,
        gpu_hours: row.whole("gpu_hours")?,
        gpu_type: row.text("gpu_type")?,
        hardware_flop: row.hardware(about)?,
        gpu_hours_source: row.text("gpu_hours_source")?,
        confidence: row.text("confidence")?.unwrap_or_default(),
        has_systemic_risk: row.choice("above_1e25", &systemic)?,
        sources_disagree: row.choice("disagreement_over_30pct", &[("yes", true), ("no", false), ("", false)])?,
        unknown_reason: row.text("unknown_reason")?,
        notes: row.text("notes")?,
        sources: list(row.text("sources")?, &['|']),
        licence: row.text("licence")?.unwrap_or_default(),
        epoch_snapshot: row.text("epoch_snapshot")?,
        state: about.state,
        raw: raw.to_owned(),
    })
}
