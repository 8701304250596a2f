//! The bounds of one `Progress`, apart so that every limit is documented in one place.

/// Bounds on what one [`Progress`](crate::Progress) stores.
///
/// Memory is proportional to these numbers, never to time or to the number of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressConfig {
    /// Steps that are stored (default 1,024). Later steps still work for their owner, but are only
    /// counted, in [`Snapshot::omitted_steps`](crate::Snapshot::omitted_steps).
    pub steps_max: usize,
    /// Health checks that may be registered (default 64); each is called by `/readyz`, so many
    /// checks make the probe slow. Later registrations are refused.
    pub checks_max: usize,
    /// Bytes of any one text: names, messages, errors (default 2,048). Longer texts are cut at a
    /// character and end in `…`.
    pub text_max: usize,
}

impl Default for ProgressConfig {
    fn default() -> Self {
        Self {
            steps_max: 1024,
            checks_max: 64,
            text_max: 2048,
        }
    }
}

impl ProgressConfig {
    /// Cuts `text` to the bound, at a character boundary.
    pub(crate) fn cut(&self, text: &str) -> String {
        if text.len() <= self.text_max {
            return text.to_owned();
        }
        let mut cut = text[..text.floor_char_boundary(self.text_max)].to_owned();
        cut.push('…');
        cut
    }
}
