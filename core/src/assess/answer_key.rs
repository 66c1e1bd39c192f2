//! The legal questions that somebody has to answer. Their wording, their kind and what they bear on stand in the rule set.

use serde::{Deserialize, Serialize};

/// Ties each question to its name once.
macro_rules! questions {
    ($($(#[$meaning:meta])* $variant:ident => $name:literal),+ $(,)?) => {
        /// A question that somebody has to answer. Names are part of every ledger: they are added to, never changed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum AnswerKey {
            $($(#[$meaning])* #[serde(rename = $name)] $variant,)+
        }

        impl AnswerKey {
            /// All questions.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The name used in files, JSON and on the command line.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

questions! {
    /// Is the base a general-purpose AI model?
    BaseIsGpai => "base-is-gpai",
    /// Was its provider asked for the base's compute, did not tell, and can it not be estimated?
    BaseUnknowable => "base-unknowable",
    /// Has the base systemic risk (presumed, designated or notified)?
    BaseHasSystemicRisk => "base-has-systemic-risk",
    /// Does whoever modifies act for the base's original provider, or is it that provider?
    ActsForOriginalProvider => "acts-for-original-provider",
    /// Who controls the weights that result, where the fine-tuning is a hosted service?
    WeightsControlledBy => "weights-controlled-by",
    /// Is it non-professional or scientific research work?
    NonProfessionalOrResearch => "non-professional-or-research",
    /// Is the model developed or used outside any profession alone?
    NonProfessional => "non-professional",
    /// Is it developed or used for scientific research alone?
    ScientificResearchOnly => "scientific-research-only",
    /// Does it serve research, development or prototyping alone, before it is placed on the market?
    ResearchAndPrototypingOnly => "research-and-prototyping-only",
    /// Is the result placed on the Union market under the modifier's own name in a commercial activity?
    PlacedOnUnionMarket => "placed-on-union-market",
    /// Is it supplied to others for distribution or use in the Union, by itself or within a system?
    MadeAvailableInUnion => "made-available-in-union",
    /// Under the modifier's own name or trade mark?
    OwnName => "own-name",
    /// In the course of a commercial activity, for payment or free of charge?
    CommercialActivity => "commercial-activity",
    /// Is it used in internal processes at all?
    InternalUse => "internal-use",
    /// Is it used internally alone, and supplied to nobody?
    InternalUseOnly => "internal-use-only",
    /// Is that internal use essential to a product or service for third parties?
    InternalUseEssentialToThirdParties => "internal-use-essential-to-third-parties",
    /// Does it affect the rights of natural persons in the Union?
    InternalUseAffectsNaturalPersons => "internal-use-affects-natural-persons",
    /// On which day was the result placed on the Union market?
    PlacedOnMarketDate => "placed-on-market-date",
    /// Is the result a general-purpose AI model?
    ResultIsGpai => "result-is-gpai",
    /// Did generality, capabilities or systemic risk change significantly?
    ChangedSignificantly => "changed-significantly",
    /// Did its generality?
    ChangedGenerality => "changed-generality",
    /// Did its capabilities?
    ChangedCapabilities => "changed-capabilities",
    /// Did its systemic risk?
    ChangedSystemicRisk => "changed-systemic-risk",
    /// Is whoever modifies established in the Union?
    EstablishedInUnion => "established-in-union",
    /// Is whoever modifies a small or medium-sized enterprise, or a start-up?
    Sme => "sme",
    /// Are the conditions of the open-source exemption met?
    OpenSourceConditionsMet => "open-source-conditions-met",
    /// Is the licence free and open: access, use, modification and distribution for everybody?
    LicenceFreeAndOpen => "licence-free-and-open",
    /// Are weights, architecture and information on use public?
    WeightsAndArchitecturePublic => "weights-and-architecture-public",
    /// Is nothing charged for access, use, modification or distribution?
    NotMonetised => "not-monetised",
    /// On which day was the condition for systemic risk met, or known that it would be?
    SystemicRiskConditionDate => "systemic-risk-condition-date",
}

impl AnswerKey {
    /// The question of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }
}
