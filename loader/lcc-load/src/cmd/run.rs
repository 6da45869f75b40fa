//! `lcc-load run`: the plan, then the events, then what was lost.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use btf::object_file::ObjectFile;
use loader::choose::{self, Places};
use loader::configuration::Configuration;
use loader::record::Record;
use loader::stream::Event;
use loader::{Options, Session};

use crate::args::{Run, Telling};
use crate::cmd::{code, here, name, parse, print, read, tell};

/// How long it is before a signal is noticed at most.
const TICK: Duration = Duration::from_millis(100);

pub(super) fn run(args: Run) -> Result<ExitCode> {
    let bytes = read(&args.object)?;
    let object = parse(&args.object, &bytes)?;
    // kept, for it is asked for again until all is loaded
    let _own = loader::own_types();
    let facts = here(&object);
    let packs = args.pack.iter().map(|path| Ok((path.display().to_string(), read(path)?))).collect::<Result<_>>()?;
    let explicit = args.btf.clone().or_else(choose::from_environment);
    let folders = args.btf_folder.clone();
    let places = Places { explicit, root: "/".into(), packs, folders, near: args.near };
    let chosen = choose::choose(&object, &facts, &places)?;
    if chosen.btf.as_ref().is_none_or(|types| !types.own) {
        for step in &chosen.steps {
            eprintln!("lcc-load: BTF: {step}");
        }
    }
    let options = options(&args, &object, &bytes)?;
    match loader::load(&name(&args.object), &bytes, &facts, chosen.btf.as_ref(), &options) {
        Ok(session) => {
            let code = code(&session.plan);
            say(&session, args.telling)?;
            if args.seconds != Some(0) {
                events(&args, &object, &session)?;
            }
            Ok(code)
        }
        Err(error) => {
            if let Some(plan) = error.plan() {
                tell(plan, args.telling)?;
            }
            // it names its cause itself
            bail!("{error}")
        }
    }
}

fn options(args: &Run, object: &ObjectFile<'_>, bytes: &[u8]) -> Result<Options> {
    let mut options = Options::default();
    if let Some(path) = &args.offsets {
        options.resolver = Some(Arc::new(offset_db::Resolver::open(path)?));
    }
    let configuration = Configuration::of(object, bytes).map_err(|why| anyhow!("{}: {why}", object.name()))?;
    for setting in &args.set {
        let (path, value) = setting.split_once('=').with_context(|| format!("--set {setting}: it has no ="))?;
        let configuration = configuration.as_ref();
        let configuration = configuration.with_context(|| format!("--set {setting}: the object has no LCC_CONFIG"))?;
        options.config.resize(configuration.size, 0);
        let set = configuration.record.set(&mut options.config, path, value);
        set.map_err(|why| anyhow!("--set {setting}: {why}"))?;
    }
    for entries in &args.map_entries {
        let parsed = entries.split_once('=').and_then(|(map, number)| Some((map.to_owned(), number.parse().ok()?)));
        options.map_entries.push(parsed.with_context(|| format!("--map-entries {entries}: it is not MAP=N"))?);
    }
    for target in &args.target {
        let parsed = target.split_once('=').map(|(program, target)| (program.to_owned(), target.to_owned()));
        options.hints.targets.push(parsed.with_context(|| format!("--target {target}: it is not PROGRAM=TARGET"))?);
    }
    options.hints.unwanted.clone_from(&args.without);
    options.cgroup = args.cgroup.clone();
    options.pid = args.pid;
    options.pins = args.pin.clone();
    Ok(options)
}

/// The plan, and what is not in it.
fn say(session: &Session, telling: Telling) -> Result<()> {
    if telling.json {
        return print(&serde_json::json!({ "plan": session.plan, "reused": session.reused }).to_string());
    }
    print(plan::text::lines(&session.plan, telling.all).trim_end())?;
    for (program, place) in &session.resolved {
        print(&format!("  {program} is at {place}"))?;
    }
    if session.reused {
        print("  found pinned, and not loaded anew")?;
    }
    Ok(())
}

/// Prints events until the time is over, or it is told to end.
fn events(args: &Run, object: &ObjectFile<'_>, session: &Session) -> Result<()> {
    let told_to_end = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&told_to_end)).context("signals")?;
    }
    let mut records = BTreeMap::new();
    for stream in &session.streams {
        let record = Record::of(object.btf(), &stream.event);
        records.insert(stream.name.clone(), record.map_err(|why| anyhow!("stream {}: {why}", stream.name))?);
    }
    let json = args.telling.json;
    let most = args.events.unwrap_or(u64::MAX);
    let printer = Printer { records, json, left: most, failed: None, out: io::BufWriter::new(io::stdout()) };
    let printer = Mutex::new(printer);
    let lock = || printer.lock().unwrap_or_else(PoisonError::into_inner);
    let listener = session.listen(|event| lock().print(event))?;
    let end = args.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    loop {
        let left = end.map_or(TICK, |end| end.saturating_duration_since(Instant::now()).min(TICK));
        if listener.poll(left).context("reading events")? > 0 {
            lock().flush();
        }
        let is_over = end.is_some_and(|end| Instant::now() >= end);
        let is_enough = lock().left == 0 || lock().failed.is_some();
        if is_over || is_enough || told_to_end.load(Ordering::Relaxed) {
            break;
        }
    }
    // what came before the end
    listener.consume().context("reading events")?;
    let lost = listener.lost().context("counting lost events")?;
    drop(listener);
    let mut printer = printer.into_inner().unwrap_or_else(PoisonError::into_inner);
    printer.flush();
    match printer.failed {
        // whoever closed standard output has read enough
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        Some(error) => return Err(error).context("standard output"),
        None => {}
    }
    if json {
        print(&serde_json::json!({ "lost": lost }).to_string())?;
    }
    for (stream, number) in lost.iter().filter(|(_, number)| **number > 0) {
        eprintln!("lcc-load: {number} events of the stream {stream} were lost: its buffer was full (--map-entries)");
    }
    Ok(())
}

/// Prints events, a line for each.
struct Printer {
    records: BTreeMap<String, Record>,
    json: bool,
    /// So many may still come.
    left: u64,
    failed: Option<io::Error>,
    out: io::BufWriter<io::Stdout>,
}

impl Printer {
    fn print(&mut self, event: Event<'_>) {
        if self.left == 0 || self.failed.is_some() {
            return;
        }
        self.left -= 1;
        let value = self.records.get(event.stream).and_then(|record| record.read(event.bytes));
        let (stream, len) = (event.stream, event.bytes.len());
        let line = match (value, self.json) {
            (Some(value), true) => {
                let value = serde_json::to_string(&value).unwrap_or_default();
                format!("{{\"stream\":\"{stream}\",\"event\":{value}}}")
            }
            (Some(value), false) => format!("{stream}: {value}"),
            (None, true) => format!("{{\"stream\":\"{stream}\",\"bytes\":{len}}}"),
            (None, false) => format!("{stream}: {len} bytes, less than its struct"),
        };
        self.failed = writeln!(self.out, "{line}").err();
    }

    fn flush(&mut self) {
        if self.failed.is_none() {
            self.failed = self.out.flush().err();
        }
    }
}
