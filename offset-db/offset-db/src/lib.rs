//! Where the functions and fields of user libraries are: a file is told by its fingerprint, and a database answers.
//!
//! ```text
//! file ─> Fingerprint ─> Store (SQLite) ─> facts: addresses, methods, evidence ─> offsets, by the file's own segments
//! ```
//!
//! ```no_run
//! use offset_db::{Answer, Store};
//! let store = Store::open(std::path::Path::new("offsets.sqlite")).unwrap();
//! let bytes = std::fs::read("cygrpc.so").unwrap();
//! let image = image::Image::parse(&bytes).unwrap();
//! if let Answer::Found(found) = store.look_up(&image, "SSL_write").unwrap() {
//!     println!("{:#x}: {}", found.offset.0, found.fact.method.word());
//! }
//! ```

mod error;
mod exchange;
mod fact;
mod fingerprint;
mod lookup;
mod resolver;
mod schema;
mod store;
mod tables;

pub use error::{Error, Result};
pub use exchange::{Merged, export, merge};
pub use fact::{Confidence, Fact, Field, Kind, Layout, Method, Origin, Signature, whole};
pub use fingerprint::Fingerprint;
pub use lookup::{Answer, Doubt, FieldAnswer, Found, FoundField};
pub use resolver::{Resolved, ResolvedField, Resolver};
pub use store::{Known, PackageStatistics, Statistics, Store};
pub use tables::Tables;
