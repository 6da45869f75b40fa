//! Damaged BTF ends in an error or an answer, never in a panic or an endless walk.

use std::sync::Arc;

use btf::{Btf, Kind, Type, diff, dump, layout, size_of, strip_modifiers_typedefs};

use crate::corpus;

/// A small deterministic generator (xorshift64), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

/// The first types of a real kernel with their strings, so that thousands of rounds stay cheap.
fn sample() -> Option<Vec<u8>> {
    let kernel = corpus::running()?;
    let btf = Btf::parse(&kernel.btf).unwrap();
    let mut out = btf::write::Builder::new(btf.endian());
    for id in btf.ids().take(1500).chain(btf.find(".data..percpu", Kind::Datasec)) {
        out.copy(&btf.ty(id).unwrap(), |id| id).unwrap();
    }
    Some(out.finish().unwrap())
}

fn walk(btf: &Btf<'_>) {
    for id in btf.ids() {
        let _ = size_of(btf, id);
        let _ = strip_modifiers_typedefs(btf, id);
        match btf.ty(id) {
            Ok(Type::Struct(c) | Type::Union(c)) => drop(c.members().filter(|m| m.is_ok()).count()),
            Ok(Type::Enum(e) | Type::Enum64(e)) => drop(e.values().filter(|v| v.is_ok()).count()),
            Ok(Type::FuncProto(p)) => drop(p.params().rev().filter(|p| p.is_ok()).count()),
            Ok(Type::Datasec(d)) => drop(d.vars().filter(|v| v.is_ok()).count()),
            _ => {}
        }
    }
    btf.find("task_struct", Kind::Struct).for_each(drop);
    btf.candidates("task_struct").for_each(drop);
    btf.pointer_size();
    let mut text = String::new();
    for id in btf.ids() {
        let _ = dump::raw::write_type(btf, id, &mut text);
        let _ = dump::json::write_type(btf, id, &mut text);
    }
    let _ = dump::c::header(btf);
    for id in btf.ids() {
        if let Ok(layout) = layout::of(btf, id) {
            layout::gdb::listing(&layout);
            layout::pahole::listing(&layout, 64);
        }
    }
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(6) {
        let at = match random.below(4) {
            0 => random.below(24),
            _ => random.below(bytes.len()),
        };
        match random.below(3) {
            0 => bytes[at] = random.below(256) as u8,
            1 => bytes[at] ^= 1 << random.below(8),
            _ => {
                let word = [0u32, 1, 0xffff, 0x00ff_ffff, 0x7fff_ffff, u32::MAX, bytes.len() as u32][random.below(7)];
                let at = at & !3;
                if let Some(target) = bytes.get_mut(at..at + 4) {
                    target.copy_from_slice(&word.to_le_bytes());
                }
            }
        }
    }
    if random.below(4) == 0 {
        bytes.truncate(random.below(bytes.len()));
    }
}

#[test]
fn mutated_btf_never_panics() {
    let Some(sample) = sample() else { return };
    let base = Arc::new(Btf::parse(&sample).unwrap());
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut opened = 0;
    for _ in 0..1000 {
        let mut bytes = sample.clone();
        mutate(&mut random, &mut bytes);
        if let Ok(btf) = Btf::parse(&bytes) {
            opened += 1;
            walk(&btf);
            let _ = diff::diff(&base, &btf);
        }
        if let Ok(btf) = Btf::parse_split(&bytes, base.clone()) {
            walk(&btf);
        }
    }
    assert!(opened > 50, "only {opened} mutations got beyond the header: the test looks at nothing");
}

#[test]
fn every_truncation_is_an_error_with_an_offset() {
    let Some(sample) = sample() else { return };
    let mut random = Random(7);
    for _ in 0..2000 {
        let len = random.below(sample.len());
        let error = Btf::parse(&sample[..len]).expect_err("a truncated file");
        assert!(matches!(error, btf::Error::Format { .. } | btf::Error::Magic { .. }), "{error}");
    }
}
