//! What is still to come besides what was spent, and where in a lineage.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::judge::Judge;
use crate::unit::Flops;

/// What is set aside or may still be done: for the modification itself, and for each one behind it. The two are not one sum: what is
/// trained into a modification on the way is held against an original, and makes the model that was loaded larger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToCome {
    /// For the modification itself.
    pub own: Flops,
    /// For those behind it, by their names.
    pub behind: BTreeMap<String, Flops>,
}

impl ToCome {
    /// For the modification itself alone.
    pub const fn own(own: Flops) -> Self {
        Self { own, behind: BTreeMap::new() }
    }

    /// Adds what is to come of the modification behind that is called so; of the modification itself for `None`.
    pub fn add(&mut self, behind: Option<&str>, more: Flops) {
        if more == Flops::ZERO {
            return;
        }
        match behind {
            None => self.own += more,
            Some(slug) => *self.behind.entry(slug.to_owned()).or_default() += more,
        }
    }

    /// Of all modifications behind.
    pub fn behind_together(&self) -> Flops {
        self.behind.values().copied().sum()
    }

    /// Of all, for people.
    pub fn together(&self) -> Flops {
        self.own + self.behind_together()
    }
}

impl Judge {
    /// The judge once what is to come behind the modification is spent there.
    pub fn after(&self, to_come: &ToCome) -> Cow<'_, Self> {
        match &self.ancestry {
            Some(ancestry) if to_come.behind_together() > Flops::ZERO => {
                Cow::Owned(Self { ancestry: Some(ancestry.and_more(&to_come.behind)), ..self.clone() })
            }
            _ => Cow::Borrowed(self),
        }
    }
}
