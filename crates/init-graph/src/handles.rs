//! The handles that a component comes after: up to three in place, since most components have few.

/// Positions of other components of the same graph; [`FOREIGN`](Self::FOREIGN) for a handle of another graph.
#[derive(Debug)]
pub(crate) enum Handles {
    Few { count: u32, list: [u32; FEW] },
    Many(Vec<u32>),
}

impl Handles {
    /// No component is at this position.
    pub(crate) const FOREIGN: u32 = u32::MAX;

    pub(crate) fn push(&mut self, handle: u32) {
        match self {
            Self::Few { count, list } if (*count as usize) < FEW => {
                list[*count as usize] = handle;
                *count += 1;
            }
            Self::Few { list, .. } => {
                let mut many = Vec::with_capacity(2 * FEW + 2);
                many.extend_from_slice(list);
                many.push(handle);
                *self = Self::Many(many);
            }
            Self::Many(list) => list.push(handle),
        }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u32] {
        match self {
            Self::Few { count, list } => &mut list[..*count as usize],
            Self::Many(list) => list,
        }
    }

    pub(crate) fn as_slice(&self) -> &[u32] {
        match self {
            Self::Few { count, list } => &list[..*count as usize],
            Self::Many(list) => list,
        }
    }
}

impl Default for Handles {
    fn default() -> Self {
        Self::Few {
            count: 0,
            list: [0; FEW],
        }
    }
}

/// As many as fit into the space of a `Vec`.
const FEW: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_keep_their_order_beyond_the_few() {
        let mut handles = Handles::default();
        let all: Vec<u32> = (0..10).collect();
        for (pushed, handle) in all.iter().enumerate() {
            assert_eq!(handles.as_slice(), &all[..pushed]);
            handles.push(*handle);
        }
        assert_eq!(handles.as_slice(), all);
        assert_eq!(size_of::<Handles>(), size_of::<Vec<u32>>());
    }
}
