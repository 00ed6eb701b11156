//! Signals that arrive while a thread is stopped: each gets there, once.

use super::Setting;
use crate::verdict::{Checked, Score, Trouble, ensure};
use std::fs;
use std::time::{Duration, Instant};

/// Signals sent in each mode.
const SENT: u64 = 2000;

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    if setting.python.version < (3, 3) {
        return Err(Trouble::Skipped("this Python does not write a byte for each signal".into()));
    }
    for mode in ["--blocking -r 0", "--blocking --threads", "-r 0"] {
        score.enter(&format!("passed on: {mode}"), each_arrives(setting, mode));
    }
    Ok(())
}

fn each_arrives(setting: &Setting, mode: &str) -> Checked {
    let target = setting.start_busy("signalled.py", &[])?;
    let told = target.told()?;
    let path = told.trim().strip_prefix("count ").ok_or("no path")?;
    let pid = target.pid();
    let script = format!(
        "$PYFLAME -V {mode} -s 60 -o /dev/null {pid} & sleep 0.3; \
         for i in $(seq {SENT}); do kill -34 {pid}; done; kill -INT $!; wait $!"
    );
    let run = setting.profiler.shell(&script)?;
    ensure(run.status.success(), || run.describe())?;
    let arrived = || fs::metadata(path).map_or(0, |file| file.len());
    let end = Instant::now() + Duration::from_secs(5);
    while arrived() < SENT && Instant::now() < end {}
    let count = arrived();
    fs::remove_file(path)?;
    ensure(count == SENT, || format!("{count} of {SENT} signals: {}", run.describe()))?;
    ensure(!mode.starts_with("--blocking") || run.errors().contains(" stops"), || run.describe())?;
    target.computes()
}
