//! The bounds of every histogram that leaves this crate, kept together so that all of them can be compared.

/// Upper bounds in seconds: the fourteen that OpenTelemetry advises, preceded by five that can tell
/// apart the answers of a service whose 99th percentile is below 5 ms.
pub(crate) const SECONDS: [f64; 19] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75,
    1.0, 2.5, 5.0, 7.5, 10.0,
];

/// Upper bounds in bytes for histograms whose name ends in `_bytes`: powers of four from 64 B to 64 MiB.
pub(crate) const BYTES: [f64; 11] = [
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
