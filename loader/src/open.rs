//! One attempt at a plan: the object is opened, made what the plan says, and loaded.

use std::collections::BTreeMap;
use std::path::Path;

use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType, Object, ObjectBuilder, OpenObject, OpenProgramMut};
use plan::{Attach, MapDefinition, MapPlan, Need, Plan, ProgramPlan, SectionKind, Status};

use crate::configuration::{self, Configuration};
use crate::session::Options;
use crate::weaken::{weaken, without_kernel_functions};
use crate::{attempt, log, raw, verifier};

/// What an attempt is made with; the same for every attempt at an object.
pub(crate) struct Work<'w> {
    pub(crate) name: &'w str,
    pub(crate) bytes: &'w [u8],
    /// BTF for libbpf, where it is not the kernel's own.
    pub(crate) types: Option<&'w Path>,
    pub(crate) options: &'w Options,
    pub(crate) configuration: Option<&'w Configuration>,
    /// The maps' declared types.
    pub(crate) declared: &'w [MapDefinition],
}

/// Why an attempt failed.
pub(crate) enum Failed {
    /// One program is refused.
    Program { name: String, stage: &'static str, why: String, log: Option<String> },
    /// It cannot be told which.
    Object(libbpf_rs::Error),
}

impl From<libbpf_rs::Error> for Failed {
    fn from(error: libbpf_rs::Error) -> Failed {
        Failed::Object(error)
    }
}

/// Bytes of a log: what the verifier says of a refusal stands at its end, which kernels before 6.4 keep only if all of the log has
/// room. It is the most that kernels before 5.2 take. Memory that is not written to is none.
const LOG: usize = (1 << 24) - 1;

/// Opens the object by libbpf.
fn open(work: &Work<'_>, plan: &Plan) -> libbpf_rs::Result<OpenObject> {
    let mut builder = ObjectBuilder::default();
    builder.name(work.name.trim_end_matches(".o"))?;
    if let Some(path) = work.types {
        builder.btf_custom_path(path)?;
    }
    if let Some(folder) = &work.options.pins {
        builder.pin_root_path(folder)?;
    }
    let mut bytes = work.bytes.to_vec();
    weaken(&mut bytes, &absent(plan));
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        without_kernel_functions(&mut bytes);
    }
    builder.open_memory(&bytes)
}

/// Whether libbpf takes the object at all: what it does not take is refused by no kernel.
pub(crate) fn opens(work: &Work<'_>, plan: &Plan) -> libbpf_rs::Result<()> {
    open(work, plan).map(drop)
}

/// Opens and loads. Nothing is attached yet.
pub(crate) fn load(work: &Work<'_>, plan: &Plan) -> Result<(Object, BTreeMap<String, MapHandle>), Failed> {
    let mut open = open(work, plan)?;
    for planned in &plan.maps {
        prepare_map(work, planned, &mut open)?;
    }
    constants(work, &mut open)?;
    let mut logs: Vec<(String, Vec<u8>)> = Vec::new();
    for mut program in open.progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        let planned = plan.programs.iter().find(|program| program.enabled && program.name == name);
        program.set_autoload(planned.is_some());
        if let Some(planned) = planned {
            retarget(&mut program, planned)?;
            let mut log = vec![0; LOG];
            raw::set_log(&mut program, &mut log);
            logs.push((name, log));
        }
    }
    let object = open.load().map_err(|error| whose(error, logs))?;
    let mut maps = BTreeMap::new();
    for map in object.maps() {
        let name = map.name().to_string_lossy().into_owned();
        // one that was not made has no descriptor
        let wanted = plan.maps.iter().find(|planned| planned.name == name);
        if wanted.is_none_or(|planned| planned.enabled) {
            maps.insert(name, MapHandle::try_from(&map)?);
        }
    }
    for log in work.declared.iter().filter(|map| map.log().is_some()) {
        if let Some(heads) = maps.get(&log::heads(&log.name)) {
            log::place(heads, log_slots(work, log)).map_err(|error| Failed::Object(error.into()))?;
        }
    }
    if let (Some(map), false) = (maps.get(configuration::MAP), work.options.config.is_empty()) {
        let mut value = work.options.config.clone();
        value.resize(map.value_size() as usize, 0);
        map.update(&0u32.to_ne_bytes(), &value, MapFlags::ANY)?;
    }
    Ok((object, maps))
}

/// Binds a program to another target than its section names, where the kernel wants to know it when it loads it.
fn retarget(program: &mut OpenProgramMut<'_>, planned: &ProgramPlan) -> Result<(), Failed> {
    if program.section().to_string_lossy().trim_start_matches('?') == planned.section {
        return Ok(());
    }
    let Some(kind) = SectionKind::of(&planned.section) else { return Ok(()) };
    let target = match (kind.attach, kind.target) {
        (Attach::Function | Attach::BtfTracepoint, Some(target)) => target.to_owned(),
        (Attach::Lsm, Some(target)) => format!("bpf_lsm_{target}"),
        _ => return Ok(()),
    };
    Ok(program.set_attach_target(0, Some(target))?)
}

/// Makes a map what the plan says.
fn prepare_map(work: &Work<'_>, planned: &MapPlan, open: &mut OpenObject) -> Result<(), Failed> {
    let Some(mut map) = open.maps_mut().find(|map| map.name() == planned.name.as_str()) else { return Ok(()) };
    if !planned.enabled {
        map.set_autocreate(false)?;
        return Ok(());
    }
    let declared = work.declared.iter().find(|declared| declared.name == planned.name);
    if declared.is_some_and(|declared| declared.map_type != planned.map_type) {
        map.set_type(MapType::from(planned.map_type))?;
        if planned.map_type == MapType::PerfEventArray as u32 {
            map.set_key_size(4)?;
            map.set_value_size(4)?;
            // as many as there are processors
            map.set_max_entries(0)?;
        }
    }
    if let Some(entries) = entries(work, &planned.name) {
        map.set_max_entries(entries)?;
    }
    let Some(declared) = declared else { return Ok(()) };
    if declared.log().is_some() || declared.heads_of().is_some() {
        let slots = if declared.log().is_some() { log_slots(work, declared) } else { 1 };
        map.set_max_entries(slots.saturating_mul(processors()))?;
        if attempt::shown_array() {
            map.set_map_flags(libbpf_sys::BPF_F_MMAPABLE)?;
        }
    }
    Ok(())
}

/// The entries that the caller wants a map to have.
fn entries(work: &Work<'_>, map: &str) -> Option<u32> {
    work.options.map_entries.iter().find(|(name, _)| name == map).map(|(_, entries)| *entries)
}

/// Slots of a log for each processor.
fn log_slots(work: &Work<'_>, log: &MapDefinition) -> u32 {
    entries(work, &log.name).unwrap_or(log.max_entries).clamp(2, 1 << 24).next_power_of_two()
}

/// How many numbers of processors there are, used or not: programs may see any of them.
fn processors() -> u32 {
    let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = possible.trim().rsplit([',', '-']).next().and_then(|last| last.parse::<u32>().ok());
    last.map_or_else(|| libbpf_rs::num_possible_cpus().unwrap_or(1) as u32, |last| last.saturating_add(1))
}

/// Writes the configuration where the constants are.
fn constants(work: &Work<'_>, open: &mut OpenObject) -> Result<(), Failed> {
    let Some(configuration) = work.configuration else { return Ok(()) };
    for mut map in open.maps_mut() {
        if !map.name().to_string_lossy().ends_with(".rodata") {
            continue;
        }
        let at = configuration.at..configuration.at + configuration.size;
        if let Some(constants) = map.initial_value_mut().and_then(|value| value.get_mut(at)) {
            constants[..work.options.config.len()].copy_from_slice(&work.options.config);
        }
    }
    Ok(())
}

/// The kernel functions, variables and configuration values that the kernel does not have.
fn absent(plan: &Plan) -> Vec<&str> {
    let requirements = plan.programs.iter().flat_map(|program| &program.requirements);
    let unmet = requirements.filter(|requirement| requirement.status == Status::Unmet);
    let named = unmet.filter_map(|requirement| match &requirement.need {
        Need::Kfunc { name } | Need::Variable { name } | Need::Config { name } => Some(name.as_str()),
        _ => None,
    });
    named.collect()
}

/// The program that the verifier spoke of, if it spoke at all.
fn whose(error: libbpf_rs::Error, logs: Vec<(String, Vec<u8>)>) -> Failed {
    let text =
        |log: &[u8]| String::from_utf8_lossy(log.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned();
    let spoken = logs.into_iter().map(|(name, log)| (name, text(&log))).find(|(_, log)| !log.trim().is_empty());
    match spoken {
        Some((name, log)) => {
            let why = verifier::summary(&log).map_or_else(|| error.to_string(), |(why, _)| why);
            Failed::Program { name, stage: "load", why, log: Some(log) }
        }
        None => Failed::Object(error),
    }
}
