//! From options to a plan, and to a session.

use std::ffi::c_char;
use std::path::Path;

use btf::object_file::ObjectFile;
use loader::choose::{self, Chosen};
use loader::configuration::Configuration;
use plan::{KernelFacts, Plan};

use crate::code::{Fault, Result, lcc_code, text};
use crate::handle::out;
use crate::options::{Wishes, call, last_of_each, lcc_loader};
use crate::session::lcc_session;

/// What every load and plan begins with.
struct Ready<'o> {
    object: ObjectFile<'o>,
    facts: KernelFacts,
    chosen: Chosen,
    options: loader::Options,
}

fn ready(loader: &Wishes) -> Result<Ready<'_>> {
    let no_object = || Fault::new(lcc_code::LCC_ERROR_ARGUMENT, "no object was given");
    let (name, bytes) = loader.object.as_ref().ok_or_else(no_object)?;
    let object = ObjectFile::parse(name, bytes);
    let object = object.map_err(|error| Fault::new(lcc_code::LCC_ERROR_OBJECT, format!("{name}: {error}")))?;
    let options = options(loader, &object, bytes)?;
    // kept, for it is asked for again and again until all is loaded
    let _own = loader::own_types();
    let facts = loader::probe_for(Path::new("/"), &object);
    let mut places = loader.places.clone();
    places.explicit = places.explicit.or_else(choose::from_environment);
    let chosen = choose::choose(&object, &facts, &places);
    let chosen = chosen.map_err(|error| Fault::new(lcc_code::LCC_ERROR_BTF, error.to_string()))?;
    if let Some(log) = &options.log {
        chosen.steps.iter().for_each(|step| log(&format!("BTF: {step}")));
    }
    Ok(Ready { object, facts, chosen, options })
}

/// The options, with the members of the configuration in it.
fn options(loader: &Wishes, object: &ObjectFile<'_>, bytes: &[u8]) -> Result<loader::Options> {
    let mut options = loader.options.clone();
    let wrong = |what: String| Fault::new(lcc_code::LCC_ERROR_CONFIGURATION, format!("{}: {what}", object.name()));
    let settings = last_of_each(&loader.settings);
    if settings.is_empty() {
        return Ok(options);
    }
    let configuration = Configuration::of(object, bytes).map_err(wrong)?;
    let configuration =
        configuration.ok_or_else(|| wrong("the object has no configuration (LCC_CONFIG)".to_owned()))?;
    if options.config.len() < configuration.size {
        options.config.resize(configuration.size, 0);
    }
    for (member, value) in settings {
        let set = configuration.record.set(&mut options.config, member, value);
        set.map_err(|what| wrong(format!("{member}={value}: {what}")))?;
    }
    Ok(options)
}

fn plan(loader: &Wishes) -> Result<Plan> {
    let ready = ready(loader)?;
    Ok(loader::plan(&ready.object, &ready.facts, ready.chosen.btf.as_ref(), &ready.options.hints))
}

/// What would be loaded, and why, as JSON; nothing is. The string is the instance's, and valid until the next call with it.
///
/// # Safety
/// The instance is one of lcc_loader_new(); `json` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_loader_plan(loader: *mut lcc_loader, json: *mut *const c_char) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(loader, |loader| {
            let json = out(json, "the place for the plan")?;
            loader.plan = text(serde_json::to_string(&plan(loader)?).unwrap_or_default());
            *json = loader.plan.as_ptr();
            Ok(())
        })
    }
}

/// As lcc_loader_plan(), as text for people.
///
/// # Safety
/// The instance is one of lcc_loader_new(); `lines` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_loader_plan_text(loader: *mut lcc_loader, lines: *mut *const c_char) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(loader, |loader| {
            let lines = out(lines, "the place for the plan")?;
            loader.plan = text(plan::text::lines(&plan(loader)?, false));
            *lines = loader.plan.as_ptr();
            Ok(())
        })
    }
}

/// Loads what works of the object, and attaches it. That some program does not work is no error: see lcc_session_plan(). Free
/// the session with lcc_session_free(). Where it fails, `session` is set to null.
///
/// # Safety
/// The instance is one of lcc_loader_new(); `session` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_loader_load(loader: *mut lcc_loader, session: *mut *mut lcc_session) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(loader, |loader| {
            let session = out(session, "the place for the session")?;
            *session = std::ptr::null_mut();
            let ready = ready(loader)?;
            let (name, bytes) = loader.object.as_ref().map_or(("", &[][..]), |(name, bytes)| (name, bytes));
            let loaded = loader::load(name, bytes, &ready.facts, ready.chosen.btf.as_ref(), &ready.options)?;
            *session = Box::into_raw(Box::new(lcc_session::new(loaded, &ready.object)?));
            Ok(())
        })
    }
}
