//! BTF from anywhere, raw or in ELF: every type is read, sized, found by its name and written again; reading and
//! writing what was written changes nothing more.
#![no_main]

use btf::Btf;
use btf::write::Builder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match btf::elf::btf_section(data) {
        Ok(Some(section)) => check(section.btf),
        _ => check(data),
    }
});

fn check(data: &[u8]) {
    let Ok(btf) = Btf::parse(data) else { return };
    for id in btf.ids() {
        let _ = btf::size_of(&btf, id);
        let _ = btf::strip_modifiers_typedefs(&btf, id);
        if let (Ok(name @ [_, ..]), Ok(Some(kind))) = (btf.name_of(id).map(str::as_bytes), btf.kind_of(id)) {
            let name = std::str::from_utf8(name).expect("it was a str");
            assert!(btf.find(name, kind).any(|found| found == id), "{id:?} {name:?} {kind:?}");
        }
    }
    // The first time, a type that is refused half way may leave a string behind.
    let Some(once) = rewrite(&btf) else { return };
    let twice = rewrite(&Btf::parse(&once).expect("what was written is BTF")).expect("it fitted before");
    let thrice = rewrite(&Btf::parse(&twice).expect("what was written is BTF")).expect("it fitted before");
    assert!(twice == thrice, "writing again gave other bytes");
}

/// Copies every type that can be copied.
fn rewrite(btf: &Btf<'_>) -> Option<Vec<u8>> {
    let mut out = Builder::new(btf.endian());
    for id in btf.ids() {
        if let Ok(ty) = btf.ty(id) {
            let _ = out.copy(&ty, |id| id);
        }
    }
    out.finish().ok()
}
