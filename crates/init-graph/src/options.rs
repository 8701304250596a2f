//! What can be said of a component beyond its function; most components leave most of it out.

use std::any::TypeId;
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::class::Class;
use crate::condition::Condition;
use crate::retry::Retry;
use crate::values::Value;

/// Kept in a box of its own, made with the first option, so that a component without options is small.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) stage: Option<Cow<'static, str>>,
    /// Of one attempt.
    pub(crate) timeout: Option<Duration>,
    /// Of all attempts with the waits between them.
    pub(crate) total_timeout: Option<Duration>,
    /// Of an attempt that says nothing.
    pub(crate) stall_timeout: Option<Duration>,
    pub(crate) stop_timeout: Option<Duration>,
    pub(crate) retry: Option<Retry>,
    pub(crate) optional: bool,
    pub(crate) background: bool,
    pub(crate) milestone: bool,
    pub(crate) condition: Option<Condition>,
    pub(crate) class: Option<Class>,
    pub(crate) priority: i32,
    pub(crate) expected: Option<Duration>,
    /// The type of the tag with its name.
    pub(crate) tag: Option<(TypeId, &'static str)>,
    /// Further types that the value is handed out as.
    pub(crate) provides: Vec<Provide>,
    /// Which provider is meant where there are several.
    pub(crate) wires: Vec<WireTo>,
    /// File and line of the function itself, which only `#[component]` knows.
    pub(crate) defined_at: Option<(&'static str, u32)>,
}

impl Options {
    pub(crate) const NONE: Self = Self {
        stage: None,
        timeout: None,
        total_timeout: None,
        stall_timeout: None,
        stop_timeout: None,
        retry: None,
        optional: false,
        background: false,
        milestone: false,
        condition: None,
        class: None,
        priority: 0,
        expected: None,
        tag: None,
        provides: Vec::new(),
        wires: Vec::new(),
        defined_at: None,
    };
}

impl Options {
    /// The same, and where nothing was said what `other` says; of lists both count.
    pub(crate) fn or(mut self, mut other: Self) -> Self {
        // Of several wires for one type the last counts, which is the own.
        other.wires.append(&mut self.wires);
        self.provides.append(&mut other.provides);
        Self {
            stage: self.stage.or(other.stage),
            timeout: self.timeout.or(other.timeout),
            total_timeout: self.total_timeout.or(other.total_timeout),
            stall_timeout: self.stall_timeout.or(other.stall_timeout),
            stop_timeout: self.stop_timeout.or(other.stop_timeout),
            retry: self.retry.or(other.retry),
            optional: self.optional || other.optional,
            background: self.background || other.background,
            milestone: self.milestone || other.milestone,
            condition: self.condition.or(other.condition),
            class: self.class.or(other.class),
            priority: match self.priority {
                0 => other.priority,
                priority => priority,
            },
            expected: self.expected.or(other.expected),
            tag: self.tag.or(other.tag),
            provides: self.provides,
            wires: other.wires,
            defined_at: other.defined_at.or(self.defined_at),
        }
    }
}

/// What was set, each by the name of its call.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Options");
        let mut time = |name, time: Option<Duration>| {
            if let Some(time) = time {
                shown.field(name, &time);
            }
        };
        time("timeout", self.timeout);
        time("total_timeout", self.total_timeout);
        time("stall_timeout", self.stall_timeout);
        time("stop_timeout", self.stop_timeout);
        time("expected", self.expected);
        let mut set = |name, is_set: bool, value: &dyn fmt::Debug| {
            if is_set {
                shown.field(name, value);
            }
        };
        set("stage", self.stage.is_some(), &self.stage);
        set("retry", self.retry.is_some(), &self.retry);
        set("optional", self.optional, &true);
        set("background", self.background, &true);
        set("milestone", self.milestone, &true);
        set("when", self.condition.is_some(), &"condition");
        set("class", self.class.is_some(), &self.class);
        set("priority", self.priority != 0, &self.priority);
        set(
            "tagged",
            self.tag.is_some(),
            &self.tag.map(|(_, name)| name),
        );
        for provide in &self.provides {
            set("provide", true, &(provide.from.1, provide.to.1));
        }
        for wire in &self.wires {
            set("wire", true, &(wire.wanted.1, &wire.name));
        }
        shown.finish()
    }
}

/// A view of a component's value as another type, usually a trait object.
pub(crate) struct Provide {
    pub(crate) from: (TypeId, &'static str),
    pub(crate) to: (TypeId, &'static str),
    /// Turns an `Arc<From>` into an `Arc<To>`, both as values; `None` when the value is of another type.
    pub(crate) cast: Box<Cast>,
}

/// From a value to one of its views.
pub(crate) type Cast = dyn Fn(&Value) -> Option<Value> + Send + Sync;

/// The choice of a consumer: dependencies of this type come from the component of that name.
pub(crate) struct WireTo {
    pub(crate) wanted: (TypeId, &'static str),
    pub(crate) name: Cow<'static, str>,
}
