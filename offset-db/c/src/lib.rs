//! The database of offsets for C, and for whatever can call C.
//!
//! ```text
//! lcc_offsets_new ─ lcc_offsets_database ─▶ lcc_offsets_function, lcc_offsets_field ─▶ offsets, explanations
//!                                              └── lcc_offsets_resolver: the same, for liblcc_loader's lcc_loader_resolver()
//! ```
//!
//! The header, `include/lcc_offsets.h`, is made of this crate by cbindgen; its text is the documentation that users read. A handle is
//! opaque and used by one thread at a time. No panic leaves a function.

#![allow(non_camel_case_types, reason = "they are names in C")]

mod handle;

use crate::handle::{call, out, string};
use offset_db::{Error, Resolved, ResolvedField, Resolver};
use std::cell::RefCell;
use std::ffi::{CString, c_char, c_void};
use std::path::Path;

/// What a call came to. Numbers do not change between versions; new ones come at the end.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum lcc_offsets_code {
    /// It was done, or found.
    LCC_OFFSETS_OK = 0,
    /// The file, or the struct, does not have it.
    LCC_OFFSETS_ABSENT = 1,
    /// It cannot be told: the file is not known, or there is one witness only.
    LCC_OFFSETS_UNKNOWN = 2,
    /// An argument is null, or no UTF-8.
    LCC_OFFSETS_ERROR_ARGUMENT = 3,
    /// The file cannot be read.
    LCC_OFFSETS_ERROR_FILE = 4,
    /// The database cannot be read, is damaged, another program's, or of a newer version.
    LCC_OFFSETS_ERROR_DATABASE = 5,
    /// A mistake of this library's; the explanation says where.
    LCC_OFFSETS_ERROR_INTERNAL = 6,
}

use lcc_offsets_code::*;

/// Who knows where functions and fields are. Opaque.
pub struct lcc_offsets {
    resolver: RefCell<Resolver>,
    explanation: RefCell<CString>,
}

/// What a call came to, and the words for it.
type Said = (lcc_offsets_code, String);

fn failed(error: &Error) -> Said {
    let code = match error {
        Error::Io { .. } => LCC_OFFSETS_ERROR_FILE,
        _ => LCC_OFFSETS_ERROR_DATABASE,
    };
    (code, error.to_string())
}

/// Makes an instance that asks files for their own symbols only. Free it with lcc_offsets_free().
#[unsafe(no_mangle)]
pub extern "C" fn lcc_offsets_new() -> *mut lcc_offsets {
    Box::into_raw(Box::new(lcc_offsets {
        resolver: RefCell::new(Resolver::without_database()),
        explanation: RefCell::default(),
    }))
}

/// Frees an instance. Null is of no account.
///
/// # Safety
/// The pointer is null, or lcc_offsets_new() gave it and it was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_offsets_free(offsets: *mut lcc_offsets) {
    if !offsets.is_null() {
        // SAFETY: as the caller says.
        drop(unsafe { Box::from_raw(offsets) });
    }
}

/// The database that is asked from now on, where a file's own symbols do not tell. It is opened for reading.
///
/// # Safety
/// The instance is one of lcc_offsets_new(), the path a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_offsets_database(offsets: *mut lcc_offsets, path: *const c_char) -> lcc_offsets_code {
    // SAFETY: as the caller says.
    unsafe {
        call(offsets, |offsets| {
            let path = Path::new(string(path, "the path")?);
            match Resolver::open(path) {
                Ok(resolver) => {
                    offsets.resolver.replace(resolver);
                    Ok((LCC_OFFSETS_OK, String::new()))
                }
                // that a database is not there is no matter of the file that is looked into
                Err(error) => Err((LCC_OFFSETS_ERROR_DATABASE, error.to_string())),
            }
        })
    }
}

/// Where a function begins in a file, by its symbol or its name without parameters: bytes from the begin of the file, as a uprobe
/// wants it. It is written where the function was found only.
///
/// # Safety
/// The instance is one of lcc_offsets_new(), file and function are strings; `offset` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_offsets_function(
    offsets: *mut lcc_offsets,
    file: *const c_char,
    function: *const c_char,
    offset: *mut u64,
) -> lcc_offsets_code {
    // SAFETY: as the caller says.
    unsafe {
        call(offsets, |offsets| {
            let (file, function) = (string(file, "the file")?, string(function, "the function")?);
            let offset = out(offset, "the place for the offset")?;
            Ok(match offsets.resolver.borrow().resolve(Path::new(file), function).map_err(|error| failed(&error))? {
                Resolved::Found { offset: found, how } => {
                    *offset = found.0;
                    (LCC_OFFSETS_OK, how)
                }
                Resolved::Absent(why) => (LCC_OFFSETS_ABSENT, why),
                Resolved::Unknown(why) => (LCC_OFFSETS_UNKNOWN, why),
                _ => (LCC_OFFSETS_UNKNOWN, "unknown".to_owned()),
            })
        })
    }
}

/// Where a field is in its struct, "grpc_chttp2_stream.read_closed", in the build that a file is: bits from the struct's begin, and
/// its bits. By the database; a file's debug information is not read. `size` may be null. They are written where the field was found
/// only.
///
/// # Safety
/// The instance is one of lcc_offsets_new(), file and field are strings; `offset` can be written, `size` is null or can be.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_offsets_field(
    offsets: *mut lcc_offsets,
    file: *const c_char,
    field: *const c_char,
    offset: *mut u64,
    size: *mut u64,
) -> lcc_offsets_code {
    // SAFETY: as the caller says.
    unsafe {
        call(offsets, |offsets| {
            let (file, field) = (string(file, "the file")?, string(field, "the field")?);
            let offset = out(offset, "the place for the offset")?;
            let found =
                offsets.resolver.borrow().resolve_field(Path::new(file), field).map_err(|error| failed(&error))?;
            Ok(match found {
                ResolvedField::Found { offset_bits, size_bits, how } => {
                    *offset = offset_bits;
                    if let Some(size) = size.as_mut() {
                        *size = size_bits;
                    }
                    (LCC_OFFSETS_OK, how)
                }
                ResolvedField::Unknown(why) => (LCC_OFFSETS_UNKNOWN, why),
                _ => (LCC_OFFSETS_UNKNOWN, "unknown".to_owned()),
            })
        })
    }
}

/// How what the last call found is known, or why it found nothing. It is the instance's, and valid until the next call with it. Never
/// null, unless the instance is.
///
/// # Safety
/// The pointer is null, or one that lcc_offsets_new() gave.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_offsets_explanation(offsets: *const lcc_offsets) -> *const c_char {
    // SAFETY: as the caller says; nobody borrows the cell for longer than it takes to replace its content.
    unsafe { offsets.as_ref() }.map_or(std::ptr::null(), |offsets| offsets.explanation.borrow().as_ptr())
}

/// An instance as liblcc_loader's resolver: lcc_loader_resolver(loader, lcc_offsets_resolver, offsets). 1 where the function is
/// found, 0 where the file does not have it, -1 where it is not known.
///
/// # Safety
/// As lcc_offsets_function(); `offsets` is an instance of lcc_offsets_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lcc_offsets_resolver(
    offsets: *mut c_void,
    file: *const c_char,
    function: *const c_char,
    offset: *mut u64,
) -> i32 {
    // SAFETY: as the caller says.
    match unsafe { lcc_offsets_function(offsets.cast(), file, function, offset) } {
        LCC_OFFSETS_OK => 1,
        LCC_OFFSETS_ABSENT => 0,
        _ => -1,
    }
}
