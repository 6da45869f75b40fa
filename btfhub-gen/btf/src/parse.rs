//! Opening BTF: the header, the bounds of the sections, and the offset of every record. Types are decoded later, on demand.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, OnceLock};

use rustc_hash::FxHashMap;

use crate::error::{Error, Result};
use crate::header::{HEADER, Header, STRINGS, check_strings, read_layout};
use crate::index::NameIndex;
use crate::raw::{ByteSize, Endian, Info, Kind, KindLayout, RECORD_LEN, StrOffset, TypeId};
use crate::types::Type;

const TYPES: &str = "BTF types";

/// One BTF, raw or on top of a base. Cheap to open (record headers are scanned, nothing is decoded), shared freely between
/// threads.
pub struct Btf<'a> {
    pub(crate) data: Data<'a>,
    pub(crate) endian: Endian,
    types: Range<usize>,
    strings: Range<usize>,
    layout: Vec<KindLayout>,
    /// Start of each record relative to the type section, and the end of the last.
    offsets: Vec<u32>,
    pub(crate) first_id: u32,
    str_start: u32,
    base: Option<Arc<Btf<'a>>>,
    diagnostics: Vec<Diagnostic>,
    pub(crate) names: OnceLock<NameIndex>,
    pub(crate) scans: AtomicU32,
    /// What was searched for by essential name and kind, and found.
    pub(crate) searched: Mutex<Searched>,
    pub(crate) pointer_size: OnceLock<ByteSize>,
}

/// Who has the bytes.
pub(crate) enum Data<'a> {
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
    Shared(Arc<dyn AsRef<[u8]> + Send + Sync>),
}

impl Deref for Data<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Data::Borrowed(bytes) => bytes,
            Data::Owned(bytes) => bytes,
            Data::Shared(owner) => (**owner).as_ref(),
        }
    }
}

/// Types by essential name and kind.
pub(crate) type Searched = FxHashMap<(Vec<u8>, Kind), Vec<(Kind, TypeId)>>;

/// Something odd that did not stop the reading.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Diagnostic {
    /// A record of an unknown kind, and no layout section that tells its length: the types from here on cannot be read.
    UnknownKind {
        /// The kind's number.
        kind: u8,
        /// The first id that cannot be read.
        id: TypeId,
        /// Offset of the record in the type section, in bytes.
        offset: u32,
        /// Bytes of the type section that were left unread.
        unread: u32,
    },
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Diagnostic::UnknownKind { kind, id, offset, unread } => write!(
                f,
                "BTF types at offset {offset:#x}: type {id} has the unknown kind {kind} and no layout section tells its length; \
                 it and the {unread} bytes from it on were not read"
            ),
        }
    }
}

/// A type record as it lies in the file: the fixed words, and the bytes that follow them.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The type's id.
    pub id: TypeId,
    /// Offset of its name, 0 for none.
    pub name: StrOffset,
    /// Kind, element count and flag.
    pub info: Info,
    /// The third word: a size in bytes or a type id, by the kind.
    pub size_or_type: u32,
    /// What follows the fixed part, of the length that the kind has.
    pub payload: &'a [u8],
    /// Byte order of the words.
    pub endian: Endian,
}

impl Record<'_> {
    /// Word `index` of the payload; 0 beyond its end.
    #[inline]
    pub fn word(&self, index: usize) -> u32 {
        self.endian.u32_at(self.payload, index * 4).unwrap_or(0)
    }
}

impl<'a> Btf<'a> {
    /// Opens raw BTF (`/sys/kernel/btf/vmlinux`, a `.btf` file, the contents of a `.BTF` section) that has no base.
    ///
    /// # Errors
    /// [`Error::Magic`], or [`Error::Format`] for a truncated or inconsistent header, section or record.
    pub fn parse(data: &'a [u8]) -> Result<Btf<'a>> {
        Btf::open(Data::Borrowed(data), None)
    }

    /// Like [`Btf::parse`], for bytes that the result is to own.
    ///
    /// # Errors
    /// As for [`Btf::parse`].
    pub fn parse_owned(data: Vec<u8>) -> Result<Btf<'a>> {
        Btf::open(Data::Owned(data), None)
    }

    /// Like [`Btf::parse`], for bytes that others have too, such as a file's that is mapped: they must give the same slice each
    /// time.
    ///
    /// # Errors
    /// As for [`Btf::parse`].
    pub fn parse_shared(data: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Result<Btf<'a>> {
        Btf::open(Data::Shared(data), None)
    }

    /// Opens split BTF (a kernel module's) over the base that its ids and strings count on from.
    ///
    /// # Errors
    /// As for [`Btf::parse`]; also where the base has another byte order or could itself not be read to its end.
    pub fn parse_split(data: &'a [u8], base: Arc<Btf<'a>>) -> Result<Btf<'a>> {
        Btf::open(Data::Borrowed(data), Some(base))
    }

    /// Like [`Btf::parse_split`], for bytes that the result is to own.
    ///
    /// # Errors
    /// As for [`Btf::parse_split`].
    pub fn parse_split_owned(data: Vec<u8>, base: Arc<Btf<'a>>) -> Result<Btf<'a>> {
        Btf::open(Data::Owned(data), Some(base))
    }

    fn open(data: Data<'a>, base: Option<Arc<Btf<'a>>>) -> Result<Btf<'a>> {
        let header = Header::read(&data)?;
        let (mut first_id, mut str_start) = (1, 0);
        if let Some(base) = &base {
            if base.endian != header.endian {
                return Err(Error::format(HEADER, 0u32, "split BTF has another byte order than its base"));
            }
            if let Some(diagnostic) = base.diagnostics.first() {
                return Err(Error::format(
                    HEADER,
                    0u32,
                    format!("split BTF needs the whole of its base: {diagnostic}"),
                ));
            }
            first_id = base.end_id().0;
            str_start = base.str_end()?;
        }
        let strings = &data[header.strings.clone()];
        check_strings(strings, base.is_some())?;
        let layout = read_layout(&data[header.layout.clone()])?;
        let inherited = base.as_ref().map_or(&[][..], |base| &base.layout);
        let layout_in_use = if layout.is_empty() { inherited } else { &layout };
        let types = &data[header.types.clone()];
        let mut offsets = Vec::with_capacity(types.len() / 28 + 2);
        let stop = match header.endian {
            Endian::Little => scan::<false>(types, layout_in_use, &mut offsets),
            Endian::Big => scan::<true>(types, layout_in_use, &mut offsets),
        }?;
        if (offsets.len() as u64 - 1) + u64::from(first_id) > u64::from(u32::MAX >> 1) {
            return Err(Error::format(TYPES, 0u32, "more than 2^31 types"));
        }
        let diagnostics = stop.map(|kind| {
            let offset = *offsets.last().unwrap_or(&0);
            let id = TypeId(first_id + offsets.len() as u32 - 1);
            Diagnostic::UnknownKind { kind, id, offset, unread: types.len() as u32 - offset }
        });
        let layout = if layout.is_empty() { inherited.to_vec() } else { layout };
        Ok(Btf {
            endian: header.endian,
            types: header.types,
            strings: header.strings,
            layout,
            offsets,
            first_id,
            str_start,
            base,
            diagnostics: diagnostics.into_iter().collect(),
            names: OnceLock::new(),
            scans: AtomicU32::new(0),
            searched: Mutex::default(),
            pointer_size: OnceLock::new(),
            data,
        })
    }

    /// Number of types in this BTF alone, without `void` and without its base's.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether this BTF has no type of its own.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ids of this BTF's own types, ascending; a base's are [`Btf::base`]'s.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = TypeId> + DoubleEndedIterator + Clone + use<> {
        let first = self.first_id as usize;
        (first..first + self.len()).map(|id| TypeId(id as u32))
    }

    /// Ids of the base's types and this BTF's, ascending, without `void`.
    pub fn all_ids(&self) -> impl ExactSizeIterator<Item = TypeId> + DoubleEndedIterator + Clone + use<> {
        (1..self.end_id().0 as usize).map(|id| TypeId(id as u32))
    }

    /// The first id of this BTF's own types: 1, or one more than the base's last.
    pub fn first_id(&self) -> TypeId {
        TypeId(self.first_id)
    }

    /// One more than the last id.
    pub fn end_id(&self) -> TypeId {
        TypeId(self.first_id + self.len() as u32)
    }

    /// The base that this split BTF was opened over.
    pub fn base(&self) -> Option<&Arc<Btf<'a>>> {
        self.base.as_ref()
    }

    /// Byte order of the machine described.
    pub fn endian(&self) -> Endian {
        self.endian
    }

    /// The bytes this was opened from.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// What was odd about the input without stopping the reading.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Length in bytes of this BTF's own string section.
    pub fn str_len(&self) -> u32 {
        self.strings.len() as u32
    }

    /// Offset of the first string of this BTF's own section: 0, or the total length of the base's.
    pub fn str_start(&self) -> StrOffset {
        StrOffset(self.str_start)
    }

    pub(crate) fn str_end(&self) -> Result<u32> {
        self.str_start
            .checked_add(self.str_len())
            .ok_or_else(|| Error::format(STRINGS, 0u32, "string sections of base and split BTF exceed 4 GiB"))
    }

    pub(crate) fn own_strings(&self) -> &[u8] {
        &self.data[self.strings.clone()]
    }

    pub(crate) fn own_types(&self) -> (&[u8], &[u32]) {
        (&self.data[self.types.clone()], &self.offsets)
    }

    /// The record of a type as it lies in the file.
    ///
    /// # Errors
    /// [`Error::NoSuchType`], also for `void`, which has no record.
    #[inline]
    pub fn record(&self, id: TypeId) -> Result<Record<'_>> {
        let mut btf = self;
        while id.0 < btf.first_id {
            match &btf.base {
                Some(base) => btf = base,
                None => return Err(self.no_such_type(id)),
            }
        }
        let index = (id.0 - btf.first_id) as usize;
        let (Some(&start), Some(&end)) = (btf.offsets.get(index), btf.offsets.get(index + 1)) else {
            return Err(self.no_such_type(id));
        };
        // The scan at opening has seen that every record is whole.
        let bytes = &btf.data[btf.types.start + start as usize..btf.types.start + end as usize];
        let (fixed, payload) = bytes.split_first_chunk::<RECORD_LEN>().ok_or_else(|| self.no_such_type(id))?;
        let word = |at: usize| btf.endian.u32([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        Ok(Record {
            id,
            name: StrOffset(word(0)),
            info: Info(word(4)),
            size_or_type: word(8),
            payload,
            endian: btf.endian,
        })
    }

    /// Offset in bytes of a type's record in the type section of the BTF that holds it.
    ///
    /// # Errors
    /// [`Error::NoSuchType`].
    pub fn record_offset(&self, id: TypeId) -> Result<u32> {
        let mut btf = self;
        while id.0 < btf.first_id {
            btf = btf.base.as_ref().ok_or_else(|| self.no_such_type(id))?;
        }
        let index = (id.0 - btf.first_id) as usize;
        if index >= btf.len() { Err(self.no_such_type(id)) } else { Ok(btf.offsets[index]) }
    }

    fn no_such_type(&self, id: TypeId) -> Error {
        Error::NoSuchType { id, last: TypeId(self.end_id().0 - 1) }
    }

    /// The kind of a type, without decoding it; `None` for `void`.
    ///
    /// # Errors
    /// [`Error::NoSuchType`].
    #[inline]
    pub fn kind_of(&self, id: TypeId) -> Result<Option<Kind>> {
        if id.is_void() { Ok(None) } else { Ok(Some(self.record(id)?.info.kind())) }
    }

    /// The name of a type, empty where it has none.
    ///
    /// # Errors
    /// [`Error::NoSuchType`], or a bad string as for [`Btf::str`].
    pub fn name_of(&self, id: TypeId) -> Result<&str> {
        if id.is_void() { Ok("") } else { self.str(self.record(id)?.name) }
    }

    /// Decodes a type.
    ///
    /// # Errors
    /// [`Error::NoSuchType`], a bad name as for [`Btf::str`], or [`Error::Format`] for a field out of its range.
    pub fn ty(&self, id: TypeId) -> Result<Type<'_>> {
        if id.is_void() { Ok(Type::Void) } else { Type::decode(self, self.record(id)?) }
    }

    /// The string at an offset.
    ///
    /// # Errors
    /// [`Error::Format`] where the offset lies beyond the string section or the string is not UTF-8.
    #[inline]
    pub fn str(&self, at: StrOffset) -> Result<&str> {
        let bytes = self.str_bytes(at)?;
        std::str::from_utf8(bytes).map_err(|e| {
            Error::format(STRINGS, at.0 as usize + e.valid_up_to(), format!("the name at {:#x} is not UTF-8", at.0))
        })
    }

    /// The bytes of the string at an offset, without the terminating NUL, UTF-8 or not.
    ///
    /// # Errors
    /// [`Error::Format`] where the offset lies beyond the string section.
    #[inline]
    pub fn str_bytes(&self, at: StrOffset) -> Result<&[u8]> {
        if at == StrOffset::EMPTY {
            return Ok(b"");
        }
        let tail = self.str_tail(at)?;
        Ok(&tail[..memchr::memchr(0, tail).unwrap_or(tail.len())])
    }

    /// What stands at an offset and after it, to the end of the section: the string, a NUL, the next string, …
    #[inline]
    pub(crate) fn str_tail(&self, at: StrOffset) -> Result<&[u8]> {
        let mut btf = self;
        while at.0 < btf.str_start {
            match &btf.base {
                Some(base) => btf = base,
                None => break,
            }
        }
        match btf.own_strings().get((at.0 - btf.str_start) as usize..) {
            Some(tail) if !tail.is_empty() => Ok(tail),
            _ => Err(self.beyond_strings(at)),
        }
    }

    #[cold]
    fn beyond_strings(&self, at: StrOffset) -> Error {
        let len = u64::from(self.str_start) + u64::from(self.str_len());
        Error::format(STRINGS, at.0, format!("offset beyond the section of {len} bytes"))
    }
}

impl fmt::Debug for Btf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Btf")
            .field("endian", &self.endian)
            .field("first_id", &self.first_id)
            .field("types", &self.len())
            .field("str_len", &self.str_len())
            .finish_non_exhaustive()
    }
}

/// Fills `offsets` with the start of every record and the end of the last. `Ok(Some(kind))` where an unknown kind stopped it.
fn scan<const BIG: bool>(types: &[u8], layout: &[KindLayout], offsets: &mut Vec<u32>) -> Result<Option<u8>> {
    let endian = if BIG { Endian::Big } else { Endian::Little };
    let mut at = 0;
    while at < types.len() {
        offsets.push(at as u32);
        let Some(fixed) = types[at..].first_chunk::<RECORD_LEN>() else {
            return Err(Error::format(TYPES, at, format!("record {} is cut off", offsets.len())));
        };
        let info = Info(endian.u32([fixed[4], fixed[5], fixed[6], fixed[7]]));
        let kind = info.kind();
        let known = match kind.layout() {
            Some(layout) => layout,
            None => match layout.get(usize::from(kind.raw())) {
                _ if kind.raw() == 0 => {
                    return Err(Error::format(TYPES, at, format!("record {} has kind 0", offsets.len())));
                }
                Some(found) if found.info_size % 4 == 0 && found.element_size % 4 == 0 => *found,
                _ => return Ok(Some(kind.raw())),
            },
        };
        let vlen = if known.element_size == 0 { 0 } else { info.vlen() };
        let len = known.record_len(vlen);
        if len > types.len() - at {
            let reason =
                format!("record {} ({kind}, {len} bytes) exceeds the section's {} bytes", offsets.len(), types.len());
            return Err(Error::format(TYPES, at, reason));
        }
        at += len;
    }
    offsets.push(at as u32);
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::Builder;

    /// `int` and a pointer to it: a header of 24 bytes, types of 28, strings of 5.
    fn sample(endian: Endian) -> Vec<u8> {
        let mut out = Builder::new(endian);
        let name = out.string("int");
        let int = out.int(name, ByteSize(4), crate::IntEncoding::SIGNED, Default::default(), 32);
        out.ptr(int);
        out.finish().unwrap()
    }

    fn edit(at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut data = sample(Endian::Little);
        data[at..at + bytes.len()].copy_from_slice(bytes);
        data
    }

    #[track_caller]
    fn check(data: &[u8], expected: &str) {
        assert_eq!(Btf::parse(data).map(|_| ()).unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_bad_header_is_named_with_its_offset() {
        let good = sample(Endian::Little);
        check(b"", "not BTF: starts with [], expected [9f, eb] or [eb, 9f]");
        check(b"\x7fELF", "not BTF: starts with [7f, 45], expected [9f, eb] or [eb, 9f]");
        check(&good[..6], "BTF header at offset 0x4: header cut off: the file has 6 bytes");
        check(&good[..20], "BTF header at offset 0x4: header length 24 exceeds the file's 20 bytes");
        check(&edit(2, &[2]), "BTF header at offset 0x2: version 2 is not supported");
        check(&edit(4, &[20]), "BTF header at offset 0x4: header length 20 is less than 24");
        check(&edit(8, &[2]), "BTF header at offset 0x8: type section is not aligned to 4 bytes");
        check(&edit(16, &[4]), "BTF header at offset 0x10: type and string section overlap");
        check(
            &edit(8, &[0xff; 8]),
            "BTF header at offset 0x8: type section ends at 8589934614, beyond the file's 57 bytes",
        );
        check(&good[..56], "BTF header at offset 0x10: string section ends at 57, beyond the file's 56 bytes");
    }

    #[test]
    fn bad_strings_are_named_with_their_offset() {
        check(
            &edit(52, b"x"),
            "BTF strings at offset 0x0: section does not start with the empty string; is this split BTF without its base?",
        );
        check(&edit(56, b"x"), "BTF strings at offset 0x4: last string has no end");
        check(&edit(20, &[0]), "BTF strings at offset 0x0: section is empty");
        let data = edit(54, b"\xff");
        let btf = Btf::parse(&data).unwrap();
        let error = btf.name_of(TypeId(1)).unwrap_err().to_string();
        assert_eq!(error, "BTF strings at offset 0x2: the name at 0x1 is not UTF-8");
        assert_eq!(btf.kind_of(TypeId(1)), Ok(Some(Kind::Int)));
        let data = edit(24, &[9]);
        let error = Btf::parse(&data).unwrap().ty(TypeId(1)).unwrap_err().to_string();
        assert_eq!(error, "BTF strings at offset 0x9: offset beyond the section of 5 bytes");
    }

    #[test]
    fn a_bad_record_is_named_with_its_offset() {
        check(&edit(31, &[0]), "BTF types at offset 0x0: record 1 has kind 0");
        check(&edit(12, &[24]), "BTF types at offset 0x10: record 2 is cut off");
        check(
            &edit(44, &[9, 0, 0, 4]),
            "BTF types at offset 0x10: record 2 (STRUCT, 120 bytes) exceeds the section's 28 bytes",
        );
        let data = sample(Endian::Little);
        let error = Btf::parse(&data).unwrap().ty(TypeId(3)).unwrap_err().to_string();
        assert_eq!(error, "type id 3 does not exist: the last one is 2");
    }

    #[test]
    fn a_longer_header_is_skipped() {
        for endian in [Endian::Little, Endian::Big] {
            let good = sample(endian);
            let mut data = good[..24].to_vec();
            data[4..8].copy_from_slice(&endian.u32_bytes(40));
            data.extend_from_slice(&[0; 8]);
            data.extend_from_slice(&[0xaa; 8]);
            data.extend_from_slice(&good[24..]);
            let btf = Btf::parse(&data).unwrap();
            assert_eq!((btf.len(), btf.name_of(TypeId(1))), (2, Ok("int")));
        }
    }

    /// `int`, a type of kind 25 with one element, a pointer.
    fn with_unknown_kind(layout: Option<&[u8]>) -> Vec<u8> {
        let endian = Endian::Big;
        let good = sample(endian);
        let mut types = good[24..40].to_vec();
        for word in [0, 25 << 24 | 1, 0, 7, 8] {
            types.extend_from_slice(&endian.u32_bytes(word));
        }
        types.extend_from_slice(&good[40..52]);
        let layout = layout.unwrap_or_default();
        let mut data = good[..4].to_vec();
        let (types_len, layout_len) = (types.len() as u32, layout.len() as u32);
        for word in [32, 0, types_len, types_len + layout_len, 5, types_len, layout_len] {
            data.extend_from_slice(&endian.u32_bytes(word));
        }
        [&data, &types, layout, &good[52..]].concat()
    }

    #[test]
    fn an_unknown_kind_is_skipped_where_its_layout_is_told() {
        let mut layout = vec![0; 26 * 4];
        layout[25 * 4] = 4;
        layout[25 * 4 + 1] = 4;
        let data = with_unknown_kind(Some(&layout));
        let btf = Btf::parse(&data).unwrap();
        assert_eq!((btf.len(), btf.diagnostics()), (3, &[][..]));
        assert_eq!(btf.kind_of(TypeId(2)), Ok(Some(Kind::Unknown(25))));
        assert!(matches!(btf.ty(TypeId(2)), Ok(Type::Unknown(record)) if record.word(1) == 8));
        assert!(matches!(btf.ty(TypeId(3)), Ok(Type::Ptr(TypeId(1)))));
    }

    #[test]
    fn an_unknown_kind_ends_what_can_be_read_where_its_layout_is_not_told() {
        let data = with_unknown_kind(None);
        let btf = Btf::parse(&data).unwrap();
        assert_eq!((btf.len(), btf.name_of(TypeId(1))), (1, Ok("int")));
        assert!(btf.ty(TypeId(2)).is_err());
        assert_eq!(
            btf.diagnostics()[0].to_string(),
            "BTF types at offset 0x10: type 2 has the unknown kind 25 and no layout section tells its length; \
             it and the 32 bytes from it on were not read"
        );
        let error = Btf::parse_split(&data, Arc::new(btf)).unwrap_err().to_string();
        assert!(
            error.starts_with("BTF header at offset 0x0: split BTF needs the whole of its base: BTF types at"),
            "{error}"
        );
    }

    #[test]
    fn base_and_split_have_one_byte_order() {
        let (little, big) = (sample(Endian::Little), sample(Endian::Big));
        let base = Arc::new(Btf::parse(&little).unwrap());
        let error = Btf::parse_split(&big, base).unwrap_err().to_string();
        assert_eq!(error, "BTF header at offset 0x0: split BTF has another byte order than its base");
    }
}
