//! Calls that a target can keep from returning, and a thread that watches over them: the kernel waits for whoever has to say
//! what is on a page (userfaultfd(2), a file system in user space), and only what kills the one that waits ends that. So
//! the thread does what is left to do, and ends the process.

use super::clock::{self, Nanos, SECOND, Signals};
use super::raw::clone;
use super::state::{self, State};
use core::ptr;
use core::sync::atomic::Ordering;
use rustix::process::Pid;

/// A call that lasts for so many looks of the thread does not end. Looks are counted, not time: while we are stopped there
/// are none.
const LOOKS: u32 = 5;
const PAUSE: Nanos = SECOND;
/// From one look to the next at whether the thread takes over or not.
const DOUBT: Nanos = SECOND / 1000;

/// What is done under the eyes of the thread, and what is to be done instead of the rest: the exit status.
struct Work<T> {
    value: *mut T,
    hung: fn(T, Pid) -> i32,
}

/// Makes a `call` that is about process `pid`, which may see to it that it does not return. Does not return, then.
#[inline]
pub fn watched<T>(pid: Pid, call: impl FnOnce() -> T) -> T {
    let is_first = begin(pid);
    let result = call();
    if is_first {
        end();
    }
    result
}

/// False within another call, or where it is the thread that calls.
#[inline(never)]
fn begin(pid: Pid) -> bool {
    let State { calls, called, .. } = state::get();
    let before = calls.load(Ordering::Relaxed);
    if before & 1 == 1 {
        return false;
    }
    called.store(pid.as_raw_nonzero().get(), Ordering::Relaxed);
    calls.store(before + 1, Ordering::Release);
    true
}

#[inline(never)]
fn end() {
    let State { calls, taken, .. } = state::get();
    let ours = calls.load(Ordering::Relaxed);
    // Either we see here that the thread wants to take over, or it sees that this has returned, and does not. (What would
    // exchange the one for the other at once takes a C library on aarch64.)
    calls.store(ours + 1, Ordering::SeqCst);
    while taken.load(Ordering::SeqCst) == ours {
        clock::sleep_until(clock::now() + DOUBT, Signals::NONE);
    }
}

/// Does `work` with `value`. Should a call [`watched`] meanwhile not return, a thread on `stack` does `hung` and ends the
/// process with the status that it gives. Where there can be no thread, the call is waited for.
pub fn over<T, R>(
    stack: &'static mut [u8],
    value: &mut T,
    work: impl FnOnce(&mut T) -> R,
    hung: fn(T, Pid) -> i32,
) -> R {
    let watched = Work { value: &raw mut *value, hung };
    let place = &state::get().work;
    place.store((&raw const watched).cast_mut().cast(), Ordering::Release);
    // SAFETY: nobody else uses the stack.
    let _ = unsafe { clone(stack, attend::<T>) };
    // SAFETY: the thread uses the value only while we are in a call that does not return.
    let result = work(unsafe { &mut *watched.value });
    place.store(ptr::null_mut(), Ordering::Release);
    result
}

/// What the thread does. `T`: that of the [`Work`].
extern "C" fn attend<T>() -> ! {
    let State { calls, called, work, taken, .. } = state::get();
    let (mut last, mut looks) = (0, 0);
    loop {
        clock::sleep_until(clock::now() + PAUSE, Signals::NONE);
        let now = calls.load(Ordering::Acquire);
        looks = if now == last && now & 1 == 1 { looks + 1 } else { 0 };
        last = now;
        let work = work.load(Ordering::Acquire).cast_const().cast::<Work<T>>();
        let pid = Pid::from_raw(called.load(Ordering::Relaxed));
        if looks >= LOOKS
            && let Some(pid) = pid.filter(|_| !work.is_null())
        {
            taken.store(now, Ordering::SeqCst);
            if calls.load(Ordering::SeqCst) == now {
                // SAFETY: `over` has not returned, and does not any more: who works with the value waits for us.
                let status = unsafe { ((*work).hung)((*work).value.read(), pid) };
                super::exit(status);
            }
            taken.store(0, Ordering::SeqCst);
        }
    }
}
