//! `/api/v1/tasks`: work items that agents pick up, change and finish.

use axum::{
    extract::{OriginalUri, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    conditional::{self, with_etag},
    detached,
    extract::{Json, MergePatch, Path, Query},
    page::{self, Limit},
    problem::ApiError,
    rules::{Bounded, Words},
};
use crate::{
    domain::{
        AGENT_ID_CHARS_MAX, NewTask, PRIORITY_MAX, Page, Task, TaskFilter, TaskKey, TaskStatus,
        encode_cursor,
    },
    state::AppState,
};

/// The routes of this resource.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(read, patch, delete))
}

/// A merge patch (RFC 7396): what is left out stays, `null` clears.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchTask {
    /// New title.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200, pattern = "^[^\\u0000]*$")]
    title: Option<String>,
    /// New description, or `null` for none.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, required = false, max_length = 65536, pattern = "^[^\\u0000]*$")]
    description: Option<Option<String>>,
    /// New agent, or `null` for none.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, required = false, min_length = 1, max_length = 100, pattern = "^[^\\u0000]*$")]
    assigned_agent_id: Option<Option<String>>,
    /// New priority.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = i16, required = false, minimum = 0, maximum = 9)]
    priority: Option<i16>,
    /// New status; done, failed and cancelled are final.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = TaskStatus, required = false)]
    status: Option<TaskStatus>,
}

/// Which tasks, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListTasks {
    /// Only with this status.
    status: Option<TaskStatus>,
    /// Only of this agent.
    #[param(value_type = Option<String>, min_length = 1, max_length = 100, pattern = "^[^\\u0000]*$")]
    assigned_agent_id: Option<Words<AGENT_ID_CHARS_MAX>>,
    /// Only this urgent or more.
    #[param(value_type = Option<i16>, minimum = 0, maximum = 9)]
    min_priority: Option<Bounded<0, PRIORITY_MAX>>,
    /// Most items of a page.
    #[serde(default = "page::limit_default")]
    #[param(value_type = Option<i16>, minimum = 1, maximum = 100, default = 20)]
    limit: Limit,
    /// `next` of the page before.
    #[param(max_length = 128, pattern = "^[A-Za-z0-9_-]+$")]
    after: Option<String>,
}

/// Create a task.
#[utoipa::path(post, path = "/tasks", tag = "tasks", request_body = NewTask, responses(
    (status = 201, description = "Created", body = Task,
     headers(("Location" = String, description = "Path of the task"), ("ETag" = String, description = "Its version"))),
))]
async fn create(
    State(state): State<AppState>,
    Json(new): Json<NewTask>,
) -> Result<Response, ApiError> {
    let task = Task::new(new, Timestamp::now())?;
    state.store.insert_task(&task).await?;
    let location = format!("/api/v1/tasks/{}", task.id);
    let version = task.version;
    Ok((
        StatusCode::CREATED,
        [("location", location)],
        with_etag(version, axum::Json(task)),
    )
        .into_response())
}

/// List tasks: the most urgent first, among equals the oldest first.
#[utoipa::path(get, path = "/tasks", tag = "tasks", params(ListTasks), responses(
    (status = 200, description = "One page", body = Page<Task>,
     headers(("Link" = String, description = "rel=\"first\" and, where there is more, rel=\"next\" (RFC 8288)"))),
))]
async fn list(
    State(state): State<AppState>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ListTasks>,
) -> Result<Response, ApiError> {
    let filter = TaskFilter {
        status: query.status,
        assigned_agent_id: query.assigned_agent_id.map(|Words(agent)| agent),
        min_priority: query.min_priority.map(|Bounded(priority)| priority),
    };
    let after = page::after::<TaskKey>(query.after.as_deref(), &filter)?;
    let limit = query.limit.count();
    let tasks = state
        .store
        .tasks(&filter, after.as_ref(), limit + 1)
        .await?;
    let page = Page::cut(tasks, limit, |task| encode_cursor(&task.key(), &filter));
    Ok(page::respond(page, &uri))
}

/// Read one task.
#[utoipa::path(get, path = "/tasks/{id}", tag = "tasks", params(("id" = Uuid, Path), ("If-None-Match" = Option<String>, Header, description = "The ETag that the client has already")), responses(
    (status = 200, description = "The task", body = Task, headers(("ETag" = String, description = "Its version"))),
    (status = 304, description = "Still the version of If-None-Match"),
))]
async fn read(
    State(state): State<AppState>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let task = state.store.task(id).await?.ok_or_else(|| unknown(id))?;
    Ok(conditional::respond(
        &headers,
        task.version,
        axum::Json(task),
    ))
}

/// Change some fields of a task.
#[utoipa::path(patch, path = "/tasks/{id}", tag = "tasks",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header, pattern = r#"^(\*|"[0-9]{1,18}")$"#, description = "Only if the task still has this ETag")),
    request_body(content = PatchTask, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, description = "The changed task", body = Task, headers(("ETag" = String, description = "Its new version"))),
    ),
)]
async fn patch(
    State(state): State<AppState>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
    MergePatch(patch): MergePatch<PatchTask>,
) -> Result<Response, ApiError> {
    let expected = conditional::if_match(&headers)?;
    let task = detached(async move {
        state
            .store
            .update_task(id, expected, |task| patch.apply(task))
            .await
    })
    .await??;
    Ok(with_etag(task.version, axum::Json(task)).into_response())
}

/// Delete a task.
#[utoipa::path(delete, path = "/tasks/{id}", tag = "tasks",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header, pattern = r#"^(\*|"[0-9]{1,18}")$"#, description = "Only if the task still has this ETag")),
    responses((status = 204, description = "Gone")),
)]
async fn delete(
    State(state): State<AppState>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let expected = conditional::if_match(&headers)?;
    state.store.delete_task(id, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

// === impl PatchTask ===

impl PatchTask {
    fn apply(&self, task: &mut Task) -> Result<(), ApiError> {
        let now = Timestamp::now();
        if let Some(title) = &self.title {
            task.title.clone_from(title);
        }
        if let Some(description) = &self.description {
            task.description.clone_from(description);
        }
        if let Some(agent) = &self.assigned_agent_id {
            task.assigned_agent_id.clone_from(agent);
        }
        if let Some(priority) = self.priority {
            task.priority = priority;
        }
        if let Some(status) = self.status {
            task.set_status(status, now)
                .map_err(|error| ApiError::Conflict(error.to_string()))?;
        }
        task.touch(now);
        task.validate()?;
        Ok(())
    }
}

fn unknown(id: Uuid) -> ApiError {
    ApiError::NotFound(format!("no task has the id {id}"))
}

/// Tells a field that is there, even as `null`, from one that was left out.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
