//! A C header, as `bpftool btf dump file X format c` makes it: every definition before it is needed by value, forward
//! declarations where a pointer comes first, and layouts that a compiler reproduces.
//!
//! ```text
//! order   ── depth first, definitions that must be complete come first
//! emit    ── forward declarations, typedefs, definitions
//! declarator ── "int (*name[4])(void)" from the chain of types
//! placement  ── where C would put a member: padding, packed, aligned
//! ```

mod declarator;
mod emit;
mod names;
mod order;
mod placement;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::error::{Error, Result};
use crate::parse::Btf;
use crate::raw::{Kind, TypeId};
use crate::types::Type;
use names::Names;
pub(crate) use names::identifier;
use order::Order;
use placement::Shape;

/// Deepest nesting of types that is followed; real BTF stays below 64.
const MAX_DEPTH: u32 = 256;

/// A C header and what could not be expressed in it.
#[derive(Clone, Debug)]
pub struct Header {
    /// The header.
    pub text: String,
    /// Types that were left out, and why; empty for BTF that a compiler made.
    pub problems: Vec<Error>,
}

/// The whole header for this BTF's own types and those of its base that they need, as `bpftool` has it: with an include guard,
/// the pragma that makes accesses relocatable, and prototypes of the kernel functions that BPF programs may call (unless
/// `BPF_NO_KFUNC_PROTOTYPES` is defined).
///
/// # Errors
/// [`Error::NoSuchType`] or a bad name; types that C cannot express are among [`Header::problems`] instead.
pub fn header(btf: &Btf<'_>) -> Result<Header> {
    let mut text = String::from(GUARD);
    let mut dumper = Dumper::new(btf)?;
    let mut problems = Vec::new();
    for id in btf.ids() {
        if let Err(problem) = dumper.dump(id) {
            problems.push(problem);
        }
        text.push_str(&dumper.take());
    }
    let prototypes = prototypes(&mut dumper, &mut problems)?;
    if !prototypes.is_empty() {
        text.push_str(KFUNCS);
        text.push_str(&prototypes);
        text.push_str("#endif\n\n");
    }
    text.push_str(GUARD_END);
    Ok(Header { text, problems })
}

/// Prototypes of the kernel functions that BPF programs may call: those with the tag `bpf_kfunc`. A call of one that also has
/// `bpf_fastcall` leaves the registers alone that hold no argument (kernel 6.12, `verifier.c`).
fn prototypes(dumper: &mut Dumper<'_>, problems: &mut Vec<Error>) -> Result<String> {
    let btf = dumper.btf;
    let (mut kfuncs, mut fast) = (Vec::new(), FxHashSet::default());
    for id in btf.ids() {
        match btf.ty(id)? {
            Type::DeclTag { name: "bpf_kfunc", target, component_idx: None, .. } => kfuncs.push(target),
            Type::DeclTag { name: "bpf_fastcall", target, component_idx: None, .. } => {
                fast.insert(target);
            }
            _ => {}
        }
    }
    let mut text = String::new();
    for id in kfuncs {
        let fastcall = if fast.contains(&id) { "__bpf_fastcall " } else { "" };
        match dumper.prototype(id) {
            Ok(Some(prototype)) => text.push_str(&format!("extern {fastcall}{prototype} __weak __ksym;\n")),
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    Ok(text)
}

const GUARD: &str = "\
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)
#endif

";

const KFUNCS: &str = "\
#ifndef BPF_NO_KFUNC_PROTOTYPES
#ifndef __ksym
#define __ksym __attribute__((section(\".ksyms\")))
#endif
#ifndef __weak
#define __weak __attribute__((weak))
#endif
#ifndef __bpf_fastcall
#if __has_attribute(bpf_fastcall)
#define __bpf_fastcall __attribute__((bpf_fastcall))
#else
#define __bpf_fastcall
#endif
#endif

";

const GUARD_END: &str = "\
#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

#endif /* __VMLINUX_H__ */
";

/// Writes definitions one by one, each with what it needs and never twice.
#[derive(Debug)]
pub struct Dumper<'b> {
    btf: &'b Btf<'b>,
    pointer_bits: u32,
    state: Vec<State>,
    queue: Vec<TypeId>,
    names: Names<'b>,
    shapes: FxHashMap<TypeId, Shape>,
    /// How often each member name occurred in the composite being written.
    members: FxHashMap<String, u32>,
    steps_left: u64,
    style: Style,
    out: String,
}

/// How types are mentioned in declarations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// As a compiler takes them: names made unique, anonymous types with their bodies.
    Header,
    /// As a person reads them: names as they are, bodies as `{...}`.
    Listing,
}

/// How far a type has come.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    order: Order,
    emit: Emit,
    /// A forward declaration was written, or a typedef that is good enough behind a pointer.
    declared: bool,
    /// Some type refers to it.
    referenced: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Emit {
    #[default]
    Not,
    Now,
    Done,
}

impl<'b> Dumper<'b> {
    /// A dumper for the types of this BTF and its base.
    ///
    /// # Errors
    /// [`Error::Format`] or [`Error::NoSuchType`] where a type cannot be decoded.
    pub fn new(btf: &'b Btf<'_>) -> Result<Dumper<'b>> {
        let mut state = vec![State::default(); btf.end_id().0 as usize];
        state[0] = State { order: Order::Done, emit: Emit::Done, ..State::default() };
        let mut elements = 0;
        for id in btf.all_ids() {
            let record = btf.record(id)?;
            elements += u64::from(record.info.vlen());
            let mut refer = |to: u32| {
                if let Some(state) = state.get_mut(to as usize) {
                    state.referenced = true;
                }
            };
            match record.info.kind() {
                Kind::Ptr | Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict => refer(record.size_or_type),
                Kind::Func | Kind::Var | Kind::DeclTag | Kind::TypeTag => refer(record.size_or_type),
                Kind::Array => [0, 1].into_iter().for_each(|at| refer(record.word(at))),
                Kind::Struct | Kind::Union => {
                    (0..record.info.vlen()).for_each(|i| refer(record.word(i as usize * 3 + 1)))
                }
                Kind::FuncProto => {
                    refer(record.size_or_type);
                    (0..record.info.vlen()).for_each(|i| refer(record.word(i as usize * 2 + 1)));
                }
                Kind::Datasec => (0..record.info.vlen()).for_each(|i| refer(record.word(i as usize * 3))),
                Kind::Int | Kind::Enum | Kind::Enum64 | Kind::Fwd | Kind::Float | Kind::Unknown(_) => {}
            }
        }
        Ok(Dumper {
            btf,
            pointer_bits: btf.pointer_size().0 * 8,
            // A compiler's BTF needs about two steps an element; crafted BTF can ask for exponentially many.
            steps_left: 100_000 + 64 * (state.len() as u64 + elements),
            style: Style::Header,
            state,
            queue: Vec::new(),
            names: Names::default(),
            shapes: FxHashMap::default(),
            members: FxHashMap::default(),
            out: String::new(),
        })
    }

    /// A dumper for single declarations in a listing.
    pub(crate) fn for_listing(btf: &'b Btf<'_>) -> Dumper<'b> {
        Dumper {
            btf,
            pointer_bits: btf.pointer_size().0 * 8,
            steps_left: u64::MAX,
            style: Style::Listing,
            state: Vec::new(),
            queue: Vec::new(),
            names: Names::default(),
            shapes: FxHashMap::default(),
            members: FxHashMap::default(),
            out: String::new(),
        }
    }

    /// Appends the definition of a type, after those it needs and that were not written before. Functions, variables and
    /// sections have none.
    ///
    /// # Errors
    /// [`Error::NoSuchType`], a bad name, or [`Error::TooDeep`] where a type contains itself by value or nests beyond reason.
    pub fn dump(&mut self, id: TypeId) -> Result<()> {
        self.queue.clear();
        self.order(id, false, 0)?;
        for id in std::mem::take(&mut self.queue) {
            self.emit(id, None, 0)?;
        }
        Ok(())
    }

    /// Takes what was written since the last call.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.out)
    }

    /// A declaration of `name` with this type, without a semicolon: `int (*name)(void)`. Anonymous composites come inline.
    ///
    /// # Errors
    /// As for [`Dumper::dump`].
    pub fn declaration(&mut self, id: TypeId, name: &str) -> Result<String> {
        self.declare(id, name, 0, 0)
    }

    /// A function's declaration, nothing for another type.
    fn prototype(&mut self, id: TypeId) -> Result<Option<String>> {
        match self.btf.ty(id)? {
            Type::Func { name, proto, .. } => self.declaration(proto, &identifier(name)).map(Some),
            _ => Ok(None),
        }
    }

    /// The name that a type has in what was written so far: its own, or with `___2` and so on where it was not the first.
    pub fn written_name(&self, id: TypeId) -> Option<&str> {
        self.names.known(id)
    }

    fn state(&mut self, id: TypeId) -> Result<&mut State> {
        let last = TypeId(self.btf.end_id().0 - 1);
        self.state.get_mut(id.0 as usize).ok_or(Error::NoSuchType { id, last })
    }

    /// Counts a step of a walk; an error where a walk goes too deep or all walks together take too long.
    fn step(&mut self, id: TypeId, depth: u32) -> Result<()> {
        self.steps_left = self.steps_left.saturating_sub(1);
        if depth > MAX_DEPTH || self.steps_left == 0 { Err(Error::TooDeep { id, limit: MAX_DEPTH }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::{BitOffset, ByteSize, Endian, StrOffset};
    use crate::types::IntEncoding;
    use crate::write::{Builder, EnumValueDef, MemberDef, ParamDef};

    /// A BTF under construction: id 1 is `int`, id 2 `char`.
    struct Source(Builder);

    impl Source {
        fn new() -> Source {
            let mut source = Source(Builder::new(Endian::Little));
            source.int("int", 4, IntEncoding::SIGNED);
            source.int("char", 1, IntEncoding::NONE);
            source
        }

        fn int(&mut self, name: &str, size: u32, encoding: IntEncoding) -> TypeId {
            let name = self.0.string(name);
            self.0.int(name, ByteSize(size), encoding, BitOffset(0), (size * 8) as u8)
        }

        /// Members are name, type, bit offset, and the width of a bit-field.
        fn composite(&mut self, kind: Kind, name: &str, size: u32, members: &[(&str, TypeId, u32, u32)]) -> TypeId {
            let name = self.0.string(name);
            let member = |&(name, ty, offset, bitfield_size): &(&str, TypeId, u32, u32)| MemberDef {
                name: self.0.string(name),
                ty,
                offset: BitOffset(offset),
                bitfield_size,
            };
            let members: Vec<_> = members.iter().map(member).collect();
            self.0.composite(kind, name, ByteSize(size), members)
        }

        fn record(&mut self, name: &str, size: u32, members: &[(&str, TypeId, u32, u32)]) -> TypeId {
            self.composite(Kind::Struct, name, size, members)
        }

        fn typedef(&mut self, name: &str, ty: TypeId) -> TypeId {
            let name = self.0.string(name);
            self.0.typedef(name, ty)
        }

        fn proto(&mut self, ret: TypeId, params: &[(&str, TypeId)]) -> TypeId {
            let params: Vec<_> = params.iter().map(|&(name, ty)| ParamDef { name: self.0.string(name), ty }).collect();
            self.0.func_proto(ret, params)
        }
    }

    const INT: TypeId = TypeId(1);
    const CHAR: TypeId = TypeId(2);

    #[track_caller]
    fn check(build: impl FnOnce(&mut Source), expected: &str) {
        let mut source = Source::new();
        build(&mut source);
        let bytes = source.0.finish().unwrap();
        let btf = Btf::parse(&bytes).unwrap();
        let mut dumper = Dumper::new(&btf).unwrap();
        btf.ids().for_each(|id| dumper.dump(id).unwrap());
        assert_eq!(dumper.take(), expected);
    }

    #[test]
    fn declarations_read_inside_out() {
        let build = |s: &mut Source| {
            let row = s.0.array(INT, INT, 3);
            let grid = s.0.array(row, INT, 2);
            s.typedef("grid", grid);
            let to_grid = s.0.ptr(grid);
            s.typedef("to_grid", to_grid);
            let konst = s.0.modifier(Kind::Const, CHAR);
            let text = s.0.ptr(konst);
            let fixed = s.0.modifier(Kind::Const, text);
            let table = s.0.array(fixed, INT, 4);
            s.typedef("table", table);
            let callback = s.proto(text, &[("a", INT), ("", TypeId(0))]);
            let callback = s.0.ptr(callback);
            let callbacks = s.0.array(callback, INT, 5);
            s.typedef("callbacks", callbacks);
            let getter = s.proto(callback, &[]);
            let getter = s.0.ptr(getter);
            s.typedef("getter", getter);
            let plain = s.proto(TypeId(0), &[("", TypeId(0))]);
            s.typedef("plain", plain);
        };
        check(
            build,
            "typedef int grid[2][3];\n\n\
             typedef int (*to_grid)[2][3];\n\n\
             typedef const char * const table[4];\n\n\
             typedef const char *(*callbacks[5])(int a, ...);\n\n\
             typedef const char *(*(*getter)(void))(int a, ...);\n\n\
             typedef void plain(void);\n\n",
        );
    }

    #[test]
    fn what_is_needed_by_value_comes_first_and_what_is_not_is_declared() {
        let build = |s: &mut Source| {
            // struct list { struct list *next; struct owner *owner; struct inner inner; }, and what it needs behind it.
            let next = s.0.next_id().0;
            let (list, to_list, owner, to_owner, inner) =
                (TypeId(next), TypeId(next + 1), TypeId(next + 2), TypeId(next + 3), TypeId(next + 4));
            s.record("list", 24, &[("next", to_list, 0, 0), ("owner", to_owner, 64, 0), ("inner", inner, 128, 0)]);
            s.0.ptr(list);
            s.record("owner", 24, &[("list", list, 0, 0)]);
            s.0.ptr(owner);
            s.record("inner", 8, &[("a", INT, 0, 0), ("b", INT, 32, 0)]);
        };
        check(
            build,
            "struct inner {\n\tint a;\n\tint b;\n};\n\n\
             struct owner;\n\n\
             struct list {\n\tstruct list *next;\n\tstruct owner *owner;\n\tstruct inner inner;\n};\n\n\
             struct owner {\n\tstruct list list;\n};\n\n",
        );
    }

    #[test]
    fn padding_and_packing_put_members_where_they_are() {
        let build = |s: &mut Source| {
            s.record("packed", 5, &[("c", CHAR, 0, 0), ("i", INT, 8, 0)]);
            s.record("hole", 16, &[("c", CHAR, 0, 0), ("i", INT, 64, 0)]);
            s.record("bits", 8, &[("a", INT, 0, 3), ("b", INT, 8, 20), ("c", INT, 32, 1)]);
            s.record("crossing", 5, &[("a", INT, 0, 20), ("b", INT, 20, 20)]);
            let flexible = s.0.array(CHAR, INT, 0);
            s.record("tail", 4, &[("n", INT, 0, 0), ("data", flexible, 32, 0)]);
            s.record("empty", 0, &[]);
            s.composite(Kind::Union, "wide", 16, &[("i", INT, 0, 0)]);
            s.composite(Kind::Union, "odd", 12, &[("c", CHAR, 0, 0)]);
        };
        check(
            build,
            "struct packed {\n\tchar c;\n\tint i;\n} __attribute__((packed));\n\n\
             struct hole {\n\tchar c;\n\tlong: 56;\n\tint i;\n\tint: 32;\n};\n\n\
             struct bits {\n\tint a: 3;\n\tchar: 5;\n\tint b: 20;\n\tchar: 4;\n\tint c: 1;\n};\n\n\
             struct crossing {\n\tint a: 20;\n\tint b: 20;\n} __attribute__((packed));\n\n\
             struct tail {\n\tint n;\n\tchar data[0];\n};\n\n\
             struct empty {};\n\n\
             union wide {\n\tint i;\n} __attribute__((aligned(16)));\n\n\
             union odd {\n\tchar c;\n\tstruct {\n\t\tlong: 64;\n\t\tint: 32;\n\t};\n};\n\n",
        );
    }

    #[test]
    fn names_are_unique_in_each_of_cs_name_spaces() {
        let build = |s: &mut Source| {
            s.record("same", 4, &[("a", INT, 0, 0)]);
            s.record("same", 4, &[("b", INT, 0, 0)]);
            s.typedef("same", INT);
            let (tag, a) = (s.0.string("tag"), s.0.string("A"));
            s.0.enum_(tag, ByteSize(1), true, [EnumValueDef { name: a, value: -1 }]);
            s.0.enum64(StrOffset::EMPTY, ByteSize(8), false, [EnumValueDef { name: a, value: 5 }]);
            let hidden = s.record("", 4, &[("x", INT, 0, 0)]);
            s.composite(Kind::Union, "u", 4, &[("x", INT, 0, 0), ("", hidden, 0, 0), ("named", hidden, 0, 0)]);
        };
        check(
            build,
            "struct same {\n\tint a;\n};\n\n\
             struct same___2 {\n\tint b;\n};\n\n\
             typedef int same;\n\n\
             enum tag {\n\tA = -1,\n} __attribute__((mode(byte)));\n\n\
             enum {\n\tA___2 = 5ULL,\n} __attribute__((mode(DI)));\n\n\
             union u {\n\tint x;\n\tstruct {\n\t\tint x___2;\n\t};\n\tstruct {\n\t\tint x;\n\t} named;\n};\n\n",
        );
    }

    #[test]
    fn an_anonymous_member_of_a_named_type_is_written_inline() {
        let build = |s: &mut Source| {
            let key = s.record("key", 4, &[("len", INT, 0, 0)]);
            s.record("pair", 8, &[("", key, 0, 0), ("len", INT, 32, 0)]);
        };
        check(
            build,
            "struct key {\n\tint len;\n};\n\n\
             struct pair {\n\tstruct {\n\t\tint len;\n\t};\n\tint len___2;\n};\n\n",
        );
    }

    #[test]
    fn the_compilers_own_va_list_is_written_as_what_it_stands_for() {
        let build = |s: &mut Source| {
            let tag = s.record("__va_list_tag", 4, &[("gp_offset", INT, 0, 0)]);
            let array = s.0.array(tag, INT, 1);
            let builtin = s.typedef("__builtin_va_list", array);
            s.typedef("va_list", builtin);
        };
        check(build, "struct __va_list_tag {\n\tint gp_offset;\n};\n\ntypedef struct __va_list_tag va_list[1];\n\n");
    }

    #[test]
    fn kernel_functions_get_a_prototype() {
        let mut source = Source::new();
        let proto = source.proto(INT, &[("skb", INT)]);
        for (function, tags) in [
            ("bpf_plain", &["bpf_kfunc"][..]),
            ("bpf_fast", &["bpf_fastcall", "bpf_kfunc"]),
            ("not_for_bpf", &["bpf_fastcall"]),
        ] {
            let name = source.0.string(function);
            let func = source.0.func(name, proto, crate::types::FuncLinkage::Static);
            for tag in tags {
                let tag = source.0.string(tag);
                source.0.decl_tag(tag, func, None, false);
            }
        }
        let bytes = source.0.finish().unwrap();
        let header = header(&Btf::parse(&bytes).unwrap()).unwrap();
        let expected = "#endif\n#endif\n\n\
            extern int bpf_plain(int skb) __weak __ksym;\n\
            extern __bpf_fastcall int bpf_fast(int skb) __weak __ksym;\n\
            #endif\n\n#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n";
        assert!(header.text.contains(expected), "{}", header.text);
    }

    #[test]
    fn a_type_that_contains_itself_is_a_problem_beside_the_rest() {
        let mut source = Source::new();
        let own = source.0.next_id();
        source.record("own", 4, &[("own", own, 0, 0)]);
        source.typedef("fine", INT);
        let bytes = source.0.finish().unwrap();
        let header = header(&Btf::parse(&bytes).unwrap()).unwrap();
        assert_eq!(header.problems, [Error::TooDeep { id: own, limit: MAX_DEPTH }]);
        assert!(header.text.contains("typedef int fine;") && !header.text.contains("own"), "{}", header.text);
    }
}
