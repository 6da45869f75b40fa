//! What the command line and the file of settings say together.
//!
//! A file in YAML, each key of which is an option's name with underscores; `bpf/tcprt/tcprt.yaml` is one with all of them.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use tcprt::{ports, units};

use crate::args::{self, Filters, Format, Live, Loading, Mode};

/// What `--config` names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    lports: Option<Ports>,
    pports: Option<Ports>,
    cgroup: Option<Word>,
    container: Option<Word>,
    pid: Option<u32>,
    netns: Option<Word>,
    mode: Option<Mode>,
    format: Option<Format>,
    stats_interval: Option<Seconds>,
    output: Option<PathBuf>,
    stats_output: Option<PathBuf>,
    rotate_size: Option<Size>,
    rotate_keep: Option<u32>,
    min_total: Option<Time>,
    prometheus: Option<String>,
    keep: Option<bool>,
    btf: Option<PathBuf>,
    slots: Option<u32>,
    connections: Option<u32>,
}

/// Declares a type that is read from a number or a text, as it is written, by a function.
macro_rules! scalar {
    ($name:ident, $of:ty, $read:expr) => {
        #[derive(Debug)]
        struct $name($of);

        impl<'d> Deserialize<'d> for $name {
            fn deserialize<D: Deserializer<'d>>(from: D) -> Result<Self, D::Error> {
                let read: fn(&str) -> Result<$of, String> = $read;
                // a number is handed over as its text, too
                read(&String::deserialize(from)?).map($name).map_err(de::Error::custom)
            }
        }
    };
}

scalar!(Word, String, |text| Ok(text.to_owned()));
scalar!(Seconds, Duration, args::seconds);
scalar!(Time, Duration, units::duration);
scalar!(Size, u64, units::size);

scalar!(Range, Vec<RangeInclusive<u16>>, ports::parse);

/// A text as `80,8000-8999`, a number, or a list of both.
#[derive(Debug)]
struct Ports(Vec<RangeInclusive<u16>>);

impl<'d> Deserialize<'d> for Ports {
    fn deserialize<D: Deserializer<'d>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(PortsVisitor)
    }
}

struct PortsVisitor;

impl<'d> Visitor<'d> for PortsVisitor {
    type Value = Ports;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ports and ranges: a number, a text as 80,8000-8999, or a list of both")
    }

    fn visit_u64<E: de::Error>(self, port: u64) -> Result<Ports, E> {
        self.visit_str(&port.to_string())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Ports, E> {
        ports::parse(text).map(Ports).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'d>>(self, mut list: A) -> Result<Ports, A::Error> {
        let mut all = Vec::new();
        while let Some(Range(ranges)) = list.next_element()? {
            all.extend(ranges);
        }
        Ok(Ports(all))
    }
}

/// What the agent does.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) filters: Filters,
    pub(crate) format: Format,
    pub(crate) stats_interval: Duration,
    pub(crate) output: Option<PathBuf>,
    pub(crate) stats_output: Option<PathBuf>,
    pub(crate) rotate_size: u64,
    pub(crate) rotate_keep: u32,
    pub(crate) min_total: Duration,
    pub(crate) prometheus: Option<String>,
    pub(crate) keep: Option<PathBuf>,
    pub(crate) loading: Loading,
    pub(crate) seconds: Option<Duration>,
    pub(crate) explain: bool,
}

impl Settings {
    /// The command line, and where it says nothing the file that it names.
    ///
    /// # Errors
    /// The file cannot be read, or says what is not known: with the line.
    pub(crate) fn of(live: Live) -> Result<Settings> {
        let file = live.config.as_deref().map(read).transpose()?.unwrap_or_default();
        let Live { filters, loading, .. } = live;
        let ports = |given: Vec<Vec<RangeInclusive<u16>>>, file: Option<Ports>| match file {
            Some(Ports(ports)) if given.is_empty() => vec![ports],
            _ => given,
        };
        let text = |word: Option<Word>| word.map(|Word(text)| text);
        // one of both is asked for
        let (cgroup, container) = match (filters.cgroup, filters.container) {
            (None, None) => (text(file.cgroup), text(file.container)),
            given => given,
        };
        if cgroup.is_some() && container.is_some() {
            return Err(anyhow!("a control group and a container are asked for: one of both is enough"));
        }
        let settings = Settings {
            filters: Filters {
                lport: ports(filters.lport, file.lports),
                pport: ports(filters.pport, file.pports),
                cgroup,
                container,
                pid: filters.pid.or(file.pid),
                netns: filters.netns.or(text(file.netns)),
                mode: filters.mode.or(file.mode),
            },
            format: live.format.or(file.format).unwrap_or_default(),
            stats_interval: live.stats_interval.or(file.stats_interval.map(|s| s.0)).unwrap_or(Duration::from_secs(60)),
            output: live.output.or(file.output),
            stats_output: live.stats_output.or(file.stats_output),
            rotate_size: live.rotate_size.or(file.rotate_size.map(|size| size.0)).unwrap_or(100 << 20),
            rotate_keep: live.rotate_keep.or(file.rotate_keep).unwrap_or(5),
            min_total: live.min_total.or(file.min_total.map(|time| time.0)).unwrap_or_default(),
            prometheus: live.prometheus.or(file.prometheus),
            keep: (live.keep || file.keep.unwrap_or(false)).then_some(live.pins),
            loading: Loading {
                btf: loading.btf.or(file.btf),
                slots: loading.slots.or(file.slots),
                connections: loading.connections.or(file.connections),
                without: loading.without,
                verbose: loading.verbose,
            },
            seconds: live.seconds,
            explain: live.explain,
        };
        if settings.stats_interval < Duration::from_millis(100) {
            return Err(anyhow!("an interval of {:?} for statistics is too short", settings.stats_interval));
        }
        Ok(settings)
    }
}

fn read(path: &Path) -> Result<File> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    // an empty file, or one with comments only, says nothing
    let file: Option<File> = serde_yaml_ng::from_str(&text).with_context(|| path.display().to_string())?;
    Ok(file.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn settings(yaml: &str, more: &[&str]) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tcprt.yaml");
        std::fs::write(&path, yaml).unwrap();
        let args = ["tcprt", "--config", path.to_str().unwrap()].into_iter().chain(more.iter().copied());
        let args = args::Args::try_parse_from(args).map_err(|error| error.to_string())?;
        let told = |error: anyhow::Error| format!("{error:#}").replace(path.to_str().unwrap(), "tcprt.yaml");
        Settings::of(args.live).map_err(told)
    }

    #[test]
    fn the_example_says_where_records_go_and_knows_all_keys() {
        let example = include_str!("../../../tcprt.yaml");
        let mut without = settings("", &[]).unwrap();
        let with = settings(example, &[]).unwrap();
        without.format = Format::V6;
        (without.output, without.stats_output) = (with.output.clone(), with.stats_output.clone());
        assert_eq!(format!("{with:?}"), format!("{without:?}"));
        assert_eq!(with.output.as_deref(), Some(Path::new("/var/log/tcprt/tcprt.log")));
        // each key that it shows is known; a control group goes without a container
        let is_key = |line: &&str| {
            let key = line.split_once(':').map_or("", |(key, _)| key);
            !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && key != "cgroup"
        };
        let all = example.lines().map(|line| line.strip_prefix('#').unwrap_or(line)).filter(is_key);
        let all: String = all.map(|line| format!("{line}\n")).collect();
        assert_eq!(all.lines().count(), 17, "{all}");
        let with = settings(&all, &[]).unwrap();
        assert_eq!(ports::text(&with.filters.lport[0]), "80,443,8000-8999");
        assert_eq!(with.min_total, Duration::from_millis(10));
    }

    #[test]
    fn the_command_line_goes_before_the_file() {
        let yaml =
            "lports: [80, \"8000-8999\"]\npports: 3306\nformat: v6\nmin_total: 10ms\nstats_interval: 30\nkeep: true\n";
        let with = settings(yaml, &["--format", "json", "--lport", "81"]).unwrap();
        assert_eq!(
            (with.format, with.min_total, with.stats_interval.as_secs()),
            (Format::Json, Duration::from_millis(10), 30)
        );
        assert_eq!(
            (ports::text(&with.filters.lport[0]), ports::text(&with.filters.pport[0])),
            ("81".into(), "3306".into())
        );
        assert_eq!(with.keep.as_deref(), Some(Path::new(args::PINS)));
        // the file's control group does not stand beside the container that is asked for
        let with = settings("cgroup: 4711\n", &["--container", "abc"]).unwrap();
        assert_eq!((with.filters.cgroup, with.filters.container.as_deref()), (None, Some("abc")));
    }

    #[test]
    fn what_is_not_known_is_told_with_its_line() {
        let error = settings("format: v6\nlport: 80\n", &[]).unwrap_err();
        assert!(error.starts_with("tcprt.yaml: unknown field `lport`, expected one of `lports`"), "{error}");
        assert!(error.ends_with("at line 2 column 1"), "{error}");
        let error = settings("lports: [80, 90-80]\n", &[]).unwrap_err();
        assert!(error.starts_with("tcprt.yaml: lports: 90-80 has no port") && error.contains("line 1"), "{error}");
        assert!(settings("mode: ftp\n", &[]).unwrap_err().contains("line 1 column 7"));
        assert!(settings("stats_interval: 1ms\n", &[]).unwrap_err().contains("too short"));
        assert!(settings("cgroup: /a\ncontainer: b\n", &[]).is_err());
    }
}
