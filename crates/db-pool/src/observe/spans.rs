//! Spans for borrowing, statements and transactions, under OpenTelemetry's names for databases and without values.

use crate::config::PoolConfig;
use crate::url::BackendKind;

use super::statements::Statement;

/// A span that begins when it is made and ends when it is dropped; nothing at all when nobody listens.
///
/// It is never entered, so it needs no thread: a statement may end on another one than it began on.
#[derive(Default)]
pub(crate) struct Span(Option<tracing::Span>);

impl Span {
    /// A statement that is being sent.
    pub(super) fn statement(config: &PoolConfig) -> Self {
        Self::enabled(|| {
            tracing::debug_span!(
                "db.query",
                otel.kind = "client",
                otel.name = tracing::field::Empty,
                db.system.name = system(config),
                db.client.connection.pool.name = %config.name,
                db.operation.name = tracing::field::Empty,
                db.query.summary = tracing::field::Empty,
                db.query.text = tracing::field::Empty,
                error.r#type = tracing::field::Empty,
            )
        })
    }

    /// A connection that is being borrowed.
    pub(crate) fn acquire(config: &PoolConfig) -> Self {
        Self::enabled(|| {
            tracing::debug_span!(
                "db.acquire",
                db.system.name = system(config),
                db.client.connection.pool.name = %config.name,
                error.r#type = tracing::field::Empty,
            )
        })
    }

    /// An attempt at a transaction, borrowing included; its statements are inside when its future is instrumented
    /// with [`Span::inner`].
    pub(crate) fn transaction(config: &PoolConfig, attempt: u32) -> Self {
        Self::enabled(|| {
            tracing::debug_span!(
                "db.transaction",
                db.system.name = system(config),
                db.client.connection.pool.name = %config.name,
                db.transaction.attempt = attempt,
            )
        })
    }

    /// For `tracing::Instrument`; a disabled span when nobody listens.
    pub(crate) fn inner(&self) -> tracing::Span {
        self.0.clone().unwrap_or_else(tracing::Span::none)
    }

    /// What failed, as a word of few kinds.
    pub(crate) fn failed(&self, kind: &str) {
        if let Some(span) = &self.0 {
            span.record("error.type", kind);
        }
    }

    pub(super) fn name(&self, statement: &Statement) {
        if let Some(span) = &self.0 {
            let summary = &*statement.summary;
            let verb = summary.split(' ').next().unwrap_or_default();
            span.record("otel.name", summary);
            span.record("db.operation.name", verb);
            span.record("db.query.summary", summary);
            span.record("db.query.text", &*statement.sql);
        }
    }

    fn enabled(make: impl FnOnce() -> tracing::Span) -> Self {
        // One comparison when the level is off; the rest is asked where the span is made.
        let enabled = tracing::level_filters::LevelFilter::current() >= tracing::Level::DEBUG;
        Self(enabled.then(make).filter(|span| !span.is_disabled()))
    }
}

fn system(config: &PoolConfig) -> &'static str {
    match BackendKind::from_url(&config.url) {
        Ok(BackendKind::Postgres) => "postgresql",
        _ => "sqlite",
    }
}
