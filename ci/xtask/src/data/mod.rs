//! `cargo xtask data`: what is shipped besides programs, made anew from the registries.
//!
//! ```text
//! kernel packages in the cache ─> lcc-btf gen ──> data/btf
//! PyPI, Debian ────────────────> offsetdb pull ─> target/data/offsets.sqlite ─> sorted ─> data/offsets.sqlite
//! ```

mod btf;
mod offsets;

use anyhow::Result;
pub(crate) use btf::unpack;

/// What to make; without a word, all of it.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(clap::Subcommand)]
enum What {
    /// data/btf: minimal BTF of the project's objects, from the kernel packages in the cache.
    Btf,
    /// data/offsets.sqlite: where functions of user libraries are, from PyPI's and Debian's packages.
    Offsets(offsets::Args),
}

/// Makes it.
///
/// # Errors
/// As its parts.
pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.what {
        Some(What::Btf) => btf::run(),
        Some(What::Offsets(args)) => offsets::run(args),
        None => {
            btf::run()?;
            offsets::run(&offsets::Args::default())
        }
    }
}
