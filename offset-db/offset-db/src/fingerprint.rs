//! What tells a file from all others.

use image::Image;
use std::fmt::Write as _;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// What tells a file from all others: its build-id and what is in its `.text`; where it has no build-id, all of its bytes.
///
/// A file that was stripped, or changed by `patchelf`, keeps the first two: what is known of one is true of the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint {
    /// GNU's build-id.
    pub build_id: Option<Vec<u8>>,
    /// xxh3-64 of `.text`; of the executable segments, in order, where sections are not named.
    pub text: u64,
    /// xxh3-128 of the whole file.
    pub file: u128,
    /// Its bytes.
    pub size: u64,
    /// The instruction set, as [`image::Machine::name`] has it.
    pub machine: String,
    /// Go's own build-id, which is text.
    pub go_build_id: Option<String>,
}

impl Fingerprint {
    /// Reads all of the file once.
    #[must_use]
    pub fn of(image: &Image<'_>) -> Fingerprint {
        let ids = image.build_ids();
        let text = match image.section(".text") {
            Some(section) => xxh3_64(section.data),
            None => image
                .segments()
                .iter()
                .filter(|segment| segment.executable)
                .map(|segment| xxh3_64(image.bytes_from(segment.address)))
                .fold(0, |sum: u64, hash| sum.rotate_left(1) ^ hash),
        };
        Fingerprint {
            build_id: ids.gnu.map(<[u8]>::to_vec),
            text,
            file: xxh3_128(image.data()),
            size: image.data().len() as u64,
            machine: image.machine().name(),
            go_build_id: ids.go.map(|id| String::from_utf8_lossy(id).into_owned()),
        }
    }

    /// The key that the database has for it, and people: `gnu:5f1d…/2b8c…` (build-id and hash of `.text`), or `xxh3:9a3e…/17161480`
    /// (hash of the file, and its size). Hexadecimal, but for the size.
    #[must_use]
    pub fn key(&self) -> String {
        match &self.build_id {
            Some(id) => format!("gnu:{}/{:016x}", hexadecimal(id), self.text),
            None => format!("xxh3:{:032x}/{}", self.file, self.size),
        }
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
