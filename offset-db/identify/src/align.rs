//! The best pairing of two sequences that keeps the order of both.

/// The most cells of a table: longer sequences are not aligned.
const MOST_CELLS: usize = 1 << 18;

/// Pairs of indices, ascending in both, whose scores add up to the most. `score` gives how well two fit, 0 or less where they do not.
/// None where the sequences are too long.
pub(crate) fn align(left: usize, right: usize, score: impl Fn(usize, usize) -> f32) -> Vec<(usize, usize)> {
    let width = right + 1;
    let Some(cells) = (left + 1).checked_mul(width).filter(|cells| *cells <= MOST_CELLS) else { return Vec::new() };
    if left == 0 || right == 0 {
        return Vec::new();
    }
    // the best of what is behind (i, j)
    let mut best = vec![0f32; cells];
    let mut fits = vec![0f32; left * right];
    for i in (0..left).rev() {
        for j in (0..right).rev() {
            let fit = score(i, j);
            fits[i * right + j] = fit;
            let skip = best[(i + 1) * width + j].max(best[i * width + j + 1]);
            best[i * width + j] = if fit > 0.0 { skip.max(fit + best[(i + 1) * width + j + 1]) } else { skip };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < left && j < right {
        let fit = fits[i * right + j];
        if fit > 0.0 && best[i * width + j] == fit + best[(i + 1) * width + j + 1] {
            pairs.push((i, j));
            i += 1;
            j += 1;
        } else if best[i * width + j] == best[(i + 1) * width + j] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::align;

    fn check(left: &str, right: &str, expected: &[(usize, usize)]) {
        let (left, right): (Vec<_>, Vec<_>) = (left.chars().collect(), right.chars().collect());
        let score = |i: usize, j: usize| if left[i] == right[j] { 1.0 } else { 0.0 };
        assert_eq!(align(left.len(), right.len(), score), expected);
    }

    #[test]
    fn what_fits_is_paired_in_order() {
        check("abc", "abc", &[(0, 0), (1, 1), (2, 2)]);
        check("abc", "ac", &[(0, 0), (2, 1)]);
        check("abxc", "aybc", &[(0, 0), (1, 2), (3, 3)]);
        check("", "a", &[]);
        check("ab", "ba", &[(1, 0)]);
    }

    #[test]
    fn too_long_sequences_are_not_aligned() {
        assert_eq!(align(1 << 20, 1 << 20, |_, _| 1.0), []);
    }
}
