//! Lists the functions of files: `functions [--dwarf] FILE [NAME…]`.

use image::Image;
use std::time::Instant;
use symbols::{Sources, functions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let dwarf = arguments.first().is_some_and(|first| first == "--dwarf");
    if dwarf {
        arguments.remove(0);
    }
    let (path, names) = arguments.split_first().ok_or("functions [--dwarf] FILE [NAME...]")?;
    let file = std::fs::File::open(path)?;
    // SAFETY: nobody writes to the file while the example runs
    let data = unsafe { memmap2::Mmap::map(&file)? };
    let image = Image::parse(&data)?;
    let begin = Instant::now();
    let found = functions(&Sources { dwarf, ..Sources::of(&image) })?;
    eprintln!("{} functions in {:?}", found.functions.len(), begin.elapsed());
    for coverage in &found.coverage {
        eprintln!("  {coverage}");
    }
    for diagnostic in found.diagnostics.iter().take(5) {
        eprintln!("  {diagnostic}");
    }
    if let Some(info) = symbols::build_info(&image) {
        eprintln!("  {} {} ({} modules)", info.go, info.path, info.modules.len());
    }
    let all = found.functions.iter().collect();
    let shown: Vec<_> = if names.is_empty() { all } else { names.iter().flat_map(|name| found.find(name)).collect() };
    for function in shown {
        print!("{:x} {} {}", function.address.0, function.size, function.kind.name());
        for name in &function.names {
            let sources: Vec<&str> = name.sources.iter().map(symbols::Source::name).collect();
            print!(" {} [{}] ({})", name.versioned(), name.qualified, sources.join(","));
        }
        println!();
    }
    Ok(())
}
