//! Debian's order of versions.

use std::cmp::Ordering;

/// Debian's order of versions, deb-version(7): pieces of non-digits and of digits in turn, `~` before everything.
#[must_use]
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    let split = |version: &str| {
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
        (epoch.parse::<u64>().unwrap_or(0), upstream.to_owned(), revision.to_owned())
    };
    let (a, b) = (split(a), split(b));
    a.0.cmp(&b.0).then_with(|| compare_part(&a.1, &b.1)).then_with(|| compare_part(&a.2, &b.2))
}

fn compare_part(mut a: &str, mut b: &str) -> Ordering {
    fn weight(letter: Option<u8>) -> i32 {
        match letter {
            Some(b'~') => -1,
            None => 0,
            Some(letter) if letter.is_ascii_alphabetic() => i32::from(letter),
            Some(letter) => i32::from(letter) + 256,
        }
    }
    fn take<'a>(text: &mut &'a str, digits: bool) -> &'a str {
        let end = text.find(|letter: char| letter.is_ascii_digit() != digits).unwrap_or(text.len());
        let (head, tail) = text.split_at(end);
        *text = tail;
        head
    }
    while !a.is_empty() || !b.is_empty() {
        let (x, y) = (take(&mut a, false).as_bytes(), take(&mut b, false).as_bytes());
        for at in 0..=x.len().max(y.len()) {
            match weight(x.get(at).copied()).cmp(&weight(y.get(at).copied())) {
                Ordering::Equal => {}
                different => return different,
            }
        }
        let number = |digits: &str| digits.parse::<u128>().unwrap_or(0);
        match number(take(&mut a, true)).cmp(&number(take(&mut b, true))) {
            Ordering::Equal => {}
            different => return different,
        }
    }
    Ordering::Equal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_order() {
        fn check(newer: &str, older: &str) {
            let dpkg = std::process::Command::new("dpkg").args(["--compare-versions", newer, "gt", older]).status();
            assert!(dpkg.unwrap().success(), "dpkg itself: {newer} > {older}");
            assert_eq!(compare_versions(newer, older), Ordering::Greater, "{newer} > {older}");
            assert_eq!(compare_versions(older, newer), Ordering::Less, "{older} < {newer}");
            assert_eq!(compare_versions(newer, newer), Ordering::Equal);
        }
        check("6.1.192-2", "6.1.176-1");
        check("6.12.117-1", "6.2.1-1");
        check("7.3.4-1", "7.3.4-1~bpo13+1");
        check("7.3.4-1~bpo13+2", "7.3.4-1~bpo13+1");
        check("1:1.7.0-1", "2.0-1");
        check("1.0+b1", "1.0");
        check("1.0a", "1.0");
        check("1.0", "1.0~rc1");
        check("1.0-1.1", "1.0-1");
        check("5.10.262-1", "5.10.46-4");
    }
}
