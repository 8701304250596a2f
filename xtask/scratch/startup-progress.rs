//! Uses `startup-progress` from a project of its own, as a stranger would.

use startup_progress::{Progress, Readiness};

fn main() {
    let progress = Progress::new("outside");
    let step = progress.step("warm cache").total(2);
    step.advance(2);
    step.finish();
    progress.ready();
    assert!(matches!(progress.readiness(), Readiness::Ready));
}
