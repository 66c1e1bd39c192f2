//! Why a configuration describes no network we can count.

/// A configuration that cannot be counted. Each message names the key, what stands there, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeProblem {
    /// The file holds JSON, but no object.
    #[error("the configuration is no JSON object; give the `config.json` that lies beside the model's weights")]
    NotAnObject,
    /// A family nobody has described yet; it is never guessed from look-alikes.
    #[error(
        "model_type `{found}` is not known; {count} are counted from their configuration, nearest by name: {nearest}; \
         `flopsmeter run` counts any other from the live model"
    )]
    UnknownFamily {
        /// What the configuration says.
        found: String,
        /// How many are known.
        count: usize,
        /// Those whose names come nearest.
        nearest: String,
    },
    /// A configuration around a text model and others.
    #[error(
        "model_type `{found}` wraps a text model with other parts (`text_config`), which cannot be counted yet; \
         if only its text part is trained on text, give `text_config` alone as the configuration"
    )]
    Wrapper {
        /// What the configuration says.
        found: String,
    },
    /// A head that the family's classes do not have, or that nobody has described yet.
    #[error(
        "architectures names `{found}`, a head that cannot be counted yet; name another class of the family that the weights \
         fit, or meter the job with `flopsmeter run`"
    )]
    UnknownHead {
        /// What the configuration says.
        found: String,
    },
    /// A class that lies beside the weights and is no class of the family.
    #[error(
        "auto_map makes `{class}` the model's class, which is no class of `{model_type}` and may compute anything; \
         meter the job with `flopsmeter run`, or leave `auto_map` out if the network is that of `{model_type}`"
    )]
    OwnCode {
        /// The class.
        class: String,
        /// The family.
        model_type: String,
    },
    /// A setting whose products nobody has described yet; it is never counted as a look-alike.
    #[error("key `{key}` is {found}, which cannot be counted yet; meter the job with `flopsmeter run` instead")]
    NotCounted {
        /// The key.
        key: String,
        /// What stands there.
        found: String,
    },
    /// A key that has no default is absent.
    #[error("key `{key}` is missing; add it as the model's own `config.json` has it")]
    Missing {
        /// The key.
        key: String,
    },
    /// A key holds a value of another type.
    #[error("key `{key}` is {found}, but must be {expected}; correct it after the model's own `config.json`")]
    WrongType {
        /// The key.
        key: String,
        /// What stands there, shortened.
        found: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// A number that no network has.
    #[error(
        "key `{key}` is {found}, but must lie between 1 and {most}; correct it after the model's own `config.json`"
    )]
    OutOfRange {
        /// The key.
        key: String,
        /// What stands there.
        found: String,
        /// The largest accepted value.
        most: u64,
    },
    /// Two keys that do not go together.
    #[error("key `{key}` is {found}, but {conflict}; correct one of them after the model's own `config.json`")]
    Contradiction {
        /// The key.
        key: String,
        /// What stands there.
        found: String,
        /// With what it collides.
        conflict: String,
    },
    /// An inventory that contradicts itself.
    #[error(
        "the inventory of the live model cannot be read: {what}; use a Python package of the command's own version"
    )]
    Inventory {
        /// What is wrong with it.
        what: String,
    },
}
