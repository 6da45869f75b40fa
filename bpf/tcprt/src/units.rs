//! Times, bytes and points in time as people read and write them.

use std::fmt::{self, Write};
use std::time::Duration;

/// Microseconds, in three or four digits: `999us`, `1.23ms`, `45.6ms`, `1.23s`, `2m05s`, `3h20m`.
pub fn micros(micros: u64) -> String {
    Micros(micros).to_string()
}

/// Shows microseconds as [`micros`] does, without a text of its own.
#[derive(Clone, Copy, Debug)]
pub struct Micros(pub u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0;
        let mut text = Short::default();
        // what would be rounded to 1000 is of the next unit
        match micros {
            0..1000 => write!(text, "{micros}us")?,
            1000..999_500 => text.three_digits(micros, 1000, "ms")?,
            999_500..60_000_000 => text.three_digits(micros, 1_000_000, "s")?,
            _ => {
                let seconds = micros / 1_000_000;
                match seconds / 60 {
                    minutes @ 0..60 => write!(text, "{minutes}m{:02}s", seconds % 60)?,
                    minutes => write!(text, "{}h{:02}m", minutes / 60, minutes % 60)?,
                }
            }
        }
        f.pad(text.shown())
    }
}

/// A text of a few letters.
#[derive(Default)]
struct Short {
    bytes: [u8; 32],
    length: usize,
}

impl Short {
    fn three_digits(&mut self, value: u64, unit: u64, name: &str) -> fmt::Result {
        let hundredths = (value * 100 + unit / 2) / unit;
        match hundredths {
            0..1000 => write!(self, "{}.{:02}{name}", hundredths / 100, hundredths % 100),
            _ => {
                let tenths = (value * 10 + unit / 2) / unit;
                match tenths {
                    0..1000 => write!(self, "{}.{}{name}", tenths / 10, tenths % 10),
                    _ => write!(self, "{}{name}", (value + unit / 2) / unit),
                }
            }
        }
    }

    fn shown(&self) -> &str {
        self.bytes.get(..self.length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.length..self.length + text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length += text.len();
        Ok(())
    }
}

/// Bytes, in three or four digits: `999`, `1.5K`, `12M`; units of 1024.
pub fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["", "K", "M", "G", "T"] {
        let digits = usize::from(!unit.is_empty() && value < 9.95);
        if value < 999.5 || unit == "T" {
            return format!("{value:.digits$}{unit}");
        }
        value /= 1024.0;
    }
    format!("{bytes}")
}

/// The time of day in UTC, with milliseconds: `09:14:11.123`.
pub fn time_of_day(micros_since_1970: u64) -> String {
    let millis = micros_since_1970 / 1000 % 86_400_000;
    let (seconds, millis) = (millis / 1000, millis % 1000);
    format!("{:02}:{:02}:{:02}.{millis:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
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
    use super::*;

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
