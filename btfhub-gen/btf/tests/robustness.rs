//! Damaged input is an error or an answer, never a panic, and ends in reasonable time.

mod support;

use btf::Btf;
use btf::core_relo::{Target, report};
use btf::coverage::{Coverage, Fit};
use btf::minimize::minimize;
use btf::object_file::ObjectFile;

/// A generator of numbers that look random, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % end.max(1)
    }
}

/// Changes some bytes, mostly to what is special in the format, or cuts the end off.
fn damage(data: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut data = data.to_vec();
    for _ in 0..1 + numbers.below(8) {
        let at = numbers.below(data.len());
        data[at] = match numbers.below(4) {
            0 => 0,
            1 => 0xff,
            2 => data[at].wrapping_add(1),
            _ => numbers.below(256) as u8,
        };
    }
    if numbers.below(8) == 0 {
        data.truncate(numbers.below(data.len()));
    }
    data
}

/// All that is done with an object and a kernel.
fn run(object: &[u8], kernel: &[u8]) {
    let Ok(object) = ObjectFile::parse("damaged", object) else { return };
    let Ok(btf) = Btf::parse(kernel) else { return };
    let target = Target::kernel(&btf);
    let objects = [object];
    if let Ok(minimal) = minimize(&target, &objects) {
        report(&objects[0], &target, &minimal.resolutions[0]);
        let small = Btf::parse(&minimal.btf).unwrap();
        let covered = Coverage::read(&small).unwrap();
        assert_eq!(covered.check(&objects[0]), Fit::Object);
    }
}

/// Where the interesting sections of the object lie: code, types, relocations.
fn sections(object: &[u8]) -> Vec<std::ops::Range<usize>> {
    let found = btf::elf::btf_section(object).unwrap().unwrap();
    let range = |part: &[u8]| {
        let start = part.as_ptr() as usize - object.as_ptr() as usize;
        start..start + part.len()
    };
    vec![range(found.btf), range(found.ext.unwrap()), 0..object.len()]
}

#[test]
fn damaged_objects_and_kernels_do_not_panic() {
    if !support::has("clang") {
        return support::skip("clang is missing");
    }
    // The types of one object are the kernel of the other.
    let paths = ["tcplife", "arrays", "types", "guards"].map(support::object);
    let objects = paths.map(|path| std::fs::read(path).unwrap());
    let kernels = objects.each_ref().map(|object| btf::elf::btf_section(object).unwrap().unwrap().btf.to_vec());
    let mut numbers = Numbers(1);
    for object in &objects {
        for kernel in &kernels {
            run(object, kernel);
        }
    }
    for round in 0..6000 {
        let object = &objects[numbers.below(objects.len())];
        let kernel = &kernels[numbers.below(kernels.len())];
        if round % 2 == 0 {
            run(object, &damage(kernel, &mut numbers));
            continue;
        }
        let ranges = sections(object);
        let range = ranges[numbers.below(ranges.len())].clone();
        let mut damaged = object.clone();
        let part = damage(&object[range.clone()], &mut numbers);
        damaged[range.start..range.start + part.len()].copy_from_slice(&part);
        run(&damaged, kernel);
    }
}
