//! Notes: the build-ids.

use crate::Image;

/// The build-ids of a file. Go's is not GNU's: it is text, and says more than which build it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BuildIds<'d> {
    /// `NT_GNU_BUILD_ID` (3) of owner `GNU`: mostly 20 bytes.
    pub gnu: Option<&'d [u8]>,
    /// `ELF_NOTE_GOBUILDID_TAG` (4) of owner `Go` (cmd/link/internal/ld/elf.go).
    pub go: Option<&'d [u8]>,
}

impl<'d> Image<'d> {
    /// The build-ids, of the notes that are loaded or, where none are, in sections.
    #[must_use]
    pub fn build_ids(&self) -> BuildIds<'d> {
        const GNU: u64 = 3;
        const GO: u64 = 4;
        let mut ids = BuildIds::default();
        // a note is in a segment, and in a section
        let mut left = self.data.len() * 2;
        for data in &self.notes {
            left = left.saturating_sub(data.len());
            let mut rest = if left > 0 { *data } else { &[] };
            while let Some(note) = self.note(rest) {
                let description = Some(note.description).filter(|description| !description.is_empty());
                match (note.owner, note.kind) {
                    (b"GNU\0", GNU) => ids.gnu = ids.gnu.or(description),
                    (b"Go\0\0", GO) => ids.go = ids.go.or(description),
                    _ => {}
                }
                rest = note.behind;
            }
        }
        ids
    }

    /// The first note. Numbers have 32 bits in files of both classes, and what follows each part is aligned to 4 bytes.
    fn note(&self, data: &'d [u8]) -> Option<Note<'d>> {
        let number = |at: usize| data.get(at..at + 4).map(|bytes| self.number(bytes));
        let (name, size, kind) = (number(0)? as usize, number(4)? as usize, number(8)?);
        let owner = data.get(12..12usize.checked_add(name)?)?;
        let begin = 12 + name.checked_next_multiple_of(4)?;
        let description = data.get(begin..begin.checked_add(size)?)?;
        let behind = data.get(begin + size.checked_next_multiple_of(4)?..).unwrap_or_default();
        Some(Note { owner, kind, description, behind })
    }
}

/// A note, and what is behind it.
struct Note<'d> {
    owner: &'d [u8],
    kind: u64,
    description: &'d [u8],
    behind: &'d [u8],
}
