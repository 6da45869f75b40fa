//! What every function does with its pointers. Unsafe code that reads a caller's memory is here.

use crate::lcc_offsets_code::{self, LCC_OFFSETS_ERROR_ARGUMENT, LCC_OFFSETS_ERROR_INTERNAL};
use crate::{Said, lcc_offsets};
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls a function of an instance: the words become the instance's explanation, and no panic leaves it.
///
/// # Safety
/// The pointer is null, or one that this library gave and nobody has freed, and no other thread uses it.
pub(crate) unsafe fn call(
    offsets: *const lcc_offsets,
    act: impl FnOnce(&lcc_offsets) -> Result<Said, Said>,
) -> lcc_offsets_code {
    // SAFETY: as the caller says.
    let Some(offsets) = (unsafe { offsets.as_ref() }) else { return LCC_OFFSETS_ERROR_ARGUMENT };
    let result = catch_unwind(AssertUnwindSafe(|| act(offsets))).unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().map(String::as_str);
        let what = what.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        Err((LCC_OFFSETS_ERROR_INTERNAL, format!("a mistake of lcc's: {what}")))
    });
    let (code, words) = result.unwrap_or_else(|failed| failed);
    offsets.explanation.replace(text(words));
    code
}

/// Text for C, up to its first zero byte.
fn text(words: String) -> CString {
    let mut bytes = words.into_bytes();
    if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
        bytes.truncate(end);
    }
    CString::new(bytes).unwrap_or_default()
}

/// A caller's string.
///
/// # Safety
/// The pointer is null, or that of a string that ends with zero and stays as it is meanwhile.
pub(crate) unsafe fn string<'s>(pointer: *const c_char, what: &str) -> Result<&'s str, Said> {
    let wrong = |why: &str| (LCC_OFFSETS_ERROR_ARGUMENT, format!("{what} {why}"));
    if pointer.is_null() {
        return Err(wrong("is null"));
    }
    // SAFETY: as the caller says.
    unsafe { CStr::from_ptr(pointer) }.to_str().map_err(|_| wrong("is no UTF-8"))
}

/// Where a result goes.
///
/// # Safety
/// The pointer is null, or that of a value that this may write.
pub(crate) unsafe fn out<'o, T>(pointer: *mut T, what: &str) -> Result<&'o mut T, Said> {
    // SAFETY: as the caller says.
    unsafe { pointer.as_mut() }.ok_or_else(|| (LCC_OFFSETS_ERROR_ARGUMENT, format!("{what} is null")))
}
