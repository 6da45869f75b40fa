//! What is known of a register or a stack slot, and the arithmetic on it.

use crate::insn::{Insn, class};
use crate::raw::Endian;

/// What is known of a 64-bit value at a point of a function, on every way there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// This number.
    Const(u64),
    /// The function's own frame pointer plus this many bytes.
    Stack(i64),
    /// Anything but a pointer into the function's own stack.
    Foreign,
    /// Anything.
    Any,
}

impl Value {
    /// What is known where two ways meet.
    pub(super) fn join(self, other: Value) -> Value {
        match (self, other) {
            (a, b) if a == b => a,
            (Value::Const(_) | Value::Foreign, Value::Const(_) | Value::Foreign) => Value::Foreign,
            _ => Value::Any,
        }
    }

    pub(super) fn constant(self) -> Option<u64> {
        match self {
            Value::Const(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn may_be_stack(self) -> bool {
        matches!(self, Value::Stack(_) | Value::Any)
    }
}

mod op {
    pub(super) const ADD: u8 = 0x00;
    pub(super) const SUB: u8 = 0x10;
    pub(super) const MUL: u8 = 0x20;
    pub(super) const DIV: u8 = 0x30;
    pub(super) const OR: u8 = 0x40;
    pub(super) const AND: u8 = 0x50;
    pub(super) const LSH: u8 = 0x60;
    pub(super) const RSH: u8 = 0x70;
    pub(super) const NEG: u8 = 0x80;
    pub(super) const MOD: u8 = 0x90;
    pub(super) const XOR: u8 = 0xa0;
    pub(super) const MOV: u8 = 0xb0;
    pub(super) const ARSH: u8 = 0xc0;
    pub(super) const END: u8 = 0xd0;
}

/// The result of an instruction of class `ALU` or `ALU64`. `a` is the destination before, `b` the operand: the source
/// register, or the immediate extended by its sign.
pub(super) fn arithmetic(insn: Insn, a: Value, b: Value, endian: Endian) -> Value {
    let wide = insn.class() == class::ALU64;
    let operation = insn.code & 0xf0;
    // A register against itself, and zero against anything.
    let by_register = insn.code & 0x08 != 0;
    if by_register && insn.dst == insn.src && matches!(operation, op::SUB | op::XOR) {
        return Value::Const(0);
    }
    if matches!(operation, op::MUL | op::AND) && (a == Value::Const(0) || b == Value::Const(0)) {
        return Value::Const(0);
    }
    match (operation, a, b) {
        (op::END, Value::Const(a), _) => Value::Const(swap(insn, a, endian)),
        (op::END, ..) => Value::Foreign,
        (op::NEG, Value::Const(a), _) => Value::Const(truncate(a.wrapping_neg(), wide)),
        (op::MOV, _, Value::Const(b)) => Value::Const(truncate(extend(b, insn.off), wide)),
        (op::MOV, _, b) if wide && insn.off == 0 => b,
        (op::ADD, Value::Stack(at), Value::Const(by)) | (op::ADD, Value::Const(by), Value::Stack(at)) if wide => {
            Value::Stack(at.wrapping_add(by as i64))
        }
        (op::SUB, Value::Stack(at), Value::Const(by)) if wide => Value::Stack(at.wrapping_sub(by as i64)),
        (_, Value::Const(a), Value::Const(b)) => {
            calculate(operation, a, b, wide, insn.off == 1).map_or(Value::Foreign, Value::Const)
        }
        // Half a pointer is none.
        _ if !wide => Value::Foreign,
        (_, a, b) if a.may_be_stack() || b.may_be_stack() => Value::Any,
        _ => Value::Foreign,
    }
}

fn truncate(value: u64, wide: bool) -> u64 {
    if wide { value } else { u64::from(value as u32) }
}

/// The sign extension of a move, whose `off` says from how many bits.
fn extend(value: u64, bits: i16) -> u64 {
    match bits {
        8 => value as i8 as u64,
        16 => value as i16 as u64,
        32 => value as i32 as u64,
        _ => value,
    }
}

fn calculate(operation: u8, a: u64, b: u64, wide: bool, signed: bool) -> Option<u64> {
    let (a, b) = (truncate(a, wide), truncate(b, wide));
    let bits = if wide { 63 } else { 31 };
    let sign = |value: u64| if wide { value as i64 } else { i64::from(value as i32) };
    let result = match operation {
        op::ADD => a.wrapping_add(b),
        op::SUB => a.wrapping_sub(b),
        op::MUL => a.wrapping_mul(b),
        // Division by zero gives zero, the rest of it leaves the dividend.
        op::DIV if b == 0 => 0,
        op::MOD if b == 0 => a,
        op::DIV if signed => sign(a).wrapping_div(sign(b)) as u64,
        op::MOD if signed => sign(a).wrapping_rem(sign(b)) as u64,
        op::DIV => a / b,
        op::MOD => a % b,
        op::OR => a | b,
        op::AND => a & b,
        op::XOR => a ^ b,
        op::LSH => a << (b & bits),
        op::RSH => a >> (b & bits),
        op::ARSH => (sign(a) >> (b & bits)) as u64,
        _ => return None,
    };
    Some(truncate(result, wide))
}

/// Byte swaps: `ALU` to a byte order, `ALU64` always.
fn swap(insn: Insn, value: u64, endian: Endian) -> u64 {
    let to_big = insn.code & 0x08 != 0;
    let swaps = insn.class() == class::ALU64 || to_big != (endian == Endian::Big);
    match (insn.imm, swaps) {
        (16, true) => u64::from((value as u16).swap_bytes()),
        (16, false) => u64::from(value as u16),
        (32, true) => u64::from((value as u32).swap_bytes()),
        (32, false) => u64::from(value as u32),
        (_, true) => value.swap_bytes(),
        (_, false) => value,
    }
}

/// Does a conditional jump of class `JMP` or `JMP32` jump? `None` for an operation that is not a comparison.
pub(super) fn jumps(insn: Insn, a: u64, b: u64) -> Option<bool> {
    let wide = insn.class() == class::JMP;
    let (a, b) = (truncate(a, wide), truncate(b, wide));
    let (sa, sb) = if wide { (a as i64, b as i64) } else { (i64::from(a as i32), i64::from(b as i32)) };
    Some(match insn.code & 0xf0 {
        0x10 => a == b,
        0x20 => a > b,
        0x30 => a >= b,
        0x40 => a & b != 0,
        0x50 => a != b,
        0x60 => sa > sb,
        0x70 => sa >= sb,
        0xa0 => a < b,
        0xb0 => a <= b,
        0xc0 => sa < sb,
        0xd0 => sa <= sb,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Value::{Any, Const, Foreign, Stack};

    #[track_caller]
    fn check(code: u8, off: i16, imm: i32, a: Value, b: Value, expected: Value) {
        let insn = Insn { code, dst: 1, src: 2, off, imm };
        assert_eq!(arithmetic(insn, a, b, Endian::Little), expected);
    }

    #[test]
    fn constants_are_calculated_with() {
        check(0x07, 0, 0, Const(1), Const(u64::MAX), Const(0));
        check(0x04, 0, 0, Const(0xffff_ffff), Const(1), Const(0));
        check(0x1f, 0, 0, Const(1), Const(2), Const(u64::MAX));
        check(0x27, 0, 0, Const(6), Const(7), Const(42));
        check(0x37, 0, 0, Const(7), Const(0), Const(0));
        check(0x97, 0, 0, Const(7), Const(0), Const(7));
        check(0x37, 1, 0, Const(-7i64 as u64), Const(2), Const(-3i64 as u64));
        check(0x34, 1, 0, Const(0xffff_fff9), Const(2), Const(0xffff_fffd));
        check(0x47, 0, 0, Const(1), Const(2), Const(3));
        check(0x57, 0, 0, Const(3), Const(2), Const(2));
        check(0xa7, 0, 0, Const(3), Const(2), Const(1));
        check(0x67, 0, 0, Const(1), Const(33), Const(1 << 33));
        check(0x64, 0, 0, Const(1), Const(33), Const(2));
        check(0x77, 0, 0, Const(1 << 40), Const(32), Const(256));
        check(0xc7, 0, 0, Const(-8i64 as u64), Const(1), Const(-4i64 as u64));
        check(0xc4, 0, 0, Const(0x8000_0000), Const(31), Const(0xffff_ffff));
        check(0x87, 0, 0, Const(1), Const(0), Const(u64::MAX));
        check(0xbf, 8, 0, Any, Const(0x80), Const(0xffff_ffff_ffff_ff80));
        check(0xbc, 0, 0, Any, Const(u64::MAX), Const(0xffff_ffff));
        check(0xdc, 0, 16, Const(0x1_1234), Const(0), Const(0x3412));
        check(0xd4, 0, 16, Const(0x1_1234), Const(0), Const(0x1234));
        check(0xd7, 0, 32, Const(0x1234_5678), Const(0), Const(0x7856_3412));
    }

    #[test]
    fn what_is_known_of_unknown_values() {
        check(0x57, 0, 0, Any, Const(0), Const(0));
        check(0x2f, 0, 0, Const(0), Any, Const(0));
        check(0x07, 0, 0, Foreign, Const(1), Foreign);
        check(0xbf, 0, 0, Const(1), Foreign, Foreign);
        let same = Insn { code: 0xaf, dst: 3, src: 3, off: 0, imm: 0 };
        assert_eq!(arithmetic(same, Any, Any, Endian::Little), Const(0));
    }

    #[test]
    fn pointers_into_the_stack_are_followed() {
        check(0x07, 0, 0, Stack(0), Const(-16i64 as u64), Stack(-16));
        check(0x17, 0, 0, Stack(-8), Const(8), Stack(-16));
        check(0x0f, 0, 0, Const(8), Stack(-16), Stack(-8));
        check(0x0f, 0, 0, Stack(0), Foreign, Any);
        check(0xbf, 0, 0, Const(0), Stack(-8), Stack(-8));
        check(0xbc, 0, 0, Const(0), Stack(-8), Foreign);
    }

    #[test]
    fn ways_meet_in_what_holds_on_both() {
        assert_eq!(Const(1).join(Const(1)), Const(1));
        assert_eq!(Const(1).join(Const(2)), Foreign);
        assert_eq!(Const(1).join(Stack(0)), Any);
        assert_eq!(Stack(-8).join(Stack(-16)), Any);
        assert_eq!(Foreign.join(Any), Any);
    }

    #[test]
    fn comparisons() {
        let check = |code, a, b, expected| {
            assert_eq!(jumps(Insn { code, ..Insn::default() }, a, b), expected);
        };
        check(0x15, 1, 1, Some(true));
        check(0x55, 1, 1, Some(false));
        check(0x25, u64::MAX, 1, Some(true));
        check(0x65, u64::MAX, 1, Some(false));
        check(0x66, 0xffff_ffff, 1, Some(false));
        check(0x16, 0x1_0000_0001, 1, Some(true));
        check(0x45, 6, 1, Some(false));
        check(0xa5, 1, 2, Some(true));
        check(0xb5, 2, 2, Some(true));
        check(0xc5, u64::MAX, 0, Some(true));
        check(0xd5, 0, u64::MAX, Some(false));
        check(0x75, 0, u64::MAX, Some(true));
        check(0x35, 0, u64::MAX, Some(false));
        check(0xe5, 0, 0, None);
    }
}
