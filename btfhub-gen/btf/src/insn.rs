//! BPF instructions, as they stand in an object file and are handed to the kernel.
//!
//! Source of the encoding: `include/uapi/linux/bpf.h` (`struct bpf_insn`) and
//! `Documentation/bpf/standardization/instruction-set.rst`.

use crate::raw::Endian;

/// The class bits of an instruction's opcode.
pub mod class {
    /// Load an immediate (`ldimm64`), and the legacy packet loads.
    pub const LD: u8 = 0x00;
    /// Load from memory into a register.
    pub const LDX: u8 = 0x01;
    /// Store an immediate to memory.
    pub const ST: u8 = 0x02;
    /// Store a register to memory, and the atomic operations.
    pub const STX: u8 = 0x03;
    /// 32-bit arithmetic.
    pub const ALU: u8 = 0x04;
    /// 64-bit jumps, calls and exit.
    pub const JMP: u8 = 0x05;
    /// 32-bit conditional jumps, and the jump with a 32-bit offset.
    pub const JMP32: u8 = 0x06;
    /// 64-bit arithmetic.
    pub const ALU64: u8 = 0x07;
}

/// `src` of a call whose immediate is a bpf-to-bpf offset.
pub const PSEUDO_CALL: u8 = 1;
/// `src` of a `ldimm64` that loads the address of a subprogram.
pub const PSEUDO_FUNC: u8 = 4;
/// The helper number that libbpf puts into an instruction whose relocation failed (0xbad2310, "bad relo").
pub const POISON_HELPER: i32 = 195_896_080;

const OP_LDIMM64: u8 = 0x18;
const OP_CALL: u8 = 0x85;
const OP_EXIT: u8 = 0x95;

/// One 8-byte slot of BPF code. A `ldimm64` takes two.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Insn {
    /// The opcode: class, and operation or mode and size.
    pub code: u8,
    /// The destination register, 0 to 15 as encoded; the kernel accepts 0 to 10.
    pub dst: u8,
    /// The source register, or one of the pseudo kinds.
    pub src: u8,
    /// The offset: of a jump in instructions, of a memory access in bytes.
    pub off: i16,
    /// The immediate.
    pub imm: i32,
}

impl Insn {
    /// Bytes of one instruction slot.
    pub const SIZE: usize = 8;

    /// Reads one slot. `endian` is that of the object: it also decides which nibble holds `dst`.
    pub fn read(bytes: [u8; Insn::SIZE], endian: Endian) -> Insn {
        let [code, regs, o0, o1, i0, i1, i2, i3] = bytes;
        match endian {
            Endian::Little => Insn {
                code,
                dst: regs & 0xf,
                src: regs >> 4,
                off: i16::from_le_bytes([o0, o1]),
                imm: i32::from_le_bytes([i0, i1, i2, i3]),
            },
            Endian::Big => Insn {
                code,
                dst: regs >> 4,
                src: regs & 0xf,
                off: i16::from_be_bytes([o0, o1]),
                imm: i32::from_be_bytes([i0, i1, i2, i3]),
            },
        }
    }

    /// The bytes of one slot, the inverse of [`Insn::read`].
    pub fn write(self, endian: Endian) -> [u8; Insn::SIZE] {
        let (regs, [o0, o1], [i0, i1, i2, i3]) = match endian {
            Endian::Little => (self.dst & 0xf | self.src << 4, self.off.to_le_bytes(), self.imm.to_le_bytes()),
            Endian::Big => (self.dst << 4 | self.src & 0xf, self.off.to_be_bytes(), self.imm.to_be_bytes()),
        };
        [self.code, regs, o0, o1, i0, i1, i2, i3]
    }

    /// The class bits.
    pub fn class(self) -> u8 {
        self.code & 0x07
    }

    /// Is this the first slot of a 64-bit immediate load?
    pub fn is_ldimm64(self) -> bool {
        self.code == OP_LDIMM64
    }

    /// Is this a call of a helper, a kfunc or a subprogram?
    pub fn is_call(self) -> bool {
        self.code == OP_CALL
    }

    /// Is this a call of a subprogram?
    pub fn is_subprogram_call(self) -> bool {
        self.is_call() && self.src == PSEUDO_CALL
    }

    /// Is this a jump, conditional or not?
    pub fn is_jump(self) -> bool {
        matches!(self.class(), class::JMP | class::JMP32) && !self.is_call() && !self.is_exit()
    }

    /// Does this end the function?
    pub fn is_exit(self) -> bool {
        self.code == OP_EXIT
    }

    /// The invalid call that stands where a relocation failed. The verifier refuses the program when it can be
    /// reached.
    pub fn poison() -> Insn {
        Insn { code: OP_CALL, dst: 0, src: 0, off: 0, imm: POISON_HELPER }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_byte_orders_round_trip() {
        let check = |bytes: [u8; 8], endian, expected: Insn| {
            let insn = Insn::read(bytes, endian);
            assert_eq!(insn, expected);
            assert_eq!(insn.write(endian), bytes);
        };
        // r1 = *(u32 *)(r2 + 16)
        let expected = Insn { code: 0x61, dst: 1, src: 2, off: 16, imm: 0 };
        check([0x61, 0x21, 16, 0, 0, 0, 0, 0], Endian::Little, expected);
        check([0x61, 0x12, 0, 16, 0, 0, 0, 0], Endian::Big, expected);
        // r3 = -2
        let expected = Insn { code: 0xb7, dst: 3, src: 0, off: 0, imm: -2 };
        check([0xb7, 0x03, 0, 0, 0xfe, 0xff, 0xff, 0xff], Endian::Little, expected);
        check([0xb7, 0x30, 0, 0, 0xff, 0xff, 0xff, 0xfe], Endian::Big, expected);
    }
}
