//! A file as matching sees it: its functions, what each is and what it refers to.

use crate::code::{Instruction, Sink, Target, mix};
use crate::frames::{self, Frame};
use crate::{aarch64, x86_64};
use image::{Image, Machine, VirtualAddress};
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::ops::Range;
use xxhash_rust::xxh3::xxh3_64;

/// What a range of code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A function: its first instruction is where it is called.
    Entry,
    /// The rarely executed part of a function, which that jumps into: no place for a probe.
    Cold,
}

/// What a function refers to, in order of its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reference {
    /// It calls, or jumps to the begin of, this function of the file.
    Call(u32),
    /// It takes the address of this function of the file.
    Address(u32),
    /// A function of another file, by the hash of its name.
    Import(u64),
    /// A text, by its hash.
    Text(u64),
    /// Data at this address.
    Data(u64),
    /// A number that says something.
    Number(u64),
}

/// A function of a file.
#[derive(Clone, Debug)]
pub struct Function {
    /// Where it begins.
    pub address: VirtualAddress,
    /// Bytes of code.
    pub size: u64,
    /// What it is.
    pub kind: Kind,
    /// How many instructions it has.
    pub instructions: u32,
    /// Of its instructions with what they refer to, but not where that lies.
    pub(crate) exact: u64,
    /// Of its instructions without numbers.
    pub(crate) shape: u64,
    /// Of its operations, without operands.
    pub(crate) operations: u64,
    /// Its first operations.
    pub(crate) begin: [u16; BEGIN],
    /// What it refers to: of [`Model::references`].
    references: Range<u32>,
    /// Hashes of adjacent operations and of names and texts, in order, at most [`MOST_GRAMS`]: of [`Model::grams`].
    grams: Range<u32>,
    /// Where fields are that it accesses: of [`Model::fields`].
    fields: Range<u32>,
}

/// Signatures of another number were made otherwise, and are not alike.
pub const SIGNATURES: u32 = 1;

/// The instructions of a function that has a signature, at least.
pub(crate) const DISTINCT: u32 = 12;

/// How many of a function's first operations are kept.
pub(crate) const BEGIN: usize = 16;

/// How many hashes of a function are kept: its least ones.
pub(crate) const MOST_GRAMS: usize = 384;

/// A file's functions, in order of address.
#[derive(Clone, Debug)]
pub struct Model {
    /// The functions and parts of such.
    pub functions: Vec<Function>,
    references: Vec<Reference>,
    grams: Vec<u32>,
    fields: Vec<u32>,
    /// Who calls each function, by index: `callers[starts[f]..starts[f + 1]]`.
    callers: Vec<u32>,
    starts: Vec<u32>,
    /// Pointers in data to functions: place, function; in order.
    pub(crate) pointers: Vec<(u64, u32)>,
    /// Names that texts tell of, by hash, and the functions that refer to them; in order.
    words: Vec<(u64, u32)>,
}

impl Model {
    /// Reads a file's functions. Empty where the file has no unwind information, or its instructions are not known.
    #[must_use]
    pub fn of(image: &Image<'_>) -> Model {
        let frames = match image.machine() {
            Machine::X86_64 | Machine::Aarch64 if image.is_little_endian() => frames::read(image),
            _ => Vec::new(),
        };
        let surroundings = Surroundings::of(image, &frames);
        let read: Vec<Vec<Read>> =
            frames.par_chunks(512).map(|some| some.iter().map(|frame| surroundings.read(frame)).collect()).collect();
        let mut model = Model {
            functions: Vec::with_capacity(frames.len()),
            references: Vec::new(),
            grams: Vec::new(),
            fields: Vec::new(),
            callers: Vec::new(),
            starts: Vec::new(),
            pointers: surroundings.function_pointers(),
            words: Vec::new(),
        };
        let mut entered = vec![Entered::default(); frames.len()];
        let mut jumps: Vec<(u32, u32)> = Vec::new();
        for one in read.into_iter().flatten() {
            let from = model.functions.len() as u32;
            jumps.extend(one.branches.iter().chain(&one.jumps).map(|to| (*to, from)));
            model.add(one, &mut entered);
        }
        for &(_, function) in &model.pointers {
            entered[function as usize].addressed = true;
        }
        for (function, (frame, entered)) in model.functions.iter_mut().zip(frames.iter().zip(&entered)) {
            if !entered.called && !entered.addressed && (frame.begins_within || entered.branched) {
                function.kind = Kind::Cold;
            }
        }
        model.index_callers();
        model.give_to_whole(&mut jumps);
        model.words.sort_unstable();
        model.words.dedup();
        model
    }

    fn add(&mut self, read: Read, entered: &mut [Entered]) {
        let begin = self.references.len() as u32;
        for reference in &read.references {
            match reference {
                Reference::Call(to) => entered[*to as usize].called = true,
                Reference::Address(to) => entered[*to as usize].addressed = true,
                _ => {}
            }
        }
        for to in read.branches {
            entered[to as usize].branched = true;
        }
        let function = self.functions.len() as u32;
        self.words.extend(read.words.into_iter().map(|word| (word, function)));
        self.references.extend(read.references);
        let first = self.grams.len() as u32;
        self.grams.extend(read.grams);
        let field = self.fields.len() as u32;
        self.fields.extend(read.fields);
        self.functions.push(Function {
            references: begin..self.references.len() as u32,
            grams: first..self.grams.len() as u32,
            fields: field..self.fields.len() as u32,
            ..read.function
        });
    }

    /// What a cold part's texts tell of is the function's that alone jumps into it: `jumps` are into what, and from where.
    fn give_to_whole(&mut self, jumps: &mut Vec<(u32, u32)>) {
        let kind = |function: u32| self.functions[function as usize].kind;
        jumps.retain(|(to, from)| kind(*to) == Kind::Cold && kind(*from) == Kind::Entry);
        jumps.sort_unstable();
        jumps.dedup();
        for (_, function) in &mut self.words {
            let begin = jumps.partition_point(|(to, _)| to < function);
            let mut into = jumps[begin..].iter().take_while(|(to, _)| to == function);
            if let (Some((_, whole)), None) = (into.next(), into.next()) {
                *function = *whole;
            }
        }
    }

    fn index_callers(&mut self) {
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        for (from, function) in self.functions.iter().enumerate() {
            for reference in &self.references[range(&function.references)] {
                if let Reference::Call(to) | Reference::Address(to) = reference {
                    pairs.push((*to, from as u32));
                }
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        self.starts =
            (0..=self.functions.len()).map(|of| pairs.partition_point(|pair| (pair.0 as usize) < of) as u32).collect();
        self.callers = pairs.into_iter().map(|pair| pair.1).collect();
    }

    /// What a function refers to, in order of its code.
    #[must_use]
    pub fn references(&self, function: u32) -> &[Reference] {
        &self.references[range(&self.functions[function as usize].references)]
    }

    /// The functions that call a function or take its address, in order.
    #[must_use]
    pub fn callers(&self, function: u32) -> &[u32] {
        let at = function as usize;
        &self.callers[self.starts[at] as usize..self.starts[at + 1] as usize]
    }

    /// The functions that refer to a text which begins with this name and `(`, as traces do; in order.
    pub fn named(&self, name: &str) -> impl Iterator<Item = u32> + '_ {
        let word = xxh3_64(name.as_bytes());
        let begin = self.words.partition_point(|entry| entry.0 < word);
        self.words[begin..].iter().take_while(move |entry| entry.0 == word).map(|entry| entry.1)
    }

    /// The names that texts of each function tell of, by hash.
    pub(crate) fn words(&self) -> rustc_hash::FxHashMap<u32, Vec<u64>> {
        let mut words = rustc_hash::FxHashMap::default();
        for (word, function) in &self.words {
            words.entry(*function).or_insert_with(Vec::new).push(*word);
        }
        words
    }

    pub(crate) fn grams(&self, function: u32) -> &[u32] {
        &self.grams[range(&self.functions[function as usize].grams)]
    }

    /// A hash of a function's instructions without numbers: what a build of the same code by the same compiler has, too, wherever code and
    /// data lie there. `None` where there are too few of them to tell it from others.
    #[must_use]
    pub fn signature(&self, function: u32) -> Option<u64> {
        let function = &self.functions[function as usize];
        (function.kind == Kind::Entry && function.instructions >= DISTINCT).then_some(function.shape)
    }

    /// The only function that has a signature.
    pub fn of_signatures(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        let mut only: FxHashMap<u64, Option<u32>> = FxHashMap::default();
        for function in 0..self.functions.len() as u32 {
            if let Some(signature) = self.signature(function) {
                only.entry(signature).and_modify(|one| *one = None).or_insert(Some(function));
            }
        }
        only.into_iter().filter_map(|(signature, function)| Some((signature, function?)))
    }

    /// Where fields are that a function accesses, in bytes from where a register points, that is not the stack's: each once, in order.
    #[must_use]
    pub fn fields(&self, function: u32) -> &[u32] {
        &self.fields[range(&self.functions[function as usize].fields)]
    }

    /// The function, or part of one, that has an address.
    #[must_use]
    pub fn holding(&self, address: VirtualAddress) -> Option<u32> {
        let at = self.functions.partition_point(|function| function.address <= address).checked_sub(1)?;
        let function = &self.functions[at];
        (address.0 - function.address.0 < function.size).then_some(at as u32)
    }

    /// The function that begins at an address.
    #[must_use]
    pub fn at(&self, address: VirtualAddress) -> Option<u32> {
        self.functions.binary_search_by_key(&address, |function| function.address).ok().map(|at| at as u32)
    }
}

fn range(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

/// How code is entered that another function refers to.
#[derive(Clone, Copy, Default)]
struct Entered {
    called: bool,
    addressed: bool,
    branched: bool,
}

/// What is read of one range.
struct Read {
    function: Function,
    references: Vec<Reference>,
    /// Functions that it jumps into the begin of, if.
    branches: Vec<u32>,
    /// What it jumps into, behind the begin.
    jumps: Vec<u32>,
    grams: Vec<u32>,
    /// Where fields are, each once, in order.
    fields: Vec<u32>,
    /// Names that texts tell of, by hash.
    words: Vec<u64>,
}

/// What a function's references are looked up in.
struct Surroundings<'i, 'd> {
    image: &'i Image<'d>,
    frames: &'i [Frame],
    /// Slots of data that hold functions of other files, by the hash of their name.
    imports: FxHashMap<u64, u64>,
    /// The code that jumps through a slot, to a function of another file or of this one.
    stubs: FxHashMap<u64, Reference>,
    /// Words of data that hold addresses of the file.
    pointers: Vec<(VirtualAddress, VirtualAddress)>,
    /// Where constants and texts are.
    constants: Vec<Range<u64>>,
    /// The table of addresses that code goes through.
    slots: Range<u64>,
}

impl<'i, 'd> Surroundings<'i, 'd> {
    fn of(image: &'i Image<'d>, frames: &'i [Frame]) -> Self {
        let imports: FxHashMap<u64, u64> = image.imports().iter().map(|(slot, name)| (slot.0, xxh3_64(name))).collect();
        let range = |section: &image::Section<'_>| section.address.0..section.address.0.saturating_add(section.size);
        let mut surroundings = Surroundings {
            image,
            frames,
            stubs: FxHashMap::default(),
            imports,
            pointers: image.pointers(),
            constants: image.sections().iter().filter(|section| section.is_constant()).map(range).collect(),
            slots: image.section(".got").map(range).unwrap_or_default(),
        };
        for section in image.sections().iter().filter(|section| section.name.starts_with(b".plt")) {
            let mut stubs = Stubs { found: Vec::new(), begin: None };
            surroundings.read_code(section.data, section.address, &mut stubs);
            for (stub, slot) in stubs.found {
                let through = surroundings.through(slot);
                surroundings.stubs.extend(through.map(|reference| (stub, reference)));
            }
        }
        surroundings
    }

    fn read_code(&self, code: &[u8], address: VirtualAddress, sink: &mut impl Sink) {
        match self.image.machine() {
            Machine::Aarch64 => aarch64::read(code, address, sink),
            _ => x86_64::read(code, address, &self.slots, sink),
        }
    }

    fn function_at(&self, address: u64) -> Option<u32> {
        self.frames.binary_search_by_key(&address, |frame| frame.address.0).ok().map(|at| at as u32)
    }

    /// The range of code that has an address.
    fn holding(&self, address: u64) -> Option<u32> {
        let at = self.frames.partition_point(|frame| frame.address.0 <= address).checked_sub(1)?;
        let frame = &self.frames[at];
        (address - frame.address.0 < frame.size).then_some(at as u32)
    }

    fn function_pointers(&self) -> Vec<(u64, u32)> {
        self.pointers.iter().filter_map(|(place, to)| Some((place.0, self.function_at(to.0)?))).collect()
    }

    fn read(&self, frame: &Frame) -> Read {
        let code = self.image.bytes_at(frame.address, frame.size).unwrap_or_default();
        let mut reader = Reader {
            around: self,
            own: frame.address.0..frame.address.0.saturating_add(frame.size),
            instructions: 0,
            exact: 0,
            shape: 0,
            operations: 0,
            begin: [0; BEGIN],
            previous: 0,
            read: (Vec::new(), Vec::new(), Vec::new()),
            jumps: Vec::new(),
            fields: Vec::new(),
            words: Vec::new(),
        };
        self.read_code(code, frame.address, &mut reader);
        let Reader {
            instructions,
            exact,
            shape,
            operations,
            begin,
            read: (references, branches, mut grams),
            jumps,
            mut fields,
            words,
            ..
        } = reader;
        fields.sort_unstable();
        fields.dedup();
        grams.sort_unstable();
        grams.truncate(MOST_GRAMS);
        let function = Function {
            address: frame.address,
            size: frame.size,
            kind: Kind::Entry,
            instructions,
            exact,
            shape,
            operations,
            begin,
            references: 0..0,
            grams: 0..0,
            fields: 0..0,
        };
        Read { function, references, branches, jumps, grams, fields, words }
    }

    /// The text at an address of constants.
    fn text_at(&self, address: u64) -> Option<&'d [u8]> {
        const SHORTEST: usize = 4;
        const LONGEST: usize = 1024;
        if !self.constants.iter().any(|range| range.contains(&address)) {
            return None;
        }
        let bytes = self.image.bytes_from(VirtualAddress(address));
        let bytes = &bytes[..bytes.len().min(LONGEST)];
        let length = bytes.iter().position(|byte| !matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~'))?;
        (length >= SHORTEST && bytes[length] == 0).then(|| &bytes[..length])
    }

    fn reference_to(&self, target: Target, words: &mut Vec<u64>) -> Option<Reference> {
        // the first stub of a table has unwind information as a function has
        let code = |at: VirtualAddress| match self.stubs.get(&at.0) {
            Some(through) => Some(*through),
            None => self.function_at(at.0).map(Reference::Call),
        };
        match target {
            Target::Call(at) | Target::Jump(at) | Target::Branch(at) => code(at),
            Target::Through(slot) => self.through(slot.0),
            Target::Data(at) => {
                let mut at = at.0;
                if let Some(import) = self.imports.get(&at) {
                    return Some(Reference::Import(*import));
                }
                if self.slots.contains(&at) {
                    at = self.pointer_at(at)?;
                }
                if let Some(function) = self.function_at(at) {
                    return Some(Reference::Address(function));
                }
                if let Some(text) = self.text_at(at) {
                    words.extend(first_name(text).map(xxh3_64));
                    return Some(Reference::Text(xxh3_64(text)));
                }
                (!self.image.is_code(VirtualAddress(at))).then_some(Reference::Data(at))
            }
        }
    }

    /// What is called by a slot.
    fn through(&self, slot: u64) -> Option<Reference> {
        match self.imports.get(&slot) {
            Some(import) => Some(Reference::Import(*import)),
            None => self.pointer_at(slot).and_then(|to| self.function_at(to)).map(Reference::Call),
        }
    }

    fn pointer_at(&self, place: u64) -> Option<u64> {
        let at = self.pointers.binary_search_by_key(&place, |pointer| pointer.0.0).ok()?;
        Some(self.pointers[at].1.0)
    }
}

/// The name of the function that a text tells of, as traces do: `grpc_call_start_batch(call=%p` has one.
fn first_name(text: &[u8]) -> Option<&[u8]> {
    const SHORTEST: usize = 8;
    let length = text.iter().position(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'_' | b':'))?;
    (length >= SHORTEST && text[length] == b'(').then(|| &text[..length])
}

/// Reads one function.
struct Reader<'s, 'i, 'd> {
    around: &'s Surroundings<'i, 'd>,
    own: Range<u64>,
    instructions: u32,
    exact: u64,
    shape: u64,
    operations: u64,
    begin: [u16; BEGIN],
    previous: u16,
    read: (Vec<Reference>, Vec<u32>, Vec<u32>),
    jumps: Vec<u32>,
    fields: Vec<u32>,
    words: Vec<u64>,
}

impl Sink for Reader<'_, '_, '_> {
    fn instruction(&mut self, instruction: &Instruction) {
        if instruction.is_padding {
            return;
        }
        let (references, branches, grams) = &mut self.read;
        if let Some(place) = self.begin.get_mut(self.instructions as usize) {
            *place = instruction.mnemonic;
        }
        self.instructions += 1;
        self.exact = mix(self.exact, instruction.exact);
        self.shape = mix(self.shape, instruction.shape);
        self.operations = mix(self.operations, u64::from(instruction.mnemonic));
        grams.push(xxh3_64(&(u32::from(self.previous) << 16 | u32::from(instruction.mnemonic)).to_le_bytes()) as u32);
        self.previous = instruction.mnemonic;
        if let Some(target) = instruction.target {
            let within = match target {
                Target::Jump(at) | Target::Branch(at) => self.own.contains(&at.0),
                _ => false,
            };
            if !within {
                let reference = self.around.reference_to(target, &mut self.words);
                let said = match reference {
                    Some(Reference::Import(name) | Reference::Text(name)) => {
                        grams.push(name as u32);
                        name
                    }
                    Some(Reference::Call(_)) => 1,
                    Some(Reference::Address(_)) => 2,
                    Some(_) => 3,
                    None => 4,
                };
                self.exact = mix(self.exact, said);
                match (reference, target) {
                    // a condition leads to the function's own cold part, or is a call at its end: only entered, not called
                    (Some(Reference::Call(to)), Target::Branch(_)) => branches.push(to),
                    (Some(reference), _) => references.push(reference),
                    (None, Target::Jump(at) | Target::Branch(at)) => self.jumps.extend(self.around.holding(at.0)),
                    (None, _) => {}
                }
            }
        }
        if let Some(number) = instruction.number {
            references.push(Reference::Number(number));
        }
        self.fields.extend(instruction.field.and_then(|field| u32::try_from(field).ok()).filter(|field| *field > 0));
    }
}

/// Reads the stubs of a table of imports: each is code that jumps through its slot.
struct Stubs {
    /// Where a stub begins, and its slot.
    found: Vec<(u64, u64)>,
    /// Where the one that is read began; `None` where the last one has ended.
    begin: Option<u64>,
}

impl Sink for Stubs {
    fn instruction(&mut self, instruction: &Instruction) {
        if instruction.is_padding {
            return;
        }
        let begin = *self.begin.get_or_insert(instruction.address);
        if let Some(Target::Through(slot) | Target::Data(slot)) = instruction.target {
            self.found.push((begin, slot.0));
        }
        if instruction.ends {
            self.begin = None;
        }
    }
}
