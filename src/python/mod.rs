//! CPython, seen from outside: interpreters, threads, frames, code objects, names and lines. All meaning and no
//! system call: everything is read through `Memory` or `Prefetch`.

pub mod code;
pub mod frames;
pub mod layout;
pub mod lines;
pub mod offsets;
pub mod strings;
pub mod threads;
pub mod versions;
