//! x86-64's instructions.

use crate::code::{Instruction, Sink, Target, mix, telling};
use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, MemorySize, Mnemonic, OpKind, Register};
use image::VirtualAddress;
use std::ops::Range;

/// Reads code that is loaded at `address`. What it gets from the slots of the global offset table is told as the linker has it where the
/// slot is not needed ("Optimize GOTPCRELX Relocations", B.2 of the System V ABI, AMD64 supplement): as the address of what is there.
pub(crate) fn read(code: &[u8], address: VirtualAddress, slots: &Range<u64>, sink: &mut impl Sink) {
    let mut decoder = Decoder::with_ip(64, code, address.0, DecoderOptions::NONE);
    let mut decoded = iced_x86::Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut decoded);
        sink.instruction(&translate(&decoded, slots));
    }
}

fn translate(from: &iced_x86::Instruction, slots: &Range<u64>) -> Instruction {
    let is_slot = from.is_ip_rel_memory_operand() && slots.contains(&from.ip_rel_memory_address());
    let mnemonic = match from.code() {
        Code::Mov_r64_rm64 if is_slot => Mnemonic::Lea,
        _ => from.mnemonic(),
    };
    let mut to = Instruction { address: from.ip(), mnemonic: mnemonic as u16, ..Instruction::default() };
    to.is_padding = matches!(from.mnemonic(), Mnemonic::Nop | Mnemonic::Int3)
        || from.code() == Code::Xchg_rm16_r16
            && from.op0_register() == Register::AX
            && from.op1_register() == Register::AX;
    let flow = from.flow_control();
    to.ends = matches!(
        flow,
        FlowControl::UnconditionalBranch | FlowControl::IndirectBranch | FlowControl::Return | FlowControl::Exception
    );
    let mut shape = u64::from(to.mnemonic);
    let mut exact = u64::from(to.mnemonic);
    for index in 0..from.op_count() {
        let kind = from.op_kind(index);
        let is_through = is_slot && matches!(flow, FlowControl::IndirectCall | FlowControl::IndirectBranch);
        shape = mix(shape, kind_class(if is_through { OpKind::NearBranch64 } else { kind }));
        match kind {
            OpKind::Register => {
                let register = from.op_register(index) as u64;
                shape = mix(shape, register);
                exact = mix(exact, register);
            }
            OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
                let at = VirtualAddress(from.near_branch_target());
                to.target = Some(match flow {
                    FlowControl::Call => Target::Call(at),
                    FlowControl::UnconditionalBranch => Target::Jump(at),
                    _ => Target::Branch(at),
                });
            }
            OpKind::Memory => {
                if !is_through {
                    let size = if mnemonic == Mnemonic::Lea { MemorySize::Unknown } else { from.memory_size() };
                    shape = mix(shape, size as u64);
                    exact = mix(exact, size as u64);
                }
                if from.is_ip_rel_memory_operand() {
                    let at = VirtualAddress(from.ip_rel_memory_address());
                    to.target = Some(match flow {
                        FlowControl::IndirectCall | FlowControl::IndirectBranch => Target::Through(at),
                        _ => Target::Data(at),
                    });
                } else {
                    let (base, index) = (from.memory_base(), from.memory_index());
                    let parts = [base as u64, index as u64, u64::from(from.memory_index_scale())];
                    shape = parts.into_iter().fold(shape, mix);
                    exact = parts.into_iter().fold(exact, mix);
                    exact = mix(exact, from.memory_displacement64());
                    if !matches!(base, Register::RSP | Register::None) && index == Register::None {
                        to.field = i32::try_from(from.memory_displacement64() as i64).ok();
                    }
                }
                if !is_through {
                    exact = mix(exact, from.segment_prefix() as u64);
                }
            }
            _ if is_immediate(kind) => {
                let number = from.immediate(index);
                exact = mix(exact, number);
                to.number = telling(number).or_else(|| telling(number as u32 as u64));
            }
            _ => {}
        }
    }
    to.shape = shape;
    to.exact = exact;
    to
}

fn is_immediate(kind: OpKind) -> bool {
    matches!(
        kind,
        OpKind::Immediate8
            | OpKind::Immediate8_2nd
            | OpKind::Immediate16
            | OpKind::Immediate32
            | OpKind::Immediate64
            | OpKind::Immediate8to16
            | OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32to64
    )
}

/// Kinds of operands: the sizes that a number or a way was encoded in say nothing.
fn kind_class(kind: OpKind) -> u64 {
    match kind {
        OpKind::Register => 1,
        OpKind::Memory => 2,
        OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => 3,
        _ if is_immediate(kind) => 4,
        _ => 5,
    }
}
