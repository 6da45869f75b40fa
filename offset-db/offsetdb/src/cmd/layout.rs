//! `offsetdb layout`: where the fields of structs are, by the debug information of the file or of its debug file.

use crate::args::Layout;
use crate::debug::{DebugFiles, Search};
use crate::input;
use anyhow::{Context, Result};
use image::Image;
use serde::Serialize;
use std::io::Write;
use std::process::ExitCode;
use symbols::{Defined, Dwarf, Error, Field};

/// What is told of a type, once for each layout that units have.
#[derive(Debug, Serialize)]
struct Told<'a> {
    file: &'a str,
    name: &'a str,
    kind: &'a str,
    size: u64,
    /// The units that have this layout.
    units: usize,
    /// It has more fields.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_cut: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    virtual_bases: &'a [String],
    fields: Vec<Place<'a>>,
}

#[derive(Debug, Serialize)]
struct Place<'a> {
    path: &'a str,
    offset_bits: u64,
    size_bits: u64,
    is_bit_field: bool,
    #[serde(rename = "type")]
    type_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<&'a str>,
}

/// Prints the layouts; exit 1 where one is missing.
///
/// # Errors
/// The file cannot be read, or nothing has debug information of it.
pub(super) fn run(what: &Layout) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let mut all = Vec::new();
    let mut is_whole = true;
    for input in input::open(&what.file, "")? {
        let image = Image::parse(&input.bytes).with_context(|| input.name.clone())?;
        let files = DebugFiles::of_environment();
        let alone = Some(what.file.as_path()).filter(|_| !input.name.contains('!'));
        // debug information of its own needs no other file
        let search = match Dwarf::is_in(&image) {
            true => Search::default(),
            false => files.find(alone, &image),
        };
        for tried in &search.tried {
            eprintln!("{}: no debug file of it: {}", tried.place, tried.why);
        }
        let debug = search.found.as_ref().map(|found| Image::parse(&found.bytes)).transpose()?;
        let holder = debug.as_ref().unwrap_or(&image);
        let shared = files.find_alternate(holder);
        let shared = shared.found.as_ref().map(|found| Image::parse(&found.bytes)).transpose()?;
        let dwarf = Dwarf::load(holder, shared.as_ref(), &symbols::decompress);
        let dwarf = dwarf.with_context(|| input.name.clone())?;
        let asked: Vec<Vec<(&str, &str)>> = what.types.iter().map(|asked| splits(asked)).collect();
        let names: Vec<&str> = asked.iter().flatten().map(|(name, _)| *name).collect();
        let mut found = symbols::layouts_of(&dwarf, &names).into_iter();
        for (splits, whole) in asked.iter().zip(&what.types) {
            let results: Vec<_> = found.by_ref().take(splits.len()).collect();
            match answer(splits, results) {
                Ok((path, layouts)) => all.extend(layouts.into_iter().map(|one| (input.name.clone(), path, one))),
                Err(error) => {
                    is_whole = false;
                    eprintln!("{}: {whole}: {error}", input.name);
                }
            }
        }
    }
    let told: Vec<Told<'_>> = all.iter().map(|(file, path, one)| told(file, path, one, what.all)).collect();
    if what.json {
        serde_json::to_writer_pretty(&mut out, &told).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        for one in &told {
            write!(out, "{}", text(one))?;
        }
    }
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a type and a path of fields may be, the longest type first: Go's types have dots themselves.
pub(super) fn splits(asked: &str) -> Vec<(&str, &str)> {
    let dots = asked.rmatch_indices('.').map(|(at, _)| (&asked[..at], &asked[at + 1..]));
    std::iter::once((asked, "")).chain(dots).collect()
}

/// The longest type that is there, with the layouts that have the field.
pub(super) fn answer<'a>(
    splits: &[(&'a str, &'a str)],
    results: Vec<symbols::Result<Vec<Defined>>>,
) -> Result<(&'a str, Vec<Defined>), String> {
    let mut error = None;
    for ((_, path), result) in splits.iter().zip(results) {
        match result {
            Ok(mut layouts) => {
                let count = layouts.len();
                layouts.retain(|one| path.is_empty() || one.layout.field(path).is_some());
                if layouts.is_empty() {
                    return Err(format!("no field {path} in any of {count} layouts"));
                }
                return Ok((path, layouts));
            }
            // what is said of the whole is what was asked, but that a type is only declared says more
            Err(found @ Error::OnlyDeclared(_)) => error = Some(found),
            Err(found) => error = error.or(Some(found)),
        }
    }
    Err(error.map(|error| error.to_string()).unwrap_or_default())
}

fn told<'a>(file: &'a str, path: &str, one: &'a Defined, all: bool) -> Told<'a> {
    let layout = &one.layout;
    let is_asked = |field: &&Field| match path {
        "" => all || field.depth == 0,
        path => {
            field.path == path || all && field.path.strip_prefix(path).is_some_and(|behind| behind.starts_with('.'))
        }
    };
    let place = |field: &'a Field| Place {
        path: &field.path,
        offset_bits: field.offset_bits,
        size_bits: field.size_bits,
        is_bit_field: field.is_bit_field,
        type_name: &field.type_name,
        base: field.base.as_deref(),
    };
    Told {
        file,
        name: &layout.name,
        kind: layout.kind,
        size: layout.size,
        units: one.units,
        is_cut: layout.is_cut,
        virtual_bases: &layout.virtual_bases,
        fields: layout.fields.iter().filter(is_asked).map(place).collect(),
    }
}

fn text(told: &Told<'_>) -> String {
    let units = if told.units == 1 { "1 unit".to_owned() } else { format!("{} units", told.units) };
    let mut text = format!("{} {}: {} bytes, in {units}\n", told.kind, told.name, told.size);
    for base in told.virtual_bases {
        text.push_str(&format!("  virtual base {base}: its place is known when the program runs\n"));
    }
    let rows = told.fields.iter().map(|field| {
        let (byte, bit) = (field.offset_bits / 8, field.offset_bits % 8);
        let (at, size) = match field.is_bit_field {
            true => (format!("{byte}:{bit}"), format!("{} bits", field.size_bits)),
            false => (byte.to_string(), (field.size_bits / 8).to_string()),
        };
        let base = field.base.map(|base| format!("  (of {base})")).unwrap_or_default();
        vec![" ".to_owned(), at, size, field.path.to_owned(), format!("{}{base}", field.type_name)]
    });
    text.push_str(&super::table(&rows.collect::<Vec<_>>()));
    if told.is_cut {
        text.push_str("  and more\n");
    }
    text
}
