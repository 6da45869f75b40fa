//! Packages: what is asked of them, where they come from, and how their source is compiled.

pub mod compile;
pub mod pypi;
pub mod recipe;
