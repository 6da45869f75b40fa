//! Pictures of a log, as SVG: a latency heat map and a timeline of parts. The same records give the same bytes.

mod heatmap;
mod timeline;

pub use heatmap::HeatMap;
pub use timeline::Timeline;

use crate::units;

/// Text and element attributes without what XML has for itself, and without control characters.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// The begin of a picture: its size, what it is called, and colours for light and dark pages. What is drawn takes its colours
/// from classes, so that it is readable on both.
fn begin(width: u32, height: u32, title: &str, more_style: &str) -> String {
    let title = escaped(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\">\n<title>{title}</title>\n<style>\n\
         text{{font:12px sans-serif;fill:#1a1a1a}}\n.r{{text-anchor:end}}.m{{text-anchor:middle}}.h{{font-size:14px}}\n\
         .b{{fill:#fff}}.g{{stroke:#d8d8d8;stroke-width:1}}\n\
         .u{{fill:#1f77b4}}.p{{fill:#d95f02}}.d{{fill:#2a9d5c}}.c{{fill:#08306b}}\n\
         @media(prefers-color-scheme:dark){{text{{fill:#e6e6e6}}.b{{fill:#16181c}}.g{{stroke:#3a3d44}}\
         .u{{fill:#6baed6}}.p{{fill:#fd9a4a}}.d{{fill:#74c69d}}.c{{fill:#ffd166}}}}\n\
         {more_style}</style>\n<rect class=\"b\" width=\"{width}\" height=\"{height}\"/>\n\
         <text class=\"h\" x=\"12\" y=\"20\">{title}</text>\n"
    )
}

/// Marks on an axis of time: at most about `most` of them at round times, each with its offset from `first_us`.
fn time_marks(first_us: u64, last_us: u64, most: u64) -> Vec<(u64, String)> {
    const STEPS: [u64; 22] = [
        10,
        100,
        1_000,
        2_000,
        5_000,
        10_000,
        20_000,
        50_000,
        100_000,
        200_000,
        500_000,
        1_000_000,
        2_000_000,
        5_000_000,
        10_000_000,
        30_000_000,
        60_000_000,
        300_000_000,
        900_000_000,
        3_600_000_000,
        21_600_000_000,
        86_400_000_000,
    ];
    let span = last_us.saturating_sub(first_us).max(1);
    let fits = |step: &u64| span / step <= most;
    let step = STEPS.into_iter().find(fits).unwrap_or_else(|| (span / most.max(1)).next_multiple_of(86_400_000_000));
    let mut marks = Vec::new();
    let mut at = first_us.div_ceil(step).saturating_mul(step);
    while at <= last_us {
        let time = units::time_of_day(at);
        let text = match step {
            ..1000 => format!("{time}{:03}", at % 1000),
            1000..1_000_000 => time,
            86_400_000_000.. => units::date_time(at).chars().take(10).collect(),
            _ => time.split('.').next().unwrap_or_default().to_owned(),
        };
        marks.push((at - first_us, text));
        let Some(next) = at.checked_add(step) else { break };
        at = next;
    }
    marks
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Every element is closed, in the order in which they were opened; no bare special characters.
    #[track_caller]
    pub(crate) fn check_well_formed(svg: &str) {
        let mut open = Vec::new();
        let mut rest = svg;
        while let Some((text, more)) = rest.split_once('<') {
            for (at, _) in text.match_indices('&') {
                let entity = &text[at..];
                assert!(["&amp;", "&lt;", "&gt;", "&quot;"].iter().any(|known| entity.starts_with(known)), "{text}");
            }
            assert!(!text.contains('>') || open.last() == Some(&"style"), "{text}");
            let (tag, after) = more.split_once('>').expect("an element ends");
            rest = after;
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name));
                continue;
            }
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            if !tag.ends_with('/') {
                open.push(tag.split(' ').next().unwrap());
            }
        }
        assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
        assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
    }

    #[test]
    fn times_are_marked_at_round_ones() {
        let texts = |first, last| time_marks(first, last, 5).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(texts(1_700_000_001_000_002, 1_700_000_004_500_000), ["22:13:22", "22:13:23", "22:13:24"]);
        assert_eq!(texts(999, 2_100), ["00:00:00.001", "00:00:00.002"]);
        assert_eq!(texts(0, 200_000_000_000), ["1970-01-01", "1970-01-02", "1970-01-03"]);
        assert_eq!(texts(5, 5), Vec::<String>::new());
        assert!(time_marks(0, u64::MAX, 5).len() <= 6);
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(escaped("<a & \"b\">\u{1b}"), "&lt;a &amp; &quot;b&quot;&gt;\u{fffd}");
    }
}
