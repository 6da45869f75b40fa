//! Packages and archives of every form: all entries are walked, all that is compressed is unpacked, and the kernel in it is
//! identified.
#![no_main]

use lcc_btf::input::{self, Options};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    input::package::walk(data);
    input::package::decompress(data);
    if let Ok(kernel) = input::of_bytes(data, "debian/12/x86_64/1.2.3.btf.tar.xz", &Options::default()) {
        let _ = kernel.identity.complete();
        let _ = kernel.image.has_dwarf();
    }
});
