//! Separate debug files and `.gnu_debugdata`, made by binutils and xz.

use crate::toolchain::{folder, run};
use image::Image;
use std::collections::BTreeSet;
use std::path::Path;
use symbols::{Error, Functions, Source, Sources, belongs, debug_link, decompress, functions, layouts};

fn read(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap()
}

fn names(found: &Functions, source: Source) -> BTreeSet<(u64, u64, String)> {
    let all = found.functions.iter().flat_map(|function| function.names.iter().map(move |name| (function, name)));
    all.filter(|(_, name)| name.sources.contains(source))
        .map(|(function, name)| (function.address.0, function.size, name.text.clone()))
        .collect()
}

#[test]
fn a_debug_file_labels_the_stripped_file() {
    let folder = folder();
    let at = folder.path();
    let lines = [
        "gcc -O2 -g -Wl,--build-id -shared -fPIC -o whole.so {src}/parts.c",
        "gcc -O1 -g -Wl,--build-id -shared -fPIC -o other.so {src}/parts.c",
        "gcc -O2 -g -Wl,--build-id=none -shared -fPIC -o noid.so {src}/parts.c",
        "objcopy --only-keep-debug whole.so whole.debug",
        "objcopy --only-keep-debug other.so other.debug",
        "objcopy --only-keep-debug noid.so noid.debug",
        "objcopy --strip-all --add-gnu-debuglink=whole.debug whole.so stripped.so",
        "objcopy --strip-all --add-gnu-debuglink=noid.debug noid.so stripped-noid.so",
    ];
    if run(at, &lines).is_none() {
        return;
    }
    let (whole, stripped, debug) = (read(at, "whole.so"), read(at, "stripped.so"), read(at, "whole.debug"));
    let (whole, stripped, debug) =
        (Image::parse(&whole).unwrap(), Image::parse(&stripped).unwrap(), Image::parse(&debug).unwrap());
    assert_eq!(debug_link(&stripped).unwrap().name, b"whole.debug");
    let truth = functions(&Sources { dwarf: true, ..Sources::of(&whole) }).unwrap();
    let sources = Sources { debug_file: Some(&debug), dwarf: true, ..Sources::of(&stripped) };
    let found = functions(&sources).unwrap();
    assert_eq!(found.diagnostics, []);
    assert_eq!(names(&found, Source::DebugFile), names(&truth, Source::Symtab));
    assert_eq!(names(&found, Source::Dwarf), names(&truth, Source::Dwarf));
    assert!(names(&found, Source::Dwarf).len() >= 3);
    // the offset is the file's own
    let address = found.find("twice")[0].address;
    assert_eq!(stripped.file_offset(address), whole.file_offset(address));
    assert_eq!(layouts(&sources.dwarf().unwrap(), "nothing").unwrap_err(), Error::NoType("nothing".to_owned()));

    let (noid, noid_debug) = (read(at, "stripped-noid.so"), read(at, "noid.debug"));
    let (noid, noid_debug) = (Image::parse(&noid).unwrap(), Image::parse(&noid_debug).unwrap());
    belongs(&noid, &noid_debug).unwrap();
    let other = read(at, "other.debug");
    let other = Image::parse(&other).unwrap();
    let refused = |file: &Image<'_>, debug: &Image<'_>| {
        functions(&Sources { debug_file: Some(debug), ..Sources::of(file) }).unwrap_err()
    };
    assert!(matches!(refused(&stripped, &other), Error::OtherBuild { .. }));
    assert!(matches!(refused(&noid, &other), Error::OtherChecksum { .. }));
    let unlinked = read(at, "noid.so");
    assert_eq!(refused(&Image::parse(&unlinked).unwrap(), &noid_debug), Error::NoProof);
    // no debug information at all
    let missing = Sources::of(&stripped).dwarf().err().unwrap();
    assert_eq!(missing.to_string(), "no debug information: .debug_info is missing or empty");
}

#[test]
fn packed_symbols_label_the_stripped_file() {
    let folder = folder();
    let at = folder.path();
    let lines = [
        "gcc -O2 -g -shared -fPIC -o whole.so {src}/parts.c",
        "objcopy --only-keep-debug whole.so mini",
        "strip --remove-section=.comment --strip-debug mini",
        "xz -f mini",
        "objcopy --strip-all --add-section=.gnu_debugdata=mini.xz whole.so stripped.so",
    ];
    if run(at, &lines).is_none() {
        return;
    }
    let (whole, stripped) = (read(at, "whole.so"), read(at, "stripped.so"));
    let (whole, stripped) = (Image::parse(&whole).unwrap(), Image::parse(&stripped).unwrap());
    let truth = functions(&Sources::of(&whole)).unwrap();
    let found = functions(&Sources::of(&stripped)).unwrap();
    assert_eq!(found.diagnostics, []);
    assert_eq!(names(&found, Source::MiniDebugInfo), names(&truth, Source::Symtab));
    assert!(!found.find("aborting.cold").is_empty());
    // a decompressor that refuses: the rest is there
    let refuse = |_, packed: &[u8], _| Err(format!("{} bytes refused", packed.len()));
    let found = functions(&Sources { decompress: &refuse, ..Sources::of(&stripped) }).unwrap();
    assert!(found.diagnostics[0].to_string().starts_with(".gnu_debugdata: cannot unpack: "), "{:?}", found.diagnostics);
    assert!(!found.find("twice").is_empty());
}

#[test]
fn packed_debug_sections_are_unpacked() {
    let folder = folder();
    let at = folder.path();
    let lines = [
        "g++ -g -O1 -o plain {src}/layout.cpp",
        "objcopy --compress-debug-sections=zlib plain zlib",
        "objcopy --compress-debug-sections=zlib-gnu plain old",
        "objcopy --compress-debug-sections=zstd plain zstd",
    ];
    // binutils that know no zstd
    let with_zstd = std::process::Command::new("objcopy").arg("--help").output();
    let has_zstd = with_zstd.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("zstd"));
    if run(at, &lines[..if has_zstd { 4 } else { 3 }]).is_none() {
        return;
    }
    let of = |name: &str| {
        let data = read(at, name);
        let image = Image::parse(&data).unwrap();
        let dwarf = Sources::of(&image).dwarf().unwrap();
        let found = functions(&Sources { dwarf: true, ..Sources::of(&image) }).unwrap();
        assert_eq!(found.diagnostics, [], "{name}");
        (layouts(&dwarf, "shapes::Derived").unwrap(), found.functions)
    };
    let plain = of("plain");
    for name in if has_zstd { &["zlib", "old", "zstd"][..] } else { &["zlib", "old"] } {
        assert_eq!(of(name), plain, "{name}");
    }
    let data = read(at, "zlib");
    let image = Image::parse(&data).unwrap();
    let short = |compression, packed: &[u8], limit| {
        decompress(compression, packed, limit).map(|mut all| {
            all.pop();
            all
        })
    };
    let error = Sources { decompress: &short, ..Sources::of(&image) }.dwarf().err().unwrap();
    assert!(error.to_string().contains("bytes where the header says"), "{error}");
}

#[test]
fn what_debug_files_share_is_read() {
    let folder = folder();
    let at = folder.path();
    let source = "#include <string>\n#include <vector>\nnamespace app {\n\
                  struct Record { std::string name; std::vector<int> values; int last; };\n\
                  int NAME(Record &r) { r.values.push_back(3); return r.last; }\n}\n";
    std::fs::write(at.join("unit.cpp"), source).unwrap();
    let lines = [
        "g++ -g -O1 -shared -fPIC -Wl,--build-id -DNAME=one -o one.so unit.cpp",
        "g++ -g -O1 -shared -fPIC -Wl,--build-id -DNAME=two -o two.so unit.cpp",
        "objcopy --only-keep-debug one.so one.debug",
        "objcopy --only-keep-debug two.so two.debug",
        "objcopy --strip-all one.so stripped.so",
        "dwz -m shared.debug one.debug two.debug",
    ];
    if run(at, &lines).is_none() {
        return;
    }
    let (whole, stripped, debug) = (read(at, "one.so"), read(at, "stripped.so"), read(at, "one.debug"));
    let shared = read(at, "shared.debug");
    let (whole, stripped) = (Image::parse(&whole).unwrap(), Image::parse(&stripped).unwrap());
    let (debug, shared) = (Image::parse(&debug).unwrap(), Image::parse(&shared).unwrap());
    let truth = Sources { dwarf: true, ..Sources::of(&whole) };
    let sources = Sources { debug_file: Some(&debug), alternate: Some(&shared), dwarf: true, ..Sources::of(&stripped) };
    let (truth_found, found) = (functions(&truth).unwrap(), functions(&sources).unwrap());
    assert_eq!(found.diagnostics, []);
    assert_eq!(names(&found, Source::Dwarf), names(&truth_found, Source::Dwarf));
    let record = |sources: &Sources<'_, '_>| layouts(&sources.dwarf().unwrap(), "app::Record").unwrap();
    assert_eq!(record(&sources), record(&truth));
    assert!(record(&truth)[0].layout.field("values._M_impl._M_start").is_some(), "{:#?}", record(&truth));
    let wrong = Sources { alternate: Some(&debug), ..sources };
    assert!(matches!(functions(&wrong).unwrap_err(), Error::OtherBuild { .. }));
}
