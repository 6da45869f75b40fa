//! Packs: what opens has an index that holds together, and every entry is found by its own name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pack::Pack;

fuzz_target!(|data: &[u8]| {
    let Ok(pack) = Pack::open(data) else { return };
    for entry in pack.entries() {
        let id = entry.id();
        let _ = id.to_string();
        let _ = entry.to_owned();
    }
    let intact = pack.verify().is_ok();
    let mut seen = 0;
    let visited = pack.for_each(|_, _| -> pack::Result<()> {
        seen += 1;
        Ok(())
    });
    assert!(!intact || (visited.is_ok() && seen == pack.blob_count()), "a pack that is intact has all its contents");
});
