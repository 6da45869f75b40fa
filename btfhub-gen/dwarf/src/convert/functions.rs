//! A unit's functions and variables.

use super::{Context, DEEPEST, FunctionState, Marks, VariableState, Worker};
use crate::abbrev::Tag;
use crate::entries::{DeclTag, Entries, Function, Indexed, Parameter, Ref, Tagged, Target, Variable};
use crate::error::Result;
use crate::locations;
use crate::names::NameId;
use crate::nodes::VOID;

impl<'f> Worker<'f> {
    fn is_function(&mut self, context: &Context<'_, 'f, '_>, name: NameId) -> bool {
        let Worker { known, strings, .. } = self;
        *known.entry(name).or_insert_with(|| {
            let function = context.symbols.functions.get(strings.get(name));
            function.is_some_and(|function| !function.symbols.is_empty())
        })
    }

    pub(super) fn function(&mut self, context: &Context<'_, 'f, '_>, function: &Function) -> Result<()> {
        let entries = context.entries;
        // what the entry leaves to the one that it is an instance of, or completes
        let (mut name, mut ty, mut elsewhere) = (function.name, function.ty, None);
        let mut origin = function.origin;
        let mut inherited = None;
        for _ in 0..4 {
            match entries.target(origin) {
                Target::None => break,
                Target::Elsewhere(entry) => {
                    elsewhere = Some(entry);
                    break;
                }
                Target::Here(offset) => {
                    let Some(Indexed::Function(at)) = entries.find(offset) else { break };
                    let beneath = &entries.functions[at];
                    if name == NameId(0) {
                        name = beneath.name;
                    }
                    if ty == Ref::default() {
                        ty = beneath.ty;
                    }
                    inherited.get_or_insert(beneath);
                    origin = beneath.origin;
                }
            }
        }
        if function.declaration || (name == NameId(0) && elsewhere.is_none()) {
            return Ok(());
        }
        if name != NameId(0) {
            if function.address.is_some() || function.inline {
                let declared = inherited.map_or(function.declared, |beneath| beneath.declared);
                let uses = self.uses.entry(name).or_default();
                uses.bodies += u32::from(function.address.is_some());
                uses.add_declared(declared);
            }
            if !self.is_function(context, name) {
                return Ok(());
            }
        }
        let start = self.parameters.len();
        let mut marks = Marks::default();
        if !self.function_parameters(context, function, &mut marks)? {
            self.parameters.truncate(start);
            self.foreign_parameters.retain(|&(at, _)| (at as usize) < start);
            self.uses.entry(name).or_default().unnamed_parameter = true;
            return Ok(());
        }
        if function.variadic {
            self.parameters.push((NameId(0), VOID));
        }
        let result = match elsewhere {
            Some(entry) if ty == Ref::default() => self.extern_node(entry),
            _ => self.resolve(context, ty, 0),
        };
        let entry = self.entry_at(context, function.offset);
        self.functions.push(FunctionState {
            name,
            entry,
            unit: context.number,
            address: function.address,
            result,
            parameters: (start as u32, self.parameters.len() as u32),
            marks,
            tags: self.tags_of(context, function),
            origin: elsewhere,
        });
        Ok(())
    }

    pub(super) fn tags_of(&self, context: &Context<'_, 'f, '_>, function: &Function) -> Vec<(Option<u32>, NameId)> {
        let Some(Indexed::Function(at)) = context.entries.find(function.offset) else { return Vec::new() };
        let of_it = |tag: &&DeclTag| tag.on == Tagged::Function(at as u32);
        context.entries.decl_tags.iter().filter(of_it).map(|tag| (tag.component, tag.value)).collect()
    }

    /// Pushes a function's parameters. Gives false where one has no name.
    fn function_parameters(
        &mut self,
        context: &Context<'_, 'f, '_>,
        function: &Function,
        marks: &mut Marks,
    ) -> Result<bool> {
        let entries = context.entries;
        marks.signature_changed = context.clang && !function.inline && function.nocall;
        let registers = context.files.main.machine.parameter_registers;
        let address_size = u32::from(context.unit.encoding.address_size);
        let (mut next_register, mut unexpected, mut by_value) = (0usize, false, false);
        for parameter in entries.parameters(function) {
            let (name, ty, origin_index) = inherit(entries, parameter);
            let node = match entries.target(parameter.origin) {
                Target::Elsewhere(entry) if name == NameId(0) => {
                    self.foreign_parameters.push((self.parameters.len() as u32, entry));
                    self.extern_node(entry)
                }
                _ if name == NameId(0) => return Ok(false),
                _ => self.resolve(context, ty, 0),
            };
            marks.reordered |= origin_index.is_some_and(|index| index != parameter.index);
            self.parameters.push((name, node));
            let size = self.size_of(context, ty);
            let pairs = context.files.main.machine.pairs;
            let slots = if pairs { size.div_ceil(address_size).max(1) as usize } else { 1 };
            let in_memory = slots > 2;
            by_value |= is_struct(entries, ty);
            let Some(location) = parameter.location else {
                marks.optimized = true;
                next_register += if in_memory { 1 } else { slots };
                continue;
            };
            let Some(&expected) = registers.get(next_register) else { continue };
            let sections = &context.files.file(context.unit.source).sections;
            let section = context.files.section(context.unit.source);
            let place = locations::place(sections, section, context.unit.encoding, &entries.info, location, slots > 1)?;
            if context.clang && !marks.signature_changed {
                let window = registers.get(next_register..(next_register + slots).min(registers.len())).unwrap_or(&[]);
                unexpected |= !in_memory && place.register.is_some_and(|register| !window.contains(&register));
                next_register += if in_memory { 0 } else { slots };
                continue;
            }
            match place.register {
                None => marks.optimized = true,
                Some(register) => unexpected |= register != expected,
            }
            next_register += if in_memory { 1 } else { slots };
        }
        marks.unexpected_register = unexpected && !by_value;
        Ok(true)
    }

    pub(super) fn inlined(&mut self, context: &Context<'_, 'f, '_>) {
        for &origin in &context.entries.inlined {
            let offset = match context.entries.target(origin) {
                Target::Here(offset) => offset,
                Target::Elsewhere(entry) => {
                    *self.foreign_inlined.entry(entry).or_default() += 1;
                    continue;
                }
                Target::None => continue,
            };
            let Some(Indexed::Function(at)) = context.entries.find(offset) else { continue };
            let function = &context.entries.functions[at];
            if function.name != NameId(0) {
                let uses = self.uses.entry(function.name).or_default();
                uses.inlined += 1;
                uses.add_declared(function.declared);
            }
        }
    }

    pub(super) fn variable(&mut self, context: &Context<'_, 'f, '_>, variable: &Variable, at: usize) {
        let Some(percpu) = &context.symbols.percpu else { return };
        let Some(address) = variable.address else { return };
        let (mut name, mut ty, mut external) = (variable.name, variable.ty, variable.external);
        let mut completes = false;
        if let Target::Here(offset) = context.entries.target(variable.origin)
            && let Some(Indexed::Variable(at)) = context.entries.find(offset)
        {
            let beneath = &context.entries.variables[at];
            (name, ty, external) = (beneath.name, beneath.ty, beneath.external);
            completes = true;
        }
        if variable.artificial || (variable.declaration && !completes) || name == NameId(0) {
            return;
        }
        let offset = address.wrapping_sub(percpu.address);
        let elsewhere = |&(start, size): &(u64, u64)| address.wrapping_sub(start) < size;
        if offset >= percpu.size || context.symbols.before_percpu.iter().any(elsewhere) {
            return;
        }
        let bytes = self.strings.get(name);
        // address 0 is also that of what the linker dropped
        if offset == 0 && !context.symbols.percpu_objects.contains(bytes) {
            return;
        }
        if is_filtered(bytes) || !crate::write::is_identifier(bytes) {
            return;
        }
        let ty = self.resolve(context, ty, 0);
        if ty == VOID {
            return;
        }
        let entry = self.entry_at(context, variable.offset);
        let of_it = |tag: &&DeclTag| tag.on == Tagged::Variable(at as u32);
        let tags = context.entries.decl_tags.iter().filter(of_it).map(|tag| tag.value).collect();
        self.variables.push(VariableState { name, entry, unit: context.number, ty, offset, external, tags });
    }
}

/// Name, type and position of a parameter, of its own or of the one that it is an instance of.
pub(super) fn inherit(entries: &Entries, parameter: &Parameter) -> (NameId, Ref, Option<u32>) {
    let (mut name, mut ty, mut index) = (parameter.name, parameter.ty, None);
    if ty == Ref::default()
        && let Target::Here(offset) = entries.target(parameter.origin)
        && let Some(Indexed::Parameter(at)) = entries.find(offset)
    {
        let origin = &entries.parameters[at];
        (name, ty, index) = (origin.name, origin.ty, Some(origin.index));
    }
    (name, ty, index)
}

/// A struct passed by value, be it through const and typedef.
fn is_struct(entries: &Entries, mut reference: Ref) -> bool {
    for _ in 0..DEEPEST {
        let Target::Here(offset) = entries.target(reference) else { return false };
        let Some(Indexed::Type(at)) = entries.find(offset) else { return false };
        match entries.types[at].tag {
            Tag::Struct => return true,
            Tag::Const | Tag::Typedef => reference = entries.types[at].ty,
            _ => return false,
        }
    }
    false
}

/// Variables that the kernel's macros make and nobody looks for (dwarves, `filter_variable_name`).
fn is_filtered(name: &[u8]) -> bool {
    const PREFIXES: [&[u8]; 5] =
        [b"__UNIQUE_ID", b"__tpstrtab_", b"__exitcall_", b"__gendwarfksyms_ptr_", b"__func_stack_frame_non_standard_"];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
