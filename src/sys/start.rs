//! What the kernel hands a new process on its stack: arguments and environment.

use crate::memory::Addr;
use core::ffi::{CStr, c_char};

/// The arguments and the environment of this process. They live as long as it does.
#[derive(Clone, Copy)]
pub struct Process {
    argc: usize,
    argv: *const *const c_char,
    envp: *const *const c_char,
}

impl Process {
    /// # Safety
    /// `stack` is the stack pointer at the entry of this process: argc, the argument pointers, NULL, the
    /// environment pointers, NULL (System V ABI, "Process Initialization").
    pub unsafe fn from_stack(stack: *const usize) -> Process {
        // SAFETY: by the caller's word the words up to the second NULL are there.
        unsafe {
            let argc = *stack;
            let argv = stack.add(1).cast::<*const c_char>();
            Process { argc, argv, envp: argv.add(argc + 1) }
        }
    }

    /// Argument `i`; 0 is the name by which the program was called.
    pub fn arg(&self, i: usize) -> Option<&'static CStr> {
        // SAFETY: below argc every pointer is a string that the kernel placed on the stack for good.
        (i < self.argc).then(|| unsafe { CStr::from_ptr(*self.argv.add(i)) })
    }

    /// The value of the environment variable `name`.
    pub fn env(&self, name: &[u8]) -> Option<&'static [u8]> {
        let mut next = self.envp;
        // SAFETY: the list of string pointers ends with NULL.
        unsafe {
            while !(*next).is_null() {
                let entry = CStr::from_ptr(*next).to_bytes();
                if let Some([b'=', value @ ..]) = entry.strip_prefix(name) {
                    return Some(value);
                }
                next = next.add(1);
            }
        }
        None
    }

    /// Where the kernel mapped its own code into this process (AT_SYSINFO_EHDR, getauxval(3)).
    pub fn vdso(&self) -> Option<Addr> {
        const AT_NULL: u64 = 0;
        const AT_SYSINFO_EHDR: u64 = 33;
        let mut next = self.envp;
        // SAFETY: behind the NULL that ends the environment pairs of words follow, the last of type AT_NULL.
        unsafe {
            while !(*next).is_null() {
                next = next.add(1);
            }
            let mut pair = next.add(1).cast::<[u64; 2]>();
            while (*pair)[0] != AT_NULL {
                if (*pair)[0] == AT_SYSINFO_EHDR {
                    return Some(Addr((*pair)[1]));
                }
                pair = pair.add(1);
            }
        }
        None
    }

    /// The pointers that `execve` wants, from argument `i` on, and the environment.
    pub fn exec_vectors(&self, i: usize) -> (*const *const c_char, *const *const c_char) {
        // SAFETY: `i` is at most argc, where the NULL stands.
        (unsafe { self.argv.add(i.min(self.argc)) }, self.envp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;
    use std::vec::Vec;

    /// A stack as the kernel makes it, of texts and pairs of words.
    fn process(args: &[&'static CStr], environment: &[&'static CStr], auxiliary: &[[usize; 2]]) -> Process {
        let address = |text: &&CStr| text.as_ptr() as usize;
        let mut words: Vec<usize> = [args.len()].into_iter().chain(args.iter().map(address)).collect();
        words.push(0);
        words.extend(environment.iter().map(address));
        words.push(0);
        words.extend(auxiliary.iter().flatten());
        // SAFETY: arguments, NULL, environment, NULL and pairs; it lives until the tests end.
        unsafe { Process::from_stack(Box::leak(words.into_boxed_slice()).as_ptr()) }
    }

    #[test]
    fn arguments_and_environment_are_found() {
        let environment = [c"PATHS=x", c"PATH=/bin:/usr/bin", c"EMPTY=", c"ODD", c"PATH=second"];
        let process = process(&[c"pyflame", c"", c"77"], &environment, &[[0, 0]]);
        let args: Vec<_> = (0..4).map(|i| process.arg(i)).collect();
        assert_eq!(args, [Some(c"pyflame"), Some(c""), Some(c"77"), None]);
        assert_eq!(process.arg(usize::MAX), None);
        assert_eq!(process.env(b"PATH"), Some(&b"/bin:/usr/bin"[..]));
        assert_eq!(process.env(b"EMPTY"), Some(&b""[..]));
        assert_eq!((process.env(b"ODD"), process.env(b"PAT"), process.env(b"NONE")), (None, None, None));
    }

    #[test]
    fn without_arguments_there_is_still_an_environment() {
        let process = process(&[], &[c"A=b"], &[[0, 0]]);
        assert_eq!((process.arg(0), process.env(b"A")), (None, Some(&b"b"[..])));
        assert_eq!(process.vdso(), None);
    }

    #[test]
    fn the_kernel_s_own_code_is_found_behind_the_environment() {
        let pairs = [[6, 4096], [33, 0x7fff_0000], [0, 0], [33, 1]];
        assert_eq!(process(&[c"a"], &[c"A=b", c"C=d"], &pairs).vdso(), Some(Addr(0x7fff_0000)));
        assert_eq!(process(&[c"a"], &[], &[[16, 33], [0, 0], [33, 1]]).vdso(), None);
    }
}
