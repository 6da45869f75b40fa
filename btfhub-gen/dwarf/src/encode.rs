//! The way from a file's bytes to BTF.

use std::sync::atomic::{AtomicUsize, Ordering};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::abbrev::Table;
use crate::attributes::Attributes;
use crate::base::Base;
use crate::convert::{Context, Worker, is_excluded};
use crate::entries::{Entries, Reader, UnitInfo};
use crate::error::{Diagnostic, Error, Result, SectionName};
use crate::graph::Graph;
use crate::merge::{Elsewhere, Merged, extern_entry, merge};
use crate::names::NameId;
use crate::nodes::VOID;
use crate::sections::{Decompress, File};
use crate::select::{Dropped, prototypes, select};
use crate::strings::StringSections;
use crate::surface::surface;
use crate::unit::{EntryAt, Files, Unit, unit_of};
use crate::write::Writer;

/// The bytes to encode.
#[derive(Clone, Copy)]
pub struct Input<'d> {
    /// The ELF file that has the debug information: `vmlinux`, a module, or a separate debug file.
    pub elf: &'d [u8],
    /// The supplementary file that dwz moved common entries to, where there is one.
    pub supplementary: Option<&'d [u8]>,
}

/// The kinds of BTF that the oldest reader in question knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compat {
    /// FLOAT (Linux 5.13); else INT without encoding.
    pub float: bool,
    /// DECL_TAG (Linux 5.16); else left out.
    pub decl_tag: bool,
    /// TYPE_TAG (Linux 5.17); else what it tags.
    pub type_tag: bool,
    /// ENUM64 (Linux 6.0); else ENUM, with values cut to 32 bits.
    pub enum64: bool,
}

impl Compat {
    /// Everything that is known.
    pub const LATEST: Compat = Compat { float: true, decl_tag: true, type_tag: true, enum64: true };

    /// What the kernel of this version, and the libbpf of its time, can read.
    pub fn kernel(major: u32, minor: u32) -> Compat {
        let since = |version| (major, minor) >= version;
        Compat { float: since((5, 13)), decl_tag: since((5, 16)), type_tag: since((5, 17)), enum64: since((6, 0)) }
    }
}

/// Tells the caller that these bytes of the input will hardly be read again, so that it may give their memory back.
pub type Release<'f> = dyn Fn(&[u8]) + Sync + 'f;

/// How to encode.
#[derive(Clone, Copy)]
pub struct Options<'f> {
    /// Threads; at least 1. The result does not depend on it.
    pub jobs: usize,
    /// Kinds to use.
    pub compat: Compat,
    /// The kernel's BTF, for a module: the result is split BTF that refers to it.
    pub base: Option<&'f Base<'f>>,
    /// Keep the types of Rust units.
    pub rust: bool,
    /// Decompresses debug sections.
    pub decompress: &'f Decompress<'f>,
    /// Told of parts of the input that are done with.
    pub release: Option<&'f Release<'f>>,
}

/// What encoding did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Units read.
    pub units: usize,
    /// Distinct types before names were resolved.
    pub nodes: usize,
    /// Names that stand for several different types.
    pub classes: usize,
    /// FUNCs written.
    pub functions: usize,
}

/// The result of [`encode`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Output {
    /// Raw BTF, in the byte order of the input.
    pub btf: Vec<u8>,
    /// The attach surface, to be read by [`btf::surface::Surface`].
    pub surface: Vec<u8>,
    /// Build-id of the input, where it has one.
    pub build_id: Option<Vec<u8>>,
    /// Functions of the symbol table that got no FUNC, by name, with the reason.
    pub dropped: Vec<(String, Dropped)>,
    /// What was wrong with single entries.
    pub diagnostics: Vec<Diagnostic>,
    /// What was done.
    pub statistics: Statistics,
}

/// Encodes the BTF of a file with DWARF debug information.
///
/// # Errors
/// See [`Error`]: a file that is no ELF file or has no debug information, bytes that do not follow DWARF, a skeleton
/// unit, a missing supplementary file.
pub fn encode(input: &Input<'_>, options: &Options<'_>) -> Result<Output> {
    let main = File::parse(input.elf, false, options.decompress)?;
    let supplementary = input.supplementary.map(|data| File::parse(data, true, options.decompress)).transpose()?;
    let files = Files { main, supplementary };
    let info = SectionName { name: ".debug_info", supplementary: false };
    if files.main.sections.info.data.is_empty() {
        return Err(Error::MissingSection(info));
    }
    let units = files.units()?;
    let signatures = signatures(&units);
    let strings = StringSections::new(&files);
    let mut job = Job { files: &files, units: &units, signatures: &signatures, strings, options };
    let mut merged = job.merged()?;
    if merged.empty_name {
        job.strings.distrust();
        merged = job.merged()?;
    }
    let prototypes = prototypes(&mut merged);
    let graph = Graph::new(&mut merged, &units, options.base.map(|base| base.graph.clone()));
    let machine = files.main.machine;
    let address_size = u32::from(machine.address_size);
    let registers = machine.parameter_registers.len();
    let symbols = &files.main.symbols;
    let (selected, decisions) = select(&merged, &prototypes, &graph, symbols, registers, address_size);
    let written: Vec<_> = selected.iter().map(|function| (function.name, function.prototype)).collect();
    let make_surface = || surface(&merged, symbols, &files.main.text, &decisions, &written);
    let write = || {
        Writer::new(&merged, &graph, &units, options.compat, address_size, options.base).write(
            &selected,
            &files.main.kfuncs,
            files.main.sections.big,
        )
    };
    let (surface, btf) = if options.jobs > 1 {
        std::thread::scope(|scope| {
            let surface = scope.spawn(make_surface);
            let btf = write();
            (surface.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), btf)
        })
    } else {
        (make_surface(), write())
    };
    let (surface, btf) = (surface?, btf?);
    let text = |name| String::from_utf8_lossy(merged.names.get(name)).into_owned();
    Ok(Output {
        btf,
        surface,
        build_id: files.main.build_id.map(<[u8]>::to_vec),
        dropped: decisions.iter().filter_map(|d| d.dropped.map(|reason| (text(d.name), reason))).collect(),
        statistics: Statistics {
            units: units.len(),
            nodes: merged.nodes.len(),
            classes: graph.classes.len(),
            functions: selected.len(),
        },
        diagnostics: std::mem::take(&mut { merged }.diagnostics),
    })
}

fn signatures(units: &[Unit]) -> FxHashMap<u64, EntryAt> {
    let with_type = units.iter().filter_map(|unit| unit.type_unit.map(|(signature, offset)| (unit, signature, offset)));
    with_type
        .map(|(unit, signature, offset)| {
            (signature, EntryAt { source: unit.source, offset: (unit.start as u64).saturating_add(offset) })
        })
        .collect()
}

struct Job<'f, 'd> {
    files: &'f Files<'d>,
    units: &'f [Unit],
    signatures: &'f FxHashMap<u64, EntryAt>,
    strings: StringSections<'f>,
    options: &'f Options<'f>,
}

/// Units are handed to threads in runs of about this many bytes.
const RUN: usize = 1 << 20;

impl<'f, 'd> Job<'f, 'd> {
    fn reader(&self) -> Reader<'f, 'd> {
        Reader {
            files: self.files,
            signatures: self.signatures,
            table: Table::default(),
            attributes: Attributes::new(),
        }
    }

    /// Reads all units.
    fn merged(&self) -> Result<Merged<'f>> {
        let workers = self.read_all()?;
        let elsewhere = self.read_elsewhere(&workers)?;
        Ok(merge(workers, elsewhere, self.options.base))
    }

    /// Runs of units: first and last, exclusive.
    fn runs(&self) -> Vec<(usize, usize)> {
        let (mut runs, mut start, mut bytes) = (Vec::new(), 0, 0);
        for (at, unit) in self.units.iter().enumerate() {
            bytes += unit.end - unit.start;
            let last = self.units.get(at + 1).is_none_or(|next| next.source != unit.source);
            if bytes >= RUN || last {
                runs.push((start, at + 1));
                (start, bytes) = (at + 1, 0);
            }
        }
        runs
    }

    /// Reads all units, shared among the threads.
    fn read_all(&self) -> Result<Vec<Worker<'f>>> {
        let runs = self.runs();
        let next = AtomicUsize::new(0);
        let jobs = self.options.jobs.clamp(1, runs.len().max(1));
        let work = || -> (Worker<'f>, Option<(usize, Error)>) {
            let mut worker = Worker::new(self.strings);
            let mut reader = self.reader();
            let mut entries = Entries::default();
            loop {
                let Some(&(start, end)) = runs.get(next.fetch_add(1, Ordering::Relaxed)) else { return (worker, None) };
                for at in start..end {
                    if let Err(error) = self.read_unit(&mut worker, &mut reader, &mut entries, at) {
                        return (worker, Some((at, error)));
                    }
                }
                self.release(start, end);
            }
        };
        let results: Vec<_> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..jobs).map(|_| scope.spawn(work)).collect();
            let mut results = vec![work()];
            for other in others {
                match other.join() {
                    Ok(result) => results.push(result),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            results
        });
        let mut workers = Vec::new();
        let mut errors = Vec::new();
        for (worker, error) in results {
            workers.push(worker);
            errors.extend(error);
        }
        // of several errors the one that comes first in the input, whatever the threads did
        match errors.into_iter().min_by_key(|&(at, _)| at) {
            Some((_, error)) => Err(error),
            None => Ok(workers),
        }
    }

    fn release(&self, start: usize, end: usize) {
        let (Some(release), Some(first), Some(last)) =
            (self.options.release, self.units.get(start), self.units.get(end - 1))
        else {
            return;
        };
        if let std::borrow::Cow::Borrowed(data) = &self.files.section(first.source).data {
            release(&data[first.start..last.end]);
        }
    }

    fn read_unit(
        &self,
        worker: &mut Worker<'f>,
        reader: &mut Reader<'f, 'd>,
        entries: &mut Entries,
        at: usize,
    ) -> Result<()> {
        let unit = &self.units[at];
        let skip = |info: &UnitInfo| is_excluded(info, self.options.rust);
        let kept = reader.read(unit, entries, &mut worker.strings, &mut worker.diagnostics, skip)?;
        if !kept {
            return Ok(());
        }
        worker.unit(&self.context(entries, unit, at))
    }

    fn context<'c>(&self, entries: &'c Entries, unit: &'c Unit, at: usize) -> Context<'c, 'f, 'd> {
        Context {
            files: self.files,
            entries,
            unit,
            number: at as u32,
            symbols: &self.files.main.symbols,
            clang: entries.info.clang,
            type_tags: self.options.compat.type_tag,
        }
    }

    /// Reads once more the units that references from other units lead to, for the types at these references.
    fn read_elsewhere(&self, workers: &[Worker<'f>]) -> Result<Option<Elsewhere<'f>>> {
        let mut open: Vec<EntryAt> = workers.iter().flat_map(externs).collect();
        open.extend(workers.iter().flat_map(|worker| worker.functions.iter().filter_map(|function| function.origin)));
        open.extend(workers.iter().flat_map(|worker| worker.foreign_inlined.keys().copied()));
        if open.is_empty() {
            return Ok(None);
        }
        let mut found = Elsewhere { worker: Worker::new(self.strings), found: FxHashMap::default() };
        let (mut reader, mut entries) = (self.reader(), Entries::default());
        while !open.is_empty() {
            open.sort_unstable();
            open.dedup();
            let by_unit = open.chunk_by(|a, b| unit_of(self.units, *a) == unit_of(self.units, *b));
            for wanted in by_unit {
                let Elsewhere { worker, found: found_at } = &mut found;
                let Some(at) = unit_of(self.units, wanted[0]) else {
                    for &entry in wanted {
                        let message = "a reference from some unit leads here, where no unit is; written as void";
                        worker.diagnostics.push(Diagnostic { offset: entry.offset, message: message.to_owned() });
                        found_at.insert(entry, (NameId(0), VOID));
                    }
                    continue;
                };
                let unit = &self.units[at];
                reader.read(unit, &mut entries, &mut worker.strings, &mut worker.diagnostics, |_| false)?;
                worker.begin(&entries);
                let context = self.context(&entries, unit, at);
                for &entry in wanted {
                    let offset = u32::try_from(entry.offset - unit.start as u64).unwrap_or(0);
                    match worker.found(&context, offset) {
                        Some(what) => {
                            found_at.insert(entry, what);
                        }
                        None => {
                            let message = "a reference from another unit leads here, which is no type; written as void";
                            worker.diagnostics.push(Diagnostic { offset: entry.offset, message: message.to_owned() });
                            found_at.insert(entry, (NameId(0), VOID));
                        }
                    }
                }
            }
            let known: FxHashSet<EntryAt> = found.found.keys().copied().collect();
            let tried: FxHashSet<EntryAt> = open.iter().copied().collect();
            open = externs(&found.worker).filter(|entry| !known.contains(entry) && !tried.contains(entry)).collect();
        }
        Ok(Some(found))
    }
}

/// The entries that a worker's table refers to in other units.
fn externs<'w>(worker: &'w Worker<'_>) -> impl Iterator<Item = EntryAt> + 'w {
    worker.nodes.ids().filter_map(|id| extern_entry(worker.nodes.words(id)))
}
