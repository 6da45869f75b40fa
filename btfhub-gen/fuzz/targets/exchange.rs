//! Exports of databases: what merges gives an export that merges to the same, into an empty database and into its own.
#![no_main]

use libfuzzer_sys::fuzz_target;
use offset_db::{Store, export, merge};

fn text_of(store: &Store) -> Vec<u8> {
    let mut text = Vec::new();
    export(store, &mut text).expect("what is in the database can be told");
    text
}

fuzz_target!(|data: &[u8]| {
    let mut store = Store::in_memory().expect("memory");
    if merge(&mut store, &mut &data[..]).is_err() {
        assert!(text_of(&store).is_empty(), "all of it or nothing");
        return;
    }
    let text = text_of(&store);
    let mut other = Store::in_memory().expect("memory");
    merge(&mut other, &mut &text[..]).expect("an export can be merged");
    assert_eq!(text_of(&other), text);
    merge(&mut store, &mut &text[..]).expect("an export can be merged");
    assert_eq!(text_of(&store), text);
    store.statistics().expect("what is in the database can be counted");
});
