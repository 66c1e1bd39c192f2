//! Values of a sentence.

use tera::Context;

use super::inline::token;
use crate::document::{Figure, Words};

/// What a sentence may print or ask for.
#[derive(Clone, Debug, Default)]
pub struct Values {
    context: Context,
    figures: Vec<Figure>,
}

impl Values {
    /// Adds words.
    #[must_use]
    pub fn words(mut self, name: &str, text: &str) -> Self {
        self.context.insert(name.to_owned(), Words::new(text).as_str());
        self
    }

    /// Adds words if they are there; else the name is an empty string.
    #[must_use]
    pub fn optional(self, name: &str, text: Option<&str>) -> Self {
        self.words(name, text.unwrap_or_default())
    }

    /// Adds a figure.
    #[must_use]
    pub fn figure(mut self, name: &str, figure: Figure) -> Self {
        self.context.insert(name.to_owned(), &token(self.figures.len()));
        self.figures.push(figure);
        self
    }

    /// Adds a yes or no that a sentence may ask for.
    #[must_use]
    pub fn flag(mut self, name: &str, flag: bool) -> Self {
        self.context.insert(name.to_owned(), &flag);
        self
    }

    /// Adds a small number that a sentence may ask for (one or many), not meant to be printed.
    #[must_use]
    pub fn number(mut self, name: &str, number: usize) -> Self {
        self.context.insert(name.to_owned(), &number);
        self
    }

    pub(super) const fn context(&self) -> &Context {
        &self.context
    }

    pub(super) fn figures(&self) -> &[Figure] {
        &self.figures
    }
}
