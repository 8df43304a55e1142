//! Random fates: what the n-th packet of a direction draws follows from the seed alone.

use netns_test_model::graph::{Burst, Loss, Percent};

/// SplitMix64, by Sebastiano Vigna (<https://prng.di.unimi.it/splitmix64.c>).
#[derive(Clone, Copy, Debug)]
pub(super) struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number from 0 to below 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number from 0 to below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// Whether it is one of this share.
    pub(super) fn hits(&mut self, share: Option<Percent>) -> bool {
        // Drawn in any case, so that one condition does not change another's fates.
        let drawn = self.unit();
        share.is_some_and(|Percent(share)| drawn * 100.0 < share)
    }
}

fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A row of packets whose fates follow from a seed and each one's number in the row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    seed: u64,
    packets: u64,
    /// Whether the link is bad, by the model of Gilbert and Elliott.
    is_bad: bool,
}

impl Row {
    /// The row of this name: `[link, direction, class]`, for instance.
    pub(super) fn new(seed: u64, name: [u64; 3]) -> Self {
        let seed = name.iter().fold(mix(seed), |seed, part| mix(seed ^ mix(part.wrapping_add(1))));
        Self { seed, packets: 0, is_bad: false }
    }

    /// What the next packet draws.
    pub(super) fn next(&mut self) -> Draws {
        self.packets += 1;
        Draws(mix(self.seed ^ mix(self.packets)))
    }

    /// Whether the packet that draws is lost.
    pub(super) fn loses(&mut self, loss: Option<Loss>, draws: &mut Draws) -> bool {
        match loss {
            Some(Loss::Burst(Burst { enter, leave, bad, good, .. })) => {
                let (changes, share) = if self.is_bad { (leave, bad) } else { (enter, good) };
                let is_lost = draws.hits(Some(share));
                self.is_bad ^= draws.hits(Some(changes));
                is_lost
            }
            uniform => {
                let share = match uniform {
                    Some(Loss::Uniform(share)) => Some(share),
                    _ => None,
                };
                let is_lost = draws.hits(share);
                draws.hits(None);
                is_lost
            }
        }
    }
}
