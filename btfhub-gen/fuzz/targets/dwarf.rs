//! DWARF in ELF: encoded with one thread and with two, which must agree; what comes out must be readable BTF.
#![no_main]

use btf::surface::Surface;
use dwarf::{Compat, Compression, Input, Options};
use libfuzzer_sys::fuzz_target;
use std::io::Read;

/// No seed's debug section is larger; without a limit, a few bytes of zeros compressed are all the memory there is.
const LARGEST_SECTION: u64 = 1 << 20;

fn decompress(format: Compression, data: &[u8], size: usize) -> Result<Vec<u8>, String> {
    if size as u64 > LARGEST_SECTION {
        return Err(format!("{size} bytes are too many for a fuzz target"));
    }
    let mut out = Vec::new();
    let result = match format {
        Compression::Zlib => flate2::read::ZlibDecoder::new(data).take(size as u64 + 1).read_to_end(&mut out),
        _ => zstd::Decoder::new(data).and_then(|decoder| decoder.take(size as u64 + 1).read_to_end(&mut out)),
    };
    result.map(|_| out).map_err(|error| error.to_string())
}

fuzz_target!(|data: &[u8]| {
    let encode = |jobs| {
        let options = Options { jobs, compat: Compat::LATEST, rust: true, decompress: &decompress, release: None, base: None };
        dwarf::encode(&Input { elf: data, supplementary: None }, &options)
    };
    let one = encode(1);
    let two = encode(2);
    match (one, two) {
        (Ok(one), Ok(two)) => {
            assert!(one.btf == two.btf, "the result depends on the number of threads");
            assert!(one.surface == two.surface, "the surface depends on the number of threads");
            Surface::parse(&one.surface).expect("what was encoded is a surface");
            let btf = btf::Btf::parse(&one.btf).expect("what was encoded is BTF");
            for id in btf.ids() {
                btf.ty(id).expect("what was encoded has readable types");
            }
        }
        (Err(_), Err(_)) => {}
        (one, two) => panic!("one thread: {:?}, two: {:?}", one.map(|_| ()), two.map(|_| ())),
    }
});
