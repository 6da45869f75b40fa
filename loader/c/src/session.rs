//! `lcc_session`: what is loaded, and its events.

#![allow(non_camel_case_types, reason = "they are names in C")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{CString, c_char, c_int, c_void};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use btf::object_file::ObjectFile;
use loader::Session;
use loader::record::Record;
use loader::stream::Listener;

use crate::code::{Fault, Result, lcc_code, lcc_error, text};
use crate::handle::{Data, Instance, busy, bytes, call, last_error, out, string};

/// What is loaded, for as long as it is not freed. Opaque.
pub struct lcc_session {
    // it has buffers of the session's maps, and goes first
    listener: RefCell<Option<Listener<'static>>>,
    session: RefCell<Option<Session>>,
    records: BTreeMap<String, Record>,
    plan: CString,
    lines: CString,
    /// The string that was handed out last.
    given: RefCell<CString>,
    fault: RefCell<Fault>,
}

impl Instance for lcc_session {
    fn fault(&self) -> &RefCell<Fault> {
        &self.fault
    }
}

/// Hears an event: the stream's name, and the event's bytes, which are valid until it returns. From a perf buffer there may be
/// up to seven bytes more than the struct has.
pub type lcc_event =
    Option<unsafe extern "C" fn(data: *mut c_void, stream: *const c_char, event: *const u8, len: usize)>;

impl lcc_session {
    pub(crate) fn new(session: Session, object: &ObjectFile<'_>) -> Result<lcc_session> {
        let mut records = BTreeMap::new();
        for stream in &session.streams {
            let record = Record::of(object.btf(), &stream.event).map_err(|what| {
                Fault::new(lcc_code::LCC_ERROR_OBJECT, format!("{}: stream {}: {what}", object.name(), stream.name))
            })?;
            records.insert(stream.name.clone(), record);
        }
        let json = serde_json::to_string(&session.plan).unwrap_or_default();
        let lines = plan::text::lines(&session.plan, false);
        Ok(lcc_session {
            listener: RefCell::new(None),
            session: RefCell::new(Some(session)),
            records,
            plan: text(json),
            lines: text(lines),
            given: RefCell::default(),
            fault: RefCell::new(Fault::none()),
        })
    }

    fn with<T>(&self, act: impl FnOnce(&Session) -> Result<T>) -> Result<T> {
        let unloaded = || Fault::new(lcc_code::LCC_ERROR_ARGUMENT, "the session was unloaded");
        act(self.session.try_borrow().map_err(|_| busy())?.as_ref().ok_or_else(unloaded)?)
    }

    fn listening<T>(&self, act: impl FnOnce(&Listener<'static>) -> Result<T>) -> Result<T> {
        let nobody = || Fault::new(lcc_code::LCC_ERROR_ARGUMENT, "nobody listens: lcc_session_listen() was not called");
        act(self.listener.try_borrow_mut().map_err(|_| busy())?.as_ref().ok_or_else(nobody)?)
    }

    /// Hands a string out, in place of the one before.
    fn give(&self, string: String) -> *const c_char {
        let string = text(string);
        let pointer = string.as_ptr();
        self.given.replace(string);
        pointer
    }
}

fn absent(what: String) -> Fault {
    Fault::new(lcc_code::LCC_ERROR_ABSENT, what)
}

/// Detaches and frees. What is pinned stays. Null is of no account.
///
/// # Safety
/// The pointer is null, or lcc_loader_load() gave it and it was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_session_free(session: *mut lcc_session) {
    if !session.is_null() {
        // SAFETY: as the caller says.
        drop(unsafe { Box::from_raw(session) });
    }
}

/// Detaches everything, also what is pinned. The session is still to be freed.
///
/// # Safety
/// The session is one of lcc_loader_load().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_session_unload(session: *mut lcc_session) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(session, |session| {
            session.with(|_| Ok(()))?;
            session.listener.try_borrow_mut().map_err(|_| busy())?.take();
            let loaded = session.session.try_borrow_mut().map_err(|_| busy())?.take();
            let unloaded = loaded.map_or(Ok(()), Session::unload);
            unloaded.map_err(|error| Fault::new(lcc_code::LCC_ERROR_PINS, error.to_string()))
        })
    }
}

/// The last error of a session: of the call before this one. It is the session's, and valid until the next call with it.
///
/// # Safety
/// The pointer is one that lcc_loader_load() gave.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_session_error(session: *const lcc_session) -> *const lcc_error {
    // SAFETY: as the caller says.
    unsafe { last_error(session) }
}

/// What was decided, and why, as JSON. It is the session's, and valid until it is freed.
///
/// # Safety
/// The pointer is one that lcc_loader_load() gave.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_session_plan(session: *const lcc_session) -> *const c_char {
    // SAFETY: as the caller says.
    unsafe { session.as_ref() }.map_or(std::ptr::null(), |session| session.plan.as_ptr())
}

/// As lcc_session_plan(), as text for people.
///
/// # Safety
/// The pointer is one that lcc_loader_load() gave.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_session_plan_text(session: *const lcc_session) -> *const c_char {
    // SAFETY: as the caller says.
    unsafe { session.as_ref() }.map_or(std::ptr::null(), |session| session.lines.as_ptr())
}

/// What the verifier said of a program that it refused. It is the session's, and valid until the next call with it.
/// LCC_ERROR_ABSENT where it refused no such program.
///
/// # Safety
/// The session is one of lcc_loader_load(), the program a string; `log` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_session_verifier_log(
    session: *mut lcc_session,
    program: *const c_char,
    log: *mut *const c_char,
) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(session, |session| {
            let (log, name) = (out(log, "the place for the log")?, string(program, "the program's name")?);
            let found = session.with(|session| {
                let found = session.logs.iter().find(|(program, _)| program == name);
                found.cloned().ok_or_else(|| absent(format!("the verifier refused no program {name}")))
            });
            *log = session.give(found?.1);
            Ok(())
        })
    }
}

/// A map's descriptor. It is the session's: it is closed with it.
///
/// # Safety
/// The session is one of lcc_loader_load(), the name a string; `fd` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_session_map_fd(session: *mut lcc_session, map: *const c_char, fd: *mut c_int) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(session, |session| {
            let (fd, name) = (out(fd, "the place for the descriptor")?, string(map, "the map's name")?);
            session.with(|session| {
                let map = session.maps.get(name);
                *fd = map.ok_or_else(|| absent(format!("no map {name} was made")))?.as_fd().as_raw_fd();
                Ok(())
            })
        })
    }
}

/// A program's descriptor. It is the session's: it is closed with it. LCC_ERROR_ABSENT where it was not loaded, or was found
/// pinned.
///
/// # Safety
/// The session is one of lcc_loader_load(), the name a string; `fd` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_session_program_fd(
    session: *mut lcc_session,
    program: *const c_char,
    fd: *mut c_int,
) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(session, |session| {
            let (fd, name) = (out(fd, "the place for the descriptor")?, string(program, "the program's name")?);
            session.with(|session| {
                let enabled = session.plan.programs.iter().any(|program| program.enabled && program.name == name);
                let mut all = session.object.iter().flat_map(|object| object.progs());
                let program = all.find(|found| enabled && found.name() == name);
                let program = program.ok_or_else(|| absent(format!("no program {name} was loaded")))?;
                *fd = program.as_fd().as_raw_fd();
                Ok(())
            })
        })
    }
}

/// Hears all streams of events from now on, in place of who did before. The function is called by lcc_session_poll(), on its
/// thread; it may not free the session, nor call lcc_session_poll() or lcc_session_listen() with it.
///
/// # Safety
/// The session is one of lcc_loader_load(); the function can be called until the session is freed, or listened to by another.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_session_listen(
    session: *mut lcc_session,
    event: lcc_event,
    data: *mut c_void,
) -> lcc_code {
    let data = Data(data);
    // SAFETY: as the caller says.
    unsafe {
        call(session, |session| {
            let mut listener = session.listener.try_borrow_mut().map_err(|_| busy())?;
            listener.take();
            let function = event.ok_or_else(|| Fault::new(lcc_code::LCC_ERROR_ARGUMENT, "the function is null"))?;
            let made = session.with(|session| {
                let named = |stream: &loader::stream::Stream| (stream.name.clone(), text(stream.name.clone()));
                let names: BTreeMap<String, CString> = session.streams.iter().map(named).collect();
                let made = session.listen(move |event| {
                    // whole, so that it goes to another thread as such
                    let data = data;
                    if let Some(name) = names.get(event.stream) {
                        // SAFETY: the caller says that it can be called; name and bytes live until it returns.
                        function(data.0, name.as_ptr(), event.bytes.as_ptr(), event.bytes.len());
                    }
                });
                made.map_err(|error| Fault::new(lcc_code::LCC_ERROR_EVENTS, error.to_string()))
            });
            *listener = Some(made?);
            Ok(())
        })
    }
}

/// Waits so many milliseconds for events (-1: for ever), has all that are there heard, and gives how many they were; 0 also
/// where a signal came. `heard` may be null.
///
/// # Safety
/// The session is one of lcc_loader_load(); `heard` is null, or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_session_poll(session: *mut lcc_session, milliseconds: c_int, heard: *mut u64) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(session, |session| {
            let timeout = u64::try_from(milliseconds).map_or(Duration::MAX, Duration::from_millis);
            let broken = |error: std::io::Error| Fault::new(lcc_code::LCC_ERROR_EVENTS, error.to_string());
            let number = session.listening(|listener| listener.poll(timeout).map_err(broken))?;
            if let Some(heard) = heard.as_mut() {
                *heard = number;
            }
            Ok(())
        })
    }
}

/// How many events of a stream were lost since it was loaded: sent, and not heard because the buffer was full, or nobody
/// listened.
///
/// # Safety
/// The session is one of lcc_loader_load(), the stream a string; `lost` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_session_lost(
    session: *mut lcc_session,
    stream: *const c_char,
    lost: *mut u64,
) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(session, |session| {
            let (lost, name) = (out(lost, "the place for the number")?, string(stream, "the stream's name")?);
            let broken = |error: std::io::Error| Fault::new(lcc_code::LCC_ERROR_EVENTS, error.to_string());
            let all = session.listening(|listener| listener.lost().map_err(broken))?;
            *lost = *all.get(name).ok_or_else(|| absent(format!("there is no stream {name}")))?;
            Ok(())
        })
    }
}

/// An event as JSON, by the types in the object. It is the session's, and valid until the next call with it. This one may be
/// called from within an lcc_event.
///
/// # Safety
/// The session is one of lcc_loader_load(), the stream a string, the event of that length; `json` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_session_event_json(
    session: *mut lcc_session,
    stream: *const c_char,
    event: *const u8,
    len: usize,
    json: *mut *const c_char,
) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(session, |session| {
            let (json, name) = (out(json, "the place for the event")?, string(stream, "the stream's name")?);
            let record = session.records.get(name).ok_or_else(|| absent(format!("there is no stream {name}")))?;
            let value = record.read(bytes(event, len, "the event")?);
            let short =
                || Fault::new(lcc_code::LCC_ERROR_ARGUMENT, format!("{len} bytes are less than the struct has"));
            *json = session.give(serde_json::to_string(&value.ok_or_else(short)?).unwrap_or_default());
            Ok(())
        })
    }
}
