//! Plan, load, attach: what the commands that measure begin with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use btf::object_file::ObjectFile;
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use loader::choose::{self, Places};
use loader::{Options, Session};
use plan::{Hints, Outcome, Plan};
use tcprt::{Config, Mode, OBJECT};

use crate::args::Loading;
use crate::rights;

/// What the object is called in plans and errors.
const NAME: &str = "tcprt";

/// What is attached.
pub(crate) struct Agent {
    pub(crate) session: Session,
    refused: Option<MapHandle>,
    untold: Option<MapHandle>,
    table: Option<Table>,
}

/// Where connections are kept, if it is not with their sockets.
struct Table {
    connections: MapHandle,
    entered: MapHandle,
    left: MapHandle,
}

/// What came of attaching.
pub(crate) enum Attached {
    /// It measures.
    Yes(Box<Agent>),
    /// Nothing can be measured here: why.
    No(Box<Plan>),
}

/// Loads and attaches what works here; `keep` is the folder where it is pinned.
///
/// # Errors
/// A right is missing, or the kernel refuses it all.
pub(crate) fn attach(config: &Config, loading: &Loading, keep: Option<PathBuf>) -> Result<Attached> {
    rights::check()?;
    let begin = Instant::now();
    let (hints, config) = (hints(config.mode, loading)?, config.bytes()?.to_vec());
    // all of the types are given back when it is loaded
    let own = loader::own_types();
    let object = ObjectFile::parse(NAME, OBJECT).context("the object of this program")?;
    let facts = loader::probe_for(std::path::Path::new("/"), &object);
    let chosen = choose::choose(&object, &facts, &places(loading))?;
    let known = begin.elapsed();
    let mut options = Options::default();
    (options.config, options.pins, options.hints) = (config, keep, hints);
    options.map_entries.extend(loading.slots.map(|slots| ("events".to_owned(), slots)));
    options.map_entries.extend(loading.connections.map(|connections| ("connections".to_owned(), connections)));
    if loading.verbose {
        chosen.steps.iter().for_each(|step| eprintln!("tcprt: BTF: {step}"));
        options.log = Some(Arc::new(|line: &str| eprintln!("tcprt: {line}")));
    }
    let loaded = loader::load(NAME, OBJECT, &facts, chosen.btf.as_ref(), &options);
    drop((own, chosen, facts, object));
    let session = match loaded {
        Ok(session) => session,
        Err(error) => {
            if let Some(plan) = error.plan() {
                eprint!("{}", plan::text::lines(plan, false));
            }
            // it names its cause itself
            bail!("{error}")
        }
    };
    if session.plan.outcome == Outcome::Fails {
        return Ok(Attached::No(Box::new(session.plan)));
    }
    let all = begin.elapsed();
    if loading.verbose {
        let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
        eprintln!("tcprt: attached in {}: {} to know the kernel, {} to load", ms(all), ms(known), ms(all - known));
    }
    loader::give_memory_back();
    let map = |name: &str| session.maps.get(name).map(MapHandle::try_from).transpose();
    let (refused, untold) = (map("connections_refused")?, map("requests_untold")?);
    let table = (map("connections")?, map("connections_entered")?, map("connections_left")?);
    let table = match table {
        (Some(connections), Some(entered), Some(left)) => Some(Table { connections, entered, left }),
        _ => None,
    };
    Ok(Attached::Yes(Box::new(Agent { session, refused, untold, table })))
}

/// The plan, without attaching anything.
///
/// # Errors
/// The BTF that was asked for cannot be taken.
pub(crate) fn explain(mode: Mode, loading: &Loading) -> Result<Plan> {
    let object = ObjectFile::parse(NAME, OBJECT).context("the object of this program")?;
    let facts = loader::probe_for(std::path::Path::new("/"), &object);
    let chosen = choose::choose(&object, &facts, &places(loading))?;
    Ok(loader::plan(&object, &facts, chosen.btf.as_ref(), &hints(mode, loading)?))
}

/// What is not to be enabled: what the mode does without, and what the user does.
fn hints(mode: Mode, loading: &Loading) -> Result<Hints> {
    let mut known = [Mode::Default, Mode::Http].into_iter().flat_map(Mode::unwanted).collect::<Vec<_>>();
    known.sort();
    if let Some(unknown) = loading.without.iter().find(|name| known.binary_search(name).is_err()) {
        bail!("--without {unknown}: there is no such program; there are {}", known.join(", "));
    }
    let unwanted = mode.unwanted().chain(loading.without.iter().cloned()).collect();
    Ok(Hints { unwanted, ..Hints::default() })
}

fn places(loading: &Loading) -> Places {
    let explicit = loading.btf.clone().or_else(choose::from_environment);
    Places { explicit, root: "/".into(), ..Places::default() }
}

impl Agent {
    /// How often there was no memory for a connection, so far.
    pub(crate) fn refused(&self) -> u64 {
        sum(self.refused.as_ref())
    }

    /// Connections that went from the table before their end, so far: so many at least while it is attached.
    pub(crate) fn evicted(&self) -> u64 {
        let Some(table) = &self.table else { return 0 };
        // what goes meanwhile is not counted twice, and what comes is not counted
        let entered = sum(Some(&table.entered));
        // a key that goes while it is looked at lets the looking begin anew
        let there = table.connections.keys().take(table.connections.max_entries() as usize).count() as u64;
        entered.saturating_sub(there).saturating_sub(sum(Some(&table.left)))
    }

    /// Requests that are not told by themselves, so far: so many at least.
    pub(crate) fn untold(&self) -> u64 {
        sum(self.untold.as_ref())
    }
}

/// Of a counter that each processor has its own of.
fn sum(counter: Option<&MapHandle>) -> u64 {
    let values = counter.and_then(|map| map.lookup_percpu(&0u32.to_ne_bytes(), MapFlags::ANY).ok().flatten());
    values.unwrap_or_default().iter().filter_map(|value| Some(u64::from_ne_bytes(*value.first_chunk()?))).sum()
}
