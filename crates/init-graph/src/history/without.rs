//! What a build without the feature `history` does in place of reading and writing a file: nothing.

use crate::core::lock;
use crate::report::Report;
use crate::run::Run;

pub(crate) async fn read(run: &Run) {
    debug_assert!(
        run.settings.history.is_none(),
        "only the feature has a way to set it"
    );
}

pub(crate) fn write(_run: &Run, _report: impl FnOnce() -> Report) {}

pub(crate) async fn written(run: &Run) {
    debug_assert!(
        lock(&run.history_write).is_none(),
        "nothing is ever written"
    );
}
