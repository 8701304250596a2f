//! How many iterations a sample needs: as many as fill the time of a sample.

use std::time::Duration;

/// At most that many iterations: an operation that takes no time must not spin for ever.
const ITERATIONS_MAX: u64 = 1 << 30;

/// The iterations of a sample that takes about `target`, by `run`, which does so many and returns the time taken.
/// Doubles from one on until a fifth of the target is reached, so that it doubles as warm-up of the code.
pub(crate) fn iterations(target: Duration, mut run: impl FnMut(u64) -> Duration) -> u64 {
    let mut iterations = 1;
    loop {
        let elapsed = run(iterations);
        if elapsed * 5 >= target || iterations >= ITERATIONS_MAX {
            let scale = target.as_secs_f64() / elapsed.as_secs_f64().max(1e-12);
            return ((iterations as f64 * scale) as u64).clamp(1, ITERATIONS_MAX);
        }
        iterations *= 2;
    }
}
