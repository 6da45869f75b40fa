//! AArch64's instructions, 32 bits each (Arm ARM, C4.1: "A64 instruction set encoding").

use crate::code::{Instruction, Sink, Target, mix, telling};
use image::VirtualAddress;

/// Reads code that is loaded at `address`.
///
/// An address of data is made of two instructions, ADRP and another that adds to it: the second has the target.
pub(crate) fn read(code: &[u8], address: VirtualAddress, sink: &mut impl Sink) {
    let mut pages = [None::<u64>; 32];
    for (index, word) in code.chunks_exact(4).enumerate() {
        let word = u32::from_le_bytes(word.try_into().unwrap_or_default());
        let at = address.0.wrapping_add(index as u64 * 4);
        sink.instruction(&translate(word, at, &mut pages));
    }
}

/// Bits `low..low + count` of a word.
fn bits(word: u32, low: u32, count: u32) -> u32 {
    word >> low & ((1 << count) - 1)
}

/// The same, signed.
fn signed(word: u32, low: u32, count: u32) -> i64 {
    let shift = 64 - count;
    i64::from(bits(word, low, count)) << shift >> shift
}

fn translate(word: u32, at: u64, pages: &mut [Option<u64>; 32]) -> Instruction {
    let mut to = Instruction { address: at, ..Instruction::default() };
    let relative = |offset: i64| VirtualAddress(at.wrapping_add_signed(offset * 4));
    let (rd, rn) = (bits(word, 0, 5) as usize, bits(word, 5, 5) as usize);
    // what is left of the word: without its numbers; without those that depend on where things lie
    let (mut shape, mut exact) = (word, word);
    let mut page = None;
    if word >> 26 & 0x1f == 0b00101 {
        // B, BL
        let target = relative(signed(word, 0, 26));
        to.target = Some(if word >> 31 == 1 { Target::Call(target) } else { Target::Jump(target) });
        to.ends = word >> 31 == 0;
        shape &= !0x03ff_ffff;
        exact = shape;
    } else if word >> 24 == 0x54 || word >> 25 & 0x3f == 0b01_1010 {
        // B.cond; CBZ, CBNZ
        to.target = Some(Target::Branch(relative(signed(word, 5, 19))));
        shape &= !(0x7_ffff << 5);
        exact = shape;
    } else if word >> 25 & 0x3f == 0b01_1011 {
        // TBZ, TBNZ
        to.target = Some(Target::Branch(relative(signed(word, 5, 14))));
        shape &= !(0x3fff << 5);
        exact = shape;
    } else if word >> 24 & 0x1f == 0b1_0000 {
        // ADR, ADRP
        let offset = signed(word, 5, 19) << 2 | i64::from(bits(word, 29, 2));
        if word >> 31 == 1 {
            page = Some((at & !0xfff).wrapping_add_signed(offset << 12));
        } else {
            to.target = Some(Target::Data(VirtualAddress(at.wrapping_add_signed(offset))));
        }
        shape &= !(0x7_ffff << 5 | 3 << 29);
        exact = shape;
    } else if word >> 23 & 0xff == 0b0010_0010 || word >> 23 & 0x1ff == 0b1_0010_0010 {
        // ADD (immediate), 32 and 64 bits
        let shift = if bits(word, 22, 1) == 1 { 12 } else { 0 };
        let number = u64::from(bits(word, 10, 12)) << shift;
        shape &= !(0xfff << 10);
        if let (Some(base), true) = (pages[rn], shift == 0) {
            to.target = Some(Target::Data(VirtualAddress(base.wrapping_add(number))));
            exact = shape;
        } else {
            to.number = telling(number);
        }
    } else if word >> 24 & 0x3b == 0b11_1001 {
        // LDR, STR, LDRB … (unsigned offset), also of vectors
        let is_vector = bits(word, 26, 1) == 1;
        let scale = if is_vector && bits(word, 23, 1) == 1 { 4 } else { bits(word, 30, 2) };
        let number = u64::from(bits(word, 10, 12)) << scale;
        shape &= !(0xfff << 10);
        if let Some(base) = pages[rn] {
            to.target = Some(Target::Data(VirtualAddress(base.wrapping_add(number))));
            exact = shape;
        } else if rn != 31 {
            to.field = i32::try_from(number).ok();
        }
    } else if word >> 24 & 0x3b == 0b01_1000 {
        // LDR (literal)
        to.target = Some(Target::Data(relative(signed(word, 5, 19))));
        shape &= !(0x7_ffff << 5);
        exact = shape;
    } else if word >> 23 & 0x3f == 0b10_0101 {
        // MOVN, MOVZ, MOVK
        to.number = telling(u64::from(bits(word, 5, 16)) << (bits(word, 21, 2) * 16));
        shape &= !(0xffff << 5);
    } else if word & 0xffff_fc1f == 0xd65f_0000
        || word & 0xffff_fc1f == 0xd61f_0000
        || word & 0xffff_fbff == 0xd65f_0bff
    {
        // RET, BR, RETAA
        to.ends = true;
    } else if word >> 16 == 0 || word & 0xffe0_001f == 0xd420_0000 {
        // UDF, BRK
        to.ends = true;
    }
    to.is_padding = word == 0xd503_201f;
    // writes by what has its result in rd: data processing, and loads; a wrong guess costs a target, not a wrong one
    pages[rd] = page;
    // the operation: without registers
    let operation = shape & !0x001f_03ff;
    to.mnemonic = (mix(0, u64::from(operation)) >> 40) as u16;
    to.shape = mix(1, u64::from(shape));
    to.exact = mix(2, u64::from(exact));
    to
}
