//! The raw listing, as `bpftool btf dump file X` prints it: a line for a type, an indented line for each element.

use std::fmt::Write;

use super::{encoding, func_linkage, fwd_kind, name_or_anonymous, or_anonymous, signedness, var_linkage};
use crate::error::Result;
use crate::parse::Btf;
use crate::raw::{Kind, TypeId};
use crate::types::{Composite, Enum, Type};

/// Appends the lines of one type.
///
/// # Errors
/// [`crate::Error::NoSuchType`], or a bad name.
pub fn write_type(btf: &Btf<'_>, id: TypeId, out: &mut String) -> Result<()> {
    let ty = btf.ty(id)?;
    let kind = ty.kind().unwrap_or(Kind::Unknown(0));
    // Writing into a String cannot fail.
    let _ = write!(out, "[{id}] {} '{}'", kind.name(), or_anonymous(ty.name()));
    let _ = match ty {
        Type::Void | Type::Unknown(_) => Ok(()),
        Type::Int { size, encoding: e, offset, bits, .. } => {
            write!(out, " size={size} bits_offset={} nr_bits={bits} encoding={}", offset.0, encoding(e))
        }
        Type::Ptr(ty) | Type::Const(ty) | Type::Volatile(ty) | Type::Restrict(ty) => write!(out, " type_id={ty}"),
        Type::Typedef { ty, .. } | Type::TypeTag { ty, .. } => write!(out, " type_id={ty}"),
        Type::Array { element, index, len } => write!(out, " type_id={element} index_type_id={index} nr_elems={len}"),
        Type::Struct(c) | Type::Union(c) => return composite(&c, out),
        Type::Enum(e) | Type::Enum64(e) => return enumeration(&e, out),
        Type::Fwd { is_union, .. } => write!(out, " fwd_kind={}", fwd_kind(is_union)),
        Type::Func { proto, linkage, .. } => write!(out, " type_id={proto} linkage={}", func_linkage(linkage)),
        Type::FuncProto(proto) => {
            let _ = write!(out, " ret_type_id={} vlen={}", proto.ret, proto.params().len());
            for param in proto.params() {
                let param = param?;
                let _ = write!(out, "\n\t'{}' type_id={}", or_anonymous(param.name), param.ty);
            }
            Ok(())
        }
        Type::Var { ty, linkage, .. } => write!(out, " type_id={ty}, linkage={}", var_linkage(linkage)),
        Type::Datasec(section) => {
            let _ = write!(out, " size={} vlen={}", section.size, section.vars().len());
            for var in section.vars() {
                let var = var?;
                let _ = write!(out, "\n\ttype_id={} offset={} size={}", var.ty, var.offset.0, var.size);
                if let Ok(Some(kind)) = btf.kind_of(var.ty) {
                    let _ = write!(out, " ({} '{}')", kind.name(), name_or_anonymous(btf, var.ty)?);
                }
            }
            Ok(())
        }
        Type::Float { size, .. } => write!(out, " size={size}"),
        Type::DeclTag { target, component_idx, .. } => {
            let idx = component_idx.map_or(-1, i64::from);
            write!(out, " type_id={target} component_idx={idx}")
        }
    };
    out.push('\n');
    Ok(())
}

fn composite(composite: &Composite<'_>, out: &mut String) -> Result<()> {
    let _ = write!(out, " size={} vlen={}", composite.size, composite.members().len());
    for member in composite.members() {
        let member = member?;
        let _ =
            write!(out, "\n\t'{}' type_id={} bits_offset={}", or_anonymous(member.name), member.ty, member.offset.0);
        if member.bitfield_size != 0 {
            let _ = write!(out, " bitfield_size={}", member.bitfield_size);
        }
    }
    out.push('\n');
    Ok(())
}

fn enumeration(e: &Enum<'_>, out: &mut String) -> Result<()> {
    let _ = write!(out, " encoding={} size={} vlen={}", signedness(e.signed()), e.size, e.values().len());
    let suffix = match (e.is_enum64(), e.signed()) {
        (false, _) => "",
        (true, true) => "LL",
        (true, false) => "ULL",
    };
    for value in e.values() {
        let value = value?;
        let _ = write!(out, "\n\t'{}' val={}{suffix}", or_anonymous(value.name), value.value);
    }
    out.push('\n');
    Ok(())
}

/// The listing of this BTF's own types.
///
/// # Errors
/// As for [`write_type`].
pub fn listing(btf: &Btf<'_>) -> Result<String> {
    let mut out = String::new();
    btf.ids().try_for_each(|id| write_type(btf, id, &mut out))?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::{BitOffset, ByteOffset, ByteSize, Endian};
    use crate::types::{FuncLinkage, IntEncoding, VarLinkage};
    use crate::write::{Builder, EnumValueDef, MemberDef, ParamDef, SecVarDef};

    /// One of everything that kernels rarely have; what they have is compared with bpftool's listing of real ones.
    #[test]
    fn rare_kinds_are_listed_as_bpftool_lists_them() {
        let mut out = Builder::new(Endian::Big);
        let name = out.string("x");
        let int = out.int(name, ByteSize(4), IntEncoding::SIGNED, BitOffset(0), 32);
        out.modifier(Kind::Restrict, int);
        out.fwd(name, true);
        out.enum64(name, ByteSize(8), true, [EnumValueDef { name, value: -1 << 40 }]);
        out.enum_(name, ByteSize(4), true, [EnumValueDef { name, value: -2 }]);
        let proto =
            out.func_proto(int, [ParamDef { name, ty: int }, ParamDef { name: Default::default(), ty: TypeId(0) }]);
        out.func(name, proto, FuncLinkage::Extern);
        let var = out.var(name, int, VarLinkage::Extern);
        out.datasec(name, ByteSize(8), [SecVarDef { ty: var, offset: ByteOffset(4), size: ByteSize(4) }]);
        out.float(name, ByteSize(8));
        out.decl_tag(name, var, None, false);
        out.decl_tag(name, proto, Some(1), false);
        out.type_tag(name, int, true);
        let member = MemberDef { name, ty: int, offset: BitOffset(3), bitfield_size: 5 };
        out.composite(Kind::Union, Default::default(), ByteSize(4), [member]);
        let bytes = out.finish().unwrap();
        let expected = "\
[1] INT 'x' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED
[2] RESTRICT '(anon)' type_id=1
[3] FWD 'x' fwd_kind=union
[4] ENUM64 'x' encoding=SIGNED size=8 vlen=1
\t'x' val=-1099511627776LL
[5] ENUM 'x' encoding=SIGNED size=4 vlen=1
\t'x' val=-2
[6] FUNC_PROTO '(anon)' ret_type_id=1 vlen=2
\t'x' type_id=1
\t'(anon)' type_id=0
[7] FUNC 'x' type_id=6 linkage=extern
[8] VAR 'x' type_id=1, linkage=extern
[9] DATASEC 'x' size=8 vlen=1
\ttype_id=8 offset=4 size=4 (VAR 'x')
[10] FLOAT 'x' size=8
[11] DECL_TAG 'x' type_id=8 component_idx=-1
[12] DECL_TAG 'x' type_id=6 component_idx=1
[13] TYPE_TAG 'x' type_id=1
[14] UNION '(anon)' size=4 vlen=1
\t'x' type_id=1 bits_offset=3 bitfield_size=5
";
        assert_eq!(listing(&Btf::parse(&bytes).unwrap()).unwrap(), expected);
    }
}
