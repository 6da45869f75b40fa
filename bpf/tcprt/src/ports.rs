//! Ranges of ports as people write them.

use std::ops::RangeInclusive;

/// Reads ports and ranges: `80,443,8000-8999`.
///
/// # Errors
/// A part is none: which, in words.
pub fn parse(text: &str) -> Result<Vec<RangeInclusive<u16>>, String> {
    text.split(',').map(|part| range(part.trim())).collect()
}

fn range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|&port| port > 0);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        (Some(first), Some(last)) => Err(format!("{first}-{last} has no port: the first is above the last")),
        _ => Err(format!("{text:?} is no port: a number from 1 to 65535 or a range as 8000-8999 is expected")),
    }
}

/// The ranges as [`parse`] reads them.
pub fn text(ranges: &[RangeInclusive<u16>]) -> String {
    let one = |range: &RangeInclusive<u16>| match (range.start(), range.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    ranges.iter().map(one).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &str, expected: Result<&str, &str>) {
        let read = parse(given);
        assert_eq!(read.as_deref().map(text).as_deref().map_err(|error| error.as_str()), expected);
    }

    #[test]
    fn ports_and_ranges() {
        check("80", Ok("80"));
        check("80, 443 ,8000-8999", Ok("80,443,8000-8999"));
        check("1-65535", Ok("1-65535"));
        check("90-80", Err("90-80 has no port: the first is above the last"));
        let expected = "is no port: a number from 1 to 65535 or a range as 8000-8999 is expected";
        for text in ["", "0", "65536", "http", "80-", "80-90-100"] {
            check(text, Err(&format!("{text:?} {expected}")));
        }
    }
}
