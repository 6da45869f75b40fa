//! Symbol tables, against binutils.

use crate::toolchain::{folder, run, skip};
use image::Image;
use std::collections::BTreeSet;
use std::path::Path;
use symbols::{Kind, Source, Sources, functions, qualified};

/// Functions that binutils see in a table: address, size, name with version.
fn by_readelf(file: &Path, option: &str) -> Option<BTreeSet<(u64, u64, String)>> {
    let printed = run(Path::new("."), &[&format!("readelf -W {option} {}", file.display())])?;
    let mut found = BTreeSet::new();
    for line in printed.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, address, size, "FUNC" | "IFUNC", _, _, section, name, ..] = words[..] else { continue };
        if section == "UND" {
            continue;
        }
        let size = match size.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).unwrap(),
            None => size.parse().unwrap(),
        };
        found.insert((u64::from_str_radix(address, 16).unwrap(), size, name.to_owned()));
    }
    Some(found)
}

/// Debian's and Fedora's places of a library, or of Python.
fn find(name: &str) -> Option<std::path::PathBuf> {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/bin"];
    let found = folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file());
    if found.is_none() {
        skip(&format!("{name} is missing"));
    }
    found
}

#[test]
fn dynamic_symbols_and_their_versions_are_those_of_readelf() {
    let check = |name: &str, at_least: usize| {
        let Some(path) = find(name) else { return };
        let Some(expected) = by_readelf(&path, "--dyn-syms") else { return };
        let data = std::fs::read(&path).unwrap();
        let image = Image::parse(&data).unwrap();
        let found = functions(&Sources::of(&image)).unwrap();
        assert_eq!(found.diagnostics, []);
        let mut ours = BTreeSet::new();
        for function in &found.functions {
            for name in function.names.iter().filter(|name| name.sources.contains(Source::Dynsym)) {
                ours.insert((function.address.0, name.versioned().into_owned()));
                if name.kind == Kind::Ifunc {
                    assert_eq!(function.kind, Kind::Ifunc);
                }
            }
        }
        let expected: BTreeSet<(u64, String)> =
            expected.into_iter().map(|(address, _, name)| (address, name)).collect();
        assert_eq!(ours, expected, "{name}");
        assert!(ours.len() >= at_least, "{name}: {} functions", ours.len());
    };
    check("libc.so.6", 2000);
    check("libssl.so.3", 400);
    check("python3", 1000);
    check("libstdc++.so.6", 4000);
}

#[test]
fn a_versioned_name_is_found_with_and_without_its_version() {
    let Some(path) = find("libc.so.6") else { return };
    let data = std::fs::read(path).unwrap();
    let image = Image::parse(&data).unwrap();
    let found = functions(&Sources::of(&image)).unwrap();
    let addresses = |asked: &str| found.find(asked).iter().map(|function| function.address).collect::<Vec<_>>();
    // two versions since glibc 2.14: another function each
    let all = addresses("memcpy");
    let default = addresses("memcpy@@GLIBC_2.14");
    if cfg!(target_arch = "x86_64") {
        assert_eq!(all.len(), 2);
        assert_eq!(default.len(), 1);
        assert_eq!(addresses("memcpy@GLIBC_2.14"), default);
        let old = addresses("memcpy@GLIBC_2.2.5");
        assert!(all.contains(&old[0]) && old != default);
        assert_eq!(addresses("memcpy@@GLIBC_2.2.5"), []);
        assert_eq!(found.find("memcpy@GLIBC_2.14")[0].kind, Kind::Ifunc);
    }
    let write = found.find("write")[0];
    assert!(write.names.iter().any(|name| name.text == "__write"), "{write:?}");
    assert_eq!(found.at(write.address).unwrap(), write);
}

#[test]
fn versions_in_names_of_symtab_are_versions() {
    let folder = folder();
    let source = "int old(int n) { return n; }\nint new(int n) { return n + 1; }\n\
                  __asm__(\".symver old,f@V_1\\n.symver new,f@@V_2\");\n";
    std::fs::write(folder.path().join("f.c"), source).unwrap();
    std::fs::write(folder.path().join("f.map"), "V_1 { };\nV_2 { local: *; } V_1;\n").unwrap();
    if run(folder.path(), &["gcc -shared -fPIC -Wl,--version-script=f.map -o f.so f.c"]).is_none() {
        return;
    }
    let data = std::fs::read(folder.path().join("f.so")).unwrap();
    let image = Image::parse(&data).unwrap();
    let found = functions(&Sources::of(&image)).unwrap();
    let names = |asked: &str| {
        let functions = found.find(asked).into_iter();
        functions.map(|function| function.names.iter().map(|name| name.versioned().into_owned()).collect()).collect()
    };
    let (old, new) = (vec!["f@V_1".to_owned(), "old".to_owned()], vec!["f@@V_2".to_owned(), "new".to_owned()]);
    let check = |asked: &str, expected: &[&Vec<String>]| {
        let found: Vec<Vec<String>> = names(asked);
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{asked}");
    };
    check("f", &[&old, &new]);
    check("f@V_1", &[&old]);
    check("f@@V_2", &[&new]);
    check("new", &[&new]);
    check("f@@V_1", &[]);
}

#[test]
fn qualified_names_are_those_of_cxxfilt() {
    let Some(path) = find("libstdc++.so.6") else { return };
    let data = std::fs::read(path).unwrap();
    let image = Image::parse(&data).unwrap();
    let mangled: BTreeSet<String> = image
        .functions()
        .map(|symbol| String::from_utf8_lossy(symbol.name).into_owned())
        .filter(|name| !name.starts_with("_ZGT"))
        .collect();
    let folder = folder();
    std::fs::write(folder.path().join("names"), mangled.iter().map(|name| format!("{name}\n")).collect::<String>())
        .unwrap();
    // c++filt reads names from its arguments or its input
    let Some(printed) = run(folder.path(), &["xargs -a names c++filt -p"]) else { return };
    // we keep the standard's abbreviations, which users type; c++filt writes what they mean
    let abbreviations = ["std::string", "std::ostream", "std::istream", "std::iostream"];
    let is_short = |name: &str| abbreviations.iter().any(|short| name.contains(short));
    let plain = |name: &str| name.replace(' ', "");
    assert_eq!(printed.lines().count(), mangled.len());
    let (mut compared, mut differ) = (0, Vec::new());
    for (name, theirs) in mangled.iter().zip(printed.lines()) {
        let ours = qualified(name);
        if is_short(&ours) {
            continue;
        }
        compared += 1;
        // of thunks, it tells the parameters all the same
        let theirs = if theirs.contains("thunk to") { theirs.trim_end_matches("()") } else { theirs };
        if plain(&ours) != plain(theirs) {
            differ.push((name, theirs, ours));
        }
    }
    assert!(compared > 3000, "{compared}");
    assert!(differ.len() * 500 < compared, "{} of {compared}: {differ:#?}", differ.len());
}

#[test]
fn parts_clones_and_cold_parts_are_told_apart() {
    let folder = folder();
    let lines = ["gcc -O2 -g -shared -fPIC -o lib.so {src}/parts.c", "readelf -W -s lib.so"];
    if run(folder.path(), &lines).is_none() {
        return;
    }
    let expected = by_readelf(&folder.path().join("lib.so"), "-s").unwrap();
    let data = std::fs::read(folder.path().join("lib.so")).unwrap();
    let image = Image::parse(&data).unwrap();
    for dwarf in [false, true] {
        let found = functions(&Sources { dwarf, ..Sources::of(&image) }).unwrap();
        for (address, _, name) in &expected {
            let function = found.functions.iter().find(|function| function.address.0 == *address).unwrap();
            let named = function
                .names
                .iter()
                .find(|known| known.text == *name)
                .unwrap_or_else(|| panic!("{name}: {function:?}"));
            let kind = match name {
                name if name.contains(".cold") => Kind::Cold,
                name if name.contains(".part.") => Kind::Part,
                name if name.contains(".constprop.") || name.contains(".isra.") => Kind::Clone,
                _ => Kind::Function,
            };
            assert_eq!(named.kind, kind, "{name}");
            assert_eq!(function.kind, kind, "{name}");
        }
        let kinds: BTreeSet<Kind> = found.functions.iter().map(|function| function.kind).collect();
        assert!(kinds.contains(&Kind::Cold), "{kinds:?}");
        // the function alone, though DWARF has its cold part by the same name
        let aborting = found.find("aborting");
        assert_eq!(aborting.len(), 1);
        assert_eq!(aborting[0].kind, Kind::Function);
        assert_eq!(found.find("aborting.cold")[0].kind, Kind::Cold);
        let alias = found.find("other_name")[0];
        assert_eq!(alias.names.iter().map(|name| name.text.as_str()).collect::<Vec<_>>(), ["aborting", "other_name"]);
        assert_eq!(alias.names[0].sources.contains(Source::Dwarf), dwarf);
    }
}

#[test]
fn a_relocatable_object_has_no_addresses() {
    let folder = folder();
    if run(folder.path(), &["gcc -O2 -c -o parts.o {src}/parts.c"]).is_none() {
        return;
    }
    let data = std::fs::read(folder.path().join("parts.o")).unwrap();
    let image = Image::parse(&data).unwrap();
    let error = functions(&Sources::of(&image)).unwrap_err();
    assert_eq!(error.to_string(), "neither a program nor a library: its functions have no addresses");
}
