//! Statistics of benches, pure: the same numbers and the same seed give the same answer.
//!
//! A comparison measures both sides in turns, block by block; two neighbouring blocks are a pair. [`judge`] looks at the
//! logarithms of their ratios, metric by metric:
//!
//! - The **effect** is their Hodges-Lehmann estimate, the median of the means of any two: nearly as sharp as the mean
//!   where noise is well-behaved, and unmoved by the block that something else on the machine disturbed.
//! - Its **interval** is a percentile bootstrap, widened for few pairs by the quantile of Student's t and by √(n/(n-1)).
//!   As it comes from the bootstrap, it would miss the truth in 9 % of comparisons of 12 pairs (BCa in 8 to 14 %); widened
//!   it does in 3 to 5 %, simulated for 5 to 16 pairs, with and without outliers.
//! - The **p-value** is that of Wilcoxon's signed-rank test against no change at all, which is exact for any number of
//!   pairs whatever the noise looks like, because which side goes first in a pair is drawn. Holm's method adjusts it for
//!   the number of metrics. So false alarms of a whole comparison stay below `alpha`, by construction.
//! - The **verdict** needs both: an interval wholly beyond the tolerance, and an adjusted p-value below `alpha`. (A test
//!   against the tolerance instead of against no change asks the same thing twice: with one of 12 metrics changed it
//!   halves what is found.)
//!
//! Simulated with 12 pairs, a tolerance of 2 % and [`ALPHA`], on a machine that drifts and disturbs one block in twenty.
//! Noise is the standard deviation of the log-ratio of neighbouring blocks. The last columns tell how many changes are
//! found:
//!
//! | noise | alarms among 12 unchanged metrics | 5 %, one metric | 5 %, one of 12 | 10 %, one of 12 |
//! | --- | --- | --- | --- | --- |
//! | 1 % | 0 of 1,000 | 100 % | 100 % | 100 % |
//! | 3 % | 0 of 1,000 | 85 % | 78 % | 100 % |
//! | 5 % | | 43 % | 30 % | 88 % |
//! | 10 % | 10 of 1,000 | 13 % | 5 % | 31 % |

mod bootstrap;
mod holm;
mod judge;
mod pairs;

pub use bootstrap::{Interval, median, quantile};
pub use holm::holm;
pub use judge::{ALPHA, Judgement, Paired, Verdict, judge};
pub use pairs::{PairsError, log_ratios, noise_floor, pairs_needed, signed_rank};
