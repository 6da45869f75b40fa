//! Packages of any of Debian's suites and architectures, by the apt and the mirrors of the machine.
//!
//! ```text
//! /etc/apt/sources.list… ─> mirrors ─> a private apt root per suite and architecture ─> packages, checked by size and sha256
//! ```
//!
//! ```no_run
//! use apt::{AptRoot, Suite};
//! let mirrors = apt::mirrors(std::path::Path::new("/etc/apt"))?;
//! let root = AptRoot::open("/var/cache/mine/trixie-arm64".into(), &mirrors, Suite::TRIXIE, "arm64")?;
//! for package in root.versions(&["libssl3t64".to_owned()])? {
//!     println!("{}", root.download(&package, std::path::Path::new("/var/cache/mine"))?.display());
//! }
//! # Ok::<(), apt::Error>(())
//! ```

mod error;
mod root;
mod sources;
mod suite;
mod version;

pub use error::{Error, Result};
pub use root::{AptRoot, Package, require_free};
pub use sources::{Mirror, Mirrors, mirrors};
pub use suite::Suite;
pub use version::compare_versions;
