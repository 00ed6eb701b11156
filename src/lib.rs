#![no_std]
//! pyflame: stacks of running CPython processes, sampled from outside by one static executable.
#[cfg(test)]
extern crate std;
pub mod cli;
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

mod dump;
mod program;
mod sampler;
mod session;
mod stopper;
mod storage;
#[cfg(test)]
mod testing;

pub use program::run;
