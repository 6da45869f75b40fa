//! The tags, attributes and forms that the conversion knows.

use gimli::constants as dw;

/// An attribute that the conversion looks at. Everything else is jumped over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum At {
    Skip,
    Name,
    LinkageName,
    Type,
    ByteSize,
    BitSize,
    DataBitOffset,
    BitOffset,
    MemberLocation,
    Encoding,
    Declaration,
    AbstractOrigin,
    Specification,
    External,
    Inline,
    LowPc,
    HighPc,
    Ranges,
    ConstValue,
    UpperBound,
    Count,
    Sibling,
    Location,
    Signature,
    Artificial,
    CallingConvention,
    Language,
    DwoName,
    Producer,
    DeclLine,
    DeclColumn,
    StrOffsetsBase,
    AddrBase,
    LoclistsBase,
    RnglistsBase,
}

pub(super) fn at_of(name: u16) -> At {
    match dw::DwAt(name) {
        dw::DW_AT_name => At::Name,
        dw::DW_AT_linkage_name | dw::DW_AT_MIPS_linkage_name => At::LinkageName,
        dw::DW_AT_type => At::Type,
        dw::DW_AT_byte_size => At::ByteSize,
        dw::DW_AT_bit_size => At::BitSize,
        dw::DW_AT_data_bit_offset => At::DataBitOffset,
        dw::DW_AT_bit_offset => At::BitOffset,
        dw::DW_AT_data_member_location => At::MemberLocation,
        dw::DW_AT_encoding => At::Encoding,
        dw::DW_AT_declaration => At::Declaration,
        dw::DW_AT_abstract_origin => At::AbstractOrigin,
        dw::DW_AT_specification => At::Specification,
        dw::DW_AT_external => At::External,
        dw::DW_AT_inline => At::Inline,
        dw::DW_AT_low_pc => At::LowPc,
        dw::DW_AT_high_pc => At::HighPc,
        dw::DW_AT_ranges => At::Ranges,
        dw::DW_AT_const_value => At::ConstValue,
        dw::DW_AT_upper_bound => At::UpperBound,
        dw::DW_AT_count => At::Count,
        dw::DW_AT_sibling => At::Sibling,
        dw::DW_AT_location => At::Location,
        dw::DW_AT_signature => At::Signature,
        dw::DW_AT_artificial => At::Artificial,
        dw::DW_AT_calling_convention => At::CallingConvention,
        dw::DW_AT_language => At::Language,
        dw::DW_AT_dwo_name | dw::DW_AT_GNU_dwo_name => At::DwoName,
        dw::DW_AT_decl_line => At::DeclLine,
        dw::DW_AT_decl_column => At::DeclColumn,
        dw::DW_AT_producer => At::Producer,
        dw::DW_AT_str_offsets_base => At::StrOffsetsBase,
        dw::DW_AT_addr_base | dw::DW_AT_GNU_addr_base => At::AddrBase,
        dw::DW_AT_loclists_base => At::LoclistsBase,
        dw::DW_AT_rnglists_base => At::RnglistsBase,
        _ => At::Skip,
    }
}

/// What kind of entry a tag is to the conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    /// Nothing is taken from it; its children are visited.
    Other,
    Unit,
    Base,
    Pointer,
    Const,
    Volatile,
    Restrict,
    Atomic,
    Typedef,
    Struct,
    Union,
    Enum,
    Array,
    Subrange,
    Subroutine,
    Unspecified,
    Member,
    Enumerator,
    Parameter,
    UnspecifiedParameters,
    Function,
    Inlined,
    Variable,
    Annotation,
    /// A call site and what is below it: no types, no functions.
    CallSite,
}

pub(super) fn tag_of(tag: u64) -> Tag {
    let Ok(tag) = u16::try_from(tag) else { return Tag::Other };
    match dw::DwTag(tag) {
        dw::DW_TAG_compile_unit | dw::DW_TAG_partial_unit | dw::DW_TAG_type_unit | dw::DW_TAG_skeleton_unit => {
            Tag::Unit
        }
        dw::DW_TAG_base_type => Tag::Base,
        dw::DW_TAG_pointer_type
        | dw::DW_TAG_reference_type
        | dw::DW_TAG_rvalue_reference_type
        | dw::DW_TAG_ptr_to_member_type => Tag::Pointer,
        dw::DW_TAG_const_type => Tag::Const,
        dw::DW_TAG_volatile_type => Tag::Volatile,
        dw::DW_TAG_restrict_type => Tag::Restrict,
        dw::DW_TAG_atomic_type => Tag::Atomic,
        dw::DW_TAG_typedef => Tag::Typedef,
        dw::DW_TAG_structure_type | dw::DW_TAG_class_type | dw::DW_TAG_interface_type => Tag::Struct,
        dw::DW_TAG_union_type => Tag::Union,
        dw::DW_TAG_enumeration_type => Tag::Enum,
        dw::DW_TAG_array_type => Tag::Array,
        dw::DW_TAG_subrange_type => Tag::Subrange,
        dw::DW_TAG_subroutine_type => Tag::Subroutine,
        dw::DW_TAG_unspecified_type => Tag::Unspecified,
        dw::DW_TAG_member => Tag::Member,
        dw::DW_TAG_enumerator => Tag::Enumerator,
        dw::DW_TAG_formal_parameter => Tag::Parameter,
        dw::DW_TAG_unspecified_parameters => Tag::UnspecifiedParameters,
        dw::DW_TAG_subprogram => Tag::Function,
        dw::DW_TAG_inlined_subroutine => Tag::Inlined,
        dw::DW_TAG_variable => Tag::Variable,
        dw::DW_TAG_call_site | dw::DW_TAG_GNU_call_site => Tag::CallSite,
        // DW_TAG_LLVM_annotation
        dw::DwTag(0x6000) => Tag::Annotation,
        _ => Tag::Other,
    }
}

/// The attributes that are read of an entry with this tag.
pub(super) fn wanted(tag: Tag, at: At) -> bool {
    match tag {
        Tag::Unit => at != At::Skip && at != At::HighPc,
        Tag::Member => matches!(
            at,
            At::Name
                | At::Type
                | At::ByteSize
                | At::BitSize
                | At::DataBitOffset
                | At::BitOffset
                | At::MemberLocation
                | At::Declaration
        ),
        Tag::Enumerator => matches!(at, At::Name | At::ConstValue),
        Tag::Parameter => matches!(at, At::Name | At::Type | At::AbstractOrigin | At::Location | At::ConstValue),
        Tag::Function => matches!(
            at,
            At::Name
                | At::LinkageName
                | At::Type
                | At::AbstractOrigin
                | At::Specification
                | At::Declaration
                | At::External
                | At::Inline
                | At::DeclLine
                | At::DeclColumn
                | At::LowPc
                | At::Ranges
                | At::CallingConvention
        ),
        Tag::Inlined => matches!(at, At::AbstractOrigin),
        Tag::Variable => matches!(
            at,
            At::Name
                | At::Type
                | At::Specification
                | At::AbstractOrigin
                | At::Declaration
                | At::External
                | At::Artificial
                | At::Location
        ),
        Tag::Subrange => matches!(at, At::UpperBound | At::Count),
        Tag::Annotation => matches!(at, At::Name | At::ConstValue),
        Tag::CallSite => at == At::Sibling,
        Tag::Other | Tag::UnspecifiedParameters => false,
        _ => matches!(
            at,
            At::Name
                | At::Type
                | At::ByteSize
                | At::BitSize
                | At::Encoding
                | At::Declaration
                | At::Specification
                | At::Signature
        ),
    }
}

/// The forms of attribute values (DWARF 2 to 5, and GNU's of split and alternate files).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Form {
    /// `count` bytes in all, of one or several attributes that are jumped over.
    Jump,
    Addr,
    Data1,
    Data2,
    Data4,
    Data8,
    Data16,
    Udata,
    Sdata,
    ImplicitConst,
    Flag,
    FlagPresent,
    String,
    Strp,
    LineStrp,
    StrpSup,
    Strx,
    Strx1,
    Strx2,
    Strx3,
    Strx4,
    Addrx,
    Addrx1,
    Addrx2,
    Addrx3,
    Addrx4,
    Ref1,
    Ref2,
    Ref4,
    Ref8,
    RefUdata,
    RefAddr,
    RefSig8,
    RefSup4,
    RefSup8,
    GnuRefAlt,
    Block1,
    Block2,
    Block4,
    Block,
    Exprloc,
    SecOffset,
    Loclistx,
    Rnglistx,
    Indirect,
}

pub(crate) fn form_of(form: u64) -> Option<Form> {
    Some(match dw::DwForm(u16::try_from(form).ok()?) {
        dw::DW_FORM_addr => Form::Addr,
        dw::DW_FORM_data1 => Form::Data1,
        dw::DW_FORM_data2 => Form::Data2,
        dw::DW_FORM_data4 => Form::Data4,
        dw::DW_FORM_data8 => Form::Data8,
        dw::DW_FORM_data16 => Form::Data16,
        dw::DW_FORM_udata => Form::Udata,
        dw::DW_FORM_sdata => Form::Sdata,
        dw::DW_FORM_implicit_const => Form::ImplicitConst,
        dw::DW_FORM_flag => Form::Flag,
        dw::DW_FORM_flag_present => Form::FlagPresent,
        dw::DW_FORM_string => Form::String,
        dw::DW_FORM_strp => Form::Strp,
        dw::DW_FORM_line_strp => Form::LineStrp,
        dw::DW_FORM_strp_sup | dw::DW_FORM_GNU_strp_alt => Form::StrpSup,
        dw::DW_FORM_strx | dw::DW_FORM_GNU_str_index => Form::Strx,
        dw::DW_FORM_strx1 => Form::Strx1,
        dw::DW_FORM_strx2 => Form::Strx2,
        dw::DW_FORM_strx3 => Form::Strx3,
        dw::DW_FORM_strx4 => Form::Strx4,
        dw::DW_FORM_addrx | dw::DW_FORM_GNU_addr_index => Form::Addrx,
        dw::DW_FORM_addrx1 => Form::Addrx1,
        dw::DW_FORM_addrx2 => Form::Addrx2,
        dw::DW_FORM_addrx3 => Form::Addrx3,
        dw::DW_FORM_addrx4 => Form::Addrx4,
        dw::DW_FORM_ref1 => Form::Ref1,
        dw::DW_FORM_ref2 => Form::Ref2,
        dw::DW_FORM_ref4 => Form::Ref4,
        dw::DW_FORM_ref8 => Form::Ref8,
        dw::DW_FORM_ref_udata => Form::RefUdata,
        dw::DW_FORM_ref_addr => Form::RefAddr,
        dw::DW_FORM_ref_sig8 => Form::RefSig8,
        dw::DW_FORM_ref_sup4 => Form::RefSup4,
        dw::DW_FORM_ref_sup8 => Form::RefSup8,
        dw::DW_FORM_GNU_ref_alt => Form::GnuRefAlt,
        dw::DW_FORM_block1 => Form::Block1,
        dw::DW_FORM_block2 => Form::Block2,
        dw::DW_FORM_block4 => Form::Block4,
        dw::DW_FORM_block => Form::Block,
        dw::DW_FORM_exprloc => Form::Exprloc,
        dw::DW_FORM_sec_offset => Form::SecOffset,
        dw::DW_FORM_loclistx => Form::Loclistx,
        dw::DW_FORM_rnglistx => Form::Rnglistx,
        dw::DW_FORM_indirect => Form::Indirect,
        _ => return None,
    })
}
