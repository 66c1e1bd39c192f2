//! The base-model registry: what is publicly known of the compute of models that people fine-tune.
//!
//! A name is resolved exactly or not at all: a miss suggests, it never guesses.

mod check;
mod composed;
mod declared;
mod name;
mod row;
mod suggest;
mod weights;

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use serde::Deserialize;

use crate::unit::Flops;

pub use check::{Checked, Defect, check};
pub use composed::ComposedBase;
pub use declared::{DeclaredBase, DeclaredBaseProblem, Descent, ModifiedBy};
pub use name::repository_of_path;
pub use row::{BaseModel, FlopBound, FlopFigure, RegistryProblem};
pub use weights::{StoredWeights, WeightsProblem};

const ROWS: &str = include_str!("../data/base_models.csv");
const ABOUT: &str = include_str!("../data/base_models.toml");

/// A table of base models.
///
/// ```
/// use flopsmeter_core::registry::Registry;
/// let registry = Registry::embedded().unwrap();
/// let model = registry.lookup("meta-llama/llama-3.1-8b-instruct").unwrap();
/// assert_eq!(model.id, "meta-llama/Llama-3.1-8B");
/// assert_eq!(model.flop.unwrap().to_string(), "722700000000000000000000");
/// ```
#[derive(Debug)]
pub struct Registry {
    models: Vec<BaseModel>,
    /// Lower-case ids and aliases.
    names: HashMap<String, usize>,
    about: About,
}

/// What holds for every row.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    state: chrono::NaiveDate,
    attribution: Vec<String>,
    /// Dense operations per second of the GPUs that rows name, by the makers' data sheets.
    gpu_peaks: BTreeMap<String, Flops>,
}

/// A name that is no row's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no base model is called `{name}`{}; use an exact id, or declare the base in a TOML file and name that file", did_you_mean(.suggestions))]
pub struct RegistryMiss {
    /// What was asked for.
    pub name: String,
    /// Up to five ids or aliases that look alike, best first.
    pub suggestions: Vec<String>,
}

fn did_you_mean(suggestions: &[String]) -> String {
    if suggestions.is_empty() { String::new() } else { format!(" (did you mean {}?)", suggestions.join(", ")) }
}

impl Registry {
    /// The embedded table as it stands in the file, header first.
    pub const TABLE: &'static str = ROWS;

    /// The embedded table, read at first use.
    pub fn embedded() -> Result<&'static Self, RegistryProblem> {
        static EMBEDDED: OnceLock<Result<Registry, RegistryProblem>> = OnceLock::new();
        EMBEDDED.get_or_init(|| Self::parse(ROWS, ABOUT)).as_ref().map_err(Clone::clone)
    }

    /// Reads a table and what holds for all of it; the first problem is returned, with its row and key.
    pub fn parse(rows: &str, about: &str) -> Result<Self, RegistryProblem> {
        let about: About =
            toml::from_str(about).map_err(|cause| RegistryProblem::About { cause: cause.message().to_owned() })?;
        let models = row::read(rows, &about)?;
        let mut names = HashMap::with_capacity(2 * models.len());
        for (index, model) in models.iter().enumerate() {
            for name in model.names() {
                if names.insert(name.to_lowercase(), index).is_some_and(|other| other != index) {
                    return Err(RegistryProblem::row(
                        &model.id,
                        "hf_aliases",
                        format!("`{name}` is another row's name"),
                    ));
                }
            }
        }
        Ok(Self { models, names, about })
    }

    /// The row of exactly this id or alias, in any case of letters.
    pub fn lookup(&self, name: &str) -> Result<&BaseModel, RegistryMiss> {
        self.find(name).ok_or_else(|| self.miss(name))
    }

    /// As [`Registry::lookup`], and also takes a Hub address and the path of a model in the Hub's local cache
    /// (`…/models--meta-llama--Llama-3.1-8B/snapshots/…`). No file is read; other paths are a miss.
    ///
    /// ```
    /// use flopsmeter_core::registry::Registry;
    /// let registry = Registry::embedded().unwrap();
    /// let path = "/home/me/.cache/huggingface/hub/models--Qwen--Qwen3-8B-Base/snapshots/49e3";
    /// assert_eq!(registry.lookup_name_or_path(path).unwrap().id, "Qwen/Qwen3-8B-Base");
    /// ```
    pub fn lookup_name_or_path(&self, name: &str) -> Result<&BaseModel, RegistryMiss> {
        self.find(name)
            .or_else(|| repository_of_path(name).and_then(|repository| self.find(&repository)))
            .ok_or_else(|| self.miss(name))
    }

    /// Rows whose id, alias, family or developer contains every word of `text`, in the order of the table.
    pub fn search(&self, text: &str) -> Vec<&BaseModel> {
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        self.models.iter().filter(|model| words.iter().all(|word| model.mentions(word))).collect()
    }

    /// Rows with this number of parameters, in the order of the table.
    pub fn of_size(&self, parameters: u128) -> impl Iterator<Item = &BaseModel> {
        let is_it = move |model: &&BaseModel| {
            model.total_parameters.is_some_and(|listed| StoredWeights::is_count(parameters, listed))
        };
        self.models.iter().filter(is_it)
    }

    /// Rows that name this one as what they continue, prune or merge, in the order of the table.
    pub fn children<'a>(&'a self, model: &'a BaseModel) -> impl Iterator<Item = &'a BaseModel> {
        let is_child = |row: &&BaseModel| self.parent(row).is_some_and(|parent| parent.id == model.id);
        self.models.iter().filter(is_child)
    }

    /// The row that a model continues, prunes or merges; `None` where its parent has none.
    pub fn parent(&self, model: &BaseModel) -> Option<&BaseModel> {
        model.parent.as_deref().and_then(|parent| self.find(parent))
    }

    /// All rows.
    pub fn models(&self) -> &[BaseModel] {
        &self.models
    }

    /// Day as of which the table was compiled.
    pub const fn state(&self) -> chrono::NaiveDate {
        self.about.state
    }

    /// Lines that its sources' licences ask for.
    pub fn attribution(&self) -> &[String] {
        &self.about.attribution
    }

    fn find(&self, name: &str) -> Option<&BaseModel> {
        self.names.get(&name.trim().to_lowercase()).and_then(|index| self.models.get(*index))
    }

    fn miss(&self, name: &str) -> RegistryMiss {
        let known = self.models.iter().flat_map(BaseModel::names);
        RegistryMiss { name: name.to_owned(), suggestions: suggest::suggest(name, known) }
    }
}

/// What is known of the model that was modified.
///
/// ```
/// use flopsmeter_core::registry::{Base, Registry};
/// let base = Base::resolve(Registry::embedded().unwrap(), "nobody/private-model");
/// assert_eq!(base.name(), "nobody/private-model");
/// assert!(base.flop().is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base<'registry> {
    /// A row of the registry, with or without a figure.
    Registry(&'registry BaseModel),
    /// A file in which somebody declares it.
    Declared(Box<DeclaredBase>),
    /// A model of a lineage, with what stands behind it added up.
    Composed(Box<ComposedBase>),
    /// A name of which nothing is known.
    Unresolved {
        /// The name as it was given.
        name: String,
        /// Names that look alike.
        suggestions: Vec<String>,
    },
}

impl<'registry> Base<'registry> {
    /// The row of this name or Hub path, else the bare name.
    pub fn resolve(registry: &'registry Registry, name: &str) -> Self {
        match registry.lookup_name_or_path(name) {
            Ok(model) => Self::Registry(model),
            Err(RegistryMiss { name, suggestions }) => Self::Unresolved { name, suggestions },
        }
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        match self {
            Self::Registry(model) => &model.id,
            Self::Declared(declared) => &declared.name,
            Self::Composed(composed) => &composed.name,
            Self::Unresolved { name, .. } => name,
        }
    }

    /// Its training compute, where a figure is known.
    pub fn flop(&self) -> Option<Flops> {
        match self {
            Self::Registry(model) => model.flop,
            Self::Declared(declared) => Some(declared.flop),
            Self::Composed(composed) => composed.flop,
            Self::Unresolved { .. } => None,
        }
    }

    /// Whether that is the figure or less than it.
    pub fn flop_bound(&self) -> FlopBound {
        match self {
            Self::Registry(model) => model.flop_bound,
            Self::Declared(declared) => declared.flop_bound,
            Self::Composed(composed) => composed.flop_bound,
            Self::Unresolved { .. } => FlopBound::Point,
        }
    }

    /// Whether it is a general-purpose model, where its source says so.
    pub fn is_gpai(&self) -> Option<bool> {
        match self {
            Self::Declared(declared) => declared.gpai,
            Self::Composed(composed) => composed.gpai,
            Self::Registry(_) | Self::Unresolved { .. } => None,
        }
    }

    /// Whether it has systemic risk, where its source says so.
    pub fn has_systemic_risk(&self) -> Option<bool> {
        match self {
            Self::Registry(model) => model.has_systemic_risk,
            Self::Declared(declared) => declared.systemic_risk,
            Self::Composed(composed) => composed.systemic_risk,
            Self::Unresolved { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
