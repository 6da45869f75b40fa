//! Which of its target's arguments a program reads, and as pointers to which structures.
//!
//! A program that was written for `tcp_sendmsg(struct sock *, …)` attaches to one whose first parameter is something else,
//! and reads garbage. What it takes an argument for shows in its CO-RE relocations: the argument's value is loaded from the
//! context, and then an offset is added that is that of a member of some structure. Values are followed through registers
//! and the stack, not into subprograms; what is not followed is not claimed.

use std::collections::{BTreeMap, BTreeSet};

use btf::core_relo::CoreReloKind;
use btf::insn::{Insn, class};
use btf::object_file::{Function, ObjectFile};
use btf::reach::Reachable;
use btf::{Type, essential_name};
use rustc_hash::FxHashMap;

/// What a program does with its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Every argument that is read, by its number from 0.
    pub(crate) read: BTreeSet<usize>,
    /// By argument: the structures that it is taken for a pointer to.
    pub(crate) structures: BTreeMap<usize, BTreeSet<String>>,
}

/// Where a context has an argument: the number of the one at a byte offset.
pub(crate) type Place = fn(offset: i16) -> Option<usize>;

/// Contexts of fentry, raw and BTF tracepoints: an array of 64-bit words.
pub(crate) fn in_words(offset: i16) -> Option<usize> {
    let offset = usize::try_from(offset).ok()?;
    (offset.is_multiple_of(8) && offset < 8 * 16).then_some(offset / 8)
}

/// `struct pt_regs` of x86-64: rdi, rsi, rdx, rcx, r8, r9 (arch/x86/include/asm/ptrace.h).
pub(crate) fn in_x86_64(offset: i16) -> Option<usize> {
    [112, 104, 96, 88, 72, 64].iter().position(|&at| at == offset)
}

/// `struct user_pt_regs` of arm64: x0 to x7.
pub(crate) fn in_arm64(offset: i16) -> Option<usize> {
    in_words(offset).filter(|&number| number < 8)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    Other,
    Context,
    Argument(usize),
    /// The offset that the relocation of this number gives.
    Offset(usize),
}

type Registers = [Value; 11];

#[derive(Clone, PartialEq, Eq)]
struct State {
    registers: Registers,
    stack: BTreeMap<i16, usize>,
}

impl State {
    /// Keeps what both know. Gives whether that is less than before.
    fn join(&mut self, other: &State) -> bool {
        let before = self.clone();
        for (mine, theirs) in self.registers.iter_mut().zip(&other.registers) {
            if mine != theirs {
                *mine = Value::Other;
            }
        }
        self.stack.retain(|slot, value| other.stack.get(slot) == Some(value));
        *self != before
    }
}

/// Follows a program's arguments, through the instructions that are `reached`: what is read where a guard allows it is
/// asked of no other kernel. `place` says where the context has them.
pub(crate) fn arguments(object: &ObjectFile<'_>, reached: &Reachable, function: &Function, place: Place) -> Arguments {
    let insns = &object.sections()[function.section].insns[function.start..][..function.len];
    let relocations: FxHashMap<usize, usize> = (object.relocations().iter().enumerate())
        .filter(|(_, relo)| relo.section == function.section && relo.kind == CoreReloKind::FieldByteOffset)
        .filter_map(|(number, relo)| Some((relo.insn.checked_sub(function.start)?, number)))
        .collect();
    let mut found = Arguments::default();
    let mut registers = [Value::Other; 11];
    registers[1] = Value::Context;
    let mut states: FxHashMap<usize, State> = FxHashMap::default();
    states.insert(0, State { registers, stack: BTreeMap::new() });
    let mut open = vec![0];
    while let Some(mut at) = open.pop() {
        let mut state = states[&at].clone();
        while let Some(insn) = insns.get(at).filter(|_| reached.contains(function.section, function.start + at)) {
            let next = at + if insn.is_ldimm64() { 2 } else { 1 };
            let targets = step(object, *insn, at, relocations.get(&at).copied(), place, &mut state, &mut found);
            for target in targets.into_iter().flatten() {
                arrive(target, &state, &mut states, &mut open);
            }
            if insn.is_exit() || targets[0].is_some() && targets[1].is_none() && is_always(*insn) {
                break;
            }
            // where ways may meet, the state is kept
            if insn.is_jump() {
                arrive(next, &state, &mut states, &mut open);
                break;
            }
            if let Some(known) = states.get_mut(&next) {
                if known.join(&state) {
                    open.push(next);
                }
                break;
            }
            at = next;
        }
    }
    found
}

fn arrive(at: usize, state: &State, states: &mut FxHashMap<usize, State>, open: &mut Vec<usize>) {
    match states.get_mut(&at) {
        None => {
            states.insert(at, state.clone());
            open.push(at);
        }
        Some(known) => {
            if known.join(state) {
                open.push(at);
            }
        }
    }
}

/// A jump without a condition.
fn is_always(insn: Insn) -> bool {
    insn.is_jump() && insn.code & 0xf0 == 0
}

/// Carries an instruction out; gives where it may jump to.
fn step(
    object: &ObjectFile<'_>,
    insn: Insn,
    at: usize,
    relocation: Option<usize>,
    place: Place,
    state: &mut State,
    found: &mut Arguments,
) -> [Option<usize>; 2] {
    let (dst, src) = (usize::from(insn.dst.min(10)), usize::from(insn.src.min(10)));
    let mut structure = |argument: usize, relocation: usize| {
        let root = object.relocations()[relocation].root;
        if let Ok(Type::Struct(root) | Type::Union(root)) = object.btf().ty(root) {
            found.structures.entry(argument).or_default().insert(essential_name(root.name).to_owned());
        }
    };
    match insn.class() {
        class::LDX => {
            let loaded = match state.registers[src] {
                Value::Context => match place(insn.off) {
                    Some(argument) => {
                        found.read.insert(argument);
                        Value::Argument(argument)
                    }
                    None => Value::Other,
                },
                Value::Argument(argument) => {
                    if let Some(relocation) = relocation {
                        structure(argument, relocation);
                    }
                    Value::Other
                }
                _ if src == 10 => {
                    state.stack.get(&insn.off).map_or(Value::Other, |&argument| Value::Argument(argument))
                }
                _ => Value::Other,
            };
            state.registers[dst] = loaded;
        }
        class::STX if dst == 10 => match state.registers[src] {
            Value::Argument(argument) => {
                state.stack.insert(insn.off, argument);
            }
            _ => {
                state.stack.remove(&insn.off);
            }
        },
        class::ST if dst == 10 => {
            state.stack.remove(&insn.off);
        }
        class::ALU64 => {
            let by_register = insn.code & 0x08 != 0;
            state.registers[dst] = match (insn.code & 0xf0, by_register) {
                // mov
                (0xb0, true) => state.registers[src],
                (0xb0, false) => relocation.map_or(Value::Other, Value::Offset),
                // add
                (0x00, true) => match (state.registers[dst], state.registers[src]) {
                    (Value::Argument(argument), Value::Offset(relocation))
                    | (Value::Offset(relocation), Value::Argument(argument)) => {
                        structure(argument, relocation);
                        Value::Other
                    }
                    _ => Value::Other,
                },
                (0x00, false) => {
                    if let (Value::Argument(argument), Some(relocation)) = (state.registers[dst], relocation) {
                        structure(argument, relocation);
                    }
                    Value::Other
                }
                _ => Value::Other,
            };
        }
        class::ALU => state.registers[dst] = Value::Other,
        class::LD => state.registers[dst] = relocation.map_or(Value::Other, Value::Offset),
        _ if insn.is_call() => {
            state.registers[..6].fill(Value::Other);
        }
        class::JMP | class::JMP32 if insn.is_jump() => {
            let by = if is_always(insn) && insn.class() == class::JMP32 { insn.imm } else { i32::from(insn.off) };
            return [usize::try_from(at as i64 + 1 + i64::from(by)).ok(), None];
        }
        _ => {}
    }
    [None, None]
}
