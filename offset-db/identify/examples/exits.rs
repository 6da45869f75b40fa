//! Shows where control leaves a range of code: `exits FILE ADDRESS SIZE [ADDRESS SIZE…]`, in hexadecimal; `-` reads them from
//! lines of the input.

use identify::exits;
use image::{Image, VirtualAddress};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (path, ranges) = arguments.split_first().ok_or("exits FILE ADDRESS SIZE...")?;
    let mut ranges = ranges.to_vec();
    if ranges == ["-"] {
        ranges = std::io::read_to_string(std::io::stdin())?.split_whitespace().map(str::to_owned).collect();
    }
    let data = std::fs::read(path)?;
    let image = Image::parse(&data)?;
    for range in ranges.chunks_exact(2) {
        let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16);
        let (address, size) = (VirtualAddress(number(&range[0])?), number(&range[1])?);
        let Some(code) = image.bytes_at(address, size) else { continue };
        let found = exits(image.machine(), code, address).ok_or("another instruction set")?;
        for exit in &found.exits {
            println!(
                "{:x} {:?}{}",
                address.0 + u64::from(exit.offset),
                exit.leaves,
                if found.is_whole { "" } else { " ?" }
            );
        }
    }
    Ok(())
}
