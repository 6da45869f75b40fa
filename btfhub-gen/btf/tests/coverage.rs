//! Whether a minimal BTF is taken for fitting an object only where it is.

mod support;

use std::sync::Arc;

use btf::core_relo::{Module, Target};
use btf::coverage::{Coverage, Fit};
use btf::minimize::{ByName, Enumerator, minimize, minimize_merged};
use btf::object_file::ObjectFile;
use btf::write::{Builder, EnumValueDef, MemberDef, ParamDef};
use btf::{BitOffset, Btf, ByteSize, Endian, FuncLinkage, Kind, StrOffset, Type, TypeId};

#[test]
fn an_object_is_covered_by_what_was_made_for_it_or_for_its_questions() {
    if !support::has("clang") {
        return support::skip("clang is missing");
    }
    let read = |machine, name| std::fs::read(support::object_for(machine, name)).unwrap();
    let made_for = ["tcplife", "types"].map(|name| (name, read("bpfel", name)));
    let objects: Vec<ObjectFile<'_>> =
        made_for.iter().map(|(name, data)| ObjectFile::parse(name, data).unwrap()).collect();
    let kernel = made_for[0].1.clone();
    let kernel = Btf::parse(btf::elf::btf_section(&kernel).unwrap().unwrap().btf).unwrap();
    let minimal = minimize(&Target::kernel(&kernel), &objects).unwrap().btf;
    let coverage = Coverage::read(&Btf::parse(&minimal).unwrap()).unwrap();
    assert_eq!(coverage.objects().len(), 2);

    let check = |data: &[u8]| coverage.check(&ObjectFile::parse("new", data).unwrap());
    assert_eq!(check(&made_for[0].1), Fit::Object);
    assert_eq!(check(&made_for[1].1), Fit::Object);
    // Compiled for the other byte order, it is another file that asks the same.
    assert_eq!(check(&read("bpfeb", "tcplife")), Fit::Questions);
    assert_eq!(check(&read("bpfeb", "types")), Fit::Questions);
    let mut longer = made_for[0].1.clone();
    longer.push(0);
    assert_eq!(check(&longer), Fit::Questions);
    let flavours = read("bpfel", "flavours");
    let object = ObjectFile::parse("flavours", &flavours).unwrap();
    let Fit::Stale { missing } = coverage.check(&object) else { panic!() };
    let asked = |number: usize| {
        let relo = &object.relocations()[number];
        btf::core_relo::AccessSpec::parse(object.btf(), relo.kind, relo.root, relo.access)
            .unwrap()
            .display(object.btf())
    };
    let missing: Vec<String> = missing.into_iter().map(asked).collect();
    assert!(missing.contains(&"struct task_struct.__state".to_owned()), "{missing:?}");
    // tcplife asks for it too.
    assert!(!missing.contains(&"struct tcp_sock.srtt_us".to_owned()), "{missing:?}");
}

/// `struct sock`, which `struct tcp_sock` begins with; `void tcp_ack(const struct sock *)`; an enum. The ids of sock and of the
/// pointer to it.
fn kernel(out: &mut Builder) -> TypeId {
    let composite = |out: &mut Builder, name: &str, members: &[(&str, TypeId, u32)]| {
        let name = out.string(name);
        let member = |out: &mut Builder, &(name, ty, bit): &(&str, TypeId, u32)| {
            let name = out.string(name);
            MemberDef { name, ty, offset: BitOffset(bit), bitfield_size: 0 }
        };
        let members: Vec<MemberDef> = members.iter().map(|one| member(out, one)).collect();
        out.composite(Kind::Struct, name, ByteSize(64), members)
    };
    let sock = composite(out, "sock", &[]);
    let other = composite(out, "other", &[]);
    let middle = composite(out, "middle", &[("first", sock, 0), ("second", other, 64)]);
    composite(out, "tcp_sock", &[("inner", middle, 0), ("other", other, 128)]);
    let pointed = out.modifier(Kind::Const, sock);
    let pointer = out.ptr(pointed);
    function(out, "tcp_ack", pointer);
    let name = out.string("bpf_func_id");
    let values = [("BPF_FUNC_a", 1), ("BPF_FUNC_b", 2), ("BPF_FUNC_also_b", 2)];
    let values: Vec<EnumValueDef> =
        values.map(|(name, value)| EnumValueDef { name: out.string(name), value }).into_iter().collect();
    out.enum_(name, ByteSize(4), false, values);
    pointer
}

fn function(out: &mut Builder, name: &str, parameter: TypeId) {
    let proto = out.func_proto(TypeId::VOID, [ParamDef { name: StrOffset::EMPTY, ty: parameter }]);
    let name = out.string(name);
    out.func(name, proto, FuncLinkage::Static);
}

#[test]
fn what_is_looked_up_by_name_is_there_or_known_to_be_absent() {
    let mut out = Builder::new(Endian::Little);
    let pointer = kernel(&mut out);
    let first_id = out.next_id();
    let whole = out.finish().unwrap();
    let whole = Arc::new(Btf::parse(&whole).unwrap());
    let mut out = Builder::split(Endian::Little, whole.str_len(), first_id);
    function(&mut out, "of_module", pointer);
    let module = out.finish().unwrap();
    let module = Btf::parse_split(&module, Arc::clone(&whole)).unwrap();
    let modules = [Module { name: "made_up", btf: &module }];

    let mut by_name = ByName::default();
    let wanted = ["tcp_ack", "of_module", "no_such"].map(|name| (name.to_owned(), Kind::Func));
    by_name.types.extend(wanted);
    let asked = [Enumerator::Named("BPF_FUNC_a".to_owned()), Enumerator::Valued(2), Enumerator::Valued(3)];
    by_name.enumerators.extend(asked.iter().map(|which| ("bpf_func_id".to_owned(), which.clone())));
    by_name.heads.insert("tcp_sock".to_owned());
    let minimal = minimize_merged(&Target { vmlinux: &whole, modules: &modules }, &[], &by_name).unwrap().btf;
    let minimal = Btf::parse(&minimal).unwrap();
    let coverage = Coverage::read(&minimal).unwrap();
    let has = |name: &str, kind: Kind| (coverage.has_name(name, kind), minimal.find(name, kind).count());
    assert_eq!(has("tcp_ack", Kind::Func), (true, 1));
    assert_eq!(has("of_module", Kind::Func), (true, 1));
    assert_eq!(has("no_such", Kind::Func), (true, 0));
    assert_eq!(has("nobody_asked", Kind::Func), (false, 0));
    assert_eq!(has("tcp_ack", Kind::Typedef), (false, 0));
    for which in &asked {
        assert!(coverage.has_enumerator("bpf_func_id", which), "{which:?}");
    }
    assert!(!coverage.has_enumerator("bpf_func_id", &Enumerator::Valued(1)));
    assert!(!coverage.has_enumerator("bpf_map_type", &Enumerator::Valued(2)));
    let Type::Enum(values) = minimal.ty(minimal.find("bpf_func_id", Kind::Enum).next().unwrap()).unwrap() else {
        panic!()
    };
    let values: Vec<&str> = values.values().map(|value| value.unwrap().name).collect();
    assert_eq!(values, ["BPF_FUNC_a", "BPF_FUNC_b", "BPF_FUNC_also_b"]);
    // the parameter's structure by its name, and what leads to it from one that it may be taken for
    let members = |name: &str| {
        let Type::Struct(found) = minimal.ty(minimal.find(name, Kind::Struct).next().unwrap()).unwrap() else {
            panic!()
        };
        found.members().map(|member| member.unwrap().name.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (members("sock").len(), members("tcp_sock"), members("middle")),
        (0, vec!["inner".to_owned()], vec!["first".to_owned()])
    );
    assert_eq!(minimal.find("other", Kind::Struct).count(), 0);

    // of minimal types no more can be told than what they were made for
    let mut more = by_name.clone();
    more.types.insert(("schedule".to_owned(), Kind::Func));
    let again = minimize_merged(&Target::kernel(&minimal), &[], &more).unwrap().btf;
    let again = Coverage::read(&Btf::parse(&again).unwrap()).unwrap();
    assert_eq!([again.has_name("no_such", Kind::Func), again.has_name("schedule", Kind::Func)], [true, false]);
}
