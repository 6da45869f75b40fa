//! What is read of a function's instructions, whichever set they are of.

use image::VirtualAddress;

/// What an instruction refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// It calls code there.
    Call(VirtualAddress),
    /// It jumps there.
    Jump(VirtualAddress),
    /// It jumps there, if.
    Branch(VirtualAddress),
    /// It calls or jumps by a slot of data there.
    Through(VirtualAddress),
    /// It takes the address of what is there, or reads or writes it.
    Data(VirtualAddress),
}

/// Reads a function's instructions one after the other.
pub(crate) trait Sink {
    /// An instruction.
    fn instruction(&mut self, instruction: &Instruction);
}

/// An instruction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Instruction {
    /// Where it is.
    pub(crate) address: u64,
    /// All of it that does not change with where code and data lie.
    pub(crate) exact: u64,
    /// The operation and the kinds and registers of its operands: no numbers.
    pub(crate) shape: u64,
    /// The operation.
    pub(crate) mnemonic: u16,
    /// What it refers to.
    pub(crate) target: Option<Target>,
    /// A number in it that says something: neither small nor a power of two, nor an address.
    pub(crate) number: Option<u64>,
    /// The displacement of a field that it reads or writes, by a register other than the stack's.
    pub(crate) field: Option<i32>,
    /// It is there for alignment.
    pub(crate) is_padding: bool,
    /// Nothing behind it is reached from it.
    pub(crate) ends: bool,
}

/// A number that tells functions apart: no small one, no address-like one.
pub(crate) fn telling(number: u64) -> Option<u64> {
    let small = 64;
    (number > small && number < u64::MAX - small && !number.is_power_of_two()).then_some(number)
}

/// Mixes a number into a hash.
pub(crate) fn mix(hash: u64, number: u64) -> u64 {
    // the finishing steps of MurmurHash3, one multiplication less
    let mut mixed = (hash.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^= mixed >> 32;
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aarch64, x86_64};

    struct Shape(u64);

    impl Sink for Shape {
        fn instruction(&mut self, instruction: &Instruction) {
            self.0 = mix(self.0, instruction.shape);
        }
    }

    /// Databases have these hashes: where one changes, [`crate::SIGNATURES`] has to.
    #[test]
    fn hashes_of_code_stay_as_they_are() {
        let base = VirtualAddress(0x1000);
        let mut shape = Shape(0);
        // push rbp; mov rbp, rsp; lea rax, [rip+16]; mov rax, [rip+0x100] of a slot; cmp dword [rdi+8], 5; jne; call; vaddps; ret
        let code = [
            &[0x55, 0x48, 0x89, 0xe5, 0x48, 0x8d, 0x05, 16, 0, 0, 0, 0x48, 0x8b, 0x05, 0, 1, 0, 0][..],
            &[0x83, 0x7f, 8, 5, 0x75, 0x10, 0xe8, 0, 1, 0, 0, 0xc5, 0xf4, 0x58, 0xc2, 0xc3],
        ];
        x86_64::read(&code.concat(), base, &(0x1100..0x1200), &mut shape);
        assert_eq!((crate::SIGNATURES, shape.0), (1, 0x6ce3_ff08_e609_777d), "x86-64");
        let mut shape = Shape(0);
        // stp x29, x30, [sp, #-16]!; adrp x0; add x0, x0, #16; ldr w1, [x2, #8]; bl; cbz w1; ret
        let words = [0xa9bf_7bfdu32, 0x9000_0000, 0x9100_4000, 0xb940_0841, 0x9400_0040, 0x3400_0041, 0xd65f_03c0];
        aarch64::read(&words.map(u32::to_le_bytes).concat(), base, &mut shape);
        assert_eq!((crate::SIGNATURES, shape.0), (1, 0x29ac_0887_612f_3113), "AArch64");
    }
}
