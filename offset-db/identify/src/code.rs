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
