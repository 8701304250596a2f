//! Hands events to the observers in order, and keeps their panics and their re-entrance away from the graph.
//!
//! Whoever causes an event calls the observers itself, so nothing is queued and nothing is lost. The order of one
//! node's events is kept by its [`Voice`]; no lock of ours is held while code of an observer runs.

mod entry;
mod voice;

use std::panic::Location;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use self::entry::{Entry, Inside};
use self::voice::Voice;
use crate::context::Advance;
use crate::event::{Event, Observer};
use crate::guard::{drop_quietly, quietly};
use crate::plan::Node;
use crate::telemetry::Metrics;

#[derive(Default)]
pub(crate) struct Observers {
    list: Vec<Entry>,
    /// One for each node, made when the plan is heard; never without an observer.
    voices: OnceLock<Box<[Voice]>>,
    /// Made when the plan is heard.
    metrics: OnceLock<Metrics>,
    /// Whether [`Event::Finished`] was heard, which is the last word.
    finished: AtomicBool,
}

impl Observers {
    #[track_caller]
    pub(crate) fn push(&mut self, observer: impl Observer) {
        self.list.push(Entry::new(observer, Location::caller()));
    }

    /// Whether anybody listens; for events that cost something to put together.
    #[inline]
    pub(crate) fn are_there(&self) -> bool {
        !self.list.is_empty()
    }

    /// Lets everybody hear `event` before it returns; costs next to nothing when there is nobody.
    ///
    /// Of an event that ends an attempt: the node's own words are over with it, so it has to come before anybody is
    /// told in another way.
    #[inline]
    pub(crate) fn emit(&self, event: &Event<'_>) {
        if let Event::Planned { plan } = event {
            quietly(|| drop(self.metrics.set(Metrics::new(plan))));
        }
        if let Some(metrics) = self.metrics.get() {
            metrics.hear(event);
        }
        if self.are_there() {
            self.tell(event);
        }
    }

    /// Lets everybody hear the words that attempt `attempt` of `node` just said, unless it has ended.
    ///
    /// `words` are asked for at the right moment; what they say never goes back.
    pub(crate) fn advance(&self, node: &Node, attempt: u32, words: impl FnOnce() -> Advance) {
        if !self.are_there() {
            return;
        }
        let Some(voice) = self.voice(node) else {
            return;
        };
        let mut said = voice.speak(attempt, words, Inside::is());
        while let Some(words) = said {
            self.deliver(&words.event(node));
            said = voice.spoke();
        }
    }

    /// Completes the metrics of a start that is over; after everybody else was told.
    pub(crate) fn publish(&self) {
        if let Some(metrics) = self.metrics.get() {
            metrics.publish();
        }
    }

    fn tell(&self, event: &Event<'_>) {
        if self.finished.load(Ordering::Acquire) {
            return;
        }
        if let Some(node) = event.node() {
            return self.tell_of(node, event);
        }
        match event {
            Event::Planned { plan } => {
                let voices = plan.nodes().iter().map(|_| Voice::default());
                drop(self.voices.set(voices.collect()));
            }
            Event::Finished { .. } => {
                self.finished.store(true, Ordering::Release);
                let voices = self.voices.get().into_iter().flatten();
                Voice::silence(voices, Inside::is());
            }
            _ => {}
        }
        self.deliver(event);
    }

    fn tell_of(&self, node: &Node, event: &Event<'_>) {
        let Some(voice) = self.voice(node) else {
            return self.deliver(event);
        };
        let Some(unheard) = voice.begin(event, Inside::is()) else {
            return;
        };
        if let Some(words) = unheard {
            self.deliver(&words.event(node));
        }
        self.deliver(event);
        voice.end(event);
    }

    fn voice(&self, node: &Node) -> Option<&Voice> {
        self.voices.get()?.get(node.id().index())
    }

    fn deliver(&self, event: &Event<'_>) {
        let _inside = Inside::enter();
        entry::call(&self.list, event);
    }
}

impl Drop for Observers {
    fn drop(&mut self) {
        self.list.drain(..).for_each(drop_quietly);
    }
}
