//! Encodes one file: `dwarf2btf FILE OUT [JOBS [DROPPED [BASE]]]`; functions named in
//! `SURFACE=a,b` are looked up in the attach surface. The pipeline is `lcc-btf gen`; this is the encoder alone, to measure.

use std::io::Read;
use std::time::Instant;

use dwarf::{Compat, Compression, Input, Options};

fn decompress(format: Compression, data: &[u8], size: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(size);
    let result = match format {
        Compression::Zlib => flate2::read::ZlibDecoder::new(data).take(size as u64 + 1).read_to_end(&mut out),
        _ => zstd::Decoder::new(data).and_then(|decoder| decoder.take(size as u64 + 1).read_to_end(&mut out)),
    };
    result.map(|_| out).map_err(|error| error.to_string())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let jobs = args.get(3).map_or(Ok(2), |jobs| jobs.parse())?;
    let file = std::fs::File::open(&args[1])?;
    // SAFETY: the file is not written to while this runs.
    let map = unsafe { memmap2::Mmap::map(&file)? };
    let release = |part: &[u8]| {
        let start = part.as_ptr() as usize - map.as_ptr() as usize;
        // SAFETY: the mapping is a private one of a file that is not written to: dropped pages are read again.
        let _ = unsafe {
            map.unchecked_advise_range(
                memmap2::UncheckedAdvice::DontNeed,
                start.next_multiple_of(4096),
                part.len().saturating_sub(8192),
            )
        };
    };
    let base = args.get(5).map(std::fs::read).transpose()?;
    let base = base.as_deref().map(btf::Btf::parse).transpose()?;
    let base = base.as_ref().map(dwarf::Base::new).transpose()?;
    let options = Options {
        jobs,
        compat: Compat::LATEST,
        base: base.as_ref(),
        rust: false,
        decompress: &decompress,
        release: Some(&release),
    };
    let start = Instant::now();
    let output = dwarf::encode(&Input { elf: &map, supplementary: None }, &options)?;
    eprintln!(
        "{:?} {:?} {} bytes, {} diagnostics",
        start.elapsed(),
        output.statistics,
        output.btf.len(),
        output.diagnostics.len()
    );
    for diagnostic in output.diagnostics.iter().take(10) {
        eprintln!("{diagnostic}");
    }
    if let Ok(names) = std::env::var("SURFACE") {
        let surface = btf::surface::Surface::parse(&output.surface)?;
        for name in names.split(',') {
            let btf::surface::format::Lookup::Found(facts) = surface.lookup(name)? else {
                println!("{name}: not a function of this kernel");
                continue;
            };
            let sources = surface.sources();
            println!("{name}: kprobe {:?}, fentry {:?}; {facts:?}", facts.kprobe(sources), facts.fentry(sources));
        }
    }
    if let Some(path) = args.get(4) {
        let dropped: String = output.dropped.iter().map(|(name, reason)| format!("{name} {reason:?}\n")).collect();
        std::fs::write(path, dropped)?;
    }
    std::fs::write(&args[2], &output.btf)?;
    Ok(())
}
