//! Who looks.

use std::io::{BufRead, BufReader};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use btf::object_file::ObjectFile;
use loader::choose::{Chosen, Places, choose};
use loader::{Options, Session};
use plan::{Hints, KernelFacts};
use rustix::process::{Pid, Signal, kill_process};
use tcprt::{Config, Event, Kind, Mode};

use crate::Result;
use crate::load::Loads;

/// A way of the object, and what is not to be enabled for it to be taken.
#[derive(Clone, Debug)]
pub(crate) struct Rank {
    number: u32,
    unwanted: Vec<String>,
}

/// Who looks in a turn.
pub(crate) enum Look {
    Nobody,
    /// At ports that nobody uses.
    Passing(Rank),
    /// At the servers'.
    Measuring(Rank),
    /// The program as its users run it, at the servers' ports, with each record in a file.
    Agent(PathBuf),
}

impl Look {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Look::Nobody => "nobody",
            Look::Passing(_) => "passing",
            Look::Measuring(_) => "measuring",
            Look::Agent(_) => "agent",
        }
    }

    pub(crate) fn rank(&self) -> Option<u32> {
        match self {
            Look::Passing(rank) | Look::Measuring(rank) => Some(rank.number),
            Look::Nobody | Look::Agent(_) => None,
        }
    }

    pub(crate) fn name(&self) -> String {
        self.rank().map_or_else(|| self.word().to_owned(), |rank| format!("rank {rank}, {}", self.word()))
    }
}

/// The object, and what it may be loaded with here.
pub(crate) struct Object<'b> {
    bytes: &'b [u8],
    parsed: ObjectFile<'b>,
    facts: KernelFacts,
    chosen: Chosen,
}

/// What is attached, until it ends.
pub(crate) enum Looking {
    Nobody,
    Object(Box<Session>, bool),
    Agent(Child, PathBuf),
}

const NAME: &str = "tcprt.o";

impl<'b> Object<'b> {
    /// # Errors
    /// It is no object, or there are no types for it.
    pub(crate) fn new(bytes: &'b [u8]) -> Result<Object<'b>> {
        let parsed = ObjectFile::parse(NAME, bytes)?;
        let facts = loader::probe_for(Path::new("/"), &parsed);
        let chosen = choose(&parsed, &facts, &Places { root: "/".into(), ..Places::default() })?;
        Ok(Object { bytes, parsed, facts, chosen })
    }

    /// The ways that the plan has for this kernel.
    ///
    /// # Errors
    /// None works.
    pub(crate) fn ranks(&self) -> Result<Vec<Rank>> {
        let mut unwanted: Vec<String> = Mode::Default.unwanted().collect();
        let mut ranks = Vec::new();
        loop {
            let hints = Hints { unwanted: unwanted.clone(), ..Hints::default() };
            let plan = loader::plan(&self.parsed, &self.facts, self.chosen.btf.as_ref(), &hints);
            let group = plan.groups.iter().find(|group| group.name == "tcp").ok_or("the object has no group tcp")?;
            let Some(number) = group.taken else { break };
            let programs = group.ranks[&number].clone();
            ranks.push(Rank { number, unwanted: unwanted.clone() });
            unwanted.extend(programs);
        }
        if ranks.is_empty() { Err("no way works here".into()) } else { Ok(ranks) }
    }

    /// # Errors
    /// It does not attach, or by another way.
    pub(crate) fn start(&self, look: &Look, ports: &[u16]) -> Result<Looking> {
        let servers: Vec<RangeInclusive<u16>> = ports.iter().map(|&port| port..=port).collect();
        match look {
            Look::Nobody => Ok(Looking::Nobody),
            // nobody has the first port
            Look::Passing(rank) => Ok(Looking::Object(Box::new(self.load(rank, vec![1..=1])?), false)),
            Look::Measuring(rank) => Ok(Looking::Object(Box::new(self.load(rank, servers)?), true)),
            Look::Agent(program) => agent(program, ports),
        }
    }

    fn load(&self, rank: &Rank, local: Vec<RangeInclusive<u16>>) -> Result<Session> {
        let mut options = Options::default();
        options.hints.unwanted.clone_from(&rank.unwanted);
        options.config = Config { local, ..Config::default() }.bytes()?.to_vec();
        let session = loader::load(NAME, self.bytes, &self.facts, self.chosen.btf.as_ref(), &options)?;
        let taken = session.plan.groups.iter().find(|group| group.name == "tcp").and_then(|group| group.taken);
        if taken == Some(rank.number) { Ok(session) } else { Err(format!("rank {taken:?}, not {rank:?}").into()) }
    }
}

/// Where the agent writes its records.
const RECORDS: &str = "rank_cost.records";

fn agent(program: &Path, ports: &[u16]) -> Result<Looking> {
    let file = std::env::temp_dir().join(RECORDS);
    let mut command = Command::new(program);
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    command.args(["--format", "v6", "--verbose", "--lport", &ports.join(","), "--output"]).arg(&file);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut errors = BufReader::new(child.stderr.take().ok_or("its standard error")?);
    let mut line = String::new();
    while !line.contains("attached in ") {
        line.clear();
        if errors.read_line(&mut line)? == 0 {
            return Err(format!("{} ended: {}", program.display(), child.wait()?).into());
        }
    }
    std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
    std::thread::sleep(Duration::from_millis(100));
    Ok(Looking::Agent(child, file))
}

impl Looking {
    /// Ends it, and holds what it saw against what there was.
    ///
    /// # Errors
    /// It saw something else.
    pub(crate) fn end(self, loads: &Loads, requests: u64) -> Result<()> {
        // what is acknowledged last
        std::thread::sleep(Duration::from_millis(200));
        let (told, expected) = match self {
            Looking::Nobody => return Ok(()),
            Looking::Object(session, measures) => {
                let mut told = 0_u64;
                let listener = session.listen(|event| {
                    told += u64::from(Event::parse(event.bytes).is_ok_and(|event| event.kind == Kind::Request));
                })?;
                listener.consume()?;
                let lost: u64 = listener.lost()?.values().sum();
                drop(listener);
                (told + lost, if measures { loads.tasks() } else { 0 })
            }
            Looking::Agent(mut child, file) => {
                kill_process(Pid::from_child(&child), Signal::INT)?;
                let status = child.wait()?;
                if !status.success() {
                    return Err(format!("the agent ended with {status}").into());
                }
                let text = std::fs::read_to_string(&file)?;
                std::fs::remove_file(&file)?;
                (text.lines().filter(|line| line.starts_with("V6 R")).count() as u64, loads.tasks())
            }
        };
        // ends of connections and what is overwritten are in `lost`; redis-benchmark asks for the configuration too
        if told < expected || told > expected + requests / 10 {
            return Err(format!("{told} of {expected} requests are told").into());
        }
        Ok(())
    }
}
