//! Opening a vmlinux BTF and finding one type, beside btf-rs: `cargo run --release -p btf --example open_bench [FILE]`.
//!
//! Each figure is the fastest of twenty rounds; the file is in memory before.

use std::hint::black_box;
use std::time::{Duration, Instant};

use btf::surface::{Facts, Sources, Surface, SurfaceBuilder};
use btf::write::Builder;
use btf::{Btf, Kind, Type};

const ROUNDS: u32 = 20;

fn fastest<T>(mut round: impl FnMut() -> T) -> Duration {
    let time = |_| {
        let start = Instant::now();
        black_box(round());
        start.elapsed()
    };
    (0..ROUNDS).map(time).min().unwrap_or_default()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "/sys/kernel/btf/vmlinux".to_owned());
    let data = std::fs::read(&path)?;
    let btf = Btf::parse(&data)?;
    println!("{path}: {} bytes, {} types", data.len(), btf.len());
    let find = |btf: &Btf<'_>, name| btf.find(name, Kind::Struct).next();

    let row = |what: &str, time: Duration| println!("{what:<48} {:>9.3} ms", time.as_secs_f64() * 1e3);
    row("open", fastest(|| Btf::parse(&data).map(|b| b.len())));
    row("open + find struct task_struct", fastest(|| Btf::parse(&data).map(|b| find(&b, "task_struct"))));
    row("open + look for a name that is not there", fastest(|| Btf::parse(&data).map(|b| find(&b, "no_such_struct"))));
    row("open + index of all names", fastest(|| Btf::parse(&data).map(|b| b.candidates("task_struct").count())));
    row("find by index", fastest(|| btf.candidates("task_struct").count()));
    row("decode every type with its elements", fastest(|| decode(&btf)));
    row("write every record, strings at hand", fastest(|| records(&btf)));
    row("write every type again, strings interned", fastest(|| rewrite(&btf)));
    row("raw listing", fastest(|| btf::dump::raw::listing(&btf).map(|text| text.len())));
    row("JSON", fastest(|| btf::dump::json::document(&btf).map(|text| text.len())));
    row("C header", fastest(|| btf::dump::c::header(&btf).map(|header| header.text.len())));
    let copy = [&data[..], &[0]].concat();
    let copy = Btf::parse(&copy)?;
    row("differences from an equal one", fastest(|| btf::diff::diff(&btf, &copy).map(|d| d.entries.len())));
    surface(&btf, row)?;
    row("btf-rs: open", fastest(|| btf_rs::Btf::from_bytes(&data).map(|_| ())));
    row(
        "btf-rs: open + find task_struct",
        fastest(|| {
            btf_rs::Btf::from_bytes(&data).and_then(|b| b.resolve_types_by_name("task_struct")).map(|t| t.len())
        }),
    );
    let mmap = || btf_rs::Backend::Mmap;
    row("btf-rs: open (mmap backend)", fastest(|| btf_rs::Btf::from_file_with_backend(&path, mmap()).map(|_| ())));
    row(
        "btf-rs: open + find task_struct (mmap backend)",
        fastest(|| {
            let btf = btf_rs::Btf::from_file_with_backend(&path, mmap());
            btf.and_then(|b| b.resolve_types_by_name("task_struct")).map(|t| t.len())
        }),
    );
    Ok(())
}

fn decode(btf: &Btf<'_>) -> usize {
    let elements = |id| match btf.ty(id) {
        Ok(Type::Struct(c) | Type::Union(c)) => c.members().filter(|m| m.is_ok()).count(),
        Ok(Type::Enum(e) | Type::Enum64(e)) => e.values().filter(|v| v.is_ok()).count(),
        Ok(Type::FuncProto(p)) => p.params().filter(|p| p.is_ok()).count(),
        Ok(_) => 1,
        Err(_) => 0,
    };
    btf.ids().map(elements).sum()
}

fn surface(btf: &Btf<'_>, row: impl Fn(&str, Duration)) -> btf::Result<()> {
    let mut builder = SurfaceBuilder::new(Sources::default());
    for id in btf.ids().filter(|id| btf.kind_of(*id) == Ok(Some(Kind::Func))) {
        builder.add(btf.name_of(id)?, Facts { symbols: 1 + id.0 % 2, ..Facts::default() });
    }
    let bytes = builder.clone().finish()?;
    let functions = Surface::parse(&bytes)?.len();
    row("attach surface: write", fastest(|| builder.clone().finish().map(|b| b.len())));
    row("attach surface: open", fastest(|| Surface::parse(&bytes).map(|s| s.len())));
    let surface = Surface::parse(&bytes)?;
    row("attach surface: find one of its functions", fastest(|| surface.lookup("tcp_v4_connect").map(|_| ())));
    println!("attach surface: {} bytes for {functions} functions", bytes.len());
    Ok(())
}

fn records(btf: &Btf<'_>) -> btf::Result<usize> {
    let mut out = Builder::new(btf.endian());
    let mut words = Vec::new();
    for id in btf.ids() {
        let record = btf.record(id)?;
        words.clear();
        words.extend((0..record.payload.len() / 4).map(|at| record.word(at)));
        out.raw(record.name, record.info, record.size_or_type, &words);
    }
    Ok(out.finish()?.len())
}

fn rewrite(btf: &Btf<'_>) -> btf::Result<usize> {
    let mut out = Builder::new(btf.endian());
    for id in btf.ids() {
        out.copy(&btf.ty(id)?, |id| id)?;
    }
    Ok(out.finish()?.len())
}
