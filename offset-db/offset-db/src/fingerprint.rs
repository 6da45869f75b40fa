//! What tells a file from all others.

use image::Image;
use std::fmt::Write as _;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// What tells a file from all others: its build-id and what is in its `.text`; where it has no build-id, all of its bytes.
///
/// A file that was stripped, or changed by `patchelf`, keeps the first two: what is known of one is true of the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint {
    /// GNU's build-id.
    pub build_id: Option<Vec<u8>>,
    /// xxh3-64 of `.text`; of the executable segments, in order, where sections are not named.
    pub text: u64,
    /// xxh3-128 of the whole file; 0 where it was not read.
    pub file: u128,
    /// Its bytes; 0 where they were not read.
    pub size: u64,
    /// The instruction set, as [`image::Machine::name`] has it.
    pub machine: String,
    /// Go's own build-id, which is text.
    pub go_build_id: Option<String>,
}

impl Fingerprint {
    /// Reads all of the file.
    #[must_use]
    pub fn of(image: &Image<'_>) -> Fingerprint {
        let file = xxh3_128(image.data());
        Fingerprint { file, size: image.data().len() as u64, ..Fingerprint::to_look_up(image) }
    }

    /// As much as a look-up needs: of a file with GNU's build-id, [`Fingerprint::file`] and [`Fingerprint::size`] are 0, and no more
    /// than `.text` is read.
    #[must_use]
    pub fn to_look_up(image: &Image<'_>) -> Fingerprint {
        let in_memory = |bytes: &[u8], hash: &mut Xxh3| {
            hash.update(bytes);
            Ok::<(), std::convert::Infallible>(())
        };
        match Fingerprint::by(image, in_memory) {
            Ok(fingerprint) => fingerprint,
            Err(never) => match never {},
        }
    }

    /// As [`Fingerprint::to_look_up`], where the bytes of code are not in memory: `read` hashes those that a part of `image` is for.
    pub(crate) fn by<E>(
        image: &Image<'_>,
        read: impl Fn(&[u8], &mut Xxh3) -> std::result::Result<(), E>,
    ) -> std::result::Result<Fingerprint, E> {
        let ids = image.build_ids();
        let hash = |bytes: &[u8]| {
            let mut hash = Xxh3::new();
            read(bytes, &mut hash).map(|()| hash)
        };
        let text = match image.section(".text") {
            Some(section) => hash(section.data)?.digest(),
            None => {
                let segments = image.segments().iter().filter(|segment| segment.executable);
                segments
                    .map(|segment| hash(image.bytes_from(segment.address)))
                    .try_fold(0, |sum: u64, hash| Ok::<u64, E>(sum.rotate_left(1) ^ hash?.digest()))?
            }
        };
        let (file, size) = match ids.gnu {
            Some(_) => (0, 0),
            None => (hash(image.data())?.digest128(), image.data().len() as u64),
        };
        Ok(Fingerprint {
            build_id: ids.gnu.map(<[u8]>::to_vec),
            text,
            file,
            size,
            machine: image.machine().name(),
            go_build_id: ids.go.map(|id| String::from_utf8_lossy(id).into_owned()),
        })
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
