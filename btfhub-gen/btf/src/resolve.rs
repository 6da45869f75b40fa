//! Following references: through qualifiers and typedefs, and to sizes. Every walk is bounded, so that a hostile cycle ends in
//! an error.

use crate::error::{Error, Result};
use crate::parse::Btf;
use crate::raw::{ByteSize, Kind, TypeId};
use crate::types::Type;

/// Longest chain of references that is followed. The kernel's verifier and libbpf stop at 32; real BTF stays below 16.
pub const MAX_RESOLVE_DEPTH: u32 = 64;

/// The type behind qualifiers and type tags.
///
/// # Errors
/// [`Error::NoSuchType`] or [`Error::TooDeep`].
pub fn strip_modifiers(btf: &Btf<'_>, id: TypeId) -> Result<TypeId> {
    strip(btf, id, Kind::is_modifier)
}

/// The type behind qualifiers, type tags and typedefs.
///
/// # Errors
/// [`Error::NoSuchType`] or [`Error::TooDeep`].
pub fn strip_modifiers_typedefs(btf: &Btf<'_>, id: TypeId) -> Result<TypeId> {
    strip(btf, id, |kind| kind.is_modifier() || kind == Kind::Typedef)
}

fn strip(btf: &Btf<'_>, id: TypeId, skip: impl Fn(Kind) -> bool) -> Result<TypeId> {
    let mut at = id;
    for _ in 0..MAX_RESOLVE_DEPTH {
        if at.is_void() {
            return Ok(at);
        }
        let record = btf.record(at)?;
        if !skip(record.info.kind()) {
            return Ok(at);
        }
        at = TypeId(record.size_or_type);
    }
    Err(Error::TooDeep { id, limit: MAX_RESOLVE_DEPTH })
}

/// The size of a value of this type: through typedefs and qualifiers, arrays by their elements, pointers by
/// [`Btf::pointer_size`].
///
/// # Errors
/// [`Error::NoSize`] for `void`, functions, prototypes, forward declarations and tags on declarations; [`Error::TooLarge`];
/// [`Error::TooDeep`]; [`Error::NoSuchType`].
pub fn size_of(btf: &Btf<'_>, id: TypeId) -> Result<ByteSize> {
    let mut count = 1u64;
    let mut at = id;
    for _ in 0..MAX_RESOLVE_DEPTH {
        let Some(kind) = btf.kind_of(at)? else { return Err(Error::NoSize { id, kind: Kind::Unknown(0) }) };
        let record = btf.record(at)?;
        let size = match kind {
            Kind::Int | Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Float | Kind::Datasec => {
                record.size_or_type
            }
            Kind::Ptr => btf.pointer_size().0,
            Kind::Typedef | Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag | Kind::Var => {
                at = TypeId(record.size_or_type);
                continue;
            }
            Kind::Array => {
                count = count.saturating_mul(u64::from(record.word(2)));
                at = TypeId(record.word(0));
                continue;
            }
            Kind::Fwd | Kind::Func | Kind::FuncProto | Kind::DeclTag | Kind::Unknown(_) => {
                return Err(Error::NoSize { id: at, kind });
            }
        };
        let total = count.saturating_mul(u64::from(size));
        return u32::try_from(total).map(ByteSize).map_err(|_| Error::TooLarge { id });
    }
    Err(Error::TooDeep { id, limit: MAX_RESOLVE_DEPTH })
}

impl Btf<'_> {
    /// Size of a pointer on the machine described: that of `long`, as libbpf deduces it; 8 where no `long` is there.
    pub fn pointer_size(&self) -> ByteSize {
        *self.pointer_size.get_or_init(|| {
            if let Some(base) = self.base() {
                return base.pointer_size();
            }
            self.ids().find_map(|id| self.long_size(id)).unwrap_or(ByteSize(8))
        })
    }

    /// Sets the size that [`Btf::pointer_size`] answers, for BTF without a `long`, before it is first asked for.
    pub fn with_pointer_size(mut self, size: ByteSize) -> Self {
        self.pointer_size = size.into();
        self
    }

    pub(crate) fn long_size(&self, id: TypeId) -> Option<ByteSize> {
        if self.kind_of(id) != Ok(Some(Kind::Int)) {
            return None;
        }
        let Ok(Type::Int { name, size: size @ ByteSize(4 | 8), .. }) = self.ty(id) else { return None };
        let (mut longs, mut other) = (0, false);
        for word in name.split_ascii_whitespace() {
            match word {
                "long" => longs += 1,
                "int" | "unsigned" => {}
                _ => other = true,
            }
        }
        (longs == 1 && !other).then_some(size)
    }
}
