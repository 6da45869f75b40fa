//! The plan of an object on a kernel: `plan OBJECT BTF [RELEASE ARCH [SURFACE]]`. The commands are `lcc-btf check` and
//! `lcc-load plan`; this is the function alone, to measure.

use std::time::Instant;

use btf::Btf;
use btf::core_relo::Target;
use btf::object_file::ObjectFile;
use btf::surface::Surface;
use plan::{Kernel, KernelFacts};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let (object, types) = (std::fs::read(&args[1])?, std::fs::read(&args[2])?);
    let object = ObjectFile::parse(&args[1], &object)?;
    let surface = args.get(5).map(std::fs::read).transpose()?;
    let surface = surface.as_deref().map(Surface::parse).transpose()?;
    let mut facts = KernelFacts::unknown();
    facts.release = args.get(3).cloned();
    facts.arch = args.get(4).cloned();
    let start = Instant::now();
    let btf = Btf::parse(&types)?;
    let kernel = Kernel::new(&facts, Some(Target::kernel(&btf)), surface.as_ref());
    let found = plan::plan(&object, &kernel, &plan::Hints::default());
    let elapsed = start.elapsed();
    print!("{}", plan::text::lines(&found, std::env::var_os("ALL").is_some()));
    eprintln!("{elapsed:?}");
    Ok(())
}
