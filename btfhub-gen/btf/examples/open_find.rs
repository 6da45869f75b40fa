//! How long opening a BTF and finding one type takes, with this library and with btf-rs:
//! `open_find FILE NAME [REPETITIONS]` prints the least microseconds of each, as JSON.

use std::hint::black_box;
use std::time::{Duration, Instant};

fn least(repetitions: usize, mut run: impl FnMut()) -> Duration {
    let time = |run: &mut dyn FnMut()| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..repetitions).map(|_| time(&mut run)).min().unwrap_or_default()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, path, name, rest @ ..] = &args[..] else { return Err("usage: open_find FILE NAME [REPETITIONS]".into()) };
    let repetitions = rest.first().map_or(Ok(20), |count| count.parse())?;
    let bytes = std::fs::read(path)?;
    let data = match btf::elf::btf_section(&bytes) {
        Ok(Some(section)) => section.btf,
        _ => &bytes,
    };
    let ours = least(repetitions, || {
        let btf = btf::Btf::parse(data).expect("this library reads the file");
        let id = btf.find(name, btf::Kind::Struct).next().expect("this library finds the struct");
        black_box(btf.ty(id).expect("this library reads the struct"));
    });
    let oracle = least(repetitions, || {
        let btf = btf_rs::Btf::from_bytes(data).expect("btf-rs reads the file");
        let types = btf.resolve_types_by_name(name).expect("btf-rs finds the name");
        assert!(types.iter().any(|ty| matches!(ty, btf_rs::Type::Struct(_))), "btf-rs finds the struct");
        black_box(types);
    });
    println!("{{\"btf_us\": {}, \"btf_rs_us\": {}}}", ours.as_micros(), oracle.as_micros());
    Ok(())
}
