//! Layouts, against what the compiled program itself says.

use crate::toolchain::{folder, run};
use image::Image;
use symbols::{Defined, Error, Sources, layouts, layouts_of};

/// Compiles the fixture, and holds each field that it prints against the layout.
fn check(flags: &str) {
    let folder = folder();
    let compile = format!("g++ {flags} -o layout {{src}}/layout.cpp");
    let program = folder.path().join("layout");
    let Some(printed) = run(folder.path(), &[&compile, program.to_str().unwrap()]) else { return };
    let data = std::fs::read(&program).unwrap();
    let image = Image::parse(&data).unwrap();
    let dwarf = Sources::of(&image).dwarf().unwrap();
    let mut fields = 0;
    for line in printed.lines() {
        // type, path, first bit, bits, bytes of the whole
        let mut words = line.rsplitn(5, ' ');
        let mut number = || words.next().unwrap().parse::<u64>().unwrap();
        let (bytes, count, first) = (number(), number(), number());
        let (path, name) = (words.next().unwrap(), words.next().unwrap());
        let found = layouts(&dwarf, name).unwrap_or_else(|error| panic!("{flags}: {error}"));
        assert_eq!(found.len(), 1, "{flags}: {name}: {found:#?}");
        let layout = &found[0].layout;
        assert_eq!(layout.size, bytes, "{flags}: {name}");
        let field = layout.field(path).unwrap_or_else(|| panic!("{flags}: {path} in {layout:#?}"));
        assert_eq!((field.offset_bits, field.size_bits), (first, count), "{flags}: {name}.{path}");
        fields += 1;
    }
    assert_eq!(fields, 26, "{flags}");

    let derived = &layouts(&dwarf, "Derived").unwrap()[0].layout;
    assert_eq!((derived.name.as_str(), derived.kind), ("shapes::Derived", "class"));
    let of = |path: &str| derived.field(path).unwrap();
    assert!(of("low").is_bit_field && !of("first").is_bit_field);
    assert_eq!(of("tag").base.as_deref(), Some("Second"));
    assert_eq!((of("inner").depth, of("inner.p.x").depth, of("a").depth), (0, 2, 0));
    assert_eq!(of("pointer").type_name, "void *");
    assert_eq!(of("grid").type_name, "int[2][3]");
    // a static member is in no object
    assert_eq!(derived.field("shared"), None);
    let of_virtual = &layouts(&dwarf, "shape_virtual").unwrap()[0].layout;
    assert_eq!(of_virtual.virtual_bases, ["Second"]);
    assert_eq!(of_virtual.field("tag"), None);
    let plain = &layouts(&dwarf, "plain_t").unwrap()[0].layout;
    assert_eq!((plain.kind, plain.size), ("struct", 16));

    let several = layouts_of(&dwarf, &["opaque", "no_such_type", "shapes::Point", "other::Point"]);
    assert_eq!(several[0], Err(Error::OnlyDeclared("opaque".to_owned())));
    assert_eq!(several[1], Err(Error::NoType("no_such_type".to_owned())));
    assert!(matches!(several[2].as_deref(), Ok([Defined { units: 1, .. }])));
    assert_eq!(several[3], Err(Error::NoType("other::Point".to_owned())));
}

#[test]
fn fields_are_where_the_program_has_them() {
    check("-g -gdwarf-5");
    check("-g -gdwarf-4 -O2");
    check("-g -gdwarf-3 -gstrict-dwarf");
    check("-g -gdwarf-2");
    check("-g -gdwarf-5 -fdebug-types-section");
    check("-g -gdwarf-4 -fdebug-types-section -gz");
    check("-g -flto -O1");
}

#[test]
fn what_is_nested_deeper_is_cut_and_the_rest_told() {
    let folder = folder();
    let source = "template <int N> struct Nest { Nest<N - 1> n; int x; };\ntemplate <> struct Nest<0> { int x; };\n\
                  struct Whole { int a; Nest<NESTED> deep; int b; } whole;\n";
    std::fs::write(folder.path().join("nest.cpp"), source).unwrap();
    let check = |nested: usize, is_cut: bool| {
        let line = format!("g++ -g -shared -fPIC -DNESTED={nested} -o nest.so nest.cpp");
        if run(folder.path(), &[&line]).is_none() {
            return;
        }
        let data = std::fs::read(folder.path().join("nest.so")).unwrap();
        let image = Image::parse(&data).unwrap();
        let found = layouts(&Sources::of(&image).dwarf().unwrap(), "Whole").unwrap();
        let layout = &found[0].layout;
        assert_eq!(layout.is_cut, is_cut, "{nested}");
        assert_eq!(layout.field("b").unwrap().offset_bits / 32, nested as u64 + 2);
        let innermost = format!("deep{}.x", ".n".repeat(nested));
        assert_eq!(layout.field(&innermost).map(|field| field.offset_bits), (!is_cut).then_some(32));
    };
    check(100, false);
    check(300, true);
}

#[test]
fn classes_that_have_each_other_over_and_over_are_cut() {
    let folder = folder();
    // each level has the one below twice: 100,000 classes, and no field
    let source = "template <int N> struct Level;\ntemplate <int N> struct Left : Level<N - 1> {};\n\
                  template <int N> struct Right : Level<N - 1> {};\n\
                  template <int N> struct Level : Left<N>, Right<N> {};\ntemplate <> struct Level<0> {};\n\
                  struct Whole : Level<LEVELS> {} whole;\n";
    std::fs::write(folder.path().join("levels.cpp"), source).unwrap();
    for (levels, is_cut) in [(4, false), (15, true)] {
        let line = format!("g++ -g -w -shared -fPIC -DLEVELS={levels} -o levels.so levels.cpp");
        if run(folder.path(), &[&line]).is_none() {
            return;
        }
        let data = std::fs::read(folder.path().join("levels.so")).unwrap();
        let image = Image::parse(&data).unwrap();
        let found = layouts(&Sources::of(&image).dwarf().unwrap(), "Whole").unwrap();
        assert_eq!(found[0].layout.is_cut, is_cut, "{levels}");
    }
}

#[test]
fn units_that_differ_are_all_told() {
    let folder = folder();
    let source = "struct thing { int a;\n#ifdef DEBUG\nint extra;\n#endif\nlong b; };\nstruct thing NAME = { 1 };\n";
    std::fs::write(folder.path().join("unit.c"), source).unwrap();
    let lines = [
        "gcc -g -c -DNAME=one -o one.o unit.c",
        "gcc -g -c -DNAME=two -o two.o unit.c",
        "gcc -g -c -DNAME=three -DDEBUG -DDEBUG_ -o three.o unit.c",
        "gcc -shared -o lib.so one.o two.o three.o",
    ];
    if run(folder.path(), &lines).is_none() {
        return;
    }
    let data = std::fs::read(folder.path().join("lib.so")).unwrap();
    let image = Image::parse(&data).unwrap();
    let found = layouts(&Sources::of(&image).dwarf().unwrap(), "thing").unwrap();
    let told: Vec<_> = found.iter().map(|defined| (defined.units, defined.layout.fields.len())).collect();
    assert_eq!(told, [(2, 2), (1, 3)]);
}
