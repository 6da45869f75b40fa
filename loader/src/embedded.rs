//! A kernel's types inside of its facts, so that one file tells all that a plan for another machine needs.

use std::io::{Read, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plan::KernelFacts;

use crate::types;

/// Bytes of raw BTF at most; a kernel's with all its drivers has thirty million.
const LARGEST: u64 = 256 << 20;

/// Puts the kernel's own types into its facts.
///
/// # Errors
/// They cannot be read: why, with the path.
pub fn embed(facts: &mut KernelFacts, root: &Path) -> Result<(), String> {
    let types = types::own(root)?;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    let compressed = encoder.write_all(types.data()).and_then(|()| encoder.finish());
    facts.btf = Some(STANDARD.encode(compressed.map_err(|error| error.to_string())?));
    Ok(())
}

/// The raw BTF in a kernel's facts; `None` where they have none.
///
/// # Errors
/// It is damaged: how.
pub fn extract(facts: &KernelFacts) -> Result<Option<Vec<u8>>, String> {
    let Some(text) = &facts.btf else { return Ok(None) };
    let compressed = STANDARD.decode(text).map_err(|error| format!("the facts' btf: base64: {error}"))?;
    let mut bytes = Vec::new();
    let mut decoder = flate2::read::ZlibDecoder::new(&*compressed).take(LARGEST + 1);
    decoder.read_to_end(&mut bytes).map_err(|error| format!("the facts' btf: zlib: {error}"))?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("the facts' btf has more than {LARGEST} bytes"));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_embedded_comes_out() {
        let root = tempfile::tempdir().unwrap();
        let mut facts = KernelFacts::unknown();
        assert_eq!(extract(&facts), Ok(None));
        let absent = embed(&mut facts, root.path()).unwrap_err();
        assert!(absent.ends_with("vmlinux: No such file or directory (os error 2)"), "{absent}");
        // a header, and no types
        let mut btf = vec![0x9f, 0xeb, 1, 0];
        for word in [24u32, 0, 0, 0, 1] {
            btf.extend(word.to_le_bytes());
        }
        btf.push(0);
        let folder = root.path().join("sys/kernel/btf");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("vmlinux"), &btf).unwrap();
        embed(&mut facts, root.path()).unwrap();
        assert_eq!(extract(&facts), Ok(Some(btf)));
        facts.btf = Some("eJw=".to_owned());
        assert!(extract(&facts).unwrap_err().starts_with("the facts' btf: zlib: "));
        facts.btf = Some("?".to_owned());
        assert!(extract(&facts).unwrap_err().starts_with("the facts' btf: base64: "));
    }
}
