//! Packages: what is asked of them, where they come from, and how their source is compiled.

pub mod cache;
pub mod compile;
pub mod deb;
pub mod debian;
pub mod pypi;
pub mod recipe;
pub mod toolchain;
