//! Places in the source that code tells by itself: `__FILE__` and `__LINE__`, as assertions and logs are given them.
//!
//! They are no part of how functions are identified, so that they can be held against it.

use crate::model::{Kind, Model};
use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
};
use image::{Image, Machine, VirtualAddress};
use std::collections::BTreeSet;

/// A place in the source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceLine {
    /// As the compiler was given it: `src/core/lib/surface/call.cc`.
    pub file: String,
    /// From 1.
    pub line: u32,
}

/// The places that a function and its cold parts pass on to others: a file's name in one argument, a number in the next (System V's ABI
/// of x86-64; of other machines, none is read), as optimised code does it. What was inlined into it is among them.
#[must_use]
pub fn lines(image: &Image<'_>, model: &Model, function: u32) -> BTreeSet<SourceLine> {
    let mut found = BTreeSet::new();
    if image.machine() != Machine::X86_64 {
        return found;
    }
    let mut parts = BTreeSet::from([function]);
    let mut open = vec![function];
    while let Some(part) = open.pop() {
        let one = &model.functions[part as usize];
        let code = image.bytes_at(one.address, one.size).unwrap_or_default();
        for to in read(image, code, one.address, &mut found) {
            let cold = model.holding(to).filter(|cold| model.functions[*cold as usize].kind == Kind::Cold);
            if let Some(cold) = cold.filter(|cold| parts.insert(*cold)) {
                open.push(cold);
            }
        }
    }
    found
}

/// The registers of arguments, in order.
const ARGUMENTS: [Register; 6] =
    [Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8, Register::R9];

/// What a register of an argument holds.
#[derive(Clone, Debug, Default)]
enum Value {
    #[default]
    Other,
    File(String),
    Number(u32),
}

/// Reads code straight on, and gives where it jumps to.
fn read(
    image: &Image<'_>,
    code: &[u8],
    address: VirtualAddress,
    found: &mut BTreeSet<SourceLine>,
) -> Vec<VirtualAddress> {
    let mut decoder = Decoder::with_ip(64, code, address.0, DecoderOptions::NONE);
    let mut factory = InstructionInfoFactory::new();
    let mut instruction = Instruction::default();
    let mut values: [Value; 6] = Default::default();
    let mut jumps = Vec::new();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        match instruction.flow_control() {
            FlowControl::Call | FlowControl::IndirectCall => {
                passed(&values, found);
                values = Default::default();
                continue;
            }
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => {
                let is_near = matches!(instruction.op0_kind(), OpKind::NearBranch64);
                jumps.extend(is_near.then(|| VirtualAddress(instruction.near_branch_target())));
                // another function's call may be jumped to at the end
                if instruction.flow_control() == FlowControl::UnconditionalBranch {
                    passed(&values, found);
                    values = Default::default();
                }
                continue;
            }
            FlowControl::Return | FlowControl::IndirectBranch | FlowControl::Exception => {
                values = Default::default();
                continue;
            }
            _ => {}
        }
        for used in factory.info(&instruction).used_registers() {
            let is_written = matches!(
                used.access(),
                OpAccess::Write | OpAccess::ReadWrite | OpAccess::CondWrite | OpAccess::ReadCondWrite
            );
            if let Some(at) = is_written.then(|| argument(used.register())).flatten() {
                values[at] = value(image, &instruction);
            }
        }
    }
    jumps
}

fn argument(register: Register) -> Option<usize> {
    ARGUMENTS.iter().position(|one| *one == register.full_register())
}

fn value(image: &Image<'_>, instruction: &Instruction) -> Value {
    match instruction.mnemonic() {
        Mnemonic::Lea if instruction.is_ip_rel_memory_operand() => {
            file(image, VirtualAddress(instruction.ip_rel_memory_address())).map_or(Value::Other, Value::File)
        }
        // 16 bits are enough where the others are known to be 0
        Mnemonic::Mov => match instruction.op1_kind() {
            OpKind::Immediate16 => Value::Number(instruction.immediate16().into()),
            OpKind::Immediate32 | OpKind::Immediate32to64 => Value::Number(instruction.immediate32()),
            _ => Value::Other,
        },
        _ => Value::Other,
    }
}

/// The name of a file of source that lies at an address.
fn file(image: &Image<'_>, address: VirtualAddress) -> Option<String> {
    const LONGEST: usize = 256;
    const ENDS: [&str; 6] = [".cc", ".c", ".h", ".cpp", ".hpp", ".inc"];
    let bytes = image.bytes_from(address);
    let length = bytes.iter().take(LONGEST).position(|byte| *byte == 0)?;
    let text = std::str::from_utf8(&bytes[..length]).ok()?;
    let is_name = text.bytes().all(|byte| byte.is_ascii_graphic()) && ENDS.iter().any(|end| text.ends_with(end));
    is_name.then(|| text.to_owned())
}

fn passed(values: &[Value; 6], found: &mut BTreeSet<SourceLine>) {
    for pair in values.windows(2) {
        if let [Value::File(file), Value::Number(line)] = pair
            && (1..1 << 20).contains(line)
        {
            found.insert(SourceLine { file: file.clone(), line: *line });
        }
    }
}
