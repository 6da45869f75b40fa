//! Picture, table, JSON and summary, letter by letter. `UPDATE_GOLDEN=1` writes the golden files anew.

use std::path::Path;

use pingtrace::picture::{Hosts, picture};
use pingtrace::summary::Summary;
use pingtrace::wire::Entry;
use pingtrace::{Hop, Point, Sample, json, table};

/// A probe: `user` is how long its program waited for a processor, in microseconds.
fn probe(seq: u32, user: u64, by_server: bool) -> Sample {
    let mut sample = Sample { seq, ..Sample::default() };
    let begin = 1_000_000 * u64::from(seq);
    let local = [
        (Point::LTxUser, 0),
        (Point::LTxDevqueue, 12),
        (Point::LTxDevout, 15),
        (Point::LRxSoftirq, 250),
        (Point::LRxIprcv, 254),
        (Point::LRxSkdataready, 260),
        (Point::LRxWakeup, 268),
        (Point::LRxUser, 300 + user),
    ];
    for (point, us) in local {
        sample.set(point, (begin + us) * 1000);
    }
    // the other host's clock is 77 s ahead; now and then the link takes a little longer
    let ahead = 77_000_000 + u64::from(seq % 3);
    let entry = |point: Point, us| Entry {
        ns_id: 4_026_531_840,
        ifindex: 2,
        function_id: point as u16,
        ts: (begin + ahead + us) as u32,
        ..Entry::default()
    };
    sample.add_entries(&[entry(Point::RRxDevrcv, 60), entry(Point::RRxIcmprcv, 63), entry(Point::RTxDevout, 200)]);
    if by_server {
        sample.add_entries(&[entry(Point::RRxUser, 110), entry(Point::RTxUser, 150)]);
    }
    sample
}

fn hosts() -> Hosts {
    Hosts {
        local: "10.0.0.1".to_owned(),
        remote: "10.0.0.2".to_owned(),
        protocol: "icmp".to_owned(),
        missing: vec![(Point::LRxWakeup, "raw_tp/sched_wakeup: not there".to_owned())],
    }
}

fn run() -> Summary {
    let mut summary = Summary::new(0);
    for seq in 1..=40 {
        summary.add(&probe(seq, if seq % 20 == 0 { 9000 } else { 0 }, false));
    }
    summary.counters.send_num = 41;
    summary.counters.reply_num = 40;
    summary.counters.lost_num = 1;
    summary.counters.garbage_num = 2;
    summary
}

#[track_caller]
fn check(text: &str, golden: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(golden);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).expect("written");
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{golden}");
}

#[test]
fn pictures_are_as_they_were() {
    let summary = run();
    check(&picture(&probe(41, 0, false), &summary, &hosts()), "picture.txt");
    check(&picture(&probe(41, 9000, true), &summary, &hosts()), "picture-server.txt");
    let mut sample = probe(41, 0, false);
    for point in Point::ALL.into_iter().filter(|point| point.is_remote() || *point == Point::LRxWakeup) {
        sample.points[point as usize] = None;
    }
    check(&picture(&sample, &summary, &hosts()), "picture-alone.txt");
    let hop = |point, time| Hop {
        point,
        netns: 4_026_532_000,
        ifindex: 3,
        device: "veth0".to_owned(),
        user_id: 0,
        time,
        is_own: true,
    };
    let mut sample = probe(41, 0, false);
    sample.hops = vec![hop(Point::MRxDevecho, 41_000_020_000), hop(Point::MTxDevreply, 41_000_240_000)];
    sample.hops.push(Hop { user_id: 7, is_own: false, device: String::new(), ..hop(Point::MTxDevecho, 0) });
    check(&picture(&sample, &summary, &hosts()), "picture-hops.txt");
}

#[test]
fn the_table_is_as_it_was() {
    let summary = run();
    let lines = [probe(41, 0, false), probe(42, 9000, true)].map(|probe| table::line(&probe, &summary, ""));
    check(&(table::heading() + &lines.concat()), "table.txt");
}

#[test]
fn the_summary_is_as_it_was() {
    let summary = run();
    let histogram = table::histogram(summary.histogram(0), "total");
    check(&(table::summary(&summary, "pingtrace 10.0.0.1 > 10.0.0.2, icmp") + &histogram), "summary.txt");
}

#[test]
fn json_and_the_log_are_as_they_were() {
    let summary = run();
    check(&format!("{}\n{}\n", json::probe(&probe(41, 0, false), &summary), json::stat(&summary)), "json.txt");
}
