//! Times, bytes and points in time as people read and write them.

use std::time::Duration;

use crate::write::{self, Writer};

/// Microseconds, in three or four digits: `999us`, `1.23ms`, `45.6ms`, `1.23s`, `2m05s`, `3h20m`.
pub fn micros(micros: u64) -> String {
    write::text(|w| write_micros(w, micros))
}

/// Appends what [`micros`] gives.
pub(crate) fn write_micros(w: &mut Writer<'_>, micros: u64) {
    // what would be rounded to 1000 is of the next unit
    match micros {
        0..1000 => {
            w.number(micros);
            w.text("us");
        }
        1000..999_500 => three_digits(w, micros, 1000, "ms"),
        999_500..60_000_000 => three_digits(w, micros, 1_000_000, "s"),
        _ => {
            let seconds = micros / 1_000_000;
            let (minutes, hours) = (seconds / 60, seconds / 3600);
            let (whole, unit, part, of_it) =
                if hours == 0 { (minutes, 'm', seconds, 's') } else { (hours, 'h', minutes, 'm') };
            w.number(whole);
            w.letter(unit);
            w.two_digits(part % 60);
            w.letter(of_it);
        }
    }
}

fn three_digits(w: &mut Writer<'_>, value: u64, unit: u64, name: &str) {
    let hundredths = (value * 100 + unit / 2) / unit;
    let tenths = (value * 10 + unit / 2) / unit;
    if hundredths < 1000 {
        w.number(hundredths / 100);
        w.letter('.');
        w.two_digits(hundredths);
    } else if tenths < 1000 {
        w.number(tenths / 10);
        w.letter('.');
        w.number(tenths % 10);
    } else {
        w.number((value + unit / 2) / unit);
    }
    w.text(name);
}

/// Bytes, in three or four digits: `999`, `1.5K`, `12M`; units of 1024.
pub fn bytes(bytes: u64) -> String {
    write::text(|w| write_bytes(w, bytes))
}

/// Appends what [`bytes`] gives.
pub(crate) fn write_bytes(w: &mut Writer<'_>, bytes: u64) {
    if bytes < 1000 {
        return w.number(bytes);
    }
    // What is shown of a unit is rounded, a half to the even one; what would be rounded to 1000 is of the next.
    let rounded = |value: u128, shift: u32| {
        let (whole, rest, half) = (value >> shift, value & ((1 << shift) - 1), 1 << (shift - 1));
        whole + u128::from(rest > half || rest == half && whole % 2 == 1)
    };
    let bytes = u128::from(bytes);
    for (shift, unit) in [(10, 'K'), (20, 'M'), (30, 'G'), (40, 'T')] {
        // below 9.95
        if bytes * 100 < 995 << shift {
            let tenths = rounded(bytes * 10, shift) as u64;
            w.number(tenths / 10);
            w.letter('.');
            w.number(tenths % 10);
        } else if bytes * 10 < 9995 << shift || unit == 'T' {
            w.number(rounded(bytes, shift) as u64);
        } else {
            continue;
        }
        return w.letter(unit);
    }
}

/// The time of day in UTC, with milliseconds: `09:14:11.123`.
pub fn time_of_day(micros_since_1970: u64) -> String {
    write::text(|w| write_time_of_day(w, micros_since_1970))
}

/// Appends what [`time_of_day`] gives.
pub(crate) fn write_time_of_day(w: &mut Writer<'_>, micros_since_1970: u64) {
    let millis = micros_since_1970 / 1000 % 86_400_000;
    let (seconds, millis) = (millis / 1000, millis % 1000);
    w.two_digits(seconds / 3600);
    w.letter(':');
    w.two_digits(seconds / 60 % 60);
    w.letter(':');
    w.two_digits(seconds % 60);
    w.letter('.');
    w.number(millis / 100);
    w.two_digits(millis);
}

/// The date and time in UTC, as RFC 3339 has it: `2023-11-14T22:13:21Z`.
pub fn date_time(micros_since_1970: u64) -> String {
    let seconds = micros_since_1970 / 1_000_000;
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hours, minutes, seconds) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}Z")
}

/// The day of the Gregorian calendar that is so many days after the first of 1970.
fn date(days: u64) -> (u64, u64, u64) {
    // years that begin in March, in eras of 400 years
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Reads a duration: `10ms`, `250us`, `1.5s`, `2m`, `1h`.
///
/// # Errors
/// It has no number, or no unit that is known: what is wrong, in words.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let nanos = match unit.trim() {
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" | "min" => 60e9,
        "h" => 3600e9,
        "" if number == "0" => 1.0,
        _ => return Err(format!("{text:?} is no duration: a number and one of us, ms, s, m, h is expected")),
    };
    let number: f64 = number.parse().map_err(|_| format!("{text:?} is no duration: {number:?} is no number"))?;
    Ok(Duration::from_nanos((number * nanos).round() as u64))
}

/// Reads a number of bytes: `4096`, `64K`, `100M`, `2G`; units of 1024.
///
/// # Errors
/// It is no number, or none that 64 bits hold: what is wrong, in words.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: a number is expected, with K, M or G behind it or without");
    let (number, unit) = match text.strip_suffix(['K', 'M', 'G']) {
        Some(number) => (number, text.as_bytes()[number.len()]),
        None => (text, b' '),
    };
    let shift = match unit {
        b'K' => 10,
        b'M' => 20,
        b'G' => 30,
        _ => 0,
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By floating point and `core::fmt`.
    fn bytes_by_fmt(bytes: u64) -> String {
        let mut value = bytes as f64;
        for unit in ["", "K", "M", "G"] {
            let digits = usize::from(!unit.is_empty() && value < 9.95);
            if value < 999.5 {
                return format!("{value:.digits$}{unit}");
            }
            value /= 1024.0;
        }
        let digits = usize::from(value < 9.95);
        format!("{value:.digits$}T")
    }

    proptest! {
        #[test]
        fn bytes_are_as_fmt_has_them(value in any::<u64>(), shift in 11u32..64, zeros in 0u32..40) {
            let value = value >> shift >> zeros.min(63 - shift) << zeros.min(63 - shift);
            prop_assert_eq!(bytes(value), bytes_by_fmt(value));
        }
    }

    #[test]
    fn halves_of_bytes_go_to_the_even_one() {
        // multiples of an eighth of a unit, and what is next to them
        for unit in [1u64 << 10, 1 << 20, 1 << 30, 1 << 40] {
            for eighths in 1..8200 {
                for value in [unit / 8 * eighths - 1, unit / 8 * eighths, unit / 8 * eighths + 1] {
                    assert_eq!(bytes(value), bytes_by_fmt(value), "{value}");
                }
            }
        }
    }

    #[test]
    fn times_have_three_digits() {
        let told =
            [0, 999, 1000, 1234, 9999, 12_345, 999_499, 999_500, 1_234_567, 59_999_999, 125_000_000, 12_000_000_000];
        let told = told.map(micros);
        let expected = [
            "0us", "999us", "1.00ms", "1.23ms", "10.0ms", "12.3ms", "999ms", "1.00s", "1.23s", "60.0s", "2m05s",
            "3h20m",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn bytes_have_three_digits() {
        let told = [0, 690, 999, 1000, 1536, 300_000, 1 << 20, u64::MAX].map(bytes);
        assert_eq!(told, ["0", "690", "999", "1.0K", "1.5K", "293K", "1.0M", "16777216T"]);
    }

    #[test]
    fn days_are_the_calendars() {
        // date -u -d @N +%FT%TZ
        let expected = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_001, "2023-11-14T22:13:21Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ];
        for (seconds, text) in expected {
            assert_eq!(date_time(seconds * 1_000_000), text);
        }
        assert_eq!(time_of_day(1_700_000_001_123_456), "22:13:21.123");
    }

    #[test]
    fn durations_and_sizes_are_read() {
        let read = ["10ms", "250us", "1.5s", "2m", "1h", "0"].map(|text| duration(text).unwrap().as_micros());
        assert_eq!(read, [10_000, 250, 1_500_000, 120_000_000, 3_600_000_000, 0]);
        assert_eq!(
            duration("10").unwrap_err(),
            "\"10\" is no duration: a number and one of us, ms, s, m, h is expected"
        );
        assert_eq!(duration("1.2.3s").unwrap_err(), "\"1.2.3s\" is no duration: \"1.2.3\" is no number");
        assert_eq!(
            ["0", "4096", "64K", "100M", "2G"].map(|text| size(text).unwrap()),
            [0, 4096, 65_536, 104_857_600, 2 << 30]
        );
        for text in ["", "K", "1T", "-1", "99999999999999999G"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
