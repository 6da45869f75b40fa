//! Putting a relocation's outcome into its instruction: libbpf's `bpf_core_patch_insn`.

use super::refusal::Refusal;
use super::value::Outcome;
use crate::insn::{Insn, class};

/// Sizes of memory accesses by the two size bits of an opcode.
const SIZES: [(u8, u32); 4] = [(0x00, 4), (0x08, 2), (0x10, 1), (0x18, 8)];

/// Writes the outcome into instruction `at` of a section.
///
/// Returns whether the instruction was poisoned.
///
/// # Errors
/// [`Refusal`] where the instruction is not what the relocation says, or cannot hold the value; `insns` is then unchanged.
pub fn patch(insns: &mut [Insn], at: usize, outcome: &Outcome) -> Result<bool, Refusal> {
    let Some(&insn) = insns.get(at) else { return Err(Refusal::Instruction(0)) };
    if outcome.poison {
        poison(insns, at);
        return Ok(true);
    }
    let expect = |found: i128| {
        // libbpf compares a sign-extended immediate or offset as 64 bits without sign.
        if outcome.validate && found as u64 != outcome.local {
            Err(Refusal::UnexpectedValue { found, expected: outcome.local })
        } else {
            Ok(())
        }
    };
    match insn.class() {
        class::ALU | class::ALU64 => {
            if insn.code & 0x08 != 0 {
                return Err(Refusal::Instruction(insn.code));
            }
            expect(insn.imm.into())?;
            insns[at].imm = outcome.target as i32;
        }
        class::LDX | class::ST | class::STX => {
            expect(insn.off.into())?;
            let off = i16::try_from(outcome.target).map_err(|_| Refusal::OffsetTooBig(outcome.target))?;
            if outcome.size_conflict {
                poison(insns, at);
                return Ok(true);
            }
            let mut code = insn.code;
            let (local, target) = outcome.sizes;
            if local != target {
                let found = SIZES.iter().find(|size| size.0 == insn.code & 0x18).map_or(0, |size| size.1);
                if found != local {
                    return Err(Refusal::AccessSize { found, expected: local });
                }
                let size = SIZES.iter().find(|size| size.1 == target);
                let (bits, _) = size.ok_or(Refusal::AccessSize { found: 0, expected: target })?;
                code = insn.code & !0x18 | bits;
            }
            insns[at].off = off;
            insns[at].code = code;
        }
        class::LD => {
            let second = insns.get(at + 1).copied().unwrap_or_default();
            let whole = insn.is_ldimm64() && insn.src == 0 && insn.off == 0 && at + 1 < insns.len();
            if !whole || second != (Insn { imm: second.imm, ..Insn::default() }) {
                return Err(Refusal::Instruction(insn.code));
            }
            expect((u64::from(insn.imm as u32) | u64::from(second.imm as u32) << 32).into())?;
            insns[at].imm = outcome.target as i32;
            insns[at + 1].imm = (outcome.target >> 32) as i32;
        }
        _ => return Err(Refusal::Instruction(insn.code)),
    }
    Ok(false)
}

fn poison(insns: &mut [Insn], at: usize) {
    if insns[at].is_ldimm64()
        && let Some(second) = insns.get_mut(at + 1)
    {
        *second = Insn::poison();
    }
    insns[at] = Insn::poison();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(local: u64, target: u64) -> Outcome {
        Outcome { local, target, poison: false, validate: true, sizes: (0, 0), size_conflict: false }
    }

    #[track_caller]
    fn check(insns: &[Insn], outcome: &Outcome, expected: Result<&[Insn], Refusal>) {
        let mut patched = insns.to_vec();
        match (patch(&mut patched, 0, outcome), expected) {
            (Ok(_), Ok(expected)) => assert_eq!(patched, expected),
            (Err(error), Err(expected)) => {
                assert_eq!(error, expected);
                assert_eq!(patched, insns);
            }
            (result, expected) => panic!("{result:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn the_value_goes_where_the_instruction_has_it() {
        let mov = |imm| Insn { code: 0xb7, dst: 1, imm, ..Insn::default() };
        check(&[mov(8)], &outcome(8, 1416), Ok(&[mov(1416)]));
        check(&[mov(9)], &outcome(8, 1416), Err(Refusal::UnexpectedValue { found: 9, expected: 8 }));
        check(&[mov(-1)], &outcome(u64::MAX, 5), Ok(&[mov(5)]));
        let load = |code, off| Insn { code, dst: 1, src: 2, off, imm: 0 };
        check(&[load(0x79, 8)], &outcome(8, 24), Ok(&[load(0x79, 24)]));
        check(&[load(0x79, 8)], &outcome(8, 0x8000), Err(Refusal::OffsetTooBig(0x8000)));
        let wide = |low, high| {
            [Insn { code: 0x18, dst: 1, imm: low, ..Insn::default() }, Insn { imm: high, ..Insn::default() }]
        };
        check(&wide(1, 0), &outcome(1, 0x1_0000_0002), Ok(&wide(2, 1)));
        check(&[wide(1, 0)[0]], &outcome(1, 2), Err(Refusal::Instruction(0x18)));
        let add_register = Insn { code: 0x0f, dst: 1, src: 2, ..Insn::default() };
        check(&[add_register], &outcome(8, 16), Err(Refusal::Instruction(0x0f)));
        let jump = Insn { code: 0x15, ..Insn::default() };
        check(&[jump], &outcome(0, 16), Err(Refusal::Instruction(0x15)));
    }

    #[test]
    fn loads_are_narrowed_and_widened_where_the_types_allow_it() {
        let load = |code, off| Insn { code, dst: 1, src: 2, off, imm: 0 };
        let sized = |sizes, size_conflict| Outcome { sizes, size_conflict, ..outcome(8, 16) };
        check(&[load(0x61, 8)], &sized((4, 8), false), Ok(&[load(0x79, 16)]));
        check(&[load(0x79, 8)], &sized((8, 4), false), Ok(&[load(0x61, 16)]));
        check(&[load(0x79, 8)], &sized((4, 8), false), Err(Refusal::AccessSize { found: 8, expected: 4 }));
        check(&[load(0x79, 8)], &sized((8, 3), false), Err(Refusal::AccessSize { found: 0, expected: 3 }));
        check(&[load(0x79, 8)], &sized((8, 4), true), Ok(&[Insn::poison()]));
    }

    #[test]
    fn both_halves_of_a_wide_load_are_poisoned() {
        let wide = [Insn { code: 0x18, ..Insn::default() }, Insn::default()];
        check(&wide, &Outcome { poison: true, ..outcome(0, 0) }, Ok(&[Insn::poison(), Insn::poison()]));
    }
}
