//! A small layout layer: it measures, wraps, sets tables and fills pages with shapes. Writers (printpdf today) only draw shapes.
//!
//! All lengths are in points (1/72 inch); the origin is the top left corner of the page and `y` grows downwards.

mod blocks;
mod chart;
mod measure;
mod page;
mod run;
mod set;
mod shape;
mod table;
mod wrap;

pub(crate) use chart::{fraction, scale_end};
pub use measure::{Face, Fonts};
pub use set::set;
pub use shape::{Color, Page, Pages, Shape};
