//! What went wrong, for callers that branch on it and for people who read it.

use std::ffi::{CString, c_char};
use std::ptr::null;

use loader::cause::Cause;

/// What a call came to. Numbers do not change between versions; new ones come at the end.
#[allow(non_camel_case_types, reason = "it is a name in C")]
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum lcc_code {
    /// It was done.
    LCC_OK = 0,
    /// An argument is null, or no UTF-8, or not understood.
    LCC_ERROR_ARGUMENT = 1,
    /// A file cannot be read.
    LCC_ERROR_FILE = 2,
    /// The BPF object cannot be read.
    LCC_ERROR_OBJECT = 3,
    /// The BTF that was asked for cannot be read, or is not for this object.
    LCC_ERROR_BTF = 4,
    /// The configuration is none of this object's.
    LCC_ERROR_CONFIGURATION = 5,
    /// The process lacks capabilities: run it as root, or with those that the message names.
    LCC_ERROR_CAPABILITIES = 6,
    /// The kernel is locked down.
    LCC_ERROR_LOCKDOWN = 7,
    /// RLIMIT_MEMLOCK is too small, and cannot be raised (kernels before 5.11).
    LCC_ERROR_MEMORY_LIMIT = 8,
    /// A seccomp filter, a security module or the machine's owner forbids it.
    LCC_ERROR_POLICY = 9,
    /// The kernel does not have it.
    LCC_ERROR_NOT_SUPPORTED = 10,
    /// The kernel refuses it for another reason.
    LCC_ERROR_REFUSED = 11,
    /// What is pinned cannot be read, or it cannot be pinned.
    LCC_ERROR_PINS = 12,
    /// There is no such map, program or stream.
    LCC_ERROR_ABSENT = 13,
    /// Events cannot be read.
    LCC_ERROR_EVENTS = 14,
    /// A mistake of this library's; the message says where.
    LCC_ERROR_INTERNAL = 15,
}

/// The last error of an instance.
#[allow(non_camel_case_types, reason = "it is a name in C")]
#[repr(C)]
#[derive(Debug)]
pub struct lcc_error {
    /// What kind it is; LCC_OK where there was none.
    pub code: lcc_code,
    /// A line for people. Never null.
    pub message: *const c_char,
    /// The plan as JSON, where one was made; else null.
    pub plan: *const c_char,
}

/// An error, and what its strings point to.
pub(crate) struct Fault {
    message: CString,
    plan: Option<CString>,
    shown: lcc_error,
}

pub(crate) type Result<T> = std::result::Result<T, Fault>;

impl Fault {
    pub(crate) fn new(code: lcc_code, message: impl Into<String>) -> Fault {
        let (message, plan) = (text(message.into()), None);
        let shown = lcc_error { code, message: message.as_ptr(), plan: null() };
        Fault { message, plan, shown }
    }

    pub(crate) fn none() -> Fault {
        Fault::new(lcc_code::LCC_OK, "")
    }

    pub(crate) fn with_plan(mut self, plan: &plan::Plan) -> Fault {
        let json = text(serde_json::to_string(plan).unwrap_or_default());
        self.shown.plan = json.as_ptr();
        self.plan = Some(json);
        self
    }

    pub(crate) fn code(&self) -> lcc_code {
        self.shown.code
    }

    /// For the caller. The strings lie elsewhere, and stay where they are when this is moved.
    pub(crate) fn shown(&self) -> &lcc_error {
        debug_assert_eq!(self.shown.message, self.message.as_ptr());
        debug_assert_eq!(self.shown.plan, self.plan.as_ref().map_or(null(), |plan| plan.as_ptr()));
        &self.shown
    }
}

/// Text for C, up to its first zero byte.
pub(crate) fn text(text: String) -> CString {
    let mut bytes = text.into_bytes();
    if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
        bytes.truncate(end);
    }
    CString::new(bytes).unwrap_or_default()
}

impl From<loader::Error> for Fault {
    fn from(error: loader::Error) -> Fault {
        use lcc_code::*;
        let code = match &error {
            loader::Error::Object { .. } => LCC_ERROR_OBJECT,
            loader::Error::Configuration { .. } => LCC_ERROR_CONFIGURATION,
            loader::Error::Pins { .. } => LCC_ERROR_PINS,
            loader::Error::Refused { cause, .. } => match cause {
                Cause::Capabilities(_) => LCC_ERROR_CAPABILITIES,
                Cause::Lockdown(_) => LCC_ERROR_LOCKDOWN,
                Cause::MemoryLimit(_) => LCC_ERROR_MEMORY_LIMIT,
                Cause::Policy => LCC_ERROR_POLICY,
                Cause::NotSupported => LCC_ERROR_NOT_SUPPORTED,
                _ => LCC_ERROR_REFUSED,
            },
            _ => LCC_ERROR_REFUSED,
        };
        let fault = Fault::new(code, error.to_string());
        match error.plan() {
            Some(plan) => fault.with_plan(plan),
            None => fault,
        }
    }
}
