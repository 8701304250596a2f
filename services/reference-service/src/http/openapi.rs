//! The OpenAPI 3.1 document, made from the same macros that register the routes.

use axum::http::StatusCode;
use utoipa::{
    OpenApi as _, PartialSchema, ToSchema,
    openapi::{
        Content, OpenApi, Ref, RefOr, Response, ResponseBuilder,
        path::{Operation, Parameter, ParameterIn},
    },
};
use utoipa_axum::router::OpenApiRouter;

use super::{
    kinds::{KINDS, Kind},
    problem::{FieldError, PROBLEM_JSON, Problem},
    records, tasks,
};
use crate::state::AppState;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Agent workbench",
        description = "Tasks that agents work on and records that they remember. \
                       Errors are problem documents (RFC 9457); see /problems.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "tasks", description = "Work items that agents pick up, change and finish."),
        (name = "records", description = "What agents remember; single reads go through the cache tiers."),
    ),
)]
struct Document;

/// Every route of the API with its documentation.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(Document::openapi()).nest(
        "/api/v1",
        OpenApiRouter::new()
            .merge(tasks::router())
            .merge(records::router()),
    )
}

/// The document, with the error answers that follow from the shape of each operation.
pub fn document() -> OpenApi {
    let mut document = routes().into_openapi();
    let components = document.components.get_or_insert_default();
    for (name, schema) in [
        (Problem::name(), Problem::schema()),
        (FieldError::name(), FieldError::schema()),
    ] {
        components.schemas.insert(name.into_owned(), schema);
    }
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
            &mut item.patch,
        ];
        for operation in operations.into_iter().flatten() {
            add_errors(operation);
        }
    }
    document
}

/// The document as text.
pub fn json() -> String {
    document()
        .to_pretty_json()
        .expect("the document is plain data")
}

/// An extractor refuses before the handler runs, so its answers belong to every operation that
/// uses it: derived here, they cannot be forgotten in an annotation.
fn add_errors(operation: &mut Operation) {
    let parameters = operation.parameters.as_deref().unwrap_or_default();
    let has = |wanted: &dyn Fn(&Parameter) -> bool| {
        parameters.iter().any(|parameter| match parameter {
            RefOr::T(parameter) => wanted(parameter),
            RefOr::Ref(_) => false,
        })
    };
    let place = |place: ParameterIn| move |parameter: &Parameter| parameter.parameter_in == place;
    let path = has(&place(ParameterIn::Path));
    let query = has(&place(ParameterIn::Query));
    let precondition = has(&|parameter| parameter.name == "If-Match");
    let body = operation.request_body.is_some();
    let mut statuses = vec![
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ];
    if path {
        statuses.extend([StatusCode::NOT_FOUND, StatusCode::UNPROCESSABLE_ENTITY]);
    }
    if query {
        statuses.extend([StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY]);
    }
    if precondition {
        statuses.extend([StatusCode::BAD_REQUEST, StatusCode::PRECONDITION_FAILED]);
    }
    if precondition && body {
        statuses.push(StatusCode::CONFLICT);
    }
    if body {
        statuses.extend([
            StatusCode::BAD_REQUEST,
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            StatusCode::UNPROCESSABLE_ENTITY,
        ]);
    }
    for kind in KINDS.iter().filter(|kind| statuses.contains(&kind.status)) {
        let response = RefOr::T(problem_response(kind));
        operation
            .responses
            .responses
            .entry(kind.status.as_u16().to_string())
            .or_insert(response);
    }
}

fn problem_response(kind: &Kind) -> Response {
    let schema = Ref::from_schema_name(Problem::name());
    ResponseBuilder::new()
        .description(kind.title)
        .content(PROBLEM_JSON, Content::new(Some(schema)))
        .build()
}
