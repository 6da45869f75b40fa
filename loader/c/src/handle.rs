//! What every function does with its pointers. Unsafe code that reads a caller's memory is here.

use std::cell::RefCell;
use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::code::{Fault, Result, lcc_code, lcc_error};

/// Something with a last error.
pub(crate) trait Instance {
    fn fault(&self) -> &RefCell<Fault>;
}

/// Calls a function of an instance: what it fails with becomes the instance's last error, and no panic leaves it. Callbacks may
/// call back, so that nobody has an instance for himself: what changes is in cells.
///
/// # Safety
/// The pointer is null, or one that this library gave and nobody has freed, and no other thread uses it.
pub(crate) unsafe fn call<T: Instance>(instance: *const T, act: impl FnOnce(&T) -> Result<()>) -> lcc_code {
    // SAFETY: as the caller says.
    let Some(instance) = (unsafe { instance.as_ref() }) else { return lcc_code::LCC_ERROR_ARGUMENT };
    let result = catch_unwind(AssertUnwindSafe(|| act(instance))).unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().map(String::as_str);
        let what = what.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        Err(Fault::new(lcc_code::LCC_ERROR_INTERNAL, format!("a mistake of lcc's: {what}")))
    });
    let fault = result.err().unwrap_or_else(Fault::none);
    let code = fault.code();
    instance.fault().replace(fault);
    code
}

/// The last error, for the caller.
///
/// # Safety
/// The pointer is null, or one that this library gave and nobody has freed.
pub(crate) unsafe fn last_error<T: Instance>(instance: *const T) -> *const lcc_error {
    // SAFETY: as the caller says; nobody borrows the cell for longer than it takes to replace its content.
    unsafe { instance.as_ref().map_or(std::ptr::null(), |instance| (*instance.fault().as_ptr()).shown()) }
}

/// What a callback must not do while its caller is at it.
pub(crate) fn busy() -> Fault {
    Fault::new(lcc_code::LCC_ERROR_ARGUMENT, "this function cannot be called from within a callback")
}

/// A caller's string.
///
/// # Safety
/// The pointer is null, or that of a string that ends with zero and stays as it is meanwhile.
pub(crate) unsafe fn string<'s>(pointer: *const c_char, what: &str) -> Result<&'s str> {
    let wrong = |why: &str| Fault::new(lcc_code::LCC_ERROR_ARGUMENT, format!("{what} {why}"));
    if pointer.is_null() {
        return Err(wrong("is null"));
    }
    // SAFETY: as the caller says.
    unsafe { CStr::from_ptr(pointer) }.to_str().map_err(|_| wrong("is no UTF-8"))
}

/// A caller's bytes.
///
/// # Safety
/// The pointer is null, or that of so many bytes that stay as they are meanwhile.
pub(crate) unsafe fn bytes<'b>(pointer: *const u8, len: usize, what: &str) -> Result<&'b [u8]> {
    match (pointer.is_null(), len) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(Fault::new(lcc_code::LCC_ERROR_ARGUMENT, format!("{what} is null"))),
        // SAFETY: as the caller says.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts(pointer, len) }),
    }
}

/// Where a result goes.
///
/// # Safety
/// The pointer is null, or that of a value that this may write.
pub(crate) unsafe fn out<'o, T>(pointer: *mut T, what: &str) -> Result<&'o mut T> {
    // SAFETY: as the caller says.
    unsafe { pointer.as_mut() }.ok_or_else(|| Fault::new(lcc_code::LCC_ERROR_ARGUMENT, format!("{what} is null")))
}

/// A caller's own pointer, which is given back to its callbacks, on whatever thread calls this library.
#[derive(Clone, Copy)]
pub(crate) struct Data(pub(crate) *mut std::ffi::c_void);

// SAFETY: it is not looked at here, and the documentation tells callers which threads have it.
unsafe impl Send for Data {}
// SAFETY: as above.
unsafe impl Sync for Data {}
