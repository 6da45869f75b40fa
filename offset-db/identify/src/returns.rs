//! Where control leaves a function: what a probe at its end is put on where return probes must not be used, as in Go, whose stacks
//! move.

use iced_x86::{Decoder, DecoderOptions, FlowControl, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};
use image::{Machine, VirtualAddress};

/// How control leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Leaves {
    /// It returns.
    Return,
    /// It jumps to another function, which returns in its place.
    Jump,
    /// It jumps to another function, if: a probe there is hit by those who stay, too.
    Branch,
    /// It jumps by a register or a slot of data, and by no table of its own.
    Indirect,
}

/// An instruction that leaves a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Exit {
    /// Bytes from the function's begin.
    pub offset: u32,
    /// How.
    pub leaves: Leaves,
}

/// The instructions that leave a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exits {
    /// In order of place.
    pub exits: Vec<Exit>,
    /// All bytes are instructions. Where some are not (tables between them, or a set that is not known), what is behind them may
    /// be wrong or missing.
    pub is_whole: bool,
}

/// Finds the instructions that leave a function of these bytes, which are loaded at `address`. `None`: the instruction set is not
/// known.
///
/// A jump by a register is taken for one inside of the function where the register was computed from a table. So is a last call
/// by an array of addresses of functions, which looks the same.
#[must_use]
pub fn exits(machine: Machine, code: &[u8], address: VirtualAddress) -> Option<Exits> {
    match machine {
        Machine::X86_64 => Some(x86_64(code, address.0)),
        Machine::Aarch64 => Some(aarch64(code, address.0)),
        _ => None,
    }
}

/// Instructions before a jump by a register among which the one that computes it is looked for.
const BEFORE: usize = 8;

fn x86_64(code: &[u8], address: u64) -> Exits {
    let end = address.wrapping_add(code.len() as u64);
    let is_inside = |target: u64| target >= address && target < end;
    let mut found = Exits { exits: Vec::new(), is_whole: true };
    let mut infos = InstructionInfoFactory::new();
    let mut before: Vec<iced_x86::Instruction> = Vec::new();
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    while decoder.can_decode() {
        let instruction = decoder.decode();
        if instruction.is_invalid() {
            found.is_whole = false;
            before.clear();
            // the next that is one may begin at any byte behind
            let next = instruction.ip().wrapping_add(1);
            if decoder.set_position(next.wrapping_sub(address) as usize).is_err() {
                break;
            }
            decoder.set_ip(next);
            continue;
        }
        let leaves = match instruction.flow_control() {
            FlowControl::Return => Some(Leaves::Return),
            FlowControl::UnconditionalBranch if is_near(&instruction) => {
                (!is_inside(instruction.near_branch_target())).then_some(Leaves::Jump)
            }
            FlowControl::ConditionalBranch if is_near(&instruction) => {
                (!is_inside(instruction.near_branch_target())).then_some(Leaves::Branch)
            }
            FlowControl::IndirectBranch => {
                (!is_by_table(&instruction, &before, &mut infos)).then_some(Leaves::Indirect)
            }
            _ => None,
        };
        let offset = u32::try_from(instruction.ip().wrapping_sub(address));
        found.exits.extend(leaves.zip(offset.ok()).map(|(leaves, offset)| Exit { offset, leaves }));
        if before.len() == BEFORE {
            before.remove(0);
        }
        before.push(instruction);
    }
    found
}

fn is_near(instruction: &iced_x86::Instruction) -> bool {
    matches!(instruction.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64)
}

/// Whether a jump takes its target from a table: `jmp [table+rax*8]`, or by a register that a table's entry was loaded into
/// (`mov rax, [table+rax*8]`) or added to (`movsxd rax, [rdx+rax*4]`, `add rax, rdx`).
fn is_by_table(
    jump: &iced_x86::Instruction,
    before: &[iced_x86::Instruction],
    infos: &mut InstructionInfoFactory,
) -> bool {
    if jump.op0_kind() == OpKind::Memory {
        return has_index(jump);
    }
    let register = jump.op0_register().full_register();
    for instruction in before.iter().rev() {
        let writes = infos.info(instruction).used_registers().iter().any(|used| {
            used.register().full_register() == register
                && matches!(used.access(), OpAccess::Write | OpAccess::ReadWrite | OpAccess::CondWrite)
        });
        if !writes {
            continue;
        }
        return match instruction.mnemonic() {
            Mnemonic::Add => instruction.op1_kind() == OpKind::Register,
            Mnemonic::Mov => instruction.op1_kind() == OpKind::Memory && has_index(instruction),
            _ => false,
        };
    }
    false
}

/// Whether an entry of a table is read: of addresses, or of offsets of 32 bits.
fn has_index(instruction: &iced_x86::Instruction) -> bool {
    instruction.memory_index() != Register::None && matches!(instruction.memory_index_scale(), 4 | 8)
}

/// Arm ARM, C4.1.66: "Branches, Exception Generating and System instructions".
fn aarch64(code: &[u8], address: u64) -> Exits {
    let words = code.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap_or_default()));
    let mut words: Vec<u32> = words.collect();
    // what Go's linker pads with
    while words.last() == Some(&0) {
        words.pop();
    }
    let mut found = Exits { exits: Vec::new(), is_whole: code.len().is_multiple_of(4) };
    let end = address.wrapping_add(code.len() as u64);
    for (index, word) in words.iter().copied().enumerate() {
        let at = address.wrapping_add(index as u64 * 4);
        // an offset of so many bits from bit `low` on, in words
        let is_outside = |low: u32, count: u32| {
            let offset = i64::from(word >> low) << (64 - count) >> (64 - count);
            let target = at.wrapping_add_signed(offset * 4);
            target < address || target >= end
        };
        let register = word >> 5 & 0x1f;
        let leaves = if word & 0xffff_fc1f == 0xd65f_0000 || word & 0xffff_fbff == 0xd65f_0bff {
            // RET; RETAA, RETAB
            Some(Leaves::Return)
        } else if word >> 26 == 0b00_0101 {
            // B
            is_outside(0, 26).then_some(Leaves::Jump)
        } else if word >> 24 == 0x54 || word >> 25 & 0x3f == 0b01_1010 {
            // B.cond, BC.cond; CBZ, CBNZ
            is_outside(5, 19).then_some(Leaves::Branch)
        } else if word >> 25 & 0x3f == 0b01_1011 {
            // TBZ, TBNZ
            is_outside(5, 14).then_some(Leaves::Branch)
        } else if word & 0xffff_fc1f == 0xd61f_0000
            || word & 0xffff_f81f == 0xd61f_081f
            || word & 0xffff_f800 == 0xd71f_0800
        {
            // BR; BRAAZ, BRABZ; BRAA, BRAB
            let before = &words[index.saturating_sub(BEFORE)..index];
            (!before.iter().any(|before| is_from_table(*before, register))).then_some(Leaves::Indirect)
        } else {
            // UDF, and what no instruction begins with
            found.is_whole &= word >> 16 != 0;
            None
        };
        let offset = u32::try_from(index * 4);
        found.exits.extend(leaves.zip(offset.ok()).map(|(leaves, offset)| Exit { offset, leaves }));
    }
    found
}

/// Whether an instruction computes a register from a table: adds two registers (what was loaded, to where it counts from), or
/// loads by an index.
fn is_from_table(word: u32, register: u32) -> bool {
    let adds = word & 0xffe0_0000 == 0x8b20_0000 || word & 0xff20_0000 == 0x8b00_0000;
    let loads = word & 0xffe0_0c00 == 0xf860_0800;
    (adds || loads) && word & 0x1f == register
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(machine: Machine, code: &[u8], expected: &[(u32, Leaves)], is_whole: bool) {
        let found = exits(machine, code, VirtualAddress(0x1000)).unwrap();
        let told: Vec<(u32, Leaves)> = found.exits.iter().map(|exit| (exit.offset, exit.leaves)).collect();
        assert_eq!((told.as_slice(), found.is_whole), (expected, is_whole));
    }

    #[test]
    fn of_x86_64() {
        let check = |code: &[u8], expected: &[(u32, Leaves)]| check(Machine::X86_64, code, expected, true);
        // test edi, edi; je 6; ret; nop; rep ret
        check(&[0x85, 0xff, 0x74, 0x02, 0xc3, 0x90, 0xf3, 0xc3], &[(4, Leaves::Return), (6, Leaves::Return)]);
        // ret 8
        check(&[0xc2, 0x08, 0x00], &[(0, Leaves::Return)]);
        // jmp inside, jmp outside, jmp before
        check(&[0xeb, 0x00, 0xe9, 0, 1, 0, 0, 0xeb, 0xf0], &[(2, Leaves::Jump), (7, Leaves::Jump)]);
        // jne outside
        check(&[0x0f, 0x85, 0, 1, 0, 0, 0xc3], &[(0, Leaves::Branch), (6, Leaves::Return)]);
        // call is no way out; jmp [rip+0] by a slot; jmp [rax+0x18] by a table of virtual functions
        check(&[0xe8, 0, 0, 0, 0, 0xff, 0x25, 0, 0, 0, 0], &[(5, Leaves::Indirect)]);
        check(&[0xff, 0x60, 0x18], &[(0, Leaves::Indirect)]);
        // jmp [rdx+rax*8]: a table
        check(&[0xff, 0x24, 0xc2], &[]);
        // jmp [rdx+rax]: an array of structs
        check(&[0xff, 0x24, 0x02], &[(0, Leaves::Indirect)]);
        // movsxd rax, [rdx+rax*4]; add rax, rdx; jmp rax: a table
        check(&[0x48, 0x63, 0x04, 0x82, 0x48, 0x01, 0xd0, 0xff, 0xe0], &[]);
        // mov rax, [rdx+rax*8]; nop; jmp rax: a table
        check(&[0x48, 0x8b, 0x04, 0xc2, 0x90, 0xff, 0xe0], &[]);
        // mov rax, [rdi]; jmp rax; mov rdx, [rax+rcx*8]; jmp rax
        check(&[0x48, 0x8b, 0x07, 0xff, 0xe0], &[(3, Leaves::Indirect)]);
        check(&[0x48, 0x8b, 0x14, 0xc8, 0xff, 0xe0], &[(4, Leaves::Indirect)]);
        check(&[], &[]);
    }

    #[test]
    fn what_is_no_instruction_is_told() {
        check(Machine::X86_64, &[0x06, 0xc3], &[(1, Leaves::Return)], false);
        check(Machine::Aarch64, &[0, 0, 0, 0, 0xc0, 0x03, 0x5f, 0xd6], &[(4, Leaves::Return)], false);
        check(Machine::Aarch64, &[0xc0, 0x03, 0x5f, 0xd6, 0], &[(0, Leaves::Return)], false);
        assert_eq!(exits(Machine::Other(40), &[0; 4], VirtualAddress(0)), None);
    }

    #[test]
    fn of_aarch64() {
        let check = |words: &[u32], expected: &[(u32, Leaves)]| {
            let code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            check(Machine::Aarch64, &code, expected, true);
        };
        // ret; ret x1; retaa; retab
        let all = [(0, Leaves::Return), (4, Leaves::Return), (8, Leaves::Return), (12, Leaves::Return)];
        check(&[0xd65f_03c0, 0xd65f_0020, 0xd65f_0bff, 0xd65f_0fff], &all);
        // b +4; b -4 words; bl is none
        check(&[0x1400_0001, 0x17ff_fffc, 0x9400_0100], &[(4, Leaves::Jump)]);
        // b.eq +8 words; cbz x0, +1; tbnz w0, #3, -8 words
        let all = [(0, Leaves::Branch), (8, Leaves::Branch)];
        check(&[0x5400_0100, 0xb400_0020, 0x371f_ff00], &all);
        // br x16; braaz x1
        check(&[0xd61f_0200, 0xd61f_083f], &[(0, Leaves::Indirect), (4, Leaves::Indirect)]);
        // add x1, x1, w0, sxth #2; br x1: a table
        check(&[0x8b20_a821, 0xd61f_0020], &[]);
        // ldr x27, [x0, x1, lsl #3]; br x27: a table. br x26: none
        check(&[0xf861_781b, 0xd61f_0360, 0xd61f_0340], &[(8, Leaves::Indirect)]);
        // padding
        check(&[0xd65f_03c0, 0, 0], &[(0, Leaves::Return)]);
    }
}
