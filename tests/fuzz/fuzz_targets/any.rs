//! libFuzzer's entry: the function that `PYFLAME_FUZZ` names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

fuzz_target!(|input: &[u8]| {
    static FUNCTION: OnceLock<fn(&[u8])> = OnceLock::new();
    let find = || {
        let name = std::env::var("PYFLAME_FUZZ").expect("PYFLAME_FUZZ names a function");
        pyflame_fuzz::FUNCTIONS.iter().find(|row| row.0 == name).expect("a function of this name").1
    };
    FUNCTION.get_or_init(find)(input)
});
