//! Where functions begin and end: `.eh_frame`, which every file has that exceptions or unwinders pass through.

use gimli::{BaseAddresses, CallFrameInstruction, EhFrame, EndianSlice, RunTimeEndian, UnwindSection};
use image::{Image, VirtualAddress};

/// A range of code with unwind information of its own: a function, or the cold part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Frame {
    pub(crate) address: VirtualAddress,
    pub(crate) size: u64,
    /// It begins with a frame that something else has set up: it is no function's begin, but a part that is jumped to.
    pub(crate) begins_within: bool,
}

/// All of a file's, in order of address, each address once.
pub(crate) fn read(image: &Image<'_>) -> Vec<Frame> {
    let Some(section) = image.section(".eh_frame") else { return Vec::new() };
    let endian = if image.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
    let mut table = EhFrame::from(EndianSlice::new(section.data, endian));
    table.set_address_size(if image.is_64() { 8 } else { 4 });
    let text = image.section(".text").map_or(0, |text| text.address.0);
    let bases = BaseAddresses::default().set_eh_frame(section.address.0).set_text(text);
    let mut frames = Vec::new();
    let mut entries = table.entries(&bases);
    let mut initial = rustc_hash::FxHashMap::default();
    while let Ok(Some(entry)) = entries.next() {
        let gimli::CieOrFde::Fde(partial) = entry else { continue };
        let Ok(fde) = partial.parse(EhFrame::cie_from_offset) else { continue };
        let (address, size) = (VirtualAddress(fde.initial_address()), fde.len());
        if size == 0 || !image.is_code(address) {
            continue;
        }
        let cie = fde.cie();
        let usual = *initial.entry(cie.offset()).or_insert_with(|| is_usual(cie.instructions(&table, &bases)));
        let begins_within = !usual || !is_usual(fde.instructions(&table, &bases));
        frames.push(Frame { address, size, begins_within });
    }
    frames.sort_unstable();
    frames.dedup_by_key(|frame| frame.address);
    // no code is part of two: whoever says so would have it read over and over
    for at in 1..frames.len() {
        let between = frames[at].address.0 - frames[at - 1].address.0;
        frames[at - 1].size = frames[at - 1].size.min(between);
    }
    // nor is the same part of the file loaded as code in many places
    let mut left = image.data().len() as u64;
    for frame in &mut frames {
        frame.size = frame.size.min(left);
        left -= frame.size;
    }
    frames
}

/// Whether the rules before the first step forward are those of a function that was just called.
fn is_usual<'d>(mut instructions: gimli::CallFrameInstructionIter<'_, EndianSlice<'d, RunTimeEndian>>) -> bool {
    // the return address alone on x86-64's stack; nothing on AArch64's
    const AT_CALL: [u64; 2] = [8, 0];
    while let Ok(Some(instruction)) = instructions.next() {
        match instruction {
            CallFrameInstruction::AdvanceLoc { .. } | CallFrameInstruction::SetLoc { .. } => return true,
            // rsp, sp
            CallFrameInstruction::DefCfa { register, offset }
                if !AT_CALL.contains(&offset) || !matches!(register.0, 7 | 31) =>
            {
                return false;
            }
            CallFrameInstruction::DefCfaOffset { offset } if !AT_CALL.contains(&offset) => return false,
            CallFrameInstruction::DefCfaRegister { .. } | CallFrameInstruction::DefCfaExpression { .. } => {
                return false;
            }
            _ => {}
        }
    }
    true
}
