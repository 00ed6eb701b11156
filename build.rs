//! Link arguments of the binary: a static, position independent executable that contains no C library
//! and starts at `pyflame_start`. They are the same for all four targets (GNU and musl, x86_64 and aarch64), but
//! for the packing of relocations. Shortens the fixed parts of the flame graph, too.

use std::{env, fs, path::Path};

/// What svg.rs puts into each flame graph: a file beside it, how a line of comment begins there, what it may not hold.
const FLAME: [(&str, &str, &[&str]); 2] = [("flame.js", "//", &["]]>"]), ("flame.css", "/*", &["<", "&"])];

/// Unwind tables and the compiler's name: a program that aborts on panic never reads them.
const DISCARD: &str =
    "SECTIONS { /DISCARD/ : { *(.eh_frame .eh_frame_hdr .comment) } } INSERT AFTER .text;\n";

/// Writes the files of [`FLAME`] to OUT_DIR without indentation, comments and empty lines: each byte is in the binary.
fn shorten_flame(out: &Path) {
    for (name, comment, forbidden) in FLAME {
        let source = Path::new("src/report/svg").join(name);
        let text = fs::read_to_string(&source).expect("a file of the sources");
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(comment));
        let short = lines.collect::<Vec<_>>().join("\n");
        assert!(!forbidden.iter().any(|it| short.contains(it)), "{name} would end the element that it is in");
        fs::write(out.join(name), short).expect("OUT_DIR can be written");
        println!("cargo::rerun-if-changed={}", source.display());
    }
}

fn main() {
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    shorten_flame(Path::new(&out));
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
        let script = Path::new(&out).join("discard.ld");
        fs::write(&script, DISCARD).expect("OUT_DIR can be written");
        println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
        // Two arguments, since a comma in the path would end one that began with -Wl.
        println!("cargo::rustc-link-arg-bins=-T");
        println!("cargo::rustc-link-arg-bins={}", script.display());
    }
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    if arch == "x86_64" {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs"); // GNU's linker knows it for this one only
    }
    println!("cargo::rustc-env=PYFLAME_ARCH={arch}");
    println!("cargo::rerun-if-changed=build.rs");
}
