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
    let known = |grams: &'_ [u32]| grams.partition_point(|gram| *gram <= limit);
    (left, right) = (&left[..known(left)], &right[..known(right)]);
    let shared = shared(left, right);
    let (only_left, only_right) = (left.len() as u32 - shared, right.len() as u32 - shared);
    let all = shared + only_left + only_right;
    let smaller = shared + only_left.min(only_right);
    0.75 * shared as f32 / all.max(1) as f32 + 0.25 * shared as f32 / smaller.max(1) as f32
}

/// How many two sorted lists have in common, each as often as both have it. Without a branch that depends on what is in them: half of
/// such would be foretold wrong, and matching two files is mostly this.
fn shared(left: &[u32], right: &[u32]) -> u32 {
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while i < left.len() && j < right.len() {
        let (x, y) = (left[i], right[j]);
        shared += u32::from(x == y);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    shared
}

#[cfg(test)]
mod tests {
    use super::shared;

    #[test]
    fn what_two_lists_share() {
        fn check(left: &[u32], right: &[u32], expected: u32) {
            assert_eq!((shared(left, right), shared(right, left)), (expected, expected), "{left:?} {right:?}");
        }
        check(&[], &[], 0);
        check(&[1], &[], 0);
        check(&[1, 2, 3], &[2, 3, 4], 2);
        check(&[7, 7, 7], &[7, 7], 2);
        check(&[0, 1, 1, u32::MAX], &[1, 1, 1, u32::MAX, u32::MAX], 3);
        check(&[1, 3, 5], &[2, 4, 6], 0);
    }
}
