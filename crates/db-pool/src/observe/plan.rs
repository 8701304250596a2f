//! Asks the database how it runs a slow statement, away from the statement's own caller.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::statements::Statement;
use crate::backend::Backend;
use crate::shared::Shared;

tokio::task_local! {
    static QUIET: ();
}

/// Runs statements of the pool's own, which nobody wants to see among theirs: they are not measured.
pub(crate) async fn quietly<F: Future>(work: F) -> F::Output {
    QUIET.scope((), work).await
}

/// Whether the caller is inside of [`quietly`].
pub(super) fn is_quiet() -> bool {
    QUIET.try_with(|()| ()).is_ok()
}

/// Keeps the plan of one slow statement, found on a connection that nobody else uses meanwhile.
///
/// The values are unknown, so where the plan depends on them it may be another than the slow one. A statement that
/// cannot be explained is not tried again within the hour. Dropped in the middle, the connection is left to be
/// repaired.
pub(crate) async fn capture<B: Backend>(
    shared: &Shared,
    connection: &mut B::Connection,
    statement: &Arc<Statement>,
) {
    let Some(sent) = &statement.sent else { return };
    let explained = timeout(LIMIT, quietly(B::plan(connection, sent))).await;
    let (pool, sql) = (&*shared.config.name, &*statement.sql);
    match explained {
        Ok(Ok(plan)) => statement.slow.set_plan(cut(&plan)),
        // Not the error itself: it may quote what is in the text.
        Ok(Err(_)) => tracing::debug!(pool, sql, "a slow statement could not be explained"),
        Err(_) => tracing::debug!(pool, sql, "explaining a slow statement took too long"),
    }
}

fn cut(plan: &str) -> &str {
    &plan[..plan.floor_char_boundary(LONGEST_PLAN)]
}

const LIMIT: Duration = Duration::from_secs(2);
const LONGEST_PLAN: usize = 8192;
