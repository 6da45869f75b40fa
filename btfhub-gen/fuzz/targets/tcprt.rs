//! What comes to tcprt from its object and from logs: what is read is written again as it was, and anything can be told of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tcprt::stats::Interval;
use tcprt::summary::{Part, Summaries};
use tcprt::svg::{HeatMap, Timeline};
use tcprt::text::Table;
use tcprt::top::{Order, Top};
use tcprt::{Event, Record, json, log, ports, prometheus, units, v6};

fuzz_target!(|data: &[u8]| {
    let mut records = Vec::new();
    // the first byte says what the rest is
    match data.split_first() {
        Some((0, bytes)) => records.extend(Event::parse(bytes).map(|event| Record::of(&event, 1 << 60))),
        Some((_, bytes)) => {
            log::read("log", bytes, |line| {
                match line {
                    Ok(record) => records.push(record),
                    Err(bad) => assert!(bad.malformed.column >= 1 && !bad.to_string().contains('\n')),
                }
                Ok(())
            })
            .expect("memory can be read");
            if let Ok(text) = std::str::from_utf8(bytes) {
                let _ = (ports::parse(text), units::duration(text), units::size(text));
                let _ = tcprt::containers::of_path(text);
            }
        }
        None => return,
    }
    let (mut table, mut interval, mut all) = (Table::default(), Interval::default(), Summaries::new(16));
    let (mut metrics, mut top) = (prometheus::Metrics::default(), Top::new(2, 1_000_000, Order::Total));
    let (mut map, mut timeline) = (HeatMap::new(Part::Total), Timeline::new());
    for record in &records {
        let line = v6::Line(record).to_string();
        // the vendor's lines have whole microseconds of a time of day only
        assert_eq!(v6::parse(&line).as_ref(), Ok(&record.as_logged()), "{line}");
        let text = json::line(record);
        let read = json::parse(&text).expect("our own line");
        assert_eq!(json::line(&read), text);
        assert!(!table.line(record).contains(['\n', '\x1b']));
        interval.add(record);
        all.add(record);
        metrics.add(record);
        top.add(record);
        map.add(record);
        timeline.add(record);
    }
    let _ = (table.heading(), interval.take_lines(1), all.lines(), metrics.exposition());
    let _ = (top.frame(1, 2, 100, 40), map.draw("log"), timeline.draw("log"));
});
