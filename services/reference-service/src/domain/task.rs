//! Tasks: units of work that an agent takes on, with the rules by which their status moves.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    check::{Check, Invalid},
    page::CursorKey,
    stamp::{micros, new_id},
};

/// The longest title of a task, in characters; the shortest has one.
pub const TASK_TITLE_CHARS_MAX: usize = 200;
/// The longest description of a task, in bytes of UTF-8.
pub const DESCRIPTION_BYTES_MAX: usize = 64 * 1024;
/// The longest agent identifier, in characters; the shortest has one.
pub const AGENT_ID_CHARS_MAX: usize = 100;
/// The most urgent priority; the least urgent is 0.
pub const PRIORITY_MAX: i16 = 9;
/// The priority of a task whose creator named none.
pub const PRIORITY_DEFAULT: i16 = 5;

/// A unit of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// Version 7 identifier; sorts by creation.
    pub id: Uuid,
    /// What is to be done, 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    pub title: String,
    /// Details, at most 64 KiB of UTF-8.
    pub description: Option<String>,
    /// The agent that works on it, 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    pub assigned_agent_id: Option<String>,
    /// Urgency from 0 (whenever) to 9 (now).
    #[schema(minimum = 0, maximum = 9)]
    pub priority: i16,
    /// Where the work stands.
    pub status: TaskStatus,
    /// When the task was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the task was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// When the task was done, failed or cancelled; absent until then.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<Timestamp>,
    /// Rises by one with every stored change; starts at 1.
    pub version: i64,
}

impl Task {
    /// A pending task created at `now`.
    ///
    /// # Errors
    /// Every limit that `new` breaks.
    pub fn new(new: NewTask, now: Timestamp) -> Result<Self, Invalid> {
        let now = micros(now);
        let task = Self {
            id: new_id(now),
            title: new.title,
            description: new.description,
            assigned_agent_id: new.assigned_agent_id,
            priority: new.priority,
            status: TaskStatus::Pending,
            created_at: now,
            updated_at: now,
            completed_at: None,
            version: 1,
        };
        task.validate()?;
        Ok(task)
    }

    /// Checks the limits of every field that a caller may set.
    ///
    /// # Errors
    /// Every limit that is broken, not only the first.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut check = Check::default();
        check.chars("/title", &self.title, 1, TASK_TITLE_CHARS_MAX);
        if let Some(description) = &self.description {
            check.bytes("/description", description, DESCRIPTION_BYTES_MAX);
        }
        if let Some(agent) = &self.assigned_agent_id {
            check.chars("/assigned_agent_id", agent, 1, AGENT_ID_CHARS_MAX);
        }
        check.range("/priority", self.priority, 0, PRIORITY_MAX);
        check.finish()
    }

    /// Moves the task to `next`; entering a terminal status sets `completed_at` to `now`.
    ///
    /// The present status is accepted and changes nothing, so that a repeated request is harmless.
    ///
    /// # Errors
    /// [`BadTransition`] when the rules of [`TaskStatus::can_become`] forbid it; nothing is changed.
    pub fn set_status(&mut self, next: TaskStatus, now: Timestamp) -> Result<(), BadTransition> {
        if !self.status.can_become(next) {
            return Err(BadTransition {
                from: self.status,
                to: next,
            });
        }
        if next != self.status {
            self.status = next;
            self.completed_at = next.is_terminal().then(|| micros(now));
        }
        Ok(())
    }

    /// Notes that the task changed at `now`; `updated_at` never goes back, even if the clock does.
    pub fn touch(&mut self, now: Timestamp) {
        self.updated_at = self.updated_at.max(micros(now));
    }

    /// Where the task stands in a listing.
    #[must_use]
    pub fn key(&self) -> TaskKey {
        TaskKey {
            priority: self.priority,
            created_at: self.created_at,
            id: self.id,
        }
    }
}

/// What a caller says to create a task.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTask {
    /// What is to be done, 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000]*$")]
    pub title: String,
    /// Details, at most 64 KiB of UTF-8.
    #[serde(default)]
    #[schema(max_length = 65536, pattern = "^[^\\u0000]*$")]
    pub description: Option<String>,
    /// The agent that works on it, 1 to 100 characters.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 100, pattern = "^[^\\u0000]*$")]
    pub assigned_agent_id: Option<String>,
    /// Urgency from 0 (whenever) to 9 (now); 5 when absent.
    #[serde(default = "priority_default")]
    #[schema(minimum = 0, maximum = 9)]
    pub priority: i16,
}

fn priority_default() -> i16 {
    PRIORITY_DEFAULT
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskStatus {
    /// Waits for somebody to start it.
    Pending,
    /// Is being worked on.
    Running,
    /// Ended well.
    Done,
    /// Ended badly.
    Failed,
    /// Was given up.
    Cancelled,
}

impl TaskStatus {
    /// Every status, in the order of a task's life.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The status as it is written in requests, answers and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether work is over for good.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// Whether a task may go from this status to `next`.
    ///
    /// Pending work starts or is cancelled; running work ends, or goes back to be taken up again;
    /// what has ended stays as it is. Staying is always allowed.
    #[must_use]
    pub fn can_become(self, next: Self) -> bool {
        match self {
            Self::Pending => matches!(next, Self::Pending | Self::Running | Self::Cancelled),
            Self::Running => true,
            Self::Done | Self::Failed | Self::Cancelled => next == self,
        }
    }
}

impl fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for TaskStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(UnknownStatus)
    }
}

/// A text that names no status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown status; use pending, running, done, failed or cancelled")]
pub struct UnknownStatus;

/// A change of status that the rules forbid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a task that is {from} cannot become {to}")]
pub struct BadTransition {
    /// The status that the task has.
    pub from: TaskStatus,
    /// The status that was asked for.
    pub to: TaskStatus,
}

/// Which tasks a listing shows; absent members do not restrict, the others must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TaskFilter {
    /// Only tasks of this status.
    pub status: Option<TaskStatus>,
    /// Only tasks of this agent.
    pub assigned_agent_id: Option<String>,
    /// Only tasks of at least this priority.
    pub min_priority: Option<i16>,
}

/// The place of a task in a listing: priority falling, then creation and identifier rising.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskKey {
    /// The task's priority.
    pub priority: i16,
    /// When the task was created.
    pub created_at: Timestamp,
    /// The task's identifier; makes the order total.
    pub id: Uuid,
}

impl CursorKey for TaskKey {
    const KIND: &'static str = "tasks";

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.priority.to_be_bytes());
        out.extend(self.created_at.as_microsecond().to_be_bytes());
        out.extend(self.id.as_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (priority, rest) = bytes.split_first_chunk()?;
        let (created_at, id) = rest.split_first_chunk()?;
        Some(Self {
            priority: i16::from_be_bytes(*priority),
            created_at: Timestamp::from_microsecond(i64::from_be_bytes(*created_at)).ok()?,
            id: Uuid::from_slice(id).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn new_task() -> NewTask {
        NewTask {
            title: "Index the archive".to_owned(),
            description: None,
            assigned_agent_id: None,
            priority: 5,
        }
    }

    #[test]
    fn status_moves_only_along_the_allowed_arrows() {
        use TaskStatus::{Cancelled, Done, Failed, Pending, Running};
        let allowed = [
            (Pending, Running),
            (Pending, Cancelled),
            (Running, Done),
            (Running, Failed),
            (Running, Cancelled),
            (Running, Pending),
        ];
        for from in TaskStatus::ALL {
            for to in TaskStatus::ALL {
                let expected = from == to || allowed.contains(&(from, to));
                assert_eq!(from.can_become(to), expected, "{from} -> {to}");
            }
        }
    }

    #[test]
    fn entering_a_terminal_status_sets_completed_at_and_repeating_it_keeps_it() {
        let mut task = Task::new(new_task(), at(1)).unwrap();
        task.set_status(TaskStatus::Running, at(2)).unwrap();
        assert_eq!(task.completed_at, None);
        task.set_status(TaskStatus::Done, at(3)).unwrap();
        task.set_status(TaskStatus::Done, at(4)).unwrap();
        assert_eq!(task.completed_at, Some(at(3)));

        let refused = task.set_status(TaskStatus::Running, at(5)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "a task that is done cannot become running"
        );
        assert_eq!(task.status, TaskStatus::Done);
        assert_eq!(task.completed_at, Some(at(3)));
    }

    #[test]
    fn updated_at_never_goes_back() {
        let mut task = Task::new(new_task(), at(10)).unwrap();
        task.touch(at(5));
        assert_eq!(task.updated_at, at(10));
        task.touch(at(11));
        assert_eq!(task.updated_at, at(11));
    }

    #[test]
    fn every_broken_limit_is_named() {
        let new = NewTask {
            title: String::new(),
            description: Some("x".repeat(DESCRIPTION_BYTES_MAX + 1)),
            assigned_agent_id: Some("a\0b".to_owned()),
            priority: 10,
        };
        let invalid = Task::new(new, at(1)).unwrap_err();
        let broken: Vec<_> = invalid
            .violations()
            .iter()
            .map(|v| (v.pointer.as_str(), v.rule))
            .collect();
        assert_eq!(
            broken,
            [
                ("/title", "too_short"),
                ("/description", "too_long"),
                ("/assigned_agent_id", "nul"),
                ("/priority", "out_of_range"),
            ]
        );
    }

    #[test]
    fn title_limits_count_characters_not_bytes() {
        let title = |count| NewTask {
            title: "é".repeat(count),
            ..new_task()
        };
        assert!(Task::new(title(TASK_TITLE_CHARS_MAX), at(1)).is_ok());
        assert!(Task::new(title(TASK_TITLE_CHARS_MAX + 1), at(1)).is_err());
    }

    #[test]
    fn status_text_reads_back() {
        for status in TaskStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        assert_eq!("Done".parse::<TaskStatus>(), Err(UnknownStatus));
    }
}
