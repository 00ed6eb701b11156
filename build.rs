//! Link arguments of the binary: a static, position independent executable that contains no C library
//! and starts at `pyflame_start`. They are the same for all four targets (GNU and musl, x86_64 and aarch64), but
//! for the packing of relocations.

use std::{env, fs, path::Path};

/// Unwind tables and the compiler's name: a program that aborts on panic never reads them.
const DISCARD: &str =
    "SECTIONS { /DISCARD/ : { *(.eh_frame .eh_frame_hdr .comment) } } INSERT AFTER .text;\n";

fn main() {
    for arg in [
        "-nostartfiles",
        "-nostdlib",
        "-static-pie",
        "-Wl,-e,pyflame_start",
        "-Wl,--build-id=none,-z,norelro,-z,noseparate-code,-z,pack-relative-relocs",
    ] {
        println!("cargo::rustc-link-arg-bins={arg}");
    }
    if env::var("PROFILE").as_deref() == Ok("release") {
        let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
        let script = Path::new(&out).join("discard.ld");
        fs::write(&script, DISCARD).expect("OUT_DIR can be written");
        println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
        // Two arguments, since a comma in the path would end one that began with -Wl.
        println!("cargo::rustc-link-arg-bins=-T");
        println!("cargo::rustc-link-arg-bins={}", script.display());
    }
    for name in ["flame.js", "flame.css"] {
        let text = fs::read_to_string(Path::new("src/report/svg").join(name)).expect("it is there");
        fs::write(Path::new(&env::var("OUT_DIR").unwrap()).join(name), text).unwrap();
    }
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    if arch == "x86_64" {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs"); // GNU's linker knows it for this one only
    }
    println!("cargo::rustc-env=PYFLAME_ARCH={arch}");
    println!("cargo::rerun-if-changed=build.rs");
}
