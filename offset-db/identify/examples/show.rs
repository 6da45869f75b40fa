//! `show FILE ADDRESS…`: what a function refers to, and its neighbours.
use identify::{Model, Refers};
use image::{Image, VirtualAddress};
fn main() {
    let mut args = std::env::args().skip(1);
    let bytes = std::fs::read(args.next().unwrap()).unwrap();
    let image = Image::parse(&bytes).unwrap();
    let model = Model::of(&image);
    let names: std::collections::BTreeMap<u64, String> =
        image.functions().map(|s| (s.address.0, String::from_utf8_lossy(s.name).into_owned())).collect();
    let name = |f: u32| {
        let a = model.functions[f as usize].address.0;
        format!("{f} {a:#x} {}", names.get(&a).cloned().unwrap_or_default())
    };
    for address in args {
        let f = match address.strip_prefix("0x") {
            Some(hex) => model.around(VirtualAddress(u64::from_str_radix(hex, 16).unwrap())).unwrap(),
            None => match address.parse() {
                Ok(f) => f,
                Err(_) => {
                    model.at(VirtualAddress(*names.iter().find(|(_, n)| n.contains(&address)).unwrap().0)).unwrap()
                }
            },
        };
        println!("=== {}", name(f));
        for near in f.saturating_sub(4)..f + 5 {
            let x = &model.functions[near as usize];
            println!(
                "  near {} {:?} insns {} callers {}",
                name(near),
                x.kind,
                x.instructions,
                model.callers(near).len()
            );
        }
        for c in model.callers(f) {
            println!("  caller {} insns {}", name(*c), model.functions[*c as usize].instructions);
        }
        for r in model.references(f) {
            match r {
                Refers::Call(x) | Refers::Address(x) => println!("  {r:?} {}", name(*x)),
                _ => println!("  {r:?}"),
            }
        }
    }
}
