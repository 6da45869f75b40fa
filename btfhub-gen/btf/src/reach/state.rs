//! What is known of all registers and of the stack at a point of a function.

use super::helpers::Writes;
use super::value::{self, Value};
use crate::insn::{Insn, class};
use crate::raw::Endian;

const REGISTERS: usize = 11;
const FRAME_POINTER: usize = 10;

/// The registers, and the slots of the function's own stack whose contents are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    registers: [Value; REGISTERS],
    slots: Vec<Slot>,
}

/// Bytes of the stack that were written at once. Slots never overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    /// From the frame pointer.
    start: i64,
    size: i64,
    value: Value,
}

impl Slot {
    fn is_outside(&self, start: i64, end: i64) -> bool {
        self.start.saturating_add(self.size) <= start || end <= self.start
    }
}

impl State {
    /// A function's start, where nothing is known of its arguments.
    pub(super) fn at_entry() -> State {
        let mut registers = [Value::Foreign; REGISTERS];
        registers[FRAME_POINTER] = Value::Stack(0);
        State { registers, slots: Vec::new() }
    }

    /// Anywhere in a function, with nothing known.
    pub(super) fn unknown() -> State {
        let mut registers = [Value::Any; REGISTERS];
        registers[FRAME_POINTER] = Value::Stack(0);
        State { registers, slots: Vec::new() }
    }

    /// Keeps what holds in both. Returns whether that is less than before.
    pub(super) fn join(&mut self, other: &State) -> bool {
        let mut changed = false;
        for (known, &other) in self.registers.iter_mut().zip(&other.registers) {
            let joined = known.join(other);
            changed |= joined != *known;
            *known = joined;
        }
        let before = self.slots.len();
        self.slots.retain(|slot| other.slots.contains(slot));
        changed || self.slots.len() != before
    }

    pub(super) fn get(&self, register: u8) -> Value {
        self.registers.get(usize::from(register)).copied().unwrap_or(Value::Any)
    }

    pub(super) fn set(&mut self, register: u8, value: Value) {
        let register = usize::from(register);
        if register < FRAME_POINTER {
            self.registers[register] = value;
        }
    }

    /// The second operand of an arithmetic instruction or a conditional jump.
    pub(super) fn operand(&self, insn: Insn) -> Value {
        if insn.code & 0x08 != 0 { self.get(insn.src) } else { Value::Const(i64::from(insn.imm) as u64) }
    }

    pub(super) fn calculate(&mut self, insn: Insn, endian: Endian) {
        let result = value::arithmetic(insn, self.get(insn.dst), self.operand(insn), endian);
        self.set(insn.dst, result);
    }

    pub(super) fn load(&mut self, insn: Insn) {
        let plain = insn.code & 0xe0 == MEM;
        let value = match self.get(insn.src) {
            Value::Stack(base) => {
                let start = base.wrapping_add(insn.off.into());
                let slot = self.slots.iter().find(|slot| slot.start == start && slot.size == size(insn));
                slot.filter(|_| plain).map_or(Value::Any, |slot| slot.value)
            }
            Value::Any => Value::Any,
            Value::Const(_) | Value::Foreign => Value::Foreign,
        };
        self.set(insn.dst, value);
    }

    pub(super) fn store(&mut self, insn: Insn) {
        let size = size(insn);
        if insn.class() == class::STX && insn.code & 0xe0 == ATOMIC && insn.imm == LOAD_ACQUIRE {
            return self.set(insn.dst, Value::Any);
        }
        let value = match (insn.class(), insn.code & 0xe0) {
            (class::ST, _) => Value::Const(i64::from(insn.imm) as u64),
            (_, MEM) => self.get(insn.src),
            // An atomic operation may fetch into its source or, for the exchange with a comparison, into r0.
            _ => {
                self.set(insn.src, Value::Any);
                self.set(0, Value::Any);
                Value::Any
            }
        };
        match self.get(insn.dst) {
            Value::Stack(base) => {
                let start = base.wrapping_add(insn.off.into());
                let end = start.saturating_add(size);
                self.slots.retain(|slot| slot.is_outside(start, end));
                let value = match value {
                    Value::Const(value) => {
                        Value::Const(if size == 8 { value } else { value & ((1 << (size * 8)) - 1) })
                    }
                    Value::Stack(_) if size == 8 => value,
                    _ => return,
                };
                if self.slots.len() < MAX_SLOTS {
                    self.slots.push(Slot { start, size, value });
                }
            }
            Value::Any => self.slots.clear(),
            Value::Const(_) | Value::Foreign => {}
        }
    }

    /// After a call of a helper, kfunc or legacy load, which may write behind the pointers it is given.
    pub(super) fn after_helper(&mut self, writes: Writes) {
        let (pointers, size) = match writes {
            Writes::Nothing => (1..1, None),
            Writes::Buffer { pointer, size } => (pointer..pointer + 1, self.get(size).constant()),
            Writes::Anything => (1..6, None),
        };
        let size = size.and_then(|size| i64::try_from(size).ok());
        for pointer in pointers {
            match self.get(pointer) {
                Value::Stack(start) => {
                    let end = size.map_or(i64::MAX, |size| start.saturating_add(size));
                    self.slots.retain(|slot| slot.is_outside(start, end));
                }
                Value::Any => self.slots.clear(),
                Value::Const(_) | Value::Foreign => {}
            }
        }
        self.forget_scratch(Value::Foreign);
    }

    /// After a call of a subprogram that returned `result`.
    pub(super) fn after_call(&mut self, result: Value) {
        let passes_stack = self.registers[1..=5].iter().any(|value| value.may_be_stack());
        if passes_stack {
            self.slots.clear();
        }
        self.forget_scratch(result);
    }

    fn forget_scratch(&mut self, result: Value) {
        self.registers[0] = result;
        self.registers[1..=5].fill(Value::Foreign);
    }

    /// What a subprogram starts with: the arguments that are numbers.
    pub(super) fn for_callee(&self) -> State {
        let mut callee = State::at_entry();
        for register in 1..=5 {
            if let Value::Const(value) = self.registers[register] {
                callee.registers[register] = Value::Const(value);
            }
        }
        callee
    }

    /// What a comparison for equality tells where it jumped, or did not.
    pub(super) fn learn(&mut self, insn: Insn, jumped: bool) {
        let equal = match (insn.class(), insn.code & 0xf0) {
            (class::JMP, 0x10) => jumped,
            (class::JMP, 0x50) => !jumped,
            _ => return,
        };
        if !equal {
            return;
        }
        match (self.get(insn.dst), self.operand(insn)) {
            (Value::Foreign | Value::Any, Value::Const(value)) => self.set(insn.dst, Value::Const(value)),
            (Value::Const(value), Value::Foreign | Value::Any) => self.set(insn.src, Value::Const(value)),
            _ => {}
        }
    }
}

/// The mode bits of a plain load or store.
const MEM: u8 = 0x60;
/// The mode bits of an atomic operation.
const ATOMIC: u8 = 0xc0;
/// The immediate of the atomic operation that is a load: into its destination.
const LOAD_ACQUIRE: i32 = 0x100;
/// A frame has 512 bytes: so many slots of 8.
const MAX_SLOTS: usize = 64;

/// Bytes accessed by a load or store.
fn size(insn: Insn) -> i64 {
    match insn.code & 0x18 {
        0x00 => 4,
        0x08 => 2,
        0x10 => 1,
        _ => 8,
    }
}
