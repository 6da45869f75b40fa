//! What libbpf says while it works. Its callback is one for the whole process; what it says of an object it says on the
//! thread that loads it, and there it is kept.

use std::cell::RefCell;
use std::sync::Once;

use libbpf_rs::PrintLevel;

thread_local! {
    static SAID: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

fn keep(level: PrintLevel, message: String) {
    SAID.with_borrow_mut(|said| {
        if let (Some(said), PrintLevel::Warn) = (said, level) {
            let message = message.trim_end();
            said.push(message.strip_prefix("libbpf: ").unwrap_or(message).to_owned());
        }
    });
}

/// Runs something and gives libbpf's warnings besides. Outside of it, on every thread, libbpf is silent.
pub(crate) fn listen<T>(act: impl FnOnce() -> T) -> (T, Vec<String>) {
    static CALLBACK: Once = Once::new();
    CALLBACK.call_once(|| {
        libbpf_rs::set_print(Some((PrintLevel::Warn, keep)));
    });
    let before = SAID.replace(Some(Vec::new()));
    let result = act();
    (result, SAID.replace(before).unwrap_or_default())
}
