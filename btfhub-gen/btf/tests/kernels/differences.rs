//! Differences between real kernels.

use btf::diff::{Change, Detail, Diff, Part, diff};
use btf::write::Builder;
use btf::{Btf, Endian, TypeId};

use crate::corpus;

/// The same types in the opposite order and byte order.
fn reversed(btf: &Btf<'_>) -> Vec<u8> {
    let mut out = Builder::new(if btf.endian() == Endian::Little { Endian::Big } else { Endian::Little });
    let map = |id: TypeId| if id.is_void() { id } else { TypeId(btf.end_id().0 - id.0) };
    for id in btf.ids().rev() {
        out.copy(&btf.ty(id).unwrap(), map).unwrap();
    }
    out.finish().unwrap()
}

#[test]
fn the_order_of_types_and_bytes_makes_no_difference() {
    let Some(kernel) = corpus::running() else { return };
    let btf = Btf::parse(&kernel.btf).unwrap();
    let bytes = reversed(&btf);
    assert_eq!(diff(&btf, &Btf::parse(&bytes).unwrap()).unwrap(), Diff::default());
}

#[test]
fn the_way_back_is_the_way_there_mirrored() {
    let kernels = corpus::all();
    for pair in kernels.windows(2).step_by(3).filter(|pair| pair.iter().all(|kernel| kernel.btf.len() < 10 << 20)) {
        let [old, new] = [0, 1].map(|side| Btf::parse(&pair[side].btf).unwrap());
        let (there, back) = (diff(&old, &new).unwrap(), diff(&new, &old).unwrap());
        assert!(!there.is_empty(), "{} and {} are not the same kernel", pair[0].name, pair[1].name);
        assert_eq!(summary(&there, false), summary(&back, true), "{} and {}", pair[0].name, pair[1].name);
    }
}

/// Every difference as a line, sorted; `mirrored` exchanges old and new.
fn summary(diff: &Diff, mirrored: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |entry: &btf::diff::Entry, old: Option<String>, new: Option<String>| {
        let (old, new) = if mirrored { (new, old) } else { (old, new) };
        lines.push(format!("{} {}: {old:?} {new:?}", entry.kind.word(), entry.name));
    };
    let text = |part: &Part| Some(format!("{part:?}"));
    for entry in &diff.entries {
        let details = match &entry.change {
            Change::Added => {
                line(entry, None, Some(String::new()));
                continue;
            }
            Change::Removed => {
                line(entry, Some(String::new()), None);
                continue;
            }
            Change::Changed(details) => details,
        };
        assert!(!details.is_empty(), "{} {} changed without saying how", entry.kind.word(), entry.name);
        for detail in details {
            match detail {
                Detail::Size { old, new } => line(entry, Some(old.to_string()), Some(new.to_string())),
                Detail::Type { old, new } => line(entry, Some(old.clone()), Some(new.clone())),
                Detail::Added(part) => line(entry, None, text(part)),
                Detail::Removed(part) => line(entry, text(part), None),
                Detail::Changed { old, new } => line(entry, text(old), text(new)),
                other => line(entry, Some(format!("{other:?}")), Some(format!("{other:?}"))),
            }
        }
    }
    lines.sort();
    lines
}
