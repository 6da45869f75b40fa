//! What the tests attach: the object of `fixtures/user_probes.bpf.c`, by the loader, its functions looked up by `offset_db`.

use btf::object_file::ObjectFile;
pub(crate) use lcc_tests::talker::Talker;
use lcc_tests::{compile_with, may_load};
use libbpf_rs::{MapCore, MapFlags};
use loader::choose::{Places, choose};
use loader::uprobe::Resolver;
use loader::{Options, Session};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Bytes of a write that are told.
pub(crate) const MOST: usize = 8192;

/// The object; `None`, said, where it cannot be loaded.
pub(crate) fn object() -> Option<Vec<u8>> {
    if !may_load() {
        return None;
    }
    let registers = match cfg!(target_arch = "aarch64") {
        true => ["-DFIRST=0", "-DSECOND=1", "-DTHIRD=2", "-DRESULT=0"],
        // rdi, rsi, rdx, rax
        false => ["-DFIRST=14", "-DSECOND=13", "-DTHIRD=12", "-DRESULT=10"],
    };
    compile_with("tests/tests/fixtures/user_probes.bpf.c", &registers)
}

/// What is wanted: each of `FUNCTION` or `FUNCTION+OFFSET` of the file.
#[derive(Default)]
pub(crate) struct Wanted<'w> {
    /// How often it is passed.
    pub(crate) count: Vec<&'w str>,
    /// What its second and third argument, a buffer and its size, say; its first is to whom.
    pub(crate) write: Vec<&'w str>,
    /// What is returned there.
    pub(crate) result: Vec<&'w str>,
    /// A field of what an argument points to: told as a result.
    pub(crate) field: Option<Field<'w>>,
}

/// A field of four bytes of a struct that an argument points to.
pub(crate) struct Field<'w> {
    pub(crate) function: &'w str,
    /// Bytes from the struct's begin.
    pub(crate) offset: u64,
    /// It is the third argument that points to the struct; else, the second.
    pub(crate) is_third: bool,
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// By function.
    pub(crate) counts: BTreeMap<String, u64>,
    /// In order.
    pub(crate) writes: Vec<(u64, Vec<u8>)>,
    /// In order.
    pub(crate) results: Vec<u64>,
}

/// Attaches to a process, has it do something, and tells what was seen until nothing more came for a while.
pub(crate) fn watch(
    object: &[u8],
    resolver: impl Resolver + 'static,
    process: u32,
    file: &Path,
    wanted: &Wanted<'_>,
    act: impl FnOnce(),
) -> Seen {
    let mut options = Options::default();
    options.pid = Some(process);
    options.resolver = Some(Arc::new(resolver));
    let field: Vec<&str> = wanted.field.iter().map(|field| field.function).collect();
    let config = |field: &Field<'_>| [field.offset, u64::from(field.is_third)].map(u64::to_ne_bytes).concat();
    options.config = wanted.field.as_ref().map(config).unwrap_or_default();
    let kinds =
        [("count", &wanted.count, 8), ("write", &wanted.write, 2), ("result", &wanted.result, 8), ("field", &field, 1)];
    for (kind, functions, most) in kinds {
        assert!(functions.len() <= most, "{kind}: {} functions", functions.len());
        for number in 0..most {
            let program = format!("{kind}_{number}");
            match functions.get(number) {
                Some(function) => options.hints.targets.push((program, format!("{}:{function}", file.display()))),
                None => options.hints.unwanted.push(program),
            }
        }
    }
    let session = load(object, &options);
    let all = wanted.count.len() + wanted.write.len() + wanted.result.len() + field.len();
    assert_eq!(session.resolved.len(), all, "{}", plan::text::lines(&session.plan, true));
    let seen = Mutex::new(Seen::default());
    let listener = session.listen(|event| {
        let number = |at: usize| u64::from_ne_bytes(event.bytes[at..at + 8].try_into().unwrap());
        let mut seen = seen.lock().unwrap();
        match event.stream {
            "writes" => {
                let size = number(0) as usize;
                assert!(size <= MOST, "{size} bytes are more than are told");
                seen.writes.push((number(8), event.bytes[16..16 + size].to_vec()));
            }
            _ => seen.results.push(number(0)),
        }
    });
    let listener = listener.unwrap();
    act();
    let counts = || -> Vec<u64> { (0..wanted.count.len()).map(|number| count(&session, number)).collect() };
    let (mut last, mut since) = (counts(), Instant::now());
    while since.elapsed() < Duration::from_millis(400) {
        let heard = listener.poll(Duration::from_millis(50)).unwrap();
        let now = counts();
        if heard > 0 || now != last {
            (last, since) = (now, Instant::now());
        }
    }
    assert!(listener.lost().unwrap().values().all(|lost| *lost == 0), "{:?}", listener.lost());
    drop(listener);
    let mut seen = seen.into_inner().unwrap();
    seen.counts = wanted.count.iter().map(|name| (*name).to_owned()).zip(last).collect();
    seen
}

fn load(object: &[u8], options: &Options) -> Session {
    let facts = loader::probe(Path::new("/"));
    let parsed = ObjectFile::parse("user_probes.o", object).unwrap();
    let chosen = choose(&parsed, &facts, &Places::here()).unwrap();
    loader::load("user_probes.o", object, &facts, chosen.btf.as_ref(), options).unwrap()
}

fn count(session: &Session, number: usize) -> u64 {
    let found = session.maps["counts"].lookup(&(number as u32).to_ne_bytes(), MapFlags::ANY).unwrap();
    u64::from_ne_bytes(found.unwrap().try_into().unwrap())
}
