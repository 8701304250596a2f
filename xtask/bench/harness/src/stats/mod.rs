//! Statistics of benches, pure: the same numbers and the same seed give the same answer.

mod bootstrap;
mod holm;
mod judge;
mod ratios;

pub use bootstrap::{Interval, mean, median, quantile};
pub use holm::holm;
pub use judge::{Judgement, Paired, Verdict, judge};
pub use ratios::{PairsError, log_ratios, noise_floor, sign_flip};
