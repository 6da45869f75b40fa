//! `lcc_loader`: what is to be loaded, and how.

#![allow(non_camel_case_types, reason = "they are names in C")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use loader::choose::Places;
use loader::uprobe::{Resolved, Resolver, SymbolTables};

use crate::code::{Fault, Result, lcc_code, lcc_error, text};
use crate::handle::{self, Data, Instance, busy, bytes, last_error, string};

/// An object to be loaded, and all that is decided about it beforehand. Opaque.
pub struct lcc_loader {
    wishes: RefCell<Wishes>,
    fault: RefCell<Fault>,
}

/// What was asked for.
pub(crate) struct Wishes {
    pub(crate) object: Option<(String, Vec<u8>)>,
    pub(crate) places: Places,
    pub(crate) options: loader::Options,
    /// Of the configuration, by member; what is given whole is in the options.
    pub(crate) settings: Vec<(String, String)>,
    /// The plan that was handed out.
    pub(crate) plan: CString,
}

impl Instance for lcc_loader {
    fn fault(&self) -> &RefCell<Fault> {
        &self.fault
    }
}

/// Calls a function with what was asked for.
///
/// # Safety
/// See [`handle::call`].
pub(crate) unsafe fn call(loader: *mut lcc_loader, act: impl FnOnce(&mut Wishes) -> Result<()>) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe { handle::call(loader, |loader| act(&mut *loader.wishes.try_borrow_mut().map_err(|_| busy())?)) }
}

/// Takes a line of an instance's log.
pub type lcc_log = Option<unsafe extern "C" fn(data: *mut c_void, line: *const c_char)>;

/// Says where in a file a function begins: 1 where it is found, with its offset from the begin of the file; 0 where the file
/// does not have it; -1 where it is not known, and the file's symbol tables are to be asked.
pub type lcc_resolver = Option<
    unsafe extern "C" fn(data: *mut c_void, file: *const c_char, function: *const c_char, offset: *mut u64) -> i32,
>;

/// Makes an instance. Free it with lcc_loader_free().
#[unsafe(no_mangle)]
pub extern "C" fn lcc_loader_new() -> *mut lcc_loader {
    let wishes = Wishes {
        object: None,
        places: Places { root: "/".into(), ..Places::default() },
        options: loader::Options::default(),
        settings: Vec::new(),
        plan: CString::default(),
    };
    Box::into_raw(Box::new(lcc_loader { wishes: RefCell::new(wishes), fault: RefCell::new(Fault::none()) }))
}

/// Frees an instance; not the sessions that were made with it. Null is of no account.
///
/// # Safety
/// The pointer is null, or lcc_loader_new() gave it and it was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_loader_free(loader: *mut lcc_loader) {
    if !loader.is_null() {
        // SAFETY: as the caller says.
        drop(unsafe { Box::from_raw(loader) });
    }
}

/// The last error of an instance: of the call before this one. It is the instance's, and valid until the next call with it.
///
/// # Safety
/// The pointer is one that lcc_loader_new() gave.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_loader_error(loader: *const lcc_loader) -> *const lcc_error {
    // SAFETY: as the caller says.
    unsafe { last_error(loader) }
}

/// The object, from a file. It is read now.
///
/// # Safety
/// The instance is one of lcc_loader_new(), the path a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_loader_object_file(loader: *mut lcc_loader, path: *const c_char) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(loader, |loader| {
            let path = Path::new(string(path, "the path")?);
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            loader.object = Some((name, read(path)?));
            Ok(())
        })
    }
}

/// The object, from memory, which is copied. The name is what plans and errors call it.
///
/// # Safety
/// The instance is one of lcc_loader_new(), the name a string, the data of that length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_loader_object_bytes(
    loader: *mut lcc_loader,
    name: *const c_char,
    data: *const u8,
    len: usize,
) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(loader, |loader| {
            let name = string(name, "the name")?.to_owned();
            loader.object = Some((name, bytes(data, len, "the object")?.to_vec()));
            Ok(())
        })
    }
}

/// The BTF to relocate against; it is taken, or loading fails. Without it: that of LCC_BTF, else the kernel's own, else that of
/// packs and folders.
///
/// # Safety
/// The instance is one of lcc_loader_new(), the path a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_loader_btf(loader: *mut lcc_loader, path: *const c_char) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(loader, |loader| {
            loader.places.explicit = Some(PathBuf::from(string(path, "the path")?));
            Ok(())
        })
    }
}

/// A pack of BTF for kernels that have none, from memory, which is copied: an agent can have one in itself. Can be called
/// several times.
///
/// # Safety
/// The instance is one of lcc_loader_new(), the name a string, the data of that length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_loader_pack_bytes(
    loader: *mut lcc_loader,
    name: *const c_char,
    data: *const u8,
    len: usize,
) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(loader, |loader| {
            let name = string(name, "the name")?.to_owned();
            loader.places.packs.push((name, bytes(data, len, "the pack")?.to_vec()));
            Ok(())
        })
    }
}

/// As lcc_loader_pack_bytes(), from a file, which is read now.
///
/// # Safety
/// The instance is one of lcc_loader_new(), the path a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_loader_pack_file(loader: *mut lcc_loader, path: *const c_char) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(loader, |loader| {
            let path = string(path, "the path")?;
            loader.places.packs.push((path.to_owned(), read(Path::new(path))?));
            Ok(())
        })
    }
}

/// A folder in BTFHub's layout. Can be called several times.
///
/// # Safety
/// The instance is one of lcc_loader_new(), the path a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_loader_btf_folder(loader: *mut lcc_loader, path: *const c_char) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(loader, |loader| {
            loader.places.folders.push(PathBuf::from(string(path, "the path")?));
            Ok(())
        })
    }
}

/// Whether BTF of a near release of the same distribution may serve where there is none of this one.
///
/// # Safety
/// The instance is one of lcc_loader_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_loader_near(loader: *mut lcc_loader, near: bool) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(loader, |loader| {
            loader.places.near = near;
            Ok(())
        })
    }
}

/// The configuration: the bytes of LCC_CONFIG's struct, or its first; the rest is zero.
///
/// # Safety
/// The instance is one of lcc_loader_new(), the data of that length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_loader_config(loader: *mut lcc_loader, data: *const u8, len: usize) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(loader, |loader| {
            loader.options.config = bytes(data, len, "the configuration")?.to_vec();
            Ok(())
        })
    }
}

/// One member of the configuration, as text: "threshold_us", "100"; "ports[0].first", "80".
///
/// # Safety
/// The instance is one of lcc_loader_new(), member and value are strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_loader_set(
    loader: *mut lcc_loader,
    member: *const c_char,
    value: *const c_char,
) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(loader, |loader| {
            let setting = (string(member, "the member")?.to_owned(), string(value, "the value")?.to_owned());
            loader.settings.push(setting);
            Ok(())
        })
    }
}

/// Entries of a map, or bytes of a ring buffer, in place of the object's.
///
/// # Safety
/// The instance is one of lcc_loader_new(), the name a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_loader_map_entries(loader: *mut lcc_loader, map: *const c_char, entries: u32) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(loader, |loader| {
            loader.options.map_entries.push((string(map, "the map's name")?.to_owned(), entries));
            Ok(())
        })
    }
}

/// The control group for programs that are attached to one; without it the root of the unified hierarchy.
///
/// # Safety
/// The instance is one of lcc_loader_new(), the path a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_loader_cgroup(loader: *mut lcc_loader, path: *const c_char) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(loader, |loader| {
            loader.options.cgroup = Some(PathBuf::from(string(path, "the path")?));
            Ok(())
        })
    }
}

/// The process whose calls uprobes see; without it all.
///
/// # Safety
/// The instance is one of lcc_loader_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_loader_pid(loader: *mut lcc_loader, pid: u32) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(loader, |loader| {
            loader.options.pid = Some(pid);
            Ok(())
        })
    }
}

/// A folder in a BPF file system where everything is pinned, to stay when the session is freed and to be found by the next.
///
/// # Safety
/// The instance is one of lcc_loader_new(), the path a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_loader_pins(loader: *mut lcc_loader, path: *const c_char) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(loader, |loader| {
            loader.options.pins = Some(PathBuf::from(string(path, "the path")?));
            Ok(())
        })
    }
}

/// What a program is attached to, in place of what its section names behind the slash: a function, "sched/sched_switch",
/// "/usr/bin/app:main".
///
/// # Safety
/// The instance is one of lcc_loader_new(), program and target are strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_loader_target(
    loader: *mut lcc_loader,
    program: *const c_char,
    target: *const c_char,
) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(loader, |loader| {
            let name = string(program, "the program's name")?.to_owned();
            loader.options.hints.targets.push((name, string(target, "the target")?.to_owned()));
            Ok(())
        })
    }
}

/// A program that is loaded, and attached by the caller; see lcc_session_program_fd().
///
/// # Safety
/// The instance is one of lcc_loader_new(), the name a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_loader_attached_by_caller(loader: *mut lcc_loader, program: *const c_char) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(loader, |loader| {
            loader.options.by_caller.push(string(program, "the program's name")?.to_owned());
            Ok(())
        })
    }
}

/// What a program is to the object, as a tag of lcc.bpf.h says it ("lcc:optional", "lcc:one:receive:2", "lcc:all:pair"), in
/// place of the object's own tags. Several are given as one string, with spaces.
///
/// # Safety
/// The instance is one of lcc_loader_new(), program and tags are strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_loader_choice(
    loader: *mut lcc_loader,
    program: *const c_char,
    tags: *const c_char,
) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(loader, |loader| {
            let name = string(program, "the program's name")?.to_owned();
            let tags: Vec<String> = string(tags, "the tags")?.split_whitespace().map(str::to_owned).collect();
            let (choice, strange) = plan::alternatives::choice(&tags);
            if let Some(strange) = strange.first() {
                let what = format!("the tag {strange} is not understood");
                return Err(Fault::new(lcc_code::LCC_ERROR_ARGUMENT, what));
            }
            loader.options.hints.choices.push((name, choice));
            Ok(())
        })
    }
}

/// Who is told how the loading goes, a line at a time; of this instance only. The pointer `data` is given back as it is, on the
/// thread that calls lcc_loader_load().
///
/// # Safety
/// The instance is one of lcc_loader_new(); the function can be called until the instance is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_loader_log(loader: *mut lcc_loader, log: lcc_log, data: *mut c_void) -> lcc_code {
    let data = Data(data);
    // SAFETY: as the caller says.
    unsafe {
        call(loader, |loader| {
            loader.options.log = log.map(|log| -> loader::Log {
                Arc::new(move |line: &str| {
                    let (line, data) = (text(line.to_owned()), data);
                    // SAFETY: the caller says that it can be called.
                    log(data.0, line.as_ptr());
                })
            });
            Ok(())
        })
    }
}

/// Who knows where functions of user programs begin; without it the files' own symbol tables.
///
/// # Safety
/// The instance is one of lcc_loader_new(); the function can be called until the instance is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_loader_resolver(
    loader: *mut lcc_loader,
    resolver: lcc_resolver,
    data: *mut c_void,
) -> lcc_code {
    // SAFETY: as the caller says.
    unsafe {
        call(loader, |loader| {
            loader.options.resolver =
                resolver.map(|function| -> Arc<dyn Resolver> { Arc::new(Callback { function, data: Data(data) }) });
            Ok(())
        })
    }
}

struct Callback {
    function: unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char, *mut u64) -> i32,
    data: Data,
}

impl Resolver for Callback {
    fn resolve(&self, file: &Path, function: &str) -> Resolved {
        let (path, name) = (text(file.to_string_lossy().into_owned()), text(function.to_owned()));
        let mut offset = 0;
        // SAFETY: whoever gave the function said that it can be called; the strings and the number live until it returns.
        match unsafe { (self.function)(self.data.0, path.as_ptr(), name.as_ptr(), &mut offset) } {
            1 => Resolved::Found { offset, how: "resolver".to_owned() },
            0 => Resolved::Absent(format!("the resolver says that there is no {function}")),
            _ => SymbolTables.resolve(file, function),
        }
    }
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Fault::new(lcc_code::LCC_ERROR_FILE, format!("{}: {error}", path.display())))
}

/// The settings, by member, in one for callers that have the whole.
pub(crate) fn last_of_each(settings: &[(String, String)]) -> BTreeMap<&str, &str> {
    settings.iter().map(|(member, value)| (member.as_str(), value.as_str())).collect()
}

/// The version of this library, "0.1.0". It is a constant of the library's.
#[unsafe(no_mangle)]
pub extern "C" fn lcc_version() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"",
    };
    VERSION.as_ptr()
}
