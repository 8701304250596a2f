//! What the service is about: tasks and records as plain values, with their limits, rules and pages.
//!
//! Nothing here knows of HTTP or SQL: time comes in as an argument and rules are ordinary functions,
//! so that every rule is tested without a server and without a database.

mod check;
mod page;
mod record;
mod stamp;
mod task;

pub use check::{Invalid, Violation};
pub use page::{CursorError, CursorKey, Page, decode_cursor, encode_cursor};
pub use record::{
    IMPORTANCE_DEFAULT, IMPORTANCE_MAX, IMPORTANCE_MIN, NewRecord, RECORD_TITLE_CHARS_MAX, Record,
    RecordFilter, RecordKey, TAG_CHARS_MAX, TAGS_MAX, TEXT_BYTES_MAX,
};
pub use stamp::{micros, new_id};
pub use task::{
    AGENT_ID_CHARS_MAX, BadTransition, DESCRIPTION_BYTES_MAX, NewTask, PRIORITY_DEFAULT,
    PRIORITY_MAX, TASK_TITLE_CHARS_MAX, Task, TaskFilter, TaskKey, TaskStatus, UnknownStatus,
};
