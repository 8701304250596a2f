//! A deterministic simulation of faults.
mod database;
mod dice;
mod disk;
mod history;
mod line;
mod oracle;
mod profile;
#[cfg(feature = "redis")]
mod real;
mod store;
mod trace;
mod world;

use std::sync::{Mutex, MutexGuard, PoisonError};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
