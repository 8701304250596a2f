//! Health: a cheap, cached answer for readiness and a deep report for the operator.
