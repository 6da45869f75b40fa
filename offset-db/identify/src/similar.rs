//! How alike two functions are, by themselves.

use crate::model::{MOST_GRAMS, Model};

/// From 0 to 1: how many of their adjacent operations, names and texts they share, of all (Jaccard's index of the multisets), and for
/// a quarter, of the smaller's: functions grow by what is inlined into them. Of the least hashes only, where there are many.
pub(crate) fn similarity(a: &Model, f: u32, b: &Model, g: u32) -> f32 {
    let (one, other) = (&a.functions[f as usize], &b.functions[g as usize]);
    if one.exact == other.exact {
        return 1.0;
    }
    let (mut left, mut right) = (a.grams(f), b.grams(g));
    if left.is_empty() || right.is_empty() {
        return 0.0;
    }
    // what is beyond the last of a list that was cut is not known
    let last = |grams: &[u32]| if grams.len() < MOST_GRAMS { u32::MAX } else { grams[grams.len() - 1] };
    let limit = last(left).min(last(right));
    let (mut shared, mut only_left, mut only_right) = (0u32, 0u32, 0u32);
    while let (Some(x), Some(y)) = (left.first(), right.first()) {
        if x.min(y) > &limit {
            break;
        }
        match x.cmp(y) {
            std::cmp::Ordering::Equal => shared += 1,
            std::cmp::Ordering::Less => only_left += 1,
            std::cmp::Ordering::Greater => only_right += 1,
        }
        if x <= y {
            left = &left[1..];
        }
        if y <= x {
            right = &right[1..];
        }
    }
    let rest = |grams: &[u32]| grams.partition_point(|gram| *gram <= limit) as u32;
    only_left += rest(left);
    only_right += rest(right);
    let all = shared + only_left + only_right;
    let smaller = shared + only_left.min(only_right);
    0.75 * shared as f32 / all.max(1) as f32 + 0.25 * shared as f32 / smaller.max(1) as f32
}
