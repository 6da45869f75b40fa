//! Go's table in all of its layouts, in files made for the test: both orders of bytes, both sizes of addresses, no sections.
//! Where a Go compiler is installed, its programs too.

use crate::toolchain::{folder, run};
use image::{Image, VirtualAddress};
use std::path::Path;
use symbols::{GoLayout, Source, Sources, TextBy, build_info, functions, go_table};

/// How a file is made.
#[derive(Clone, Copy, Debug)]
struct Shape {
    big: bool,
    word: usize,
    layout: GoLayout,
    /// Whether the header says where the code begins.
    text_in_header: bool,
    /// Whether there is a `moduledata`.
    has_module: bool,
}

const CODE: u64 = 0x1_0000;
const TABLE: u64 = 0x2_0000;
const MODULE: u64 = 0x3_0000;
/// Something else's code lies before Go's, as C's does.
const TEXT: u64 = CODE + 0x40;
const FUNCTIONS: [(&str, u64); 4] =
    [("runtime.text", 0), ("main.main", 0x10), ("net/http.(*Transport).RoundTrip", 0x24), ("main.main.func1", 0x60)];
const END: u64 = 0x70;

impl Shape {
    fn bytes(self, value: u64, size: usize) -> Vec<u8> {
        match self.big {
            true => value.to_be_bytes()[8 - size..].to_vec(),
            false => value.to_le_bytes()[..size].to_vec(),
        }
    }

    fn words(self, values: &[u64]) -> Vec<u8> {
        values.iter().flat_map(|value| self.bytes(*value, self.word)).collect()
    }

    fn table(self) -> Vec<u8> {
        let magic: u32 = match self.layout {
            GoLayout::Go1_2 => 0xffff_fffb,
            GoLayout::Go1_16 => 0xffff_fffa,
            GoLayout::Go1_18 => 0xffff_fff0,
            _ => 0xffff_fff1,
        };
        let relative = self.layout >= GoLayout::Go1_18;
        let half = if relative { 4 } else { self.word };
        let mut table = self.bytes(u64::from(magic), 4);
        table.extend([0, 0, 1, self.word as u8]);
        let words = match self.layout {
            GoLayout::Go1_2 => 1,
            GoLayout::Go1_16 => 7,
            _ => 8,
        };
        let names_at = table.len() + words * self.word;
        let mut names = vec![0];
        let places: Vec<u64> = FUNCTIONS
            .iter()
            .map(|(name, _)| {
                names.extend(name.bytes().chain([0]));
                (names.len() - name.len() - 1) as u64
            })
            .collect();
        names.resize(names.len().next_multiple_of(8), 0);
        let count = FUNCTIONS.len() as u64;
        // in 1.2, names are behind the entries, and everything counts from the table's begin
        let is_old = self.layout == GoLayout::Go1_2;
        let entries_at = if is_old { names_at } else { names_at + names.len() };
        let base = if is_old { 0 } else { entries_at };
        let entries_size = (FUNCTIONS.len() * 2 + 1) * half;
        let function_size = half + 4;
        let names_from = if is_old { (entries_at + entries_size + FUNCTIONS.len() * function_size) as u64 } else { 0 };
        let header = match self.layout {
            GoLayout::Go1_2 => vec![count],
            GoLayout::Go1_16 => vec![count, 1, names_at as u64, 0, 0, 0, entries_at as u64],
            _ => {
                let text = if self.text_in_header { TEXT } else { 0 };
                vec![count, 1, text, names_at as u64, 0, 0, 0, entries_at as u64]
            }
        };
        table.extend(self.words(&header));
        if !is_old {
            table.extend(&names);
        }
        let address = |at: u64| if relative { at } else { TEXT + at };
        for (index, (_, at)) in FUNCTIONS.iter().enumerate() {
            table.extend(self.bytes(address(*at), half));
            table.extend(self.bytes((entries_at + entries_size + index * function_size - base) as u64, half));
        }
        table.extend(self.bytes(address(END), half));
        for ((_, at), name) in FUNCTIONS.iter().zip(&places) {
            table.extend(self.bytes(address(*at), half));
            table.extend(self.bytes(names_from + name, 4));
        }
        if is_old {
            table.extend(&names);
        }
        table
    }

    /// `moduledata` as far as `text`.
    fn module(self) -> Vec<u8> {
        let mut words = vec![0; 23];
        words[0] = TABLE + 0x20;
        (words[20], words[21], words[22]) = (TEXT, TEXT + END, TEXT);
        self.words(&words)
    }

    fn file(self) -> Vec<u8> {
        // something that looks like a header lies before the table
        let mut data = self.bytes(0xffff_fff1, 4);
        data.resize(0x20, 0);
        data.extend(self.table());
        let module = if self.has_module { self.module() } else { self.words(&[1, 2, 3]) };
        let parts = [(CODE, 5, vec![0x90; 0x100]), (TABLE, 4, data), (MODULE, 6, module)];
        let (header, entry) = if self.word == 8 { (64, 56) } else { (52, 32) };
        let mut file =
            vec![0x7f, b'E', b'L', b'F', if self.word == 8 { 2 } else { 1 }, if self.big { 2 } else { 1 }, 1];
        file.resize(16, 0);
        // ET_EXEC, EM_MIPS
        for (value, size) in [(2, 2), (8, 2), (1, 4), (CODE, self.word), (header, self.word), (0, self.word), (0, 4)] {
            file.extend(self.bytes(value, size));
        }
        for value in [header, entry, parts.len() as u64, 0, 0, 0] {
            file.extend(self.bytes(value, 2));
        }
        let mut offset = 0x200;
        for (address, flags, part) in &parts {
            let size = part.len() as u64;
            file.extend(self.bytes(1, 4));
            if self.word == 8 {
                file.extend(self.bytes(*flags, 4));
                file.extend(self.words(&[offset, *address, *address, size, size, 0x1000]));
            } else {
                file.extend(self.words(&[offset, *address, *address, size, size, *flags, 0x1000]));
            }
            offset += 0x200;
        }
        for (_, _, part) in parts {
            file.resize(file.len().next_multiple_of(0x200), 0);
            file.extend(part);
        }
        file
    }
}

#[test]
fn every_layout_in_both_orders_and_sizes() {
    let check = |shape: Shape, text_by: TextBy| {
        let file = shape.file();
        let image = Image::parse(&file).unwrap();
        let table = go_table(&image).unwrap().unwrap_or_else(|| panic!("no table: {shape:?}"));
        assert_eq!((table.layout, table.text_by), (shape.layout, text_by), "{shape:?}");
        assert_eq!(table.address, VirtualAddress(TABLE + 0x20));
        let found: Vec<(String, u64, u64)> = table
            .functions
            .iter()
            .map(|function| (String::from_utf8(function.name.to_vec()).unwrap(), function.address.0, function.end.0))
            .collect();
        let ends = FUNCTIONS.iter().skip(1).map(|(_, at)| *at).chain([END]);
        let expected: Vec<(String, u64, u64)> = FUNCTIONS
            .iter()
            .zip(ends)
            .map(|((name, begin), end)| ((*name).to_owned(), TEXT + begin, TEXT + end))
            .collect();
        assert_eq!(found, expected, "{shape:?}");
        let all = functions(&Sources::of(&image)).unwrap();
        assert_eq!(all.find("net/http.(*Transport).RoundTrip")[0].address, VirtualAddress(TEXT + 0x24));
        assert!(all.functions.iter().all(|function| function.names[0].sources.contains(Source::Gopclntab)));
        // truncated anywhere: no panic, and no wrong function
        for length in (0..file.len()).step_by(7) {
            let Ok(image) = Image::parse(&file[..length]) else { continue };
            for function in go_table(&image).ok().flatten().map(|table| table.functions).unwrap_or_default() {
                assert!(expected.iter().any(|(name, _, _)| name.as_bytes() == function.name), "{shape:?}: {length}");
            }
        }
    };
    for (big, word) in [(false, 8), (false, 4), (true, 8), (true, 4)] {
        let shape = |layout, text_in_header, has_module| Shape { big, word, layout, text_in_header, has_module };
        check(shape(GoLayout::Go1_2, false, true), TextBy::Absolute);
        check(shape(GoLayout::Go1_16, false, false), TextBy::Absolute);
        check(shape(GoLayout::Go1_18, true, true), TextBy::ModuleData);
        check(shape(GoLayout::Go1_18, true, false), TextBy::Header);
        check(shape(GoLayout::Go1_20, false, true), TextBy::ModuleData);
        check(shape(GoLayout::Go1_20, true, false), TextBy::Header);
    }
}

/// Code that is said to begin just below the greatest address: what would end beyond it is told, not wrapped around.
#[test]
fn functions_beyond_all_addresses_are_none() {
    let shape = Shape { big: false, word: 8, layout: GoLayout::Go1_18, text_in_header: true, has_module: false };
    let mut file = shape.file();
    let mut put = |at: usize, value: u64| file[at..at + 8].copy_from_slice(&value.to_le_bytes());
    // where the code's segment is loaded, and the header's text
    put(64 + 16, u64::MAX - 0x100);
    put(0x400 + 0x20 + 8 + 2 * 8, u64::MAX - 0x68);
    let image = Image::parse(&file).unwrap();
    let table = go_table(&image).unwrap().unwrap();
    assert_eq!((table.text_by, table.functions.len()), (TextBy::Header, 3));
    assert!(table.functions.iter().all(|function| function.address < function.end));
    assert!(table.diagnostics[0].to_string().contains("beyond all addresses"), "{:?}", table.diagnostics);
}

/// The seeds of the fuzz target are such files: `UPDATE_GOLDEN=1` writes them.
#[test]
fn fuzzing_begins_with_these_files() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../btfhub-gen/fuzz/seeds/gopclntab");
    let shape = |big, word, layout, text_in_header| Shape { big, word, layout, text_in_header, has_module: true };
    let files = [
        ("1.2-be32", shape(true, 4, GoLayout::Go1_2, false)),
        ("1.16-le64", shape(false, 8, GoLayout::Go1_16, false)),
        ("1.18-le64", shape(false, 8, GoLayout::Go1_18, true)),
        ("1.20-le64", shape(false, 8, GoLayout::Go1_20, true)),
        ("1.20-be64", shape(true, 8, GoLayout::Go1_20, false)),
        ("1.26-le64", shape(false, 8, GoLayout::Go1_20, false)),
    ];
    for (name, shape) in files {
        let (path, file) = (seeds.join(name), shape.file());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(&seeds).unwrap();
            std::fs::write(&path, &file).unwrap();
        }
        assert!(std::fs::read(&path).is_ok_and(|seed| seed == file), "{} is another", path.display());
    }
}

const PROGRAM: &str = r#"package main

import "fmt"

type Message struct {
	ID    uint32
	Flag  bool
	Text  string
	Inner struct{ A, B int16 }
}

//go:noinline
func (m *Message) Send(n int) int {
	if n > 3 {
		return len(m.Text)
	}
	return n
}

func main() {
	m := &Message{Text: "banana"}
	fmt.Println(m.Send(2))
}
"#;

#[test]
fn a_go_program_keeps_its_names_when_it_is_stripped() {
    let folder = folder();
    std::fs::write(folder.path().join("main.go"), PROGRAM).unwrap();
    if std::process::Command::new("go").arg("version").output().is_err() {
        // not a failure anywhere: the files above have all that its programs have
        return eprintln!("skipped: go is missing");
    }
    let lines = ["go build -o whole main.go", "go build -ldflags=-s -o stripped main.go"];
    if run(folder.path(), &lines).is_none() {
        return;
    }
    let [whole, stripped] = ["whole", "stripped"].map(|name| std::fs::read(folder.path().join(name)).unwrap());
    let (whole, stripped) = (Image::parse(&whole).unwrap(), Image::parse(&stripped).unwrap());
    let info = build_info(&stripped).unwrap();
    assert!(info.go.starts_with("go1."), "{info:?}");
    assert!(info.settings.iter().any(|(name, _)| name == "GOARCH"), "{info:?}");
    let (all, kept) = (functions(&Sources::of(&whole)).unwrap(), functions(&Sources::of(&stripped)).unwrap());
    let mut compared = 0;
    for function in &all.functions {
        let Some(name) = function.names.iter().find(|name| name.sources.contains(Source::Symtab)) else { continue };
        // what the linker makes is in one table only
        if !function.names.iter().any(|name| name.sources.contains(Source::Gopclntab)) || name.text.contains(".abi") {
            continue;
        }
        let same = kept.functions.iter().find(|kept| kept.address == function.address).unwrap();
        assert!(same.names.iter().any(|kept| kept.text == name.text), "{name:?} {same:?}");
        compared += 1;
    }
    assert!(compared > 1000, "{compared}");
    let dwarf = Sources::of(&whole).dwarf().unwrap();
    let message = &symbols::layouts(&dwarf, "main.Message").unwrap()[0].layout;
    let places = ["ID", "Flag", "Text", "Text.len", "Inner.B"].map(|path| message.field(path).unwrap().offset_bits / 8);
    assert_eq!(places, [0, 4, 8, 16, 26]);
}
