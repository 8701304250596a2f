//! The kinds of problems that a client can meet, in one table: errors take their status and title from
//! it, `/problems` and the OpenAPI document are made of it.

use axum::http::StatusCode;

/// A kind of problem: its fragment in `/problems`, its status, its title and what to do about it.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Fragment of the `type` URI.
    pub name: &'static str,
    /// Status code.
    pub status: StatusCode,
    /// Short title.
    pub title: &'static str,
    /// What a client does about it.
    pub advice: &'static str,
}

/// Where the kinds are explained.
pub const PROBLEMS_PATH: &str = "/problems";

/// Every kind, in the order of their status codes.
pub const KINDS: [Kind; 13] = [
    MALFORMED,
    UNAUTHORIZED,
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    BODY_INTERRUPTED,
    CONFLICT,
    PRECONDITION_FAILED,
    TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    INVALID,
    INTERNAL,
    UNAVAILABLE,
    TIMEOUT,
];

/// 400.
pub const MALFORMED: Kind = Kind {
    name: "malformed",
    status: StatusCode::BAD_REQUEST,
    title: "Malformed request",
    advice: "The body is not JSON, or a cursor is not one that this server handed out. Send it again, corrected.",
};
/// 401.
pub const UNAUTHORIZED: Kind = Kind {
    name: "unauthorized",
    status: StatusCode::UNAUTHORIZED,
    title: "Key required",
    advice: "The admin listener has a key. Send it as Authorization: Bearer.",
};
/// 404.
pub const NOT_FOUND: Kind = Kind {
    name: "not-found",
    status: StatusCode::NOT_FOUND,
    title: "Not found",
    advice: "No such route, or nothing has this id (any more).",
};
/// 405.
pub const METHOD_NOT_ALLOWED: Kind = Kind {
    name: "method-not-allowed",
    status: StatusCode::METHOD_NOT_ALLOWED,
    title: "Method not allowed",
    advice: "The Allow header lists the methods that this resource offers.",
};
/// 408.
pub const BODY_INTERRUPTED: Kind = Kind {
    name: "body-interrupted",
    status: StatusCode::REQUEST_TIMEOUT,
    title: "Incomplete body",
    advice: "The connection ended or stalled before the whole body was there. Send it again.",
};
/// 409.
pub const CONFLICT: Kind = Kind {
    name: "conflict",
    status: StatusCode::CONFLICT,
    title: "Conflict",
    advice: "The change does not fit the state of the resource. Read it again before another try.",
};
/// 412.
pub const PRECONDITION_FAILED: Kind = Kind {
    name: "precondition-failed",
    status: StatusCode::PRECONDITION_FAILED,
    title: "Changed meanwhile",
    advice: "Someone else changed the resource. Read it again and repeat the change with the new ETag.",
};
/// 413.
pub const TOO_LARGE: Kind = Kind {
    name: "too-large",
    status: StatusCode::PAYLOAD_TOO_LARGE,
    title: "Body too large",
    advice: "Send less, or raise http.body_limit.",
};
/// 415.
pub const UNSUPPORTED_MEDIA_TYPE: Kind = Kind {
    name: "unsupported-media-type",
    status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
    title: "Unsupported media type",
    advice: "Send Content-Type: application/json (merge patches: application/merge-patch+json).",
};
/// 422.
pub const INVALID: Kind = Kind {
    name: "invalid",
    status: StatusCode::UNPROCESSABLE_ENTITY,
    title: "Invalid fields",
    advice: "The member errors lists each field with what is wrong.",
};
/// 500.
pub const INTERNAL: Kind = Kind {
    name: "internal",
    status: StatusCode::INTERNAL_SERVER_ERROR,
    title: "Internal error",
    advice: "A bug or a broken dependency. The log has the causes under the request id in the member instance.",
};
/// 503.
pub const UNAVAILABLE: Kind = Kind {
    name: "unavailable",
    status: StatusCode::SERVICE_UNAVAILABLE,
    title: "Not available now",
    advice: "The service starts, ends or waits for a dependency. Try again after Retry-After seconds.",
};
/// 504.
pub const TIMEOUT: Kind = Kind {
    name: "timeout",
    status: StatusCode::GATEWAY_TIMEOUT,
    title: "Took too long",
    advice: "The work took longer than http.request_timeout and was given up.",
};
