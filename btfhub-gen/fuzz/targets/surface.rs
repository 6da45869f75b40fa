//! The attach surface's compact form: what opens can be asked for every function it names.
#![no_main]

use btf::surface::Surface;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(surface) = Surface::parse(data) else { return };
    for function in surface.functions() {
        let Ok((name, facts)) = function else { continue };
        let _ = facts.kprobe(surface.sources());
        let _ = facts.fentry(surface.sources());
        let _ = surface.lookup(&name);
    }
});
