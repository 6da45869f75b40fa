//! Shows where a struct's fields are: `layout FILE STRUCT…`.

use image::Image;
use std::time::Instant;
use symbols::{Sources, layouts_of};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (path, names) = arguments.split_first().ok_or("layout FILE STRUCT...")?;
    let file = std::fs::File::open(path)?;
    // SAFETY: nobody writes to the file while the example runs
    let data = unsafe { memmap2::Mmap::map(&file)? };
    let image = Image::parse(&data)?;
    let begin = Instant::now();
    let dwarf = Sources::of(&image).dwarf()?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let found = layouts_of(&dwarf, &names);
    eprintln!("{:?}", begin.elapsed());
    for layouts in found {
        for defined in layouts? {
            let layout = &defined.layout;
            println!("{} {}: {} bytes, {} units", layout.kind, layout.name, layout.size, defined.units);
            for field in &layout.fields {
                let (bytes, bits) = (field.offset_bits / 8, field.offset_bits % 8);
                let bit = if field.is_bit_field { format!(":{bits}") } else { String::new() };
                println!("  {bytes:>6}{bit} {:>6} {}  {}", field.size_bits, field.path, field.type_name);
            }
        }
    }
    Ok(())
}
