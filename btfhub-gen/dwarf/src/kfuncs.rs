//! The kfuncs that a kernel registers: named in the sets of its `.BTF_ids` section.
//!
//! `BTF_KFUNCS_START(set)` … `BTF_ID_FLAGS(func, name, flags)` (include/linux/btf_ids.h, Linux 6.9 and later) leaves a
//! `struct btf_id_set8` under the symbol `__BTF_ID__set8__SET`, its flags with `BTF_SET8_KFUNCS`, and in it for each
//! function a pair under `__BTF_ID__func__NAME__NUMBER`.

use object::read::elf::{ElfFile, FileHeader};
use object::{Object, ObjectSection, ObjectSymbol};
use rustc_hash::FxHashMap;

/// `BTF_SET8_KFUNCS`
const SET_OF_KFUNCS: u32 = 1;
/// `KF_FASTCALL` (include/linux/btf.h)
const FASTCALL: u32 = 1 << 12;

/// The tags of a kfunc's FUNC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kfunc {
    /// `bpf_fastcall`, beside `bpf_kfunc`.
    pub(crate) fastcall: bool,
}

/// The kfuncs by name; none where the kernel does not mark its sets.
pub(crate) fn kfuncs<'d, Elf: FileHeader<Endian = object::Endianness>>(
    elf: &ElfFile<'d, Elf>,
) -> FxHashMap<&'d [u8], Kfunc> {
    let mut kfuncs = FxHashMap::default();
    let Some(section) = elf.section_by_name(".BTF_ids") else { return kfuncs };
    let Ok(data) = section.data() else { return kfuncs };
    let word = |address: u64| {
        let at = usize::try_from(address.checked_sub(section.address())?).ok()?;
        let bytes = *data.get(at..)?.first_chunk::<4>()?;
        Some(if elf.is_little_endian() { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let (mut sets, mut functions) = (Vec::new(), Vec::new());
    for symbol in elf.symbols().filter(|symbol| symbol.section_index() == Some(section.index())) {
        let Ok(name) = symbol.name_bytes() else { continue };
        let address = symbol.address();
        if name.starts_with(b"__BTF_ID__set8__") {
            // count, flags
            if let Some(flags) = address.checked_add(4).and_then(word)
                && flags & SET_OF_KFUNCS != 0
            {
                sets.push((address, symbol.size()));
            }
        } else if let Some(function) = name.strip_prefix(b"__BTF_ID__func__")
            && let Some(name) = without_number(function)
        {
            functions.push((address, name));
        }
    }
    for (address, name) in functions {
        if sets.iter().any(|&(set, size)| (set..set.saturating_add(size)).contains(&address)) {
            let flags = address.checked_add(4).and_then(word).unwrap_or(0);
            kfuncs.insert(name, Kfunc { fastcall: flags & FASTCALL != 0 });
        }
    }
    kfuncs
}

/// The macro makes each symbol unique: `NAME__123`, or `NAME__123_456` with a line number.
fn without_number(name: &[u8]) -> Option<&[u8]> {
    let at = name.windows(2).rposition(|two| two == b"__")?;
    let number = &name[at + 2..];
    let is_number = !number.is_empty() && number.iter().all(|&byte| byte.is_ascii_digit() || byte == b'_');
    (is_number && at > 0).then_some(&name[..at])
}

#[cfg(test)]
mod tests {
    use super::without_number;

    #[test]
    fn the_unique_number_is_cut() {
        for (symbol, name) in [
            ("bpf_obj_new_impl__123", Some("bpf_obj_new_impl")),
            ("bpf_cast_to_kern_ctx__12__34", None),
            ("cubictcp_init__7_25", Some("cubictcp_init")),
            ("noname", None),
        ] {
            let expected = if symbol.ends_with("__34") { Some("bpf_cast_to_kern_ctx__12") } else { name };
            assert_eq!(without_number(symbol.as_bytes()), expected.map(str::as_bytes), "{symbol}");
        }
    }
}
