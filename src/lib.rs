#![no_std]
//! pyflame: stacks of running CPython processes, sampled from outside by one static executable.
//!
//! The way of one sample, and who goes it:
//!
//! ```text
//! program    reads the options (cli), maps all storage there will be (storage), finishes what was begun, also when a read
//!            does not end (sys/watch)
//! children   the process, with `--children` all that come from it: finds them, notices when one ends or calls exec
//! session    waits for the deadline, and for what ends it all
//! locate     finds the interpreter in it, once: images (target, maps), symbols (elf), version and layout (python/versions,
//!            offsets)
//!   sampler    one sample: lists the threads, looks at each, believes the look or takes another, or stops (stopper)
//!     prefetch   reads all that the last walks asked for with one process_vm_readv
//!     python     walks threads and frames in that; code and lines make names of them, and prove that they are still right
//!   profile    counts the stack in a tree
//! report     writes the tree in one of its formats, some of them while samples are taken (report/timeline)
//! dump       writes the stacks of one look, check what would be found, status how far sampling is
//! error      says what went wrong, and by denial why a process may not be looked at
//! ```
//!
//! Everything reads through [`memory::Memory`]; only `sys` calls the kernel. `tests/floors.rs` holds who may use whom.
//!
//! A Python version up to 3.12 is a row in `python/versions.rs`, a later one a shape of its table in
//! `python/offsets.rs`; a new way to keep lines goes to `python/lines.rs`. An output format is a module of `report`,
//! a variant of its `Format` and a row of the table behind that; what names may hold is written in `report/escape.rs`.

#[cfg(test)]
extern crate std;
pub mod cli;
pub mod denial;
pub mod elf;
pub mod error;
pub mod locate;
pub mod maps;
pub mod memory;
pub mod paged;
pub mod prefetch;
pub mod profile;
pub mod python;
pub mod report;
pub mod sys;
pub mod table;
pub mod target;
pub mod text;

mod check;
mod children;
mod dump;
mod program;
mod sampler;
mod session;
mod status;
mod stopper;
mod storage;
#[cfg(test)]
mod testing;
mod title;

pub use program::run;
