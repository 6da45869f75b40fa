//! Cuts kernels' BTF down for some objects and says how long that took: `minimize [-o DIR] OBJECT… -- BTF…`.
#![allow(clippy::print_stdout, reason = "an example")]

use std::time::Instant;

use btf::core_relo::Target;
use btf::object_file::ObjectFile;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let out = (arguments.first().is_some_and(|first| first == "-o")).then(|| arguments.drain(..2).nth(1)).flatten();
    let split = arguments.iter().position(|argument| argument == "--").ok_or("usage: minimize OBJECT… -- BTF…")?;
    let (objects, kernels) = (&arguments[..split], &arguments[split + 1..]);
    let data = objects.iter().map(std::fs::read).collect::<Result<Vec<_>, _>>()?;
    let start = Instant::now();
    let objects = objects.iter().zip(&data).map(|(name, data)| ObjectFile::parse(name, data));
    let objects = objects.collect::<Result<Vec<_>, _>>()?;
    println!("{:?} for the objects", start.elapsed());
    let mut total = std::time::Duration::ZERO;
    for kernel in kernels {
        let mut types = std::fs::read(kernel)?;
        if btf::elf::is_elf(&types) {
            types = btf::elf::btf_section(&types)?.ok_or("no .BTF")?.btf.to_vec();
        }
        let best = (0..5).map(|_| -> btf::Result<_> {
            let start = Instant::now();
            let btf = btf::Btf::parse(&types)?;
            let parsed = start.elapsed();
            let minimal = btf::minimize::minimize(&Target::kernel(&btf), &objects)?;
            Ok((start.elapsed(), parsed, minimal.btf))
        });
        let best = best.collect::<Result<Vec<_>, _>>()?.into_iter().min_by_key(|run| run.0).ok_or("no run")?;
        let name = kernel.rsplit('/').next().unwrap_or(kernel);
        println!("{:?} ({:?} to open)  {} bytes  {name}", best.0, best.1, best.2.len());
        total += best.0;
        if let Some(out) = &out {
            std::fs::write(format!("{out}/{name}"), best.2)?;
        }
    }
    println!("{total:?} in all");
    Ok(())
}
