//! Which distribution made a kernel: told by its banner, its release, and its package.
//!
//! Names and versions are those of BTFHub's archive (`debian/12`, `ubuntu/22.04`, `centos/8`, `amzn/2`, `ol/8`,
//! `sles/15.5`, `opensuse-leap/15.5`); where BTFHub has none, `ID` and `VERSION_ID` of the distribution's os-release.

use packages::{control, rpm};

/// A distribution and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distro {
    /// `debian`
    pub name: String,
    /// `12`
    pub version: String,
}

impl Distro {
    fn new(name: &str, version: impl Into<String>) -> Option<Self> {
        Some(Distro { name: name.to_owned(), version: version.into() })
    }
}

/// What is known of where a kernel comes from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence<'a> {
    /// What `uname -r` prints.
    pub release: &'a str,
    /// The banner, or nothing.
    pub banner: &'a str,
    /// The Debian package it was in.
    pub deb: Option<&'a control::Metadata>,
    /// The rpm it was in.
    pub rpm: Option<&'a rpm::Metadata>,
}

/// The distribution, where the evidence tells.
pub fn distro(evidence: Evidence<'_>) -> Option<Distro> {
    debian_or_ubuntu(evidence).or_else(|| by_release(evidence)).or_else(|| suse(evidence))
}

fn debian_or_ubuntu(evidence: Evidence<'_>) -> Option<Distro> {
    let Evidence { release, banner, deb, .. } = evidence;
    let maintainer = deb.map_or("", |d| &d.maintainer);
    let package_version = deb.map_or("", |d| &d.version);
    let line = line(release);
    if banner.contains("Ubuntu") || maintainer.contains("ubuntu.com") {
        // An HWE kernel has the series behind a tilde, in its own version and its compiler's.
        let series = [package_version, banner].into_iter().find_map(series_after_tilde);
        return Distro::new("ubuntu", series.or_else(|| Some(ubuntu_of_line(line)?.to_owned()))?);
    }
    let own = banner.split_once("Debian ").map_or("", |_| banner);
    if own.is_empty() && !maintainer.contains("debian.org") {
        return None;
    }
    // `5.10.262-1`, `6.12.9-1~bpo12+1`, `6.1.176-1~deb11u1`: at the banner's end, and in the release from 6.12 on.
    let mark = [package_version, version_in_banner(own), release]
        .into_iter()
        .find_map(|text| ["~bpo", "+deb", "~deb"].into_iter().find_map(|mark| digits(text.split_once(mark)?.1)));
    Distro::new("debian", mark.unwrap_or_else(|| debian_of_line(line)))
}

/// `#1 SMP Debian 5.10.262-1 (2026-07-31)` → `5.10.262-1`
fn version_in_banner(banner: &str) -> &str {
    banner.rsplit_once(" Debian ").and_then(|(_, rest)| rest.split(' ').next()).unwrap_or_default()
}

/// The leading digits, if any.
fn digits(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (end > 0).then(|| &text[..end])
}

/// `…~20.04.1` → `20.04`
fn series_after_tilde(text: &str) -> Option<String> {
    text.split('~').skip(1).find_map(|rest| {
        let (year, month) = (digits(rest)?, digits(rest.split_once('.')?.1)?);
        (year.len() == 2 && month.len() == 2).then(|| format!("{year}.{month}"))
    })
}

/// `5.10.0-46-amd64` → (5, 10)
fn line(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The kernel line that each Debian released with; any other is of the release in preparation.
fn debian_of_line(line: (u32, u32)) -> &'static str {
    match line {
        (3, 2) => "7",
        (3, 16) => "8",
        (4, 9) => "9",
        (4, 19) => "10",
        (5, 10) => "11",
        (6, 1) => "12",
        (6, 12) => "13",
        _ => "sid",
    }
}

/// The kernel line that each Ubuntu released with.
fn ubuntu_of_line(line: (u32, u32)) -> Option<&'static str> {
    Some(match line {
        (3, 13) => "14.04",
        (4, 4) => "16.04",
        (4, 8) => "16.10",
        (4, 10) => "17.04",
        (4, 13) => "17.10",
        (4, 15) => "18.04",
        (4, 18) => "18.10",
        (5, 0) => "19.04",
        (5, 3) => "19.10",
        (5, 4) => "20.04",
        (5, 8) => "20.10",
        (5, 11) => "21.04",
        (5, 13) => "21.10",
        (5, 15) => "22.04",
        (5, 19) => "22.10",
        (6, 2) => "23.04",
        (6, 5) => "23.10",
        (6, 8) => "24.04",
        (6, 11) => "24.10",
        (6, 14) => "25.04",
        (6, 17) => "25.10",
        _ => return None,
    })
}

/// By the mark that a distribution puts into the release: `…el8_1`, `…fc39`, `…amzn2`.
fn by_release(evidence: Evidence<'_>) -> Option<Distro> {
    let Evidence { release, banner, rpm, .. } = evidence;
    let parts = || release.split(['.', '-', '_', '+']);
    let after = |mark: &'static str| {
        parts()
            .find_map(move |part| part.strip_prefix(mark).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())))
    };
    if release.contains(".bclinux") {
        // BC-Linux for Euler 21.10 is built on openEuler 20.03.
        return Distro::new(
            "bclinux",
            if after("oe1").is_some() || parts().any(|p| p == "oe1") { "21.10" } else { "22.10" },
        );
    }
    if let Some(version) = after("fc").and_then(digits) {
        return Distro::new("fedora", version);
    }
    if let Some(version) = after("amzn").and_then(digits) {
        return Distro::new("amzn", version);
    }
    if let Some(version) = after("an").and_then(digits) {
        return Distro::new("anolis", version);
    }
    if let Some(base) = after("al").and_then(digits) {
        // Alibaba Cloud Linux 2 is built on EL 7, 3 on EL 8.
        return Distro::new(
            "alinux",
            match base {
                "7" => "2",
                "8" => "3",
                other => other,
            },
        );
    }
    if let Some(version) = after("ky").and_then(digits) {
        return Distro::new("kylin", format!("V{version}"));
    }
    if let Some(version) = after("oe") {
        return Distro::new("openeuler", openeuler(version));
    }
    if let Some(version) = after("azl").and_then(digits) {
        return Distro::new("azurelinux", version);
    }
    if let Some(version) = after("cm").and_then(digits) {
        return Distro::new("mariner", version);
    }
    if let Some(version) = after("ph").and_then(digits) {
        return Distro::new("photon", version);
    }
    if let Some(version) = after("tl").and_then(digits) {
        return Distro::new("tencentos", version);
    }
    if let Some(version) = after("uel").and_then(digits) {
        return Distro::new("uos", version);
    }
    if release.contains("-arch") {
        return Distro::new("arch", "rolling");
    }
    let el = after("el")?;
    let version = digits(el)?;
    let makers = [rpm.map_or("", |r| &r.vendor), banner].map(str::to_ascii_lowercase);
    let made_by = |maker: &str| makers.iter().any(|m| m.contains(maker));
    let name = if el.contains("uek") || made_by("oracle") {
        "ol"
    } else if made_by("almalinux") {
        "almalinux"
    } else if made_by("rocky") {
        "rocky"
    } else if made_by("centos") {
        "centos"
    } else {
        "rhel"
    };
    Distro::new(name, version)
}

/// `1` → `20.03`, `2203sp1` → `22.03-SP1`
fn openeuler(mark: &str) -> String {
    let Some(number) = digits(mark) else { return mark.to_owned() };
    let pack = mark[number.len()..].strip_prefix("sp").and_then(digits).map(|n| format!("-SP{n}")).unwrap_or_default();
    match number {
        "1" => "20.03".to_owned(),
        number if number.len() == 4 => format!("{}.{}{pack}", &number[..2], &number[2..]),
        number => number.to_owned(),
    }
}

/// SUSE marks the package, and the release only in some years: `5.14.21-150500.55.39-default`, `5.3.18-lp152.106-default`.
fn suse(evidence: Evidence<'_>) -> Option<Distro> {
    let Evidence { release, banner, rpm, .. } = evidence;
    let (vendor, distribution) = rpm.map_or(("", ""), |r| (&r.vendor, &r.distribution));
    if !(vendor.to_ascii_lowercase().contains("suse") || banner.contains("geeko@buildhost")) {
        return None;
    }
    let leap = vendor.contains("openSUSE") || distribution.contains("openSUSE");
    let mark = release.split('-').nth(1).unwrap_or_default();
    if let Some(number) = mark.strip_prefix("lp").and_then(digits).filter(|n| n.len() == 3) {
        return Distro::new("opensuse-leap", format!("{}.{}", &number[..2], &number[2..]));
    }
    if distribution.contains("Tumbleweed") {
        return Distro::new("opensuse-tumbleweed", "rolling");
    }
    // 150500 is SLE 15 SP 5.
    let name = if leap { "opensuse-leap" } else { "sles" };
    if let Some(number) = digits(mark).filter(|n| n.len() == 6) {
        let version = number[2..4].trim_start_matches('0');
        let version = if version.is_empty() { "0" } else { version };
        return Distro::new(name, format!("{}.{version}", &number[..2]));
    }
    // `SUSE Linux Enterprise 15 SP1`, `openSUSE Leap 15.1`
    let mut words = distribution.split(' ').skip_while(|w| !w.starts_with(|c: char| c.is_ascii_digit()));
    let version = words.next()?;
    match words.next().and_then(|w| w.strip_prefix("SP")) {
        Some(pack) => Distro::new(name, format!("{version}.{pack}")),
        None => Distro::new(name, version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(evidence: Evidence<'_>, expected: &str) {
        let got = distro(evidence).map_or("unknown".to_owned(), |d| format!("{}/{}", d.name, d.version));
        assert_eq!(got, expected);
    }

    fn banner<'a>(release: &'a str, banner: &'a str) -> Evidence<'a> {
        Evidence { release, banner, ..Evidence::default() }
    }

    #[test]
    fn debian_by_suffix_then_by_line() {
        let plain = "Linux version 5.10.0-46-amd64 (debian-kernel@lists.debian.org) (gcc-10 (Debian 10.2.1-6) 10.2.1 \
                     20210110) #1 SMP Debian 5.10.262-1 (2026-07-31)";
        check(banner("5.10.0-46-amd64", plain), "debian/11");
        let backport =
            "Linux version 6.1.0-0.deb11.11-amd64 (…) (gcc-10 (Debian 10.2.1-6)) #1 SMP Debian 6.1.38-4~bpo11+1 (2023)";
        check(banner("6.1.0-0.deb11.11-amd64", backport), "debian/11");
        let security = "Linux version 6.1.0-50-s390x (…) (gcc (Debian 10)) #1 SMP Debian 6.1.176-1~deb11u1 (2026)";
        check(banner("6.1.0-50-s390x", security), "debian/11");
        let named =
            "Linux version 6.12.117+deb13-cloud-amd64 (…) (gcc-14 (Debian 14.2.0-19)) #1 SMP Debian 6.12.117-1 (2026)";
        check(banner("6.12.117+deb13-cloud-amd64", named), "debian/13");
        let newest = "Linux version 7.2.3-amd64 (…) (gcc-15 (Debian 15.2.0-3)) #1 SMP Debian 7.2.3-1 (2026)";
        check(banner("7.2.3-amd64", newest), "debian/sid");
        let deb = control::Metadata {
            version: "4.19.304-1".into(),
            maintainer: "Debian Kernel Team <debian-kernel@lists.debian.org>".into(),
            ..Default::default()
        };
        check(Evidence { release: "4.19.0-26-rt-amd64", deb: Some(&deb), ..Evidence::default() }, "debian/10");
    }

    #[test]
    fn ubuntu_by_suffix_then_by_line() {
        let hwe = "Linux version 5.15.0-91-generic (buildd@lcy02) (gcc (Ubuntu 9.4.0-1ubuntu1~20.04.2) 9.4.0) \
                   #101~20.04.1-Ubuntu SMP";
        check(banner("5.15.0-91-generic", hwe), "ubuntu/20.04");
        let own =
            "Linux version 4.15.0-20-generic (buildd@x) (gcc version 7.3.0 (Ubuntu 7.3.0-16ubuntu3)) #21-Ubuntu SMP";
        check(banner("4.15.0-20-generic", own), "ubuntu/18.04");
        let deb = control::Metadata {
            version: "6.8.0-40.40".into(),
            maintainer: "Ubuntu Kernel Team <kernel-team@lists.ubuntu.com>".into(),
            ..Default::default()
        };
        check(Evidence { release: "6.8.0-40-generic", deb: Some(&deb), ..Evidence::default() }, "ubuntu/24.04");
    }

    #[test]
    fn rpm_distributions_by_the_release() {
        for (release, expected) in [
            ("6.6.8-200.fc39.x86_64", "fedora/39"),
            ("4.14.336-253.554.amzn2.x86_64", "amzn/2"),
            ("6.1.66-91.160.amzn2023.aarch64", "amzn/2023"),
            ("4.18.0-348.2.1.an8_4.x86_64", "anolis/8"),
            ("4.19.91-26.al7.x86_64", "alinux/2"),
            ("5.10.134-16.al8.x86_64", "alinux/3"),
            ("4.19.90-24.4.v2101.ky10.aarch64", "kylin/V10"),
            ("4.19.90-2107.6.0.0100.oe1.bclinux.x86_64", "bclinux/21.10"),
            ("4.19.90-2003.4.0.0036.oe1.x86_64", "openeuler/20.03"),
            ("5.10.0-136.12.0.86.oe2203sp1.x86_64", "openeuler/22.03-SP1"),
            ("6.6.57.1-1.azl3", "azurelinux/3"),
            ("5.15.176.3-3.cm2", "mariner/2"),
            ("6.1.10-11.ph5", "photon/5"),
            ("5.4.17-2136.330.7.1.el8uek.x86_64", "ol/8"),
            ("4.18.0-553.el8_10.x86_64", "rhel/8"),
            ("6.6.8-arch1-1", "arch/rolling"),
            ("6.6.8", "unknown"),
            ("6.6.8-almost-elegant", "unknown"),
        ] {
            check(banner(release, ""), expected);
        }
    }

    #[test]
    fn el_by_its_maker() {
        let release = "4.18.0-147.5.1.el8_1.x86_64";
        check(banner(release, "Linux version … (mockbuild@kbuilder.bsys.centos.org) …"), "centos/8");
        check(banner(release, "Linux version … (mockbuild@x86-vm-07.build.eng.bos.redhat.com) …"), "rhel/8");
        check(banner(release, "Linux version … (mockbuild@iad1-prod-build001.bld.equ.rockylinux.org) …"), "rocky/8");
        let rpm = rpm::Metadata { vendor: "AlmaLinux".into(), ..Default::default() };
        check(Evidence { release, rpm: Some(&rpm), ..Evidence::default() }, "almalinux/8");
    }

    #[test]
    fn suse_by_package_or_number() {
        let check = |vendor: &str, distribution: &str, release, expected| {
            let (vendor, distribution) = (vendor.into(), distribution.into());
            let rpm = rpm::Metadata { vendor, distribution, ..Default::default() };
            check(Evidence { release, rpm: Some(&rpm), ..Evidence::default() }, expected);
        };
        let sles = "SUSE LLC <https://www.suse.com/>";
        check(sles, "SUSE Linux Enterprise 15", "5.14.21-150500.55.39-default", "sles/15.5");
        check(sles, "SUSE Linux Enterprise 12 SP5", "4.12.14-122.37-default", "sles/12.5");
        check("openSUSE", "openSUSE Leap 15.2", "5.3.18-lp152.106-default", "opensuse-leap/15.2");
        check("openSUSE", "openSUSE Leap 15.2", "5.3.18-57-default", "opensuse-leap/15.2");
        check("openSUSE", "openSUSE Tumbleweed", "6.6.3-1-default", "opensuse-tumbleweed/rolling");
    }
}
