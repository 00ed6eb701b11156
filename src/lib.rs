#![no_std]
//! pyflame: stacks of running CPython processes, sampled from outside by one static executable.
#[cfg(test)]
extern crate std;
pub mod elf;
pub mod maps;
pub mod memory;
pub mod paged;
pub mod sys;

/// The program.
pub fn run(_process: &sys::start::Process) -> i32 {
    0
}
