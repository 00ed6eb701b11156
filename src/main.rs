//! The binary: nothing but the start of a process without a C library. All else is in the library.

#![cfg_attr(not(test), no_std)]
#![no_main]

mod rt;
