//! The closed set of methods that may become a label; a client can send any token as a method.

use http::Method;

/// The index of a method in [`NAMES`].
pub(crate) fn index(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::POST => 1,
        Method::PUT => 2,
        Method::DELETE => 3,
        Method::HEAD => 4,
        Method::OPTIONS => 5,
        Method::PATCH => 6,
        Method::TRACE => 7,
        Method::CONNECT => 8,
        _ => OTHER,
    }
}

/// The index of every method that is not in the list.
pub(crate) const OTHER: usize = 9;

/// How many methods are told apart.
pub(crate) const COUNT: usize = 10;

/// The label of each index.
pub(crate) const NAMES: [&str; COUNT] = [
    "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT", "_OTHER",
];
